"""From motions to the scene without harm: a new action, an NLA strip or a splice; accept, reject, change, flip.

What the artist had is never rewritten, only set aside: ``reject`` brings it back bit for bit. Every function is all or
nothing and raises RigError with one sentence; undo steps are made by the caller.
"""

import uuid
from dataclasses import dataclass, replace

import bpy

from . import made, spliced
from .retarget import CanonicalMotion, RigAnimation
from .rig import RigError
from .scene import compat, keys, splice, takes
from .scene.takes import ACCEPTED, ACTION, NLA, PENDING, SPLICE, Options, Take
from .staging import Guard, Stage, bring_back

LONGEST_NAME = 48
BLEND = 4  # frames over which a new part of a motion runs into the rest of it


@dataclass
class Found:
    """A take where it lies: its action, and the NLA strip that shows it (None when the action is active)."""

    action: bpy.types.Action
    take: Take
    track: "bpy.types.NlaTrack | None" = None
    strip: "bpy.types.NlaStrip | None" = None


def current(armature) -> Found | None:
    """The generated motion that is shown on ``armature``: of the active action the newest that waits for a decision,
    else the newest; without one, that of the topmost strip."""
    data = armature.animation_data if armature is not None else None
    if data is None:
        return None
    places = [(data.action, None, None)] if data.action is not None else []
    for track in reversed(list(data.nla_tracks)):
        places += [(strip.action, track, strip) for strip in track.strips if strip.action is not None]
    found = []
    for action, track, strip in places:
        for take in takes.read(action):
            if (take.options.destination == NLA) == (strip is not None):
                found.append(Found(action, take, track, strip))
        if found:
            waiting = [one for one in found if one.take.state == PENDING]
            return (waiting or found)[-1]
    return None


def pending(armature) -> Found | None:
    """The take on ``armature`` that waits for Accept or Reject, or None."""
    found = current(armature)
    return found if found is not None and found.take.state == PENDING else None


# --- making


def make(
    armature,
    scene,
    motions: list[CanonicalMotion],
    recipes: list[dict],
    options: Options,
    *,
    frame_start: int,
    frames: int = 0,
    only: "list[str] | None" = None,
    pins: "list | None" = None,
    given: str = "",
    placed: bool = False,
    animation: "RigAnimation | None" = None,
) -> list:
    """Put ``motions`` (variations of one thing) on ``armature``, the first one to be seen. Returns the actions.

    frames: exactly so many frames of the scene; 0 for as long as the motion is. only: the bones that may get keys.
    pins, given: see ``Take``. placed: the motion stands already where it has to, and is not moved. animation: the one
    motion as the rig shows it, when that is known already.
    """
    anchors = [None, None] if placed else None
    stage = Stage(armature, scene, options, frame_start, frames, only, anchors, pins)
    if options.destination == SPLICE:
        return [spliced.make(stage, motions, recipes, pins or [], given)]
    guard = Guard(armature)
    take_id = uuid.uuid4().hex[:12]
    try:
        actions = []
        for index, (motion, recipe) in enumerate(zip(motions, recipes, strict=True)):
            shown = animation or stage.animation(motion)
            wanted = stage.channels(shown)
            action, _ = keys.make_action(armature, shown, action_name(recipe), frame_start, recipe, wanted)
            take = Take(take_id, index, options=options, recipes=[recipe], only=only, frames=frames, given=given)
            take.pins, take.placed = stage.pins_on(wanted), placed
            take.first, take.last = frame_start, frame_start + shown.frames - 1
            take.anchors = stage.anchors or [None, None]
            take.former = guard.record
            take.pose = {name: guard.pose[name] for name in _moving(armature, guard.former, action)}
            made.note(armature, action, take, shown)
            takes.keep_motion(action, take_id, 0, motion)
            if guard.former is not None:
                action[takes.FORMER] = guard.former
            action.use_fake_user = index > 0
            actions.append(action)
        _show_first(armature, actions, guard, stage)
    except Exception:
        guard.undo()
        raise
    return actions


def _moving(armature, *actions) -> list[str]:
    """The bones that ``actions`` move."""
    curves = [curve_id for action in actions if action is not None for curve_id in splice.curves_of(armature, action)]
    return [name for name in made.bones_of(curves) if name in armature.pose.bones]


def _show_first(armature, actions: list, guard: Guard, stage: Stage) -> None:
    former, options = guard.former, stage.options
    if former is not None:
        former.use_fake_user = True
    if options.destination == ACTION:
        if former is not None:
            keys.clear_leftovers(armature, former)
        compat.assign(armature, actions[0])
        return
    if former is not None:
        # the active action would hide every strip: it becomes a strip below, as Push Down does
        track, _ = compat.add_strip(armature, former, guard.slot, former.frame_range[0], former.name)
        compat.assign(armature, None)
        for action in actions:
            take = takes.read(action)[0]
            take.former = {**take.former, "pushed": track.name}
            takes.put(action, take)
    _, strip = compat.add_strip(armature, actions[0], None, stage.first, actions[0].name)
    if stage.content:
        length = strip.frame_end - strip.frame_start
        strip.extrapolation = "NOTHING"
        strip.use_auto_blend = False
        strip.blend_in = min(options.blend_in, length / 2)
        strip.blend_out = min(options.blend_out, length / 2)


def action_name(recipe: dict) -> str:
    """A name the artist recognises: the prompt, cut at a word, or the name of the file."""
    name = " ".join(str(recipe.get("prompt") or recipe.get("name", "")).split())
    if len(name) > LONGEST_NAME:
        name = name[:LONGEST_NAME].rsplit(" ", 1)[0] + "…"
    return name


# --- deciding


def accept(armature, keep_others: bool = False) -> str:
    """Keep what is shown. Other variations are removed unless ``keep_others``. Returns one sentence."""
    found = _require_pending(armature)
    action, take = found.action, found.take
    if take.options.destination == SPLICE:
        takes.forget_splice(action, take.id)
        shown = takes.motion(action, take.id, take.shown)
        for index in range(len(take.recipes)):
            takes.forget_motion(action, take.id, index)
        take.recipes, take.shown = [take.recipe], 0
        if shown is not None:
            takes.keep_motion(action, take.id, 0, shown)
    elif not keep_others:
        for sibling in siblings(action, take):
            if sibling != action and not made.edited(armature, sibling):
                _remove(sibling)
    if takes.FORMER in action:
        del action[takes.FORMER]
    take.state, take.former, take.pose = ACCEPTED, {}, {}
    takes.put(action, take)
    return f"'{action.name}' is kept."


def reject(armature) -> str:
    """Bring back what was there before the generated motion. Returns one sentence."""
    found = _require_pending(armature)
    action, take = found.action, found.take
    if take.options.destination == SPLICE:
        spliced.take_out(armature, action, take)
        takes.drop(action, take.id)
        return f"'{action.name}' has its own keys back in frames {take.first} to {take.last}."
    former = action.get(takes.FORMER)
    variations = siblings(action, take)
    if found.track is not None:
        found.track.strips.remove(found.strip)
        if not found.track.strips:
            armature.animation_data.nla_tracks.remove(found.track)
    bring_back(armature, former, take.former, take.pose)
    for variation in variations:
        _remove(variation)
    return f"'{former.name}' is back on {armature.name}." if former is not None else f"{armature.name} is as it was."


def _remove(action) -> None:
    """Delete a generated action unless something else uses it by now."""
    if takes.FORMER in action:
        del action[takes.FORMER]
    if action.users - int(action.use_fake_user) <= 0:
        bpy.data.actions.remove(action)


def siblings(action, take: Take) -> list:
    """The actions that hold the variations of a take, in order; itself alone for a splice."""
    if take.options.destination == SPLICE:
        return [action]
    found = [
        (other_take.variation, other)
        for other in bpy.data.actions
        for other_take in takes.read(other)
        if other_take.id == take.id
    ]
    return [other for _, other in sorted(found, key=lambda item: item[0])]


def variations(found: Found) -> tuple[int, int]:
    """(which variation is shown, how many there are), counted from 0."""
    if found.take.options.destination == SPLICE:
        return found.take.shown, len(found.take.recipes)
    listed = siblings(found.action, found.take)
    return listed.index(found.action), len(listed)


def recipe(found: Found) -> dict:
    """How the motion that is shown was made."""
    return found.take.recipe


def show(armature, step: int) -> str:
    """Show the next (``step`` 1) or former (-1) variation. Returns one sentence."""
    found = _require_pending(armature)
    shown, count = variations(found)
    wanted = (shown + step) % count
    action, take = found.action, found.take
    if take.options.destination == SPLICE:
        spliced.again(armature, bpy.context.scene, action, replace(take, shown=wanted))
    else:
        other = siblings(action, take)[wanted]
        action.use_fake_user = True
        if found.strip is not None:
            found.strip.action = other
            compat.bind_strip(found.strip, compat.slot_for(other, armature))
        else:
            compat.assign(armature, other)
        other.use_fake_user = False
    return f"Variation {wanted + 1} of {count}."


# --- changing


def change(armature, scene, **changed) -> str:
    """Apply other options to the generated motion that is shown, from the motion that was stored. One sentence."""
    found = current(armature)
    if found is None:
        raise RigError("Nothing that MoMug made is on this armature.")
    action, take = found.action, found.take
    options = replace(take.options, **changed)
    if options == take.options:
        return "Nothing has changed."
    if options.destination != take.options.destination:
        return _move(armature, scene, found, options)
    if take.options.destination == SPLICE:
        spliced.again(armature, scene, action, replace(take, options=options))
        return f"Frames {take.first} to {take.last} of '{action.name}' were made again from the same motion."
    everything = [(one, made.take_of(one, take.id)) for one in siblings(action, take)]
    for one, its in everything:
        made.check_unedited(armature, one, its)
    stage = Stage(armature, scene, options, take.first, take.frames, take.only, take.anchors, take.pins)
    ready = []
    for one, its in everything:
        animation = stage.animation(made.stored_motion(one, its))
        ready.append((one, its, animation, stage.channels(animation)))
    for one, its, animation, wanted in ready:
        _rewrite(armature, one, replace(its, options=options), animation, wanted)
    if found.strip is not None:
        found.strip.action_frame_start, found.strip.action_frame_end = action.frame_range
    return f"'{action.name}' was made again from the same motion."


def replace_part(armature, scene, take_id: str, motion: CanonicalMotion, recipe: dict, start: int, stop: int):
    """Let the take ``take_id`` on ``armature`` show ``motion`` where it differs from the stored one; the action.

    start, stop: the frames of ``motion`` (stop exclusive) that are new. Keys of other frames stay bit for bit, but for
    a motion that loops, whose ends depend on all of it.
    """
    found = current(armature)
    if found is None or found.take.id != take_id:
        raise RigError("The motion on the armature is another one by now.")
    action, take = found.action, found.take
    made.check_unedited(armature, action, take)
    stage = Stage(armature, scene, take.options, take.first, take.frames, take.only, take.anchors, take.pins)
    animation = stage.animation(motion)
    wanted = stage.channels(animation)
    recipes = [*take.recipes[: take.shown], recipe, *take.recipes[take.shown + 1 :]]
    take = replace(take, recipes=recipes)
    if take.options.loop:
        _rewrite(armature, action, take, animation, wanted)
    else:
        rate = (animation.frames - 1) / (motion.frames - 1)
        first, last = round(start * rate), round((stop - 1) * rate)
        parts = [_cut(channel, first, last + 1) for channel in wanted if not channel.single]
        parts = [part for part in parts if part.keep is None or part.keep.any()]
        splice.splice(armature, action, parts, take.first + first, BLEND, BLEND)
        take.written = made.digest(armature, action, take)
        takes.put(action, take)
    takes.keep_motion(action, take.id, take.shown if take.options.destination == SPLICE else 0, motion)
    if take.options.destination != SPLICE:
        keys.write_metadata(action, recipe)
    return action


def _cut(channel, start: int, stop: int):
    keep = None if channel.keep is None else channel.keep[start:stop]
    return replace(channel, values=channel.values[start:stop], keep=keep)


def _rewrite(armature, action, take: Take, animation: RigAnimation, wanted: list) -> None:
    """Replace the curves of a take in an action of our own; other curves in it stay."""
    there = splice.curves_of(armature, action)
    for path, index in take.curves:
        if (path, index) in there:
            compat.remove_curve(action, armature, there[path, index])
    keys.write_channels(compat.channels(action, compat.slot_for(action, armature), ensure=True), wanted, take.first)
    take.last = take.first + animation.frames - 1
    take.curves = [[channel.path, index] for channel in wanted for index, _ in channel.curves]
    take.bones = made.bones_of(take.curves)
    take.written = made.digest(armature, action, take)
    takes.put(action, take)
    action.update_tag()


def _move(armature, scene, found: Found, options: Options) -> str:
    """Another destination: back to what was there, and then in there anew."""
    action, take = found.action, found.take
    if take.state != PENDING:
        raise RigError("It was accepted already, so it stays where it is.")
    if take.options.destination == SPLICE:
        holders = [(action, take, index) for index in range(len(take.recipes))]
    else:
        holders = [(one, made.take_of(one, take.id), 0) for one in siblings(action, take)]
    for one, its, _ in holders:
        made.check_unedited(armature, one, its)
    motions = [made.stored_motion(one, its, index) for one, its, index in holders]
    recipes = [its.recipes[index] for _, its, index in holders]
    if options.destination == SPLICE:
        former = action.get(takes.FORMER)
        sentence = splice.why_not(armature, former)
        if sentence:
            raise RigError(sentence)
    shown, _ = variations(found)
    place = {"frame_start": take.first, "frames": take.frames, "only": take.only}
    place |= {"pins": take.pins, "given": take.given, "placed": take.placed}
    reject(armature)
    try:
        actions = make(armature, scene, motions, recipes, options, **place)
    except Exception:
        make(armature, scene, motions, recipes, take.options, **place)
        raise
    if shown:
        show(armature, shown)
    return f"It is in '{actions[shown if len(actions) > 1 else 0].name}' now."


def stored_motion(found: Found) -> CanonicalMotion:
    """The canonical motion behind what is shown. Raises RigError."""
    return made.stored_motion(found.action, found.take)


def _require_pending(armature) -> Found:
    found = pending(armature)
    if found is None:
        raise RigError("There is no generated motion that waits for a decision.")
    return found
