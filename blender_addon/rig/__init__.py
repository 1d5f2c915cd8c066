"""Who is the left knee of this armature? Plain data and numpy, no bpy.

``match`` maps the bones of an armature onto the joints of the canonical skeleton; ``rest_pose.analyse`` reads how the
armature stands at rest.
"""

from .bones import Bone, BoneMap, Rig, RigError
from .matcher import match

__all__ = ["Bone", "BoneMap", "Rig", "RigError", "match"]
