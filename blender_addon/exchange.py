"""Motion files in and out: on any armature through the same path as generated motion, and from any armature to a file.

What needs solvers that Blender's Python lacks (BVH of any skeleton, joint positions, HumanML3D) the backend reads and
writes; the model is not loaded for it.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bpy

from . import results, runtime, targets
from .client import protocol
from .rig import RigError
from .scene import armature as armatures
from .scene import capture, export, splice, takes
from .scene.files import reason
from .service import Error

READABLE = (".npz", ".npy", ".bvh", ".amc")
WRITABLE = {".bvh": export.bvh, ".fbx": export.fbx, ".glb": export.glb, ".npz": export.npz}
# as the file has it; the rest is a click away
OPTIONS = takes.Options(foot_lock=False, clear_hands=False)


def import_motion(
    path: "str | Path",
    armature: bpy.types.Object,
    *,
    frame_start: "int | None" = None,
    frame_range: "tuple[int, int] | None" = None,
    destination: str = takes.ACTION,
    bones: "list[str] | None" = None,
    up: "str | None" = None,
    source_fps: "float | None" = None,
    mean: "str | Path | None" = None,
    std: "str | Path | None" = None,
    progress: "Callable[[str, int, int], None] | None" = None,
    **options: object,
) -> bpy.types.Action:
    """Put a motion file on ``armature``; the action that holds it. Accept or reject it as a generated motion.

    path: SMPL-X / SMPL-H / SMPL / AMASS .npz, HumanML3D .npy (joint positions (T,22,3) or 263 features), .bvh of any
    humanoid, or .amc beside its .asf. frame_start: where it begins, the current frame when None; frame_range: first and
    last frame that it fills exactly. up ("Y" or "Z"), source_fps: where the file does not say or says wrong. mean, std:
    .npy files by which 263 features were normalised. destination, bones, options: as of ``animate``, but feet and hands
    stay where the file has them unless foot_lock or clear_hands is asked for. An SMPL armature then gets the rotations
    of an .npz exactly, hands and face included. Raises Error.
    """
    try:
        chosen = replace(OPTIONS, destination=destination, **options)
    except TypeError as error:
        raise Error("bad_request", "There is no such option of a motion.", str(error)) from error
    if destination not in takes.DESTINATIONS:
        raise Error("bad_request", f"There is no destination '{destination}'.", ", ".join(takes.DESTINATIONS))
    task = start_import(
        path,
        armature,
        frame_start=frame_start,
        frame_range=frame_range,
        options=chosen,
        only=None if bones is None else list(bones),
        up=up,
        source_fps=source_fps,
        mean=mean,
        std=std,
    )
    return runtime.wait(task, progress)[0]


def export_motion(
    armature: bpy.types.Object,
    path: "str | Path",
    *,
    frame_range: "tuple[int, int] | None" = None,
    features: bool = False,
) -> Path:
    """Save what ``armature`` does now (its action, or its NLA) as a file; the suffix of ``path`` picks the format.

    .bvh: every bone. .fbx, .glb: armature, skinned meshes and the animation by Blender's exporters; of a control rig
    the deforming bones. .npz: SMPL-X / AMASS; of an SMPL armature its own rotations. .npy: HumanML3D, joint positions
    or with ``features`` 263 numbers a frame. frame_range: first and last frame, the action's own when None. Returns
    the path. Raises Error.
    """
    path = checked_path(path, features)
    if path.suffix.lower() == ".npy":
        return runtime.wait(start_export(armature, path, frame_range=frame_range, features=features))
    return write(armature, path, frame_range)


def start_import(
    path: "str | Path",
    armature: bpy.types.Object,
    *,
    frame_start: "int | None" = None,
    frame_range: "tuple[int, int] | None" = None,
    options: "takes.Options" = OPTIONS,
    only: "list[str] | None" = None,
    up: "str | None" = None,
    source_fps: "float | None" = None,
    mean: "str | Path | None" = None,
    std: "str | Path | None" = None,
    scene: "bpy.types.Scene | None" = None,
    extend_timeline: bool = False,
    undo_step: bool = False,
) -> runtime.Task:
    """Ask for a file and return at once; the task's result is a list of one action. See :func:`import_motion`.

    The scene changes only when the answer has come.
    """
    runtime.check_idle()
    scene = scene or bpy.context.scene
    file = Path(bpy.path.abspath(str(path))).expanduser().absolute()
    if file.suffix.lower() not in READABLE:
        raise Error("bad_file", f"'{file.name}' is no motion file that can be read.", f"Use {', '.join(READABLE)}.")
    if not os.path.isfile(file):  # unlike Path.is_file, False for a name that is too long
        raise Error("bad_file", f"There is no file at {str(file)[:200]}.")
    first, frames = scene.frame_current if frame_start is None else int(frame_start), 0
    if frame_range is not None:
        first, frames = int(frame_range[0]), int(frame_range[1]) - int(frame_range[0]) + 1
        if frames < 2:
            raise Error("bad_request", "The frame range ends before it has begun.")
    _require_map(armature)
    sentence = splice.why_not(armature, results.current_action(armature)) if options.destination == takes.SPLICE else ""
    if sentence:
        raise Error("bad_armature", sentence)
    target, scene_target = targets.Target(armature), targets.Target(scene)

    def apply(header: dict, arrays: dict) -> list:
        rig = target.resolve()
        if rig is None:
            raise Error("gone", f"The armature '{target.name}' is gone, so the motion was not applied.")
        where = scene_target.resolve() or bpy.context.scene
        motion = results.motions_of(header, arrays)[0]
        seconds = round(motion.frames / motion.fps, 3)
        actions = results.apply_motions(
            rig,
            where,
            [motion],
            [{"generator": "file", "name": file.stem, "file": file.name, "seconds": seconds}],
            frame_start=first,
            extend_timeline=extend_timeline,
            options=options,
            frames=frames,
            only=only,
        )
        take = takes.read(actions[0])[-1]
        made = f"'{file.name}' is on {rig.name}, frames {take.first} to {take.last}."
        runtime.tell(" ".join([made, *results.warnings(rig)]))
        return actions

    fields = {"path": str(file), "fps": capture.scene_fps(scene), "up": up, "source_fps": source_fps}
    fields |= {name: str(Path(value).absolute()) for name, value in (("mean", mean), ("std", std)) if value is not None}
    return runtime.start(protocol.READ, fields, None, apply, "MoMug: Import Motion" if undo_step else "")


def checked_path(path: "str | Path", features: bool = False) -> Path:
    """The whole path of a file to write. Raises Error."""
    path = Path(bpy.path.abspath(str(path))).expanduser().absolute()
    known = (*WRITABLE, ".npy")
    if path.suffix.lower() not in known:
        raise Error("bad_file", f"'{path.name}' is no kind of file that can be written.", f"Use {', '.join(known)}.")
    if features and path.suffix.lower() != ".npy":
        raise Error("bad_request", "HumanML3D features go into a .npy file.")
    return path


def write(armature: bpy.types.Object, path: Path, frame_range: "tuple[int, int] | None" = None) -> Path:
    """Everything but .npy, at once. Raises Error."""
    try:
        if armature is None or not isinstance(armature, bpy.types.Object):
            raise RigError("Only an armature object can be exported.")
        sentence = armatures.problem(armature)
        if sentence:
            raise RigError(sentence)
        return WRITABLE[path.suffix.lower()](armature, path, frame_range=frame_range)
    except RigError as error:
        raise Error("bad_motion", str(error)) from error


def start_export(
    armature: bpy.types.Object,
    path: Path,
    *,
    frame_range: "tuple[int, int] | None" = None,
    features: bool = False,
) -> runtime.Task:
    """Ask for a .npy file and return at once; the task's result is its path."""
    runtime.check_idle()
    _require_map(armature)
    try:
        motion = capture.capture(armature, None, frame_range, None)
        path.parent.mkdir(parents=True, exist_ok=True)
    except RigError as error:
        raise Error("bad_motion", str(error)) from error
    except OSError as error:
        raise Error("bad_file", f"Could not write {path}: {reason(error)}.") from error
    if motion.frames > protocol.MAX_FILE_FRAMES:
        raise Error("bad_motion", f"The animation has more than {protocol.MAX_FILE_FRAMES:,} frames.")

    def apply(_header: dict, _arrays: dict) -> Path:
        runtime.tell(f"{path.name} is written.")
        return path

    arrays = {
        "rotations": motion.rotations,
        "translation": motion.translation,
        "rest_offsets": motion.rest_offsets,
    }
    fields = {"path": str(path), "fps": float(motion.fps), "features": features}
    return runtime.start(protocol.WRITE, fields, arrays, apply)


def _require_map(armature) -> None:
    try:
        results.require_map(armature)
    except RigError as error:
        raise Error("bad_armature", str(error)) from error
