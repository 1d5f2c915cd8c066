"""Longer walks and runs from short captures: the gait cycle of a clip is found and repeated.

A capture volume is a few metres long, so most recorded walks last 2-4 s and runs 1-2 s. Where a clip comes back to
nearly the same pose at nearly the same speed, it can go round once more; the joint is closed by letting the small
difference decay over the next frames.
"""

import numpy as np

from backend.motion import rotations as rot
from backend.motion.contacts import foot_contacts
from backend.motion.skeleton import Motion

SHORTEST_CYCLE, LONGEST_CYCLE = 16, 75
MAX_POSE_DIFFERENCE = 0.055  # metres, mean over joints
MAX_SPEED_DIFFERENCE = 0.35  # m/s, mean over joints
DECAY = 12  # frames


def find_cycle(motion: Motion) -> tuple[int, int] | None:
    """Frames (a, b) whose poses and velocities fit best in the heading frame, or None when nothing fits well."""
    frames = motion.frames
    if frames < SHORTEST_CYCLE + 8:
        return None
    root = motion.rotations[:, 0].astype(np.float64)
    yaw = 2 * np.arctan2(root[:, 2], root[:, 0])
    turn = np.stack([np.cos(yaw / 2), 0 * yaw, -np.sin(yaw / 2), 0 * yaw], -1)[:, None]
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
    rotations = [motion.rotations[:b].astype(np.float64)]
    translation = [motion.translation[:b].astype(np.float64)]
    for i in range(times):
        end = b if i + 1 < times else motion.frames
        # where frame b of what is there lies (extrapolated from the last frame by the clip's own step)
        aim_q, aim_t = _follow(rotations[-1][-1], translation[-1][-1], motion, b - 1, b)
        q, t = _aligned(motion, a, end, aim_q, aim_t)
        _close(q, t, aim_q, aim_t)
        rotations.append(q)
        translation.append(t)
    quaternions = rot.continuous(np.concatenate(rotations))
    result = Motion(quaternions, np.concatenate(translation), motion.rest_offsets, motion.fps)
    result.contacts = foot_contacts(result.joints(), result.fps)
    return result


def join(first: Motion, second: Motion) -> Motion:
    """``second`` after ``first``, moved to where that ends; the difference of the poses decays over the next frames."""
    aim_q, aim_t = first.rotations[-1].astype(np.float64), first.translation[-1].astype(np.float64)
    q, t = _aligned(second, 0, second.frames, aim_q, aim_t)
    _close(q, t, aim_q, aim_t)
    # the first frame now shows the same as the last one of what is before
    rotations = rot.continuous(np.concatenate([first.rotations.astype(np.float64), q[1:]]))
    result = Motion(rotations, np.concatenate([first.translation, t[1:]]), first.rest_offsets, first.fps)
    result.contacts = foot_contacts(result.joints(), result.fps)
    return result


def _close(q: np.ndarray, t: np.ndarray, aim_q: np.ndarray, aim_t: np.ndarray) -> None:
    """Bend the start of rotations q and pelvis t, in place, so that the first frame is the aim in pose and height."""
    length = min(DECAY, len(q))
    weight = np.zeros(len(q))
    weight[:length] = 0.5 + 0.5 * np.cos(np.pi * np.arange(length) / length)
    gap = rot.quaternion_multiply(aim_q, rot.quaternion_conjugate(q[0]))
    gap = np.where(gap[:, :1] < 0, -gap, gap)
    vector = rot.quaternion_to_axis_angle(gap)
    q[:] = rot.quaternion_multiply(rot.axis_angle_to_quaternion(weight[:, None, None] * vector), q)
    t[:, 1] += weight * (aim_t[1] - t[0, 1])


def _yaw(q: np.ndarray) -> float:
    return float(2 * np.arctan2(q[2], q[0]))


def _turned(angle: float) -> np.ndarray:
    return np.array([np.cos(angle / 2), 0.0, np.sin(angle / 2), 0.0])


def _follow(q: np.ndarray, t: np.ndarray, motion: Motion, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
    """The pose of frame j, carried over to the place where frame i is shown with rotations q and pelvis t."""
    angle = _yaw(q[0]) - _yaw(motion.rotations[i, 0].astype(np.float64))
    turn = _turned(angle)
    new_q = motion.rotations[j].astype(np.float64).copy()
    new_q[0] = rot.quaternion_multiply(turn, new_q[0])
    step = (motion.translation[j] - motion.translation[i]).astype(np.float64)
    new_t = t + rot.quaternion_rotate(turn, step)
    return new_q, new_t


def _aligned(motion: Motion, start: int, stop: int, aim_q: np.ndarray, aim_t: np.ndarray):
    """Frames start..stop turned about the vertical and moved over the floor so that the first lies at the aim."""
    q = motion.rotations[start:stop].astype(np.float64).copy()
    turn = _turned(_yaw(aim_q[0]) - _yaw(q[0, 0]))
    q[:, 0] = rot.quaternion_multiply(turn, q[:, 0])
    t = motion.translation[start:stop].astype(np.float64)
    moved = rot.quaternion_rotate(turn, t - t[:1])
    moved[:, [0, 2]] += aim_t[[0, 2]]
    moved[:, 1] += t[0, 1]
    return q, moved
