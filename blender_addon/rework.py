"""Motion that is there already, in part or wholly anew: a range of frames, what lies between keys, one block of a
timeline, the same once more. Nothing here waits, as in ``ask``."""

from collections.abc import Sequence
from dataclasses import replace

import bpy

from . import ask, commit, conditions, costs, results, runtime, targets
from .client import protocol
from .retarget import given as giving
from .rig import RigError
from .scene import poses, takes
from .service import Error


def start_regenerate(
    armature,
    frame_range: "tuple[int, int]",
    prompt: str,
    *,
    keep_range: "tuple[int, int] | None" = None,
    keep_bones: "Sequence[str] | None" = None,
    options: "takes.Options | None" = None,
    scene=None,
    undo_step: bool = False,
    **asked: object,
) -> runtime.Task:
    """Make the frames of a range anew; the motion comes from what stands before them and leads into what follows.

    Goes into the active action unless ``options`` name a strip. keep_range: frames in the range that stay as they are;
    an end of the range beyond which nothing is keyed is free then. keep_bones, asked: see ``ask.start_animate``. Raises
    Error.
    """
    runtime.check_idle()
    scene = scene or bpy.context.scene
    first, last = int(frame_range[0]), int(frame_range[1])
    options = options or takes.Options(destination=takes.SPLICE)
    if options.destination == takes.ACTION:
        options = replace(options, destination=takes.SPLICE)
    options = replace(options, loop=False, in_place=False)
    fields = ask.checked(prompt, wordless=True, **asked)
    _require_animation(armature, options)
    conditions.require(fields["model"], "poses", "go on from what is there")
    before = after = True
    if keep_range is not None:
        keyed = poses.keyed_frames(armature)
        before, after = bool(keyed) and keyed[0] < first, bool(keyed) and keyed[-1] > last
    wish = conditions.wish(
        armature, scene, first, last, model=fields["model"], keep=keep_bones, stays=keep_range, before=before,
        after=after,
    )  # fmt: skip
    place = ask.Place(first, wish.frames, options)
    return ask.send(armature, fields, place, wish, scene=scene, undo_step=undo_step)


def start_in_between(
    armature,
    frames: "Sequence[int] | None",
    prompt: str,
    *,
    keep_bones: "Sequence[str] | None" = None,
    options: "takes.Options | None" = None,
    scene=None,
    undo_step: bool = False,
    **asked: object,
) -> runtime.Task:
    """Motion between the poses that the animation shows at ``frames``, which stay exactly as they are.

    frames: at least two; None takes all frames with keys. Keys at them stay bit for bit; others in between go. Raises
    Error.
    """
    runtime.check_idle()
    scene = scene or bpy.context.scene
    options = replace(
        options or takes.Options(), destination=takes.SPLICE, blend_in=1, blend_out=1, loop=False, in_place=False
    )
    fields = ask.checked(prompt, wordless=True, **asked)
    _require_animation(armature, options)
    conditions.require(fields["model"], "poses", "meet poses")
    try:
        chosen = sorted({int(frame) for frame in (poses.keyed_frames(armature) if frames is None else frames)})
        if len(chosen) < 2:
            raise Error("bad_request", "There have to be two frames with poses at least.", "Key two poses first.")
        found = poses.shown(armature, chosen)
    except RigError as error:
        raise Error("bad_armature", str(error)) from error
    wish = conditions.wish(
        armature, scene, chosen[0], chosen[-1], model=fields["model"], given_poses=found, keep=keep_bones
    )
    place = ask.Place(wish.first, wish.frames, options)
    return ask.send(armature, fields, place, wish, scene=scene, undo_step=undo_step)


def why_no_block(armature, block: int) -> str:
    """Why block number ``block`` of the timeline on ``armature`` cannot be rolled again; empty when it can."""
    found = commit.current(armature)
    parts = commit.recipe(found).get("timeline") if found is not None else None
    if not parts:
        return "Generate the timeline first"
    if not 0 <= block < len(parts):
        return "The timeline on the armature has no such block; generate it again"
    if len(parts) < 2:
        return "The timeline has only this block; generate it again"
    return ""


def start_reroll(
    armature,
    block: int,
    prompt: "str | None" = None,
    *,
    scene=None,
    undo_step: bool = False,
    **asked: object,
) -> runtime.Task:
    """Make one block of the timeline that is shown on ``armature`` anew; the keys of all other blocks stay.

    block: its number from 0. prompt: None for the one that it had. The block keeps its length. Raises Error.
    """
    runtime.check_idle()
    scene = scene or bpy.context.scene
    sentence = why_no_block(armature, block)
    if sentence:
        raise Error("bad_request", f"{sentence}.")
    found = commit.current(armature)
    told = commit.recipe(found)
    parts = told["timeline"]
    for name in ("model", "preset", "steps", "guidance_scale", "style", "style_weight"):
        if told.get(name) is not None:
            asked.setdefault(name, told[name])
    fields = ask.checked(prompt or parts[block]["prompt"], **asked)
    try:
        motion = commit.stored_motion(found)
    except RigError as error:
        raise Error("bad_request", str(error)) from error
    start = parts[block]["first"]
    stop = parts[block + 1]["first"] if block + 1 < len(parts) else motion.frames
    asked_then = conditions.Wish.of_take(found.take)
    lead, given = _block_target(motion, start, stop, conditions.limits(fields["model"])[1], asked_then)
    target, take_id = targets.Target(armature), found.take.id

    def apply(header: dict, arrays: dict):
        rig = target.resolve()
        if rig is None:
            raise Error("gone", f"The armature '{target.name}' is gone, so its motion was not applied.")
        piece = giving.part(results.motions_of(header, arrays)[0], lead, lead + stop - start)
        changed = dict(told)
        changed["timeline"] = [dict(part) for part in parts]
        changed["timeline"][block] |= {"prompt": fields["prompt"], "seed": header["motions"][0]["seed"]}
        changed["prompt"] = ", then ".join(part["prompt"] for part in changed["timeline"])
        merged = giving.replaced(motion, start, piece)
        action = commit.replace_part(rig, scene, take_id, merged, changed, start, stop)
        costs.remember({**fields, "poses": True}, header, [piece])
        runtime.tell(f"Block {block + 1} of '{action.name}' is new.")
        return action

    message = "MoMug: Re-Roll Block" if undo_step else ""
    return runtime.start(protocol.GENERATE, fields, given.arrays(), apply, message)


def _block_target(
    motion, start: int, stop: int, longest: float, asked: "conditions.Wish | None"
) -> "tuple[int, giving.Given]":
    """(frames before the block, what the model has to meet) for frames ``start`` to ``stop`` of a motion that met what
    was ``asked``."""
    room = max(0, int(longest * protocol.FPS) - (stop - start))
    lead = min(conditions.CONTEXT, start, room // 2)
    tail = min(conditions.CONTEXT, motion.frames - stop, room - lead)
    given = giving.Given.nothing(lead + stop - start + tail)
    if asked is not None:
        given.take_over(lead, asked.given, asked.lead + start, stop - start)
    # without room around it, the block's own first or last frame has to be the seam
    before, after = (max(lead, 1) if start else 0), (max(tail, 1) if stop < motion.frames else 0)
    if before:
        given.poses(slice(0, before), giving.part(motion, start - lead, start - lead + before))
    if after:
        end = stop + tail
        given.poses(slice(given.frames - after, given.frames), giving.part(motion, end - after, end))
    return lead, given


def start_again(armature, *, seed: "int | None" = None, scene=None, undo_step: bool = False) -> runtime.Task:
    """Run the stored prompt and settings of the motion on ``armature`` once more; ``seed`` None draws a new one.

    It goes where the first one went, as a result of its own. Raises Error.
    """
    runtime.check_idle()
    found = commit.current(armature)
    told = commit.recipe(found) if found is not None else {}
    if "prompt" not in told:
        raise Error("bad_request", "Nothing that MoMug made is on this armature.")
    take = found.take
    names = ("model", "preset", "steps", "guidance_scale", "style", "style_weight")
    asked = {name: told[name] for name in names if told.get(name) is not None}
    timeline = [(part["prompt"], part["seconds"]) for part in told.get("timeline") or ()] or None
    fields = ask.checked(
        told["prompt"], seconds=told.get("requested_seconds"), seed=seed, timeline=timeline,
        variations=commit.variations(found)[1], wordless=bool(take.given), **asked,
    )  # fmt: skip
    ask.require_map(armature)
    ask.require_room(armature, take.options)
    place = ask.Place(take.first, take.frames, take.options, take.only)
    wish = conditions.Wish.of_take(take)
    return ask.send(armature, fields, place, wish, scene=scene, undo_step=undo_step)


def _require_animation(armature, options: takes.Options) -> None:
    ask.require_map(armature)
    if results.current_action(armature) is None and options.destination == takes.SPLICE:
        raise Error("bad_request", f"'{armature.name}' has no action yet.", "Key a pose, or generate a motion first.")
    ask.require_room(armature, options)
