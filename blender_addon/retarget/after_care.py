"""What is done to a canonical motion after the model: loops, and motion in place."""

import numpy as np

from . import rotations as rot
from .motion import CanonicalMotion

# Seconds over which travel is told from sway: a step is shorter than this, a walk longer
_SWAY = 0.9
# Seconds at each end of a loop over which the seam is taken away
_SEAM = 0.35
# A loop that turns less than this (radians) is meant to go straight
_STRAIGHT = np.radians(45.0)
# A loop keeps at least this share of the motion
_SHORTEST = 0.5


def travel(motion: CanonicalMotion) -> np.ndarray:
    """The way over the ground (T,3) in metres, Y zero, without the sway of the hips around it; zero at first.

    A Gaussian mean of the pelvis path over about a stride; the ends are continued as they run.
    """
    smooth = _without_sway(motion.translation.astype(np.float64) * np.array([1.0, 0.0, 1.0]), motion.fps)
    return smooth - smooth[:1]


def heading(motion: CanonicalMotion) -> np.ndarray:
    """Which way the figure goes (T,), radians about Y from +Z without jumps: that of the pelvis without its sway."""
    return _without_sway(_yaw(motion.rotations[:, 0].astype(np.float64))[:, None], motion.fps)[:, 0]


def _without_sway(path: np.ndarray, fps: float) -> np.ndarray:
    width = _SWAY * fps / 2
    reach = int(min(3 * width, len(path) - 1))
    if reach < 1:
        return path
    before = 2 * path[:1] - path[reach:0:-1]
    after = 2 * path[-1:] - path[-2 : -reach - 2 : -1]
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    kernel /= kernel.sum()
    whole = np.concatenate([before, path, after])
    return np.stack([np.convolve(whole[:, axis], kernel, "valid") for axis in range(path.shape[1])], -1)


def in_place(motion: CanonicalMotion) -> CanonicalMotion:
    """The motion without its travel. Turning, heights and the sway of the hips stay; feet slide, as on a treadmill,
    so their contacts are no longer said. ``motion.translation`` minus :func:`travel`."""
    moved = motion.translation - travel(motion)
    return CanonicalMotion(motion.rotations, moved, motion.rest_offsets, motion.fps, np.zeros_like(motion.contacts))


def close_loop(motion: CanonicalMotion) -> CanonicalMotion:
    """The motion cut to its best cycle, its ends changed so that the last pose is the first one.

    Travel over the ground and turns of more than 45 degrees stay: the next round goes on from where the last one ended.
    Smaller ones are straightened. Pose and speed run on without a jump. The result is at most as long as the motion,
    and at least half.
    """
    if motion.frames < 8:
        return motion
    start, stop = _cycle(motion)
    cut = _part(motion, start, stop)
    frames = cut.frames
    width = max(2, min(int(round(_SEAM * cut.fps)), (frames - 1) // 2))
    turns = np.array(rot.continuous(rot.normalise(cut.rotations)))
    path = cut.translation.astype(np.float64)
    yaw = _yaw(turns[:, 0])
    drift = yaw[-1] - yaw[0]
    if abs(drift) < _STRAIGHT:
        bend = rot.from_axis_angle(np.array([0.0, 1.0, 0.0]), -drift * np.linspace(0.0, 1.0, frames))
        turns[:, 0] = rot.multiply(bend, turns[:, 0])
        steps = rot.rotate(bend[:-1], np.diff(path, axis=0))
        path = np.concatenate([path[:1], path[:1] + np.cumsum(steps, axis=0)])
        yaw = _yaw(turns[:, 0])
    # Pelvis: tilt in the frame of its own heading, so that a motion that turns may go on turning
    heading = rot.from_axis_angle(np.array([0.0, 1.0, 0.0]), yaw)
    turns[:, 0] = rot.multiply(rot.conjugate(heading), turns[:, 0])
    # What the first pose lacks to be the last one, halved: each end meets the other midway
    apart = rot.multiply(turns[-1], rot.conjugate(turns[0]))
    apart = rot.to_axis_angle(apart)
    speeds = [rot.to_axis_angle(rot.multiply(turns[b], rot.conjugate(turns[a]))) for a, b in ((0, 1), (-2, -1))]
    rising = _seam(frames, width, apart[None], (speeds[1] - speeds[0])[None])
    angle = np.linalg.norm(rising, axis=-1)
    axis = rising / np.maximum(angle, 1e-12)[..., None]
    turns = rot.multiply(rot.from_axis_angle(axis, angle), turns)
    turns[:, 0] = rot.multiply(heading, turns[:, 0])
    steps = np.diff(path, axis=0)
    local = rot.rotate(rot.conjugate(heading[:-1]), steps)
    jump = np.array([0.0, path[-1, 1] - path[0, 1], 0.0])
    shift = _seam(frames, width, jump[None], (local[-1] - local[0])[None])
    path = path + rot.rotate(heading, shift)
    contacts = cut.contacts.copy()
    contacts[-1] = contacts[0]
    return CanonicalMotion(rot.continuous(turns), path, cut.rest_offsets, cut.fps, contacts)


def _part(motion: CanonicalMotion, start: int, stop: int) -> CanonicalMotion:
    return CanonicalMotion(
        motion.rotations[start:stop],
        motion.translation[start:stop],
        motion.rest_offsets,
        motion.fps,
        motion.contacts[start:stop],
    )


def _cycle(motion: CanonicalMotion) -> tuple[int, int]:
    """First frame and end (exclusive) whose poses and speeds are most alike; long cycles win over near ties."""
    local = motion.rotations.astype(np.float64)
    still = CanonicalMotion(local, np.zeros_like(motion.translation), motion.rest_offsets, motion.fps)
    heading = rot.from_axis_angle(np.array([0.0, 1.0, 0.0]), _yaw(local[:, 0]))
    joints = rot.rotate(rot.conjugate(heading)[:, None], still.joints())
    joints[..., 1] += motion.translation[:, 1:2]
    feature = joints.reshape(motion.frames, -1)
    speed = np.gradient(feature, axis=0) * motion.fps * 0.1
    feature = np.concatenate([feature, speed], -1)
    frames = motion.frames
    starts = np.arange(0, max(1, int(frames * 0.25)))
    ends = np.arange(int(np.ceil(frames * (1 - 0.25))) - 1, frames)
    cost = np.linalg.norm(feature[starts][:, None] - feature[ends][None], axis=-1) / np.sqrt(22)
    length = ends[None] - starts[:, None] + 1
    cost = cost + 0.03 * (1.0 - length / frames)
    cost[length < max(8, _SHORTEST * frames)] = np.inf
    best = np.unravel_index(int(cost.argmin()), cost.shape)
    return int(starts[best[0]]), int(ends[best[1]]) + 1


def _seam(frames: int, width: int, jump: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Offsets (T, ...) that take away a jump (1, ...) and a change of speed (a frame) between last and first frame."""
    place = np.minimum(np.arange(width + 1) / width, 1.0).reshape((-1,) + (1,) * (jump.ndim - 1))
    # Quintic: starts with the given value and slope, ends with nothing
    value = 1 - 10 * place**3 + 15 * place**4 - 6 * place**5
    slope = (place - 6 * place**3 + 8 * place**4 - 3 * place**5) * width
    offsets = np.zeros((frames,) + jump.shape[1:])
    offsets[: width + 1] += 0.5 * (value * jump + slope * speed)
    offsets[frames - width - 1 :] -= 0.5 * (value * jump - slope * speed)[::-1]
    return offsets


def _yaw(pelvis: np.ndarray) -> np.ndarray:
    """Heading (T,) in radians about Y, without jumps, of pelvis rotations (T,4): the twist about the vertical."""
    return np.unwrap(2.0 * np.arctan2(pelvis[:, 2], pelvis[:, 0]))
