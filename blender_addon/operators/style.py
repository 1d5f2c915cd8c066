"""Style packs: which there are, and making one."""

import bpy

from .. import library_properties, properties, runtime, service, styles
from ..translations import tr


class MOMUG_OT_list_styles(bpy.types.Operator):
    """Start the model's program, so that the installed styles are listed"""

    bl_idname = "momug.list_styles"
    bl_label = "List Styles"

    @classmethod
    def poll(cls, _context):
        if styles.starting():
            cls.poll_message_set(tr("The model is starting"))
            return False
        return True

    def execute(self, _context):
        runtime.asked_in("style")
        try:
            styles.ask()
        except service.Error as error:
            runtime.show_error(error)
            self.report({"ERROR"}, tr(str(error)))
            return {"CANCELLED"}
        return {"FINISHED"}


class MOMUG_OT_train_style(bpy.types.Operator):
    """Learn a style from the ticked actions that have a caption. Blender stays usable; it takes minutes"""

    bl_idname = "momug.train_style"
    bl_label = "Train from Selected Actions"

    @classmethod
    def poll(cls, context):
        problem = ""
        if styles.training() is not None:
            problem = "A style is being trained already"
        elif not library_properties.settings(context.scene).style_name.strip():
            problem = "Give the style a name first"
        elif not library_properties.ticked():
            problem = "Tick the actions to learn from, in the library"
        elif not styles.learnable(library_properties.ticked(), properties.chosen_armature(context)):
            problem = "The ticked actions have no caption yet: caption them first"
        if problem:
            cls.poll_message_set(tr(problem))
        return not problem

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
            runtime.show_error(error)
            self.report({"ERROR"}, tr(str(error)))
            return {"CANCELLED"}
        return {"FINISHED"}


class MOMUG_OT_cancel_training(bpy.types.Operator):
    """Stop the training. No style is made"""

    bl_idname = "momug.cancel_training"
    bl_label = "Cancel Training"

    @classmethod
    def poll(cls, _context):
        if styles.training() is None:
            cls.poll_message_set(tr("No style is being trained"))
            return False
        return True

    def execute(self, _context):
        styles.cancel()
        styles.step()
        return {"FINISHED"}


CLASSES = (MOMUG_OT_list_styles, MOMUG_OT_train_style, MOMUG_OT_cancel_training)
