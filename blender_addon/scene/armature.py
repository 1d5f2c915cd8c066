"""Armature objects as plain data, and whether they can be animated."""

import bpy

from ..rig import BoneMap, Rig


def problem(armature: bpy.types.Object | None) -> str | None:
    """Why this object cannot receive motion, one plain sentence; None when it can. Cheap enough for ``poll``."""
    raise NotImplementedError


def read_rig(armature: bpy.types.Object) -> Rig:
    """The rest skeleton of an armature object as plain data (parents first), with the object's world matrix."""
    raise NotImplementedError


def bone_map(armature: bpy.types.Object) -> BoneMap:
    """The automatic bone map of an armature object; check ``.error`` or call ``.require()``."""
    raise NotImplementedError


def warnings(armature: bpy.types.Object, mapping: BoneMap) -> list[str]:
    """Sentences about what will not look right: mapped bones under constraints or drivers."""
    raise NotImplementedError
