"""A character for those who have none."""

import bpy

from .. import properties, service
from ..scene import mannequin
from ..translations import tr
from .base import Polled


class MOMUG_OT_add_mannequin(Polled, bpy.types.Operator):
    """Add the MoMug mannequin: an armature with a body, ready to be animated"""

    bl_idname = "momug.add_mannequin"
    bl_label = "Add Mannequin"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context) -> str:
        return "Switch to Object Mode first" if context.mode != "OBJECT" else ""

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
