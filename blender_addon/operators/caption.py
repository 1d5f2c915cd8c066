"""Words for the motion that armatures have."""

import bpy

from .. import ask, captions, library_properties, properties, results, runtime, service
from ..scene import assets
from ..translations import tr
from .base import Polled, failed


def items(context) -> list:
    """What the caption button is about, as the panel says."""
    settings = library_properties.settings(context.scene)
    frames = settings.first, settings.last
    return captions.gather(settings.scope, properties.chosen_armature(context), context.selected_objects, frames)


class MOMUG_OT_caption(Polled, bpy.types.Operator):
    """Let the model say in words what the character does. The caption is kept with the action"""

    bl_idname = "momug.caption"
    bl_label = "Caption"

    @classmethod
    def why_not(cls, context) -> str:
        settings = library_properties.settings(context.scene)
        problem = ""
        if captions.running() is not None:
            problem = "Captions are being made already"
        elif runtime.active() is not None:
            problem = "MoMug is still working on the last request"
        elif settings.scope in (captions.ACTIVE, captions.RANGE):
            problem = ask.why_not(properties.chosen_armature(context))
        if not problem and settings.scope == captions.RANGE and settings.last < settings.first:
            problem = "The frame range ends before it has begun"
        if not problem and not items(context):
            problem = captions.nothing_chosen(settings.scope)
        return problem

    def execute(self, context):
        model = properties.chosen_model(properties.get(context.scene))
        runtime.asked_in("captions")
        try:
            captions.begin(items(context), model)
            captions.step()  # what is wrong with a single request is told at once
        except service.Error as error:
            return failed(self, error)
        return {"FINISHED"}


class MOMUG_OT_cancel_captions(Polled, bpy.types.Operator):
    """Make no more captions. Those that are made stay"""

    bl_idname = "momug.cancel_captions"
    bl_label = "Cancel Captions"

    @classmethod
    def why_not(cls, _context) -> str:
        return "No captions are being made" if captions.running() is None else ""

    def execute(self, _context):
        captions.cancel()
        return {"FINISHED"}


class MOMUG_OT_caption_to_prompt(Polled, bpy.types.Operator):
    """Use the caption as the prompt"""

    bl_idname = "momug.caption_to_prompt"
    bl_label = "Copy to Prompt"
    bl_options = {"REGISTER", "UNDO"}

    text: bpy.props.StringProperty(
        name="Caption",
        description="The words to use. Empty: the caption of the armature's action",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def why_not(cls, context) -> str:
        armature = properties.chosen_armature(context)
        listed = library_properties.shown_action(context)
        return "" if results.caption_of(armature) or assets.caption_of(listed) else "There is no caption yet"

    def execute(self, context):
        text = self.text or results.caption_of(properties.chosen_armature(context))
        if not text:
            self.report({"WARNING"}, tr("There is no caption yet"))
            return {"CANCELLED"}
        properties.get(context.scene).prompt = text
        return {"FINISHED"}


class MOMUG_OT_forget_caption_of_part(bpy.types.Operator):
    """Remove the caption of these frames"""

    bl_idname = "momug.forget_caption_of_part"
    bl_label = "Remove"
    bl_options = {"REGISTER", "UNDO"}

    first: bpy.props.IntProperty(name="First Frame", description="First frame of the part")
    last: bpy.props.IntProperty(name="Last Frame", description="Last frame of the part")

    def execute(self, context):
        armature = properties.chosen_armature(context)
        owner = results.current_action(armature) or armature
        if owner is None or owner.library is not None:
            self.report({"WARNING"}, tr("There is no caption that could be removed"))
            return {"CANCELLED"}
        assets.set_caption_of_part(owner, self.first, self.last, "")
        return {"FINISHED"}


CLASSES = (
    MOMUG_OT_caption,
    MOMUG_OT_cancel_captions,
    MOMUG_OT_caption_to_prompt,
    MOMUG_OT_forget_caption_of_part,
)
