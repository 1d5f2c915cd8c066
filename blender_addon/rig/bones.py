"""Armatures as plain data."""

from dataclasses import dataclass, field

import numpy as np

from . import canonical


class RigError(ValueError):
    """An armature that cannot be used; the message is one plain sentence for the artist."""


@dataclass
class Bone:
    """One bone at rest, in armature space (the armature object's own coordinates, any units).

    head, tail: (3,). matrix: (4,4) rest matrix, rotation and head; its Y axis runs along the bone.
    """

    name: str
    parent: str | None
    head: np.ndarray
    tail: np.ndarray
    matrix: np.ndarray
    rotation_mode: str = "QUATERNION"
    inherit_rotation: bool = True
    local_location: bool = True
    deform: bool = True
    constrained: bool = False

    def __post_init__(self):
        self.head = np.asarray(self.head, dtype=np.float64)
        self.tail = np.asarray(self.tail, dtype=np.float64)
        self.matrix = np.asarray(self.matrix, dtype=np.float64)


@dataclass
class Rig:
    """An armature: bones with parents before children, and where the object stands in the world.

    object_matrix: (4,4) armature space to Blender's world (Z up); may hold any rotation and scale.
    reference: (n,4,4) or None: armature-space matrices of a human pose, for rigs whose rest pose is not one
        (some BVH files); when None the rest pose is the reference.
    """

    name: str
    bones: list[Bone]
    object_matrix: np.ndarray = field(default_factory=lambda: np.eye(4))
    reference: np.ndarray | None = None

    def __post_init__(self):
        self.object_matrix = np.asarray(self.object_matrix, dtype=np.float64)
        self.index = {bone.name: i for i, bone in enumerate(self.bones)}
        self.parents = [self.index[bone.parent] if bone.parent else -1 for bone in self.bones]
        if any(parent >= i for i, parent in enumerate(self.parents)):
            raise ValueError("bones must be listed with parents before children")

    @property
    def names(self) -> list[str]:
        return [bone.name for bone in self.bones]

    @property
    def rest(self) -> np.ndarray:
        """Rest matrices (n,4,4) in armature space."""
        return np.array([bone.matrix for bone in self.bones])


@dataclass
class BoneMap:
    """Which bones carry which canonical joint.

    joints: canonical joint name -> bone names, from the root outwards; the first bone's head is the joint. Several
        bones (spines, necks) share the joint's rotation. An empty list: the rig has no such bone.
    family: the naming family, for display.
    missing: required joints that no bone was found for; empty means the map can be used.
    swapped: true when the names' left is the figure's right, as its feet tell, and sides were exchanged.
    """

    joints: dict[str, list[str]]
    family: str = ""
    missing: list[str] = field(default_factory=list)
    swapped: bool = False
    note: str = ""

    def bone(self, joint: str) -> str | None:
        """The bone whose head is ``joint``, or None."""
        names = self.joints.get(joint)
        return names[0] if names else None

    @property
    def spine(self) -> list[str]:
        """All spine bones from the pelvis upwards."""
        names: list[str] = []
        for joint in canonical.SPINE:
            names += [name for name in self.joints.get(joint, ()) if name not in names]
        return names

    @property
    def error(self) -> str | None:
        """Why this map cannot be used, one plain sentence; None when it can."""
        if self.note:
            return self.note
        if not self.missing:
            return None
        names = [canonical.words(joint) for joint in self.missing]
        if len(names) > 6:
            listed = ", ".join(names[:5]) + f" and {len(names) - 5} more"
        else:
            listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        return f"Cannot tell which bone is the {listed}: the bone names do not say."

    def require(self) -> "BoneMap":
        """Itself, or :class:`RigError` with the sentence of :attr:`error`."""
        if self.error:
            raise RigError(self.error)
        return self
