"""Ways to spoil a real motion, by a growing amount: what a judge of motion must notice."""

import numpy as np

from backend.data.clean import mirrored
from backend.motion import rotations as rot
from backend.motion.contacts import foot_contacts
from backend.motion.skeleton import Motion


def jitter(motion: Motion, degrees: float, seed: int = 0) -> Motion:
    """Every joint turned by Gaussian noise of ``degrees`` in every frame, the pelvis moved by a third of it in mm."""
    random = np.random.default_rng(seed)
    noise = rot.axis_angle_to_quaternion(np.radians(degrees) * random.standard_normal((*motion.rotations.shape[:2], 3)))
    turned = rot.quaternion_multiply(motion.rotations.astype(np.float64), noise)
    moved = motion.translation + degrees / 3000 * random.standard_normal(motion.translation.shape)
    return _made(turned, moved, motion)


def slide(motion: Motion, speed: float, seed: int = 0) -> Motion:
    """The whole body carried over the floor at ``speed`` m/s to a side of its own, so that standing feet slide."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    way = speed / motion.fps * np.arange(motion.frames)[:, None] * [np.cos(angle), 0.0, np.sin(angle)]
    return _made(motion.rotations, motion.translation + way, motion)


def reverse(motion: Motion) -> Motion:
    """Backwards in time."""
    return _made(motion.rotations[::-1], motion.translation[::-1], motion)


def flip(motion: Motion) -> Motion:
    """Left and right exchanged while the caption stays."""
    return mirrored(motion)


def mean_pose(motion: Motion, rotations: np.ndarray, height: float) -> Motion:
    """The average pose of the training set, standing still for as long as the motion lasts."""
    frames = motion.frames
    still = np.tile([0.0, height, 0.0], (frames, 1))
    return _made(np.tile(rotations, (frames, 1, 1)), still, motion)


def average_pose(motions: list[Motion]) -> tuple[np.ndarray, float]:
    """Mean local rotations (22,4) without heading, and mean pelvis height, over all frames of ``motions``."""
    quaternions = np.concatenate([m.rotations for m in motions]).astype(np.float64)
    yaw = rot.heading(quaternions[:, 0])
    unturn = np.stack([np.cos(-yaw / 2), 0 * yaw, np.sin(-yaw / 2), 0 * yaw], -1)
    quaternions[:, 0] = rot.quaternion_multiply(unturn, quaternions[:, 0])
    # the mean rotation is the largest eigenvector of the sum of outer products (Markley et al. 2007)
    mean = np.stack([np.linalg.eigh(q.T @ q)[1][:, -1] for q in np.moveaxis(quaternions, 1, 0)])
    return mean, float(np.concatenate([m.translation[:, 1] for m in motions]).mean())


def _made(rotations: np.ndarray, translation: np.ndarray, like: Motion) -> Motion:
    made = Motion(rot.continuous(rotations), translation, like.rest_offsets, like.fps)
    made.contacts = foot_contacts(made.joints(), made.fps)
    return made
