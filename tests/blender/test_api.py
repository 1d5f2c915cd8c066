"""The public functions, as a script in Blender calls them, against a backend that obeys and one that does not."""

import shlex
import sys
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

from blender_addon import api, results, runtime, service


def keys_of(action) -> np.ndarray:
    """All key values of an action, in the order of its curves, on any Blender."""
    if hasattr(action, "layers") and len(action.layers):
        bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
        curves = [curve for bag in bags for curve in bag.fcurves]
    else:
        curves = list(action.fcurves)
    curves.sort(key=lambda curve: (curve.data_path, curve.array_index))
    return np.array([[point.co[1] for point in curve.keyframe_points] for curve in curves])


def other_rig(names: list[str]):
    """An armature with a chain of bones of these names."""
    armature = bpy.data.objects.new("Odd", bpy.data.armatures.new("Odd"))
    bpy.context.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    parent = None
    for number, name in enumerate(names):
        bone = armature.data.edit_bones.new(name)
        bone.head, bone.tail, bone.parent = (0, 0, number), (0, 0, number + 1), parent
        parent = bone
    bpy.ops.object.mode_set(mode="OBJECT")
    return armature


def one_sentence(error: api.Error) -> bool:
    """Plain words that end like a sentence: no traceback, no line break, no Python names."""
    text = error.message
    whole = text.lstrip("'")[:1].isupper() and text.endswith(".") and len(text) < 250
    return whole and "\n" not in text and "Error" not in text


def test_animate_makes_an_active_action_with_its_recipe(fake, mannequin, snapshot):
    before = snapshot()
    action = api.animate(mannequin, "  a person\nwalks ", seconds=2.0, seed=5)
    assert mannequin.animation_data.action == action
    if hasattr(mannequin.animation_data, "action_slot"):
        assert mannequin.animation_data.action_slot is not None
    assert action.name == "a person walks"
    first, last = action.frame_range
    # 60 frames at 30 fps last 59/30 s
    assert (first, last) == (1, 1 + round(59 / 30 * bpy.context.scene.render.fps))
    recipe = results.recipe(action)
    assert {key: recipe[key] for key in ("prompt", "seed", "model", "requested_seconds", "seconds", "steps")} == {
        "prompt": "a person walks",
        "seed": 5,
        "model": "momug",
        "requested_seconds": 2.0,
        "seconds": 2.0,
        "steps": None,
    }
    after = snapshot()
    assert after["range"] == before["range"] and after["fps"] == before["fps"]
    assert {"denoise", "request", "apply"} <= set(api.timings())


def test_what_the_model_leaves_out_is_told(fake, mannequin):
    api.animate(mannequin, "a person turns a somersault", seconds=2.0, seed=5)
    assert api.warnings() == ["The motion may not do all that was asked."]
    assert "The motion may not do all that was asked." in runtime.status().message
    api.animate(mannequin, "a person walks", seconds=2.0, seed=5)
    assert api.warnings() == [] and "may not" not in runtime.status().message


def test_the_mannequin_really_moves(fake, mannequin):
    scene = bpy.context.scene
    action = api.animate(mannequin, "a person walks", seconds=2.0, seed=1)
    hips = mannequin.pose.bones[api.bone_map(mannequin)["pelvis"]]
    places = []
    for frame in action.frame_range:
        scene.frame_set(int(frame))
        places.append(mannequin.matrix_world @ hips.head)
    assert (places[1] - places[0]).length > 1.5
    assert abs(places[1].z - places[0].z) < 0.2


def test_same_seed_same_motion(fake, mannequin):
    first, again, other = (keys_of(api.animate(mannequin, "a walk", seconds=1.5, seed=seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert first.shape == other.shape and np.abs(first - other).max() > 1e-3


def test_variations_and_start_frame(fake, mannequin):
    actions = api.animate(mannequin, "a walk", seconds=1.5, seed=3, variations=3, frame_start=40)
    assert [results.recipe(action)["seed"] for action in actions] == [3, 4, 5]
    assert mannequin.animation_data.action == actions[0]
    assert all(action.frame_range[0] == 40 for action in actions)
    assert np.abs(keys_of(actions[0]) - keys_of(actions[2])).max() > 1e-3


def test_the_scene_rate_is_kept_and_the_motion_resampled(fake, mannequin):
    bpy.context.scene.render.fps = 60
    action = api.animate(mannequin, "a walk", seconds=2.0, seed=1)
    assert bpy.context.scene.render.fps == 60
    assert action.frame_range[1] - action.frame_range[0] == round(59 / 30 * 60)


def test_the_former_action_survives(fake, mannequin):
    first = api.animate(mannequin, "a walk", seconds=1.0, seed=1)
    keys = keys_of(first)
    second = api.animate(mannequin, "a run", seconds=1.0, seed=1)
    assert first != second and first.use_fake_user
    np.testing.assert_array_equal(keys_of(first), keys)


def test_progress_is_told(fake, mannequin):
    fake(steps=5, delay=0.05)
    seen = []
    api.animate(mannequin, "a walk", seconds=1.0, progress=lambda *step: seen.append(step))
    assert seen and seen[-1] == ("denoise", 5, 5)
    assert [step for _, step, _ in seen] == sorted(step for _, step, _ in seen)


def test_caption_of_armature_and_of_action(fake, mannequin):
    action = api.animate(mannequin, "a walk", seconds=2.0, seed=1)
    # the fake backend counts the frames that reached it, at 30 fps
    text = api.caption(mannequin)
    assert text.startswith("a person walks forward for ") and abs(int(text.split()[5]) - 60) <= 1
    assert results.caption_of(mannequin) == text
    assert api.caption(action) == text
    other = api.animate(mannequin, "a run", seconds=1.0, seed=1)
    assert api.caption(action, armature=mannequin) == text
    assert mannequin.animation_data.action == other
    assert results.caption_of(mannequin) == ""


def test_caption_of_an_action_that_nobody_uses(fake, mannequin, snapshot):
    before = snapshot()
    loose = bpy.data.actions.new("loose")
    with pytest.raises(api.Error, match="No armature uses the action 'loose'"):
        api.caption(loose)
    bpy.data.actions.remove(loose)
    assert snapshot() == before


def test_bone_map_covers_the_mannequin(mannequin):
    found = api.bone_map(mannequin)
    assert len(found) == 22 and all(found.values())
    assert all(found[joint] in mannequin.data.bones for joint in found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompt": ""}, "empty"),
        ({"prompt": " \n\t "}, "empty"),
        ({"prompt": "walk " * 2000}, "10000 characters"),
        ({"prompt": "walk\0run"}, "control characters"),
        ({"prompt": None}, "not text"),
        ({"seconds": -1.0}, "between 0.1 and 600"),
        ({"seconds": 0.0}, "between 0.1 and 600"),
        ({"seconds": 1e9}, "between 0.1 and 600"),
        ({"seconds": float("nan")}, "finite"),
        ({"seconds": "two"}, "not a number"),
        ({"seed": -4}, "seed"),
        ({"steps": 0}, "steps"),
        ({"variations": 99}, "variations"),
        ({"guidance_scale": float("inf")}, "finite"),
    ],
)
def test_bad_requests(fake, mannequin, snapshot, arguments, words):
    before = snapshot()
    with pytest.raises(api.Error) as caught:
        api.animate(mannequin, **{"prompt": "a walk", "seconds": 1.0, **arguments})
    assert words in caught.value.message and one_sentence(caught.value)
    assert snapshot() == before
    assert api.animate(mannequin, "a walk", seconds=1.0)


def test_limits_of_the_model_are_known_after_the_first_hello(fake, mannequin):
    api.animate(mannequin, "a walk", seconds=1.0)
    for arguments, words in (
        ({"seconds": 60.0}, "MoMug makes motions of 1 to 10 seconds"),
        ({"model": "llamo"}, "The checkpoint of LLaMo is not there."),
        ({"model": "nobody"}, "There is no model 'nobody'"),
    ):
        with pytest.raises(api.Error, match=words):
            api.animate(mannequin, "a walk", **{"seconds": 2.0, **arguments})


def test_a_model_that_was_missing_is_asked_again(fake, mannequin):
    api.animate(mannequin, "a walk", seconds=1.0)
    service._session.capabilities = {"models": [{**service.model_info("momug"), "available": False}]}
    service.remember_capabilities()
    assert api.animate(mannequin, "a walk", seconds=1.0)


def test_no_armature(fake, mannequin, snapshot):
    light = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT"))
    bpy.context.collection.objects.link(light)
    removed = other_rig(["a"])
    bpy.data.objects.remove(removed)
    before = snapshot()
    for wrong in (None, light, removed):
        for call, *rest in ((api.animate, "a walk"), (api.caption,), (api.bone_map,)):
            with pytest.raises(api.Error) as caught:
                call(wrong, *rest)
            assert one_sentence(caught.value)
    assert snapshot() == before


def test_an_armature_that_cannot_be_mapped_names_what_is_missing(fake, mannequin, snapshot):
    odd = other_rig(["wheel", "axle", "door"])
    before = snapshot()
    with pytest.raises(api.Error, match="pelvis") as caught:
        api.animate(odd, "a walk")
    assert caught.value.code == "bad_armature" and one_sentence(caught.value)
    assert snapshot() == before
    assert api.animate(mannequin, "a walk", seconds=1.0)


def test_caption_without_animation(fake, mannequin):
    with pytest.raises(api.Error) as caught:
        api.caption(mannequin)
    assert one_sentence(caught.value)


def test_caption_of_hours_is_refused_before_they_are_read(fake, mannequin, monkeypatch):
    api.animate(mannequin, "a walk", seconds=1.0)
    monkeypatch.setattr(results.capture, "capture", lambda *_: pytest.fail("it was read"))
    with pytest.raises(api.Error, match="10 minutes") as caught:
        api.caption(mannequin, frame_range=(1, 50_000))
    assert one_sentence(caught.value)
    monkeypatch.undo()
    assert api.caption(mannequin, frame_range=(1, 20))


MODES = {
    "garbage_start": "not an answer",
    "garbage_job": "not an answer",
    "huge": "not an answer",
    "die_start": "stopped unexpectedly",
    "die_job": "stopped unexpectedly",
    "no_hello": "did not answer within",
    "hang": "no sign of life",
    "nan": "not finite",
    "shapes": "wrong shape",
    "other_version": "version 99",
    "error": "The checkpoint of MoMug is not there",
}


@pytest.mark.parametrize("mode", MODES)
def test_a_backend_that_misbehaves(fake, mannequin, snapshot, mode, caplog):
    kept = api.animate(mannequin, "a walk", seconds=1.0, seed=1)
    before = snapshot()
    fake(mode, hello_timeout=2.0, heartbeat=0.2, hang_timeout=1.5, restarts=0)
    with pytest.raises(api.Error) as caught:
        api.animate(mannequin, "a walk", seconds=1.0)
    assert MODES[mode] in caught.value.message and one_sentence(caught.value)
    assert runtime.status().failed and runtime.status().message == caught.value.message
    assert caught.value.message in caplog.text
    assert snapshot() == before and mannequin.animation_data.action == kept
    fake()
    assert api.animate(mannequin, "a walk", seconds=1.0)
    assert not runtime.status().failed


def test_side_remarks_of_the_wrong_kind_spoil_no_result(fake, mannequin):
    fake("odd_fields")
    assert api.animate(mannequin, "a walk", seconds=1.0) == mannequin.animation_data.action
    assert not runtime.status().failed and set(api.timings()) == {"request", "apply"}


def test_one_death_is_forgiven(fake, mannequin, tmp_path, monkeypatch):
    monkeypatch.setenv("MOMUG_FAKE_MARK", str(tmp_path / "died"))
    fake("die_once")
    assert api.animate(mannequin, "a walk", seconds=1.0)
    assert (tmp_path / "died").exists()


def test_a_backend_that_is_not_there(addon, mannequin, tmp_path):
    api.configure(python=str(tmp_path / "no python here"))
    with pytest.raises(api.Error, match="does not exist") as caught:
        api.animate(mannequin, "a walk")
    assert "preferences" in caught.value.hint
    api.configure(command=[str(tmp_path / "nothing")])
    with pytest.raises(api.Error, match="could not be started"):
        api.animate(mannequin, "a walk")
    api.configure()


def test_a_failure_half_way_leaves_the_scene_as_it_was(fake, mannequin, snapshot, monkeypatch):
    kept = api.animate(mannequin, "a walk", seconds=1.0, seed=1)
    before = snapshot()
    write, calls = results.keys.make_action, []

    def fail_at_the_second(*arguments, **options):
        calls.append(write(*arguments, **options))
        if len(calls) == 2:
            raise RuntimeError("disk on fire")
        return calls[-1]

    monkeypatch.setattr(results.keys, "make_action", fail_at_the_second)
    with pytest.raises(api.Error, match="could not be put into the scene"):
        api.animate(mannequin, "a run", seconds=1.0, variations=3)
    monkeypatch.undo()
    assert snapshot() == before and mannequin.animation_data.action == kept
    assert api.animate(mannequin, "a walk", seconds=1.0)


def test_one_request_at_a_time(fake, mannequin):
    from blender_addon import ask

    fake(steps=10, delay=0.05)
    task = ask.start_animate(mannequin, "a walk", seconds=1.0)
    with pytest.raises(api.Error, match="still working"):
        api.animate(mannequin, "a run", seconds=1.0)
    assert api.wait() == [mannequin.animation_data.action] == task.result


def test_an_interrupted_wait_cancels(fake, mannequin, snapshot):
    fake(steps=50, delay=0.1)
    before = snapshot()

    def interrupt(*_step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.animate(mannequin, "a walk", seconds=1.0, progress=interrupt)
    assert runtime.active() is None and snapshot() == before
    fake()
    assert api.animate(mannequin, "a walk", seconds=1.0)


def test_shutdown_and_start_again(fake, mannequin):
    api.animate(mannequin, "a walk", seconds=1.0)
    assert service.running()
    api.shutdown()
    assert not service.running()
    api.shutdown()
    assert api.animate(mannequin, "a walk", seconds=1.0)


def test_the_command_of_the_preferences(addon, mannequin, monkeypatch, fake_command):
    chosen = SimpleNamespace(**service.preferences.DEFAULTS)
    chosen.backend_command = shlex.join(fake_command())
    monkeypatch.setattr(service.preferences, "get", lambda: chosen)
    assert api.animate(mannequin, "a walk", seconds=1.0)
    chosen.backend_command = "python 'half"
    with pytest.raises(api.Error, match="cannot be read"):
        api.animate(mannequin, "a walk", seconds=1.0)
    chosen.backend_command, chosen.backend_python = "", sys.executable
    assert service._command()[0][0] == sys.executable
    api.shutdown()
