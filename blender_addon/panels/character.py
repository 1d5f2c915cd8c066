"""Which armature, and does the add-on know its joints."""

import bpy

from .. import properties, results
from ..scene import armature as armatures
from ..translations import tr
from .base import Sidebar, paragraph, wide_icon


class MOMUG_PT_character(Sidebar, bpy.types.Panel):
    bl_label = "Character"
    bl_order = 0

    def draw(self, context):
        layout = self.layout
        settings = properties.get(context.scene)
        armature = properties.chosen_armature(context)
        column = layout.column(align=True)
        column.prop(settings, "armature", text="", icon="ARMATURE_DATA")
        column.operator("momug.add_mannequin", icon="ADD")
        if armature is None:
            paragraph(layout, context, "Select an armature, or add the mannequin.", "INFO")
            return
        if settings.armature is None:
            layout.label(text=tr(f"Active: {armature.name}"), icon="RESTRICT_SELECT_OFF")
        several = properties.chosen_armatures(context)
        if len(several) > 1:
            self.draw_several(layout, context, several)
        health = results.map_health(armature)
        if health.problem:
            paragraph(layout, context, health.problem, "ERROR", alert=True)
        else:
            paragraph(layout, context, health.summary, "INFO" if health.missing else "CHECKMARK")
        if health.pose:
            paragraph(layout, context, f"Rest pose: {health.pose}", "ARMATURE_DATA")
        if health.mapping is not None:
            kept = armatures.has_tpose(armature)
            shown = wide_icon(context, "LOOP_BACK" if kept else "POSE_HLT")
            layout.operator("momug.forget_tpose" if kept else "momug.keep_tpose", icon=shown)

    @staticmethod
    def draw_several(layout, context, armatures):
        """All that get a motion of their own, and what is wrong with them."""
        box = layout.box()
        ready = sum(not results.map_health(armature).problem for armature in armatures)
        paragraph(box, context, f"{ready} selected armatures each get their own motion", "GROUP", boxed=True)
        for armature in armatures:
            problem = results.map_health(armature).problem
            row = box.row()
            row.alert = bool(problem)
            row.label(text=armature.name, icon="ERROR" if problem else "CHECKMARK", translate=False)


CLASSES = (MOMUG_PT_character,)
