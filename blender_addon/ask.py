"""Requests to the model: check what the artist asked for, send it, and say what the answer becomes.

The one path for buttons and scripts. Nothing here waits, and nothing changes the scene before the answer has come.
"""

import bpy

from . import results, runtime, service, targets
from .client import protocol
from .rig import RigError
from .scene import assets, capture, splice, takes
from .service import Error

VERSION = "0.1.0"


def why_not(armature) -> str:
    """Why nothing can be started for ``armature`` now, one sentence; empty when it can. For ``poll``."""
    if runtime.active() is not None:
        return "MoMug is still working on the last request."
    if armature is None:
        return "Select an armature, or add the mannequin."
    return results.map_health(armature).problem


def start_animate(
    armature,
    prompt: str,
    *,
    seconds: float | None = None,
    seed: int | None = None,
    model: str = "momug",
    preset: str | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    variations: int = 1,
    frame_start: int | None = None,
    frame_range: "tuple[int, int] | None" = None,
    options: "takes.Options | None" = None,
    only: "list[str] | None" = None,
    scene=None,
    extend_timeline: bool = False,
    undo_step: bool = False,
) -> runtime.Task:
    """Ask for a motion and return at once; the result of the task is a list of actions. See ``api.animate``.

    frame_range: first and last frame that the motion fills exactly, in place of ``seconds`` and ``frame_start``.
    options, only: see ``commit.make``. Raises Error when the request cannot be made; the scene changes only when
    the answer has come.
    """
    runtime.check_idle()
    scene = scene or bpy.context.scene
    try:
        prompt = protocol.clean_prompt(prompt)
        if seed is not None:
            seed = protocol.check_number(seed, "The seed", 0, protocol.MAX_SEED, integer=True)
        if steps is not None:
            steps = protocol.check_number(steps, "The number of steps", 1, protocol.MAX_STEPS, integer=True)
        if guidance_scale is not None:
            guidance_scale = protocol.check_number(guidance_scale, "The guidance", 0.0, protocol.MAX_GUIDANCE)
        variations = protocol.check_number(
            variations, "The number of variations", 1, protocol.MAX_VARIATIONS, integer=True
        )
    except protocol.ProtocolError as error:
        raise Error("bad_prompt" if "prompt" in str(error) else "bad_request", str(error)) from error
    options = options or takes.Options()
    frames = 0
    if frame_range is not None:
        frame_start, frames = int(frame_range[0]), int(frame_range[1]) - int(frame_range[0]) + 1
        if frames < 2:
            raise Error("bad_request", "The frame range ends before it has begun.")
        seconds = frames / capture.scene_fps(scene)
    service.check_request(model, seconds)
    _require_map(armature)
    if options.destination == takes.SPLICE:
        sentence = splice.why_not(armature, results.current_action(armature))
        if sentence:
            raise Error("bad_armature", sentence)
    request = {
        "model": model,
        "prompt": prompt,
        "seconds": None if seconds is None else float(seconds),
        "seed": seed,
        "steps": steps,
        "guidance_scale": guidance_scale,
        "preset": preset,
        "variations": variations,
    }
    target, scene_target = targets.Target(armature), targets.Target(scene)
    frame_start = scene.frame_current if frame_start is None else int(frame_start)

    def apply(header: dict, arrays: dict) -> list:
        rig = _resolve(target, f"The armature '{target.name}' is gone, so its motion was not applied.")
        where = scene_target.resolve() or bpy.context.scene
        motions = results.motions_of(header, arrays)
        recipes = [
            {
                "generator": f"MoMug {VERSION}",
                "prompt": prompt,
                "requested_seconds": request["seconds"],
                "seconds": round(motion.frames / motion.fps, 3),
                "seed": entry["seed"],
                "model": model,
                "steps": steps,
                "preset": preset,
                "guidance_scale": guidance_scale,
            }
            for motion, entry in zip(motions, header["motions"], strict=True)
        ]
        end = where.frame_end
        actions = results.apply_motions(
            rig,
            where,
            motions,
            recipes,
            frame_start=frame_start,
            extend_timeline=extend_timeline,
            options=options,
            frames=frames,
            only=only,
        )
        made = f"'{actions[0].name}' is on {rig.name}"
        if options.destination == takes.SPLICE:
            take = takes.read(actions[0])[-1]
            made = f"Frames {take.first} to {take.last} of '{actions[0].name}' are new"
        if len(motions) > 1:
            made = f"{len(motions)} variations are made; the first is on {rig.name}"
        if where.frame_end != end:
            made += f"; the timeline now ends at frame {where.frame_end}"
        runtime.tell(" ".join([f"{made}.", *results.warnings(rig)]))
        return actions

    return runtime.start(protocol.GENERATE, request, None, apply, "MoMug: Generate" if undo_step else "")


def start_caption(
    armature,
    *,
    action=None,
    model: str = "momug",
    frame_range: tuple[int, int] | None = None,
    scene=None,
    undo_step: bool = False,
) -> runtime.Task:
    """Ask for the caption of an animation and return at once; the task's result is the text. See ``api.caption``."""
    runtime.check_idle()
    service.check_request(model, None)
    _require_map(armature)
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
        kept = target.resolve()
        if kept is not None and kept.library is None:
            if part:
                assets.set_caption_of_part(kept, first, last, text)
            else:
                assets.set_caption(kept, text)
            runtime.tell("")
        else:
            runtime.tell(f"Caption, not stored because the action is gone or linked: {text}")
        return text

    arrays = {
        "rotations": motion.rotations,
        "translation": motion.translation,
        "rest_offsets": motion.rest_offsets,
    }
    fields = {"model": model, "fps": float(motion.fps)}
    return runtime.start(protocol.CAPTION, fields, arrays, apply, "MoMug: Caption" if undo_step else "")


def _require_map(armature) -> None:
    try:
        results.require_map(armature)
    except RigError as error:
        raise Error("bad_armature", str(error)) from error


def _resolve(target: targets.Target, message: str):
    found = target.resolve()
    if found is None:
        raise Error("gone", message)
    return found
