"""What an answer of the model becomes in the scene. All or nothing: a failure leaves the scene as it was."""

import logging
from array import array
from dataclasses import dataclass, field

import bpy

from . import commit
from .retarget import BodyMotion, CanonicalMotion, rest_pose
from .rig import BoneMap, RigError, canonical, editing
from .scene import armature as armatures
from .scene import assets, capture, keys, stored_map, takes

log = logging.getLogger(__package__)

_health: "dict[tuple, Health]" = {}


@dataclass
class Health:
    """Can this armature be animated? ``problem`` says why not; ``missing`` lists what it can do without, in words.

    mapping: its bone map, None when the armature itself is the problem. edited: joints that the artist chose.
    doubts: joint -> sentences about what is wrong with its bone. pose: what motion is matched with, in words.
    """

    problem: str
    summary: str
    missing: list
    mapping: "BoneMap | None" = None
    edited: frozenset = frozenset()
    doubts: dict = field(default_factory=dict)
    pose: str = ""


def map_health(armature) -> Health:
    """The state of an armature's bone map. Called while drawing: computed once for a skeleton in its rest pose."""
    problem = armatures.problem(armature)
    if problem:
        return Health(problem, "", [])
    skeleton = hash(tuple((bone.name, bone.parent.name if bone.parent else "") for bone in armature.data.bones))
    heads = array("f", bytes(12 * len(armature.data.bones)))
    armature.data.bones.foreach_get("head_local", heads)
    own = stored_map.text(armature), armatures.has_tpose(armature)
    key = (armature.name, armature.data.name, skeleton, heads.tobytes(), *own)
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
        bones = armatures.bones(armature)
        mapping = stored_map.bone_map(armature, bones)
        stored = stored_map.read(armature)
    except RigError as error:
        return Health(str(error), "", [])
    missing = [canonical.words(joint) for joint in canonical.JOINTS if not mapping.joints.get(joint)]
    family = mapping.family or "Armature"
    count = len(canonical.JOINTS)
    if missing:
        summary = f"{family}: {count - len(missing)} of {count} joints. Without {', '.join(missing)}"
    else:
        summary = f"{family}: all {count} joints"
    edited = frozenset(stored.edited) if stored is not None else frozenset()
    doubts, problem, pose = editing.problems(mapping, bones), mapping.error or "", ""
    if not problem:
        try:
            pose = rest_pose.describe(armatures.read_rig(armature, mapping), mapping)
        except RigError as error:
            problem = str(error)
    return Health(problem, summary, missing, mapping, edited, doubts, pose)


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


def apply_motions(
    armature,
    scene,
    motions,
    recipes,
    *,
    frame_start: int,
    extend_timeline: bool,
    options=None,
    frames=0,
    only=None,
    wish=None,
) -> list:
    """Put ``motions`` on ``armature``, each as an action of its own (spliced: one), the first one shown; the actions.

    motions: CanonicalMotion objects, variations of one thing; recipes: what is stored with each, for making it again.
    options, frames, only: see ``commit.make``; wish: what the motions were asked to meet (``conditions.Wish``). The
    frame rate of ``scene`` stays; its end moves only with ``extend_timeline`` and only outwards. On any exception the
    scene is as it was.
    """
    actions = commit.make(
        armature,
        scene,
        motions,
        recipes,
        options or takes.Options(),
        frame_start=frame_start,
        frames=frames,
        only=only,
        pins=wish.pins if wish is not None else None,
        given=wish.pack() if wish is not None else "",
        placed=wish is not None and wish.placed,
    )
    last = max(take.last for action in actions for take in takes.read(action)[-1:])
    if extend_timeline and last > scene.frame_end:
        scene.frame_end = last
    return actions


def warnings(armature) -> list:
    """Sentences about what will not look as it should on this armature."""
    return armatures.warnings(armature, armatures.bone_map(armature))


def motions_of(header: dict, arrays: dict) -> list:
    """The motions of a ``generate`` or ``read`` result, which the client has checked already."""
    body = None
    if header.get("body"):
        body = BodyMotion(tuple(header["body"]), arrays["body/rotations"], arrays["body/translation"])
    return [
        CanonicalMotion(
            arrays[f"{index}/rotations"],
            arrays[f"{index}/translation"],
            arrays["rest_offsets"],
            float(entry["fps"]),
            arrays[f"{index}/contacts"],
            body,
        )
        for index, entry in enumerate(header["motions"])
    ]


def current_action(armature):
    """The armature's active action, or None."""
    return capture.active_action(armature) if armature is not None else None


def caption_of(armature) -> str:
    """The caption of the armature's active action (its own, without one); empty when there is none."""
    action = current_action(armature)
    return assets.caption_of(action if action is not None else armature)


def recipe(action) -> dict:
    """How MoMug made ``action``, or what it put into it last: prompt, seconds, seed, model, steps ... Else empty."""
    if action is None:
        return {}
    made = takes.read(action)
    return keys.read_metadata(action) or (made[-1].recipe if made else {})


def has_recipe(action) -> bool:
    """Was ``action`` made by MoMug?"""
    return "prompt" in recipe(action)


def authorship(action) -> list:
    """(bone, first frame, last frame, id of the take) of everything that MoMug made in ``action``."""
    return takes.authorship(action)
