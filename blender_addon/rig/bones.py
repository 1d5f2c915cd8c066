"""Armatures as plain data."""

from dataclasses import dataclass, field

import numpy as np

from . import canonical


class RigError(ValueError):
    """An armature that cannot be used; the message is one plain sentence for the artist."""


@dataclass(frozen=True)
class Constraint:
    """What a pose constraint of a bone follows, as far as mapping cares.

    kind: Blender's constraint type ("COPY_TRANSFORMS", "IK", ...). target, pole: bones of the same armature, or None.
    chain: ``chain_count`` of an IK constraint (0: up to the root). influence: 0..1, 0 when muted.
    """

    kind: str
    target: str | None = None
    pole: str | None = None
    chain: int = 0
    influence: float = 1.0


@dataclass
class Bone:
    """One bone at rest, in armature space (the armature object's own coordinates, any units).

    head, tail: (3,). matrix: (4,4) rest matrix, rotation and head; its Y axis runs along the bone.
    constraints: the pose constraints in their order; ``constrained`` says whether one of them replaces what is keyed.
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
    constraints: tuple[Constraint, ...] = ()

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
    tpose: true when ``reference`` is the artist's own T-pose of this figure, to be matched as it is.
    mechanism: bone -> its active constraints (``retarget.mechanism.Constraint``), for control rigs.
    carrier: a bone above the pelvis that mesh hangs on, and so has to travel with the figure; mostly there is none.
    """

    name: str
    bones: list[Bone]
    object_matrix: np.ndarray = field(default_factory=lambda: np.eye(4))
    reference: np.ndarray | None = None
    tpose: bool = False
    mechanism: dict[str, list] = field(default_factory=dict)
    carrier: str | None = None

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


@dataclass(frozen=True)
class Limb:
    """The inverse-kinematics controls of one arm or leg.

    chain: joint -> the control bone keyed in IK mode, where there is one besides the target ("left_hip":
        ["thigh_ik.L"]: turns the knee's plane; "left_foot": ["toe_ik.L"]).
    target: the control at the wrist or ankle. pole: the control the elbow or knee points at, or None.
    pole_switch: (bone, property, value) that makes the pole work, or None when it always does.
    roll: the control of heel and ball (foot roll), to be left at rest; None when there is none.
    """

    target: str
    pole: str | None = None
    pole_switch: tuple[str, str, float] | None = None
    chain: dict[str, list[str]] = field(default_factory=dict)
    roll: str | None = None


@dataclass(frozen=True)
class Switch:
    """A custom property (``bone["name"]``) that poses a limb by FK or by IK, with the value for each."""

    bone: str
    name: str
    fk: float
    ik: float


@dataclass
class Controls:
    """What an animator keys on a control rig, whose deforming bones follow through constraints.

    fk: joint -> control bones from the root outwards, as in ``BoneMap.joints``: their rotation poses the joint.
    travel: the control that carries location of the whole figure; ``root`` above it stays at rest.
    ik: limb ("left_arm", "right_arm", "left_leg", "right_leg") -> its IK controls.
    switches: limb -> the property that chooses; empty when the rig has no such property.
    masters: further controls that turn several joints at once ("torso", "hips", "chest"): left at rest when the
        bones of ``fk`` are keyed. "torso" is also ``travel`` on Rigify rigs.
    settings: (bone, property, value) to key so that controls follow their parents as plain bones do.
    fingers: finger -> its controls, as in ``BoneMap.fingers``, where they differ from the deforming bones.
    whole: joint -> bones that turn as the joint does, where the deforming bones give twist away to their neighbours.
    """

    fk: dict[str, list[str]]
    travel: str
    root: str | None = None
    ik: dict[str, Limb] = field(default_factory=dict)
    switches: dict[str, Switch] = field(default_factory=dict)
    masters: dict[str, str] = field(default_factory=dict)
    settings: list[tuple[str, str, float]] = field(default_factory=list)
    fingers: dict[str, list[str]] = field(default_factory=dict)
    whole: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class BoneMap:
    """Which bones carry which canonical joint.

    joints: canonical joint name -> bone names, from the root outwards; the first bone's head is the joint. Several
        bones (spines, necks, collars) share the joint's rotation. An empty list: the rig has no such bone. On a
        control rig these are the deforming bones: where the joints are, what a game export needs, what capture reads.
    family: the naming family, for display.
    missing: required joints that no bone was found for; empty means the map can be used.
    swapped: true when the names' left is the figure's right, as its feet tell, and sides were exchanged.
    note: why the armature is refused altogether, one sentence; empty when it is not.
    confidence: joint -> 0..1 for mapped joints: 1 a table of the family knows the bone, 0.5 and less is a guess.
    candidates: joint -> bones that could carry it equally well, best first; such joints are not mapped.
    notes: sentences for the artist about joints that are absent or in doubt; the map works all the same.
    chains: "spine", "neck", "left_collar", "right_collar" -> (bone, weight) from the root outwards, weights summing
        to one: the part of the turn from the joint below the chain to its last joint (pelvis to spine3, spine3 to
        neck, spine3 to collar) that each bone adds.
    twist: joint -> (bone, share) of bones that roll along the segment which starts at the joint; neither joints nor
        needed for posing. share 0..1 is the place along the segment, and so the part of the roll that the segment
        gains between its ends: on shoulders and hips from the parent's roll (0) to the joint's own (1), on elbows and
        knees from the joint's own (0) to that of the hand or foot (1). In-line halves of a limb ("upperarm02.L") are
        among them.
    fingers: "left_thumb", "left_index", "left_middle", "left_ring", "left_little" (and right) -> bones from the
        knuckle outwards, without bones of the palm. Hands with nameless fingers: "left_finger1" ... in hand order.
    toes: side -> chains of toe bones beyond or beside the ball of the foot.
    controls: what to key instead of ``joints`` on a control rig; None on plain rigs.
    """

    joints: dict[str, list[str]]
    family: str = ""
    missing: list[str] = field(default_factory=list)
    swapped: bool = False
    note: str = ""
    confidence: dict[str, float] = field(default_factory=dict)
    candidates: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    chains: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    twist: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    fingers: dict[str, list[str]] = field(default_factory=dict)
    toes: dict[str, list[list[str]]] = field(default_factory=dict)
    controls: Controls | None = None

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
