"""Diffusion over latents: cosine schedule, x0 prediction, DDIM with classifier-free guidance.

x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps (Ho et al. 2020; cosine: Nichol and Dhariwal 2021; DDIM: Song et
al. 2021; guidance: Ho and Salimans 2022; min-SNR weights: Hang et al. 2023).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def cosine_alpha_bar(timesteps: int = 1000) -> Tensor:
    """alpha_bar (timesteps,) float32, falling from about 1 to about 0."""
    steps = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    curve = torch.cos((steps + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - curve[1:] / curve[:-1]).clamp(max=0.999)
    return torch.cumprod(1 - betas, 0).float()


def add_noise(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t for clean latents (B,L,C) and alpha_bar (B,) of each row's timestep."""
    alpha_bar = alpha_bar[:, None, None]
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def min_snr_weight(alpha_bar: Tensor, gamma: float = 5.0) -> Tensor:
    """Loss weights (B,) for x0 prediction: min(SNR, gamma) + 1, scaled to at most 1.

    The +1 (Salimans and Ho 2022, arXiv 2202.00512) keeps the noisiest steps in it: they decide where a motion goes.
    """
    return ((alpha_bar / (1 - alpha_bar)).clamp(max=gamma) + 1) / (gamma + 1)


def seeded_noise(seed: int, tries: int, length: int, width: int) -> Tensor:
    """Noise (tries,length,width) that depends on the seed alone, on every device; the first is the same for any number
    of tries."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    return torch.stack([torch.randn(length, width, generator=generator) for _ in range(tries)])


def ddim(
    predict_x0: Callable[[Tensor, int], Tensor],
    noise: Tensor,
    alpha_bar: Tensor,
    steps: int,
    clip: float = 5.0,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Deterministic DDIM from noise (B,L,C) to latents; ``predict_x0(x_t, t)`` applies guidance itself.

    Timesteps are evenly spaced and start at the last one. Predictions are clipped to ``clip`` standard deviations.
    """
    x_t = noise
    times = torch.linspace(len(alpha_bar) - 1, 0, steps + 1).round().long().tolist()
    for step, (now, then) in enumerate(zip(times[:-1], times[1:], strict=True)):
        on_step(step)
        a_now, a_then = alpha_bar[now], alpha_bar[then]
        x0 = predict_x0(x_t, now).clamp(-clip, clip)
        eps = (x_t - a_now.sqrt() * x0) / (1 - a_now).sqrt()
        x_t = x0 if step == steps - 1 else a_then.sqrt() * x0 + (1 - a_then).sqrt() * eps
    return x_t


def guided(
    conditional: Tensor, unconditional: Tensor, scale: float, lengths: Tensor | None = None, rescale: float = 0.5
) -> Tensor:
    """Classifier-free guidance on x0, with part of the guided spread taken back (Lin et al. 2023, arXiv 2305.08891).

    Both (B,L,C); lengths (B,) where rows are padded: the spread is that of the valid latents.
    """
    x0 = unconditional + scale * (conditional - unconditional)
    if lengths is None:
        lengths = torch.full((len(x0),), x0.shape[1], device=x0.device)
    ratio = _spread(conditional, lengths) / _spread(x0, lengths).clamp(min=1e-6)
    return x0 * (rescale * ratio[:, None, None] + 1 - rescale)


def _spread(x: Tensor, lengths: Tensor) -> Tensor:
    """Standard deviation (B,) of the valid latents of each row (B,L,C)."""
    valid = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None].to(x.dtype)
    count = lengths * x.shape[-1]
    mean = (x * valid).sum((1, 2)) / count
    return (((x - mean[:, None, None]) * valid).square().sum((1, 2)) / (count - 1)).sqrt()
