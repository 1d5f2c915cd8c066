"""Motion files in and out."""

import bpy

from .. import runtime
from . import work
from .base import Sidebar


class MOMUG_PT_io(Sidebar, bpy.types.Panel):
    bl_label = "Import / Export"
    bl_order = 8
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        column = layout.column(align=True)
        column.operator("momug.import_motion", text="Import Motion...", icon="IMPORT")
        column.operator_menu_enum("momug.export_motion", "kind", text="Export Motion...", icon="EXPORT")
        task = runtime.active()
        if task is not None:
            work.draw_progress(layout, task)
        work.draw_status(layout, context, "files")


CLASSES = (MOMUG_PT_io,)
