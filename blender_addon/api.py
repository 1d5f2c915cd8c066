"""MoMug for scripts: ``from bl_ext.user_default.momug import api`` (or wherever the add-on is installed).

The functions block until the work is done and need no window; the buttons use the same code without blocking.
They may be called from Blender's main thread only. Whatever goes wrong is an :class:`Error`: one plain sentence in
``message``, what to do about it in ``hint``; the scene is then as it was, and the next call works.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import bpy

from . import ask, captions, commit, live, maps, properties, results, rework, runtime, styles, watching
from .exchange import export_motion as export
from .exchange import import_motion
from .library import rank
from .retarget import CanonicalMotion
from .rig import RigError, canonical
from .scene import assets, takes
from .scene import capture as scene_capture
from .service import Error

__all__ = ["Error", "accept", "again", "animate", "bone_map", "caption", "capture", "change", "configure", "export",
           "find", "import_motion", "in_between", "load_bone_map", "mark_asset", "regenerate", "reject", "reroll",
           "save_bone_map", "set_bones", "shutdown", "stream", "timings", "train_style", "wait",
           "warnings"]  # fmt: skip


def animate(
    armature: bpy.types.Object,
    prompt: str = "",
    *,
    seconds: float | None = None,
    timeline: "Sequence[tuple[str, float | None]] | None" = None,
    seed: int | None = None,
    model: str = properties.DEFAULT_MODEL,
    preset: str | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    style: str | None = None,
    style_weight: float = 1.0,
    variations: int = 1,
    frame_start: int | None = None,
    frame_range: "tuple[int, int] | None" = None,
    poses: "Mapping[int, str | int | bpy.types.Action] | None" = None,
    path: "bpy.types.Object | bpy.types.Collection | Sequence[Sequence[float]] | None" = None,
    keep_bones: "Sequence[str] | None" = None,
    destination: str = "ACTION",
    bones: "Sequence[str] | None" = None,
    progress: Callable[[str, int, int], None] | None = None,
    **options: object,
) -> "bpy.types.Action | list[bpy.types.Action]":
    """Make the motion that ``prompt`` describes, as a new active action of ``armature``.

    seconds: length; None lets the model decide. timeline: several (prompt, seconds or None) that become one continuous
    motion, in place of ``prompt`` and ``seconds``; :func:`reroll` makes one of them anew. With poses, a path or bones
    that stay they need their seconds, or a frame_range that is shared out. seed: None draws one (it is stored on the
    action). steps, guidance_scale and preset: None is the model's own choice. style, style_weight: an
    installed style pack, and how much of it, 0 to 1. variations: with more than one, a list of actions comes back and
    the first is active. frame_start: where the motion begins; None is the current frame. frame_range: first and last
    frame to fill exactly, in place of seconds and frame_start.

    poses: frame of the scene -> the pose to have there, met exactly: "current" (the present pose, keyed or not), "keys"
    (what the animation shows at that frame), the number of another frame whose pose it shall be, or an action (a pose
    of a pose library). Without a length the last of them is the end. path: a curve object, a collection of objects to
    pass in the order of their names, or points (x, y), world, to go along at even speed; without a length as long as
    a walk takes. keep_bones: these stay as they are, and the others are made to go with them; for destination "NLA" or
    "SPLICE". With any of the three the prompt may be empty: they alone decide then.

    destination: "ACTION" (new and active), "NLA" (a strip on top) or "SPLICE" (into the active action, whose keys
    elsewhere stay bit for bit). bones: the only ones that may get keys. options: in_place, loop, foot_lock,
    clear_hands, reduce, reduce_degrees, reduce_cm, blend_in and blend_out (frames), ik_legs, ik_arms; see
    ``takes.Options``. progress: called with (phase, step, total). What was there comes back with :func:`reject`. The
    scene's frame rate and range stay as they are. Raises Error.
    """
    chosen = _options({**options, "destination": destination})
    task = ask.start_animate(
        armature,
        prompt,
        seconds=seconds,
        timeline=timeline,
        seed=seed,
        model=model,
        preset=preset,
        steps=steps,
        guidance_scale=guidance_scale,
        style=style,
        style_weight=style_weight,
        variations=variations,
        frame_start=frame_start,
        frame_range=frame_range,
        poses=poses,
        path=path,
        keep_bones=keep_bones,
        options=chosen,
        only=None if bones is None else list(bones),
    )
    actions = runtime.wait(task, progress)
    return actions[0] if variations == 1 or destination == takes.SPLICE else actions


def regenerate(
    armature: bpy.types.Object,
    frame_range: "tuple[int, int]",
    prompt: str = "",
    *,
    seed: int | None = None,
    model: str = properties.DEFAULT_MODEL,
    preset: str | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    style: str | None = None,
    style_weight: float = 1.0,
    variations: int = 1,
    keep_range: "tuple[int, int] | None" = None,
    keep_bones: "Sequence[str] | None" = None,
    destination: str = "SPLICE",
    progress: Callable[[str, int, int], None] | None = None,
    **options: object,
) -> bpy.types.Action:
    """Make the frames of ``frame_range`` (first and last) of ``armature``'s animation anew; returns the action.

    The model sees half a second on either side and goes on from there; the first and the last frame show exactly what
    they showed before, and keys outside the range stay bit for bit. keep_range: first and last frame of a part of the
    range that stays, keys and all, while the rest goes on from it before and after; an end of ``frame_range`` beyond
    which nothing is keyed is free then, so that it may also reach further than the action does. keep_bones: bones that
    keep their keys in the range too. destination: "SPLICE" (the active action) or "NLA". Without a prompt what stands
    around the range decides. The rest is as for :func:`animate`. Raises Error.
    """
    task = rework.start_regenerate(
        armature,
        frame_range,
        prompt,
        keep_range=keep_range,
        keep_bones=keep_bones,
        options=_options({**options, "destination": destination}),
        seed=seed,
        model=model,
        preset=preset,
        steps=steps,
        guidance_scale=guidance_scale,
        style=style,
        style_weight=style_weight,
        variations=variations,
    )
    return runtime.wait(task, progress)[0]


def in_between(
    armature: bpy.types.Object,
    frames: "Sequence[int] | None" = None,
    prompt: str = "",
    *,
    seed: int | None = None,
    model: str = properties.DEFAULT_MODEL,
    preset: str | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    style: str | None = None,
    style_weight: float = 1.0,
    variations: int = 1,
    keep_bones: "Sequence[str] | None" = None,
    progress: Callable[[str, int, int], None] | None = None,
    **options: object,
) -> bpy.types.Action:
    """Motion between the poses that the animation of ``armature`` shows at ``frames`` (two at least, None: all frames
    with keys), in its active action, which is returned.

    Keys at these frames stay bit for bit, and the pose is exactly the same; keys between them are replaced. Without a
    prompt the poses decide. The rest is as for :func:`animate`. Raises Error.
    """
    task = rework.start_in_between(
        armature,
        frames,
        prompt,
        keep_bones=keep_bones,
        options=_options(options),
        seed=seed,
        model=model,
        preset=preset,
        steps=steps,
        guidance_scale=guidance_scale,
        style=style,
        style_weight=style_weight,
        variations=variations,
    )
    return runtime.wait(task, progress)[0]


def reroll(
    armature: bpy.types.Object,
    block: int,
    prompt: str | None = None,
    *,
    seed: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> bpy.types.Action:
    """Make one block (counted from 0) of the timeline on ``armature`` anew, with another seed or ``prompt``; returns
    the action. It keeps its length, and the keys of the other blocks stay as they are. Raises Error."""
    return runtime.wait(rework.start_reroll(armature, block, prompt, seed=seed), progress)


def again(
    armature: bpy.types.Object,
    *,
    seed: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> "list[bpy.types.Action]":
    """Run the prompt and settings that are stored with the motion on ``armature`` once more; ``seed`` None draws a new
    one. Returns the actions. Raises Error."""
    return runtime.wait(rework.start_again(armature, seed=seed), progress)


def stream(
    armature: bpy.types.Object,
    prompt: str,
    *,
    seconds: float | None = None,
    seed: int | None = None,
    model: str | None = None,
    preset: str | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    frame_start: int | None = None,
    ahead: float = 2.0,
    destination: str = "ACTION",
    bones: "Sequence[str] | None" = None,
    **options: object,
) -> watching.Stream:
    """Make the motion that ``prompt`` describes, and have it on ``armature`` while it is made.

    Returns what a loop goes over: ``for first, last in api.stream(...)`` gives the frames of the scene that have new
    keys. In the loop ``steer("a person turns left")`` changes what happens from there on, ``stop()`` ends the motion
    and keeps what the loop has seen, ``cancel()`` takes it away again; see :class:`watching.Stream`. seconds: None goes
    on until somebody stops it, ten minutes at most. ahead: seconds that the model may be
    ahead of the loop; a new prompt is seen so much later. model: None is the first that can do this. The rest is as for
    :func:`animate`; ``loop`` and ``in_place`` are for :func:`change` afterwards. Raises Error; what had come when the
    model failed stays on the armature, until :func:`reject` takes it away.
    """
    started = live.start(
        armature,
        prompt,
        seconds=seconds,
        seed=seed,
        model=live.first_model() if model is None else model,
        preset=preset,
        steps=steps,
        guidance_scale=guidance_scale,
        frame_start=frame_start,
        ahead=ahead,
        options=_options({**options, "destination": destination}),
        only=None if bones is None else list(bones),
        play=False,
    )
    return watching.Stream(started)


def _options(given: "dict[str, object]") -> takes.Options:
    try:
        chosen = takes.Options(**given)
    except TypeError as error:
        raise Error("bad_request", "There is no such option of a result.", str(error)) from error
    if chosen.destination not in takes.DESTINATIONS:
        raise Error("bad_request", f"There is no destination '{chosen.destination}'.", ", ".join(takes.DESTINATIONS))
    return chosen


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
    what: "bpy.types.Object | bpy.types.Action | bpy.types.NlaStrip | Sequence",
    *,
    armature: bpy.types.Object | None = None,
    model: str = properties.DEFAULT_MODEL,
    frame_range: tuple[int, int] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> "str | list[str]":
    """What the character does, in words; also kept with the action, and as description and tags when it is an asset.

    An armature means whatever moves it: its active action, else its NLA. An action needs the armature it was made for:
    ``armature``, or the one object that uses it. An NLA strip means the part of its action that it plays. A sequence of
    them gives a list, in order. frame_range: first and last frame, None for all of it; the caption of a part is kept
    beside that of the whole. Raises Error; what was described before the error is kept.
    """
    if isinstance(what, Sequence):
        return [
            caption(one, armature=armature, model=model, frame_range=frame_range, progress=progress) for one in what
        ]
    if isinstance(what, bpy.types.NlaStrip):
        item = captions.of_strip(what, armature)
    elif isinstance(what, bpy.types.Action):
        item = captions.item(armature, what) if armature is not None else captions.of_action(what)
    else:
        return runtime.wait(ask.start_caption(what, model=model, frame_range=frame_range), progress)
    task = ask.start_caption(
        item.armature.resolve(),
        action=item.action.resolve(),
        model=model,
        frame_range=frame_range or item.frames,
    )
    return runtime.wait(task, progress)


def capture(
    armature: bpy.types.Object,
    *,
    action: bpy.types.Action | None = None,
    frame_range: "tuple[int, int] | None" = None,
) -> CanonicalMotion:
    """The animation of ``armature`` as numbers, on the 22 joints that every model here speaks of.

    rotations (T,22,4), quaternions w x y z relative to the parent; translation (T,3) of the pelvis in metres, Y up, +Z
    the way the rest pose faces; rest_offsets (22,3); contacts (T,4); 30 frames a second. action: another than the
    active one; frame_range: first and last frame, all of it when None. Raises Error.
    """
    try:
        results.require_map(armature)
        return scene_capture.capture(armature, action, frame_range)
    except RigError as error:
        raise Error("bad_motion", str(error)) from error


def mark_asset(action: bpy.types.Action) -> None:
    """Make an action an asset: its caption becomes the description, the caption's words become tags; what somebody else
    wrote there stays. Raises Error for an action of another file."""
    try:
        assets.mark(action)
    except RigError as error:
        raise Error("bad_request", str(error)) from error


def find(text: str) -> "list[bpy.types.Action]":
    """The actions of this file that fit ``text`` by name, caption or tags, best first; see ``library.rank``."""
    actions = list(bpy.data.actions)
    return [actions[index] for index, _score in rank(text, [assets.entry(action) for action in actions])]


def train_style(
    actions: "Sequence[bpy.types.Action]",
    label: str,
    *,
    armature: bpy.types.Object | None = None,
    commercial: bool = True,
    steps: int = 300,
    progress: Callable[[str, int, int], None] | None = None,
) -> str:
    """Learn a style from captioned actions and install it; its name, for ``style`` of :func:`animate`.

    label: what the panel calls it. armature: reads actions that no armature uses. commercial: whether the motion may be
    used commercially. Takes minutes without a graphics card, in a process of its own. Raises Error.
    """
    styles.begin(list(actions), label, commercial=commercial, steps=steps, armature=armature)
    return styles.wait(progress)["name"]


def bone_map(armature: bpy.types.Object) -> dict[str, str | list[str] | None]:
    """Which bone carries which of the 22 joints: its name, several names from the root outwards where bones share a
    joint, None where the armature has no such bone. Raises Error for an unusable armature."""
    try:
        joints = results.require_map(armature).joints
    except RigError as error:
        raise Error("bad_armature", str(error)) from error
    return {joint: (names[0] if len(names) == 1 else list(names)) or None for joint, names in joints.items()}


def set_bones(armature: bpy.types.Object, joint: str, bones: "str | Sequence[str]") -> None:
    """Say which bones carry one of the 22 joints (a name of :func:`bone_map`), from the root outwards; an empty list
    for none. It is kept with the armature and wins over what the matcher finds. Raises Error."""
    if joint not in canonical.JOINTS:
        raise Error("bad_request", f"There is no joint '{joint}'.", f"One of {', '.join(canonical.JOINTS)}.")
    _map(maps.choose, armature, joint, [bones] if isinstance(bones, str) else list(bones))


def save_bone_map(armature: bpy.types.Object, path: "str | Path") -> Path:
    """Write the map of ``armature``, its own choices included, as JSON; returns the path. Raises Error."""
    path = Path(bpy.path.abspath(str(path))).expanduser().absolute()
    _map(maps.save, armature, path)
    return path


def load_bone_map(armature: bpy.types.Object, path: "str | Path") -> str:
    """Take over the map of a file; a sentence about what fitted. Raises Error, with nothing changed, for a file that is
    no map or one of another figure."""
    return _map(maps.load, armature, Path(bpy.path.abspath(str(path))).expanduser().absolute())


def _map(what: Callable, armature: bpy.types.Object, *arguments: object) -> "str | None":
    try:
        return what(armature, *arguments)
    except RigError as error:
        raise Error("bad_armature", str(error)) from error


def configure(*, command: Sequence[str] | None = None, python: str | None = None) -> None:
    """Choose what is started as the backend from now on: a complete ``command``, or the ``python`` that runs it.

    A running backend is ended. Without arguments the preferences decide again.
    """
    runtime.configure(command=command, python=python)


def wait() -> object:
    """Finish what a button began (timers do not fire while a script runs); its result, or None when nothing runs."""
    result = None
    while (task := runtime.active()) is not None or captions.running() is not None:
        result = runtime.wait(task) if task is not None else result
        captions.step()  # of several captions the next; they are kept when all are made
    return result


def timings() -> dict[str, float]:
    """Seconds by phase of the request that ended last: the model's own phases, and ``apply`` for rig and keys."""
    return dict(runtime.last_timings)


def warnings() -> list[str]:
    """What the model said about the result of the request that ended last, such as what of a sentence it left out."""
    return list(runtime.last_warnings)


def shutdown() -> None:
    """End the backend and give its memory back. It starts again when it is needed."""
    runtime.shutdown()
