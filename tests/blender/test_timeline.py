"""A timeline of sentences: one motion with its blocks, poses that it meets, one block rolled again."""

import bpy
import numpy as np
import pytest
from blender.artist import bend
from blender.scenes import bone_matrices, key_values, poses_apart

from blender_addon import api, commit, results
from blender_addon.scene import compat


@pytest.fixture(autouse=True)
def at_30(addon):
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 30, 1.0


def test_a_timeline_is_one_motion_with_its_blocks(fake, mannequin):
    action = api.animate(mannequin, timeline=[("a walk", 1.5), ("a run", 2.0), ("a walk back", 1.0)], frame_start=1)
    recipe = results.recipe(action)
    assert [part["first"] for part in recipe["timeline"]] == [0, 45, 105]
    assert action.frame_range[1] == 135 and recipe["prompt"] == "a walk, then a run, then a walk back"
    with pytest.raises(api.Error, match="prompt"):
        api.animate(mannequin, timeline=[("  ", 1.5)])


def test_a_timeline_meets_poses_and_a_new_block_meets_them_again(fake, mannequin):
    bend(mannequin, 1)
    wanted = bone_matrices(mannequin)
    blocks = [("a walk", 1.5), ("a run", 1.5), ("a walk", 1.0)]
    with pytest.raises(api.Error, match="seconds of each block"):
        api.animate(mannequin, timeline=[*blocks, ("a jump", None)], poses={1: "current"})
    action = api.animate(mannequin, timeline=blocks, frame_start=1, poses={1: "current", 70: "current"}, seed=1)
    assert tuple(action.frame_range) == (1, 120)
    assert [part["first"] for part in results.recipe(action)["timeline"]] == [0, 45, 90]
    for frame in (1, 70):
        bpy.context.scene.frame_set(frame)
        assert poses_apart(wanted, bone_matrices(mannequin)) < (1e-4, 0.02)
    before = key_values(mannequin)
    api.reroll(mannequin, 1, "a jump", seed=5)
    assert key_values(mannequin) != before
    bpy.context.scene.frame_set(70)
    assert poses_apart(wanted, bone_matrices(mannequin)) < (1e-4, 0.02)


@pytest.mark.parametrize("destination", ["ACTION", "NLA", "SPLICE"])
def test_one_block_is_rolled_again(fake, mannequin, destination):
    if destination == "SPLICE":
        api.animate(mannequin, "a run", seconds=5.0, frame_start=1)
        api.accept(mannequin)
    api.animate(mannequin, timeline=[("a walk", 1.5), ("a walk", 2.0), ("a walk", 1.0)], frame_start=1, seed=1,
                destination=destination)  # fmt: skip
    found = commit.current(mannequin)
    before, motion = _keys_of(found.action, mannequin), commit.stored_motion(found)
    api.reroll(mannequin, 1, "a run")
    found = commit.current(mannequin)
    after, changed = _keys_of(found.action, mannequin), commit.stored_motion(found)
    other = np.r_[0:45, 105:135]
    assert np.array_equal(motion.rotations[other], changed.rotations[other])
    assert np.array_equal(motion.translation[other], changed.translation[other])
    assert not np.allclose(motion.rotations[60:90], changed.rotations[60:90])
    frames = {frame for curve in before for frame in before[curve] if before[curve][frame] != after[curve].get(frame)}
    assert frames and min(frames) >= 46 and max(frames) <= 105
    assert [part["prompt"] for part in commit.recipe(found)["timeline"]] == ["a walk", "a run", "a walk"]
    api.change(mannequin, in_place=True)  # from the motion that has the new block
    api.reject(mannequin)


def test_blocks_that_are_not_there(fake, mannequin):
    with pytest.raises(api.Error, match="timeline first"):
        api.reroll(mannequin, 0)
    api.animate(mannequin, timeline=[("a walk", 1.5), ("a run", 1.0)])
    with pytest.raises(api.Error, match="no such block"):
        api.reroll(mannequin, 2)
    api.animate(mannequin, timeline=[("a walk", 1.5)])
    with pytest.raises(api.Error, match="only this block"):
        api.reroll(mannequin, 0)


def _keys_of(action, armature) -> dict:
    return {
        (curve.data_path, curve.array_index): {round(p.co[0]): p.co[1] for p in curve.keyframe_points}
        for curve in compat.fcurves(action, armature)
    }
