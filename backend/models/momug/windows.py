"""Several prompts as one motion: overlapping windows that are denoised together.

Every prompt has its stretch of the latents; longer ones are cut. A window reaches a little into its neighbours, and
where windows overlap their predictions of the clean latents are averaged (MultiDiffusion, Bar-Tal et al. 2023; for
motion: PriorMDM, Shafir et al. 2023). Latents hold movements, not places, so a seam cannot jump.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

OVERLAP = 4  # latents on either side of a seam: half a second


@dataclass(frozen=True)
class Window:
    """Latents start..stop that are denoised under the prompt number ``prompt``."""

    prompt: int
    start: int
    stop: int


def plan(lengths: list[int], longest: int, overlap: int = OVERLAP) -> list[Window]:
    """Windows of at most ``longest`` latents for prompts of ``lengths`` latents each, in order."""
    windows, at = [], 0
    total = sum(lengths)
    for prompt, length in enumerate(lengths):
        room = longest - 2 * overlap if total > longest or len(lengths) > 1 else longest
        parts = -(-length // room)
        for part in range(parts):
            start, stop = at + length * part // parts, at + length * (part + 1) // parts
            windows.append(Window(prompt, max(0, start - overlap), min(total, stop + overlap)))
        at += length
    return windows if len(windows) > 1 else [Window(0, 0, total)]


def gather(latents: Tensor, windows: list[Window]) -> tuple[Tensor, Tensor]:
    """Latents (B,L,C) cut into windows (B*W,longest,C), padded with zeros, and their lengths (B*W,)."""
    longest = max(w.stop - w.start for w in windows)
    cut = latents.new_zeros(len(latents), len(windows), longest, latents.shape[-1])
    for i, window in enumerate(windows):
        cut[:, i, : window.stop - window.start] = latents[:, window.start : window.stop]
    lengths = torch.tensor([w.stop - w.start for w in windows], device=latents.device)
    return cut.flatten(0, 1), lengths.repeat(len(latents))


def scatter(cut: Tensor, windows: list[Window], length: int, overlap: int = OVERLAP) -> Tensor:
    """The inverse of ``gather``: (B*W,longest,C) to (B,length,C), overlaps cross-faded."""
    cut = cut.unflatten(0, (-1, len(windows)))
    total = cut.new_zeros(len(cut), length, cut.shape[-1])
    weights = cut.new_zeros(length)
    for i, window in enumerate(windows):
        size = window.stop - window.start
        weight = cut.new_ones(size)
        ramp = (torch.arange(min(2 * overlap, size), device=cut.device) + 0.5) / (2 * overlap)
        if window.start > 0:
            weight[: len(ramp)] = torch.minimum(weight[: len(ramp)], ramp)
        if window.stop < length:
            weight[size - len(ramp) :] = torch.minimum(weight[size - len(ramp) :], ramp.flip(0))
        total[:, window.start : window.stop] += weight[:, None] * cut[:, i, :size]
        weights[window.start : window.stop] += weight
    return total / weights[:, None]
