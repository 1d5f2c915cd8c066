"""Pictures of the sidebar for docs/pictures: ``python3 tests/gui/pictures.py [NAME...]``; all of them without names.

Blender 3.4 under Xvfb with the fake backend. The sections are opened by mouse; what buttons do is called (the window
tests press them). Needs imagemagick as well. Open what it wrote and look: nothing else can tell whether one is ugly.
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
SIZE = 640, 1300  # pixels of the window
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


def act(window: Window, call: str) -> None:
    """What the button ``momug.<call>`` does, in the 3D view."""
    place = "window=bpy.context.window_manager.windows[0], area=area(), region=region('WINDOW')"
    name, _, given = call.partition("(")
    window.do(f"with bpy.context.temp_override({place}): bpy.ops.momug.{name}('INVOKE_DEFAULT', {given or ')'}")


def prompt(window: Window, words: str) -> None:
    window.do(f"bpy.context.scene.momug.prompt = {words!r}")


def made(window: Window, words: str = WORDS) -> None:
    """A mannequin with a motion that waits for a decision."""
    if not window.ask("armature() and True"):
        act(window, "add_mannequin")
    prompt(window, words)
    act(window, "generate")
    window.until("take() and take()[0] == 'pending'")


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
    act(window, "add_mannequin")
    prompt(window, WORDS)
    before = shot(window, "before")
    backend(window, steps=300, delay=1.0)
    act(window, "generate")
    window.until("progress()", lambda told: told and told[1] > 0.01)
    busy = shot(window, "busy")
    act(window, "cancel")
    window.until("progress() is None")
    backend(window)
    act(window, "generate")
    window.until("take()")
    window.expand(CHARACTER, PROMPT, RESULT)
    return [before, busy, shot(window, "after")]


@picture("live-motion")
def live_motion(window: Window):
    window.expand(CHARACTER, PROMPT)
    backend(window, delay=0.2)
    act(window, "add_mannequin")
    prompt(window, "a person walks forward")
    window.do("bpy.context.scene.momug.auto_seconds = True")
    act(window, "stream")
    window.until("live()", lambda now: now and now[1] > 20)
    playing = shot(window, "playing")
    prompt(window, "a person runs")
    other = shot(window, "other")
    act(window, "steer")
    window.until("live()[3] == 'a person runs'")
    act(window, "stop")
    window.until("live() is None")
    window.expand(CHARACTER, PROMPT, RESULT)
    return [playing, other, shot(window, "stopped")]


@picture("errors")
def errors(window: Window):
    window.expand(CHARACTER, PROMPT)
    act(window, "add_mannequin")
    prompt(window, WORDS)
    backend(window, "error")
    act(window, "generate")
    window.until("status()")
    missing = shot(window, "missing")
    backend(window, steps=300, delay=1.0)
    act(window, "generate")
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


def busy(window: Window, name: str, call: str, wanted: str = "progress()") -> Path:
    """The sidebar while the model works on what ``call`` asks for; then that is cancelled."""
    backend(window, steps=300, delay=1.0)
    act(window, call)
    window.until(wanted, lambda told: told and told[1] > 0.01)
    made = shot(window, name)
    window.do("addon('runtime').cancel()")
    window.until("progress() is None")
    return made


def fails(window: Window, name: str, call: str, mode: str = "error") -> Path:
    """The sidebar after ``call`` was pressed and the model could not do it."""
    backend(window, mode)
    act(window, call)
    window.until("addon('runtime').status().failed")
    window.until("progress() is None")
    made = shot(window, name)
    backend(window)
    return made


@picture("timeline")
def timeline(window: Window):
    window.expand(CHARACTER)
    act(window, "add_mannequin")
    window.expand(TIMELINE)
    empty = shot(window, "empty")
    for words in (WORDS, "a person sits down", "a person stands up"):
        prompt(window, words)
        act(window, "add_block")
    working = busy(window, "busy", "generate_timeline")
    failed = fails(window, "failed", "generate_timeline")
    act(window, "generate_timeline")
    window.until("take()")
    window.expand(TIMELINE, RESULT)
    return [empty, working, failed, shot(window, "blocks")]


@picture("poses")
def poses(window: Window):
    window.expand(CHARACTER, PROMPT)
    made(window)
    act(window, "accept")
    window.expand(POSES, REWORK)
    empty = shot(window, "empty")
    act(window, "add_pose(place='START')")
    window.do("bpy.context.scene.frame_set(40)")
    act(window, "add_pose(place='HERE')")
    act(window, "add_path")
    prompt(window, "a person turns")
    given = shot(window, "given")
    return [empty, given, busy(window, "busy", "regenerate"), fails(window, "failed", "regenerate")]


@picture("result")
def result(window: Window):
    window.expand(CHARACTER, PROMPT)
    window.do("bpy.context.scene.momug.variations = 4")
    made(window)
    window.expand(RESULT)
    several = shot(window, "several")
    act(window, "change_result(in_place=True)")
    window.until("addon('commit').current(armature()).take.options.in_place")
    working = busy(window, "busy", "generate_again")
    failed = fails(window, "failed", "generate_again")
    act(window, "accept")
    window.until("take()[0] == 'accepted'")
    return [several, working, failed, shot(window, "accepted")]


@picture("captions-and-library")
def captions_and_library(window: Window):
    window.expand(CHARACTER, PROMPT)
    for words in (WORDS, "a person runs", "a person sits down"):
        made(window, words)
        act(window, "accept")
    window.expand(CAPTION, LIBRARY)
    empty = shot(window, "empty")
    working = busy(window, "busy", "caption")
    failed = fails(window, "failed", "caption")
    act(window, "caption")
    window.until("addon('results').caption_of(armature())")
    window.do("library = bpy.context.window_manager.momug_library")
    window.do("library.action_index = bpy.data.actions[:].index(armature().animation_data.action)")
    act(window, "mark_assets")
    window.do("library.search = 'walking'")
    return [empty, working, failed, shot(window, "caption")]


PACKS = [
    {"name": "proud", "label": "Proud", "licence": "CC0", "commercial": True},
    {"name": "capture", "label": "Lab Capture", "licence": "CC BY-NC 4.0", "commercial": False},
]


@picture("style")
def style(window: Window):
    window.expand(CHARACTER, PROMPT)
    made(window)
    act(window, "accept")
    window.expand(STYLE, TRAINING)
    none = shot(window, "none")
    window.do("armature().animation_data.action.momug_words = 'a person walks proudly'")
    window.do("armature().animation_data.action.momug_ticked = True")
    shown = {"name": "momug", "label": "MoMug", "available": True, "styles": PACKS}
    window.do(f"addon('service')._models[:] = [{shown!r}]; bpy.context.scene.momug.style = 'capture'")
    chosen = shot(window, "chosen")
    trainer(window, "slow")
    act(window, "train_style")
    window.until("addon('styles').training() is not None and addon('styles').training().step > 1")
    training = shot(window, "training")
    act(window, "cancel_training")
    window.until("addon('styles').training() is None")
    trainer(window, "fails")
    act(window, "train_style")
    window.until("addon('styles').training() is None and addon('runtime').status().failed")
    return [none, chosen, training, shot(window, "failed")]


def trainer(window: Window, mode: str) -> None:
    """Let the training be a pretended one; see tests/fake_trainer.py."""
    command = shlex.join([sys.executable, str(FAKE.with_name("fake_trainer.py")), mode, "serve"])
    window.do(f"addon('preferences').get().backend_command = {command!r}")


@picture("files")
def files(window: Window):
    window.expand(CHARACTER)
    act(window, "add_mannequin")
    window.expand(CHARACTER, FILES)
    normal = shot(window, "files")
    file = window.folder / "walk.npy"
    file.write_bytes(b"x")
    backend(window, steps=300, delay=1.0)
    window.do(f"bpy.ops.momug.import_motion(filepath={str(file)!r})")
    window.until("progress()", lambda told: told and told[1] > 0.01)
    working = shot(window, "busy")
    act(window, "cancel")
    window.until("progress() is None")
    backend(window, "error")
    window.do(f"bpy.ops.momug.import_motion(filepath={str(file)!r})")
    window.until("addon('runtime').status().failed")
    return [normal, working, shot(window, "failed")]


@picture("backend")
def backend_panel(window: Window):
    window.expand(BACKEND)
    window.do("addon('preferences').get().log_folder = 'MoMug logs'")
    act(window, "load_backend")
    window.until("addon('service').current() is not None and addon('service').current().state == 'ready'")
    loaded = shot(window, "loaded")
    act(window, "add_mannequin")
    prompt(window, WORDS)
    working = busy(window, "working", "generate")
    backend(window, "die_start")
    act(window, "load_backend")
    window.until("addon('installation').state().code == 'failed'")
    failed = shot(window, "failed")
    window.do("addon('runtime').configure(); addon('preferences').get().backend_command = ''")
    window.do("addon('installation').look_again()")
    act(window, "plan_installation")
    worker = "addon('installation').the_installer()"
    window.until(f"{worker}.state == 'planned'")
    planned = shot(window, "plan")
    act(window, "install_backend")  # a real one, from the package index that pip knows; ended before much has come
    window.until(f"{worker}.phase == 'download' and {worker}.fraction > 0.02")
    installing = shot(window, "installing")
    act(window, "cancel_installation")
    window.until(f"not {worker}.busy")
    return [loaded, working, failed, planned, installing, shot(window, "cancelled")]


@picture("character")
def character(window: Window):
    window.expand(CHARACTER, PROMPT)
    nobody = shot(window, "nobody")
    for _ in range(2):
        act(window, "add_mannequin")
    window.do("bpy.ops.object.armature_add(location=(2, 0, 0)); bpy.context.object.name = 'Car'")
    window.do("[thing.select_set(thing.type == 'ARMATURE') for thing in bpy.data.objects]")
    window.do("bpy.context.scene.momug.armature = None")
    window.do("bpy.context.view_layer.objects.active = bpy.data.objects['Mannequin']")
    prompt(window, WORDS)
    several = shot(window, "several")
    working = busy(window, "busy", "generate")
    window.do("[thing.select_set(thing.name == 'Car') for thing in bpy.data.objects]")
    window.do("bpy.context.view_layer.objects.active = bpy.data.objects['Car']")
    return [nobody, several, working, shot(window, "unusable")]


@picture("narrow")
def narrow(window: Window):
    window.expand(CHARACTER, PROMPT)
    made(window, "a person does a somersault")
    shots, width = [], window.ask("box()")[2]
    window.resize(NARROW)
    for name in (CHARACTER, PROMPT, TIMELINE, POSES, RESULT, CAPTION, STYLE, FILES, BACKEND):
        window.expand(name)
        shots.append(shot(window, f"narrow-{name}"))
    window.resize(width)
    return shots


NARROW = 170  # pixels of the sidebar with its tabs


@picture("chinese")
def chinese(window: Window):
    window.do("bpy.context.preferences.view.language = 'zh_CN'")  # zh_HANS from 4.0 on
    window.do("bpy.context.preferences.view.use_translate_interface = True")
    try:
        window.expand(CHARACTER, PROMPT)
        window.do("bpy.context.scene.momug.variations = 2")
        made(window)
        parts = [shot(window, "zh-prompt")]
        window.expand(TIMELINE, RESULT)
        parts.append(shot(window, "zh-result"))
        act(window, "accept")
        window.expand(CAPTION, LIBRARY, STYLE)
        parts.append(shot(window, "zh-library"))
        window.expand(POSES, FILES, BACKEND)
        return [*parts, shot(window, "zh-poses")]
    finally:
        window.do("bpy.context.preferences.view.use_translate_interface = False")


@picture("bone-map")
def bone_map(window: Window):
    # the last one: the map stays open inside Character
    window.expand(CHARACTER)
    act(window, "add_mannequin")
    window.expand(CHARACTER, BONES)
    found = shot(window, "found")
    for choice in ("'left_wrist', []", "'right_knee', ['right_ankle']"):
        window.do(f"addon('maps').choose(armature(), {choice})")
    return [found, shot(window, "doubt")]


def compose(parts: list[Path], target: Path) -> None:
    """The parts side by side, each without the empty space below, in 32 colours."""
    trimmed = []
    for part in parts:
        out = part.with_suffix(".trimmed.png")
        subprocess.run(["convert", part, "-shave", "4x4", "-fuzz", "3%", "-trim", "+repage", out], check=True)
        trimmed.append(out)
    border = ["-background", "#303030", "-gravity", "north", "-bordercolor", "#303030", "-border", "6x6"]
    small = ["+dither", "-colors", "32", "-strip", "-define", "png:compression-level=9"]
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
    with windows.opened(SIZE, **bare) as window:  # nothing is installed in the window's own folder
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
