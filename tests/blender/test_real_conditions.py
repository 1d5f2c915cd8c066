"""Given poses, a path, a range and a timeline with the real model: what it makes is met on the rig."""

import bpy
import numpy as np
import pytest
from blender.scenes import bone_matrices, key_values, poses_apart, world_heads

from blender_addon import api, commit, results
from blender_addon.client import environment


@pytest.fixture
def real(addon):
    """The backend's own environment and the shipped weights."""
    python = environment.backend_python("")
    if python is None:
        pytest.skip("the backend's environment is not set up here (python3 build.py setup)")
    api.configure(python=str(python))
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 30, 1.0
    yield api
    api.shutdown()
    api.configure()


def test_the_model_meets_what_is_given(real, mannequin):
    scene = bpy.context.scene
    scene.frame_set(1)
    arm = mannequin.pose.bones[results.require_map(mannequin).bone("left_shoulder")]
    arm.rotation_mode = "XYZ"
    arm.rotation_euler = (0.3, 0.2, -0.8)
    bpy.context.view_layer.update()
    wanted = bone_matrices(mannequin)
    api.animate(mannequin, "a person walks forward", frame_start=1, poses={1: "current", 45: "current"}, seed=1)
    for frame in (1, 45):
        scene.frame_set(frame)
        assert poses_apart(wanted, bone_matrices(mannequin)) < (1e-4, 0.02)
    hips = results.require_map(mannequin).bone("pelvis")
    speed = np.linalg.norm(np.diff(world_heads(mannequin, range(1, 46))[hips], axis=0), axis=-1) * 30
    assert speed.max() < 4.0  # it arrives without a jump
    api.accept(mannequin)

    before = key_values(mannequin)
    api.regenerate(mannequin, (10, 40), "a person turns around", seed=2)
    after = key_values(mannequin)
    assert all(
        after[curve][frame] == keys[frame] for curve, keys in before.items() for frame in keys if not 10 <= frame <= 40
    )
    assert any(after[curve][25] != keys[25] for curve, keys in before.items() if 25 in keys)
    api.reject(mannequin)
    assert key_values(mannequin) == before

    action = api.animate(mannequin, "a person walks forward", path=[(0, 0), (0, -2.0), (0.5, -2.5)], seed=1)
    made = world_heads(mannequin, range(*map(int, action.frame_range)))[hips]
    assert np.linalg.norm(made[-1, :2] - (0.5, -2.5)) < 0.1 and np.linalg.norm(made[0, :2]) < 0.05


def test_a_block_of_a_real_timeline(real, mannequin):
    blocks = [("a person walks forward", 1.0), ("a person jumps up", 1.5), ("a person walks forward", 1.0)]
    api.animate(mannequin, timeline=blocks, frame_start=1, seed=3)
    before = commit.stored_motion(commit.current(mannequin))
    api.reroll(mannequin, 1, seed=9)
    after = commit.stored_motion(commit.current(mannequin))
    others = np.r_[0:30, 75:105]
    assert np.array_equal(before.rotations[others], after.rotations[others])
    assert not np.allclose(before.rotations[40:65], after.rotations[40:65], atol=1e-3)
    step = np.linalg.norm(np.diff(after.joints(), axis=0), axis=-1).max(1) * 30
    assert step.max() < 15.0
