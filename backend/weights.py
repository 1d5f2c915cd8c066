"""Weights on disk, small: matrices as 8-bit integers with a scale for each row, the rest as float16; safetensors only.

Rounding to 8 bits row by row ("absmax", Dettmers et al., arXiv 2208.07339) moves a weight by at most 0.4 % of the
largest in its row, and the weights of the models here by about 0.6 % of their own size; computing stays in the
precision of whoever loads them.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

SCALE = ".int8_scale"  # stands behind the name of a matrix
LEAST = 4096  # elements; smaller matrices are not worth a scale


def save(tensors: dict[str, Tensor], path: Path, int8: bool = False) -> None:
    """Write tensors as float16, with ``int8`` the matrices as int8 (rows, columns) and float16 scales (rows, 1)."""
    stored = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().to("cpu", torch.float32)
        if int8 and tensor.ndim == 2 and tensor.numel() >= LEAST:
            scale = (tensor.abs().amax(1, keepdim=True) / 127).half()
            # a row of zeros, or of numbers below float16, has no scale to divide by
            levels = torch.where(scale > 0, tensor / scale.float().clamp_min(1e-12), 0.0).round().clamp(-127, 127)
            stored[name], stored[name + SCALE] = levels.to(torch.int8), scale
        else:
            stored[name] = tensor.half().contiguous()
    save_file(stored, path)


def load(path: Path) -> dict[str, Tensor]:
    """What :func:`save` wrote, as float32. Raises OSError, ValueError or SafetensorError for a damaged file."""
    stored = load_file(path)
    scales = {name.removesuffix(SCALE): stored.pop(name) for name in list(stored) if name.endswith(SCALE)}
    if unknown := set(scales) - set(stored):
        raise ValueError(f"there is a scale without its matrix: {min(unknown)}")
    tensors = {}
    for name, tensor in stored.items():
        if tensor.dtype == torch.int8 and name not in scales:
            raise ValueError(f"there is a matrix without its scale: {name}")
        tensors[name] = tensor.float() * scales[name].float() if name in scales else tensor.float()
    return tensors
