"""Several sentences as one motion: a list of blocks."""

import re

import bpy

from .. import commit, properties
from ..operators import timeline
from . import work
from .base import Sidebar, paragraph

_SUBJECT = re.compile(r"^\s*((a|the) (person|man|woman|character)|someone|somebody)\s+(?=\S)", re.IGNORECASE)


class MOMUG_UL_blocks(bpy.types.UIList):
    """Blocks: what happens, and for how long."""

    def draw_item(self, _context, layout, _data, block, _icon, _active, _property, index=0, _flag=0):
        split = layout.split(factor=0.12, align=True)
        split.label(text=str(index + 1), translate=False)
        split = split.split(factor=0.7, align=True)
        split.label(text=_SUBJECT.sub("", block.prompt), translate=False)  # all of it is in the field below the list
        row = split.row(align=True)
        row.alignment = "RIGHT"
        row.label(text="auto" if block.auto else f"{block.seconds:.1f} s")

    def draw_filter(self, _context, _layout):
        """The order is the order in time: nothing to sort or to search."""


class MOMUG_PT_timeline(Sidebar, bpy.types.Panel):
    bl_label = "Timeline"
    bl_order = 2
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        settings = properties.get(context.scene)
        if not settings.blocks:
            paragraph(layout, context, "Several sentences become one motion, block after block.", "INFO")
            layout.operator("momug.add_block", icon="ADD")
            return
        row = layout.row()
        rows = max(3, min(6, len(settings.blocks)))
        row.template_list(
            "MOMUG_UL_blocks", "", settings, "blocks", settings, "block_index", rows=rows, maxrows=8, sort_lock=True
        )
        column = row.column(align=True)
        column.operator("momug.add_block", text="", icon="ADD")
        column.operator("momug.remove_block", text="", icon="REMOVE")
        column.separator()
        column.operator("momug.move_block", text="", icon="TRIA_UP").step = -1
        column.operator("momug.move_block", text="", icon="TRIA_DOWN").step = 1
        self.draw_block(layout, context, settings)
        row = layout.row(align=True)
        row.prop(settings, "timeline_start")
        row.prop(settings, "show_strip", text="", icon="SEQ_STRIP_DUPLICATE")
        paragraph(layout, context, total(settings), "TIME")
        row = work.button_row(layout)
        if row is not None:
            row.operator("momug.generate_timeline", icon="PLAY")
            work.draw_reason(layout, context, timeline.why_not(context))
        work.draw_status(layout, context, "timeline")

    @staticmethod
    def draw_block(layout, context, settings):
        """The block that is chosen in the list."""
        if not 0 <= settings.block_index < len(settings.blocks):
            return
        block = settings.blocks[settings.block_index]
        column = layout.column(align=True)
        column.prop(block, "prompt", text="")
        row = column.row(align=True)
        length = row.row(align=True)
        length.enabled = not block.auto
        length.prop(block, "seconds")
        row.prop(block, "auto", text="Auto", toggle=True)
        row = column.row(align=True)
        row.operator("momug.split_block", text="Split", icon="SNAP_MIDPOINT")
        row.operator("momug.reroll_block", text="Re-Roll", icon="FILE_REFRESH")
        found = commit.current(properties.chosen_armature(context))
        parts = commit.recipe(found).get("timeline") if found is not None else None
        if parts and len(parts) != len(settings.blocks):
            paragraph(layout, context, "The motion on the armature has other blocks; generate the timeline.", "INFO")


def total(settings) -> str:
    """How long the whole timeline is."""
    fixed = sum(block.seconds for block in settings.blocks if not block.auto)
    open_ends = sum(block.auto for block in settings.blocks)
    told = f"Blocks: {len(settings.blocks)}, {fixed:.1f} s"
    return f"{told} + {open_ends} auto" if open_ends else told


CLASSES = (MOMUG_UL_blocks, MOMUG_PT_timeline)
