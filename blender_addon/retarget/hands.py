"""Hands that go through the body: found on the target's own proportions, and pushed out when asked for.

The trunk is an elliptic tube from the pelvis to the neck, as wide as the shoulders of the figure say. A wrist inside
it is moved to its surface by two-bone IK of the arm; the push swells and fades, so that nothing jumps.
"""

import numpy as np

from ..rig import canonical
from . import rotations as rot
from .foot_lock import two_bone

# Half width and half depth of the trunk against the distance from a shoulder joint to the middle
_WIDE, _DEEP = 0.72, 0.52
# Seconds over which a push swells and fades
_FADE = 0.2
# Deeper than this (metres on a canonical body) for longer than this (seconds) is worth a sentence
_SAID, _LONG = 0.03, 0.1


def depth(skeleton, turns: dict, positions: dict) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Side -> (how deep the wrist is inside the trunk (T,), world units, 0 outside; the way out (T,3), unit length).

    skeleton: the ``Chain`` of the rig. turns, positions: as in ``foot_lock.lock``.
    """
    rest = skeleton.rest
    half = 0.5 * float(np.linalg.norm(positions["left_shoulder"][0] - positions["right_shoulder"][0]))
    low = positions["pelvis"]
    high = 0.5 * (positions["left_shoulder"] + positions["right_shoulder"])
    along = high - low
    length = np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    along = along / length
    chest = skeleton.map.spine[-1]
    left = rot.rotate(rot.multiply(turns[chest], rot.conjugate(skeleton.match[chest])), rest.frame[:, 0])
    left = left - along * np.sum(left * along, -1, keepdims=True)
    left = left / np.maximum(np.linalg.norm(left, axis=-1, keepdims=True), 1e-9)
    front = rot.cross(left, along)
    found = {}
    for side in canonical.SIDES:
        wrist = positions.get(f"{side}_wrist")
        if wrist is None:
            continue
        from_low = wrist - low
        place = np.sum(from_low * along, -1, keepdims=True) / length
        aside = np.sum(from_low * left, -1) / (_WIDE * half)
        ahead = np.sum(from_low * front, -1) / (_DEEP * half)
        reach = np.hypot(aside, ahead)
        out = left * aside[:, None] / (_WIDE * half) + front * ahead[:, None] / (_DEEP * half)
        size = np.linalg.norm(out, axis=-1, keepdims=True)
        out = np.where(size > 1e-9, out / np.maximum(size, 1e-9), front)
        # To the surface along its own direction, from where the wrist is
        inside = np.clip(1.0 - reach, 0.0, 1.0) * _DEEP * half / np.maximum(np.sqrt(aside**2 + ahead**2), 0.35)
        # The tube's ends are open: the push fades towards the neck and below the hips
        inside = inside * np.clip(np.minimum(place[:, 0], 1.0 - place[:, 0]) / 0.15, 0.0, 1.0)
        found[side] = (np.minimum(inside, 0.8 * half), out)
    return found


def push_out(skeleton, turns: dict, positions: dict, fps: float) -> None:
    """Change the turns of the arms so that wrists stay outside the trunk. Arguments as in :func:`depth`."""
    for side, (inside, out) in depth(skeleton, turns, positions).items():
        if not inside.any():
            continue
        push = _swell(inside, max(1, int(round(_FADE * fps))))
        move(skeleton, turns, positions, side, push[:, None] * _smooth(out, fps))


def move(skeleton, turns: dict, positions: dict, side: str, moved: np.ndarray) -> None:
    """Let the wrist of ``side`` go where ``moved`` (T,3) shifts it. The rest as for :func:`depth`."""
    shoulder, elbow, wrist = (positions[f"{side}_{role}"] for role in ("shoulder", "elbow", "wrist"))
    upper_bone, lower_bone = (skeleton.map.bone(f"{side}_{role}") for role in ("shoulder", "elbow"))
    free = rot.multiply(turns[upper_bone], rot.conjugate(skeleton.match[upper_bone]))
    # A straight elbow bends about the vertical of the T-pose, the left one and the right one each their own way
    hinge = rot.rotate(free, skeleton.rest.frame[:, 1] * (-1.0 if side == "left" else 1.0))
    upper, lower = two_bone(shoulder, elbow, wrist, wrist + moved, hinge)
    turns[upper_bone] = rot.multiply(upper, turns[upper_bone])
    turns[lower_bone] = rot.multiply(lower, turns[lower_bone])


def warnings(skeleton, turns: dict, positions: dict, fps: float) -> list[str]:
    """Sentences about hands that go through the body."""
    said = []
    for side, (inside, _) in depth(skeleton, turns, positions).items():
        deep = inside > _SAID * skeleton.rest.scale
        if deep.sum() > _LONG * fps:
            said.append(
                f"The {side} hand goes through the body for {deep.sum() / fps:.1f} s, up to "
                f"{inside.max() / skeleton.rest.scale * 100:.0f} cm."
            )
    return said


def _swell(values: np.ndarray, width: int) -> np.ndarray:
    """A smooth curve over ``values`` (T,) that is nowhere below them: the largest nearby, averaged."""
    padded = np.pad(values, 2 * width, mode="edge")
    largest = np.lib.stride_tricks.sliding_window_view(padded, 2 * width + 1).max(-1)
    kernel = np.hanning(2 * width + 3)[1:-1]
    return np.convolve(largest, kernel / kernel.sum(), "valid")


def _smooth(directions: np.ndarray, fps: float) -> np.ndarray:
    width = max(1, int(round(_FADE * fps)))
    kernel = np.hanning(2 * width + 3)[1:-1]
    padded = np.pad(directions, ((width, width), (0, 0)), mode="edge")
    mean = np.stack([np.convolve(padded[:, i], kernel / kernel.sum(), "valid") for i in range(3)], -1)
    return mean / np.maximum(np.linalg.norm(mean, axis=-1, keepdims=True), 1e-9)
