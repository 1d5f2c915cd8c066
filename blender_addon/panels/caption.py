"""From keys to words."""

import bpy

from .. import properties, results
from .base import Sidebar, paragraph


class MOMUG_PT_caption(Sidebar, bpy.types.Panel):
    bl_label = "Caption"
    bl_order = 3

    def draw(self, context):
        layout = self.layout
        layout.operator("momug.caption", icon="FILE_TEXT")
        text = results.caption_of(properties.chosen_armature(context))
        if text:
            box = layout.box()
            paragraph(box, context, text, boxed=True)
            box.operator("momug.caption_to_prompt", icon="COPYDOWN")


CLASSES = (MOMUG_PT_caption,)
