"""MoMug for scripts: ``from bl_ext.user_default.momug import api`` (or wherever the add-on is installed).

The functions block until the work is done and need no window; the buttons use the same code without blocking.
They may be called from Blender's main thread only. Whatever goes wrong is an :class:`Error`: one plain sentence in
``message``, what to do about it in ``hint``; the scene is then as it was, and the next call works.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields

import bpy

from . import ask, commit, properties, results, runtime
from .rig import RigError
from .scene import takes
from .service import Error

__all__ = ["Error", "accept", "animate", "bone_map", "caption", "change", "configure", "reject", "shutdown", "timings",
           "wait"]  # fmt: skip


def animate(
    armature: bpy.types.Object,
    prompt: str,
    *,
    seconds: float | None = None,
    seed: int | None = None,
    model: str = properties.DEFAULT_MODEL,
    preset: str | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    variations: int = 1,
    frame_start: int | None = None,
    frame_range: "tuple[int, int] | None" = None,
    destination: str = "ACTION",
    bones: "Sequence[str] | None" = None,
    progress: Callable[[str, int, int], None] | None = None,
    **options: object,
) -> "bpy.types.Action | list[bpy.types.Action]":
    """Make the motion that ``prompt`` describes, as a new active action of ``armature``.

    seconds: length; None lets the model decide. seed: None draws one (it is stored on the action). steps,
    guidance_scale and preset: None is the model's own choice. variations: with more than one, a list of actions comes
    back and the first is active. frame_start: where the motion begins; None is the current frame. frame_range:
    first and last frame to fill exactly, in place of seconds and frame_start. destination: "ACTION" (new and active),
    "NLA" (a strip on top) or "SPLICE" (into the active action, whose keys elsewhere stay bit for bit). bones: the only
    ones that may get keys. options: in_place, loop, foot_lock, clear_hands, reduce, reduce_degrees, reduce_cm,
    blend_in and blend_out (frames), ik_legs, ik_arms; see ``takes.Options``. progress: called with (phase, step,
    total). What was there comes back with :func:`reject`. The scene's frame rate and range stay as they are. Raises
    Error.
    """
    try:
        chosen = takes.Options(destination=destination, **options)
    except TypeError as error:
        raise Error("bad_request", "There is no such option of a result.", str(error)) from error
    if destination not in takes.DESTINATIONS:
        raise Error("bad_request", f"There is no destination '{destination}'.", ", ".join(takes.DESTINATIONS))
    task = ask.start_animate(
        armature,
        prompt,
        seconds=seconds,
        seed=seed,
        model=model,
        preset=preset,
        steps=steps,
        guidance_scale=guidance_scale,
        variations=variations,
        frame_start=frame_start,
        frame_range=frame_range,
        options=chosen,
        only=None if bones is None else list(bones),
    )
    actions = runtime.wait(task, progress)
    return actions[0] if variations == 1 or destination == takes.SPLICE else actions


def accept(armature: bpy.types.Object, keep_others: bool = False) -> None:
    """Keep the generated motion that is shown on ``armature``; other variations go unless ``keep_others``."""
    _decide(commit.accept, armature, keep_others)


def reject(armature: bpy.types.Object) -> None:
    """Take the generated motion away again: the action, keys and pose that were there come back. Raises Error."""
    _decide(commit.reject, armature)


def change(armature: bpy.types.Object, **options: object) -> None:
    """Apply other options (see :func:`animate`) to the generated motion on ``armature``, without the model."""
    unknown = set(options) - {item.name for item in fields(takes.Options)}
    if unknown:
        raise Error("bad_request", f"There is no option '{min(unknown)}'.")
    _decide(commit.change, armature, bpy.context.scene, **options)


def _decide(what: Callable[..., str], armature: bpy.types.Object, *arguments: object, **options: object) -> None:
    try:
        results.require_map(armature)
        what(armature, *arguments, **options)
    except RigError as error:
        raise Error("bad_request", str(error)) from error


def caption(
    armature_or_action: "bpy.types.Object | bpy.types.Action",
    *,
    armature: bpy.types.Object | None = None,
    model: str = properties.DEFAULT_MODEL,
    frame_range: tuple[int, int] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> str:
    """What the character does, in words; also stored on the action.

    An armature means its active action. An action needs the armature it was made for: ``armature``, or the one object
    that uses it. frame_range: first and last frame, None for the whole action. Raises Error.
    """
    action = None
    if isinstance(armature_or_action, bpy.types.Action):
        action = armature_or_action
        armature = armature or _user_of(action)
    else:
        armature = armature_or_action
    return runtime.wait(ask.start_caption(armature, action=action, model=model, frame_range=frame_range), progress)


def bone_map(armature: bpy.types.Object) -> dict[str, str | list[str] | None]:
    """Which bone carries which of the 22 joints: its name, several names from the root outwards where bones share a
    joint, None where the armature has no such bone. Raises Error for an unusable armature."""
    try:
        joints = results.require_map(armature).joints
    except RigError as error:
        raise Error("bad_armature", str(error)) from error
    return {joint: (names[0] if len(names) == 1 else list(names)) or None for joint, names in joints.items()}


def configure(*, command: Sequence[str] | None = None, python: str | None = None) -> None:
    """Choose what is started as the backend from now on: a complete ``command``, or the ``python`` that runs it.

    A running backend is ended. Without arguments the preferences decide again.
    """
    runtime.configure(command=command, python=python)


def wait() -> object:
    """Finish what a button began (timers do not fire while a script runs); its result, or None when nothing runs."""
    task = runtime.active()
    return runtime.wait(task) if task else None


def timings() -> dict[str, float]:
    """Seconds by phase of the request that ended last: the model's own phases, and ``apply`` for rig and keys."""
    return dict(runtime.last_timings)


def shutdown() -> None:
    """End the backend and give its memory back. It starts again when it is needed."""
    runtime.shutdown()


def _user_of(action: bpy.types.Action) -> bpy.types.Object | None:
    for candidate in bpy.data.objects:
        if candidate.type == "ARMATURE" and _uses(candidate, action):
            return candidate
    raise Error(
        "bad_request", f"No armature uses the action '{action.name}'.", "Pass the armature it was made for as well."
    )


def _uses(armature: bpy.types.Object, action: bpy.types.Action) -> bool:
    """Is ``action`` the active one of ``armature``, or on its NLA?"""
    animation = armature.animation_data
    if animation is None:
        return False
    strips = (strip for track in animation.nla_tracks for strip in track.strips)
    return animation.action == action or any(strip.action == action for strip in strips)
