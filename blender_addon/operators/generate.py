"""From the prompt to keys, and stopping that."""

import random

import bpy

from .. import ask, properties, results, runtime, service
from ..scene import splice, takes

LARGEST_SEED = 2**31 - 1


class MOMUG_OT_generate(bpy.types.Operator):
    """Make the motion of the prompt and put it on the armature. Your own keys stay; Reject takes it away again. \
The end of the timeline moves only when the motion is longer. Blender stays usable meanwhile"""

    bl_idname = "momug.generate"
    bl_label = "Generate"

    @classmethod
    def poll(cls, context):
        armature, settings = properties.chosen_armature(context), properties.get(context.scene)
        problem = ask.why_not(armature)
        if not problem and not settings.prompt.strip():
            problem = "Type a prompt first"
        elif not problem and settings.use_range and settings.range_end <= settings.range_start:
            problem = "The frame range ends before it has begun"
        elif not problem and settings.destination == takes.SPLICE:
            problem = splice.why_not(armature, results.current_action(armature))
        if not problem and settings.only_selected and not properties.selected_bones(armature):
            problem = "Select the bones that may get keys in Pose Mode"
        if problem:
            cls.poll_message_set(problem.rstrip("."))
        return not problem

    def execute(self, context):
        settings = properties.get(context.scene)
        if not settings.lock_seed:
            settings.seed = random.randint(0, LARGEST_SEED)
        own_steps = settings.preset == properties.OWN_STEPS
        own_preset = settings.preset not in ("", properties.MODEL_PRESET, properties.OWN_STEPS)
        armature = properties.chosen_armature(context)
        try:
            ask.start_animate(
                armature,
                settings.prompt,
                seconds=None if settings.auto_seconds else settings.seconds,
                seed=settings.seed,
                model=properties.chosen_model(settings),
                preset=settings.preset if own_preset else None,
                steps=settings.steps if own_steps else None,
                guidance_scale=settings.guidance_scale if settings.use_guidance else None,
                variations=settings.variations,
                frame_range=(settings.range_start, settings.range_end) if settings.use_range else None,
                options=properties.options(settings),
                only=properties.selected_bones(armature) if settings.only_selected else None,
                scene=context.scene,
                extend_timeline=True,
                undo_step=True,
            )
        except service.Error as error:
            runtime.show_error(error)
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class MOMUG_OT_cancel(bpy.types.Operator):
    """Stop the model. The scene stays as it is"""

    bl_idname = "momug.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, _context):
        if runtime.active() is None:
            cls.poll_message_set("Nothing is running")
            return False
        return True

    def execute(self, _context):
        runtime.cancel()
        return {"FINISHED"}


class MOMUG_OT_use_settings_of_action(bpy.types.Operator):
    """Copy prompt, length, seed and options of the armature's action into the panel, to make it again or change it"""

    bl_idname = "momug.use_settings_of_action"
    bl_label = "Settings of This Action"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if not results.has_recipe(results.current_action(properties.chosen_armature(context))):
            cls.poll_message_set("The armature's action was not made by MoMug")
            return False
        return True

    def execute(self, context):
        action = results.current_action(properties.chosen_armature(context))
        recipe = results.recipe(action)
        settings = properties.get(context.scene)
        settings.prompt = recipe.get("prompt") or ""
        settings.auto_seconds = recipe.get("requested_seconds") is None
        if recipe.get("seconds"):
            settings.seconds = recipe["seconds"]
        if recipe.get("seed") is not None:
            settings.seed = recipe["seed"]
            settings.lock_seed = True
        wanted = [("model", recipe.get("model"))]
        if recipe.get("steps"):
            settings.steps = recipe["steps"]
            wanted.append(("preset", properties.OWN_STEPS))
        else:
            wanted.append(("preset", recipe.get("preset") or properties.MODEL_PRESET))
        for name, value in wanted:
            try:
                setattr(settings, name, value)
            except TypeError:
                self.report({"WARNING"}, f"The {name} '{value}' does not exist here")
        settings.use_guidance = recipe.get("guidance_scale") is not None
        if settings.use_guidance:
            settings.guidance_scale = recipe["guidance_scale"]
        return {"FINISHED"}


CLASSES = (MOMUG_OT_generate, MOMUG_OT_cancel, MOMUG_OT_use_settings_of_action)
