"""The main job without a window: a prompt, a character, and the files an animator would pass on.

Run by the Blender Python that ``build.py setup`` made: ``build.py demo "a person waves"``. It registers the add-on and
uses its public ``api`` only, as any script in Blender would.
"""

import argparse
import importlib
import os
import sys
import time
import traceback
from pathlib import Path

ADDON = Path(__file__).resolve().parent


def parse(arguments: "list[str] | None" = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A prompt becomes an animation, in headless Blender.")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--model", default="momug")
    parser.add_argument("--seconds", type=float, help="length of the motion (default: the model decides)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rig", type=Path, metavar="FILE", help=".blend, .fbx, .glb or .bvh (default: the mannequin)")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    return parser.parse_args(arguments)


def load_addon():
    """The add-on, registered, from the folder this file lies in."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ADDON]
    sys.path.insert(0, str(ADDON.parent))
    addon = importlib.import_module(ADDON.name)
    addon.register()
    return addon


class Progress:
    """One line a phase on the terminal; every step only where the line can be written over."""

    def __init__(self):
        self.phase = ""
        self.live = sys.stdout.isatty()

    def __call__(self, phase: str, step: int, total: int) -> None:
        if self.live and total > 1:
            print(f"\r  {phase} {step}/{total}    ", end="\n" if step == total else "", flush=True)
        elif phase != self.phase:
            print(f"  {phase}", flush=True)
        self.phase = phase


class Clock:
    """Seconds by phase, in the order they happened."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] = now - self.last
        self.last = now

    def report(self) -> None:
        for phase, seconds in self.seconds.items():
            print(f"  {phase:<28}{seconds:8.2f} s")


def run(options: argparse.Namespace) -> None:
    clock = Clock()
    import bpy

    clock.lap("Blender")
    addon = load_addon()
    api = importlib.import_module(f"{addon.__name__}.api")
    scene_package = f"{addon.__name__}.scene"
    export = importlib.import_module(f"{scene_package}.export")
    import_rig = importlib.import_module(f"{scene_package}.import_rig")
    mannequin = importlib.import_module(f"{scene_package}.mannequin")
    render = importlib.import_module(f"{scene_package}.render")

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 30, 1.0
    armature = import_rig.import_rig(options.rig) if options.rig else mannequin.add()
    clock.lap("character")

    print(f'"{options.prompt}" on {armature.name}, seed {options.seed}', flush=True)
    action = api.animate(
        armature,
        options.prompt,
        seconds=options.seconds,
        seed=options.seed,
        model=options.model,
        frame_start=1,
        progress=Progress(),
    )
    clock.lap("generate")
    warnings = api.warnings()
    for phase, seconds in api.timings().items():
        clock.seconds[f"  {phase}"] = seconds
    first, last = (int(round(frame)) for frame in action.frame_range)
    scene.frame_start, scene.frame_end = first, last

    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    export.bvh(armature, out / "demo.bvh")
    export.glb(armature, out / "demo.glb")
    export.npz(armature, out / "demo.npz", action)
    clock.lap("bvh, glb, npz")
    render.contact_sheet(armature, out / "demo.png", title=options.prompt)
    clock.lap("contact sheet")
    text = api.caption(armature, model=options.model)
    clock.lap("caption")
    export.blend(out / "demo.blend")
    clock.lap("blend")

    print(f"{last - first + 1} frames in the action '{action.name}', seconds by phase:")
    clock.report()
    print(f"Caption of the result: {text}")
    for warning in warnings:
        print(warning)
    for name in ("blend", "bvh", "glb", "npz", "png"):
        print(out / f"demo.{name}")
    api.shutdown()
    addon.unregister()


def main() -> int:
    options = parse()
    try:
        run(options)
    except Exception as error:
        sentence = getattr(error, "message", None) or (str(error) if type(error).__name__ == "RigError" else "")
        if not sentence:
            traceback.print_exc()
            sentence = f"The demo stopped: {error}"
        print(sentence, file=sys.stderr)
        hint = getattr(error, "hint", "")
        if hint:
            print(hint, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    # bpy as a module may hang while Python takes it apart
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
