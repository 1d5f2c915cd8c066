"""The buttons: they start, the timer finishes; the artist may do anything meanwhile."""

import bpy
import pytest
from blender.scenes import tick_until_done

from blender_addon import api, captions, results, runtime


@pytest.fixture
def settings(mannequin):
    chosen = bpy.context.scene.momug
    chosen.prompt, chosen.seconds = "a person walks", 1.5
    return chosen


def wait_for_answer(task):
    """Until the backend has answered, but nothing was applied yet."""
    assert task.job.wait(30)


def why_refused(operator) -> str:
    """The words with which Blender refuses to run a button."""
    with pytest.raises(RuntimeError) as caught:
        operator()
    return str(caught.value)


def test_generate_starts_and_the_timer_finishes(fake, settings, mannequin):
    assert bpy.ops.momug.generate() == {"FINISHED"}
    assert runtime.active() is not None and not bpy.data.actions
    assert bpy.app.timers.is_registered(runtime._tick)
    tick_until_done()
    action = mannequin.animation_data.action
    assert action.name == "a person walks" and not runtime.status().failed
    assert "Mannequin" in runtime.status().message
    assert results.recipe(action)["seed"] == settings.seed


def test_a_new_seed_each_time_unless_locked(fake, settings, mannequin):
    seeds = []
    for locked in (False, False, True):
        settings.lock_seed = locked
        bpy.ops.momug.generate()
        api.wait()
        seeds.append(results.recipe(mannequin.animation_data.action)["seed"])
    assert seeds[0] != seeds[1] == seeds[2]


def test_one_undo_step(fake, settings, mannequin):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.momug.generate()
    tick_until_done()
    assert len(bpy.data.actions) == 1
    bpy.ops.ed.undo()
    assert not bpy.data.actions and bpy.data.objects["Mannequin"].animation_data is None
    bpy.ops.ed.redo()
    assert bpy.data.objects["Mannequin"].animation_data.action == bpy.data.actions[0]


def test_the_target_is_found_again_after_undo_and_renaming(fake, settings, mannequin):
    settings.armature = mannequin
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.object.empty_add()
    bpy.ops.ed.undo_push(message="an empty")
    fake(steps=3, delay=0.1)
    bpy.ops.momug.generate()
    bpy.ops.ed.undo()
    bpy.data.objects["Mannequin"].name = "Renamed"
    tick_until_done()
    assert bpy.data.objects["Renamed"].animation_data.action is not None


def test_the_target_was_deleted(fake, settings, mannequin, snapshot):
    fake(steps=3, delay=0.1)
    bpy.ops.momug.generate()
    bpy.data.objects.remove(mannequin)
    before = snapshot()
    tick_until_done()
    assert "is gone" in runtime.status().message and snapshot() == before


def test_the_target_left_the_scene_but_is_kept_by_the_picker(fake, settings, mannequin):
    settings.armature = mannequin
    fake(steps=3, delay=0.1)
    bpy.ops.momug.generate()
    bpy.ops.object.select_all(action="DESELECT")
    mannequin.select_set(True)
    bpy.ops.object.delete()
    tick_until_done()
    assert "is gone" in runtime.status().message and not bpy.data.actions


def test_another_armature_of_the_same_name_is_not_the_target(fake, settings, mannequin):
    from blender_addon.scene import mannequin as figure

    fake(steps=3, delay=0.1)
    bpy.ops.momug.generate()
    bpy.data.objects.remove(mannequin)
    other = figure.add()
    other.name = "Mannequin"
    tick_until_done()
    if hasattr(other, "session_uid"):
        assert "is gone" in runtime.status().message and not bpy.data.actions


def test_another_file_was_opened(fake, settings, mannequin):
    fake(steps=3, delay=0.1)
    bpy.ops.momug.generate()
    task = runtime.active()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert runtime.active() is None and "Another file" in runtime.status().message
    wait_for_answer(task)
    tick_until_done()
    assert not bpy.data.actions


def test_cancel(fake, settings, mannequin, snapshot):
    fake(steps=200, delay=0.05)
    before = snapshot()
    bpy.ops.momug.generate()
    assert bpy.ops.momug.cancel() == {"FINISHED"}
    assert runtime.active().phase_text == "Stopping"
    tick_until_done()
    assert runtime.status().message == "Cancelled." and not runtime.status().failed
    assert snapshot() == before
    fake()
    bpy.ops.momug.generate()
    tick_until_done()
    assert mannequin.animation_data.action


def test_cancel_after_the_answer_but_before_it_is_applied(fake, settings, mannequin, snapshot):
    before = snapshot()
    bpy.ops.momug.generate()
    wait_for_answer(runtime.active())
    bpy.ops.momug.cancel()
    tick_until_done()
    assert runtime.status().message == "Cancelled." and snapshot() == before


def test_a_result_waits_until_edit_mode_is_left(fake, settings, mannequin):
    bpy.ops.momug.generate()
    bpy.ops.object.mode_set(mode="EDIT")
    wait_for_answer(runtime.active())
    assert runtime._tick() is not None
    assert "Object or Pose Mode" in runtime.active().phase_text and not bpy.data.actions
    bpy.ops.object.mode_set(mode="OBJECT")
    tick_until_done()
    assert mannequin.animation_data.action


def test_the_timeline_grows_only_when_the_motion_is_longer(fake, settings, mannequin):
    scene = bpy.context.scene
    for end, seconds, expected in ((250, 2.0, 250), (20, 2.0, None)):
        scene.frame_end, settings.seconds = end, seconds
        bpy.ops.momug.generate()
        tick_until_done()
        last = int(mannequin.animation_data.action.frame_range[1])
        assert scene.frame_end == (expected or last)
    assert f"frame {last}" in runtime.status().message


def test_options_reach_the_model(fake, settings, mannequin):
    settings.auto_seconds, settings.variations = True, 2
    settings.preset, settings.steps = "CUSTOM", 17
    settings.use_guidance, settings.guidance_scale = True, 3.5
    bpy.ops.momug.generate()
    fields = runtime.active().job.fields
    assert (fields["seconds"], fields["steps"], fields["guidance_scale"]) == (None, 17, 3.5)
    assert (fields["variations"], fields["preset"]) == (2, None)
    assert len(api.wait()) == 2
    settings.preset = "fast"  # known since the backend said hello
    bpy.ops.momug.generate()
    assert runtime.active().job.fields["preset"] == "fast" and runtime.active().job.fields["steps"] is None
    api.wait()


def test_a_failure_is_told_and_the_next_request_works(fake, settings, mannequin, snapshot):
    before = snapshot()
    fake("error")
    bpy.ops.momug.generate()
    tick_until_done()
    assert runtime.status().failed and runtime.status().hint == "Install it again."
    assert snapshot() == before
    fake()
    bpy.ops.momug.generate()
    tick_until_done()
    assert not runtime.status().failed and mannequin.animation_data.action


def test_a_prompt_that_is_too_long(fake, settings, mannequin, snapshot):
    before = snapshot()
    settings.prompt = "walk " * 2000
    assert "10000 characters" in why_refused(bpy.ops.momug.generate)
    assert "10000 characters" in runtime.status().message and snapshot() == before


def test_buttons_say_what_is_missing(fake, settings, mannequin):
    settings.prompt = "  "
    assert "Type a prompt first" in why_refused(bpy.ops.momug.generate)
    assert "no action" in why_refused(bpy.ops.momug.caption)
    assert "no caption" in why_refused(bpy.ops.momug.caption_to_prompt)
    assert "Nothing is running" in why_refused(bpy.ops.momug.cancel)
    assert "not made by MoMug" in why_refused(bpy.ops.momug.use_settings_of_action)
    assert "not loaded" in why_refused(bpy.ops.momug.unload_backend)
    settings.prompt = "a walk"
    bpy.context.view_layer.objects.active = None
    assert "armature" in why_refused(bpy.ops.momug.generate)
    bpy.context.view_layer.objects.active = mannequin
    fake(steps=5, delay=0.1)
    bpy.ops.momug.generate()
    assert "still working" in why_refused(bpy.ops.momug.generate)
    api.wait()


def test_caption_is_kept_with_the_action_and_becomes_a_prompt(fake, settings, mannequin):
    bpy.ops.momug.generate()
    api.wait()
    assert bpy.ops.momug.caption() == {"FINISHED"}
    while captions._tick() is not None:
        tick_until_done()
    text = results.caption_of(mannequin)
    assert text.startswith("a person walks forward")
    assert bpy.ops.momug.caption_to_prompt() == {"FINISHED"}
    assert settings.prompt == text


def test_settings_come_back_from_the_action(fake, settings, mannequin):
    settings.preset, settings.steps = "CUSTOM", 6
    bpy.ops.momug.generate()
    api.wait()
    seed = settings.seed
    settings.prompt, settings.seconds, settings.seed, settings.steps = "other", 9.0, 0, 50
    assert bpy.ops.momug.use_settings_of_action() == {"FINISHED"}
    assert (settings.prompt, settings.seconds, settings.seed, settings.steps) == ("a person walks", 1.5, seed, 6)
    assert settings.lock_seed and not settings.auto_seconds


def test_add_mannequin_and_unload(addon, fake):
    assert bpy.ops.momug.add_mannequin() == {"FINISHED"}
    armature = bpy.context.scene.momug.armature
    assert armature.type == "ARMATURE" and any(child.type == "MESH" for child in armature.children)
    api.animate(armature, "a walk", seconds=1.0)
    assert bpy.ops.momug.unload_backend() == {"FINISHED"}
    assert not runtime.service.running()


def test_the_timer_survives_what_it_calls(fake, settings, mannequin, monkeypatch, caplog):
    fake(steps=50, delay=0.1)
    bpy.ops.momug.generate()

    def broken(patient=False):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(runtime, "pump", broken)
    assert runtime._tick() is None
    assert "boom" in caplog.text and runtime.status().failed and runtime.active() is None
    monkeypatch.undo()
    fake()
    bpy.ops.momug.generate()
    tick_until_done()
    assert mannequin.animation_data.action


def test_open_log_tells_the_folder(addon):
    assert bpy.ops.momug.open_log() == {"FINISHED"}
