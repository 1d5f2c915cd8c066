"""A motion in the midst of the artist's own action: the frames outside stay, and nothing pops at its ends."""

import bpy
import numpy as np
import pytest
from blender.artist import keyed, keys_of, make, state
from figures import walk, wild

from blender_addon import commit, results
from blender_addon.rig import RigError
from blender_addon.scene import compat, posing, splice, takes
from blender_addon.scene.takes import SPLICE, Options

pytestmark = pytest.mark.usefixtures("thirty_frames_a_second")


def test_a_splice_leaves_the_frames_outside_as_they_were(mannequin, mine):
    frames = [*range(-5, 30), *range(75, 110)]
    curves = {(c.data_path, c.array_index): c for c in compat.fcurves(mine, mannequin)}
    shown = {curve_id: [curve.evaluate(f) for f in frames] for curve_id, curve in curves.items()}
    kinds = {curve_id: {point.interpolation for point in curve.keyframe_points} for curve_id, curve in curves.items()}
    at_ends = {curve_id: [curve.evaluate(f) for f in (30, 74)] for curve_id, curve in curves.items()}
    make(mannequin, Options(destination=SPLICE))
    for curve_id, curve in splice.curves_of(mannequin, mine).items():
        if curve_id not in shown:
            continue
        now = np.array([curve.evaluate(f) for f in frames])
        size = max(np.ptp(shown[curve_id]), 1e-3)
        apart = np.abs(now - shown[curve_id]) / size
        # Beyond the artist's keys next to the range nothing moves at all. A segment that the range cuts keeps its two
        # tangents, which is all that can be done without touching the artist's key
        far = np.array([f <= 12 or f >= 91 for f in frames])
        assert apart[far].max() == 0.0, curve_id
        allowed = {"LINEAR": 1e-5, "CONSTANT": 1e-5, "BEZIER": 0.1, "SINE": 0.25}
        assert apart.max() < max(allowed[kind] for kind in kinds[curve_id]), curve_id
        np.testing.assert_allclose([curve.evaluate(f) for f in (30, 74)], at_ends[curve_id], atol=1e-5)


def test_bones_without_keys_come_back_to_where_they_were(mannequin, mine):
    mannequin.pose.bones["right_elbow"].rotation_quaternion = (0.9238795, 0.3826834, 0.0, 0.0)
    make(mannequin, Options(destination=SPLICE))
    curves = splice.curves_of(mannequin, mine)
    for frame in (1, 29, 30, 74, 75, 200):
        now = [curves['pose.bones["right_elbow"].rotation_quaternion', index].evaluate(frame) for index in range(4)]
        np.testing.assert_allclose(now, (0.9238795, 0.3826834, 0.0, 0.0), atol=1e-6)
    middle = curves['pose.bones["right_elbow"].rotation_quaternion', 1].evaluate(52)
    assert abs(middle - 0.3826834) > 0.02


@pytest.mark.parametrize("mode", ["QUATERNION", "XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX", "AXIS_ANGLE"])
def test_a_splice_has_no_pops(mannequin, mode):
    for bone in mannequin.pose.bones:
        bone.rotation_mode = mode
    make(mannequin, motions=[wild(120, seed=3, size=140)], start=1)
    commit.accept(mannequin)
    action = mannequin.animation_data.action
    make(
        mannequin,
        Options(destination=SPLICE, blend_in=10, blend_out=10),
        motions=[wild(50, seed=8, size=140)],
        start=40,
    )
    scene = bpy.context.scene
    # between the frames too: no spin by a whole turn on the way from one key to the next
    poses = []
    for frame in [*range(36, 54), *range(76, 94)]:
        for subframe in (0.0, 0.5):
            scene.frame_set(frame, subframe=subframe)
            poses.append({bone.name: bone.matrix_basis.to_quaternion() for bone in mannequin.pose.bones})
    for number, (former, pose) in enumerate(zip(poses, poses[1:], strict=False)):
        for name in pose if number != 35 else ():
            angle = former[name].rotation_difference(pose[name]).angle
            assert min(angle, 2 * np.pi - angle) < np.radians(40), (number, name)
    assert commit.current(mannequin).action == action


def test_generated_keys_are_typed_and_the_author_is_known(mannequin, mine):
    make(mannequin, Options(destination=SPLICE))
    made = results.authorship(mine)
    take = commit.current(mannequin).take
    assert {bone for bone, *_ in made} >= {"left_knee", "head", "pelvis"}
    assert {(first, last, take_id) for _, first, last, take_id in made} == {(30, 74, take.id)}
    wanted = compat.key_type_generated()
    for curve in compat.fcurves(mine, mannequin):
        found = posing.bone_of(curve.data_path)
        ours = [curve.data_path, curve.array_index] in take.curves
        for point in curve.keyframe_points:
            inside = 30 <= point.co[0] <= 74
            number = point.bl_rna.properties["type"].enum_items[point.type].value
            assert (number == wanted) == (ours and inside), (found, point.co[0])
    assert results.recipe(mine)["prompt"] == "a person walks"


def test_only_the_bones_that_were_asked_for(mannequin, mine):
    before = keys_of(mine, mannequin)
    make(mannequin, Options(destination=SPLICE), only=["left_shoulder", "left_elbow", "left_wrist"])
    after = keys_of(mine, mannequin)
    changed = {curve for curve in after if after[curve] != before.get(curve)}
    assert {posing.bone_of(path)[0] for path, _ in changed} == {"left_shoulder", "left_elbow", "left_wrist"}
    assert set(takes.read(mine)[0].bones) == {"left_shoulder", "left_elbow", "left_wrist"}


def test_it_begins_where_the_figure_stands_and_arrives_where_it_goes_on(mannequin):
    make(mannequin, motions=[walk(4.0)], start=1)
    commit.accept(mannequin)
    scene = bpy.context.scene

    def hips(frame):
        scene.frame_set(frame)
        return np.array(mannequin.matrix_world @ mannequin.pose.bones["pelvis"].head)

    path = {frame: hips(frame) for frame in (39, 40, 80, 81)}
    make(mannequin, Options(destination=SPLICE), motions=[walk(2.0, speed=0.7)], start=40, frames=41)
    for frame, place in path.items():
        np.testing.assert_allclose(hips(frame), place, atol=1e-4)
    steps = np.diff([hips(frame)[:2] for frame in range(36, 86)], axis=0)
    speed = np.linalg.norm(steps, axis=-1) * 30
    assert speed.max() < 2.2 and (steps[:, 1] < 0.005).all(), "no rush and no way back at the ends"


def test_a_splice_after_the_last_key_ends_freely(mannequin):
    make(mannequin, motions=[walk(2.0)], start=1)
    commit.accept(mannequin)
    action = mannequin.animation_data.action
    make(mannequin, Options(destination=SPLICE), motions=[walk(2.0)], start=60)
    assert action.frame_range[1] == 119
    bpy.context.scene.frame_set(60)
    there = mannequin.pose.bones["pelvis"].head.copy()
    bpy.context.scene.frame_set(119)
    assert (mannequin.pose.bones["pelvis"].head - there).length > 2.0


def test_two_splices_and_back(mannequin, mine):
    states = [state(mannequin)]
    make(mannequin, Options(destination=SPLICE), start=30)
    states.append(state(mannequin))
    make(mannequin, Options(destination=SPLICE), start=50)
    assert len(takes.read(mine)) == 2
    commit.reject(mannequin)
    assert state(mannequin) == states[1]
    commit.reject(mannequin)
    assert state(mannequin) == states[0]


def test_keys_that_the_artist_adds_outside_survive_reject(mannequin, mine):
    make(mannequin, Options(destination=SPLICE))
    bone = mannequin.pose.bones["pelvis"]
    bone.location = (1, 2, 3)
    bone.keyframe_insert("location", frame=200)
    commit.reject(mannequin)
    points = keyed(splice.curves_of(mannequin, mine)['pose.bones["pelvis"].location', 1])
    assert set(points) == {1, 12, 33, 60, 90, 200} and points[200].co[1] == 2


def test_why_nothing_can_be_spliced(mannequin, mine):
    before = state(mannequin)
    curve = splice.curves_of(mannequin, mine)['pose.bones["pelvis"].location', 0]
    modifier = curve.modifiers.new("NOISE")
    with pytest.raises(RigError, match="modifiers"):
        make(mannequin, Options(destination=SPLICE))
    curve.modifiers.remove(modifier)
    other = bpy.data.objects.new("other", mannequin.data)
    compat.assign(other, mine, mannequin.animation_data.action_slot if compat.SLOTTED else None)
    with pytest.raises(RigError, match="also moves 'other'"):
        make(mannequin, Options(destination=SPLICE))
    bpy.data.objects.remove(other)
    assert state(mannequin) == before


def test_locked_curves_stay(mannequin, mine):
    curves = splice.curves_of(mannequin, mine)
    for index in range(3):
        curves['pose.bones["spine2"].rotation_euler', index].lock = True
    before = keys_of(mine, mannequin)
    make(mannequin, Options(destination=SPLICE))
    after = keys_of(mine, mannequin)
    for index in range(3):
        curve = ('pose.bones["spine2"].rotation_euler', index)
        assert after[curve] == before[curve]
    assert "spine2" not in takes.read(mine)[0].bones
