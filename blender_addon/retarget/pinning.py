"""Keyed values that meet given poses exactly: what is left to correct fades out around each of them."""

import numpy as np

from . import rotations as rot
from .splicing import to_quaternions, written_as

BLEND = 8  # frames over which a correction fades out


def pinned(mode: str, values: np.ndarray, frames: np.ndarray, given: np.ndarray, blend: int = BLEND) -> np.ndarray:
    """Keyed values (T,k) that are ``given`` (P,k) at the rising ``frames`` (P,), and unchanged far from them.

    mode: a bone's rotation mode, or "" for plain numbers. A given rotation is met as a rotation: it may be written with
    the other sign, or another turn, so that the values run on without a jump.
    """
    values, given = np.asarray(values, dtype=np.float64), np.asarray(given, dtype=np.float64)
    frames = np.asarray(frames, dtype=int)
    if not len(frames):
        return values
    if not mode:
        met = values + _faded(given - values[frames], frames, len(values), blend)
        met[frames] = given
        return met
    made, wanted = to_quaternions(mode, values), to_quaternions(mode, given)
    apart = rot.to_axis_angle(rot.multiply(wanted, rot.conjugate(made[frames])))
    turn = _faded(apart, frames, len(values), blend)
    angle = np.linalg.norm(turn, axis=-1)
    axis = turn / np.maximum(angle, 1e-12)[:, None]
    met = rot.multiply(rot.from_axis_angle(axis, angle), made)
    met[frames] = wanted
    return written_as(mode, rot.continuous(met), given[0], int(frames[0]))


def near(count: int, frames: np.ndarray, blend: int = BLEND) -> np.ndarray:
    """Which of ``count`` frames (count,) bool a correction at ``frames`` changes."""
    at = np.arange(count)
    found = np.zeros(count, dtype=bool)
    for frame in frames:
        found |= np.abs(at - frame) <= blend
    return found


def _faded(values: np.ndarray, frames: np.ndarray, count: int, blend: int) -> np.ndarray:
    """Values (P,c) at rising frames, faded to nothing over ``blend`` frames around each: (count,c). Where two are
    nearer than that, each is gone where the other is."""
    result, at = np.zeros((count, values.shape[1])), np.arange(count)
    for i, frame in enumerate(frames):
        before = min(blend, frame - frames[i - 1]) if i else blend
        after = min(blend, frames[i + 1] - frame) if i + 1 < len(frames) else blend
        share = np.clip(np.where(at < frame, (frame - at) / before, (at - frame) / after), 0.0, 1.0)
        result += (1 - share**3 * (10 - 15 * share + 6 * share**2))[:, None] * values[i]
    return result
