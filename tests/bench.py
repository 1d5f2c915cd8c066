"""The numbers that are promised, measured in headless Blender: ``python3 build.py bench [--json [FILE]]``.

The rows of the backend are in ``bench_backend`` (over the pipe) and ``bench_limits`` (against what the processor could
do). What needs trained weights is left out, with the reason, where they are not installed. On a machine that does other
work, the times of the processor in the notes are what can be compared.
"""

import argparse
import contextlib
import io
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

PROMPT, SEED = "a person walks forward", 1
REPEAT = 5


class Table:
    """Rows of what was measured: a value or a reason, and the most it may be (the least, for frames a second)."""

    def __init__(self, file: Path | None = None):
        """``file``: where the rows are after each of them, so that what was measured when it is ended is kept."""
        self.rows: list[dict] = []
        self.file = file

    def as_json(self) -> str:
        return json.dumps(self.rows, indent=1)

    def add(self, what: str, value: float | None, limit: float | None = None, note: str = "", unit: str = "s") -> None:
        rounded = None if value is None else round(value, 4)
        load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
        self.rows.append({"what": what, "value": rounded, "unit": unit, "limit": limit, "note": note, "load": load})
        measured = "left out" if value is None else f"{value:8.3f} {unit}"
        allowed = "" if limit is None else f"at {'least' if unit == 'fps' else 'most'} {limit:g} {unit}"
        print(f"{what:<58}{measured:>16}  {allowed:<18}{note}", flush=True)
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(self.as_json() + "\n", encoding="utf-8")

    def missed(self) -> list[str]:
        """What is not as promised."""
        rows = [row for row in self.rows if row["limit"] is not None and row["value"] is not None]
        return [
            row["what"]
            for row in rows
            if (row["value"] < row["limit"] if row["unit"] == "fps" else row["value"] > row["limit"])
        ]


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
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of twenty steps
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
    parser.add_argument("--json", metavar="FILE", help="write the rows there as well; -: nothing else goes to stdout")
    parser.add_argument("--times", type=int, default=2, help="how often each request is made; the fastest counts")
    parser.add_argument("--only", choices=("backend", "blender"), help="only the rows of one side")
    options = parser.parse_args()
    table = Table(Path(options.json) if options.json and options.json != "-" else None)
    with stdout_for_json() if options.json == "-" else contextlib.nullcontext():
        measure(table, options.only, options.times)
    if options.json == "-":
        print(table.as_json())
    return 0


@contextlib.contextmanager
def stdout_for_json():
    """What is printed meanwhile, by Blender itself as well, goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def measure(table: Table, only: str | None, times: int) -> None:
    """All rows, or those of one side: "blender" or "backend"."""
    import bench_backend
    import bpy

    import blender_addon
    from blender_addon.client import environment

    began = time.monotonic()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender_addon.register()
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"Blender {bpy.app.version_string}, {os.cpu_count()} CPU cores{busy}")
    if only != "backend":
        retarget_rows(table)
        rigify_rows(table)
        interface_row(table)
    python = environment.backend_python()
    if only == "blender":
        pass
    elif python is None:
        table.add("backend", None, None, "the backend's environment is not set up")
    else:
        with tempfile.TemporaryDirectory(prefix="momug-bench-", ignore_cleanup_errors=True) as scratch:
            bench_backend.rows(table, python, Path(scratch) / "backend.log", times)
    blender_addon.unregister()
    print(f"{len(table.rows)} rows in {time.monotonic() - began:.0f} s")
    if missed := table.missed():
        print("Not as promised: " + "; ".join(missed))


if __name__ == "__main__":
    code = main()
    # bpy as a module may hang while Python takes it apart
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
