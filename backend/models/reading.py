"""How every system reads a motion that it is to describe."""

import numpy as np

from backend.codecs.causal_vae import STRIDE
from backend.errors import BackendError
from backend.motion import features
from backend.motion.skeleton import CANONICAL_OFFSETS, Motion
from backend.protocol import FPS


def beginning(motion: Motion, most: float) -> Motion:
    """The motion's first ``most`` seconds."""
    return motion.slice(0, min(motion.frames, int(most * FPS)))


def window(motion: Motion, least: float, most: float) -> np.ndarray:
    """Features (T,155) of a canonical motion on the canonical body: of its first ``most`` seconds, whole latents.

    Raises BackendError ``bad_motion`` for less than ``least`` seconds.
    """
    frames = min(motion.frames, int(most * FPS)) // STRIDE * STRIDE
    if frames < int(least * FPS) // STRIDE * STRIDE:
        raise BackendError("bad_motion", f"The motion is too short: at least {least:g} s are needed.")
    contacts = motion.contacts[:frames]
    return features.encode(
        Motion(motion.rotations[:frames], motion.translation[:frames], CANONICAL_OFFSETS, FPS, contacts)
    )
