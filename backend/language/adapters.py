"""LoRA (Hu et al., arXiv 2106.09685) on the linear layers of a language model.

The parameters are named and initialised as peft does, and give the same numbers (a test compares them): peft itself
imports transformers' training classes, which costs a model that is only served more than a second at its start.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class LowRank(nn.Module):
    """A frozen linear layer and, unless ``off``, what two thin trained ones add to it."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base_layer, self.scaling, self.off = base, alpha / rank, False
        made = {"device": base.weight.device, "dtype": torch.float32, "bias": False}
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, rank, **made)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, base.out_features, **made)})
        nn.init.zeros_(self.lora_B["default"].weight)

    def forward(self, x: Tensor) -> Tensor:
        result = self.base_layer(x)
        if self.off:
            return result
        down, up = self.lora_A["default"], self.lora_B["default"]
        return (result + up(down(x.to(down.weight.dtype))) * self.scaling).to(result.dtype)


class Adapted(nn.Module):
    """``model``, changed in place: frozen, with LoRA on every linear layer whose name is in ``targets``."""

    def __init__(self, model: nn.Module, rank: int, alpha: float, targets: list[str]):
        super().__init__()
        self.base_model = nn.Module()
        self.base_model.model = model.requires_grad_(False)
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if name in targets and isinstance(child, nn.Linear):
                    setattr(parent, name, LowRank(child, rank, alpha))

    def get_base_model(self) -> nn.Module:
        return self.base_model.model

    def get_input_embeddings(self) -> nn.Embedding:
        return self.get_base_model().get_input_embeddings()

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """The language as it was, within the block."""
        layers = [module for module in self.modules() if isinstance(module, LowRank)]
        before = [layer.off for layer in layers]
        try:
            for layer in layers:
                layer.off = True
            yield
        finally:
            for layer, off in zip(layers, before, strict=True):
                layer.off = off
