"""Training in several processes, as torchrun or accelerate start them: data parallel, by plain torch.distributed.

Each process draws its own share of a batch; gradients are averaged after every step, so that all hold the same weights.
A task calls its model by other ways than ``forward``, so that DistributedDataParallel would not see its gradients.
"""

import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from backend.errors import BackendError

APART = 1_000_003  # between the seeds of two processes
PATIENCE = timedelta(hours=2)  # the first one validates and reads captions while the others wait


class Processes:
    """This process among ``size``; the one with ``rank`` 0 validates and writes. One process alone needs nothing."""

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        return self.rank == 0

    def in_turn(self, make: Callable[[], Any]) -> Any:
        """What ``make`` returns; the first process goes first: the others find in files what it has computed."""
        if self.size == 1:
            return make()
        if not self.first:
            dist.barrier()
        made = make()
        if self.first:
            dist.barrier()
        return made

    def share(self, recipe: dict) -> dict:
        """The recipe of this process: its part of the batch, and a seed of its own. Raises BackendError."""
        if self.size == 1:
            return recipe
        if recipe.get("task") == "vq":
            raise BackendError("bad_request", "Codebooks learn without gradients: train this recipe in one process.")
        batch = recipe.get("batch")
        if batch is None or batch % self.size:
            raise BackendError("bad_request", f"The batch of {batch} cannot be shared by {self.size} processes.")
        schedule = recipe.get("schedule", {})
        seeds = {"seed": schedule.get("seed", 0) + self.rank * APART}
        own = {"batch": batch // self.size, "schedule": schedule | seeds}
        return recipe | own | {"seed": recipe.get("seed", 0) + self.rank * APART}

    def same(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the first one's numbers."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), 0)

    def agree(self, number: float) -> float:
        """The first process' number: clocks differ."""
        if self.size == 1:
            return number
        told = torch.tensor([number], dtype=torch.float64, device=_device())
        dist.broadcast(told, 0)
        return told.item()

    def average(self, parameters: list[torch.nn.Parameter], loss: Tensor) -> Tensor:
        """The mean of the losses; gradients become their mean too, in one message."""
        if self.size == 1:
            return loss
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        used = loss.new_tensor([p.grad is not None for p in parameters], dtype=torch.float32)
        flat = torch.cat([loss.detach().reshape(1).float(), used, *(part.reshape(-1).float() for part in parts)])
        dist.all_reduce(flat)
        mean, used, *parts = (flat / self.size).split([1, len(used), *(part.numel() for part in parts)])
        for parameter, gradient, share in zip(parameters, parts, used.tolist(), strict=True):
            # what no process has used is left alone by the optimiser, as in one process
            parameter.grad = gradient.view_as(parameter).to(parameter.dtype) if share else None
        return mean[0]


def begin(device: str) -> tuple[Processes, str]:
    """Join the processes that the environment tells of (WORLD_SIZE, RANK, MASTER_ADDR ...); the device of this one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Processes(), device
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    return Processes(dist.get_rank(), dist.get_world_size()), device


def end() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
