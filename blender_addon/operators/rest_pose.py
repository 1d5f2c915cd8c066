"""The pose that motion is matched with, where the add-on reads the rest pose wrongly."""

import bpy

from .. import results
from ..scene import armature as armatures
from .bone_map import MapOperator


class MOMUG_OT_keep_tpose(MapOperator, bpy.types.Operator):
    """Match motion with the present pose from now on. Pose the arms straight to the sides, palms down, feet forward"""

    bl_idname = "momug.keep_tpose"
    bl_label = "Use Pose as T-Pose"

    def edit(self, armature):
        armatures.keep_tpose(armature)
        results.forget_maps()
        return f"This pose is the T-pose of '{armature.name}' from now on."


class MOMUG_OT_forget_tpose(MapOperator, bpy.types.Operator):
    """Match motion with the armature's own rest pose again"""

    bl_idname = "momug.forget_tpose"
    bl_label = "Use Rest Pose"

    def edit(self, armature):
        armatures.keep_tpose(armature, forget=True)
        results.forget_maps()
        return f"'{armature.name}' is matched by its rest pose again."


CLASSES = (MOMUG_OT_keep_tpose, MOMUG_OT_forget_tpose)
