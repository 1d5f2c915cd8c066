"""Poses, paths, bones that stay, ranges and timelines: what is given is met on the rig, what is not asked for stays."""

import bpy
import numpy as np
import pytest
from blender.artist import bend
from blender.scenes import bone_matrices, key_values, poses_apart, world_heads

from blender_addon import api, commit, conditions, results
from blender_addon.retarget import given as giving
from blender_addon.scene import capture, paths, takes
from blender_addon.scene import poses as rig_poses


@pytest.fixture(autouse=True)
def at_30(addon):
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 30, 1.0


def key_pose(armature, frame: int) -> None:
    for bone in armature.pose.bones:
        name = "rotation_quaternion" if bone.rotation_mode == "QUATERNION" else "rotation_euler"
        bone.keyframe_insert(name, frame=frame)
        bone.keyframe_insert("location", frame=frame)


@pytest.fixture
def keyed(mannequin):
    """The mannequin with four poses keyed by hand."""
    for frame, seed in ((1, 1), (20, 3), (45, 5), (80, 7)):
        bend(mannequin, seed)
        key_pose(mannequin, frame)
    bpy.context.scene.frame_set(1)
    return mannequin


# --- poses


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_the_present_pose_is_met_exactly(fake, mannequin, fps):
    bpy.context.scene.render.fps = fps
    bend(mannequin, 1)
    wanted = bone_matrices(mannequin)
    action = api.animate(mannequin, "a walk", poses={11: "current"}, frame_range=(1, 2 * fps), seed=4)
    assert tuple(action.frame_range) == (1, 2 * fps)
    bpy.context.scene.frame_set(11)
    assert poses_apart(wanted, bone_matrices(mannequin)) < (1e-4, 0.02)
    take = takes.read(action)[0]
    assert take.placed and [frame for frame, _ in take.pins] == [10]


def test_what_is_given_needs_no_prompt(fake, keyed):
    """Poses alone, a path alone, bones alone, and what stands around a range or between keys."""
    wanted = key_values(keyed)
    made = api.animate(keyed, poses={1: "keys", 45: "keys"}, seed=1)
    recipe = results.recipe(made)
    assert recipe["prompt"] == "" and results.has_recipe(made) and made.name.startswith("Motion")
    assert len(commit.current(keyed).take.pins) == 2
    again = api.again(keyed)[0]  # the same wish, with another seed
    assert results.recipe(again)["seed"] != 1 and len(commit.current(keyed).take.pins) == 2
    for _ in range(2):
        api.reject(keyed)
    assert key_values(keyed) == wanted
    points = [(0.0, 0.0), (0.0, -2.0)]
    for more in ({"path": points}, {"keep_bones": ["head"], "destination": "SPLICE", "frame_range": (1, 40)}):
        assert api.animate(keyed, seed=2, **more)
        api.reject(keyed)
    for make in (lambda: api.regenerate(keyed, (20, 45), seed=3), lambda: api.in_between(keyed, seed=3)):
        assert make() == keyed.animation_data.action and key_values(keyed) != wanted
        api.reject(keyed)
    assert key_values(keyed) == wanted
    with pytest.raises(api.Error, match="prompt is empty"):
        api.animate(keyed, "  ", seconds=2)
    with pytest.raises(api.Error, match="prompt is empty"):
        api.animate(keyed, timeline=[("", 2.0)], poses={1: "keys"}, frame_range=(1, 60))


def test_the_panel_asks_for_no_prompt_where_poses_say_enough(fake, keyed):
    from blender_addon import properties
    from blender_addon.operators import generate
    from blender_addon.panels import poses as panel

    settings = properties.get(bpy.context.scene)
    settings.armature, settings.prompt = keyed, "  "
    assert generate.MOMUG_OT_generate.why_not(bpy.context) == "Type a prompt first"
    for operator in (generate.MOMUG_OT_in_between, generate.MOMUG_OT_regenerate):
        settings.range_start, settings.range_end = 20, 45
        assert operator.why_not(bpy.context) == ""
    assert bpy.ops.momug.add_key_poses() == {"FINISHED"}
    assert generate.MOMUG_OT_generate.why_not(bpy.context) == ""
    assert panel.told(bpy.context, settings).endswith("without a prompt this alone decides.")
    settings.prompt = "a person walks"
    assert "without a prompt" not in panel.told(bpy.context, settings)


def test_two_poses_at_one_time_are_refused_with_both_times(fake, mannequin):
    bpy.context.scene.render.fps = 60
    for given, words in (
        ({12: "current", 13: "current"}, r"frames 12 and 13 are at the same time for the model \(0.20 s\)"),
        ({12.2: "current", 12.7: "current"}, "Two poses are given for frame 12"),
    ):
        with pytest.raises(api.Error, match=words) as caught:
            api.animate(mannequin, "a walk", poses=given, frame_range=(1, 120))
        assert caught.value.hint and not bpy.data.actions
    for frame in (0, 121):
        with pytest.raises(api.Error, match=f"pose at frame {frame} lies outside the frames 1 to 120"):
            api.animate(mannequin, "a walk", poses={frame: "current"}, frame_range=(1, 120))
    action = api.animate(mannequin, "a walk", poses={12: "current", 14: "current"}, frame_range=(1, 120))
    assert [frame for frame, _ in takes.read(action)[0].pins] == [11, 13]


def test_a_pose_is_met_in_other_rotation_modes_and_after_changes(fake, mannequin):
    modes = ("QUATERNION", "XYZ", "ZYX", "AXIS_ANGLE")
    for index, bone in enumerate(mannequin.pose.bones):
        bone.rotation_mode = modes[index % 4]
    chance = np.random.default_rng(3)
    for bone in mannequin.pose.bones:
        bone.matrix_basis = bone.matrix_basis @ _turn(chance)
    bpy.context.view_layer.update()
    wanted = bone_matrices(mannequin)
    api.animate(mannequin, "a walk", seconds=2.0, frame_start=1, poses={1: "current", 30: "current"})
    for change in ({}, {"foot_lock": False}, {"reduce": True}, {"clear_hands": False}):
        if change:
            api.change(mannequin, **change)
        for frame in (1, 30):
            bpy.context.scene.frame_set(frame)
            assert poses_apart(wanted, bone_matrices(mannequin)) < (1e-4, 0.02), (frame, change)


def _turn(chance):
    from mathutils import Euler

    return Euler(chance.uniform(-0.5, 0.5, 3)).to_matrix().to_4x4()


def test_poses_of_other_frames_of_actions_and_of_keys(fake, keyed):
    library = keyed.animation_data.action.copy()
    library.name = "a pose"
    wanted = {}
    for frame in (20, 45, 1):
        bpy.context.scene.frame_set(frame)
        wanted[frame] = bone_matrices(keyed)
    api.animate(keyed, "a walk", frame_start=1, poses={1: 45, 20: "keys", 60: library})
    for frame, source in ((1, 45), (20, 20), (60, 1)):
        bpy.context.scene.frame_set(frame)
        assert poses_apart(wanted[source], bone_matrices(keyed)) < (1e-4, 0.02)
    assert keyed.animation_data.action.frame_range[1] == 60  # the last pose is the end


def test_an_unkeyed_pose_survives_looking_at_other_frames(fake, keyed):
    bone = keyed.pose.bones[3]
    bone.rotation_quaternion = (0.6, 0.8, 0.0, 0.0)
    rig_poses.shown(keyed, (20, 45))
    assert tuple(bone.rotation_quaternion) == pytest.approx((0.6, 0.8, 0.0, 0.0))
    assert bpy.context.scene.frame_current == 1


# --- in-between


def test_in_between_keeps_the_keys_bit_for_bit(fake, keyed):
    before = key_values(keyed)
    shown = {}
    for frame in (1, 20, 45, 80):
        bpy.context.scene.frame_set(frame)
        shown[frame] = bone_matrices(keyed)
    action = api.in_between(keyed, [1, 20, 80], "a walk", seed=2)
    after = key_values(keyed)
    for curve, keys in before.items():
        for frame in (1, 20, 80):
            assert after[curve][frame] == keys[frame]
    turned = [curve for curve in before if "rotation" in curve[0]]
    assert all(after[curve][45] != before[curve][45] for curve in turned)
    for frame in (1, 20, 80):
        bpy.context.scene.frame_set(frame)
        assert poses_apart(shown[frame], bone_matrices(keyed)) < (1e-5, 0.005)
    assert all(len(after[curve]) == 80 for curve in turned) and keyed.animation_data.action == action
    api.reject(keyed)
    assert key_values(keyed) == before


def test_in_between_of_all_keys_and_what_is_missing(fake, keyed):
    action = api.in_between(keyed, None, "a walk")
    assert takes.read(action)[-1].first == 1 and takes.read(action)[-1].last == 80
    api.reject(keyed)
    with pytest.raises(api.Error, match="two frames"):
        api.in_between(keyed, [20], "a walk")
    with pytest.raises(api.Error, match="10 are possible"):
        api.in_between(keyed, [1, 600], "a walk")


def test_two_keys_that_are_near(fake, keyed):
    """Shorter than the model's shortest motion: it makes more, and only these frames are taken."""
    action = api.in_between(keyed, [1, 20], "a walk")
    take = takes.read(action)[-1]
    assert (take.first, take.last) == (1, 20)


# --- a range


def test_a_range_is_kept_and_the_rest_made(fake, keyed):
    """Within the action, and on beyond its end; sparse keys of the range stay alone."""
    before = key_values(keyed)
    frames = range(20, 46)
    shown = {}
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        shown[frame] = bone_matrices(keyed)
    api.regenerate(keyed, (1, 100), "a walk", keep_range=(20, 45), seed=3)
    after = key_values(keyed)
    for curve, keys in before.items():
        assert [frame for frame in after[curve] if 20 <= frame <= 45] == [20, 45]
        assert after[curve][20] == keys[20] and after[curve][45] == keys[45]
    assert any(after[curve][80] != keys[80] for curve, keys in before.items())
    assert max(max(keys) for keys in after.values()) == 100
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        assert poses_apart(shown[frame], bone_matrices(keyed)) < (1e-5, 0.005)
    api.reject(keyed)
    assert key_values(keyed) == before
    with pytest.raises(api.Error, match="Nothing is left"):
        api.regenerate(keyed, (20, 45), "a walk", keep_range=(1, 80))
    with pytest.raises(api.Error, match="lie outside"):
        api.regenerate(keyed, (20, 45), "a walk", keep_range=(50, 80))


def test_regenerate_changes_the_range_only(fake, keyed):
    before = key_values(keyed)
    frames = range(1, 81)
    paths_before = world_heads(keyed, frames)
    ends = {}
    for frame in (30, 60):
        bpy.context.scene.frame_set(frame)
        ends[frame] = bone_matrices(keyed)
    api.regenerate(keyed, (30, 60), "a walk", seed=3)
    after = key_values(keyed)
    for curve, keys in before.items():
        assert all(after[curve][frame] == keys[frame] for frame in keys if not 30 <= frame <= 60)
    for frame in (30, 60):
        bpy.context.scene.frame_set(frame)
        assert poses_apart(ends[frame], bone_matrices(keyed)) < (1e-4, 0.02)
    paths_after = world_heads(keyed, frames)
    head = results.require_map(keyed).bone("head")
    moved = np.linalg.norm(paths_after[head] - paths_before[head], axis=-1)
    assert moved[36:54].max() > 0.01
    given = giving.Given.unpack(takes.read(keyed.animation_data.action)[-1].given.split(";", 2)[2])
    assert given.frames == 61 and given.joints.all(1).sum() == 32  # half a second before and after, ends included


def test_chosen_bones_stay(fake, keyed):
    keep = [results.require_map(keyed).bone(f"left_{part}") for part in ("shoulder", "elbow", "wrist")]
    before = key_values(keyed)
    api.regenerate(keyed, (30, 60), "a walk", keep_bones=keep)
    after = key_values(keyed)
    for curve in [curve for curve in before if "rotation" in curve[0]]:
        assert (after[curve] == before[curve]) == any(f'"{name}"' in curve[0] for name in keep)
    given = giving.Given.unpack(takes.read(keyed.animation_data.action)[-1].given.split(";", 2)[2])
    assert given.joints[25, [16, 18, 20]].all() and given.joints[25].sum() == 3
    with pytest.raises(api.Error, match="need the action they are in"):
        api.animate(keyed, "a walk", seconds=2.0, keep_bones=keep)
    with pytest.raises(api.Error, match="no bone called"):
        api.regenerate(keyed, (30, 60), "a walk", keep_bones=["nobody"])


# --- a path


def test_a_curve_is_followed(fake, mannequin):
    curve = paths.add_curve("way", np.array([0.5, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]), 4.0)
    curve.data.splines[0].bezier_points[1].co.y += 1.0
    action = api.animate(mannequin, "a walk", path=curve, frame_start=1)
    seconds = (action.frame_range[1] - 1) / 30
    assert 2.5 < seconds < 6
    points = paths.curve_points(curve)
    hips = results.require_map(mannequin).bone("pelvis")
    made = world_heads(mannequin, range(1, int(action.frame_range[1]) + 1))[hips]
    for frame, where in ((0, points[0]), (-1, points[-1])):
        assert np.linalg.norm(made[frame, :2] - where[:2]) < 0.02
    take = takes.read(action)[0]
    given = conditions.Wish.of_take(take).given
    assert given.place[:, [0, 2]].any() and not given.place[:, 1].any() and not given.joints.any()
    motion = commit.stored_motion(commit.current(mannequin))
    at = np.flatnonzero(given.place[:, 0])
    assert np.allclose(motion.translation[at][:, [0, 2]], given.translation[at][:, [0, 2]], atol=1e-4)


def test_waypoints_and_points(fake, mannequin):
    spots = bpy.data.collections.new("spots")
    bpy.context.scene.collection.children.link(spots)
    for name, place in (("b", (1.0, 0.0, 0.0)), ("a", (0.0, 0.0, 0.0)), ("c", (1.0, 2.0, 0.0))):
        empty = bpy.data.objects.new(name, None)
        empty.location = place
        spots.objects.link(empty)
    bpy.context.view_layer.update()
    assert conditions.path_points(spots)[:, 0].tolist() == [0.0, 1.0, 1.0]
    action = api.animate(mannequin, "a walk", path=[(0, 0), (0, -2)], frame_range=(10, 70))
    assert tuple(action.frame_range) == (10, 70)
    for wrong, words in ((mannequin, "curve object"), ([(0, 0)], "two points"), ("here", "curve, a collection")):
        with pytest.raises(api.Error, match=words):
            api.animate(mannequin, "a walk", path=wrong)


# --- once more


def test_again_with_what_was_asked(fake, mannequin):
    bend(mannequin, 1)
    wanted = bone_matrices(mannequin)
    first = api.animate(mannequin, "a walk", seconds=2.0, frame_start=5, poses={5: "current"}, seed=3)
    bend(mannequin, 3)
    second = api.again(mannequin)[0]
    assert second != first and results.recipe(second)["seed"] != 3
    bpy.context.scene.frame_set(5)
    assert poses_apart(wanted, bone_matrices(mannequin)) < (1e-4, 0.02)
    third = api.again(mannequin, seed=3)[0]
    assert results.recipe(third) == results.recipe(first)
    api.reject(mannequin)
    api.reject(mannequin)
    assert mannequin.animation_data.action == first
    assert api.again(mannequin, seed=3)


def test_again_of_a_timeline_and_of_nothing(fake, mannequin):
    with pytest.raises(api.Error, match="Nothing that MoMug made"):
        api.again(mannequin)
    action = api.animate(mannequin, timeline=[("a walk", 1.5), ("a run", 1.0)], variations=2)[0]
    again = api.again(mannequin)
    assert len(again) == 2 and [p["prompt"] for p in results.recipe(again[0])["timeline"]] == ["a walk", "a run"]
    assert again[0].frame_range[1] == action.frame_range[1]


# --- pieces


def test_what_is_given_is_stored_and_read_again():
    given = giving.Given.nothing(12)
    motion = capture.CanonicalMotion(given.rotations[:2], given.translation[:2])
    given.poses([3, 7], motion, [0, 5])
    given.path(np.array([0, 11]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    back = giving.Given.unpack(given.pack())
    for name in ("rotations", "translation", "joints", "place"):
        assert np.allclose(getattr(back, name), getattr(given, name))
    assert back.anchored and bool(back) and not giving.Given.nothing(3)
    for broken in ("", "12:", "12:AAAA", given.pack()[:-40], "99999999:AAAA"):
        with pytest.raises(ValueError):
            giving.Given.unpack(broken)


def test_damaged_things_stored_with_an_action_are_told(fake, mannequin):
    action = api.animate(mannequin, "a walk", seconds=1.0, frame_start=1, poses={1: "current"})
    take = takes.read(action)[0]
    take.given = "0;1;nonsense"
    takes.put(action, take)
    with pytest.raises(api.Error, match="cannot be read any more"):
        api.again(mannequin)


def test_a_style_reaches_the_model(fake, mannequin):
    from blender_addon import ask

    task = ask.start_animate(mannequin, "a walk", seconds=1.0, style="proud", style_weight=0.5)
    assert (task.job.fields["style"], task.job.fields["style_weight"]) == ("proud", 0.5)
    action = api.wait()[0]
    assert results.recipe(action)["style"] == "proud"
