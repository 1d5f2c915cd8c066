"""What an answer of the model becomes in the scene. All or nothing: a failure leaves the scene as it was."""

import logging
from dataclasses import dataclass

import bpy

from .retarget import CanonicalMotion, retarget
from .rig import RigError, canonical
from .scene import armature as armatures
from .scene import capture, compat, keys

log = logging.getLogger(__package__)

CAPTION_KEY = "momug_caption"
LONGEST_NAME = 48

_health: "dict[tuple, Health]" = {}


@dataclass
class Health:
    """Can this armature be animated? ``problem`` says why not; ``missing`` lists what it can do without, in words."""

    problem: str
    summary: str
    missing: list


def map_health(armature) -> Health:
    """The state of an armature's automatic bone map. Called while drawing: computed once for a skeleton."""
    problem = armatures.problem(armature)
    if problem:
        return Health(problem, "", [])
    skeleton = hash(tuple((bone.name, bone.parent.name if bone.parent else "") for bone in armature.data.bones))
    key = (armature.name, armature.data.name, skeleton)
    if key not in _health:
        if len(_health) > 32:
            _health.clear()
        _health[key] = _map_health(armature)
    return _health[key]


def forget_maps() -> None:
    """Another file has other armatures."""
    _health.clear()


def _map_health(armature) -> Health:
    try:
        mapping = armatures.bone_map(armature)
    except RigError as error:
        return Health(str(error), "", [])
    missing = [canonical.words(joint) for joint in canonical.JOINTS if not mapping.joints.get(joint)]
    family = mapping.family or "Armature"
    count = len(canonical.JOINTS)
    if missing:
        summary = f"{family}: {count - len(missing)} of {count} joints. Without {', '.join(missing)}"
    else:
        summary = f"{family}: all {count} joints"
    return Health(mapping.error or "", summary, missing)


def require_map(armature):
    """The bone map of an armature that can be animated; RigError with one plain sentence otherwise."""
    if armature is not None and not isinstance(armature, bpy.types.Object):
        raise RigError("Only an armature object can be animated.")
    try:
        problem = armatures.problem(armature)
    except ReferenceError as error:
        raise RigError("The armature no longer exists.") from error
    if problem:
        raise RigError(problem)
    return armatures.bone_map(armature).require()


def apply_motions(armature, scene, motions, recipes, *, frame_start: int, extend_timeline: bool) -> list:
    """Put each motion on ``armature`` as an action of its own and leave the first one active. Returns the actions.

    motions: CanonicalMotion objects; recipes: what is stored with each, for making it again. The frame rate of
    ``scene`` stays; its end moves only with ``extend_timeline`` and only outwards. On any exception the actions made
    so far are removed and the former action is active again.
    """
    mapping = require_map(armature)
    rig = armatures.read_rig(armature)
    fps = capture.scene_fps(scene)
    # everything that can go wrong with a motion goes wrong here, before the scene is touched
    animations = [retarget(motion, rig, mapping, fps) for motion in motions]
    for warning in dict.fromkeys(warning for animation in animations for warning in animation.warnings):
        log.warning("%s: %s", armature.name, warning)
    before = {action.name_full for action in bpy.data.actions}
    animated = armature.animation_data is not None
    former, slot = current_action(armature), getattr(armature.animation_data, "action_slot", None)
    kept = former is not None and former.use_fake_user
    actions, last = [], frame_start
    try:
        # backwards, so that the first one is made last and stays active
        for animation, recipe in reversed(list(zip(animations, recipes, strict=True))):
            actions.insert(0, keys.write_action(armature, animation, action_name(recipe), frame_start, recipe))
            last = max(last, frame_start + animation.frames - 1)
    except Exception:
        if animated:
            compat.assign(armature, former, slot)
        else:
            armature.animation_data_clear()
        if former is not None:
            former.use_fake_user = kept
        for action in [a for a in bpy.data.actions if a.name_full not in before]:
            bpy.data.actions.remove(action)
        raise
    if extend_timeline and last > scene.frame_end:
        scene.frame_end = last
    return actions


def warnings(armature) -> list:
    """Sentences about what will not look as it should on this armature."""
    return armatures.warnings(armature, armatures.bone_map(armature))


def action_name(recipe: dict) -> str:
    """A name the artist recognises: the prompt, cut at a word."""
    name = " ".join(recipe["prompt"].split())
    if len(name) > LONGEST_NAME:
        name = name[:LONGEST_NAME].rsplit(" ", 1)[0] + "…"
    return name


def motions_of(header: dict, arrays: dict) -> list:
    """The motions of a ``generate`` result, which the client has checked already."""
    return [
        CanonicalMotion(
            arrays[f"{index}/rotations"],
            arrays[f"{index}/translation"],
            arrays["rest_offsets"],
            float(entry["fps"]),
            arrays[f"{index}/contacts"],
        )
        for index, entry in enumerate(header["motions"])
    ]


def current_action(armature):
    """The armature's active action, or None."""
    return capture.active_action(armature) if armature is not None else None


def caption_of(armature) -> str:
    """The caption that is stored on the armature's active action; empty when there is none."""
    action = current_action(armature)
    return str(action.get(CAPTION_KEY, "")) if action is not None else ""


def recipe(action) -> dict:
    """How MoMug made ``action``: prompt, seconds, seed, model, steps ... Empty for other actions."""
    return keys.read_metadata(action) if action is not None else {}


def has_recipe(action) -> bool:
    """Was ``action`` made by MoMug?"""
    return bool(recipe(action).get("prompt"))
