"""Pictures of the sidebar for docs/pictures: ``python3 tests/gui/pictures.py [NAME...]``; all of them without names.

Blender 3.4 under Xvfb with the fake backend, pressed by mouse and keys as in the window tests. Needs imagemagick as
well. Open what it wrote and look: nothing else can tell whether a panel is ugly.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from gui import window as windows  # noqa: E402
from gui.window import Window  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
FAKE = ROOT / "tests" / "fake_backend.py"
WORDS = "a person walks forward and waves"
CHARACTER, PROMPT, RESULT = "MOMUG_PT_character", "MOMUG_PT_motion", "MOMUG_PT_result"
CAPTION, LIBRARY, BONES = "MOMUG_PT_caption", "MOMUG_PT_library", "MOMUG_PT_bone_map"
TIMELINE, POSES, REWORK = "MOMUG_PT_timeline", "MOMUG_PT_poses", "MOMUG_PT_rework"
STYLE, TRAINING, BACKEND, FILES = "MOMUG_PT_style", "MOMUG_PT_style_training", "MOMUG_PT_backend", "MOMUG_PT_io"
_all: "dict[str, Callable[[Window], list[Path]]]" = {}


def picture(name: str):
    """Registers what makes docs/pictures/<name>.png: the parts that are put side by side."""

    def register(make):
        _all[name] = make
        return make

    return register


def backend(window: Window, mode: str = "ok", steps: int = 4, delay: float = 0.02) -> None:
    command = [sys.executable, str(FAKE), "--mode", mode, "--steps", str(steps), "--delay", str(delay)]
    window.do(f"addon('runtime').configure(); addon('preferences').get().backend_command = {shlex.join(command)!r}")


def made(window: Window, prompt: str = WORDS) -> None:
    """A mannequin with a motion that waits for a decision."""
    if not window.ask("armature() and True"):
        window.press("momug.add_mannequin")
    window.type_into(".momug.prompt", prompt)
    window.press("momug.generate(")
    window.until("take()")


def shot(window: Window, name: str) -> Path:
    """The sidebar as it is now, without what lies below its last section."""
    window.point(60, 300)  # no button is under the pointer
    window.redrawn()
    file = window.folder / f"{name}.png"
    window.picture(file)
    return file


@picture("first-motion")
def first_motion(window: Window):
    window.expand(CHARACTER, PROMPT)
    window.press("momug.add_mannequin")
    window.type_into(".momug.prompt", WORDS)
    before = shot(window, "before")
    backend(window, steps=300, delay=1.0)
    window.press("momug.generate(")
    window.until("progress()", lambda told: told and told[1] > 0.01)
    busy = shot(window, "busy")
    window.press("momug.cancel(")
    window.until("progress() is None")
    backend(window)
    window.press("momug.generate(")
    window.until("take()")
    window.expand(CHARACTER, PROMPT, RESULT)
    return [before, busy, shot(window, "after")]


@picture("errors")
def errors(window: Window):
    window.expand(CHARACTER, PROMPT)
    window.press("momug.add_mannequin")
    window.type_into(".momug.prompt", WORDS)
    backend(window, "error")
    window.press("momug.generate(")
    window.until("status()")
    missing = shot(window, "missing")
    backend(window, steps=300, delay=1.0)
    window.press("momug.generate(")
    for _ in range(2):
        window.until("progress()", lambda told: told and told[1] > 0)
        process = window.ask("backend()")
        os.kill(process, signal.SIGKILL)
        window.until(f"progress() is None or backend() not in (None, {process})")
    window.until("progress() is None")
    died = shot(window, "died")
    window.do("[bpy.data.objects.remove(thing) for thing in list(bpy.data.objects)]")
    window.do(
        "bpy.ops.object.armature_add(); bone = bpy.context.object.data.bones[0]; bone.name = 'wheel'"
        "; bpy.context.object.name = 'Car'"
    )
    return [missing, died, shot(window, "car")]


@picture("timeline")
def timeline(window: Window):
    window.expand(CHARACTER)
    window.press("momug.add_mannequin")
    window.expand(TIMELINE)
    empty = shot(window, "empty")
    for words in (WORDS, "a person sits down", "a person stands up"):
        window.do(f"bpy.context.scene.momug.prompt = {words!r}")
        window.press("momug.add_block")
    window.press("momug.generate_timeline")
    window.until("take()")
    window.expand(TIMELINE, RESULT)
    return [empty, shot(window, "blocks")]


@picture("poses")
def poses(window: Window):
    window.expand(CHARACTER, PROMPT)
    made(window)
    window.press("momug.accept")
    window.expand(POSES, REWORK)
    empty = shot(window, "empty")
    window.press("place='START'")
    window.do("bpy.context.scene.frame_set(40)")
    window.press("place='HERE'")
    window.press("momug.add_path")
    return [empty, shot(window, "given")]


@picture("captions-and-library")
def captions_and_library(window: Window):
    window.expand(CHARACTER, PROMPT)
    for prompt in (WORDS, "a person runs", "a person sits down"):
        made(window, prompt)
        window.expand(RESULT)
        window.press("momug.accept")
        window.expand(PROMPT)
    window.expand(CAPTION, LIBRARY)
    empty = shot(window, "empty")
    backend(window, steps=300, delay=1.0)
    window.press("momug.caption(")
    window.until("progress()", lambda told: told and told[1] > 0.01)
    busy = shot(window, "busy")
    window.press("momug.cancel_captions")
    window.until("progress() is None")
    backend(window)
    window.press("momug.caption(")
    window.until("addon('results').caption_of(armature())")
    return [empty, busy, shot(window, "caption")]


@picture("style")
def style(window: Window):
    window.expand(STYLE, TRAINING)
    return [shot(window, "none")]


@picture("files")
def files(window: Window):
    window.expand(CHARACTER, FILES)
    return [shot(window, "files")]


@picture("backend")
def backend_panel(window: Window):
    window.do("addon('preferences').get().backend_command = ''")
    window.do("addon('installation').look_again()")
    window.expand(BACKEND)
    window.press("momug.plan_installation")
    window.until("addon('installation').the_installer().state == 'planned'")
    planned = shot(window, "plan")
    window.press("momug.forget_plan")
    window.until("addon('installation').the_installer().state == 'idle'")
    window.do("addon('preferences').get().log_folder = 'MoMug logs'")
    backend(window)
    window.do("addon('installation').look_again()")
    window.press("momug.load_backend")
    window.until("addon('service').current() is not None and addon('service').current().state == 'ready'")
    loaded = shot(window, "loaded")
    backend(window, "die_start")
    window.press("momug.load_backend")
    window.until("addon('installation').state().code == 'failed'")
    return [planned, loaded, shot(window, "failed")]


@picture("bone-map")
def bone_map(window: Window):
    # the last one: the map stays open inside Character
    window.expand(CHARACTER)
    window.press("momug.add_mannequin")
    window.expand(CHARACTER, BONES)
    found = shot(window, "found")
    for choice in ("'left_wrist', []", "'right_knee', ['right_ankle']"):
        window.do(f"addon('maps').choose(armature(), {choice})")
    return [found, shot(window, "doubt")]


def compose(parts: list[Path], target: Path) -> None:
    """The parts side by side, each without the empty space below, in 64 colours."""
    trimmed = []
    for part in parts:
        out = part.with_suffix(".trimmed.png")
        subprocess.run(["convert", part, "-shave", "4x4", "-fuzz", "3%", "-trim", "+repage", out], check=True)
        trimmed.append(out)
    border = ["-background", "#303030", "-gravity", "north", "-bordercolor", "#303030", "-border", "6x6"]
    small = ["+dither", "-colors", "64", "-strip", "-define", "png:compression-level=9"]
    subprocess.run(["convert", *trimmed, *border, "+append", *small, target], check=True)
    print(f"{target.name}: {target.stat().st_size / 1e3:.0f} kB", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_all))
    parser.add_argument("--out", type=Path, default=PICTURES, help="another folder")
    chosen = parser.parse_args()
    if reason := windows.missing():
        sys.exit(reason)
    chosen.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    bare = {"MOMUG_BACKEND_PYTHON": "", "MOMUG_STYLES": "MoMug styles", "MOMUG_CACHE": "MoMug cache"}
    with windows.opened(**bare) as window:  # nothing is installed in the window's own folder
        window.do("bpy.context.preferences.system.use_region_overlap = False")  # a plain background
        window.open_sidebar()
        for name in chosen.names or _all:
            window.fresh()
            backend(window)
            try:
                compose(_all[name](window), chosen.out / f"{name}.png")
            except windows.Lost as error:
                failed = 1
                print(f"{name}: {error}", flush=True)
                window.picture(chosen.out / f"{name}.lost.png", sidebar=False)
    return failed


if __name__ == "__main__":
    sys.exit(main())
