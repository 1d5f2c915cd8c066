"""Our own figure."""

import bpy


def add(collection: bpy.types.Collection | None = None, name: str = "Mannequin") -> bpy.types.Object:
    """Add the mannequin at the world origin: an armature with canonical joint names and a skinned mesh child.

    Linked to ``collection`` (the scene's active collection when None). Returns the armature object.
    """
    raise NotImplementedError
