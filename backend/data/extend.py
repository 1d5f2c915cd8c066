"""Longer walks and runs from short captures: the gait cycle of a clip is found and repeated.

A capture volume is a few metres long, so most recorded walks last 2-4 s and runs 1-2 s. Where a clip comes back to
nearly the same pose at nearly the same speed, it can go round once more (:mod:`backend.data.join`).
"""

import numpy as np

from backend.data import join as blend
from backend.motion import rotations as rot
from backend.motion.skeleton import Motion

SHORTEST_CYCLE, LONGEST_CYCLE = 16, 75
MAX_POSE_DIFFERENCE = 0.055  # metres, mean over joints
MAX_SPEED_DIFFERENCE = 0.35  # m/s, mean over joints


def find_cycle(motion: Motion) -> tuple[int, int] | None:
    """Frames (a, b) whose poses and velocities fit best in the heading frame, or None when nothing fits well."""
    frames = motion.frames
    if frames < SHORTEST_CYCLE + 8:
        return None
    root = motion.rotations[:, 0].astype(np.float64)
    turn = rot.yaw_quaternion(-rot.heading(root))[:, None]
    joints = motion.joints().astype(np.float64)
    velocity = rot.quaternion_rotate(turn, np.gradient(joints, axis=0) * motion.fps)
    centre = joints[:, :1] * np.array([1, 0, 1])
    pose = rot.quaternion_rotate(turn, joints - centre)
    best, found = np.inf, None
    for a in range(2, frames - SHORTEST_CYCLE - 2):
        last = min(frames - 2, a + LONGEST_CYCLE)
        b = np.arange(a + SHORTEST_CYCLE, last)
        if not len(b):
            continue
        near = np.linalg.norm(pose[b] - pose[a], axis=-1).mean(1)
        fast = np.linalg.norm(velocity[b] - velocity[a], axis=-1).mean(1)
        cost = near / MAX_POSE_DIFFERENCE + fast / MAX_SPEED_DIFFERENCE
        cost[(near > MAX_POSE_DIFFERENCE) | (fast > MAX_SPEED_DIFFERENCE)] = np.inf
        i = int(np.argmin(cost))
        if cost[i] < best:
            best, found = float(cost[i]), (a, int(b[i]))
    return found


def repeat_cycle(motion: Motion, cycle: tuple[int, int], times: int) -> Motion:
    """The clip with frames a..b shown ``times`` more times than it has them; longer by times * (b - a) frames."""
    a, b = cycle
    made = motion.slice(0, b + 1)
    before = max(a - 1, 0)  # tells the speed with which the cycle is entered
    for i in range(times):
        end = b if i + 1 < times else motion.frames - 1
        made, _ = blend.join(made, made.frames - 1, motion.slice(before, end + 1), a - before)
    return made


def join(first: Motion, second: Motion) -> Motion:
    """``second`` after ``first``, moved to where that ends; the last pose of the one is the first of the other."""
    return blend.join(first, first.frames - 1, second, 0)[0]
