"""A generated piece inside an animation that exists: where it stands, how its ends run into what is there.

The piece is placed as canonical motion, before it meets the rig (feet are locked afterwards, on the moved path); its
ends are blended as keyed values, so that the first and the last frame of the range are exactly what was there.
"""

from dataclasses import dataclass

import numpy as np

from . import rotations as rot
from .motion import CanonicalMotion

_UP = np.array([0.0, 1.0, 0.0])


def fitted(motion: CanonicalMotion, frames: int, fps: float) -> CanonicalMotion:
    """``motion`` as exactly ``frames`` frames at ``fps``, played a little faster or slower where it must be."""
    if motion.frames == 1 or frames == 1:
        one = CanonicalMotion(
            motion.rotations[:1], motion.translation[:1], motion.rest_offsets, fps, motion.contacts[:1]
        )
        return one if frames == 1 else _held(one, frames)
    rate = (motion.frames - 1) / (frames - 1) * fps
    return CanonicalMotion(motion.rotations, motion.translation, motion.rest_offsets, rate, motion.contacts).resample(
        fps
    )


def _held(motion: CanonicalMotion, frames: int) -> CanonicalMotion:
    still = [np.repeat(part, frames, axis=0) for part in (motion.rotations, motion.translation, motion.contacts)]
    return CanonicalMotion(still[0], still[1], motion.rest_offsets, motion.fps, still[2])


def heading(rotation: np.ndarray) -> float:
    """The direction that a pelvis with world rotation (4,) faces on the ground, radians about Y from +Z."""
    forward = rot.rotate(rotation, np.array([0.0, 0.0, 1.0]))
    if np.hypot(forward[0], forward[2]) < 0.3:  # lying: what points up or down from the hips tells
        forward = rot.rotate(rotation, _UP) * (-1.0 if forward[1] > 0 else 1.0)
    return float(np.arctan2(forward[0], forward[2]))


@dataclass(frozen=True)
class Stand:
    """Where a pelvis is at one moment, canonical: world position (3,) in metres and heading in radians."""

    position: tuple[float, float, float]
    heading: float

    @classmethod
    def of(cls, motion: CanonicalMotion, frame: int = 0) -> "Stand":
        """How ``motion`` stands at a frame."""
        return cls(tuple(float(x) for x in motion.translation[frame]), heading(motion.rotations[frame, 0]))


def placed(motion: CanonicalMotion, start: Stand | None, end: Stand | None) -> CanonicalMotion:
    """``motion`` moved over the ground and turned about the vertical to begin where ``start`` stands.

    start, end: what is in the scene at the ends of the range, None where nothing is. With both the path bends and
    shifts evenly along the way to arrive at ``end``; with ``end`` alone the whole path is moved. Heights stay.
    """
    if start is None and end is None:
        return motion
    rotations = motion.rotations.astype(np.float64)
    path = motion.translation.astype(np.float64)
    if start is None:
        rotations, path = _moved(rotations, path, -1, end)
    else:
        rotations, path = _moved(rotations, path, 0, start)
    if start is not None and end is not None and motion.frames > 1:
        share = _smooth(np.linspace(0.0, 1.0, motion.frames))
        bend = _wrapped(end.heading - heading(rotations[-1, 0]))
        turns = rot.from_axis_angle(_UP, share * bend)
        rotations[:, 0] = rot.multiply(turns, rotations[:, 0])
        steps = rot.rotate(turns[:-1], np.diff(path, axis=0))
        path = np.concatenate([path[:1], path[:1] + np.cumsum(steps, axis=0)])
        rest = np.array(end.position) - path[-1]
        rest[1] = 0.0
        path = path + share[:, None] * rest
    return CanonicalMotion(rotations, path, motion.rest_offsets, motion.fps, motion.contacts)


def three_rounds(motion: CanonicalMotion, stay: bool = False) -> CanonicalMotion:
    """A closed cycle of T frames with the round before and the round after it, 3T - 2 frames; frames T - 1 to 2T - 2
    are ``motion`` itself. What looks at neighbouring frames (foot lock) then finds the same at both of its ends.

    stay: shifted so that the first round begins where ``motion`` does, for taking the travel out afterwards.
    """
    rotations, path = motion.rotations.astype(np.float64), motion.translation.astype(np.float64)
    before = _moved(rotations, path, -1, Stand.of(motion, 0))
    after = _moved(rotations, path, 0, Stand.of(motion, -1))
    parts = [(before[0][:-1], before[1][:-1]), (rotations, path), (after[0][1:], after[1][1:])]
    whole = np.concatenate([part[1] for part in parts])
    if stay:
        whole = whole + (path[0] - whole[0]) * np.array([1.0, 0.0, 1.0])
    contacts = motion.contacts
    return CanonicalMotion(
        np.concatenate([part[0] for part in parts]),
        whole,
        motion.rest_offsets,
        motion.fps,
        np.concatenate([contacts[:-1], contacts, contacts[1:]]),
    )


def _moved(rotations: np.ndarray, path: np.ndarray, frame: int, onto: Stand) -> tuple[np.ndarray, np.ndarray]:
    turn = rot.from_axis_angle(_UP, _wrapped(onto.heading - heading(rotations[frame, 0])))
    rotations = rotations.copy()
    rotations[:, 0] = rot.multiply(turn, rotations[:, 0])
    moved = rot.rotate(turn, path - path[frame])
    moved += np.array([onto.position[0], path[frame, 1], onto.position[2]])
    return rotations, moved


def _wrapped(angle: float) -> float:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _smooth(share: np.ndarray) -> np.ndarray:
    return share * share * (3.0 - 2.0 * share)


def weights(frames: int, blend_in: int, blend_out: int) -> np.ndarray:
    """How much of the generated piece shows (T,): 0 on the outermost frame of a blended end, 1 inside.

    blend_in, blend_out: lengths in frames, 0 for an end without a blend.
    """
    count = np.arange(frames, dtype=np.float64)
    rising = np.clip(count / blend_in, 0.0, 1.0) if blend_in > 0 else np.ones(frames)
    falling = np.clip((frames - 1 - count) / blend_out, 0.0, 1.0) if blend_out > 0 else np.ones(frames)
    return _smooth(rising) * _smooth(falling)


def blended(
    mode: str, generated: np.ndarray, existing: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Keyed values (T,k) that run from ``existing`` into ``generated`` and back, and where they must jump (T,) bool.

    mode: a bone's rotation mode, or "" for plain numbers. Rotations are blended along the shorter arc and then
    written the way the existing keys are: same quaternion sign, same turns of Euler angles. When the two ends cannot
    be written without a jump in between (the angles have wound up by a whole turn), the frame before it is marked:
    its key must hold (CONSTANT), or there would be a spin between two frames.
    """
    jumps = np.zeros(len(generated), dtype=bool)
    if not mode:
        values = existing + weight[:, None] * (generated - existing)
    else:
        q = _mixed(to_quaternions(mode, existing), to_quaternions(mode, generated), weight)
        values = written_as(mode, q, existing[0], 0)
        if weight[-1] < 1.0 and len(values) > 1:
            late = written_as(mode, q, existing[-1], -1)
            cut = int(np.flatnonzero(weight >= 1.0)[-1]) if (weight >= 1.0).any() else len(values) // 2
            cut = min(max(cut, 1), len(values) - 1)
            if np.abs(values[cut] - late[cut]).max() > 1e-3:
                jumps[cut - 1] = True
            values[cut:] = late[cut:]
    untouched = weight <= 0.0
    values[untouched] = existing[untouched]
    return values, jumps


def _mixed(existing: np.ndarray, generated: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Quaternions (T,4) between two tracks. Which way round a bone turns is chosen once for each blended end: the
    shorter way of every frame would flip where the tracks are half a turn apart."""
    mixed = generated.copy()
    partial = np.flatnonzero(weight < 1.0)
    for zone in np.split(partial, np.flatnonzero(np.diff(partial) > 1) + 1):
        if not len(zone):
            continue
        apart = rot.continuous(rot.multiply(rot.conjugate(existing[zone]), generated[zone]))
        if apart[len(zone) // 2, 0] < 0:
            apart = -apart
        sine = np.linalg.norm(apart[:, 1:], axis=-1)
        angle = 2.0 * np.arctan2(sine, apart[:, 0])
        axis = apart[:, 1:] / np.maximum(sine, 1e-12)[:, None]
        mixed[zone] = rot.multiply(existing[zone], rot.from_axis_angle(axis, weight[zone] * angle))
    return mixed


def to_quaternions(mode: str, values: np.ndarray) -> np.ndarray:
    """Keyed rotations (T,3 or 4) as unit quaternions (T,4)."""
    if mode == "QUATERNION":
        return rot.normalise(values)
    if mode == "AXIS_ANGLE":
        axis = values[:, 1:] / np.maximum(np.linalg.norm(values[:, 1:], axis=-1, keepdims=True), 1e-12)
        return rot.from_axis_angle(axis, values[:, 0])
    return rot.from_euler(values, mode)


def written_as(mode: str, q: np.ndarray, like: np.ndarray, frame: int) -> np.ndarray:
    """Quaternions (T,4) in a rotation mode without jumps, in the way that is nearest to ``like`` at ``frame``."""
    if mode == "QUATERNION":
        values = rot.continuous(q)
        return -values if values[frame] @ like < 0 else values
    if mode == "AXIS_ANGLE":
        values = rot.to_axis_and_angle(q)
        if values[frame, 1:] @ like[1:] < 0:
            values = -values
        values[:, 0] += 2 * np.pi * np.round((like[0] - values[frame, 0]) / (2 * np.pi))
        return values
    values = rot.to_euler(q, mode)
    middle = "XYZ".index(mode[1])
    other = values + np.pi
    other[:, middle] = np.pi - values[:, middle]
    ways = [way + 2 * np.pi * np.round((like - way[frame]) / (2 * np.pi)) for way in (values, other)]
    return min(ways, key=lambda way: np.abs(way[frame] - like).sum())
