"""The generated motion on the armature: keep it or not, other variations, other ways to put it into the scene."""

import bpy

from .. import commit, properties, runtime
from ..operators import result
from ..scene import takes
from ..translations import tr
from . import work
from .base import Sidebar, beside, narrow, paragraph, wide_icon

_TOGGLES = (
    ("in_place", "In Place", "PINNED"),
    ("loop", "Loop", "FILE_REFRESH"),
    ("foot_lock", "Foot Lock", "LOCKED"),
    ("reduce", "Fewer Keys", "KEYFRAME"),
)
_PLACES = ((takes.ACTION, "Action"), (takes.NLA, "Strip"), (takes.SPLICE, "Splice"))


class MOMUG_PT_result(Sidebar, bpy.types.Panel):
    bl_label = "Result"
    bl_order = 4

    @classmethod
    def poll(cls, context):
        armature, task = properties.chosen_armature(context), runtime.active()
        playing = task is not None and task.live is not None  # not yet the motion that it is going to be
        return armature is not None and not playing and commit.current(armature) is not None

    def draw(self, context):
        layout = self.layout
        found = commit.current(properties.chosen_armature(context))
        take = found.take
        waiting = take.state == takes.PENDING
        where = f"frames {take.first} to {take.last}"
        told = commit.recipe(found).get("prompt") or found.action.name
        paragraph(layout, context, f"{told} ({where})", "ACTION")
        if waiting:
            self.draw_decision(layout, context, found)
        grid = layout.grid_flow(row_major=True, columns=1 if narrow(context) else 2, even_columns=True, align=True)
        for name, label, icon in _TOGGLES:
            on = getattr(take.options, name)
            given = grid.operator("momug.change_result", text=label, icon=icon, depress=on)
            setattr(given, name, not on)
        if waiting:
            row = layout.row(align=True)
            for place, label in _PLACES:
                here = take.options.destination == place
                row.operator("momug.change_result", text=label, depress=here).destination = place
        column = layout.column(align=True)
        column.operator("momug.change_result", text="More...", icon="PREFERENCES")
        row = column.row(align=True)
        row.operator("momug.generate_again", icon=wide_icon(context, "FILE_REFRESH")).same_seed = False
        row.operator("momug.use_settings_of_action", text="", icon="COPYDOWN")
        task = runtime.active()
        if task is not None:
            work.draw_progress(layout, task)
        work.draw_status(layout, context, "result")

    @staticmethod
    def draw_decision(layout, context, found) -> None:
        shown, count = commit.variations(found)
        if count > 1:
            row = layout.row(align=True)
            row.operator("momug.show_variation", text="", icon="TRIA_LEFT").step = -1
            middle = row.row(align=True)
            middle.alignment = "CENTER"
            middle.label(text=tr(f"Variation {shown + 1} of {count}"))
            row.operator("momug.show_variation", text="", icon="TRIA_RIGHT").step = 1
        row = beside(layout, context)
        row.scale_y = 1.3
        count = len(result.waiting(context))
        several = count > 1
        row.operator("momug.accept", icon="CHECKMARK", text=tr(f"Accept {count}") if several else "Accept")
        row.operator("momug.reject", icon="X", text=tr(f"Reject {count}") if several else "Reject")


CLASSES = (MOMUG_PT_result,)
