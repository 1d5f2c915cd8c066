"""Canonical motion onto any mapped armature, and back. numpy only, no bpy."""

from .capture import capture
from .motion import CanonicalMotion
from .retarget import RigAnimation, retarget

__all__ = ["CanonicalMotion", "RigAnimation", "capture", "retarget"]
