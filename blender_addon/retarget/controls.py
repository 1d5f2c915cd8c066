"""Motion on the controls of a rig, so that its deform bones move as the canonical motion says.

The deform bones of a control rig follow other bones. The motion is first carried onto the *figure*: the mapped bones
alone, in the order of the body. Then every control takes the turn of the figure's bone that it stands for, relative to
where its own parents are (``mechanism``). IK targets go where the figure's hands and feet are, pole targets in front of
the knees and behind the elbows.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from ..rig import canonical
from ..rig.bones import Bone, BoneMap, Rig
from . import rotations as rot
from .mechanism import Mechanism, NotFollowed

_LIMBS = {"leg": ("hip", "knee", "ankle"), "arm": ("shoulder", "elbow", "wrist")}
_DEFORM, _ORIGINAL = "DEF-", "ORG-"
# A knee that is less far out of the line from hip to ankle than this part of the thigh does not tell its plane
_STRAIGHT = 0.05


@dataclass(frozen=True)
class Control:
    """One bone to key.

    turn: the figure's bone whose turn from rest it takes.
    at: (figure bone, rest point (3,)): where ``pivot``, a rest point that moves with the control, has to be; None for
        controls that only turn. pole: figure bones (upper, lower, end) of the limb whose bend a pole target leads.
    up: (first bone of the IK chain, pole angle) where the chain's own keys say how it bends and the pole must agree.
    """

    bone: str
    turn: str | None = None
    at: tuple[str, tuple] | None = None
    pivot: tuple | None = None
    pole: tuple[str, str, str] | None = None
    up: tuple[str, float] | None = None


@dataclass
class Plan:
    """Which controls move the figure, and how the rig has to be switched.

    figure: the bone map whose bones the motion is first put on. properties: (bone, custom property) -> value.
    rested: controls that have to be at rest. turned_by: figure bone -> the bone that tells its rotation in full.
    travel: the control that carries the whole figure.
    """

    controls: list[Control]
    figure: BoneMap
    travel: str
    properties: dict[tuple[str, str], float] = field(default_factory=dict)
    rested: list[str] = field(default_factory=list)
    turned_by: dict[str, str] = field(default_factory=dict)


def find(rig: Rig, bone_map: BoneMap, ik_legs: bool = False, ik_arms: bool = False) -> Plan | None:
    """The controls of ``rig``; None when its mapped bones are keyed themselves.

    ik_legs, ik_arms: how the switches of limbs that have both are set. Without a switch the constraints decide.
    """
    known = bone_map.controls
    if known is None:
        return None
    joints = _whole_limbs(rig, bone_map) if _is_rigify(rig, bone_map) else {**bone_map.joints, **known.whole}
    if len(known.fk.get("neck") or []) == 1:
        # One control turns the neck as one piece, however many bones it has
        joints["neck"] = joints["neck"][:1]
    shape = replace(bone_map, joints=joints)
    plan = Plan([], shape, known.travel)
    taken: set[str] = set()

    def add(control: Control) -> None:
        if control.bone in rig.index and control.bone not in taken:
            taken.add(control.bone)
            plan.controls.append(control)

    add(_travel(rig, shape, known))
    for limb, ik in known.ik.items():
        side, kind = limb.split("_")
        upper, lower, end = (shape.bone(f"{side}_{role}") for role in _LIMBS[kind])
        if not (upper and lower and end):
            continue
        goal = _goal(rig, shape, ik, lower, end)
        add(Control(ik.target, end, at=goal, pivot=tuple(rig.bones[rig.index[ik.target]].head)))
        if ik.pole:
            add(Control(ik.pole, pole=(upper, lower, end), up=_up(rig, known, ik)))
        for joint, names in ik.chain.items():
            moved = shape.bone(joint)
            # Of the bones keyed in IK mode only the toes say more than target and pole do
            if moved and joint.endswith("_foot"):
                for name in names:
                    add(Control(name, moved))
        if ik.roll:
            plan.rested.append(ik.roll)
        if ik.pole_switch:
            bone, name, value = ik.pole_switch
            plan.properties[bone, name] = value
        switch = known.switches.get(limb)
        if switch:
            use_ik = ik_legs if kind == "leg" else ik_arms
            plan.properties[switch.bone, switch.name] = switch.ik if use_ik else switch.fk
        hand = known.fk.get(f"{side}_{_LIMBS[kind][2]}") or []
        # A hand or foot that hangs from its target turns with it
        taken.update(name for name in hand if name != ik.target and _below(rig, name, ik.target))
    for joint, names in known.fk.items():
        moved = shape.joints.get(joint) or []
        if len(names) == len(moved):
            for name, bone in zip(names, moved, strict=True):
                add(Control(name, bone))
        elif names and moved:
            add(Control(names[-1], moved[-1]))
    for joint in ("pelvis", *canonical.SPINE, "neck") if _is_rigify(rig, bone_map) else ():
        names, moved = known.fk.get(joint) or [], shape.joints.get(joint) or []
        if len(names) == len(moved):
            plan.turned_by.update(zip(moved, names, strict=True))
    plan.rested += [name for name in known.masters.values() if name not in taken]
    return plan


def _up(rig: Rig, known, ik) -> tuple[str, float] | None:
    """``Control.up`` of a limb whose IK acts on bones that are keyed as well."""
    keyed = {name for names in known.fk.values() for name in names}
    for name, constraints in rig.mechanism.items():
        for constraint in constraints:
            if constraint.kind == "IK" and constraint.target == ik.target and constraint.influence > 0.01:
                first = name
                for _ in range(constraint.chain - 1):
                    first = rig.bones[rig.index[first]].parent or first
                return (first, constraint.pole_angle) if constraint.chain and first in keyed else None
    return None


def _is_rigify(rig: Rig, bone_map: BoneMap) -> bool:
    pelvis = bone_map.bone("pelvis") or ""
    return pelvis.startswith(_DEFORM) and _ORIGINAL + pelvis.removeprefix(_DEFORM) in rig.index


def _whole_limbs(rig: Rig, bone_map: BoneMap) -> dict[str, list[str]]:
    """Rigify's deform bones of a limb give twist away to their neighbours; its ORG bones turn as the limb does."""
    joints = dict(bone_map.joints)
    for joint, names in bone_map.joints.items():
        if joint.startswith(canonical.SIDES) and names:
            originals = [_ORIGINAL + name.removeprefix(_DEFORM) for name in names]
            joints[joint] = [whole if whole in rig.index else own for whole, own in zip(originals, names, strict=True)]
    return joints


def _travel(rig: Rig, shape: BoneMap, known) -> Control:
    """The control of the whole figure, which turns with the pelvis. On Rigify the spine turns about a point in the
    middle of the trunk that goes with it: that point has to be where the figure's spine is."""
    pelvis = shape.bone("pelvis")
    about = known.masters.get("chest") or known.masters.get("hips")
    if known.travel in known.fk.get("pelvis", ()) or about is None:
        head = tuple(rig.bones[rig.index[pelvis]].head)
        return Control(known.travel, pelvis, at=(pelvis, head), pivot=head)
    pivot = rig.bones[rig.index[about]].head
    trunk = [pelvis, *shape.spine]
    nearest = min(trunk, key=lambda name: float(np.linalg.norm(rig.bones[rig.index[name]].head - pivot)))
    return Control(known.travel, pelvis, at=(nearest, tuple(pivot)), pivot=tuple(pivot))


def _goal(rig: Rig, shape: BoneMap, ik, lower: str, end: str) -> tuple[str, tuple]:
    """The rest point, and the figure's bone that carries it, that the head of an IK target has to reach."""
    for name, constraints in rig.mechanism.items():
        if any(c.kind == "IK" and c.target == ik.target and c.influence > 0.01 for c in constraints):
            # The chain reaches with the tail of its last bone, wherever the target stands at rest
            return lower, tuple(rig.bones[rig.index[name]].tail)
    return end, tuple(rig.bones[rig.index[ik.target]].head)


def figure(rig: Rig, bone_map: BoneMap) -> Rig:
    """The mapped bones alone, each below the mapped bone that the body has before it, free of every constraint."""
    order, parents = [], {}
    for joint, parent in zip(canonical.JOINTS, canonical.PARENTS, strict=True):
        names = [name for name in bone_map.joints.get(joint, ()) if name not in parents]
        while parent >= 0 and not bone_map.joints.get(canonical.JOINTS[parent]):
            parent = canonical.PARENTS[parent]
        above = bone_map.joints[canonical.JOINTS[parent]][-1] if parent >= 0 else None
        for name in names:
            parents[name] = above
            order.append(name)
            above = name
    kept = [rig.bones[rig.index[name]] for name in order]
    bones = [
        replace(bone, parent=parents[bone.name], inherit_rotation=True, local_location=True, constrained=False)
        for bone in kept
    ]
    reference = None if rig.reference is None else rig.reference[[rig.index[name] for name in order]]
    return replace(rig, bones=bones, reference=reference, mechanism={})


def drive(rig: Rig, plan: Plan, body: Rig, animation) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """Basis rotations (T,4) and locations (T,3) of the controls, and sentences about what could not be followed.

    body: :func:`figure`. animation: the RigAnimation of the motion on it.
    """
    posed = Mechanism(body, animation.frames)
    for k, name in enumerate(animation.bones):
        posed.put(name, animation.rotations[:, k], animation.root_location if name == animation.root else None)
    solver = _Solver(rig, plan, posed)
    for control in plan.controls:
        solver.place(control.bone)
    return solver.rotations, solver.locations, solver.notes


def in_step(rig: Rig, bone_map: BoneMap, pose: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Basis rotations (T,4) and locations (T,3) of the controls, FK and IK alike, that show a pose (T,n,4,4) whatever
    it was made with; empty for a rig whose mapped bones are keyed themselves. Poles are taken to work."""
    plan = find(rig, bone_map)
    if plan is None:
        return {}, {}
    body = figure(rig, plan.figure)
    posed = Mechanism(body, len(pose))
    for name, matrices in zip(body.names, np.moveaxis(figure_pose(rig, plan, body, pose), 1, 0), strict=True):
        axes = matrices[:, :3, :3] / np.maximum(np.linalg.norm(matrices[:, :3, :3], axis=-2, keepdims=True), 1e-12)
        posed.stand(name, rot.from_matrix(axes), matrices[:, :3, 3])
    solver = _Solver(rig, plan, posed)
    for control in plan.controls:
        solver.place(control.bone)
    return solver.rotations, solver.locations


def limb_bones(rig: Rig, bone_map: BoneMap, limb: str) -> list[str]:
    """All controls of an arm or leg ("left_leg"), FK and IK."""
    known = bone_map.controls
    side, kind = limb.split("_")
    roles = (*_LIMBS[kind], "foot") if kind == "leg" else _LIMBS[kind]
    names = [name for role in roles for name in known.fk.get(f"{side}_{role}") or []]
    ik = known.ik.get(limb)
    if ik is not None:
        names += [ik.target, ik.pole, ik.roll, *sum(ik.chain.values(), [])]
    return [name for name in dict.fromkeys(names) if name in rig.index]


def figure_pose(rig: Rig, plan: Plan, body: Rig, pose: np.ndarray) -> np.ndarray:
    """Matrices (T,m,4,4) of the figure's bones from those (T,n,4,4) of all bones of the rig, armature space.

    Deform bones that stretch towards their neighbour lose their roll; it is read from the bone that turns them.
    """
    posed = pose[:, [rig.index[name] for name in body.names]].copy()
    rest = rig.rest
    for name, by in plan.turned_by.items():
        own, other = rig.index[name], rig.index[by]
        turn = pose[:, other, :3, :3] @ np.linalg.inv(rest[other, :3, :3])
        posed[:, body.index[name], :3, :3] = turn @ rest[own, :3, :3]
    return posed


class _Solver(Mechanism):
    """The mechanism of the whole rig, in which controls take the place that the figure asks for."""

    def __init__(self, rig: Rig, plan: Plan, posed: Mechanism):
        super().__init__(rig, posed.frames)
        self.posed = posed
        self.controls = {control.bone: control for control in plan.controls}
        self.rotations: dict[str, np.ndarray] = {}
        self.locations: dict[str, np.ndarray] = {}
        self.notes: list[str] = []

    def place(self, name: str):
        control = self.controls.get(name)
        if control is not None and name not in self._known and name not in self.basis:
            self._solve(control)
        return super().place(name)

    def _constrained(self, name, own, channel):
        try:
            return super()._constrained(name, own, channel)
        except NotFollowed as error:
            self.notes.append(str(error))
            return own

    def _solve(self, control: Control) -> None:
        name = control.bone
        index = self.rig.index[name]
        base, axes = self.channel(name)
        rotation = location = None
        delta = None
        if control.turn:
            delta = self.posed.delta(control.turn)
            wanted = rot.multiply(delta, self.rest_turn[index])
            rotation = rot.multiply(rot.conjugate(base.turn), wanted)
        head = None
        if control.pole:
            head = self._pole(control)
        elif control.at:
            bone, point = control.at
            head = self.posed.point(bone, np.asarray(point))
            if control.pivot is not None:
                offset = np.asarray(control.pivot) - self.rest_head[index]
                head = head - (rot.rotate(delta, offset) if delta is not None else offset)
        if head is not None:
            location = rot.rotate(rot.conjugate(axes), head - base.head)
            self.locations[name] = location
        if rotation is not None:
            self.rotations[name] = rot.continuous(rot.normalise(rotation))
        self.put(name, rotation, location)

    def _pole(self, control: Control) -> np.ndarray:
        """In front of the joint, as far from it as at rest, in the plane in which the limb bends."""
        upper, lower, end = control.pole
        body = self.posed.rig
        hip, knee = self.posed.place(upper).head, self.posed.place(lower).head
        foot = self.posed.place(end).head
        rest_head = self.posed.rest_head
        rest_knee = rest_head[body.index[lower]]
        rest_pole = self.rest_head[self.rig.index[control.bone]]
        distance = np.linalg.norm(rest_pole - rest_knee)
        along = foot - hip
        along = along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)

        def aside(direction: np.ndarray) -> np.ndarray:
            return direction - along * np.sum(direction * along, -1, keepdims=True)

        if control.up:
            # Blender turns the chain until this axis of its first bone looks at the pole
            first, angle = control.up
            axes = rot.multiply(self.posed.delta(upper), self.rest_turn[self.rig.index[first]])
            ahead = aside(rot.rotate(axes, np.array([np.cos(angle), 0.0, np.sin(angle)])))
            ahead = ahead / np.maximum(np.linalg.norm(ahead, axis=-1, keepdims=True), 1e-9)
            return hip + along * np.sum((knee - hip) * along, -1, keepdims=True) + distance * ahead
        bend = aside(knee - hip)
        size = np.linalg.norm(bend, axis=-1, keepdims=True)
        # A straight limb tells no plane: there the side on which the pole stands at rest decides
        carried = aside(rot.rotate(self.posed.delta(upper), (rest_pole - rest_knee) / max(distance, 1e-9)))
        carried = carried / np.maximum(np.linalg.norm(carried, axis=-1, keepdims=True), 1e-9)
        length = np.linalg.norm(rest_knee - rest_head[body.index[upper]])
        share = np.clip(size / (_STRAIGHT * length), 0.0, 1.0)
        ahead = bend / np.maximum(size, 1e-9) * share + carried * (1.0 - share)
        return knee + distance * ahead / np.maximum(np.linalg.norm(ahead, axis=-1, keepdims=True), 1e-9)


def _below(rig: Rig, name: str, ancestor: str) -> bool:
    bone: Bone | None = rig.bones[rig.index[name]]
    while bone is not None:
        if bone.name == ancestor:
            return True
        bone = rig.bones[rig.index[bone.parent]] if bone.parent else None
    return False
