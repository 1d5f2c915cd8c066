"""Words for the motion that an armature has."""

import bpy

from .. import ask, properties, results, runtime, service


class MOMUG_OT_caption(bpy.types.Operator):
    """Let the model say what the armature does in the frames of its action. The caption is kept with the action"""

    bl_idname = "momug.caption"
    bl_label = "Caption"

    @classmethod
    def poll(cls, context):
        armature = properties.chosen_armature(context)
        problem = ask.why_not(armature)
        if not problem and results.current_action(armature) is None:
            problem = "The armature has no action to describe"
        if problem:
            cls.poll_message_set(problem.rstrip("."))
        return not problem

    def execute(self, context):
        settings = properties.get(context.scene)
        try:
            ask.start_caption(
                properties.chosen_armature(context),
                model=properties.chosen_model(settings),
                scene=context.scene,
                undo_step=True,
            )
        except service.Error as error:
            runtime.show_error(error)
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class MOMUG_OT_caption_to_prompt(bpy.types.Operator):
    """Use the caption as the prompt"""

    bl_idname = "momug.caption_to_prompt"
    bl_label = "Copy to Prompt"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if not results.caption_of(properties.chosen_armature(context)):
            cls.poll_message_set("There is no caption yet")
            return False
        return True

    def execute(self, context):
        properties.get(context.scene).prompt = results.caption_of(properties.chosen_armature(context))
        return {"FINISHED"}


CLASSES = (MOMUG_OT_caption, MOMUG_OT_caption_to_prompt)
