"""Motion out of Blender: BVH, glTF, FBX, SMPL-X npz, and a copy of the scene."""

from pathlib import Path

import bpy


def bvh(armature: bpy.types.Object, path: str | Path, frame_range: tuple[int, int] | None = None) -> Path:
    """Write the armature's animation as BVH (Y up, the rig's own units)."""
    raise NotImplementedError


def glb(armature: bpy.types.Object, path: str | Path) -> Path:
    """Write the armature, its skinned meshes and its action as binary glTF."""
    raise NotImplementedError


def fbx(armature: bpy.types.Object, path: str | Path) -> Path:
    """Write the armature, its skinned meshes and its action as FBX."""
    raise NotImplementedError


def npz(
    armature: bpy.types.Object,
    path: str | Path,
    action: bpy.types.Action | None = None,
    frame_range: tuple[int, int] | None = None,
) -> Path:
    """Write the animation as canonical motion with SMPL-X/AMASS keys."""
    raise NotImplementedError


def blend(path: str | Path) -> Path:
    """Save a copy of the current file."""
    raise NotImplementedError
