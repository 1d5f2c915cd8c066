"""``python -m backend train``: a recipe by name, a data set, an output folder."""

import logging
from dataclasses import fields
from pathlib import Path

import tomllib
import torch

from backend.errors import BackendError
from backend.training import processes
from backend.training.trainer import Schedule, Task, fit

RECIPES = Path(__file__).parent / "recipes"
log = logging.getLogger(__name__)


def read_recipe(name: str) -> dict:
    """A recipe by name (``recipes/<name>.toml``) or by path. Raises BackendError ``bad_file``."""
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise BackendError("bad_file", f"There is no recipe {name!r}.", f"Known recipes: {known}.") from error
    except tomllib.TOMLDecodeError as error:
        raise BackendError("bad_file", f"The recipe {path} is not valid TOML: {error}.") from error


def train(
    recipe: str,
    data: Path,
    out: Path,
    resume: bool = False,
    max_minutes: float | None = None,
    device: str = "auto",
    name: str | None = None,
) -> dict:
    """Train ``recipe`` on the built data set ``data``; returns the record of the best validation.

    name: what a style pack is to be called; other recipes do not use it.
    Under torchrun or accelerate the batch is shared by the processes, see ``processes``.
    Raises BackendError for a missing recipe or data set, or when there is nothing to resume.
    """
    values = read_recipe(recipe)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    group, device = processes.begin(device)
    try:
        values = group.share(values)
        known = {f.name for f in fields(Schedule)}
        schedule = Schedule(**{k: v for k, v in values.get("schedule", {}).items() if k in known})
        torch.manual_seed(schedule.seed)
        task = group.in_turn(lambda: _task(values, data, out, device, name))
        return fit(task, schedule, Path(out), resume, max_minutes, group)
    finally:
        processes.end()


def _task(values: dict, data: Path, out: Path, device: str, name: str | None) -> Task:
    task_name = values.get("task")
    if task_name == "codec":
        from backend.training.codec import CodecTask

        task = CodecTask(values, Path(data), device)
    elif task_name == "vq":
        from backend.training.vq import VQTask

        task = VQTask(values, Path(data), device)
    elif task_name == "momug":
        from backend.training.momug import MoMugLoopTask, MoMugTask

        kind = MoMugLoopTask if values.get("model", {}).get("lora_rank") else MoMugTask
        task = kind(values, Path(data), device, Path(out))
    elif task_name == "distil":
        from backend.training.distil import DistilTask

        task = DistilTask(values, Path(data), device, Path(out))
    elif task_name == "llamo":
        from backend.training.llamo import LLaMoTask

        task = LLaMoTask(values, Path(data), device, Path(out))
    elif task_name == "style":
        from backend.training.style import StyleTask

        if name:
            values["style"] = values.get("style", {}) | {"name": name}
        task = StyleTask(values, Path(data), device, Path(out))
    elif task_name == "motiongpt":
        from backend.training.motiongpt import MotionGPTTask

        task = MotionGPTTask(values, Path(data), device, Path(out))
    elif task_name == "evaluator":
        from backend.evaluation.training import EvaluatorTask

        task = EvaluatorTask(values, Path(data), device)
    elif task_name == "actions":
        from backend.training.actions import ActionsTask

        task = ActionsTask(values, Path(data), device)
    else:
        raise BackendError("bad_file", f"The recipe names an unknown task {task_name!r}.")
    return task
