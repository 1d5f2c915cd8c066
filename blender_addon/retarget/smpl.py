"""SMPL, SMPL-H and SMPL-X armatures: rotations of AMASS files go onto their bones, and come off them, as they are.

Such files count local rotations from the body's zero pose, in which all joints have the same axes (left +X, up +Y,
front +Z). An armature of that body rests in the zero pose; its bones may have any roll. Hands, jaw and eyes, which the
canonical skeleton lacks, are carried along. Pavlakos et al., "Expressive Body Capture", CVPR 2019; Mahmood et al.,
"AMASS", ICCV 2019.
"""

from dataclasses import dataclass

import numpy as np

from ..client import protocol
from ..rig import BoneMap, Rig, canonical
from . import rotations as rot
from .motion import BodyMotion, CanonicalMotion
from .rest_pose import object_frame
from .retarget import RigAnimation

FAMILY = "SMPL / SMPL-X"
JOINTS = tuple(protocol.SMPLX_JOINTS)
PELVIS = np.array(protocol.SMPL_PELVIS)
_LIKE_ZERO_POSE = 15.0  # degrees by which limbs of the rest pose may differ: bodies differ in shape
_NEAR_ORIGIN = 0.25  # metres from where the zero pose has its pelvis: the armature's origin is the body's
_SEGMENTS = (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))


def parent(joint: str) -> str | None:
    """The joint above one of SMPL-X or SMPL; None above the pelvis."""
    if joint in canonical.INDEX:
        above = canonical.PARENTS[canonical.INDEX[joint]]
        return canonical.JOINTS[above] if above >= 0 else None
    if not joint.startswith(canonical.SIDES) or joint.endswith("eye"):
        return "head"
    number = joint[-1]
    return joint[:-1] + str(int(number) - 1) if number in "23" else joint.split("_")[0] + "_wrist"


@dataclass(frozen=True)
class Body:
    """An armature that is an SMPL body. bones: joint -> bone. axes: (3,3) armature space to the body's axes.

    scale: metres of the world per unit of the armature. own_origin: the armature's origin is the body's, so that a
    file's translation holds as it is.
    """

    bones: dict[str, str]
    axes: np.ndarray
    scale: float
    own_origin: bool


def find(rig: Rig, mapping: BoneMap) -> Body | None:
    """The SMPL body that an armature is; None for other armatures, and for one that rests in another pose."""
    if mapping.family != FAMILY or mapping.controls is not None or rig.tpose:
        return None
    bones = {joint: names[0] for joint, names in mapping.joints.items() if len(names) == 1}
    if len(bones) < len(canonical.JOINTS):
        return None
    for side in canonical.SIDES:
        for finger in ("index", "middle", "pinky", "ring", "thumb"):
            chain = mapping.fingers.get(f"{side}_{'little' if finger == 'pinky' else finger}", [])
            bones.update({f"{side}_{finger}{n}": name for n, name in enumerate(chain[:3], 1)})
    for bone in rig.bones:
        name = bone.name.lower()
        for joint in ("jaw", "left_eye", "right_eye", "left_hand", "right_hand"):
            if name.startswith(joint):
                bones.setdefault(joint, bone.name)
    if any(not rig.bones[rig.index[name]].inherit_rotation for name in bones.values()):
        return None
    heads = {joint: rig.bones[rig.index[name]].head for joint, name in bones.items()}
    axes = _axes(heads)
    if not all(_rests(heads, axes, side, *segment) for side in canonical.SIDES for segment in _SEGMENTS):
        return None
    scale = object_frame(rig.object_matrix)[1]
    near = np.linalg.norm(axes @ heads["pelvis"] * scale - PELVIS) < _NEAR_ORIGIN
    return Body(bones, axes, scale, bool(near))


def _axes(heads: dict[str, np.ndarray]) -> np.ndarray:
    up = heads["head"] - (heads["left_ankle"] + heads["right_ankle"]) / 2
    left = heads["left_hip"] - heads["right_hip"]
    up, left = (_snapped(v / np.linalg.norm(v)) for v in (up, left))
    left = left - up * (left @ up)
    left /= np.linalg.norm(left)
    return np.stack([left, up, np.cross(left, up)])


def _snapped(v: np.ndarray) -> np.ndarray:
    """The nearest axis, when a direction is within 20 degrees of one: bodies are a little crooked."""
    axis = int(np.argmax(np.abs(v)))
    return np.eye(3)[axis] * np.sign(v[axis]) if abs(v[axis]) > np.cos(np.radians(20)) else v


def _rests(heads: dict[str, np.ndarray], axes: np.ndarray, side: str, upper: str, lower: str) -> bool:
    bone = axes @ (heads[f"{side}_{lower}"] - heads[f"{side}_{upper}"])
    joint = canonical.INDEX[f"{side}_{upper}"]
    wanted = rot.rotate(zero_pose()[joint], canonical.REST_OFFSETS[canonical.INDEX[f"{side}_{lower}"]])
    cosine = bone @ wanted / max(np.linalg.norm(bone) * np.linalg.norm(wanted), 1e-12)
    return bool(cosine > np.cos(np.radians(_LIKE_ZERO_POSE)))


def zero_pose() -> np.ndarray:
    """World turns (22,4) of the canonical T-pose that pose it like SMPL's zero pose."""
    turns = np.tile([1.0, 0.0, 0.0, 0.0], (len(canonical.JOINTS), 1))
    for i, joint in enumerate(canonical.JOINTS):
        side, _, part = joint.partition("_")
        if part in protocol.SMPL_ZERO_POSE:
            mirrored = np.array([1.0, 1.0, -1.0, -1.0]) if side == "right" else 1.0
            turns[i] = np.array(protocol.SMPL_ZERO_POSE[part]) * mirrored
    return rot.normalise(turns)


def from_canonical(motion: CanonicalMotion) -> tuple[np.ndarray, np.ndarray]:
    """(local rotations (T,22,4) counted from the zero pose, translation (T,3) of the body) of a canonical motion."""
    turns = zero_pose()
    above = turns[[max(parent, 0) for parent in canonical.PARENTS]]
    above[0] = [1.0, 0.0, 0.0, 0.0]
    local = rot.multiply(rot.multiply(above, motion.rotations.astype(np.float64)), rot.conjugate(turns))
    return local, motion.translation - PELVIS


def drive(animation: RigAnimation, motion: CanonicalMotion, rig: Rig, body: Body, *, whole: bool, moved: bool) -> None:
    """Put ``motion.body`` into ``animation``, what retargeting made of the same motion; in place.

    whole: all joints; else those only that the canonical skeleton lacks (what was done to the others stays).
    moved: the motion was placed elsewhere, so pelvis and path stay as they are.
    """
    source = motion.body
    assert source is not None
    q, path = stretched(source, animation.frames)
    into = rot.from_matrix(body.axes.T)
    turns = dict(zip(animation.bones, np.moveaxis(animation.rotations, 1, 0), strict=True))
    for k, joint in enumerate(source.joints):
        if joint not in body.bones or (joint in canonical.INDEX and not whole) or (joint == "pelvis" and moved):
            continue
        own = rot.from_matrix(rig.rest[rig.index[body.bones[joint]], :3, :3])
        frame = rot.multiply(rot.conjugate(own), into)
        turns[body.bones[joint]] = rot.multiply(rot.multiply(frame, q[:, k]), rot.conjugate(frame))
    animation.bones = list(turns)
    animation.rotations = rot.continuous(rot.normalise(np.stack(list(turns.values()), 1)))
    if whole and not moved and animation.root == body.bones["pelvis"]:
        bone = rig.bones[rig.index[animation.root]]
        above = rig.index[bone.parent] if bone.parent else -1
        basis = np.eye(3)
        if bone.local_location:
            basis = bone.matrix[:3, :3]
        elif above >= 0:
            basis = rig.bones[above].matrix[:3, :3]
        shift = path @ body.axes / body.scale
        if not body.own_origin:  # the figure stands where its armature has the floor: heights are the retargeting's
            up = body.axes[1]
            shift = shift + up * np.mean((animation.root_location @ basis.T - shift) @ up)
        animation.root_location = shift @ basis


def stretched(source: BodyMotion, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (T,n,4) and translation (T,3) of a body's motion over so many frames."""
    q, path = source.rotations.astype(np.float64), source.translation.astype(np.float64)
    if len(q) == frames:
        return q, path
    at = np.linspace(0.0, len(q) - 1.0, frames)
    low = np.minimum(at.astype(int), max(len(q) - 2, 0))
    high = np.minimum(low + 1, len(q) - 1)
    share = (at - low)[:, None]
    return rot.slerp(q[low], q[high], share), path[low] * (1 - share) + path[high] * share


def read(rig: Rig, body: Body, pose: np.ndarray) -> BodyMotion:
    """What the armature-space matrices (T,n,4,4) of an SMPL body's armature are as such a file: the way back."""
    rest = rig.rest
    axes = rot.from_matrix(body.axes)
    world = {}
    for joint, name in body.bones.items():
        i = rig.index[name]
        turned = pose[:, i, :3, :3] / np.maximum(np.linalg.norm(pose[:, i, :3, :3], axis=-2, keepdims=True), 1e-12)
        turn = rot.multiply(rot.from_matrix(turned), rot.conjugate(rot.from_matrix(rest[i, :3, :3])))
        world[joint] = rot.multiply(rot.multiply(axes, turn), rot.conjugate(axes))
    joints = tuple(joint for joint in JOINTS if joint in world)
    local = [
        world[joint] if parent(joint) is None else rot.multiply(rot.conjugate(world[parent(joint)]), world[joint])
        for joint in joints
    ]
    root = rig.index[body.bones["pelvis"]]
    head = pose[:, root, :3, 3] - (rest[root, :3, 3] if body.own_origin else 0.0)
    path = head @ body.axes.T * body.scale - (0.0 if body.own_origin else PELVIS)
    return BodyMotion(joints, rot.continuous(np.stack(local, 1)), path)
