"""From the codec's latents to features, in pieces between which the work can be cancelled."""

from collections.abc import Callable

import torch
from torch import Tensor

from backend.codecs.causal_vae import CausalVAE
from backend.errors import BackendError

ROWS = 4  # motions decoded at once: ten seconds of so many take a few hundredths of a second


def decode(codec: CausalVAE, latents: Tensor, stop: Callable[[], None]) -> Tensor:
    """Latents (B,L,C) to features (B,4L,155), see ``CausalVAE.decode``; ``stop`` is called before each few rows.

    Raises BackendError ``internal`` for numbers that are not finite.
    """
    pieces = []
    for rows in latents.split(ROWS):
        stop()
        pieces.append(codec.decode(rows))
    return finite(torch.cat(pieces))


def finite(features: Tensor) -> Tensor:
    """The features, if all are finite; else raises BackendError ``internal``."""
    if not torch.isfinite(features).all():
        raise BackendError("internal", "The model produced numbers that are not finite.", "Try another seed.", True)
    return features
