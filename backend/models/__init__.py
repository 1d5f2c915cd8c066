"""The motion systems by name. Listing them needs no PyTorch; loading one does."""

import gc
import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend import paths
from backend.errors import BackendError
from backend.language import base
from backend.models import styles

LABELS = {"momug": "MoMug (diffusion)", "llamo": "LLaMo (streaming)", "motiongpt": "MotionGPT (poses)"}
TARGET_SECONDS = {"momug": 60.0}  # how long a motion that meets poses may be, where that is more than a sentence's
CONDITIONS = {
    "momug": ["text", "timeline", "poses", "loop"],
    "llamo": ["text", "timeline"],
    "motiongpt": ["text", "timeline", "poses"],
}


def describe(checkpoints: Path | None = None) -> list[dict]:
    """Capability records of all systems, without loading any: name, label, fps, limits, presets, available, reason."""
    checkpoints = Path(checkpoints) if checkpoints else paths.checkpoints_folder()
    return [_describe(name, label, checkpoints / name) for name, label in LABELS.items()]


def describe_one(name: str, checkpoints: Path | None = None) -> dict:
    """The capability record of one system."""
    return next(record for record in describe(checkpoints) if record["name"] == name)


def _describe(name: str, label: str, folder: Path) -> dict:
    record = {
        "name": name,
        "label": label,
        "fps": 30.0,
        "joints": 22,
        "conditions": CONDITIONS[name],
        "captions": False,
        "streams": False,
    }
    record |= {
        "min_seconds": 1.0,
        "max_seconds": 10.0,
        "default_steps": 10,
        "presets": [],
        "available": True,
        "reason": "",
    }
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        keys = ("min_seconds", "max_seconds", "presets", "default_preset", "captions")
        record |= {key: config[key] for key in keys}
        record["streams"] = bool(config.get("streams", False))
        record["stream_seconds"] = float(config.get("stream_seconds", record["max_seconds"]))
        record["max_target_seconds"] = TARGET_SECONDS.get(name, record["max_seconds"])
        if "max_keys" in config:
            record["max_poses"] = int(config["max_keys"])
        record["default_steps"] = config.get("steps", record["default_steps"])
        record["conditions_quality"] = dict(config.get("conditions_quality", {}))
        packs = [style for style, _ in styles.installed(folder).values()]
        record["styles"] = [{k: getattr(s, k) for k in ("name", "label", "licence", "commercial")} for s in packs]
    except FileNotFoundError:
        record |= {"available": False, "reason": f"The weights of {label} are not installed."}
    except (OSError, ValueError, KeyError, TypeError) as error:
        record |= {"available": False, "reason": f"The weights of {label} are damaged ({type(error).__name__})."}
    return record


def load(name: str, device: str = "auto", precision: str = "auto", checkpoints: Path | None = None):
    """Load the system ``name`` as a MotionModel (see ``interface``).

    device: "auto", "cpu" or "cuda"; precision: "auto", "float32" or "bfloat16" (of the language model).
    Raises BackendError ``unknown_model``, ``checkpoint_missing``, ``checkpoint_damaged``, ``base_missing`` or
    ``base_mismatch``.
    """
    if name not in LABELS:
        raise BackendError(
            "unknown_model", f"There is no model called {name!r}.", f"Choose one of: {', '.join(LABELS)}."
        )
    verified = base.verifying()
    with _garbage_waits():
        load_checkpoint = importlib.import_module(f"backend.models.{name}.model").load_checkpoint
        folder = (Path(checkpoints) if checkpoints else paths.checkpoints_folder()) / name
        model = load_checkpoint(folder, device, precision)
    verified()
    return model


@contextmanager
def _garbage_waits() -> Iterator[None]:
    """Importing PyTorch and transformers makes objects that stay: looking for garbage among them took 0.8 of 5.8 s."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
