"""Canonical motion onto any mapped armature, and back. numpy only, no bpy."""

from .after_care import close_loop, in_place
from .capture import bones_read, capture
from .motion import BodyMotion, CanonicalMotion
from .reduce import key_masks, reduce_keys
from .retarget import RigAnimation, retarget

__all__ = [
    "BodyMotion",
    "CanonicalMotion",
    "RigAnimation",
    "bones_read",
    "capture",
    "close_loop",
    "in_place",
    "key_masks",
    "reduce_keys",
    "retarget",
]
