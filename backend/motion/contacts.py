"""Which parts of the feet stand on the ground, from the canonical motion's own joint positions."""

import numpy as np

from backend.motion.skeleton import CONTACT_JOINTS

# height of ankle and ball above the floor when the foot is flat in the rest pose (metres)
REST_HEIGHTS = np.array([0.06, 0.0, 0.06, 0.0])
ENTER_HEIGHT, LEAVE_HEIGHT = 0.045, 0.075
ENTER_SPEED, LEAVE_SPEED = 0.35, 0.60


def foot_contacts(joints: np.ndarray, fps: float, floor: float = 0.0) -> np.ndarray:
    """Contacts (T,4) of 0 or 1 in the order of ``CONTACT_JOINTS`` from joint positions (T,22,3) in metres, Y up.

    A joint is in contact in the frames whose place it keeps: it enters contact when it is low and slow and leaves it
    when it is clearly high or clearly fast (two thresholds keep the label from flickering); single-frame gaps and
    single-frame contacts are removed. The speed of a frame is the slower of the steps into it and out of it: the foot
    of a runner stands for 5 frames of 20, and a speed over both neighbours would take the first and the last away.
    """
    frames = len(joints)
    feet = joints[:, list(CONTACT_JOINTS)].astype(np.float64)
    height = feet[..., 1] - REST_HEIGHTS - floor
    if frames < 3:
        return (height < ENTER_HEIGHT).astype(np.float32)
    step = np.linalg.norm(np.diff(feet, axis=0), axis=-1) * fps
    speed = np.minimum(np.concatenate([step[:1], step]), np.concatenate([step, step[-1:]]))
    sure = (height < ENTER_HEIGHT) & (speed < ENTER_SPEED)
    possible = (height < LEAVE_HEIGHT) & (speed < LEAVE_SPEED)
    contact = np.stack([_stretches_with(possible[:, i], sure[:, i]) for i in range(4)], 1)
    gap = ~contact[1:-1] & contact[:-2] & contact[2:]
    contact[1:-1] |= gap
    lone = contact[1:-1] & ~contact[:-2] & ~contact[2:]
    contact[1:-1] &= ~lone
    return contact.astype(np.float32)


def _stretches_with(possible: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """The stretches of ``possible`` (T,) that hold at least one frame of ``sure`` (T,)."""
    number = np.cumsum(np.diff(possible, prepend=False))  # odd inside a stretch, another odd number in the next one
    return possible & np.isin(number, number[sure & possible])
