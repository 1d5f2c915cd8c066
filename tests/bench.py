"""The numbers that are promised, measured in headless Blender: ``python3 build.py bench [--json FILE]``.

Times of the backend are those of a warm start: it was started once before, so that its files are in memory. What needs
trained weights is left out, with the reason, where they are not installed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), str(ROOT / "tests")] + [
    entry for entry in sys.path if Path(entry or ".").resolve() != ROOT / "tests"
]

PATIENCE = 600.0
PROMPT, SEED = "a person walks forward", 1
REPEAT = 5


class Table:
    """Rows of what was measured: seconds or a reason, and how long it may take."""

    def __init__(self):
        self.rows: list[dict] = []

    def add(self, what: str, seconds: float | None, limit: float | None = None, note: str = "") -> None:
        row = {"what": what, "seconds": None if seconds is None else round(seconds, 4), "limit": limit, "note": note}
        self.rows.append(row)
        measured = "left out" if seconds is None else f"{seconds:8.3f} s"
        allowed = "" if limit is None else f"at most {limit:g} s"
        print(f"{what:<58}{measured:>12}  {allowed:<16}{note}", flush=True)


def backend_rows(table: Table, python: Path, log: Path) -> None:
    """Start, load, generate and caption with the real backend, over the pipe."""
    from blender_addon.client import DONE, Session, backend_command

    names = {
        "hello": "backend: start until it says hello",
        "ready": "backend: start until the model is loaded",
        "generate": "a clip of 6 s, 10 steps, model loaded",
        "caption": "its caption",
    }
    command, env = backend_command(python)
    session = Session(command, env, log)

    def done(kind: str, **rest):
        job = session.submit(kind, {"model": "momug", **rest.pop("fields", {})}, **rest)
        if not job.wait(PATIENCE) or job.state != DONE:
            raise RuntimeError(job.error or "no answer in time")
        return job

    def start() -> float:
        started = time.perf_counter()
        if not session.wait_ready(PATIENCE):
            raise RuntimeError(session.failure.message if session.failure else "no answer in time")
        return time.perf_counter() - started

    try:
        start()
        model = session.capabilities["models"][0]
        if model["available"]:
            done("load")
        session.close()
        started = time.perf_counter()
        table.add(names.pop("hello"), start())
        if not model["available"]:
            raise RuntimeError(model["reason"])
        done("load")
        table.add(names.pop("ready"), time.perf_counter() - started, 6.0)
        wanted = {"prompt": PROMPT, "seconds": 6.0, "seed": SEED, "steps": 10}
        done("generate", fields=wanted)  # the first one fills caches of the model
        found = []
        for _ in range(3):
            began = time.perf_counter()
            made = done("generate", fields=wanted)
            found.append((time.perf_counter() - began, made.header["timings"]))
        best, timings = min(found, key=lambda pair: pair[0])
        phases = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in timings.items())
        table.add(names.pop("generate"), best, 4.0, phases)
        if not model.get("captions"):
            raise RuntimeError("these weights cannot caption")
        arrays = {name: made.arrays[f"0/{name}"] for name in ("rotations", "translation")}
        arrays["rest_offsets"] = made.arrays["rest_offsets"]
        began = time.perf_counter()
        text = done("caption", fields={"fps": 30.0}, arrays=arrays).header["text"]
        table.add(names.pop("caption"), time.perf_counter() - began, None, text)
    except RuntimeError as error:
        for what in names.values():
            table.add(what, None, None, str(error))
    finally:
        session.close()


def ten_seconds():
    """A walk of 10 s on the canonical skeleton."""
    import fake_backend
    import numpy as np

    from blender_addon.client import protocol
    from blender_addon.retarget import CanonicalMotion

    walk = {name: np.asarray(array) for name, array in fake_backend.walk(PROMPT, 10.0, SEED).items()}
    offsets = np.asarray(protocol.REST_OFFSETS, dtype=np.float32)
    return CanonicalMotion(walk["rotations"], walk["translation"], offsets, 30.0, walk["contacts"])


def retarget_rows(table: Table) -> None:
    """10 s at 30 fps onto the mannequin's 22 bones and back, and the same keys by Blender's own ways of making them."""
    import bpy

    from blender_addon import retarget as motions
    from blender_addon.scene import armature as armatures
    from blender_addon.scene import capture, keys, mannequin

    figure, motion = mannequin.add(), ten_seconds()
    bpy.context.scene.render.fps = 30
    found, maps, captures = [], [], []
    for _ in range(REPEAT):
        began, worked = time.perf_counter(), time.thread_time()
        rig = armatures.read_rig(figure)
        mapped = time.perf_counter()
        mapping = armatures.bone_map(figure)
        read = time.perf_counter()
        animation = motions.retarget(motion, rig, mapping.require(), 30.0)
        moved = time.perf_counter()
        keys.write_action(figure, animation, PROMPT, 1, {})
        ended = time.perf_counter()
        found.append((ended - began, read - began, moved - read, ended - moved, time.thread_time() - worked))
        maps.append(read - mapped)
        began, worked = time.perf_counter(), time.thread_time()
        capture.capture(figure, fps=None)
        captures.append((time.perf_counter() - began, time.thread_time() - worked))
    whole, read, moved, keyed, worked = min(found)
    table.add("bone map of 22 bones", min(maps), 0.05)
    note = f"rig {read:.3f}, retarget {moved:.3f}, keys {keyed:.3f}; {worked:.3f} of the processor"
    table.add("retarget and keyframes of 10 s on 22 bones", whole, 0.1, note)
    table.add("capture of the same 10 s", min(captures)[0], 0.3, f"{min(captures)[1]:.3f} of the processor")
    inserted = _keyframe_insert(figure, animation)
    table.add("the same keys by keyframe_insert", inserted, None, f"{inserted / keyed:.0f} times as long as ours")
    baked = _bake(figure, animation.frames)
    table.add("the same keys by nla.bake", baked, None, f"{baked / keyed:.0f} times as long as ours")
    bpy.ops.wm.read_factory_settings(use_empty=True)


def rigify_rows(table: Table) -> None:
    """The same on the control rig that Rigify generates from its smaller human template."""
    import bpy

    from blender_addon import retarget as motions
    from blender_addon.scene import armature as armatures
    from blender_addon.scene import capture, keys

    names = ["bone map of a generated Rigify rig", "retarget and keyframes of 10 s on its controls"]
    names += ["capture of the same 10 s from its controls", "capture of the same 10 s from its IK limbs"]
    bpy.ops.preferences.addon_enable(module="rigify")
    bpy.ops.object.armature_basic_human_metarig_add()
    bpy.ops.pose.rigify_generate()
    bpy.context.scene.render.fps = 30
    figure, motion = bpy.context.object, ten_seconds()
    maps, moves, captures, stepped = [], [], [], []
    for _ in range(REPEAT):
        rig, mapping = armatures.read_mapped(figure)
        began, worked = time.perf_counter(), time.thread_time()
        armatures.bone_map(figure)
        maps.append((time.perf_counter() - began, time.thread_time() - worked))
        began, worked = time.perf_counter(), time.thread_time()
        animation = motions.retarget(motion, rig, mapping.require(), 30.0)
        keys.write_action(figure, animation, PROMPT, 1, {})
        moves.append((time.perf_counter() - began, time.thread_time() - worked))
        began, worked = time.perf_counter(), time.thread_time()
        capture.capture(figure, fps=None)
        captures.append((time.perf_counter() - began, time.thread_time() - worked))
        animation = motions.retarget(motion, rig, mapping, 30.0, ik_legs=True, ik_arms=True)
        keys.write_action(figure, animation, PROMPT, 1, {})
        began, worked = time.perf_counter(), time.thread_time()
        capture.capture(figure, fps=None)
        stepped.append((time.perf_counter() - began, time.thread_time() - worked))
    for name, found, limit in zip(names, (maps, moves, captures, stepped), (0.05, 0.1, 0.3, 0.3), strict=True):
        table.add(name, min(found)[0], limit, f"{len(rig.bones)} bones; {min(found)[1]:.3f} of the processor")
    bpy.ops.wm.read_factory_settings(use_empty=True)


def _keyframe_insert(figure, animation) -> float:
    """Seconds that ``keyframe_insert`` takes for every key of ``animation``, into an action of its own."""
    import bpy

    figure.animation_data.action = bpy.data.actions.new("inserted")
    bones = [figure.pose.bones[name] for name in animation.bones]
    root = figure.pose.bones[animation.root]
    began = time.perf_counter()
    for t in range(animation.frames):
        for bone, value in zip(bones, animation.rotations[t], strict=True):
            bone.rotation_quaternion = value
            bone.keyframe_insert("rotation_quaternion", frame=t + 1)
        root.location = animation.root_location[t]
        root.keyframe_insert("location", frame=t + 1)
    return time.perf_counter() - began


def _bake(figure, frames: int) -> float:
    """Seconds that ``nla.bake`` takes for the action that the figure has."""
    import bpy

    bpy.context.view_layer.objects.active = figure
    began = time.perf_counter()
    bpy.ops.nla.bake(frame_start=1, frame_end=frames, only_selected=False, visual_keying=True, bake_types={"POSE"})
    return time.perf_counter() - began


def interface_row(table: Table) -> None:
    """How long Blender's window stands still: the longest call of the timer while a result of 10 s arrives."""
    import bpy

    from blender_addon import ask, runtime
    from blender_addon.scene import mannequin

    fake = [sys.executable, ROOT / "tests" / "fake_backend.py", "--steps", "10", "--delay", "0.05"]
    runtime.configure(command=fake)
    figure = mannequin.add()
    longest = []
    for _ in range(REPEAT):
        task = ask.start_animate(figure, PROMPT, seconds=10.0, seed=SEED, undo_step=True)
        calls, again = [], 0.0
        while again is not None:
            began, worked = time.perf_counter(), time.thread_time()
            again = runtime._tick()
            calls.append((time.perf_counter() - began, time.thread_time() - worked))
            time.sleep(0.02)
        if task.error:
            raise task.error
        longest.append(max(calls))
    runtime.configure()
    pause, worked = min(longest)
    note = f"at worst {max(longest)[0]:.3f}; {worked:.3f} of the processor"
    table.add("longest pause of the window while 10 s arrive", pause, 0.1, note)
    bpy.ops.wm.read_factory_settings(use_empty=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures the promised numbers in headless Blender.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    options = parser.parse_args()
    import bpy

    import blender_addon
    from blender_addon.client import environment

    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender_addon.register()
    table = Table()
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"Blender {bpy.app.version_string}, {os.cpu_count()} CPU cores{busy}")
    with tempfile.TemporaryDirectory(prefix="momug-bench-", ignore_cleanup_errors=True) as scratch:
        python = environment.backend_python()
        if python is None:
            table.add("backend", None, None, "the backend's environment is not set up")
        else:
            backend_rows(table, python, Path(scratch) / "backend.log")
    retarget_rows(table)
    rigify_rows(table)
    interface_row(table)
    blender_addon.unregister()
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(table.rows, indent=1) + "\n", encoding="utf-8")
    slow = [row["what"] for row in table.rows if row["limit"] and row["seconds"] and row["seconds"] > row["limit"]]
    if slow:
        print("Slower than promised: " + "; ".join(slow))
    return 0


if __name__ == "__main__":
    code = main()
    # bpy as a module may hang while Python takes it apart
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
