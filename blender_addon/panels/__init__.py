"""The "MoMug" tab of the 3D view's sidebar, one file a section."""

import bpy

from . import bone_map, caption, character, motion, result

CLASSES = (*character.CLASSES, *bone_map.CLASSES, *motion.CLASSES, *result.CLASSES, *caption.CLASSES)


def register():
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister():
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
