"""How long this computer takes: the last measured time of each preset, kept in the user's folder."""

import json
import os
from pathlib import Path

from . import service

# Seconds for each second of motion, measured on two processor cores without a graphics card
_STATED = {"fast": 0.07, "full": 0.6}
_STATED_OTHER = 0.3
_PULLED = 8.0  # how much longer it takes to meet poses, a path or a loop
_known: "dict[str, float] | None" = None


def remember(fields: dict, header: dict, motions: list) -> None:
    """Keep how long a ``generate`` request took the model, for each second of motion."""
    timings = header.get("timings")
    if not isinstance(timings, dict) or not motions:
        return
    spent = sum(v for k, v in timings.items() if k != "load" and isinstance(v, (int, float)))
    total = sum(motion.frames / motion.fps for motion in motions)
    if spent <= 0 or total <= 0:
        return
    known = _table()
    known[_key(fields)] = round(spent / total, 4)
    try:
        _write(known)
    except OSError as error:
        service.log.warning("the measured time could not be kept: %s", error)


def estimate(fields: dict, seconds: float) -> tuple[float, bool]:
    """(seconds that a ``generate`` request will take, whether that was measured here).

    fields: model, preset, steps, and what is asked for besides. seconds: of motion, all variations together.
    """
    known = _table()
    if _key(fields) in known:
        return known[_key(fields)] * seconds, True
    plain = {name: value for name, value in fields.items() if name not in _PULLS}
    if _key(plain) in known:
        return known[_key(plain)] * seconds * (_PULLED if _pulled(fields) else 1.0), False
    each = _STATED.get(preset_of(fields), _STATED_OTHER)
    return each * seconds * (_PULLED if _pulled(fields) else 1.0), False


def words(seconds: float) -> str:
    """A time in words: "under 1 s", "3 s", "2 min"."""
    if seconds < 1.0:
        return "under 1 s"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def preset_of(fields: dict) -> str:
    """The preset that a request runs under: the model's own one when none is named."""
    return fields.get("preset") or str(service.model_info(fields.get("model", "")).get("default_preset") or "fast")


_PULLS = ("loop", "poses")


def _pulled(fields: dict) -> bool:
    return any(fields.get(name) for name in _PULLS)


def _key(fields: dict) -> str:
    steps = fields.get("steps")
    what = f"{steps} steps" if steps else preset_of(fields)
    return f"{fields.get('model')}/{what}{'/pulled' if _pulled(fields) else ''}"


def _file() -> Path:
    return service.user_folder("memory") / "times.json"


def _table() -> "dict[str, float]":
    global _known
    if _known is None:
        _known = {}
        try:
            stored = json.loads(_file().read_text(encoding="utf-8"))
            _known = {str(k): float(v) for k, v in stored.items() if isinstance(v, (int, float)) and 0 < v < 1e4}
        except FileNotFoundError:
            pass  # nothing was measured yet
        except (OSError, ValueError, AttributeError) as error:
            service.log.warning("the measured times cannot be read: %s", error)
    return _known


def _write(known: "dict[str, float]") -> None:
    write_json(_file(), known)


def write_json(path: Path, data: object) -> None:
    """Replace a small JSON file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")
    os.replace(beside, path)


def forget() -> None:
    """Read the file again at the next look."""
    global _known
    _known = None
