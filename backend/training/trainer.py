"""The one training loop: EMA, warm-up and cosine decay, resume, time limit, best-so-far by validation.

No framework: a task brings its model, its loss and its validation; the loop does the rest. State is kept in safetensors
and JSON, so that nothing is ever unpickled.
"""

import copy
import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from backend.errors import BackendError
from backend.training.processes import Processes

log = logging.getLogger(__name__)


class Task(Protocol):
    """What a recipe trains."""

    model: nn.Module

    def parameter_groups(self, learning_rate: float) -> list[dict]: ...

    def loss(self, model: nn.Module) -> tuple[Tensor, dict[str, float]]:
        """Draw a batch and return its loss and the figures to log."""
        ...

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Figures on the validation split; ``score`` decides, lower is better."""
        ...

    def export(self, model: nn.Module, folder: Path, record: dict) -> None:
        """Write the checkpoint that inference reads."""
        ...


@dataclass
class Schedule:
    learning_rate: float = 3e-4
    steps: int = 20000
    warmup: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    validate_every: int = 500
    log_every: int = 50
    seed: int = 0


def fit(
    task: Task,
    schedule: Schedule,
    out: Path,
    resume: bool,
    max_minutes: float | None,
    processes: Processes | None = None,
) -> dict:
    """Train until ``steps`` or ``max_minutes`` are over; returns the record of the best validation.

    ``out/last``: what ``resume`` continues from; ``out/best``: the exported checkpoint; ``out/log.jsonl``: the curve.
    The learning rate decays with whichever of steps and minutes is nearer its end. Of several ``processes`` the first
    one validates and writes; ``loss`` in the log is the mean of all.
    """
    processes = processes or Processes()
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(schedule.seed)
    processes.same(task.model.state_dict().values())
    named = {n: p for n, p in task.model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(
        task.parameter_groups(schedule.learning_rate), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    rates = [group["lr"] for group in optimiser.param_groups]
    ema = {n: p.detach().clone() for n, p in named.items()}
    buffers = dict(task.model.named_buffers())  # what is learnt without a gradient, such as codebooks
    record = {"step": 0, "minutes": 0.0, "best": math.inf, "best_step": 0, "validation": {}}
    if resume:
        record = _restore(out / "last", named, ema, optimiser, buffers)
        torch.manual_seed(schedule.seed + record["step"])
    begun, before, mean = time.monotonic(), record["minutes"], {}
    last_log = begun
    while record["step"] < schedule.steps:
        minutes = (time.monotonic() - begun) / 60
        progress = max(record["step"] / schedule.steps, minutes / max_minutes if max_minutes else 0.0)
        progress = processes.agree(progress)
        if progress >= 1:
            break
        warm = min(1.0, (record["step"] + 1) / schedule.warmup)
        rate = warm * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))
        for group, full in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = full * rate
        task.model.train()
        loss, figures = task.loss(task.model)
        if not torch.isfinite(loss):
            step = record["step"]
            raise BackendError("internal", f"The loss is not finite at step {step}.", "Lower the learning rate.")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        loss = processes.average(list(named.values()), loss)
        if processes.size > 1 and "loss" in figures:
            figures["loss"] = loss.item()
        nn.utils.clip_grad_norm_(list(named.values()), schedule.clip)
        optimiser.step()
        record["step"] += 1
        decay = min(schedule.ema, (1 + record["step"]) / (10 + record["step"]))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.values()), [p.detach() for p in named.values()], 1 - decay)
        for name, value in figures.items():
            mean[name] = mean.get(name, 0.0) + value / schedule.log_every
        record["minutes"] = before + (time.monotonic() - begun) / 60
        if record["step"] % schedule.log_every == 0 and processes.first:
            speed = schedule.log_every / max(time.monotonic() - last_log, 1e-6)
            head = {"step": record["step"], "minutes": record["minutes"], "lr": rate, "steps_per_s": speed}
            _write_log(out, head | mean)
            mean, last_log = {}, time.monotonic()
        if record["step"] % schedule.validate_every == 0 and processes.first:
            _validate(task, named, ema, optimiser, record, out, buffers)
            last_log = time.monotonic()
    if record["step"] % schedule.validate_every and processes.first:
        _validate(task, named, ema, optimiser, record, out, buffers)
    return record


def _validate(task: Task, named: dict, ema: dict, optimiser, record: dict, out: Path, buffers: dict) -> None:
    averaged = swap_in(task.model, named, ema)
    averaged.eval()
    with torch.no_grad():
        figures = task.validate(averaged)
    _write_log(out, {"step": record["step"], "minutes": record["minutes"], "validation": figures})
    if figures["score"] < record["best"]:
        record |= {"best": figures["score"], "best_step": record["step"], "validation": figures}
        task.export(averaged, out / "best", dict(record))
    swap_back(task.model, named, ema)
    _save(out / "last", named, ema, optimiser, record, buffers)


def swap_in(model: nn.Module, named: dict[str, nn.Parameter], ema: dict[str, Tensor]) -> nn.Module:
    """Exchange the trained parameters with their averages, in place; call again (``swap_back``) to undo."""
    with torch.no_grad():
        for name, parameter in named.items():
            kept = parameter.detach().clone()
            parameter.copy_(ema[name])
            ema[name].copy_(kept)
    return model


swap_back = swap_in


def _write_log(out: Path, row: dict) -> None:
    row = {k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}
    with open(out / "log.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    log.info("%s", json.dumps(row))


def _save(folder: Path, named: dict, ema: dict, optimiser, record: dict, buffers: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = optimiser.state_dict()["state"]
    tensors = {f"model/{n}": p.detach().cpu() for n, p in named.items()}
    tensors |= {f"ema/{n}": p.cpu() for n, p in ema.items()}
    tensors |= {f"buffer/{n}": b.detach().cpu() for n, b in buffers.items()}
    for index, values in state.items():
        tensors |= {f"optimiser/{index}/{k}": torch.as_tensor(v).cpu() for k, v in values.items()}
    temporary = folder / "state.tmp"
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, temporary)
    temporary.replace(folder / "state.safetensors")
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")


def _restore(folder: Path, named: dict, ema: dict, optimiser, buffers: dict) -> dict:
    if not (folder / "record.json").is_file():
        raise BackendError("bad_file", f"There is nothing to resume in {folder}.", "Start without --resume.")
    try:
        tensors = load_file(folder / "state.safetensors")
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    except (SafetensorError, OSError, ValueError) as error:
        raise BackendError("bad_file", f"What was kept in {folder} is damaged.", "Start without --resume.") from error
    try:
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(tensors[f"model/{name}"])
                ema[name].copy_(tensors[f"ema/{name}"])
            for name, buffer in buffers.items():
                buffer.copy_(tensors.get(f"buffer/{name}", buffer))  # states of before have none
    except (KeyError, RuntimeError) as error:
        raise BackendError("bad_file", f"{folder} was written by another recipe.", "Start without --resume.") from error
    state = copy.deepcopy(optimiser.state_dict())
    for key, value in tensors.items():
        if key.startswith("optimiser/"):
            _, index, name = key.split("/")
            state["state"].setdefault(int(index), {})[name] = value
    optimiser.load_state_dict(state)
    return record
