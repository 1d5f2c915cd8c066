"""A character from a file."""

from pathlib import Path

import bpy


def import_rig(path: str | Path) -> bpy.types.Object:
    """Bring the character of a .blend, .fbx, .glb, .gltf or .bvh file into the scene; returns its armature object.

    Raises RigError with a plain sentence when the file is missing, unreadable or holds no armature.
    """
    raise NotImplementedError
