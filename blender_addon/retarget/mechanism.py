"""How a rig's bones follow each other: parents, inheritance flags and the constraints that carry one bone with another.

Blender's evaluation of a pose, as far as it decides where the *parents of controls* are, in numpy and for all frames at
once. Stretching and scaling are left out (a control rig posed by rotations and whole-bone moves does not scale), so a
pose is a rotation and a head position in armature space. What cannot be followed raises :class:`NotFollowed`.
"""

from dataclasses import dataclass

import numpy as np

from ..rig.bones import Rig, RigError
from . import rotations as rot

IDENTITY = np.array([1.0, 0.0, 0.0, 0.0])
# Constraints that do not turn or move a bone of a rig that is not scaled, or only beyond what a person does
_HARMLESS = {"COPY_SCALE", "LIMIT_SCALE", "MAINTAIN_VOLUME", "LIMIT_DISTANCE", "LIMIT_ROTATION", "LIMIT_LOCATION"}
# Constraints that turn the bone's Y axis to the target; the stretch of one of them is left out
_AIMING = {"DAMPED_TRACK", "STRETCH_TO"}
_SPACES = {"WORLD", "POSE"}


class NotFollowed(RigError):
    """A constraint whose effect is not known here."""


@dataclass(frozen=True)
class Constraint:
    """One active constraint of a bone, as plain data.

    kind: Blender's type. target: bone name, or None when it points outside the armature. influence: 0..1.
    space: (owner, target). plain: all axes, replacing, no offset or inversion. along: where on the target bone, 0 head
    to 1 tail. weights: (bone, weight) pairs of an Armature constraint, None for bones outside the armature.
    chain, pole_angle: of IK, the number of bones (0 up to the root) and radians.
    """

    kind: str
    target: str | None = None
    influence: float = 1.0
    space: tuple[str, str] = ("WORLD", "WORLD")
    plain: bool = True
    along: float = 0.0
    weights: tuple[tuple[str | None, float], ...] = ()
    chain: int = 0
    pole_angle: float = 0.0


@dataclass
class Place:
    """A posed bone: rotation (T,4) and head (T,3), armature space."""

    turn: np.ndarray
    head: np.ndarray


class Mechanism:
    """Poses of bones on demand: basis values of some bones are given (:meth:`put`), all others rest."""

    def __init__(self, rig: Rig, frames: int):
        self.rig, self.frames = rig, frames
        rest = rig.rest
        self.rest_turn = rot.from_matrix(rest[:, :3, :3])
        self.rest_head = rest[:, :3, 3]
        self.basis: dict[str, tuple[np.ndarray | None, np.ndarray | None]] = {}
        self._known: dict[str, Place] = {}
        self._pending: list[str] = []

    def put(self, name: str, rotation: np.ndarray | None, location: np.ndarray | None = None) -> None:
        """Basis values (T,4) and (T,3) of a bone; None rests."""
        self.basis[name] = (rotation, location)

    def stand(self, name: str, turn: np.ndarray, head: np.ndarray) -> None:
        """Rotation (T,4) and head (T,3) of a bone in armature space, whatever its parents and constraints do."""
        self._known[name] = Place(turn, head)

    def place(self, name: str) -> Place:
        """Where a bone is after its constraints."""
        if name not in self._known:
            if name in self._pending:
                raise NotFollowed(f"The constraints of '{name}' depend on themselves.")
            self._pending.append(name)
            try:
                own, axes = self.channel(name)
                rotation, location = self.basis.get(name, (None, None))
                if location is not None:
                    own.head = own.head + rot.rotate(axes, location)
                channel = own.turn
                if rotation is not None:
                    own = Place(rot.multiply(own.turn, rotation), own.head)
                self._known[name] = self._constrained(name, own, channel)
            finally:
                self._pending.pop()
        return self._known[name]

    def delta(self, name: str) -> np.ndarray:
        """The turn (T,4) of a bone from its rest, armature space."""
        return rot.multiply(self.place(name).turn, rot.conjugate(self.rest_turn[self.rig.index[name]]))

    def point(self, name: str, rest_point: np.ndarray) -> np.ndarray:
        """Where a bone carries a point (3,) of the rest pose: (T,3)."""
        offset = np.asarray(rest_point) - self.rest_head[self.rig.index[name]]
        return self.place(name).head + rot.rotate(self.delta(name), offset)

    def channel(self, name: str) -> tuple[Place, np.ndarray]:
        """Where the bone would be with an empty basis and no constraints, and the axes (T,4) of its location."""
        index = self.rig.index[name]
        bone, parent = self.rig.bones[index], self.rig.parents[index]
        rest_turn, rest_head = self.rest_turn[index], self.rest_head[index]
        still = np.broadcast_to(rest_turn, (self.frames, 4))
        if parent < 0:
            place = Place(still, np.broadcast_to(rest_head, (self.frames, 3)))
            return place, (still if bone.local_location else np.broadcast_to(IDENTITY, (self.frames, 4)))
        above = self.rig.bones[parent].name
        delta = self.delta(above)
        head = self.place(above).head + rot.rotate(delta, rest_head - self.rest_head[parent])
        turn = rot.multiply(delta, rest_turn)
        # Blender places a bone that inherits no rotation, but its location still moves in the parent's space
        axes = turn if bone.local_location else self.place(above).turn
        return Place(turn if bone.inherit_rotation else still, head), axes

    def _constrained(self, name: str, own: Place, channel: np.ndarray) -> Place:
        for constraint in self.rig.mechanism.get(name, ()):
            if constraint.influence < 1e-5 or constraint.kind in _HARMLESS or self._no_effect(name, constraint):
                continue
            wanted = self._wanted(name, constraint, own, channel)
            if constraint.influence > 1.0 - 1e-5:
                own = wanted
            else:
                share = np.asarray(constraint.influence)
                own = Place(rot.slerp(own.turn, wanted.turn, share), own.head + (wanted.head - own.head) * share)
        return own

    def _no_effect(self, name: str, constraint: Constraint) -> bool:
        """Inverse kinematics on a bone that is keyed to where the chain is to end up; the local turn of a bone that
        rests, copied onto one that rests."""
        if constraint.kind == "IK":
            return name in self.basis
        resting = not constraint.plain and constraint.space == ("LOCAL", "LOCAL") and constraint.kind.startswith("COPY")
        return resting and not any(
            one in self.basis or self.rig.mechanism.get(one) and one != name for one in (name, constraint.target)
        )

    def _wanted(self, name: str, constraint: Constraint, own: Place, channel: np.ndarray) -> Place:
        kind = constraint.kind
        if kind == "ARMATURE":
            return self._armature(name, constraint, own)
        if kind in _AIMING and constraint.plain and constraint.target is not None:
            return self._aimed(constraint, own)
        if kind not in {"COPY_TRANSFORMS", "COPY_ROTATION", "COPY_LOCATION"} or not constraint.plain:
            raise NotFollowed(f"What the constraint {kind.replace('_', ' ').title()} does to '{name}' is not known.")
        if constraint.target is None:
            raise NotFollowed(f"'{name}' follows something outside the armature.")
        target = self.place(constraint.target)
        if constraint.space[0] in _SPACES and constraint.space[1] in _SPACES:
            head = self._along(constraint) if constraint.along else target.head
            turn = target.turn
        elif constraint.space == ("LOCAL", "LOCAL"):
            base, axes = self.channel(constraint.target)
            local = rot.multiply(rot.conjugate(base.turn), target.turn)
            turn = rot.multiply(channel, local)
            moved = rot.rotate(rot.conjugate(axes), target.head - base.head)
            mine, my_axes = self.channel(name)
            head = mine.head + rot.rotate(my_axes, moved)
        else:
            raise NotFollowed(f"'{name}' has a constraint in a space that is not known here.")
        if kind == "COPY_ROTATION":
            return Place(turn, own.head)
        if kind == "COPY_LOCATION":
            return Place(own.turn, head)
        return Place(turn, head)

    def _aimed(self, constraint: Constraint, own: Place) -> Place:
        """Turned by the shortest way until its Y axis looks at the target."""
        way = self._along(constraint) - own.head
        return Place(
            rot.multiply(rot.between(rot.rotate(own.turn, np.array([0.0, 1.0, 0.0])), way), own.turn), own.head
        )

    def _along(self, constraint: Constraint) -> np.ndarray:
        """The point (T,3) of its target bone that a constraint follows."""
        bone = self.rig.bones[self.rig.index[constraint.target]]
        return self.point(constraint.target, bone.head + constraint.along * (bone.tail - bone.head))

    def _armature(self, name: str, constraint: Constraint, own: Place) -> Place:
        weights = [(bone, weight) for bone, weight in constraint.weights if weight > 1e-6]
        total = sum(weight for _, weight in weights)
        if not weights or any(bone is None for bone, _ in weights):
            raise NotFollowed(f"'{name}' follows something outside the armature.")
        turn, head = np.zeros((self.frames, 4)), np.zeros((self.frames, 3))
        first = None
        for bone, weight in weights:
            delta = self.delta(bone)
            offset = own.head - self.rest_head[self.rig.index[bone]]
            if first is None:
                first = delta
            near = np.where(np.sum(delta * first, -1, keepdims=True) < 0, -delta, delta)
            turn += weight / total * near
            head += weight / total * (self.place(bone).head + rot.rotate(delta, offset))
        return Place(rot.multiply(rot.normalise(turn), own.turn), head)
