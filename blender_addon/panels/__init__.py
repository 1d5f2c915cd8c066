"""The "MoMug" tab of the 3D view's sidebar, one file a section."""

import bpy

from . import backend, bone_map, caption, character, io, motion, poses, result, style, timeline

CLASSES = (
    *character.CLASSES,
    *bone_map.CLASSES,
    *motion.CLASSES,
    *timeline.CLASSES,
    *poses.CLASSES,
    *result.CLASSES,
    *caption.CLASSES,
    *style.CLASSES,
    *io.CLASSES,
    *backend.CLASSES,
)


def register():
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    backend.register()


def unregister():
    backend.unregister()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
