"""A second motion head that needs few steps and no guidance: the plain head's matrices plus low-rank changes.

What 20 guided steps do, 40 readings of the head, is learnt by 5 readings (guided and progressive distillation: Meng et
al., arXiv 2210.03142; Salimans and Ho, arXiv 2202.00512). Kept as low-rank changes (as LCM-LoRA does, arXiv 2311.05556)
it takes a quarter of a head on disk, and the plain head stays for what the short way was not learnt for: style packs,
given poses, guidance and steps of one's own choice, the language model in the loop, and many tries that differ.
"""

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.utils import parametrize

from backend import weights
from backend.errors import BackendError
from backend.models.checkpoint import HINT
from backend.models.momug.head import MotionHead

FILE = "few.safetensors"
RANK = 64


@dataclass(frozen=True)
class Way:
    """How a request is denoised: which head, in how many steps, with which scale of classifier-free guidance
    (arXiv 2207.12598; 1: the sentence is read alone)."""

    head: MotionHead
    steps: int
    scale: float

    @property
    def reads(self) -> int:
        """Readings of the head in one step: with the sentence and, for guidance, without it."""
        return 1 if self.scale == 1 else 2


class LowRank(nn.Module):
    """W + up @ down for a matrix W (out,in); nothing is added until ``up`` is trained or loaded."""

    def __init__(self, out: int, inputs: int, rank: int):
        super().__init__()
        self.up = nn.Parameter(torch.zeros(out, rank))
        self.down = nn.Parameter(torch.randn(rank, inputs) / math.sqrt(inputs))

    def forward(self, matrix: Tensor) -> Tensor:
        """``matrix`` (out,in) with the change."""
        return matrix + self.up @ self.down


def attach(head: MotionHead, rank: int = RANK) -> MotionHead:
    """A copy of a plain head whose matrices have trainable low-rank changes; they themselves are frozen, while biases
    and modulations are trained as they are. What reads the language model is left alone."""
    head = copy.deepcopy(head)
    for name, module in list(head.named_modules()):
        if isinstance(module, nn.Linear) and name != "llm_in":
            module.weight.requires_grad_(False)
            change = LowRank(module.out_features, module.in_features, rank).to(module.weight.device)
            parametrize.register_parametrization(module, "weight", change)
    for name, parameter in head.named_parameters():
        parameter.requires_grad_(not name.startswith("llm_") and not name.endswith(".original"))
    return head


def changes(head: MotionHead) -> dict[str, Tensor]:
    """What :func:`attach` made trainable, by the names that :func:`merged` reads."""
    return {
        name.replace(".parametrizations.weight.0.", "."): parameter.detach()
        for name, parameter in head.named_parameters()
        if parameter.requires_grad
    }


def merged(head: MotionHead, changed: dict[str, Tensor]) -> MotionHead:
    """A frozen copy of a plain head with ``changes`` in it. Raises BackendError ``checkpoint_damaged``."""
    head = copy.deepcopy(head)
    state = head.state_dict()
    try:
        for name, tensor in changed.items():
            layer, _, part = name.rpartition(".")
            if part == "up":
                state[f"{layer}.weight"] = state[f"{layer}.weight"] + tensor @ changed[f"{layer}.down"]
            elif part != "down":
                state[name] = tensor
        head.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise BackendError("checkpoint_damaged", f"The weights in {FILE} do not fit the head.", HINT) from error
    return head.requires_grad_(False).eval()


def save(changed: dict[str, Tensor], folder: Path, int8: bool = False) -> None:
    """Write changes into a checkpoint folder, see :func:`backend.weights.save`."""
    weights.save(changed, folder / FILE, int8)


def load(folder: Path, device: str) -> dict[str, Tensor]:
    """The changes that lie in a checkpoint folder. Raises BackendError ``checkpoint_damaged``."""
    try:
        return {name: tensor.to(device) for name, tensor in weights.load(folder / FILE).items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise BackendError("checkpoint_damaged", f"The weights in {FILE} cannot be read.", HINT) from error
