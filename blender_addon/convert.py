"""Clips of GLB, FBX and other character files to canonical motion, without a window.

Run by a Blender Python, ``python convert.py --jobs jobs.json``, or by Blender itself,
``blender -b --factory-startup --python convert.py -- --jobs jobs.json``. The jobs file is ``{"clips": [{"id": ...,
"file": ..., "animation": name or null, "out": ...}]}``; each ``out`` becomes an npz as ``scene.export`` writes it (30
fps, Y up, metres). One JSON line is printed a clip: ``{"id", "frames"}`` or ``{"id", "error"}``.
"""

import argparse
import importlib
import json
import logging
import sys
from pathlib import Path

ADDON = Path(__file__).resolve().parent
FPS = 30
log = logging.getLogger(__name__)


def parse(arguments: "list[str] | None" = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Read animations of character files in headless Blender.")
    parser.add_argument("--jobs", type=Path, required=True, metavar="FILE")
    if arguments is None:
        arguments = sys.argv[1:]
        # Blender hands over its own arguments too; those of a script follow two dashes
        if "--" in arguments:
            arguments = arguments[arguments.index("--") + 1 :]
    return parser.parse_args(arguments)


def load_scene() -> str:
    """Make the add-on that this file lies in importable, not registered; returns the name of its scene package."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ADDON]
    sys.path.insert(0, str(ADDON.parent))
    return f"{ADDON.name}.scene"


def convert(clips: "list[dict]", say=print) -> int:
    """Convert every clip, reading each file once; ``say`` gets one JSON line a clip. Returns how many failed."""
    failed = 0
    files: dict[str, list[dict]] = {}
    for clip in clips:
        files.setdefault(clip["file"], []).append(clip)
    for file, wanted in files.items():
        for answer in _convert_file(file, wanted):
            failed += "error" in answer
            say(json.dumps(answer))
    return failed


def _convert_file(file: str, clips: "list[dict]"):
    import bpy

    package = load_scene()
    export = importlib.import_module(f"{package}.export")
    capture = importlib.import_module(f"{package}.capture")
    import_rig = importlib.import_module(f"{package}.import_rig")
    rig_error = importlib.import_module(f"{ADDON.name}.rig").RigError

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = FPS, 1.0
    try:
        armature = import_rig.import_rig(file)
        actions = animations(armature)
    except rig_error as error:
        yield from ({"id": clip["id"], "error": str(error)} for clip in clips)
        return
    for clip in clips:
        try:
            action = pick(actions, clip.get("animation"), Path(file).name)
            rest(armature)
            capture.compat.assign(armature, action)
            motion = capture.capture(armature, action, fps=FPS)
            export.save_npz(motion, clip["out"])
            yield {"id": clip["id"], "frames": motion.frames}
        except (rig_error, ValueError) as error:
            log.debug("%s", clip["id"], exc_info=True)
            yield {"id": clip["id"], "error": str(error)}


def animations(armature) -> dict:
    """Name in the file -> action, for every animation of an imported armature; its NLA tracks are taken away.

    glTF files bring one NLA track an animation, whose name is the animation's; Blender may have changed the action's.
    """
    data = armature.animation_data
    found = {}
    if data is None:
        return found
    for track in list(data.nla_tracks):
        for strip in track.strips:
            if strip.action is not None:
                found.setdefault(track.name, strip.action)
        data.nla_tracks.remove(track)
    if data.action is not None and data.action not in found.values():
        found[data.action.name] = data.action
    return found


def pick(actions: dict, name: "str | None", file: str):
    """The action called ``name``, or the only one when ``name`` is None. Raises ValueError with a plain sentence."""
    if not actions:
        raise ValueError(f"'{file}' holds no animation of its armature.")
    if name is None:
        if len(set(actions.values())) > 1:
            raise ValueError(f"'{file}' holds {len(actions)} animations; say which one is meant.")
        return next(iter(actions.values()))
    # an FBX action is called 'armature|name|layer'
    for called, action in actions.items():
        if name in (called, action.name) or name in called.split("|"):
            return action
    raise ValueError(f"'{file}' holds no animation called '{name}'.")


def rest(armature) -> None:
    """Put all bones to rest, so that what one animation leaves alone does not keep the pose of another."""
    for bone in armature.pose.bones:
        bone.matrix_basis.identity()


def main() -> int:
    """Run the jobs; returns the exit code, 2 when the jobs file cannot be read."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    options = parse()
    try:
        clips = json.loads(options.jobs.read_text(encoding="utf-8"))["clips"]
    except (OSError, ValueError, KeyError) as error:
        print(f"{options.jobs} could not be read: {error}", file=sys.stderr)
        return 2
    convert(clips, lambda line: print(line, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
