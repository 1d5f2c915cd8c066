"""A take that goes into the artist's own action: written, written again with other options, taken out again."""

import uuid

from . import made
from .retarget import CanonicalMotion
from .rig import RigError
from .scene import splice, takes
from .scene.takes import Take
from .staging import Stage


def make(stage: Stage, motions: list[CanonicalMotion], recipes: list[dict], pins: list, given: str):
    """Put the first of ``motions`` into the active action, keep the others beside it; the action. Raises RigError."""
    action = stage.action
    sentence = splice.why_not(stage.armature, action)
    if sentence:
        raise RigError(sentence)
    take = Take(uuid.uuid4().hex[:12], options=stage.options, recipes=recipes, only=stage.only, frames=stage.frames)
    take.first, take.pins, take.given, take.placed = stage.first, pins, given, stage.anchors is not None
    _write(stage, action, take, motions[0])
    for index, motion in enumerate(motions):
        takes.keep_motion(action, take.id, index, motion)
    return action


def _write(stage: Stage, action, take: Take, motion: CanonicalMotion) -> None:
    wanted = stage.channels(stage.animation(motion))
    done = splice.splice(
        stage.armature,
        action,
        wanted,
        take.first,
        stage.options.blend_in,
        stage.options.blend_out,
        stage.kept,
    )
    take.last, take.written, take.anchors = done.last, done.written, stage.anchors
    take.pins = stage.pins_on(wanted)
    take.curves = [list(curve_id) for curve_id in done.removed]
    take.bones = made.bones_of(take.curves)
    takes.keep_splice(action, take.id, done)
    takes.put(action, take)


def again(armature, scene, action, take: Take) -> None:
    """Splice once more with other options or another variation."""
    motion = made.stored_motion(action, take)
    former = made.take_of(action, take.id)
    made.check_unedited(armature, action, former)
    take_out(armature, action, former)
    try:
        stage = _stage_again(armature, scene, take)
        _write(stage, action, take, motion)
    except Exception:
        stage = _stage_again(armature, scene, former)
        _write(stage, action, former, made.stored_motion(action, former))
        raise


def _stage_again(armature, scene, take: Take) -> Stage:
    anchors = [None, None] if take.placed else None
    return Stage(armature, scene, take.options, take.first, take.frames, take.only, anchors, take.pins)


def take_out(armature, action, take: Take) -> None:
    """Bring back what ``take`` replaced. Raises RigError."""
    done = takes.splice_of(action, take.id)
    if done is None:
        raise RigError("What these frames replaced is not stored any more, so they stay as they are.")
    splice.restore(armature, action, done)
