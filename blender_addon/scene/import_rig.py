"""A character from a file."""

import os
from pathlib import Path

import bpy

from ..rig import RigError, match
from .armature import bones
from .console import quiet
from .files import reason

READABLE = (".blend", ".fbx", ".glb", ".gltf", ".vrm", ".bvh")


def import_rig(path: str | Path) -> bpy.types.Object:
    """Bring the character of a .blend, .fbx, .glb, .gltf, .vrm or .bvh file into the scene; returns its armature.

    With several armatures the first one that can be mapped is taken. Raises RigError with a plain sentence when the
    file is missing, unreadable or holds no armature.
    """
    path = Path(path).expanduser().resolve()
    if not os.path.isfile(path):  # unlike Path.is_file, False for a name that is too long
        raise RigError(f"There is no file at {path}.")
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise RigError(f"'{path.name}' is not a kind of file a character comes in; use {', '.join(READABLE)}.")
    before = set(bpy.data.objects)
    try:
        with quiet():
            _READERS[suffix](str(path))
    except RigError:
        raise
    except Exception as error:
        raise RigError(f"Blender could not read '{path.name}': {reason(error)}.") from error
    armatures = [o for o in bpy.data.objects if o not in before and o.type == "ARMATURE"]
    if not armatures:
        raise RigError(f"'{path.name}' holds no armature.")
    for armature in armatures:
        if match(bones(armature)).error is None:
            return armature
    return armatures[0]


def _append(path: str) -> None:
    """Append every object of a .blend file; those that were in no scene there are still useful to their armature."""
    with bpy.data.libraries.load(path, link=False) as (source, target):
        target.objects = list(source.objects)
    for found in target.objects:
        if found is not None and not found.users_scene:
            bpy.context.scene.collection.objects.link(found)
    # Objects that were hidden from view in their own file are mostly bone shapes
    shapes = {b.custom_shape for o in target.objects if o and o.type == "ARMATURE" for b in o.pose.bones}
    for shape in shapes - {None}:
        for owner in list(shape.users_collection):
            owner.objects.unlink(shape)
    bpy.context.view_layer.update()


def _gltf(path: str) -> None:
    if path.lower().endswith(".vrm"):
        # A VRM file is binary glTF; the importer looks at the content, not at the name
        bpy.ops.import_scene.gltf(filepath=path, import_shading="NORMALS")
    else:
        bpy.ops.import_scene.gltf(filepath=path)


def _fbx(path: str) -> None:
    bpy.ops.import_scene.fbx(filepath=path)


def _bvh(path: str) -> None:
    bpy.ops.import_anim.bvh(filepath=path)


_READERS = {".blend": _append, ".fbx": _fbx, ".glb": _gltf, ".gltf": _gltf, ".vrm": _gltf, ".bvh": _bvh}
