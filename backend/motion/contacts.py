"""Which parts of the feet stand on the ground, from the canonical motion's own joint positions."""

import numpy as np

from backend.motion.skeleton import CONTACT_JOINTS

# height of ankle and ball above the floor when the foot is flat in the rest pose (metres)
REST_HEIGHTS = np.array([0.06, 0.0, 0.06, 0.0])
ENTER_HEIGHT, LEAVE_HEIGHT = 0.045, 0.075
ENTER_SPEED, LEAVE_SPEED = 0.35, 0.60


def foot_contacts(joints: np.ndarray, fps: float, floor: float = 0.0) -> np.ndarray:
    """Contacts (T,4) of 0 or 1 in the order of ``CONTACT_JOINTS`` from joint positions (T,22,3) in metres, Y up.

    A joint enters contact when it is low and slow and leaves it when it is clearly high or clearly fast (two
    thresholds keep the label from flickering); single-frame gaps and single-frame contacts are removed.
    """
    frames = len(joints)
    feet = joints[:, list(CONTACT_JOINTS)].astype(np.float64)
    height = feet[..., 1] - REST_HEIGHTS - floor
    if frames < 3:
        return (height < ENTER_HEIGHT).astype(np.float32)
    velocity = np.gradient(feet, 1.0 / fps, axis=0)
    speed = np.linalg.norm(velocity, axis=-1)
    sure = (height < ENTER_HEIGHT) & (speed < ENTER_SPEED)
    possible = (height < LEAVE_HEIGHT) & (speed < LEAVE_SPEED)
    contact = sure.copy()
    # hysteresis both ways in time: a run of "possible" frames that holds a "sure" one is contact
    for i in range(1, frames):
        contact[i] |= possible[i] & contact[i - 1]
    for i in range(frames - 2, -1, -1):
        contact[i] |= possible[i] & contact[i + 1]
    gap = ~contact[1:-1] & contact[:-2] & contact[2:]
    contact[1:-1] |= gap
    lone = contact[1:-1] & ~contact[:-2] & ~contact[2:]
    contact[1:-1] &= ~lone
    return contact.astype(np.float32)
