"""The canonical skeleton as the add-on uses it: the protocol's tables as numpy arrays, and words for animators."""

import numpy as np

from ..client import protocol

FPS = float(protocol.FPS)
JOINTS = tuple(protocol.JOINTS)
PARENTS = tuple(protocol.PARENTS)
REST_OFFSETS = np.asarray(protocol.REST_OFFSETS, dtype=np.float64)
REST_PELVIS_HEIGHT = float(protocol.REST_PELVIS_HEIGHT)
INDEX = {name: index for index, name in enumerate(JOINTS)}
CONTACT_JOINTS = ("left_ankle", "left_foot", "right_ankle", "right_foot")
SIDES = ("left", "right")
SPINE = ("spine1", "spine2", "spine3")

# Without these a figure cannot be posed; of the spine any one bone is enough
REQUIRED = ("pelvis",) + tuple(
    f"{side}_{joint}" for joint in ("hip", "knee", "ankle", "shoulder", "elbow") for side in SIDES
)

# What an animator calls the bone that turns at a joint
WORDS = {
    "pelvis": "pelvis (hips)",
    "spine": "spine",
    "spine1": "lower spine",
    "spine2": "middle spine",
    "spine3": "upper spine",
    "neck": "neck",
    "head": "head",
    "hip": "thigh",
    "knee": "shin",
    "ankle": "foot",
    "foot": "toes",
    "collar": "shoulder (collar bone)",
    "shoulder": "upper arm",
    "elbow": "forearm",
    "wrist": "hand",
}


def words(joint: str) -> str:
    """The animator's name of the bone of a canonical joint: ``left_knee`` -> ``left shin``."""
    for side in SIDES:
        if joint.startswith(side + "_"):
            return f"{side} {WORDS[joint[len(side) + 1 :]]}"
    return WORDS[joint]


def mirror(joint: str) -> str:
    """The joint on the other side; joints of the midline are their own mirror."""
    if joint.startswith("left_"):
        return "right_" + joint[5:]
    if joint.startswith("right_"):
        return "left_" + joint[6:]
    return joint


def rest_positions(rest_offsets: np.ndarray = REST_OFFSETS) -> np.ndarray:
    """Joint positions (22,3) of the T-pose in metres, Y up, the pelvis at the origin."""
    positions = np.zeros((len(JOINTS), 3))
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            positions[joint] = positions[parent] + rest_offsets[joint]
    return positions
