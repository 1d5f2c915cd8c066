"""Curves of a motion over time that the measurements share, and two helpers for curves.

Axes: metres, Y up; left and turning left (counter-clockwise seen from above) are positive.
"""

import numpy as np

from backend.motion.skeleton import JOINT_INDEX as J
from backend.motion.skeleton import Motion, global_rotations
from backend.protocol import PARENTS

STANDING = 0.94  # height of the pelvis of a standing canonical body
MOVING = 0.35  # m/s; below it the body shifts its weight but does not travel
SIDES = ("left", "right")


class Tracks:
    """Per-frame curves.

    joints (T,22,3); yaw (T,) degrees, unwrapped; velocity (T,2): forward and left in the body's own heading, m/s,
    smoothed over half a second; speed (T,); lean (T,) degrees of the trunk from upright; height (T,) of the pelvis;
    lowest (T,) height of the lowest part of the feet; relative_speed (T,22) of the joints to the pelvis; feet_speed
    (T,2) over the floor, m/s, of the slower one of heel and toe.
    """

    def __init__(self, motion: Motion):
        self.fps = motion.fps
        self.frames = motion.frames
        world = global_rotations(motion.rotations)
        joints = np.empty((motion.frames, 22, 3))
        joints[:, 0] = motion.translation
        for joint, parent in enumerate(PARENTS):
            if parent >= 0:
                joints[:, joint] = joints[:, parent] + world[:, parent] @ motion.rest_offsets[joint]
        self.joints = joints
        root = motion.rotations[:, 0].astype(np.float64)
        yaw = np.unwrap(2.0 * np.arctan2(root[:, 2], root[:, 0]))  # rotations.heading, without its need of scipy
        window = max(1, round(0.5 * self.fps))
        smooth_yaw = smooth(yaw, window)
        self.yaw = np.degrees(smooth_yaw)
        self.sine, self.cosine = np.sin(smooth_yaw), np.cos(smooth_yaw)
        step = self.rate(smooth(joints[:, 0], window))
        self.velocity = np.stack(self.heading(step), 1)
        self.speed = np.hypot(self.velocity[:, 0], self.velocity[:, 1])
        trunk = joints[:, J["neck"]] - joints[:, 0]
        self.lean = np.degrees(np.arccos(np.clip(trunk[:, 1] / np.linalg.norm(trunk, axis=1), -1, 1)))
        self.trunk = trunk
        self.up = world[:, 0, 1, 1]
        self.front = world[:, 0, 1, 2]  # how far the belly points up (1) or down (-1)
        self.height = joints[:, 0, 1]
        self.toes = joints[:, [J["left_foot"], J["right_foot"]], 1]
        self.ankles = joints[:, [J["left_ankle"], J["right_ankle"]], 1]
        self.lowest = np.minimum(self.toes, self.ankles - 0.06).min(1)
        velocity = self.rate(joints)
        self.relative_speed = length(velocity - velocity[:, :1])
        steps = np.diff(joints, axis=0)
        self.mean_speed = float(length(steps).mean() * self.fps) if self.frames > 1 else 0.0
        ground = np.hypot(velocity[..., 0], velocity[..., 2])
        self.feet_speed = np.stack(
            [np.minimum(ground[:, J[f"{s}_ankle"]], ground[:, J[f"{s}_foot"]]) for s in SIDES], 1
        )
        # the way the feet point, which twisting hips do not change
        feet = sum(joints[:, J[f"{s}_foot"]] - joints[:, J[f"{s}_ankle"]] for s in SIDES)
        self.feet_yaw = np.degrees(smooth(np.unwrap(np.arctan2(feet[:, 0], feet[:, 2])), window))

    def rate(self, values: np.ndarray) -> np.ndarray:
        """Change of a curve per second."""
        result = np.zeros_like(values, dtype=np.float64)
        if self.frames > 1:
            result[1:-1] = (values[2:] - values[:-2]) * (self.fps / 2)
            result[0], result[-1] = (values[1] - values[0]) * self.fps, (values[-1] - values[-2]) * self.fps
        return result

    def heading(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors (T,3) of the world as (forward, left) of the body."""
        x, z = vectors[:, 0], vectors[:, 2]
        return x * self.sine + z * self.cosine, x * self.cosine - z * self.sine

    def span(self, seconds: float) -> int:
        """Seconds in frames, at least one."""
        return max(1, round(seconds * self.fps))


def length(vectors: np.ndarray) -> np.ndarray:
    """Lengths (...) of vectors (...,3)."""
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Running mean over ``window`` frames along axis 0; the ends are extended so that a straight line stays one."""
    if window < 2 or len(values) < 3:
        return values
    half = min(window // 2, len(values) - 1)
    head = 2 * values[0] - values[half:0:-1]
    tail = 2 * values[-1] - values[-2 : -half - 2 : -1]
    padded = np.concatenate([head, values, tail])
    total = np.cumsum(np.concatenate([np.zeros_like(padded[:1]), padded]), axis=0)
    return (total[2 * half + 1 :] - total[: -2 * half - 1]) / (2 * half + 1)


def runs(mask: np.ndarray, least: int = 1) -> list[tuple[int, int]]:
    """Stretches (start, stop) of True of at least ``least`` frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= least]


def close(stretches: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Stretches with those less than ``gap`` frames apart made one."""
    result: list[tuple[int, int]] = []
    for a, b in stretches:
        if result and a - result[-1][1] < gap:
            result[-1] = (result[-1][0], b)
        else:
            result.append((a, b))
    return result


def swings(curve: np.ndarray, least: float) -> list[int]:
    """Frames at which a curve (T,) turns, where the ways before and after each turn are at least ``least``."""
    turns: list[int] = []
    extreme = low = high = 0
    going = 0
    for i, value in enumerate(curve):
        if going == 0:
            low = i if value < curve[low] else low
            high = i if value > curve[high] else high
            if value - curve[low] >= least or curve[high] - value >= least:
                going, extreme = (1 if i != low and value - curve[low] >= least else -1), i
        elif (value - curve[extreme]) * going > 0:
            extreme = i
        elif (curve[extreme] - value) * going >= least:
            turns.append(extreme)
            going, extreme = -going, i
    return turns
