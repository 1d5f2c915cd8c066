"""From a prompt to keys: settings, Generate, progress, what went wrong."""

import bpy

from .. import properties, results, runtime
from ..scene import takes
from .base import Sidebar, columns, paragraph

LONGEST_SHOWN = 400  # characters of a prompt that are drawn below its field


class MOMUG_PT_motion(Sidebar, bpy.types.Panel):
    bl_label = "Motion"
    bl_order = 1

    def draw(self, context):
        layout = self.layout
        settings = properties.get(context.scene)
        layout.prop(settings, "prompt", text="", icon="TEXT")
        if len(settings.prompt) > columns(context) - 6:  # the field shows only a part of it
            paragraph(layout, context, settings.prompt[:LONGEST_SHOWN])
        column = layout.column(align=True)
        row = column.row(align=True)
        column.enabled = not settings.use_range
        row.enabled = not settings.auto_seconds
        row.prop(settings, "seconds")
        column.prop(settings, "auto_seconds", toggle=True, icon="TIME")
        row = layout.row(align=True)
        row.prop(settings, "seed")
        locked = settings.lock_seed
        row.prop(settings, "lock_seed", text="", icon="LOCKED" if locked else "UNLOCKED")

        task = runtime.active()
        if task is not None:
            self.draw_progress(layout, task)
        else:
            row = layout.row()
            row.scale_y = 1.4
            row.operator("momug.generate", icon="PLAY")
        draw_status(layout, context)

    @staticmethod
    def draw_progress(layout, task):
        column = layout.column(align=True)
        if hasattr(column, "progress"):  # 4.1+
            column.progress(factor=task.fraction, text=task.phase_text)
        else:
            column.label(text=task.phase_text, icon="TIME")
        row = column.row()
        row.scale_y = 1.4
        row.operator("momug.cancel", icon="CANCEL")


def draw_status(layout, context):
    """The last thing that happened, in a sentence, and for a failure what to do about it."""
    status = runtime.status()
    if not status.message:
        return
    if not status.failed:
        paragraph(layout, context, status.message, "CHECKMARK")
        return
    box = layout.box()
    paragraph(box, context, status.message, "ERROR", alert=True, boxed=True)
    if status.hint:
        paragraph(box, context, status.hint, "BLANK1", boxed=True)
    box.operator("momug.open_log", icon="TEXT")


class MOMUG_PT_motion_options(Sidebar, bpy.types.Panel):
    bl_label = "Options"
    bl_parent_id = "MOMUG_PT_motion"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = properties.get(context.scene)
        layout.prop(settings, "model")
        column = layout.column()
        column.prop(settings, "preset")
        if settings.preset == properties.OWN_STEPS:
            column.prop(settings, "steps")
        row = column.row(heading="Guidance")
        row.prop(settings, "use_guidance", text="")
        sub = row.row()
        sub.active = settings.use_guidance
        sub.prop(settings, "guidance_scale", text="")
        column.prop(settings, "variations")
        layout.operator("momug.use_settings_of_action", icon="FILE_REFRESH")
        layout.operator("momug.unload_backend", icon="CANCEL")


class MOMUG_PT_motion_destination(Sidebar, bpy.types.Panel):
    bl_label = "Where It Goes"
    bl_parent_id = "MOMUG_PT_motion"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        settings = properties.get(context.scene)
        layout.prop(settings, "destination", text="")
        row = layout.row(align=True)
        row.prop(settings, "use_range")
        row.operator("momug.range_of_keys", text="", icon="KEYFRAME")
        if settings.use_range:
            row = layout.row(align=True)
            row.prop(settings, "range_start", text="")
            row.prop(settings, "range_end", text="")
        if settings.destination != takes.ACTION:
            column = layout.column(align=True)
            column.prop(settings, "blend_in")
            column.prop(settings, "blend_out")
        column = layout.column()
        column.prop(settings, "only_selected")
        column.prop(settings, "in_place")
        column.prop(settings, "loop")
        column.prop(settings, "foot_lock")
        column.prop(settings, "clear_hands")
        armature = properties.chosen_armature(context)
        mapping = results.map_health(armature).mapping if armature is not None else None
        if mapping is not None and mapping.controls is not None:
            column.prop(settings, "ik_legs")
            column.prop(settings, "ik_arms")
        column.prop(settings, "reduce")
        if settings.reduce:
            column = layout.column(align=True)
            column.prop(settings, "reduce_degrees", text="Degrees")
            column.prop(settings, "reduce_cm", text="cm")


CLASSES = (MOMUG_PT_motion, MOMUG_PT_motion_destination, MOMUG_PT_motion_options)
