"""Buttons. An operator only gathers, calls and reports; the work is in ``api`` and ``runtime``."""

import bpy

from . import (
    backend,
    bone_map,
    caption,
    generate,
    io,
    library,
    mannequin,
    poses,
    prompt,
    rest_pose,
    result,
    stream,
    style,
    timeline,
)

CLASSES = (
    *generate.CLASSES,
    *stream.CLASSES,
    *prompt.CLASSES,
    *timeline.CLASSES,
    *poses.CLASSES,
    *result.CLASSES,
    *bone_map.CLASSES,
    *rest_pose.CLASSES,
    *caption.CLASSES,
    *library.CLASSES,
    *style.CLASSES,
    *io.CLASSES,
    *mannequin.CLASSES,
    *backend.CLASSES,
)


def register():
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister():
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
