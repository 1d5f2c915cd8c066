"""Requests to the model: check what the artist asked for, send it, and say what the answer becomes.

The one path for buttons and scripts. Nothing here waits, and nothing changes the scene before the answer has come.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import bpy

from . import conditions, costs, results, runtime, service, targets
from .client import protocol
from .retarget import CanonicalMotion
from .rig import RigError
from .scene import assets, capture, splice, takes
from .service import Error

VERSION = "0.1.0"
Timeline = Sequence["tuple[str, float | None]"]


def why_not(armature) -> str:
    """Why nothing can be started for ``armature`` now, one sentence; empty when it can. For ``poll``."""
    if runtime.active() is not None:
        return "MoMug is still working on the last request."
    if armature is None:
        return "Select an armature, or add the mannequin."
    return results.map_health(armature).problem


def checked(
    prompt: str = "",
    *,
    seconds: "float | None" = None,
    seed: "int | None" = None,
    model: str = "momug",
    preset: "str | None" = None,
    steps: "int | None" = None,
    guidance_scale: "float | None" = None,
    variations: int = 1,
    timeline: "Timeline | None" = None,
    style: "str | None" = None,
    style_weight: float = 1.0,
    wordless: bool = False,
) -> dict:
    """The fields of a ``generate`` message after a look at each of them. Raises Error.

    wordless: the prompt may be empty, because poses are given with it.
    """
    parts = [(one[0], one[1]) for one in timeline] if timeline else []
    try:
        parts = [(protocol.clean_prompt(text), length) for text, length in parts]
        prompt = ", then ".join(text for text, _ in parts) if parts else protocol.clean_prompt(prompt, wordless)
        if seed is not None:
            seed = protocol.check_number(seed, "The seed", 0, protocol.MAX_SEED, integer=True)
        if steps is not None:
            steps = protocol.check_number(steps, "The number of steps", 1, protocol.MAX_STEPS, integer=True)
        if guidance_scale is not None:
            guidance_scale = protocol.check_number(guidance_scale, "The guidance", 0.0, protocol.MAX_GUIDANCE)
        variations = protocol.check_number(
            variations, "The number of variations", 1, protocol.MAX_VARIATIONS, integer=True
        )
        style_weight = protocol.check_number(style_weight, "The weight of the style", 0.0, 1.0)
    except protocol.ProtocolError as error:
        raise Error("bad_prompt" if "prompt" in str(error) else "bad_request", str(error)) from error
    for _, length in parts:
        service.check_request(model, length)
    if not parts:
        service.check_request(model, seconds)
    fields = {
        "model": model,
        "prompt": prompt,
        "seconds": None if seconds is None or parts else float(seconds),
        "seed": seed,
        "steps": steps,
        "guidance_scale": guidance_scale,
        "preset": preset,
        "variations": variations,
    }
    if parts:
        conditions.require(model, "timeline", "several prompts in one motion")
        fields["timeline"] = [
            {"prompt": text, "seconds": None if length is None else float(length)} for text, length in parts
        ]
    if style:
        fields |= {"style": style, "style_weight": style_weight}
    return fields


def start_animate(
    armature,
    prompt: str = "",
    *,
    frame_start: "int | None" = None,
    frame_range: "tuple[int, int] | None" = None,
    options: "takes.Options | None" = None,
    only: "list[str] | None" = None,
    poses: "Mapping[int, object] | None" = None,
    path: object = None,
    keep_bones: "Sequence[str] | None" = None,
    scene=None,
    extend_timeline: bool = False,
    undo_step: bool = False,
    **asked: object,
) -> runtime.Task:
    """Ask for a motion and return at once; the result of the task is a list of actions. See ``api.animate``.

    frame_range: first and last frame that the motion fills exactly, in place of ``seconds`` and ``frame_start``.
    options, only: see ``commit.make``. poses, path, keep_bones: see ``api.animate``. asked: see :func:`checked`. Raises
    Error when the request cannot be made; the scene changes only when the answer has come.
    """
    runtime.check_idle()
    scene, options = scene or bpy.context.scene, options or takes.Options()
    frames = 0
    first = scene.frame_current if frame_start is None else int(frame_start)
    if frame_range is not None:
        first, frames = int(frame_range[0]), int(frame_range[1]) - int(frame_range[0]) + 1
        if frames < 2:
            raise Error("bad_request", "The frame range ends before it has begun.")
        asked["seconds"] = frames / capture.scene_fps(scene)
    fields = checked(prompt, wordless=bool(poses or keep_bones) or path is not None, **asked)
    require_map(armature)
    require_room(armature, options)
    seconds = fields["seconds"]
    if "timeline" in fields and (poses or path is not None or keep_bones) and not frames:
        lengths = [part["seconds"] for part in fields["timeline"]]
        if None in lengths:
            raise Error("bad_request", "A timeline that meets poses, a path or bones needs the seconds of each block.",
                        "Switch Auto off, or give the frames that it fills.")  # fmt: skip
        seconds = sum(lengths)
    wish = conditions.for_motion(
        armature,
        scene,
        fields["model"],
        seconds=seconds,
        first=first,
        last=first + frames - 1 if frames else None,
        given_poses=poses,
        path=path,
        keep=keep_bones,
    )
    if keep_bones and options.destination == takes.ACTION:
        raise Error(
            "bad_request",
            "Bones that stay need the action they are in.",
            "Put the motion into this action or on an NLA strip.",
        )
    place = Place(first, frames, options, only)
    return send(armature, fields, place, wish, scene=scene, extend_timeline=extend_timeline, undo_step=undo_step)


@dataclass
class Place:
    """Where an answer goes: first frame, exact number of frames (0: as it comes), how, and the bones that may move."""

    first: int
    frames: int
    options: takes.Options
    only: "list[str] | None" = None


def send(
    armature,
    fields: dict,
    place: Place,
    wish: "conditions.Wish | None" = None,
    *,
    arrays: "dict | None" = None,
    scene=None,
    extend_timeline: bool = False,
    undo_step: bool = False,
) -> runtime.Task:
    """Send the ``fields`` of :func:`checked`; what comes back goes to ``place``, met with ``wish``. Raises Error.

    arrays: poses given on the canonical skeleton, as the message carries them, in place of a wish.
    """
    scene, options = scene or bpy.context.scene, place.options
    if wish is not None:
        options = conditions.as_posed(armature, wish, options)
    target, scene_target = targets.Target(armature), targets.Target(scene)
    if options.loop and conditions.can(fields["model"], "loop"):
        fields = {**fields, "loop": True}
    only = place.only
    if wish is not None and wish.only is not None:
        only = wish.only if only is None else [name for name in wish.only if name in set(only)]

    def apply(header: dict, arrays: dict) -> list:
        rig = _resolve(target, f"The armature '{target.name}' is gone, so its motion was not applied.")
        where = scene_target.resolve() or bpy.context.scene
        motions = results.motions_of(header, arrays)
        seeds = [entry["seed"] for entry in header["motions"]]
        if wish is not None:
            motions = [wish.cut(motion) for motion in motions]
        recipes = [recipe(fields, header, motion, seed) for motion, seed in zip(motions, seeds, strict=True)]
        end = where.frame_end
        actions = results.apply_motions(
            rig,
            where,
            motions,
            recipes,
            frame_start=place.first,
            extend_timeline=extend_timeline,
            options=options,
            frames=place.frames if wish is None else wish.frames,
            only=only,
            wish=wish,
        )
        costs.remember({**fields, "poses": wish is not None}, header, motions)
        made = f"'{actions[0].name}' is on {rig.name}"
        if options.destination == takes.SPLICE:
            take = takes.read(actions[0])[-1]
            made = f"Frames {take.first} to {take.last} of '{actions[0].name}' are new"
        if len(motions) > 1:
            made = f"{len(motions)} variations are made; the first is on {rig.name}"
        if where.frame_end != end:
            made += f"; the timeline now ends at frame {where.frame_end}"
        runtime.tell(" ".join([f"{made}.", *runtime.warnings_of(header), *results.warnings(rig)]))
        return actions

    arrays = wish.given.arrays() if wish is not None else arrays
    return runtime.start(protocol.GENERATE, fields, arrays, apply, "MoMug: Generate" if undo_step else "")


def recipe(fields: dict, header: dict, motion: CanonicalMotion, seed: int) -> dict:
    """What is stored with a motion, for making it again."""
    told = {
        "generator": f"MoMug {VERSION}",
        "prompt": fields["prompt"],
        "requested_seconds": fields["seconds"],
        "seconds": round(motion.frames / motion.fps, 3),
        "seed": seed,
        **{name: fields[name] for name in ("model", "steps", "preset", "guidance_scale")},
        **{name: fields[name] for name in ("style", "style_weight") if name in fields},
    }
    if "timeline" in fields:
        starts = header.get("segments")
        count = len(fields["timeline"])
        if not isinstance(starts, list) or len(starts) != count or not all(isinstance(x, int) for x in starts):
            raise Error("bad_result", "The model did not say where the prompts of the timeline begin.")
        told["timeline"] = [{**part, "first": at} for part, at in zip(fields["timeline"], starts, strict=True)]
    return told


def why_no_room(armature, destination: str) -> str:
    """Why a motion cannot go to ``destination`` on ``armature``, one sentence; empty when it can."""
    return splice.why_not(armature, results.current_action(armature)) if destination == takes.SPLICE else ""


def require_room(armature, options: takes.Options) -> None:
    """Raises Error when the motion cannot go where ``options`` say."""
    sentence = why_no_room(armature, options.destination)
    if sentence:
        raise Error("bad_armature", sentence)


def start_caption(
    armature,
    *,
    action=None,
    model: str = "momug",
    frame_range: tuple[int, int] | None = None,
    later: "list[Callable[[], None]] | None" = None,
) -> runtime.Task:
    """Ask for the caption of an animation and return at once; the task's result is the text. See ``api.caption``.

    later: gets a function that keeps the text with the animation, instead of keeping it at once.
    """
    runtime.check_idle()
    service.check_request(model, None)
    require_map(armature)
    action = action or results.current_action(armature)
    first, last = capture.frame_span(action, frame_range)
    limit = protocol.MAX_CAPTION_FRAMES / protocol.FPS
    if (last - first + 1) / capture.scene_fps() > limit:  # told before it is read: reading blocks the window
        raise Error("bad_motion", f"The animation is longer than the {limit / 60:.0f} minutes that can be described.")
    try:
        motion = capture.capture(armature, action, frame_range)
    except RigError as error:
        raise Error("bad_motion", str(error)) from error
    target = targets.Target(armature if action is None else action)
    part = frame_range is not None and (action is None or (first, last) != capture.frame_span(action))

    def apply(header: dict, _arrays: dict) -> str:
        text = header["text"].strip()
        if later is None:
            keep(text)
        else:
            later.append(partial(keep, text))
        return text

    def keep(text: str) -> None:
        kept = target.resolve()
        if kept is not None and kept.library is None:
            if part:
                assets.set_caption_of_part(kept, first, last, text)
            else:
                assets.set_caption(kept, text)
        else:
            runtime.tell(f"Caption, not stored because the action is gone or linked: {text}")

    arrays = {
        "rotations": motion.rotations,
        "translation": motion.translation,
        "rest_offsets": motion.rest_offsets,
    }
    fields = {"model": model, "fps": float(motion.fps)}
    return runtime.start(protocol.CAPTION, fields, arrays, apply)


def require_map(armature) -> None:
    """Raises Error for an armature that cannot be animated."""
    try:
        results.require_map(armature)
    except RigError as error:
        raise Error("bad_armature", str(error)) from error


def _resolve(target: targets.Target, message: str):
    found = target.resolve()
    if found is None:
        raise Error("gone", message)
    return found
