"""Poses met exactly: what a model only comes close to is corrected, and the correction fades out around it."""

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from backend.motion import rotations as rot
from backend.motion.contacts import foot_contacts
from backend.motion.skeleton import Motion
from backend.motion.target import Target

BLEND = 8  # frames on either side of a given pose, at least
LONGEST = 24  # and at most
FASTEST = 4.0  # radians a second that a correction adds to a joint, where LONGEST allows
RUN_OUT = 2  # the speed of a correction fades over so many times its frames: sooner is a jerk


def pin(motion: Motion, target: Target, blend: int = BLEND) -> Motion:
    """The motion with every given rotation and coordinate of ``target`` exactly as given.

    A correction of a rotation fades out over ``blend`` frames before and after the given frames, more for a large one
    (or it would be a jerk), with no speed at its ends; the travel is corrected evenly between given places, so that
    feet slide as little as possible, and a place that is given once moves the whole motion. What is given for several
    frames on end is left, and come to, at its own speed, which is lost over twice as many frames. Both have the same
    number of frames, else ValueError.
    """
    if target.frames != motion.frames:
        raise ValueError("the target and the motion differ in length")
    given = Rotation.from_quat(target.rotations.reshape(-1, 4), scalar_first=True)
    made = Rotation.from_quat(motion.rotations.reshape(-1, 4).astype(np.float64), scalar_first=True)
    # corrections as rotation vectors in the parent's frame, shortest way
    offset = (given * made.inv()).as_rotvec().reshape(motion.frames, 22, 3)
    offset[~target.joints] = 0.0
    faded = np.zeros_like(offset)
    for joint in np.flatnonzero(target.joints.any(0)):
        frames = np.flatnonzero(target.joints[:, joint])
        least = 2 * blend if joint == 0 else blend
        # the steepest of the fade is 15/8 of its mean
        needed = 15 / 8 * np.linalg.norm(offset[frames, joint], axis=-1) * motion.fps / FASTEST
        lengths = np.clip(np.ceil(needed), least, max(least, LONGEST)).astype(int)
        faded[:, joint] = fade(offset[frames, joint], frames, motion.frames, lengths)
        run_out(faded[:, joint], offset[frames, joint], frames, RUN_OUT * lengths)
    rotations = (Rotation.from_rotvec(faded.reshape(-1, 3)) * made).as_quat(scalar_first=True)
    rotations = rotations.reshape(motion.frames, 22, 4)
    rotations[target.joints] = target.rotations[target.joints]
    translation = motion.translation.astype(np.float64)
    for axis in range(3):
        frames = np.flatnonzero(target.place[:, axis])
        if not len(frames):
            continue
        gap = target.translation[frames, axis] - translation[frames, axis]
        if axis == 1:
            correction = fade(gap[:, None], frames, motion.frames, 2 * blend)
        else:
            correction = between(gap, frames, motion.frames)[:, None]
        run_out(correction, gap[:, None], frames, np.full(len(frames), RUN_OUT * 2 * blend))
        translation[:, axis] += correction[:, 0]
        translation[frames, axis] = target.translation[frames, axis]
    result = Motion(rot.continuous(rotations), translation, motion.rest_offsets, motion.fps)
    result.contacts = np.minimum(motion.contacts, foot_contacts(result.joints(), result.fps))
    return result


def fade(values: np.ndarray, frames: np.ndarray, count: int, blend: "int | np.ndarray") -> np.ndarray:
    """Values (K,C) at K rising frames, faded to zero over ``blend`` frames (one number, or K) around each: (count,C).

    Between two given frames that are nearer than that each fades out exactly where the other is.
    """
    result = np.zeros((count, values.shape[1]))
    at = np.arange(count)
    blends = np.broadcast_to(blend, len(frames))
    for i, frame in enumerate(frames):
        before = min(blends[i], frame - frames[i - 1]) if i else blends[i]
        after = min(blends[i], frames[i + 1] - frame) if i + 1 < len(frames) else blends[i]
        part = np.where(at < frame, (frame - at) / before, (at - frame) / after).clip(0, 1)
        result += (1 - part**3 * (10 - 15 * part + 6 * part**2))[:, None] * values[i]
    return result


def run_out(curve: np.ndarray, values: np.ndarray, frames: np.ndarray, lengths: np.ndarray) -> None:
    """Let a correction ``curve`` (T,C) leave stretches of given frames with the speed that it has in them, and lose it
    over ``lengths`` (K,) frames: what goes on from a given stretch then goes on without a jump of velocity. In place.

    values (K,C): the correction at the K given frames, rising.
    """
    for i, frame in enumerate(frames):
        for way in (1, -1):
            inner, outer = i - way, i + way
            if not 0 <= inner < len(frames) or frames[inner] != frame - way:
                continue  # a pose that is given alone has no speed
            room = abs(frames[outer] - frame) if 0 <= outer < len(frames) else len(curve)
            length = int(min(lengths[i], room))
            at = frame + way * np.arange(1, length)
            at = at[(at >= 0) & (at < len(curve))]
            if not len(at):
                continue
            missing = (values[i] - values[inner]) - (curve[at[0]] - curve[frame])
            part = np.abs(at - frame) / length
            bump = part * (1 - part) ** 2  # the least bend that begins with a speed and ends with none
            curve[at] += missing * (bump / bump[0])[:, None]


def between(values: np.ndarray, frames: np.ndarray, count: int) -> np.ndarray:
    """Values (K,) at K rising frames, interpolated in between without overshoot, kept before and after: (count,)."""
    at = np.clip(np.arange(count), frames[0], frames[-1])
    return PchipInterpolator(frames, values)(at) if len(frames) > 1 else np.full(count, values[0])


def close_loop(motion: Motion, blend: int = 2 * BLEND) -> Motion:
    """The motion with its last pose equal to its first but for place and heading, so that it repeats without a jump.

    Half of the difference is taken by the beginning, half by the end.
    """
    first, last = motion.rotations[0].astype(np.float64), motion.rotations[-1].astype(np.float64)
    unturned = [rot.quaternion_multiply(rot.yaw_quaternion(-rot.heading(q[0])), q[0]) for q in (first, last)]
    meet = np.stack([first, last])
    pelvis = halfway(unturned[0], unturned[1])
    middle = np.stack([halfway(a, b) for a, b in zip(first, last, strict=True)])
    target = Target.empty(motion.frames)
    for frame, row in ((0, 0), (motion.frames - 1, 1)):
        target.rotations[frame] = middle
        target.rotations[frame, 0] = rot.quaternion_multiply(rot.yaw_quaternion(rot.heading(meet[row, 0])), pelvis)
        target.joints[frame] = True
        target.translation[frame, 1] = motion.translation[[0, -1], 1].mean()
        target.place[frame, 1] = True
    return pin(motion, target, min(blend, motion.frames // 3))


def halfway(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The rotation between two unit quaternions wxyz."""
    b = -b if np.dot(a, b) < 0 else b
    return (a + b) / np.linalg.norm(a + b)
