"""Style packs: which there are, and making one."""

import bpy

from .. import library_properties, properties, runtime, service, styles
from .base import Polled, failed


class MOMUG_OT_list_styles(Polled, bpy.types.Operator):
    """Start the model's program, so that the installed styles are listed"""

    bl_idname = "momug.list_styles"
    bl_label = "List Styles"

    @classmethod
    def why_not(cls, _context) -> str:
        return "The model is starting" if styles.starting() else ""

    def execute(self, _context):
        runtime.asked_in("style")
        try:
            styles.ask()
        except service.Error as error:
            return failed(self, error)
        return {"FINISHED"}


class MOMUG_OT_train_style(Polled, bpy.types.Operator):
    """Learn a style from the ticked actions that have a caption. Blender stays usable; it takes minutes"""

    bl_idname = "momug.train_style"
    bl_label = "Train from Selected Actions"

    @classmethod
    def why_not(cls, context) -> str:
        problem = ""
        if styles.training() is not None:
            problem = "A style is being trained already"
        elif not library_properties.settings(context.scene).style_name.strip():
            problem = "Give the style a name first"
        elif not library_properties.ticked():
            problem = "Tick the actions to learn from, in the library"
        elif not styles.learnable(library_properties.ticked(), properties.chosen_armature(context)):
            problem = "The ticked actions have no caption yet: caption them first"
        return problem

    def execute(self, context):
        settings = library_properties.settings(context.scene)
        runtime.asked_in("style")
        try:
            styles.begin(
                library_properties.ticked(),
                settings.style_name,
                commercial=settings.style_commercial,
                steps=settings.style_steps,
                armature=properties.chosen_armature(context),
            )
        except service.Error as error:
            return failed(self, error)
        return {"FINISHED"}


class MOMUG_OT_cancel_training(Polled, bpy.types.Operator):
    """Stop the training. No style is made"""

    bl_idname = "momug.cancel_training"
    bl_label = "Cancel Training"

    @classmethod
    def why_not(cls, _context) -> str:
        return "No style is being trained" if styles.training() is None else ""

    def execute(self, _context):
        styles.cancel()
        styles.step()
        return {"FINISHED"}


CLASSES = (MOMUG_OT_list_styles, MOMUG_OT_train_style, MOMUG_OT_cancel_training)
