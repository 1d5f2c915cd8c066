"""Joint positions as a plain array file: (T,22,3) float32, metres, Y up, at the motion's frame rate."""

from pathlib import Path

import numpy as np

from backend.motion.skeleton import Motion


def write(path: Path, motion: Motion) -> None:
    """Save the joints of a motion, derived by forward kinematics."""
    with open(path, "wb") as file:
        np.save(file, motion.joints().astype(np.float32), allow_pickle=False)
