"""A motion on the rig while it is made: keys come, the frame goes on, and whatever ends it leaves a whole scene."""

import os
import signal
import time

import bpy
import numpy as np
import pytest
from blender.artist import own_keys, state
from blender.scenes import tick_until_done

from blender_addon import api, commit, live, runtime, service
from blender_addon.scene import compat, takes


@pytest.fixture(autouse=True)
def thirty_frames_a_second(addon):
    bpy.context.scene.render.fps = 30
    bpy.context.scene.frame_set(1)


@pytest.fixture
def streaming(fake):
    fake(delay=0.02)
    return fake


def stream(armature, prompt="a person walks", **more):
    return api.stream(armature, prompt, model="momug", **more)


def tick_until(condition, patience=60.0):
    """Call the timer as Blender does in a window, until something is so."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        runtime._tick()
        time.sleep(0.005)


def begin(armature, **more):
    """What the button does."""
    return live.start(armature, "a person walks", model="momug", play=True, undo_step=True, **more)


def heads(armature) -> dict:
    bpy.context.view_layer.update()
    return {bone.name: np.array(armature.matrix_world @ bone.head) for bone in armature.pose.bones}


def apart(one: dict, other: dict) -> float:
    """Metres between the same joints, the largest."""
    return max(float(np.linalg.norm(one[name] - other[name])) for name in one)


# --- scripts


def test_a_loop_sees_every_frame_once_and_ends_with_a_take(streaming, mannequin):
    seen = []
    with stream(mannequin, seconds=4, seed=5) as made:
        for first, last in made:
            seen += range(first, last + 1)
            found = commit.pending(mannequin)
            assert mannequin.animation_data.action == found.action
            for curve in compat.fcurves(found.action, mannequin)[:3]:
                assert curve.keyframe_points[-1].co[0] == last
    assert seen == list(range(1, 121))
    action = made.action
    assert action == mannequin.animation_data.action and len(bpy.data.actions) == 1
    take = takes.read(action)[0]
    assert (take.state, take.first, take.last) == (takes.PENDING, 1, 120)
    assert take.recipe["prompt"] == "a person walks" and take.recipe["seed"] == 5
    assert takes.motion(action, take.id).frames == 120
    api.accept(mannequin)


def test_a_new_prompt_in_the_loop(streaming, mannequin):
    made = stream(mannequin, ahead=1.1)
    for _, last in made:
        if last > 40 and made.prompt == "a person walks":
            made.steer("a person runs")
        if last > 200:
            action = made.stop()
    recipe = takes.read(action)[0].recipe
    heard = [(part["prompt"], part["first"]) for part in recipe["streamed"]]
    assert [prompt for prompt, _ in heard] == ["a person walks", "a person runs"] and 40 < heard[1][1] < 150
    assert recipe["prompt"] == "a person walks, then a person runs"
    path = takes.motion(action, takes.read(action)[0].id).translation[:, 2]
    speed = np.diff(path) * 30
    assert speed[: heard[1][1] - 2].max() < 1.5 < 2.5 < speed[heard[1][1] + 2 :].min(), "it did not run"


def test_the_model_waits_while_the_script_does_something_else(streaming, mannequin):
    streaming(delay=0.001)
    with stream(mannequin, ahead=1.1) as made:
        next(made)
        job = made._task.job
        time.sleep(1.0)
        assert job.incoming.received <= 34
        next(made)
        time.sleep(0.3)
        assert job.incoming.received > 34
    assert made.action is None and not bpy.data.actions


def test_stop_keeps_what_the_loop_has_seen(streaming, mannequin):
    made = stream(mannequin, frame_start=11)
    last = 0
    for _, last in made:
        if last >= 60:
            break
    action = made.stop()
    take = takes.read(action)[0]
    assert (take.first, take.last) == (11, last)
    made = stream(mannequin)
    assert made.stop() is None, "nothing was seen of this one"
    assert mannequin.animation_data.action == action


def test_cancel_and_reject_bring_everything_back(streaming, mannequin):
    own_keys(mannequin)
    before = state(mannequin)
    made = stream(mannequin)
    next(made)
    assert state(mannequin) != before
    made.cancel()
    assert state(mannequin) == before
    with stream(mannequin) as made:
        next(made)
    assert state(mannequin) == before
    made = stream(mannequin)
    next(made), next(made)
    assert made.stop() is not None
    api.reject(mannequin)
    assert state(mannequin) == before


@pytest.mark.parametrize("destination", ["NLA", "SPLICE"])
def test_other_destinations_go_on_from_what_is_there(streaming, mannequin, destination):
    own_keys(mannequin)
    before = state(mannequin)
    bpy.context.scene.frame_set(30)
    stood = heads(mannequin)["pelvis"]
    made = stream(mannequin, frame_start=30, destination=destination)
    for _, last in made:
        bpy.context.scene.frame_set(30)
        assert np.linalg.norm((heads(mannequin)["pelvis"] - stood)[:2]) < 0.05, "it does not begin where the figure is"
        if last > 50:
            break
    made.stop()
    take = commit.pending(mannequin).take
    assert take.options.destination == destination and take.first == 30
    api.reject(mannequin)
    bpy.context.scene.frame_set(20)
    assert state(mannequin) == before


@pytest.mark.parametrize("fps", [24, 25, 60])
def test_the_frame_rate_of_the_scene(streaming, mannequin, fps):
    bpy.context.scene.render.fps = fps
    made = stream(mannequin, seconds=3)
    seen = [frame for first, last in made for frame in range(first, last + 1)]
    assert seen == list(range(1, len(seen) + 1)) and abs(len(seen) - 3 * fps) <= 2
    take = takes.read(made.action)[0]
    assert abs(take.last - seen[-1]) <= 1
    known = api.animate(mannequin, "a person walks", seconds=3, seed=7, model="momug")
    bpy.context.scene.frame_set(40)
    shown = heads(mannequin)
    compat.assign(mannequin, made.action)
    bpy.context.scene.frame_set(40)
    assert known != made.action and apart(shown, heads(mannequin)) < 0.02


def test_a_backend_that_dies_in_mid_stream_leaves_what_came(streaming, mannequin):
    streaming("stream_dies")
    last = 0
    with pytest.raises(api.Error) as caught:
        for first, end in (made := stream(mannequin)):
            last = max(last, end) if first == last + 1 else -1
    assert caught.value.code == "died" and "64 frames that had come are on Mannequin" in caught.value.message
    assert last == 64 and takes.read(made.action)[0].last == 64
    before = len(bpy.data.actions)
    api.reject(mannequin)
    assert len(bpy.data.actions) == before - 1 and mannequin.animation_data is None


def test_what_a_script_may_ask(streaming, mannequin, monkeypatch):
    for asked in ({"ahead": 0.1}, {"ahead": "x"}, {"seconds": 1000.0}, {"seed": -1}, {"prompt": ""}, {"nonsense": 1}):
        with pytest.raises(api.Error):
            api.stream(mannequin, **{"prompt": "walk", "model": "momug", **asked})
    made = stream(mannequin)
    with pytest.raises(api.Error, match="still working"):
        stream(mannequin)
    made.cancel()
    monkeypatch.setattr(service, "model_info", lambda name: {"name": name, "label": "MoMug"})
    with pytest.raises(api.Error, match="MoMug cannot show a motion while it is made"):
        stream(mannequin)


# --- the button


def test_the_frame_goes_on_by_itself_and_never_back(streaming, mannequin):
    streaming(delay=0.05)
    playing = begin(mannequin)
    scene, frames = bpy.context.scene, []

    def look():
        frames.append(scene.frame_current)
        assert scene.frame_current - 1 < max(playing.laid, 1)
        return scene.frame_current > 60

    started = time.monotonic()
    tick_until(look)
    assert frames == sorted(frames) and playing.buffered <= 3.1 and playing.first_keys > 0
    assert playing.state in (live.PLAYING, live.WAITING)  # a busy machine may make less than plays
    assert time.monotonic() - started > 1.9, "it plays faster than it is"
    playing.stop()
    tick_until_done()
    found = commit.pending(mannequin)
    assert found.take.last == scene.frame_current >= 61 and runtime.status().message.startswith(
        "'a person walks' is on"
    )


def test_a_new_prompt_holds_from_what_has_keys_on(streaming, mannequin):
    """Three seconds are made ahead; those without keys are made anew, and the ones with keys stay."""
    playing = begin(mannequin)
    tick_until(lambda: playing.head > 20 and playing.buffered > 2.2)
    laid, head = playing.laid, playing.head
    playing.steer("a person runs")
    frames = []
    tick_until(lambda: frames.append(bpy.context.scene.frame_current) or playing.prompt == "a person runs")
    heard = playing.arrived.prompts[1]["first"]
    assert frames == sorted(frames) and laid <= heard <= laid + 8 < head + 45 and playing.empties == 0
    tick_until(lambda: playing.head > heard + 20)
    playing.steer("a person walks")
    playing.steer("a person runs")  # before the first of them was heard
    tick_until(lambda: playing.head > heard + 90)
    playing.stop()
    tick_until_done()
    take = takes.read(commit.pending(mannequin).action)[0]
    streamed = [(part["prompt"], part["first"]) for part in take.recipe["streamed"]]
    assert streamed[:2] == [("a person walks", 0), ("a person runs", heard)]
    path = takes.motion(commit.pending(mannequin).action, take.id).translation[:, 2]
    speed = np.diff(path) * 30
    assert speed[: heard - 2].max() < 1.5 < 2.5 < speed[heard + 2 : heard + 15].min()
    assert speed.min() > 0.5 and speed.max() < 5, "the motion jumps where it was made anew"


def test_an_empty_buffer_is_waited_for_and_said(streaming, mannequin):
    streaming(delay=0.6)  # 13 frames a second
    playing = begin(mannequin)
    tick_until(lambda: playing.state == live.WAITING)
    assert "Waiting for the model" in playing.words()
    held = bpy.context.scene.frame_current
    tick_until(lambda: playing.state == live.PLAYING)
    tick_until(lambda: bpy.context.scene.frame_current > held)
    assert playing.empties >= 1
    runtime.cancel()
    tick_until_done()


def test_stopping_makes_no_visible_jump(streaming, mannequin):
    own_keys(mannequin)
    playing = begin(mannequin)
    tick_until(lambda: playing.head > 50)
    shown = heads(mannequin)
    frame = bpy.context.scene.frame_current
    playing.stop()
    tick_until_done()
    assert bpy.context.scene.frame_current == frame
    jump = apart(shown, heads(mannequin))
    assert jump < 1e-4, f"the figure jumps by {1000 * jump:.2f} mm"


def test_the_end_of_the_motion_is_played_to(streaming, mannequin):
    bpy.context.scene.frame_end = 30
    playing = begin(mannequin, seconds=2.0)
    tick_until_done()
    assert playing.head == 59 and bpy.context.scene.frame_current == 60 and bpy.context.scene.frame_end == 60
    assert "the timeline now ends at frame 60" in runtime.status().message
    assert commit.pending(mannequin).take.last == 60


def test_cancel_leaves_the_scene_as_it_was(streaming, mannequin, snapshot):
    own_keys(mannequin)
    before, facts = state(mannequin), snapshot()
    playing = begin(mannequin)
    tick_until(lambda: playing.head > 10)
    bpy.ops.momug.cancel()
    tick_until_done()
    assert state(mannequin) == before and snapshot() == facts


def test_stop_before_the_first_frame(streaming, mannequin, snapshot):
    streaming(delay=1.0)
    facts = snapshot()
    playing = begin(mannequin)
    tick_until(lambda: playing.task.job.sent)
    playing.stop()
    tick_until_done()
    assert "before the first frame" in runtime.status().message and snapshot() == facts


def test_one_undo_step_for_all_of_it(streaming, mannequin):
    bpy.ops.ed.undo_push(message="before")
    playing = begin(mannequin)
    tick_until(lambda: playing.head > 20)
    playing.stop()
    tick_until_done()
    assert len(bpy.data.actions) == 1
    bpy.ops.ed.undo()
    assert not bpy.data.actions and bpy.data.objects["Mannequin"].animation_data is None


def test_undo_in_mid_stream(streaming, mannequin):
    bpy.ops.object.empty_add()
    bpy.context.view_layer.objects.active = mannequin
    bpy.ops.ed.undo_push(message="an empty")
    bpy.ops.object.empty_add()
    bpy.ops.ed.undo_push(message="another")
    playing = begin(mannequin)
    tick_until(lambda: playing.head > 20)
    bpy.ops.ed.undo()
    assert not bpy.data.actions
    tick_until(lambda: playing.head > 40)
    armature = bpy.data.objects["Mannequin"]
    found = commit.pending(armature)
    assert compat.fcurves(found.action, armature)[0].keyframe_points[0].co[0] == 1, "the frames before it are missing"
    playing.stop()
    tick_until_done()
    assert commit.pending(armature).take.last >= 41 and len(bpy.data.actions) == 1


def test_the_armature_is_deleted_in_mid_stream(streaming, mannequin):
    playing = begin(mannequin)
    tick_until(lambda: playing.head > 5)
    bpy.data.objects.remove(mannequin)
    tick_until_done()
    assert "is gone" in runtime.status().message


def test_another_file_in_mid_stream(streaming, mannequin):
    playing = begin(mannequin)
    tick_until(lambda: playing.head > 5)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    assert runtime.active() is None and not bpy.data.actions
    assert "Another file" in runtime.status().message


def test_nothing_is_touched_in_edit_mode(streaming, mannequin):
    playing = begin(mannequin)
    tick_until(lambda: playing.head > 5)
    bpy.ops.object.mode_set(mode="EDIT")
    tick_until(lambda: playing.task.waits_for)
    held, laid = playing.head, playing.laid
    for _ in range(40):
        runtime._tick()
        time.sleep(0.01)
    assert (playing.head, playing.laid) == (held, laid)
    bpy.ops.object.mode_set(mode="OBJECT")
    tick_until(lambda: playing.head > held + 5)
    runtime.cancel()
    tick_until_done()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="ends a process as only POSIX can")
def test_a_killed_backend_leaves_a_take_to_decide_on(streaming, mannequin):
    own_keys(mannequin)
    before = state(mannequin)
    playing = begin(mannequin)
    tick_until(lambda: playing.head > 30)
    frame = bpy.context.scene.frame_current
    os.kill(service.current()._link.process.pid, signal.SIGKILL)
    tick_until_done()
    status = runtime.status()
    assert status.failed and "frames that had come are on Mannequin" in status.message
    assert commit.pending(mannequin).take.last >= bpy.context.scene.frame_current >= frame
    bpy.ops.momug.reject()
    bpy.context.scene.frame_set(20)
    assert state(mannequin) == before


def test_the_backend_is_unloaded_in_mid_stream(streaming, mannequin):
    playing = begin(mannequin)
    tick_until(lambda: playing.head > 10)
    runtime.shutdown()
    assert "frames that had come are on Mannequin" in runtime.status().message
    assert commit.pending(mannequin).take.last > 10 and runtime.active() is None
