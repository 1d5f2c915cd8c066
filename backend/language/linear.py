"""The linear layers of the language model, kept to few shapes.

On a CPU PyTorch multiplies bfloat16 through oneDNN, which makes code for every new number of rows and never gives all
of it back: 0.57 MiB were measured for each shape of a layer, whatever its size, and half of that stays when its cache
is off. Sentences and motions have hundreds of lengths. So the rows are filled up to one of a few numbers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def filled(rows: int) -> int:
    """The next number of rows that is used: 1, 2, 4, 8, 16, 32, 48, 64, 80 ... 128, 160 ... 256, 320 ...; at most a
    quarter more than 64 and over."""
    if rows <= 16:
        return 1 << max(rows - 1, 0).bit_length()
    step = max(16, 1 << ((rows - 1).bit_length() - 3))
    return -(-rows // step) * step


class Linear(nn.Linear):
    """(...,inputs) to (...,outputs), with the same numbers as ``nn.Linear``."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.shape[:-1].numel()
        more = filled(rows) - rows
        if not more or x.dtype != torch.bfloat16 or x.device.type != "cpu" or torch.is_grad_enabled():
            return super().forward(x)
        full = F.pad(x.reshape(rows, x.shape[-1]), (0, 0, 0, more))
        return super().forward(full)[:rows].view(*x.shape[:-1], self.out_features)


def few_shapes(model: nn.Module) -> nn.Module:
    """``model``, its linear layers changed into :class:`Linear`; weights and names stay."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear
    return model
