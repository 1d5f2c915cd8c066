"""From a prompt to keys: settings, Generate, progress, what went wrong."""

import bpy

from .. import prompts, properties, results
from ..operators import generate
from ..scene import takes
from ..translations import tr
from . import poses, work
from .base import Sidebar, columns, narrow, paragraph

LONGEST_SHOWN = 400  # characters of a prompt that are drawn below its field
LONGEST_LINE = 80  # and in a menu


class MOMUG_PT_motion(Sidebar, bpy.types.Panel):
    bl_label = "Prompt"
    bl_order = 1

    def draw(self, context):
        layout = self.layout
        settings = properties.get(context.scene)
        self.draw_prompt(layout, context, settings)
        self.draw_length(layout, context, settings)
        column = layout.column(align=True)
        row = column.row(align=True)
        row.prop(settings, "seed")
        row.prop(settings, "lock_seed", text="", icon="LOCKED" if settings.lock_seed else "UNLOCKED")
        column.prop(settings, "variations")
        column.prop(settings, "preset", text="")
        if settings.preset == properties.OWN_STEPS:
            column.prop(settings, "steps")
        told = poses.told(context, settings)
        if told:
            paragraph(layout, context, told, "POSE_HLT")
        poses.draw_better(layout, context, settings)
        if work.draw_missing_model(layout, context):
            return
        row = work.button_row(layout)
        if row is not None:
            count = sum(not results.map_health(one).problem for one in properties.chosen_armatures(context))
            if count > 1:
                row.operator("momug.generate", icon="PLAY", text=tr(f"Generate for {count}"))
            else:
                row.operator("momug.generate", icon="PLAY")
            row.operator("momug.stream", text="", icon="REC")
            work.draw_reason(layout, context, generate.why_not(context))
        work.draw_status(layout, context, "prompt")

    @staticmethod
    def draw_prompt(layout, context, settings):
        row = layout.row(align=True)
        row.prop(settings, "prompt", text="", icon="TEXT")
        row.menu("MOMUG_MT_examples", text="", icon="PRESET")
        row.menu("MOMUG_MT_history", text="", icon="RECOVER_LAST")
        if len(settings.prompt) > columns(context) - 14:  # the field shows only a part of it
            paragraph(layout, context, settings.prompt[:LONGEST_SHOWN])

    @staticmethod
    def draw_length(layout, context, settings):
        frames = generate.span(settings, properties.chosen_armature(context), context.scene)[1]
        column = layout.column(align=True)
        column.enabled = frames is None
        if narrow(context):
            column.prop(settings, "length", text="")
        else:
            column.row(align=True).prop(settings, "length", expand=True)
        if settings.length != properties.MODEL:
            column.prop(settings, "frames" if settings.length == properties.FRAMES else "seconds")


class MOMUG_MT_examples(bpy.types.Menu):
    """Prompts that the models know well"""

    bl_label = "Examples"

    def draw(self, _context):
        for cls in EXAMPLES:
            self.layout.menu(cls.bl_idname)


def _example_menu(number: int, category: str, texts: list) -> type:
    def draw(self, _context):
        for text in texts:
            self.layout.operator("momug.use_prompt", text=text, translate=False).prompt = text

    name = f"MOMUG_MT_examples_{number}"
    return type(name, (bpy.types.Menu,), {"bl_idname": name, "bl_label": category, "draw": draw})


EXAMPLES = [_example_menu(index, *item) for index, item in enumerate(prompts.examples().items())]


class MOMUG_MT_history(bpy.types.Menu):
    """The prompts that you used last"""

    bl_label = "History"

    def draw(self, _context):
        used = prompts.history()
        if not used:
            self.layout.label(text="No prompt was used yet")
            return
        for text in used:
            shown = text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}…"
            self.layout.operator("momug.use_prompt", text=shown, translate=False).prompt = text
        self.layout.separator()
        self.layout.operator("momug.clear_history", icon="TRASH")


class MOMUG_PT_motion_options(Sidebar, bpy.types.Panel):
    bl_label = "Options"
    bl_parent_id = "MOMUG_PT_motion"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = properties.get(context.scene)
        column = layout.column()
        column.prop(settings, "model")
        row = column.row(heading="Guidance")
        row.prop(settings, "use_guidance", text="")
        sub = row.row()
        sub.active = settings.use_guidance
        sub.prop(settings, "guidance_scale", text="")
        layout.operator("momug.use_settings_of_action", icon="COPYDOWN")


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
            row.prop(settings, "range_start", text="From")
            row.prop(settings, "range_end", text="To")
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


CLASSES = (
    *EXAMPLES,
    MOMUG_MT_examples,
    MOMUG_MT_history,
    MOMUG_PT_motion,
    MOMUG_PT_motion_destination,
    MOMUG_PT_motion_options,
)
