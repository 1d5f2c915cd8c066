"""A motion that plays while it is made: start, another prompt meanwhile, stop."""

import bpy

from .. import live, prompts, properties, runtime, service
from ..scene import capture
from ..translations import tr
from . import generate
from .base import Polled, failed


def why_not(context) -> str:
    """Why no motion can be made live with the present settings, one sentence; empty when it can."""
    settings, armature = properties.get(context.scene), properties.chosen_armature(context)
    problem = generate.why_not(context) or live.why_not(properties.chosen_model(settings))
    if not problem and (
        any(pose.use and pose.owner in ("", armature.name) for pose in settings.poses)
        or generate.path_of(settings)
        or generate.kept_bones(settings, armature)
    ):
        problem = "Poses, paths and bones that stay are for Generate: switch them off to generate live"
    return problem


class MOMUG_OT_stream(Polled, bpy.types.Operator):
    """Play the motion on the armature while the model makes it, from the current frame on: for the length above, with \
Auto until you stop it. Change the prompt meanwhile, and the motion follows. Your keys and your pose come back with \
Cancel or Reject"""

    bl_idname = "momug.stream"
    bl_label = "Generate Live"

    @classmethod
    def why_not(cls, context) -> str:
        return why_not(context)

    def execute(self, context):
        settings, scene = properties.get(context.scene), context.scene
        armature = properties.chosen_armature(context)
        runtime.asked_in("prompt")
        generate.draw_seed(settings)
        first, frames = generate.span(settings, armature, scene)
        seconds = None if settings.auto_seconds else settings.seconds
        if frames is not None:
            seconds = (frames[1] - frames[0] + 1) / capture.scene_fps(scene)
        try:
            live.start(
                armature,
                settings.prompt,
                seconds=seconds,
                seed=settings.seed,
                frame_start=first,
                options=properties.options(settings),
                only=properties.selected_bones(armature) if settings.only_selected else None,
                scene=scene,
                undo_step=True,
                **{**generate.gathered(settings), "variations": 1},
            )
        except service.Error as error:
            return failed(self, error)
        prompts.remember(settings.prompt)
        return {"FINISHED"}


class _LiveOperator(Polled):
    """A button for the motion that plays."""

    @classmethod
    def why_not(cls, _context) -> str:
        return "" if live.active() is not None else "No motion is being made live"


class MOMUG_OT_steer(_LiveOperator, bpy.types.Operator):
    """Let the motion go on with the prompt that stands in the field now. It follows after the second that has its \
keys already"""

    bl_idname = "momug.steer"
    bl_label = "Now Do This"

    @classmethod
    def why_not(cls, context) -> str:
        problem = super().why_not(context)
        text = properties.get(context.scene).prompt.strip()
        if not problem and not text:
            problem = "Type a prompt first"
        if not problem and text == live.active().asked:
            problem = "The model follows this prompt already: change it first"
        return problem

    def execute(self, context):
        prompt = properties.get(context.scene).prompt
        try:
            live.active().steer(prompt)
        except service.Error as error:
            self.report({"ERROR"}, tr(str(error)))
            return {"CANCELLED"}
        prompts.remember(prompt)
        return {"FINISHED"}


class MOMUG_OT_stop(_LiveOperator, bpy.types.Operator):
    """End the motion here. What has played stays on the armature, to accept or reject"""

    bl_idname = "momug.stop"
    bl_label = "Stop"

    def execute(self, _context):
        live.active().stop()
        return {"FINISHED"}


CLASSES = (MOMUG_OT_stream, MOMUG_OT_steer, MOMUG_OT_stop)
