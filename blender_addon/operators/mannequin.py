"""A character for those who have none."""

import bpy

from .. import properties, service
from ..scene import mannequin
from ..translations import tr


class MOMUG_OT_add_mannequin(bpy.types.Operator):
    """Add the MoMug mannequin: an armature with a body, ready to be animated"""

    bl_idname = "momug.add_mannequin"
    bl_label = "Add Mannequin"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if context.mode != "OBJECT":
            cls.poll_message_set(tr("Switch to Object Mode first"))
            return False
        return True

    def execute(self, context):
        try:
            armature = mannequin.add()
        except Exception as error:
            service.log.exception("adding the mannequin failed")
            self.report({"ERROR"}, tr(f"The mannequin could not be added: {error}"))
            return {"CANCELLED"}
        properties.get(context.scene).armature = armature
        return {"FINISHED"}


CLASSES = (MOMUG_OT_add_mannequin,)
