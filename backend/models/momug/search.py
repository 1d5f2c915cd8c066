"""A search for the least loss that remembers: L-BFGS whose curvature is kept from one search to the next.

Every denoising step asks for nearly the same correction of nearly the same motion. What was learnt of the loss at one
step (Nocedal and Wright, Numerical Optimization, algorithm 7.4) lets the next one get near with two or three looks,
where a search that starts anew spends them on finding the length of its first step.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor], tuple[Tensor, Tensor]]


class Search:
    """Least squares of several rows at once, each with its own curvature and step length."""

    def __init__(self, memory: int = 12):
        self.memory = memory
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []  # step (B,N), change of gradient (B,N), 1 / product (B,)
        self.scale: Tensor | None = None  # of the inverse Hessian, per row; 0 where nothing is known

    def minimise(self, loss: Loss, x: Tensor, looks: int) -> Tensor:
        """The best point (B,N) of ``looks`` looks at the loss, beginning at ``x``; no row gets worse.

        loss: of points (B,N), (values (B,), gradients (B,N)); its least value is near zero.
        """
        value, slope = loss(x)
        shrink = torch.ones_like(value)
        for _ in range(looks - 1):
            step = shrink[:, None] * self._step(value, slope)
            value_there, slope_there = loss(x + step)
            better = value_there < value
            self._remember(step, slope_there - slope)
            x = torch.where(better[:, None], x + step, x)
            slope = torch.where(better[:, None], slope_there, slope)
            value = torch.where(better, value_there, value)
            shrink = torch.where(better, torch.ones_like(shrink), 0.3 * shrink)
        return x

    def _step(self, value: Tensor, slope: Tensor) -> Tensor:
        """Down the slope, by the curvature of the remembered pairs; by the loss alone (Polyak 1969) without one."""
        polyak = value / slope.square().sum(1).clamp(min=1e-20)
        down, shares = -slope, []
        for step, change, product in reversed(self.pairs):
            share = product * (step * down).sum(1)
            down = down - share[:, None] * change
            shares.append(share)
        scale = polyak if self.scale is None else torch.where(self.scale > 0, self.scale, polyak)
        down = scale[:, None] * down
        for (step, change, product), share in zip(self.pairs, reversed(shares), strict=True):
            down = down + (share - product * (change * down).sum(1))[:, None] * step
        falls = (down * slope).sum(1) < 0
        return torch.where(falls[:, None], down, -polyak[:, None] * slope)

    def _remember(self, step: Tensor, change: Tensor) -> None:
        product, size = (step * change).sum(1), change.square().sum(1)
        sound = product > 1e-6 * (step.square().sum(1) * size).sqrt().clamp(min=1e-20)
        self.pairs.append((step, change, torch.where(sound, 1 / product.clamp(min=1e-20), torch.zeros_like(product))))
        del self.pairs[: -self.memory]
        scale = torch.where(sound, product / size.clamp(min=1e-20), torch.zeros_like(product))
        self.scale = scale if self.scale is None else torch.where(sound, scale, self.scale)
