"""What may happen to an artist who works with the real model: after each there is one plain sentence, the scene is as
it was, and the next job works. Faults inside the backend alone are in tests/backend and tests/protocol."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import bpy
import pytest
from figures import walk
from waiting import PATIENCE, wait_until

from blender_addon import api, commit, results, runtime, service
from blender_addon.client import environment
from blender_addon.scene import import_rig, keys
from blender_addon.scene import mannequin as figures

WALK = {"seconds": 2.0, "seed": 3, "preset": "fast"}
LONG = {"seconds": 10.0, "seed": 3, "preset": "fast", "steps": 60}
KINDS = (".bvh", ".npz", ".npy", ".fbx", ".glb")
posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")

# the real backend in a process whose wall clock jumps by hours, back and forth, at every look
JUMPING = """
import random, time
real, hours = time.time, random.Random(5)
time.time = lambda: real() + hours.uniform(-9e4, 9e4)
time.time_ns = lambda: int(time.time() * 1e9)
from backend import server
server.main()
"""


@pytest.fixture
def real(addon):
    """The backend's own environment and the shipped weights, for a machine that may be slow."""
    python = environment.backend_python("")
    if python is None or not environment.paths.base_model_folder().is_dir():
        pytest.skip("the model is not installed here (python3 build.py setup)")

    def choose(command: "list[str] | None" = None, **limits: float) -> str:
        limits = {"hello_timeout": PATIENCE, "hang_timeout": PATIENCE, "cancel_timeout": PATIENCE, **limits}
        choice = {"python": str(python)} if command is None else {"command": [str(python), *command]}
        runtime.configure(**choice, **limits)
        return str(python)

    choose()
    yield choose
    runtime.configure()


def one_sentence(text: str) -> bool:
    return text.endswith(".") and "\n" not in text and "Traceback" not in text and "Error" not in text


def process_id() -> int:
    return service.current()._link.process.pid


def begun() -> None:
    """Until the model is at work on the active task."""
    task = runtime.active()
    wait_until(lambda: task.job.phase == "denoise" or task.job.finished)
    assert task.job.phase == "denoise", (task.job.phase, task.job.error)


def told() -> str:
    """What the panel says once the timer has seen the end of the task."""
    wait_until(lambda: runtime._tick() is None)
    return runtime.status().message


def start(**asked: object) -> "runtime.Task":
    from blender_addon import ask

    return ask.start_animate(bpy.context.scene.momug.armature, "a person walks", **{**WALK, **asked})


@posix
def test_the_model_is_killed_while_it_works(real, mannequin, snapshot):
    bpy.context.scene.momug.armature = mannequin
    kept = api.animate(mannequin, "a person walks", **WALK)
    api.accept(mannequin)
    before = snapshot()
    task = start(**LONG)
    for _ in range(2):  # once it is started again and the motion comes after all; twice is told
        begun()
        killed = process_id()
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: task.job.finished or task.job.restarts and task.job.phase != "denoise")  # noqa: B023
    with pytest.raises(api.Error) as caught:
        runtime.wait(task)
    assert "again after a restart" in caught.value.message and one_sentence(caught.value.message)
    assert snapshot() == before and mannequin.animation_data.action == kept
    task = start(**LONG)
    begun()
    os.kill(process_id(), signal.SIGKILL)
    runtime.wait(task)
    assert task.job.restarts == 1 and commit.stored_motion(commit.current(mannequin)).frames == 300


def test_the_artist_goes_on_working_meanwhile(real, mannequin, snapshot, tmp_path):
    settings = bpy.context.scene.momug
    settings.armature, settings.prompt, settings.auto_seconds, settings.seconds = (
        mannequin,
        "a person walks",
        False,
        2.0,
    )
    api.animate(mannequin, "a person walks", **WALK)
    api.reject(mannequin)
    process = process_id()
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.object.empty_add()
    bpy.ops.ed.undo_push(message="an empty")
    bpy.ops.momug.generate()  # undo during a job: the motion finds its figure again
    bpy.ops.ed.undo()
    assert "is on Mannequin" in told()
    armature = bpy.data.objects["Mannequin"]
    assert armature.animation_data.action and len(bpy.data.objects) == len(snapshot()["objects"])
    bpy.ops.ed.undo()
    assert not bpy.data.actions

    armature = bpy.data.objects["Mannequin"]
    bpy.context.scene.momug.armature = armature
    start(**LONG)
    begun()
    bpy.data.objects.remove(armature)  # the figure is deleted
    before = snapshot()
    assert "is gone" in told() and snapshot() == before

    bpy.context.scene.momug.armature = figures.add()
    file = tmp_path / "other.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)
    task = start(**LONG)
    begun()
    bpy.ops.wm.open_mainfile(filepath=str(file))  # another file is opened
    assert runtime.active() is None and "Another file was opened" in runtime.status().message
    before = snapshot()
    wait_until(lambda: task.job.finished)
    told()
    assert snapshot() == before and not bpy.data.actions

    armature = bpy.context.scene.momug.armature
    start(**LONG)
    begun()
    runtime.cancel()
    assert told() == "Cancelled." and snapshot() == before
    assert api.animate(armature, "a person walks", **WALK) and process_id() == process


def test_the_clock_jumps(real, mannequin, monkeypatch):
    now, hours = time.time, random.Random(7)
    monkeypatch.setattr(time, "time", lambda: now() + hours.uniform(-9e4, 9e4))
    monkeypatch.setattr(time, "time_ns", lambda: int(time.time() * 1e9))
    real(["-c", JUMPING], heartbeat=0.2, hang_timeout=PATIENCE / 2)
    bpy.context.scene.momug.armature = mannequin
    task = start(**LONG)
    runtime.wait(task)
    assert task.job.restarts == 0 and 0 < task.job.elapsed < PATIENCE
    assert all(0 <= seconds < PATIENCE for seconds in api.timings().values()), api.timings()
    task = start(**LONG)
    begun()
    assert task.remaining is None or 0 <= task.remaining < PATIENCE
    runtime.cancel(task)
    with pytest.raises(api.Error, match="Cancelled"):
        runtime.wait(task)
    assert api.caption(mannequin) and not runtime.status().failed


SECOND = """
import json, os, sys, time
import bpy
root, python, kind = json.loads(sys.argv[1])
sys.path.insert(0, root)
import blender_addon
from blender_addon import api, commit, runtime, service, ask
from blender_addon.scene import mannequin
bpy.ops.wm.read_factory_settings(use_empty=True)
blender_addon.register()
runtime.configure(python=python, hello_timeout=600.0, hang_timeout=600.0)
figure = mannequin.add()
action = api.animate(figure, "a person walks", seconds=2.0, seed=3, preset="fast")
made = commit.stored_motion(commit.current(figure))
api.accept(figure)
session = service.current()
facts = [session._link.process.pid, made.rotations.sum().item(), str(session.log_file)]
print("FACTS " + json.dumps(facts), flush=True)
sys.stdin.readline()
if kind == "doomed":
    task = ask.start_animate(figure, "a person walks", seconds=10.0, seed=3, preset="fast", steps=60)
    while task.job.phase != "denoise":
        time.sleep(0.001)
    print("FACTS []", flush=True)
    sys.stdin.readline()
print("FACTS " + json.dumps([api.caption(figure)]), flush=True)
os._exit(0)
"""


@posix
def test_two_blenders_at_once_and_one_is_closed_in_the_middle_of_a_job(real, root, tmp_path):
    python = real()
    env = os.environ | {"BLENDER_USER_RESOURCES": str(tmp_path / "user"), "PYTHONPATH": ""}
    both, facts = [], []

    def heard(process) -> list:
        for line in process.stdout:
            if line.startswith("FACTS "):
                return json.loads(line[6:])
        raise AssertionError((tmp_path / "said").read_text(errors="replace"))

    try:
        with open(tmp_path / "said", "wb") as said:
            for kind in ("doomed", "other"):
                command = [sys.executable, "-c", SECOND, json.dumps([str(root), python, kind])]
                pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": said, "text": True}
                both.append(subprocess.Popen(command, env=env, cwd=tmp_path, **pipes))
        facts = [heard(process) for process in both]
        assert facts[0][0] != facts[1][0] and facts[0][1:] == facts[1][1:]  # own backends, one motion, one log
        assert "loaded momug" in Path(facts[0][2]).read_text(encoding="utf-8", errors="replace")
        doomed, other = both
        doomed.stdin.write("\n")
        doomed.stdin.flush()
        assert heard(doomed) == []
        doomed.kill()
        wait_until(lambda: not _runs(facts[0][0]))  # its model ends with it, in the middle of the job
        assert _runs(facts[1][0])
        other.stdin.write("\n")
        other.stdin.flush()
        assert len(heard(other)[0].split()) > 2
        wait_until(lambda: not _runs(facts[1][0]))
    finally:
        for process in both:
            process.kill()
            process.communicate()


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        if sys.platform.startswith("linux"):
            return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


# --- files


@pytest.fixture
def animated(addon):
    """The mannequin with a walk of twenty seconds, kept."""
    from blender_addon import retarget
    from blender_addon.scene import armature as armatures

    armature = figures.add()
    rig, mapping = armatures.read_mapped(armature)
    keys.write_action(armature, retarget.retarget(walk(20.0), rig, mapping.require(), 24.0), "a walk", 1, {})
    bpy.context.scene.momug.armature = armature
    return armature


@posix
@pytest.mark.parametrize("kind", [*KINDS, ".json"])
def test_the_disk_is_full(real, animated, snapshot, tmp_path, kind):
    import resource

    from blender_addon import maps

    def save(path: Path) -> None:
        if kind == ".json":
            maps.save(animated, path)
        else:
            api.export(animated, path)

    if kind == ".npy":
        service.session().wait_ready(PATIENCE)
    path, before = tmp_path / f"a{kind}", snapshot()
    path.write_text("what was there")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    held = [0] if kind != ".npy" else [0, process_id()]  # .npy is written by the backend
    small = 64 if kind == ".json" else 4096
    try:
        for pid in held:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (small, hard))
        with pytest.raises((api.Error, results.RigError)) as caught:
            save(path)
    finally:
        for pid in held:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    assert one_sentence(str(caught.value)), str(caught.value)
    assert path.read_text() == "what was there" and [p.name for p in tmp_path.iterdir()] == [path.name]
    assert snapshot() == before
    save(path)
    assert path.stat().st_size > small


@posix
@pytest.mark.parametrize("kind", [".bvh", ".npz", ".fbx", ".glb"])
def test_a_folder_that_may_only_be_read(animated, snapshot, tmp_path, kind):
    folder = Path("/sys") if os.geteuid() == 0 else tmp_path  # root may write wherever there is a disk
    tmp_path.chmod(0o555)
    before = snapshot()
    try:
        with pytest.raises(api.Error, match="Could not write") as caught:
            api.export(animated, folder / f"momug{kind}")
    finally:
        tmp_path.chmod(0o755)
    assert one_sentence(caught.value.message) and snapshot() == before
    assert api.export(animated, tmp_path / f"a{kind}").stat().st_size > 1000


def test_a_log_folder_that_cannot_be_written(real, mannequin, tmp_path):
    (tmp_path / "in the way").write_text("")
    real()
    service.session().log_file = tmp_path / "in the way" / "backend.log"
    assert service.session().wait_ready(PATIENCE), service.session().failure
    written = service.session()._link.process.log_file
    assert written.parent != tmp_path and written.is_file()


LONG_PATH = "/".join([f"shots 'n' \"takes\" 🚶 ستدیو {'x' * 60}"] * 4)


@posix
def test_odd_and_long_paths(real, animated, tmp_path):
    folder = tmp_path / LONG_PATH
    assert len(str(folder)) > 260
    hips = results.require_map(animated).bone("pelvis")
    for kind in KINDS:
        path = api.export(animated, folder / f"a walk 💃{kind}")
        assert path.stat().st_size > 1000
        if kind in (".bvh", ".npz", ".npy"):
            action = api.import_motion(path, animated)
            assert commit.stored_motion(commit.current(animated)).frames > 470 and action.name == "a walk 💃"
            api.reject(animated)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "shot 💃.blend"))
    with pytest.raises(api.Error) as caught:
        api.import_motion(folder / ("x" * 300 + ".bvh"), animated)
    assert "no file" in caught.value.message and one_sentence(caught.value.message)
    for kind in KINDS:
        with pytest.raises(api.Error) as caught:
            api.export(animated, folder / ("x" * 300 + kind))
        assert one_sentence(caught.value.message), caught.value.message
        assert os.strerror(errno.ENAMETOOLONG) in caught.value.message, caught.value.message
    with pytest.raises(results.RigError, match="no file"):
        import_rig.import_rig(tmp_path / ("x" * 300 + ".fbx"))
    assert hips in animated.pose.bones


def test_odd_prompts_become_actions_with_sound_names(real, mannequin, snapshot, tmp_path):
    prompts = ["🚶‍♀️💃🏽 走る" * 8, "شخص يمشي إلى الأمام " * 5, "\u202ea person walks\u202c", "a person\twalks\n",
               'a "person" walks; DROP TABLE \\ %s {0}', "Z\u0351\u036b\u0343a\u0489lgo walks"]  # fmt: skip
    for prompt in prompts:
        action = api.animate(mannequin, prompt, **WALK, steps=1)
        assert 0 < len(action.name.encode("utf-8")) < 64 and "�" not in action.name
        kept = unicodedata.normalize("NFC", prompt).split()
        assert results.recipe(action)["prompt"].split() == kept, prompt
        api.accept(mannequin)
    before = snapshot()
    for prompt in ("a\0b", "a\x1b[2Jb", "\x7f", "\u200b\u200b", "   ", "💃", "a" * 2001, "a \ud800 b"):
        with pytest.raises(api.Error) as caught:
            api.animate(mannequin, prompt, **WALK)
        assert caught.value.code == "bad_prompt" and one_sentence(caught.value.message)
        assert snapshot() == before
    file = tmp_path / "kept.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    names = sorted(action.name for action in bpy.data.actions)
    bpy.ops.wm.open_mainfile(filepath=str(file))
    assert sorted(action.name for action in bpy.data.actions) == names
    assert api.animate(bpy.data.objects["Mannequin"], "a person walks", **WALK)
