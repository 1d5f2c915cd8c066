"""Canonical motion onto a rig: world-space rotation deltas against matched rest poses.

A canonical joint's world rotation G (identity in the T-pose) turns the rig's bone from where it stands in the T-pose.
The T-pose of the rig is its rest pose with every bone turned by M (``rest_pose``), so in the world
``bone(t) = C G(t) C^-1 M bone_rest``, C taking canonical axes to the figure's. Twist comes with G. Bones that carry no
joint keep their rest relation to their parent, and so follow; twist bones take their part of the roll.

On a control rig all this is done on the figure of its deform bones, and ``controls`` puts the result on the controls.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ..rig import canonical
from ..rig.bones import BoneMap, Rig
from . import after_care, controls, hands
from . import foot_lock as feet
from . import rotations as rot
from .motion import CanonicalMotion
from .rest_pose import RestPose, analyse

Care = Callable[..., None]


@dataclass
class RigAnimation:
    """What to key: per frame, the pose-space (basis) rotation of each bone and the location of one.

    bones: names of the keyed bones, n of them.
    rotations: (T,n,4) unit quaternions wxyz, signs continuous along T.
    root: name of the bone that carries travel.
    root_location: (T,3) basis location of ``root`` (Blender's ``pose_bone.location``).
    fps: frames per second of T.
    reference: the rig's reference pose when it is not its rest pose (see ``Rig``): to be kept with the armature, for
        the action it was read from is replaced.
    warnings: sentences for the artist about joints the rig cannot show.
    """

    bones: list[str]
    rotations: np.ndarray
    root: str
    root_location: np.ndarray
    fps: float
    reference: np.ndarray | None = None
    warnings: list[str] = field(default_factory=list)
    locations: dict[str, np.ndarray] = field(default_factory=dict)
    properties: dict[tuple[str, str], float] = field(default_factory=dict)
    rested: list[str] = field(default_factory=list)
    travel: np.ndarray | None = None

    @property
    def frames(self) -> int:
        return len(self.rotations)


def retarget(
    motion: CanonicalMotion,
    rig: Rig,
    bone_map: BoneMap,
    fps: float | None = None,
    *,
    foot_lock: "bool | Care" = True,
    in_place: bool = False,
    clear_hands: "bool | Care" = False,
    ik_legs: bool = False,
    ik_arms: bool = False,
) -> RigAnimation:
    """``motion`` on ``rig`` at ``fps`` frames per second (the motion's own when None).

    Root travel is scaled by the ratio of leg lengths and starts from where the rig stands at rest; the lowest foot
    keeps the height above the ground that it has in the motion. ``foot_lock`` holds feet still while they touch the
    ground. ``clear_hands`` pushes hands out of the trunk; without it a warning says that they go in. ``in_place``
    takes the travel out at last, sway stays. Another function for feet or hands takes the place of the usual one: see
    ``live``. ``ik_legs`` and ``ik_arms`` choose what shows on a
    control rig that has both; the other set of controls gets the same motion. Raises RigError when the rig cannot be
    used.
    """
    if fps is not None:
        motion = motion.resample(fps)
    plan = controls.find(rig, bone_map, ik_legs, ik_arms)
    if plan is not None:
        return _on_controls(motion, rig, plan, foot_lock=foot_lock, in_place=in_place, clear_hands=clear_hands)
    rest = analyse(rig, bone_map)
    skeleton = Chain(rig, bone_map, rest)
    world = motion.global_rotations()
    source = motion.joints(world)
    turns = skeleton.turns(world)
    anchor = place(motion, source, rest)
    positions = skeleton.positions(turns, anchor)
    heights = clearance(source, motion.rest_offsets)
    anchor = anchor + rest.frame[:, 1] * (rest.scale * heights - rig_clearance(positions, rest))[:, None]
    positions = skeleton.positions(turns, anchor)
    if foot_lock:
        lock = feet.lock if foot_lock is True else foot_lock
        lock(skeleton, turns, positions, motion.contacts, motion.fps)
    if clear_hands:
        push_out = hands.push_out if clear_hands is True else clear_hands
        push_out(skeleton, turns, positions, motion.fps)
    warnings = [] if clear_hands else hands.warnings(skeleton, turns, positions, motion.fps)
    travel = None
    if in_place:
        travel = rest.scale * after_care.travel(motion) @ rest.frame.T
        anchor = anchor - travel
    turns |= skeleton.twists(turns)
    carried = None
    if rig.carrier:
        carried = (after_care.travel(motion) + motion.translation[0] * np.array([1.0, 0.0, 1.0])) @ rest.frame.T
        carried = rest.scale * carried - (0.0 if travel is None else travel)
        turns[rig.carrier] = rot.from_axis_angle(rest.frame[:, 1], after_care.heading(motion))
    animation = skeleton.animation(turns, anchor, motion.fps, carried)
    animation.travel, animation.warnings = travel, warnings
    return animation


def _on_controls(motion: CanonicalMotion, rig: Rig, plan: "controls.Plan", **options) -> RigAnimation:
    figure = controls.figure(rig, plan.figure)
    free = replace(plan.figure, controls=None, twist={})
    animation = retarget(motion, figure, free, **options)
    rotations, locations, notes = controls.drive(rig, plan, figure, animation)
    root_location = locations.pop(plan.travel)
    names = list(rotations)
    return RigAnimation(
        names,
        np.stack([rotations[name] for name in names], 1),
        plan.travel,
        root_location,
        animation.fps,
        animation.reference,
        animation.warnings + notes,
        locations,
        plan.properties,
        plan.rested,
        animation.travel,
    )


def place(motion: CanonicalMotion, source: np.ndarray, rest: RestPose) -> np.ndarray:
    """World path (T,3) of the rig's pelvis anchor before the feet have a say.

    Canonical heights are counted from the floor under the canonical T-pose (the balls of its feet at y = 0).
    """
    return rest.origin + rest.scale * motion.translation.astype(np.float64) @ rest.frame.T


def clearance(source: np.ndarray, rest_offsets: np.ndarray) -> np.ndarray:
    """Height (T,) of the lowest foot above its standing height, metres, from canonical positions (T,22,3)."""
    offsets = np.asarray(rest_offsets, dtype=np.float64)
    lifts = []
    for side in canonical.SIDES:
        ankle, ball = canonical.INDEX[f"{side}_ankle"], canonical.INDEX[f"{side}_foot"]
        lifts += [source[:, ankle, 1] + offsets[ball, 1], source[:, ball, 1]]
    return soft_minimum(np.stack(lifts, -1), 0.01)


def rig_clearance(positions: dict[str, np.ndarray], rest: RestPose) -> np.ndarray:
    """The same height (T,) on the rig, world units."""
    up = rest.frame[:, 1]
    lifts = [positions[joint] @ up - rest.ground - height for joint, height in rest.foot_heights.items()]
    return soft_minimum(np.stack(lifts, -1), 0.01 * rest.scale)


def soft_minimum(values: np.ndarray, width: float) -> np.ndarray:
    """A smooth minimum over the last axis (log-mean-exp): no kink where the lowest foot changes."""
    low = values.min(-1, keepdims=True)
    return low[..., 0] - width * np.log(np.exp(-(values - low) / width).mean(-1))


# Where the segment that starts at a joint ends
_SEGMENTS = {"shoulder": "elbow", "elbow": "wrist", "hip": "knee", "knee": "ankle"}


class Chain:
    """The part of a rig that matters: mapped bones and everything above them, in parent order."""

    def __init__(self, rig: Rig, bone_map: BoneMap, rest: RestPose):
        self.rig, self.map, self.rest = rig, bone_map, rest
        self.drivers = drivers(bone_map)
        self.twist = [
            (joint, name, share)
            for joint, listed in bone_map.twist.items()
            for name, share in listed
            if name in rig.index and self._rolls(joint, name)
        ]
        needed: set[int] = set()
        for name in [*self.drivers, *(name for _, name, _ in self.twist)]:
            index = rig.index[name]
            while index >= 0 and index not in needed:
                needed.add(index)
                index = rig.parents[index]
        self.order = sorted(needed)
        self.root = bone_map.bone("pelvis")
        matrices = rig.rest
        object_quaternion = rot.from_matrix(rest.object_rotation)
        self.rest_rotation = rot.multiply(object_quaternion, rot.from_matrix(matrices[:, :3, :3]))
        self.heads = matrices[:, :3, 3] @ rig.object_matrix[:3, :3].T + rig.object_matrix[:3, 3]
        reference = matrices if rig.reference is None else np.asarray(rig.reference, dtype=np.float64)
        self.reference_rotation = rot.multiply(object_quaternion, rot.from_matrix(reference[:, :3, :3]))
        self.reference_heads = reference[:, :3, 3] @ rig.object_matrix[:3, :3].T + rig.object_matrix[:3, 3]
        # From rest to the T-pose, world: what a canonical identity gives
        self.match = {}
        for name, driver in self.drivers.items():
            index = rig.index[name]
            to_reference = rot.multiply(self.reference_rotation[index], rot.conjugate(self.rest_rotation[index]))
            self.match[name] = rot.multiply(driver.tpose(rest), to_reference)

    def turns(self, world: np.ndarray) -> dict[str, np.ndarray]:
        """World turns from rest (T,4) of every mapped bone, from canonical world rotations (T,22,4)."""
        c = self.rest.frame_quaternion
        return {
            name: rot.multiply(
                rot.multiply(rot.multiply(c, driver.rotation(world)), rot.conjugate(c)), self.match[name]
            )
            for name, driver in self.drivers.items()
        }

    def _rolls(self, joint: str, name: str) -> bool:
        """Whether a twist bone is ours to turn. Halves of an upper limb in line with it keep to its first half, which
        carries the joint's roll in full; bones that the rig itself drives are left to it."""
        bone = self.rig.bones[self.rig.index[name]]
        side, role = joint.split("_")
        end = self.map.bone(f"{side}_{_SEGMENTS[role]}")
        if bone.constrained or end is None or name in self.drivers:
            return False
        return joint.endswith(("elbow", "knee")) or not self._above(name, end)

    def _above(self, name: str, below: str) -> bool:
        index = self.rig.index[below]
        while index >= 0:
            if self.rig.bones[index].name == name:
                return True
            index = self.rig.parents[index]
        return False

    def twists(self, turns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """World turns (T,4) of twist bones: between the roll at one end of their segment and that at the other."""
        found: dict[str, np.ndarray] = {}
        rolls: dict[str, tuple] = {}
        for joint, name, share in self.twist:
            if joint not in rolls:
                rolls[joint] = self._roll(joint, turns)
            free, axis, roll = rolls[joint]
            own = self.map.bone(joint)
            part = share if joint.endswith(("elbow", "knee")) else share - 1.0
            found[name] = rot.multiply(rot.multiply(free, rot.from_axis_angle(axis, part * roll)), self.match[own])
        return found

    def _roll(self, joint: str, turns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(turn from the T-pose (T,4), axis (3,), roll (T,) radians) of a limb's segment: what its end bone rolls
        against it, or it against what it hangs from."""
        side, role = joint.split("_")

        def free(one: str) -> np.ndarray:
            bone = self.map.joints[one][-1]
            return rot.multiply(turns[bone], rot.conjugate(self.match[bone]))

        end = f"{side}_{_SEGMENTS[role]}"
        rest = canonical.rest_positions()
        axis = self.rest.frame @ (rest[canonical.INDEX[end]] - rest[canonical.INDEX[joint]])
        axis = axis / np.linalg.norm(axis)
        own = free(joint)
        if role in ("elbow", "knee"):
            relative = rot.multiply(rot.conjugate(own), free(end))
        else:
            above = joint
            while above == joint or not self.map.joints.get(above):
                above = canonical.JOINTS[canonical.PARENTS[canonical.INDEX[above]]]
            relative = rot.multiply(rot.conjugate(free(above)), own)
        roll = 2.0 * np.arctan2(relative[:, 1:] @ axis, relative[:, 0])
        roll = np.unwrap((roll + np.pi) % (2 * np.pi) - np.pi)
        return own, axis, roll

    def canonical_rotation(self, name: str, turn: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`turns` for one bone: canonical world rotation (T,4) of its driver."""
        c = self.rest.frame_quaternion
        free = rot.multiply(turn, rot.conjugate(self.match[name]))
        return rot.multiply(rot.multiply(rot.conjugate(c), free), c)

    def anchor_offset(self) -> np.ndarray:
        """From the root bone's head to the anchor, world, in the rest orientation of the root bone (3,)."""
        index = self.rig.index[self.root]
        to_reference = rot.multiply(self.reference_rotation[index], rot.conjugate(self.rest_rotation[index]))
        return rot.rotate(rot.conjugate(to_reference), self.rest.anchor - self.reference_heads[index])

    def positions(self, turns: dict[str, np.ndarray], anchor: np.ndarray) -> dict[str, np.ndarray]:
        """World positions (T,3) of the mapped joints' bone heads."""
        rig, root = self.rig, self.rig.index[self.root]
        frames = len(anchor)
        still = np.broadcast_to(np.array([1.0, 0.0, 0.0, 0.0]), (frames, 4))
        delta: dict[int, np.ndarray] = {}
        where: dict[int, np.ndarray] = {}
        for i in self.order:
            parent = rig.parents[i]
            above = delta[parent] if parent >= 0 else still
            delta[i] = turns.get(rig.bones[i].name, above if rig.bones[i].inherit_rotation else still)
            if i == root:
                where[i] = anchor - rot.rotate(delta[i], self.anchor_offset())
            elif parent < 0:
                where[i] = np.broadcast_to(self.heads[i], (frames, 3))
            else:
                where[i] = where[parent] + rot.rotate(above, self.heads[i] - self.heads[parent])
        found = {joint: where[rig.index[names[0]]] for joint, names in self.map.joints.items() if names}
        self.add_virtual_balls(found, turns)
        return found

    def add_virtual_balls(self, positions: dict[str, np.ndarray], turns: dict[str, np.ndarray]) -> None:
        """Complete ``positions`` with the balls of feet that have no bone there."""
        for joint, ahead in self.rest.virtual_balls.items():
            ankle = joint.replace("foot", "ankle")
            name = self.map.bone(ankle)
            at_rest = rot.rotate(rot.conjugate(self.match[name]), ahead)
            positions[joint] = positions[ankle] + rot.rotate(turns[name], at_rest)

    def animation(
        self, turns: dict[str, np.ndarray], anchor: np.ndarray, fps: float, carried: "np.ndarray | None" = None
    ) -> RigAnimation:
        """Basis rotations and root location from world turns (T,4) and the anchor path (T,3).

        carried: how far (T,3) the rig's carrier, if it has one, is from where it rests.
        """
        rig = self.rig
        frames = len(anchor)
        still = np.broadcast_to(np.array([1.0, 0.0, 0.0, 0.0]), (frames, 4))
        delta: dict[int, np.ndarray] = {}
        names, basis = [], []
        for i in self.order:
            bone, parent = rig.bones[i], rig.parents[i]
            above = delta[parent] if parent >= 0 else still
            base = above if bone.inherit_rotation else still
            if bone.name not in turns:
                delta[i] = base
                continue
            delta[i] = turns[bone.name]
            own = rot.multiply(rot.conjugate(base), delta[i])
            rest_rotation = self.rest_rotation[i]
            names.append(bone.name)
            basis.append(rot.multiply(rot.multiply(rot.conjugate(rest_rotation), own), rest_rotation))
        rotations = rot.continuous(rot.normalise(np.stack(basis, 1)))
        root = rig.index[self.root]
        away = anchor - rot.rotate(turns[self.root], self.anchor_offset()) - self.heads[root]
        locations = {}
        if carried is not None:
            first = rig.index[rig.carrier]
            locations[rig.carrier] = self._location(first, carried)
            turn = turns[rig.carrier]
            there = carried + rot.rotate(turn, self.heads[root] - self.heads[first]) + self.heads[first]
            away = rot.rotate(rot.conjugate(turn), away + self.heads[root] - there)
        reference = None if rig.tpose else rig.reference
        return RigAnimation(
            names, rotations, self.root, self._location(root, away), fps, reference, locations=locations
        )

    def _location(self, index: int, away: np.ndarray) -> np.ndarray:
        """Basis location (T,3) that moves a bone by ``away`` (T,3), world, while nothing above it has moved."""
        rig = self.rig
        moved = away @ np.linalg.inv(rig.object_matrix)[:3, :3].T
        # The axes of a location are the bone's, or without local location its parent's, or else the armature's
        above = rig.parents[index]
        if rig.bones[index].local_location:
            return moved @ rig.bones[index].matrix[:3, :3]
        return moved @ rig.bones[above].matrix[:3, :3] if above >= 0 else moved


@dataclass(frozen=True)
class Driver:
    """Which canonical rotation drives a bone: ``share`` of the way from joint ``low`` to joint ``high``."""

    low: str
    high: str
    share: float

    def rotation(self, world: np.ndarray) -> np.ndarray:
        high = world[:, canonical.INDEX[self.high]]
        if self.share >= 1.0:
            return high
        return rot.slerp(world[:, canonical.INDEX[self.low]], high, np.asarray(self.share))

    def tpose(self, rest: RestPose) -> np.ndarray:
        if self.share >= 1.0:
            return rest.tpose[self.high]
        return rot.slerp(rest.tpose[self.low], rest.tpose[self.high], np.asarray(self.share))


def drivers(bone_map: BoneMap) -> dict[str, Driver]:
    """Bone name -> driver. The last bone of a joint takes the joint's own turn, the topmost spine bone always that of
    spine3; bones before it in the same joint (long spines, necks, collars) share the way there from the joint below,
    in the parts of ``BoneMap.chains``. So every joint that the rig has comes back as it was."""
    found: dict[str, Driver] = {}
    spine = bone_map.spine
    below = "pelvis"
    for joint in canonical.SPINE:
        names = [name for name in bone_map.joints.get(joint) or [] if name not in found]
        if names:
            above = "spine3" if names[-1] == spine[-1] else joint
            _share(found, bone_map.chains.get("spine", ()), names, below, above)
            below = above
    own = {bone_map.bone(joint): joint for joint in canonical.JOINTS}
    for joint in ("neck", "left_collar", "right_collar"):
        names = [name for name in bone_map.joints.get(joint) or [] if own.get(name, joint) == joint]
        _share(found, bone_map.chains.get(joint, ()), names, "spine3", joint)
    for joint in canonical.JOINTS:
        name = bone_map.bone(joint)
        if name and name not in found:
            found[name] = Driver(joint, joint, 1.0)
    return found


def _share(found: dict[str, Driver], weighted, names: list[str], low: str, high: str) -> None:
    """Drivers of ``names`` on the way from joint ``low`` to joint ``high``, which the last of them reaches."""
    weights = {name: weight for name, weight in weighted if name in names}
    if set(weights) != set(names) or not sum(weights.values()) > 0:
        weights = dict.fromkeys(names, 1.0)
    made = 0.0
    for name in names:
        made += weights[name] / sum(weights.values())
        found[name] = Driver(low, high, 1.0 if name == names[-1] else made)
