"""A motion onto a rig while it is made: frames go in as they come, and what came out is never changed.

Foot lock and clearing of hands look ahead elsewhere; here they know the past only, and ease in and out instead.
"""

from dataclasses import replace

import numpy as np

from ..rig.bones import BoneMap, Rig
from . import foot_lock, hands
from . import rotations as rot
from .motion import CanonicalMotion
from .retarget import RigAnimation, retarget
from .splicing import Stand, heading

# Seconds in which a correction of a foot that left the ground, or of its height, falls to a third
_EASE = 0.08
# and in which a hand is pushed out, or comes back
_PUSH = 0.1
# Seconds of the past that a rig with a bone of its own for travel has to see, to tell travel from sway
_PAST = 1.5


class Placer:
    """The pieces of a motion where they belong: with the turn and shift that bring the first frame to ``start``, over
    the ground and about the vertical; None leaves them where they are."""

    def __init__(self, start: Stand | None):
        self.start = start
        self._moved: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def __call__(self, motion: CanonicalMotion) -> CanonicalMotion:
        if self.start is None:
            return motion
        if self._moved is None:
            angle = self.start.heading - heading(motion.rotations[0, 0].astype(np.float64))
            came, goes = motion.translation[0].astype(np.float64), np.array(self.start.position)
            came[1] = goes[1] = 0.0
            self._moved = rot.from_axis_angle(np.array([0.0, 1.0, 0.0]), np.array(angle)), came, goes
        turn, came, goes = self._moved
        rotations = motion.rotations.astype(np.float64)
        rotations[:, 0] = rot.multiply(turn, rotations[:, 0])
        path = rot.rotate(turn, motion.translation - came) + goes
        return CanonicalMotion(rotations, path, motion.rest_offsets, motion.fps, motion.contacts)


class Live:
    """``add`` canonical pieces of one motion, get what to key at ``fps``.

    hold_feet: foot lock. The rest as for ``retarget``.
    """

    def __init__(
        self,
        rig: Rig,
        bone_map: BoneMap,
        fps: float,
        *,
        hold_feet: bool = True,
        clear_hands: bool = False,
        ik_legs: bool = False,
        ik_arms: bool = False,
    ):
        self.rig, self.map, self.fps = rig, bone_map, fps
        self.feet, self.hands = _Feet() if hold_feet else False, _Hands() if clear_hands else False
        self.ik = {"ik_legs": ik_legs, "ik_arms": ik_arms}
        self.received = self.made = 0  # frames that came in, and frames at ``fps`` that went out
        self._tail: CanonicalMotion | None = None  # the last frames that came in
        self._past: CanonicalMotion | None = None  # the last frames that went out, before they met the rig
        self._last: np.ndarray | None = None

    def add(self, motion: CanonicalMotion) -> RigAnimation | None:
        """What to key for the next frames of a motion that was placed; None while that is less than a frame."""
        known = motion if self._tail is None else joined(self._tail, motion)
        begin = self.received - (0 if self._tail is None else self._tail.frames)
        self.received += motion.frames
        self._tail = _part(known, -2)
        last = int(np.floor((self.received - 1) * self.fps / motion.fps + 1e-6))
        if last < self.made:
            return None
        at = np.arange(self.made, last + 1) * (motion.fps / self.fps) - begin
        self.made = last + 1
        new = _sampled(known, at, self.fps)
        return self._retargeted(new)

    def _retargeted(self, new: CanonicalMotion) -> RigAnimation:
        past = self._past.frames if self._past is not None else 0
        whole = new if self._past is None else joined(self._past, new)
        if self.rig.carrier:
            self._past = _part(whole, -int(_PAST * self.fps))
        for care in (self.feet, self.hands):
            if care:
                care.past = past
        made = retarget(whole, self.rig, self.map, foot_lock=self.feet, clear_hands=self.hands, **self.ik)
        made = replace(
            made,
            rotations=made.rotations[past:],
            root_location=made.root_location[past:],
            locations={bone: path[past:] for bone, path in made.locations.items()},
        )
        if self._last is not None:
            other = np.sum(self._last * made.rotations[0], -1) < 0
            made.rotations[:, other] *= -1.0
        self._last = made.rotations[-1]
        return made


def _part(motion: CanonicalMotion, first: int) -> CanonicalMotion:
    """The frames from ``first`` on."""
    arrays = (motion.rotations[first:], motion.translation[first:])
    return CanonicalMotion(*arrays, motion.rest_offsets, motion.fps, motion.contacts[first:])


def joined(*parts: CanonicalMotion) -> CanonicalMotion:
    """The pieces of one motion as one."""
    arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in ("rotations", "translation")]
    contacts = np.concatenate([part.contacts for part in parts])
    return CanonicalMotion(*arrays, parts[0].rest_offsets, parts[0].fps, contacts)


def _sampled(motion: CanonicalMotion, at: np.ndarray, fps: float) -> CanonicalMotion:
    """``motion`` at the frames ``at`` (T,), which may lie between two: as ``CanonicalMotion.resample``."""
    low = np.clip(np.floor(at + 1e-6).astype(int), 0, motion.frames - 1)
    high = np.minimum(low + 1, motion.frames - 1)
    share = np.clip(at - low, 0.0, 1.0)
    rotations, linear = motion.rotations.astype(np.float64), share[:, None]
    return CanonicalMotion(
        rot.slerp(rotations[low], rotations[high], share[:, None]),
        motion.translation[low] * (1 - linear) + motion.translation[high] * linear,
        motion.rest_offsets,
        fps,
        motion.contacts[low] * (1 - linear) + motion.contacts[high] * linear,
    )


class _Feet:
    """A foot lock that knows the past only: ``foot_lock.lock``, called with one piece after another. A foot that
    touches is held where it was when it came down. past: how many of the frames it has seen before."""

    def __init__(self):
        self.past = 0
        self._sides: dict[str, tuple] = {}

    def __call__(self, skeleton, turns: dict, positions: dict, contacts: np.ndarray, fps: float) -> None:
        for side, columns in (("left", (0, 1)), ("right", (2, 3))):
            moved = self._correction(skeleton, positions, side, contacts[:, columns] > 0.5, fps)
            foot_lock.move(skeleton, turns, positions, side, moved)

    def _correction(self, skeleton, positions: dict, side: str, touching: np.ndarray, fps: float) -> np.ndarray:
        """What to add to the foot's path (T,3)."""
        rest = skeleton.rest
        up = rest.frame[:, 1]
        hip, knee, ankle, ball = (positions[f"{side}_{role}"] for role in ("hip", "knee", "ankle", "foot"))
        limit = foot_lock.LIMIT * float(np.linalg.norm(knee[0] - hip[0]) + np.linalg.norm(ankle[0] - knee[0]))
        low, high = (rest.ground + rest.foot_heights[f"{side}_{role}"] for role in ("ankle", "foot"))
        lifts = np.minimum(ankle @ up - low, ball @ up - high)
        fade = np.exp(-1.0 / (_EASE * fps))
        moved, before = self._sides.get(side, (np.zeros(3), None))
        path = np.zeros_like(ankle)
        for t in range(self.past, len(ankle)):
            if touching[t].any():
                height = moved @ up
                held = moved - height * up
                if before is not None and before[2].any():
                    step = ball[t] - before[1] if touching[t, 1] and before[2][1] else ankle[t] - before[0]
                    held = held - (step - (step @ up) * up)
                moved = held + (-lifts[t] + (height + lifts[t]) * fade) * up
            else:
                moved = moved * fade
            moved = moved * min(1.0, limit / max(float(np.linalg.norm(moved)), 1e-12))
            before = ankle[t], ball[t], touching[t]
            path[t] = moved + max(0.0, -float(lifts[t] + moved @ up)) * up
        self._sides[side] = moved, before
        return path


class _Hands:
    """Wrists pushed out of the trunk: ``hands.push_out``, called with one piece after another. past: as above."""

    def __init__(self):
        self.past = 0
        self._pushes: dict[str, np.ndarray] = {}

    def __call__(self, skeleton, turns: dict, positions: dict, fps: float) -> None:
        fade = np.exp(-1.0 / (_PUSH * fps))
        for side, (inside, out) in hands.depth(skeleton, turns, positions).items():
            push = self._pushes.get(side, np.zeros(3))
            path = np.zeros_like(out)
            for t in range(self.past, len(out)):
                push = inside[t] * out[t] + (push - inside[t] * out[t]) * fade
                path[t] = push
            self._pushes[side] = push
            if np.abs(path).max() > 1e-9:
                hands.move(skeleton, turns, positions, side, path)
