"""Who is the left knee of this armature? Plain data and numpy, no bpy.

``match`` maps the bones of an armature onto the joints of the canonical skeleton.
"""

from .bones import Bone, BoneMap, Rig, RigError
from .matcher import match

__all__ = ["Bone", "BoneMap", "Rig", "RigError", "match"]
