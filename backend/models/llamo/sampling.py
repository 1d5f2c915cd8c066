"""Flow matching, one latent at a time (arXiv 2602.12370).

x_t = (1 - t) eps + t z runs from noise to the next latent z in a straight line; the flow head predicts its velocity
z - eps from x_t, t and the state h of the mixture (Lipman et al., arXiv 2210.02747; Liu et al., arXiv 2209.03003).
"""

from collections.abc import Callable

from torch import Tensor


def mix(eps: Tensor, z: Tensor, t: Tensor) -> Tensor:
    """x_t of noise (...,C) and latents (...,C) at times t (...)."""
    return (1 - t[..., None]) * eps + t[..., None] * z


def euler(velocity: Callable[[Tensor, float], Tensor], x_t: Tensor, steps: int) -> Tensor:
    """From noise at t = 0 to t = 1 in equal steps."""
    for step in range(steps):
        x_t = x_t + velocity(x_t, step / steps) / steps
    return x_t


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022) on velocities."""
    return unconditional + scale * (conditional - unconditional)


def next_latents(flow: Callable, states: Tensor, noise: Tensor, scale: float, steps: int) -> Tensor:
    """The next latent (N,C) of each motion.

    flow: the velocity (2N,C) of x_t (2N,C) at t (2N,) given states; states (2N,width): with the sentence, then without;
    noise (N,C).
    """

    def velocity(x_t: Tensor, t: float) -> Tensor:
        both = flow(x_t.repeat(2, 1), x_t.new_full((2 * len(x_t),), t), states)
        return guided(*both.chunk(2), scale)

    return euler(velocity, noise, steps)
