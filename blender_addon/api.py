"""MoMug for scripts: ``from bl_ext.user_default.momug import api`` (or wherever the add-on is installed).

The functions block until the work is done and need no window; the buttons use the same code without blocking.
They may be called from Blender's main thread only. Whatever goes wrong is an :class:`Error`: one plain sentence in
``message``, what to do about it in ``hint``; the scene is then as it was, and the next call works.
"""

from collections.abc import Callable, Sequence

import bpy

from . import ask, properties, results, runtime
from .rig import RigError
from .service import Error

__all__ = ["Error", "animate", "bone_map", "caption", "configure", "shutdown", "timings", "wait"]


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
    progress: Callable[[str, int, int], None] | None = None,
) -> "bpy.types.Action | list[bpy.types.Action]":
    """Make the motion that ``prompt`` describes, as a new active action of ``armature``.

    seconds: length; None lets the model decide. seed: None draws one (it is stored on the action). steps,
    guidance_scale and preset: None is the model's own choice. variations: with more than one, a list of actions comes
    back and the first is active. frame_start: where the motion begins; None is the current frame. progress: called
    with (phase, step, total). The scene's frame rate and range stay as they are. Raises Error.
    """
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
    )
    actions = runtime.wait(task, progress)
    return actions[0] if variations == 1 else actions


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


def bone_map(armature: bpy.types.Object) -> dict[str, list[str]]:
    """Which bones carry which of the 22 joints, from the root outwards. Raises Error for an unusable armature."""
    try:
        return dict(results.require_map(armature).joints)
    except RigError as error:
        raise Error("bad_armature", str(error)) from error


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
