"""Feet that a model lets slide are planted: in contact they keep their place, and given poses stay as they are."""

import numpy as np

from backend.data.feet import move_feet, smoothstep
from backend.motion.skeleton import JOINT_INDEX, Motion

EASE = 8  # frames over which a correction fades in and out around a contact
LARGEST = 0.12  # metres; a foot that slides further is not held at all cost
ANKLES = [JOINT_INDEX["left_ankle"], JOINT_INDEX["right_ankle"]]


def plant_feet(motion: Motion, fixed: "np.ndarray | None" = None) -> Motion:
    """The motion with each foot in one place for as long as it is in contact, by small corrections of the legs.

    fixed (T,) bool: frames that stay as they are; a foot in contact there stands where it is then. Ankles move by at
    most ``LARGEST``, over the ground only.
    """
    fixed = np.zeros(motion.frames, bool) if fixed is None else fixed
    joints = motion.joints().astype(np.float64)
    shift = np.zeros((motion.frames, 2, 3))
    for foot, ankle in enumerate(ANKLES):
        contact = motion.contacts[:, 2 * foot : 2 * foot + 2].max(1) > 0.5
        place = joints[:, ankle][:, [0, 2]]
        known = np.where(fixed, 0.0, np.nan)[:, None].repeat(2, 1)
        for start, stop in np.flatnonzero(np.diff(np.r_[False, contact, False])).reshape(-1, 2):
            at = np.arange(start, stop)
            held = at[fixed[at]]
            if len(held):
                wanted = np.stack([np.interp(at, held, place[held, axis]) for axis in range(2)], 1)
            else:
                wanted = np.median(place[at], 0)[None].repeat(len(at), 0)
            known[at] = wanted - place[at]
        shift[:, foot][:, [0, 2]] = _eased(known)
    size = np.linalg.norm(shift, axis=-1, keepdims=True)
    shift *= LARGEST * np.tanh(size / LARGEST) / np.maximum(size, 1e-9)
    moved = move_feet(motion, shift)
    rotations = moved.rotations.copy()
    rotations[fixed] = motion.rotations[fixed]
    return Motion(rotations, motion.translation, motion.rest_offsets, motion.fps, motion.contacts)


def _eased(known: np.ndarray) -> np.ndarray:
    """Values (T,2), NaN where free, filled: from one known value to the next where they are near, else to zero."""
    frames = np.flatnonzero(~np.isnan(known[:, 0]))
    filled = np.nan_to_num(known)
    if not len(frames):
        return filled
    at = np.arange(len(known))
    for a, b in zip([-(10**6), *frames], [*frames, 10**6], strict=True):
        free = at[(at > a) & (at < b)]
        if not len(free):
            continue
        left = known[a] if a >= 0 else np.zeros(2)
        right = known[b] if b < len(known) else np.zeros(2)
        if b - a <= 2 * EASE:
            part = smoothstep((free - a) / (b - a))[:, None]
            filled[free] = left * (1 - part) + right * part
        else:
            filled[free] = left * (1 - smoothstep((free - a) / EASE))[:, None]
            filled[free] += right * (1 - smoothstep((b - free) / EASE))[:, None]
    return filled
