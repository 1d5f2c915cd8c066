"""How the character moves: installed styles, and learning one from actions."""

import bpy

from .. import library_properties, properties, styles
from ..translations import tr
from . import work
from .base import Sidebar, paragraph, wide_icon


class MOMUG_PT_style(Sidebar, bpy.types.Panel):
    bl_label = "Style"
    bl_order = 7
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        settings = properties.get(context.scene)
        model = properties.chosen_model(settings)
        column = layout.column(align=True)
        row = column.row(align=True)
        row.prop(settings, "style", text="")
        row.operator("momug.list_styles", text="", icon="FILE_REFRESH")
        chosen = styles.pack(settings.style, model)
        if chosen:
            column.prop(settings, "style_weight", slider=True)
            if not chosen.get("commercial"):
                told = tr("Not for commercial work: {licence}").format(licence=chosen.get("licence") or "?")
                paragraph(layout, context, told, "ERROR", alert=True)
        elif styles.starting():
            paragraph(layout, context, "The model is starting", "TIME")
        elif not styles.asked():
            paragraph(layout, context, "Styles are listed once the model has started.", "INFO")
        elif not styles.packs(model):
            paragraph(layout, context, "No style is installed yet. Train one below.", "INFO")
        work.draw_status(layout, context, "style")


class MOMUG_PT_style_training(Sidebar, bpy.types.Panel):
    bl_label = "Own Style"
    bl_parent_id = "MOMUG_PT_style"

    def draw(self, context):
        layout = self.layout
        training = styles.training()
        if training is not None:
            draw_training(layout, training)
            return
        settings = library_properties.settings(context.scene)
        ticked = library_properties.ticked()
        fitting = styles.learnable(ticked, properties.chosen_armature(context))
        if ticked:
            told = tr("Ticked actions with a caption: {count} of {total}.").format(
                count=len(fitting), total=len(ticked)
            )
            paragraph(layout, context, told)
        else:
            paragraph(layout, context, "Tick captioned actions in the library. Five or more that move alike work best.")
        column = layout.column(align=True)
        column.prop(settings, "style_name")
        column.prop(settings, "style_steps")
        layout.prop(settings, "style_commercial")
        layout.operator("momug.train_style", icon=wide_icon(context, "OUTLINER_OB_ARMATURE"))


def draw_training(layout, training) -> None:
    """How far the training is, and the button that stops it."""
    if training.step == 0:
        text = tr("Loading the model and your motion")
    else:
        text = tr("Step {step} of {total}").format(step=training.step, total=training.total)
    column = layout.column(align=True)
    column.label(text=training.label, icon="OUTLINER_OB_ARMATURE", translate=False)
    if hasattr(column, "progress"):  # 4.1+
        column.progress(factor=training.fraction, text=text)
    else:
        column.label(text=text, icon="TIME", translate=False)
    if training.remaining is not None:
        left = int(training.remaining)
        told = tr("{minutes} min {seconds} s left").format(minutes=left // 60, seconds=left % 60)
        column.label(text=told, icon="BLANK1", translate=False)
    row = column.row(align=True)
    row.operator("momug.cancel_training", icon="CANCEL")
    row.operator("momug.open_log", text="", icon="TEXT")


CLASSES = (MOMUG_PT_style, MOMUG_PT_style_training)
