"""Variations that are flipped through, and other ways to put the same motion into the scene: the model is not asked."""

import bpy
import numpy as np
import pytest
from blender.artist import EVERYWHERE, keys_of, make, state
from figures import walk, wild

from blender_addon import commit
from blender_addon.rig import RigError
from blender_addon.scene import compat, splice, takes
from blender_addon.scene.takes import ACTION, NLA, PENDING, SPLICE, Options

pytestmark = pytest.mark.usefixtures("thirty_frames_a_second")


@pytest.mark.parametrize("destination", EVERYWHERE)
def test_variations_are_flipped_and_one_is_kept(mannequin, mine, destination):
    before = state(mannequin)
    motions = [walk(1.5), wild(45), walk(1.5, speed=0.5)]
    make(mannequin, Options(destination=destination), motions=motions)

    def shown():
        found = commit.current(mannequin)
        return commit.variations(found), commit.recipe(found)["seed"], head_at(mannequin, 50)

    first = shown()
    assert first[:2] == ((0, 3), 5)
    commit.show(mannequin, 1)
    second = shown()
    assert second[:2] == ((1, 3), 6) and abs(second[2] - first[2]).max() > 0.02
    commit.show(mannequin, -1)
    np.testing.assert_allclose(shown()[2], first[2], atol=1e-6)
    commit.show(mannequin, -1)
    assert shown()[:2] == ((2, 3), 7)
    commit.accept(mannequin)
    assert commit.recipe(commit.current(mannequin))["seed"] == 7
    assert {action.name for action in bpy.data.actions} - {"Mine"} == (
        set() if destination == SPLICE else {commit.current(mannequin).action.name}
    )
    assert mine.name in bpy.data.actions and before["keys"].keys() <= {a.name for a in bpy.data.actions}


def head_at(armature, frame):
    bpy.context.scene.frame_set(frame)
    return np.array(armature.pose.bones["head"].head)


@pytest.mark.parametrize("destination", EVERYWHERE)
def test_reject_of_variations(mannequin, mine, destination):
    before = state(mannequin)
    make(mannequin, Options(destination=destination), motions=[walk(1.5), wild(45)])
    commit.show(mannequin, 1)
    bpy.context.scene.frame_set(20)
    commit.reject(mannequin)
    assert state(mannequin) == before


@pytest.mark.parametrize("start", EVERYWHERE)
@pytest.mark.parametrize("target", EVERYWHERE)
def test_the_destination_can_be_changed(mannequin, mine, start, target):
    before = state(mannequin)
    make(mannequin, Options(destination=start))
    if start != target:
        commit.change(mannequin, bpy.context.scene, destination=target)
    found = commit.pending(mannequin)
    assert found.take.options.destination == target
    assert (found.strip is not None) == (target == NLA) and (found.action == mine) == (target == SPLICE)
    commit.reject(mannequin)
    assert state(mannequin) == before


def test_the_variation_that_is_shown_stays_shown(mannequin, mine):
    make(mannequin, Options(destination=SPLICE), motions=[walk(1.5), wild(45)])
    commit.show(mannequin, 1)
    for destination in (NLA, ACTION, SPLICE):
        commit.change(mannequin, bpy.context.scene, destination=destination)
        found = commit.current(mannequin)
        assert commit.variations(found) == (1, 2) and commit.recipe(found)["seed"] == 6


def test_changing_options_never_loses_edits(mannequin):
    make(mannequin)
    action = mannequin.animation_data.action
    curve = splice.curves_of(mannequin, action)['pose.bones["pelvis"].location', 0]
    curve.keyframe_points[3].co[1] += 0.5
    before = state(mannequin)
    with pytest.raises(RigError, match="changed by hand"):
        commit.change(mannequin, bpy.context.scene, foot_lock=False)
    assert state(mannequin) == before


@pytest.mark.parametrize("destination", EVERYWHERE)
def test_options_are_applied_to_the_stored_motion(mannequin, mine, destination, tmp_path):
    before = state(mannequin)
    make(mannequin, Options(destination=destination), motions=[walk(1.5)])
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    mannequin = bpy.data.objects["Mannequin"]
    found = commit.current(mannequin)
    locked = keys_of(found.action, mannequin)
    name = found.action.name
    commit.change(mannequin, bpy.context.scene, foot_lock=False)
    assert commit.current(mannequin).action.name == name
    free = keys_of(bpy.data.actions[name], mannequin)
    assert free.keys() == locked.keys() and free != locked
    commit.change(mannequin, bpy.context.scene, foot_lock=True)
    again = keys_of(bpy.data.actions[name], mannequin)
    for curve, (*_, points) in locked.items():
        assert [point[0][:8] for point in again[curve][-1]] == [point[0][:8] for point in points], curve
    bpy.context.scene.frame_set(20)
    commit.reject(mannequin)
    assert state(mannequin) == before


def test_more_than_one_take_is_never_mixed_up(mannequin):
    first = make(mannequin, motions=[walk(1.0)])[0]
    second = make(mannequin, motions=[wild(30)])[0]
    assert commit.pending(mannequin).action == second != first
    commit.reject(mannequin)
    assert commit.pending(mannequin).action == first and list(bpy.data.actions) == [first]
    commit.accept(mannequin)
    assert mannequin.animation_data.action == first


def test_a_strip_shows_the_motion_over_the_artists_action(mannequin, mine):
    make(mannequin, Options(destination=NLA, blend_in=0, blend_out=0))
    data = mannequin.animation_data
    assert data.action is None and [strip.influence for t in data.nla_tracks for strip in t.strips] == [1.0, 1.0]
    wanted = keys_of(mine, mannequin)
    bpy.context.scene.frame_set(50)
    knee = mannequin.pose.bones["left_knee"].matrix_basis.to_quaternion()
    assert knee.angle > 0.05, "the artist's action has no keys there"
    bpy.context.scene.frame_set(90)
    elbow = mannequin.pose.bones["left_elbow"]
    assert abs(elbow.rotation_axis_angle[0] if elbow.rotation_mode == "AXIS_ANGLE" else 1) > 0
    assert keys_of(mine, mannequin) == wanted
    assert takes.read(commit.current(mannequin).action)[0].state == PENDING


def hips_path(armature, frames) -> np.ndarray:
    path = []
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        path.append((armature.matrix_world @ armature.pose.bones["pelvis"].head)[:])
    return np.array(path)


def test_in_place_can_be_switched_on_and_back(mannequin):
    make(mannequin, motions=[walk(3.0)], start=1)
    name = commit.current(mannequin).action.name
    travelling = hips_path(mannequin, range(1, 91))
    commit.accept(mannequin)
    commit.change(mannequin, bpy.context.scene, in_place=True)
    still = hips_path(mannequin, range(1, 91))
    assert np.ptp(travelling[:, 1]) > 3.0 and np.ptp(still[:, 1]) < 0.3
    commit.change(mannequin, bpy.context.scene, in_place=False)
    np.testing.assert_allclose(hips_path(mannequin, range(1, 91)), travelling, atol=1e-5)
    assert commit.current(mannequin).action.name == name and len(bpy.data.actions) == 1


@pytest.mark.parametrize("foot_lock", [True, False])
def test_a_loop_ends_as_it_begins(mannequin, foot_lock):
    make(mannequin, Options(loop=True, in_place=True, foot_lock=foot_lock), motions=[walk(4.0)], start=1)
    take = commit.current(mannequin).take
    poses = []
    for frame in (take.first, take.last):
        bpy.context.scene.frame_set(frame)
        poses.append({bone.name: bone.matrix_basis.to_quaternion() for bone in mannequin.pose.bones})
    for name, rotation in poses[0].items():
        angle = rotation.rotation_difference(poses[1][name]).angle
        assert min(angle, 2 * np.pi - angle) < np.radians(3), name


@pytest.mark.parametrize("destination", EVERYWHERE)
def test_fewer_keys_within_the_error(mannequin, mine, destination):
    options = Options(destination=destination, blend_in=3, blend_out=3)
    make(mannequin, options, motions=[walk(2.0)])
    before = {bone.name: [] for bone in mannequin.pose.bones}
    for frame in range(30, 90):
        bpy.context.scene.frame_set(frame)
        for bone in mannequin.pose.bones:
            before[bone.name].append((bone.matrix_basis.to_quaternion(), bone.head.copy()))
    count = sum(len(c.keyframe_points) for c in compat.fcurves(commit.current(mannequin).action, mannequin))
    commit.change(mannequin, bpy.context.scene, reduce=True, reduce_degrees=1.0, reduce_cm=1.0)
    fewer = sum(len(c.keyframe_points) for c in compat.fcurves(commit.current(mannequin).action, mannequin))
    assert fewer < 0.6 * count
    for number, frame in enumerate(range(30, 90)):
        bpy.context.scene.frame_set(frame)
        for bone in mannequin.pose.bones:
            rotation, head = before[bone.name][number]
            angle = rotation.rotation_difference(bone.matrix_basis.to_quaternion()).angle
            assert min(angle, 2 * np.pi - angle) < np.radians(1.05), (bone.name, frame)
            assert (bone.head - head).length < 0.0105, (bone.name, frame)
    commit.change(mannequin, bpy.context.scene, reduce=False)
    again = sum(len(c.keyframe_points) for c in compat.fcurves(commit.current(mannequin).action, mannequin))
    assert again == count
