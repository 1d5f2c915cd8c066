"""Motion as an artist gets it: carried by the add-on's own retargeting, foot lock included, to another body.

The one place of the backend that looks into the add-on, and only at its plain numpy part (rig, retarget): evaluation is
a command of the checkout and is not part of the extension.
"""

from functools import cache

import numpy as np

from backend.motion.skeleton import CANONICAL_OFFSETS, JOINT_INDEX, Motion
from backend.protocol import JOINTS, PARENTS
from blender_addon.retarget import CanonicalMotion, capture, retarget
from blender_addon.retarget.mechanism import Mechanism
from blender_addon.retarget.rotations import to_matrix
from blender_addon.rig import Bone, BoneMap, Rig, match

LEGS, ARMS, SHOULDERS, TRUNK = 1.15, 0.9, 1.1, 0.95  # the second body against the canonical one
ARMS_DOWN = 40.0  # degrees of its A-pose
# canonical Y up, facing +Z, to Blender's Z up, facing -Y
TO_BLENDER = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def on_second_body(motion: Motion) -> Motion:
    """``motion`` on the second skeleton after retargeting and foot lock, as a Motion with that body's rest offsets.

    Joint positions (T,22,3) of the result are the heads of the posed bones, metres, Y up; contacts stay as they were.
    """
    rig, bone_map = _second_body()
    animation = retarget(
        CanonicalMotion(motion.rotations, motion.translation, motion.rest_offsets, motion.fps, motion.contacts),
        rig,
        bone_map,
    )
    posed = Mechanism(rig, animation.frames)
    for index, name in enumerate(animation.bones):
        location = animation.root_location if name == animation.root else None
        posed.put(name, animation.rotations[:, index], location)
    pose = np.tile(np.eye(4), (animation.frames, len(rig.bones), 1, 1))
    for index, bone in enumerate(rig.bones):
        place = posed.place(bone.name)
        pose[:, index, :3, :3], pose[:, index, :3, 3] = to_matrix(place.turn), place.head
    read = capture(rig, bone_map, pose, animation.fps)
    pelvis = pose[:, rig.index[bone_map.bone("pelvis")], :3, 3] @ TO_BLENDER
    return Motion(read.rotations, pelvis, _offsets(), animation.fps, motion.contacts)


def _offsets() -> np.ndarray:
    """Rest offsets (22,3) of the second body in the T-pose, metres."""
    offsets = CANONICAL_OFFSETS.copy()
    for joint, name in enumerate(JOINTS):
        part = name.split("_")[-1]
        if part in ("knee", "ankle"):
            offsets[joint] *= LEGS
        elif part in ("elbow", "wrist"):
            offsets[joint] *= ARMS
        elif part in ("collar", "shoulder"):
            offsets[joint] *= SHOULDERS
        elif part.startswith("spine") or part in ("neck", "head"):
            offsets[joint] *= TRUNK
    return offsets


@cache
def _second_body() -> tuple[Rig, BoneMap]:
    """An armature in an A-pose with longer legs, shorter arms and wider shoulders, named like Mixamo's."""
    offsets = _offsets()
    pose = np.zeros((1, 22, 4))
    pose[..., 0] = 1.0
    for side, sign in (("left", 1.0), ("right", -1.0)):
        half = np.radians(-ARMS_DOWN * sign) / 2
        pose[0, JOINT_INDEX[f"{side}_shoulder"]] = (np.cos(half), 0.0, 0.0, np.sin(half))
    stand = -offsets[[JOINT_INDEX[f"left_{part}"] for part in ("hip", "knee", "ankle", "foot")], 1].sum()
    heads = Motion(pose, np.array([[0.0, stand, 0.0]]), offsets).joints()[0] @ TO_BLENDER.T
    bones = []
    for joint, parent in enumerate(PARENTS):
        children = [child for child, above in enumerate(PARENTS) if above == joint]
        along = heads[children[-1 if joint else 0]] - heads[joint] if children else heads[joint] - heads[parent]
        tail = heads[joint] + along * (1.0 if children else 0.5)
        matrix = np.eye(4)
        matrix[:3, :3] = _axes(tail - heads[joint])
        matrix[:3, 3] = heads[joint]
        above = NAMES[JOINTS[parent]] if parent >= 0 else None
        bones.append(Bone(NAMES[JOINTS[joint]], above, heads[joint], tail, matrix))
    rig = Rig("second body", bones, np.eye(4))
    return rig, match(rig.bones).require()


def _axes(along: np.ndarray) -> np.ndarray:
    """A rotation matrix (3,3) whose Y axis points ``along``."""
    y = along / np.linalg.norm(along)
    x = np.cross(y, [0.0, 1.0, 0.0] if abs(y[1]) < 0.9 else [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    return np.stack([x, y, np.cross(x, y)], 1)


_PARTS = {
    "collar": "Shoulder", "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand",
    "hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase",
}  # fmt: skip
_TRUNK = {"pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head"}
NAMES = _TRUNK | {f"{side}_{j}": side.capitalize() + part for side in ("left", "right") for j, part in _PARTS.items()}
