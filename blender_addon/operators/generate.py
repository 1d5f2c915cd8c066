"""From the prompt to keys, and stopping that."""

import random
from functools import partial

import bpy

from .. import ask, commit, conditions, prompts, properties, results, rework, runtime, service
from ..rig import RigError
from ..scene import capture, poses, takes
from ..scene.poses import Pose
from ..translations import tr
from .base import Polled, failed

LARGEST_SEED = 2**31 - 1


def draw_seed(settings) -> None:
    """A new seed, unless the artist locked it."""
    if not settings.lock_seed:
        settings.seed = random.randint(0, LARGEST_SEED)


def gathered(settings) -> dict:
    """The settings that every request takes: see ``ask.checked``."""
    preset = properties.chosen_preset(settings)
    own_steps = preset == properties.OWN_STEPS
    own_preset = preset not in ("", properties.MODEL_PRESET, properties.OWN_STEPS)
    style = getattr(settings, "style", "")
    chosen = {
        "model": properties.chosen_model(settings),
        "preset": preset if own_preset else None,
        "steps": settings.steps if own_steps else None,
        "guidance_scale": settings.guidance_scale if settings.use_guidance else None,
        "variations": settings.variations,
    }
    if style and style != "NONE":
        chosen |= {"style": style, "style_weight": settings.style_weight}
    return chosen


def chosen_poses(settings, armature) -> list:
    """The poses of the list that the next motion of ``armature`` meets."""
    return [item for item in settings.poses if item.use and item.owner in ("", armature.name)]


def given_poses(settings, armature) -> dict:
    """Frame -> pose that the settings give ``armature``; see ``ask.start_animate``. Raises RigError, Error."""
    problem = why_no_poses(settings, armature)
    if problem:
        raise service.Error("bad_request", f"{problem}.")
    return {item.frame: Pose.unpack(item.data) if item.data else "keys" for item in chosen_poses(settings, armature)}


def why_no_poses(settings, armature) -> str:
    """Why the poses of the list cannot be met by one motion, one sentence; empty when they can."""
    frames = [item.frame for item in chosen_poses(settings, armature)]
    span = (settings.range_start, settings.range_end) if settings.use_range else None
    return conditions.why_no_poses(frames, span, properties.chosen_model(settings))


def span(settings, armature, scene) -> "tuple[int, tuple[int, int] | None]":
    """(first frame, (first, last) frame when both are known) of the next motion: the range that was set, else from
    the first given pose to the last, else from the current frame on."""
    if settings.use_range:
        return settings.range_start, (settings.range_start, settings.range_end)
    frames = [item.frame for item in chosen_poses(settings, armature)]
    if not frames:
        return scene.frame_current, None
    return min(frames), (min(frames), max(frames)) if len(set(frames)) > 1 else None


def path_of(settings):
    """The curve or collection to follow, or None."""
    return settings.path or settings.waypoints


def kept_bones(settings, armature) -> "list[str] | None":
    """The bones that keep their motion, or None."""
    return properties.selected_bones(armature) if settings.keep_selected else None


def gives(settings, armature) -> bool:
    """Whether the next motion has something to meet, which says enough without a prompt."""
    return bool(chosen_poses(settings, armature) or path_of(settings) or settings.keep_selected)


def why_not(context, needs_prompt: bool = True) -> str:
    """Why no motion can be made with the present settings, one sentence; empty when it can."""
    armature, settings = properties.chosen_armature(context), properties.get(context.scene)
    problem = ask.why_not(armature)
    if not problem and needs_prompt and not settings.prompt.strip() and not gives(settings, armature):
        problem = "Type a prompt first"
    if not problem and settings.use_range and settings.range_end <= settings.range_start:
        problem = "The frame range ends before it has begun"
    if not problem:
        problem = why_no_poses(settings, armature)
    if not problem:
        problem = ask.why_no_room(armature, settings.destination)
    if not problem and settings.only_selected and not properties.selected_bones(armature):
        problem = "Select the bones that may get keys in Pose Mode"
    if not problem and settings.keep_selected and not properties.selected_bones(armature):
        problem = "Select the bones that stay in Pose Mode"
    if not problem and settings.keep_selected and settings.destination == takes.ACTION:
        problem = "Bones that stay need the action they are in: choose This Action or NLA Strip as the place"
    return problem


def start(operator, context, **asked):
    """Send the request of the settings for each chosen armature, one after the other; the operator's result.

    asked: what this request has besides (``timeline``, ``frame_start``).
    """
    settings, scene = properties.get(context.scene), context.scene
    draw_seed(settings)
    chosen, armatures = gathered(settings), properties.chosen_armatures(context)
    ready = [one for one in armatures if not results.map_health(one).problem]
    for left_out in [one for one in armatures if one not in ready]:
        operator.report({"WARNING"}, tr(f"{left_out.name}: {results.map_health(left_out).problem}"))
    starters = []
    try:
        for number, armature in enumerate(ready):
            place = {
                "poses": given_poses(settings, armature),
                "path": path_of(settings),
                "keep_bones": kept_bones(settings, armature),
            }
            if "timeline" not in asked:
                first, frames = span(settings, armature, scene)
                place |= {
                    "frame_start": first,
                    "frame_range": frames,
                    "seconds": None if settings.auto_seconds else settings.seconds,
                }
            starters.append(
                partial(
                    ask.start_animate,
                    armature,
                    settings.prompt,
                    seed=(settings.seed + number * settings.variations) % LARGEST_SEED,
                    options=properties.options(settings),
                    only=properties.selected_bones(armature) if settings.only_selected else None,
                    scene=scene,
                    extend_timeline=True,
                    undo_step=True,
                    **chosen,
                    **place,
                    **asked,
                )
            )
        runtime.start_together(starters)
    except (service.Error, RigError) as error:
        if isinstance(error, RigError):
            error = service.Error("bad_armature", str(error))
        return failed(operator, error)
    prompts.remember(settings.prompt)
    return {"FINISHED"}


class MOMUG_OT_generate(Polled, bpy.types.Operator):
    """Make the motion of the prompt and put it on the armature; every selected armature gets its own. Your keys stay, \
and Reject takes it away again. The timeline's end moves only for a longer motion. Blender stays usable meanwhile"""

    bl_idname = "momug.generate"
    bl_label = "Generate"

    @classmethod
    def why_not(cls, context) -> str:
        return why_not(context)

    def execute(self, context):
        runtime.asked_in("prompt")
        return start(self, context)


class MOMUG_OT_generate_again(Polled, bpy.types.Operator):
    """Run the prompt and settings that are stored with this motion once more, with another seed. The result is one of \
its own: Reject brings this one back"""

    bl_idname = "momug.generate_again"
    bl_label = "Generate Again"

    same_seed: bpy.props.BoolProperty(
        name="Same Seed", description="Make the same motion, on the armature as it is now", options={"SKIP_SAVE"}
    )

    @classmethod
    def why_not(cls, context) -> str:
        armature = properties.chosen_armature(context)
        problem = ask.why_not(armature)
        found = commit.current(armature) if not problem else None
        if not problem and (found is None or "prompt" not in commit.recipe(found)):
            problem = "Nothing that MoMug made is on this armature"
        return problem

    def execute(self, context):
        runtime.asked_in("result")
        armature = properties.chosen_armature(context)
        seed = commit.recipe(commit.current(armature)).get("seed") if self.same_seed else None
        if seed is None:
            seed = random.randint(0, LARGEST_SEED)
        try:
            rework.start_again(armature, seed=seed, scene=context.scene, undo_step=True)
        except service.Error as error:
            return failed(self, error)
        return {"FINISHED"}


class _PartOperator(Polled):
    """An operator that makes part of the present animation anew."""

    @classmethod
    def why_not(cls, context) -> str:
        armature, settings = properties.chosen_armature(context), properties.get(context.scene)
        problem = ask.why_not(armature)
        if not problem and results.current_action(armature) is None:
            problem = "The armature has no action yet: key some poses, or generate a motion first"
        if not problem:
            problem = ask.why_no_room(armature, takes.SPLICE)
        if not problem and settings.keep_selected and not properties.selected_bones(armature):
            problem = "Select the bones that stay in Pose Mode"
        return problem or cls.missing(settings, armature)

    def execute(self, context):
        runtime.asked_in("poses")
        settings, armature = properties.get(context.scene), properties.chosen_armature(context)
        draw_seed(settings)
        common = {
            "keep_bones": kept_bones(settings, armature),
            "options": properties.options(settings),
            "scene": context.scene,
            "undo_step": True,
            "seed": settings.seed,
            **gathered(settings),
        }
        try:
            self.send(settings, armature, common)
        except service.Error as error:
            return failed(self, error)
        prompts.remember(settings.prompt)
        return {"FINISHED"}


class MOMUG_OT_regenerate(_PartOperator, bpy.types.Operator):
    """Make the frames of the range anew with the prompt. The motion goes on from the frames before and leads into the \
frames after; keys outside the range stay as they are"""

    bl_idname = "momug.regenerate"
    bl_label = "Regenerate Range"

    @classmethod
    def missing(cls, settings, _armature) -> str:
        return "" if settings.range_end > settings.range_start else "The frame range ends before it has begun"

    @staticmethod
    def send(settings, armature, common):
        rework.start_regenerate(armature, (settings.range_start, settings.range_end), settings.prompt, **common)


class MOMUG_OT_regenerate_rest(_PartOperator, bpy.types.Operator):
    """Keep the range as it is, and make what comes before and after it, in the action or else the scene, anew"""

    bl_idname = "momug.regenerate_rest"
    bl_label = "Keep Range, Make the Rest"

    @classmethod
    def missing(cls, settings, armature) -> str:
        problem = MOMUG_OT_regenerate.missing(settings, armature)
        if not problem and cls.rest(settings, armature, bpy.context.scene) is None:
            problem = "The range leaves nothing of the action or the scene to make"
        return problem

    @staticmethod
    def rest(settings, armature, scene) -> "tuple[int, int] | None":
        """First and last frame of the range and the rest together; None when there is no rest."""
        kept = settings.range_start, settings.range_end
        spans = [(scene.frame_start, scene.frame_end)]
        action = results.current_action(armature)
        if action is not None:
            spans.insert(0, capture.frame_span(action))
        for first, last in spans:
            if first < kept[0] or last > kept[1]:
                return min(first, kept[0]), max(last, kept[1])
        return None

    @classmethod
    def send(cls, settings, armature, common):
        kept = settings.range_start, settings.range_end
        everything = cls.rest(settings, armature, common["scene"])
        rework.start_regenerate(armature, everything, settings.prompt, keep_range=kept, **common)


class MOMUG_OT_in_between(_PartOperator, bpy.types.Operator):
    """Make the motion between poses that you keyed. Keys that are selected are kept exactly; with less than two of \
them, all keys in the range (or in the action) are"""

    bl_idname = "momug.in_between"
    bl_label = "In-Between Keys"

    @classmethod
    def missing(cls, settings, armature) -> str:
        frames = frames_between(settings, armature)
        if len(frames) < 2:
            return "Key at least two poses first"
        return ""

    @staticmethod
    def send(settings, armature, common):
        rework.start_in_between(armature, frames_between(settings, armature), settings.prompt, **common)


def frames_between(settings, armature) -> "list[int]":
    """The frames whose poses stay: of selected keys, else of all keys in the range that was set."""
    chosen = poses.keyed_frames(armature, selected=True)
    if len(chosen) > 1:
        return chosen
    return poses.keyed_frames(
        armature,
        settings.range_start if settings.use_range else None,
        settings.range_end if settings.use_range else None,
    )


class MOMUG_OT_cancel(Polled, bpy.types.Operator):
    """Stop the model. The scene stays as it is"""

    bl_idname = "momug.cancel"
    bl_label = "Cancel"

    @classmethod
    def why_not(cls, _context) -> str:
        return "Nothing is running" if runtime.active() is None else ""

    def execute(self, _context):
        runtime.cancel()
        return {"FINISHED"}


class MOMUG_OT_use_settings_of_action(Polled, bpy.types.Operator):
    """Copy prompt, length, seed and options of the armature's action into the panel, to make it again or change it"""

    bl_idname = "momug.use_settings_of_action"
    bl_label = "Settings of This Action"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context) -> str:
        action = results.current_action(properties.chosen_armature(context))
        return "" if results.has_recipe(action) else "The armature's action was not made by MoMug"

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
        wanted.append(("style", recipe.get("style") or "NONE"))
        settings.style_weight = recipe.get("style_weight", 1.0) if recipe.get("style") else 1.0
        for name, value in wanted:
            try:
                setattr(settings, name, value)
            except TypeError:
                self.report({"WARNING"}, tr(f"The {name} '{value}' does not exist here"))
        if recipe.get("timeline"):
            settings.blocks.clear()
            for part in recipe["timeline"]:
                block = settings.blocks.add()
                block.prompt, block.auto = part["prompt"], part["seconds"] is None
                block.seconds = part["seconds"] or block.seconds
        settings.use_guidance = recipe.get("guidance_scale") is not None
        if settings.use_guidance:
            settings.guidance_scale = recipe["guidance_scale"]
        return {"FINISHED"}


CLASSES = (
    MOMUG_OT_generate,
    MOMUG_OT_generate_again,
    MOMUG_OT_regenerate,
    MOMUG_OT_regenerate_rest,
    MOMUG_OT_in_between,
    MOMUG_OT_cancel,
    MOMUG_OT_use_settings_of_action,
)
