"""Motion files in and out."""

import bpy

from .base import Sidebar


class MOMUG_PT_io(Sidebar, bpy.types.Panel):
    bl_label = "Import / Export"
    bl_order = 8
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, _context):
        column = self.layout.column(align=True)
        column.operator("momug.import_motion", text="Import Motion...", icon="IMPORT")
        column.operator_menu_enum("momug.export_motion", "kind", text="Export Motion...", icon="EXPORT")


CLASSES = (MOMUG_PT_io,)
