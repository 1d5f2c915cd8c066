"""Who is the left knee of this armature? Plain data and numpy, no bpy.

``match`` maps the bones of an armature onto the joints of the canonical skeleton.
"""

from .bones import Bone, BoneMap, Constraint, Controls, Limb, Rig, RigError, Switch
from .matcher import match

__all__ = ["Bone", "BoneMap", "Constraint", "Controls", "Limb", "Rig", "RigError", "Switch", "match"]
