"""Prompts to pick: examples, and those that were used before."""

import bpy

from .. import prompts, properties
from ..translations import tr
from .base import Polled


class MOMUG_OT_use_prompt(bpy.types.Operator):
    """Put this text into the prompt"""

    bl_idname = "momug.use_prompt"
    bl_label = "Use Prompt"
    bl_options = {"REGISTER", "UNDO"}

    prompt: bpy.props.StringProperty(name="Prompt", description="The text to use")

    @classmethod
    def description(cls, _context, given):
        return given.prompt or tr(cls.__doc__)

    def execute(self, context):
        properties.get(context.scene).prompt = self.prompt
        return {"FINISHED"}


class MOMUG_OT_clear_history(Polled, bpy.types.Operator):
    """Forget the prompts that were used before, in all files"""

    bl_idname = "momug.clear_history"
    bl_label = "Clear History"

    @classmethod
    def why_not(cls, _context) -> str:
        return "" if prompts.history() else "No prompt was used yet"

    def execute(self, _context):
        prompts.clear()
        return {"FINISHED"}


CLASSES = (MOMUG_OT_use_prompt, MOMUG_OT_clear_history)
