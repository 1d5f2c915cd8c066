"""From an artist's motions to an installed style pack, in one go: ``python -m backend style train``."""

import logging
from pathlib import Path

import torch

from backend.data import own
from backend.errors import BackendError
from backend.models.styles import NAME
from backend.training.run import read_recipe
from backend.training.style import StyleTask, install
from backend.training.trainer import Schedule, fit

log = logging.getLogger(__name__)


def train_style(
    source: Path,
    out: Path,
    name: str,
    label: str = "",
    licence: str = "the owner's",
    commercial: bool = True,
    steps: int | None = None,
    device: str = "auto",
) -> dict:
    """Train a pack called ``name`` on the motions and captions in ``source`` and install it; returns the record.

    source: see :func:`backend.data.own.build`. out: the run; its data set, curve (``log.jsonl``) and best pack.
    label: what artists read; licence and commercial: what the motions allow. steps: how many, None for the recipe's.
    The record adds "windows", "notes" and "installed". Raises BackendError.
    """
    if not NAME.fullmatch(name):
        raise BackendError("bad_request", "A style needs a name of small letters, digits and dashes.")
    values = read_recipe("style")
    values["style"] |= {"name": name, "label": label or name, "licence": licence, "commercial": commercial}
    schedule = Schedule(**values["schedule"])
    if steps is not None:
        if steps < 1:
            raise BackendError("bad_request", "A style needs at least one step.")
        schedule.steps = steps
        schedule.warmup = min(schedule.warmup, max(1, steps // 10))
    schedule.validate_every = min(schedule.validate_every, max(1, schedule.steps // 4))
    schedule.log_every = 1 if schedule.steps <= 100 else 5
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(schedule.seed)
    made = own.build(source, Path(out) / "data")
    for note in made["notes"]:
        log.warning("%s", note)
    task = StyleTask(values, Path(out) / "data", device, Path(out))
    record = fit(task, schedule, Path(out), resume=False, max_minutes=None)
    best = Path(out) / "best"
    if not (best / "style.json").is_file():
        raise BackendError("internal", "The style never became usable.", "Try fewer steps or other motions.")
    return record | made | {"installed": str(install(best))}
