"""Whatever is generated, accepted, rejected, undone or saved: the artist's keys stay bit for bit."""

import struct

import bpy
import numpy as np
import pytest
from figures import walk, wild

from blender_addon import commit, results
from blender_addon.rig import RigError
from blender_addon.scene import compat, posing, splice, takes
from blender_addon.scene.takes import ACCEPTED, ACTION, NLA, PENDING, SPLICE, Options

MODES = ["QUATERNION", "XYZ", "ZXY", "AXIS_ANGLE"]
PROPERTIES = ["interpolation", "easing", "type", "back", "amplitude", "period", "handle_left_type", "handle_right_type",
              "select_control_point", "select_left_handle", "select_right_handle"]  # fmt: skip


def bits(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def keys_of(action, armature, outside: "tuple[int, int] | None" = None) -> dict:
    """Everything that Python can see of every key, to the bit; ``outside``: leave out the keys in these frames."""
    found = {}
    for curve in compat.fcurves(action, armature):
        points = []
        for point in curve.keyframe_points:
            if outside and outside[0] <= point.co[0] <= outside[1]:
                continue
            told = [getattr(point, name) for name in PROPERTIES]
            points.append((bits(*point.co, *point.handle_left, *point.handle_right), *told))
        if points:
            group = curve.group.name if curve.group else None
            found[curve.data_path, curve.array_index] = (curve.extrapolation, curve.mute, curve.lock, group, points)
    return found


def keyed(curve):
    return {point.co[0]: point for point in curve.keyframe_points}


def own_keys(armature, frames=(1, 12, 33, 60, 90)):
    """What an artist may have: automatic, free and vector handles, easing, odd frames, holds, several modes."""
    random = np.random.default_rng(1)
    for number, name in enumerate(["pelvis", "spine2", "left_shoulder", "left_elbow", "head", "right_hip"]):
        bone = armature.pose.bones[name]
        bone.rotation_mode = MODES[number % 4]
        path = posing_path(bone.rotation_mode)
        for frame in frames:
            values = np.array(getattr(bone, path))
            setattr(bone, path, values + random.normal(size=len(values)) * 0.15)
            bone.keyframe_insert(path, frame=frame + 0.25 * (number == 3))
    pelvis = armature.pose.bones["pelvis"]
    for frame in frames:
        pelvis.location = (0.02 * frame, 0.01 * frame, 0.3 * np.sin(frame / 9))
        pelvis.keyframe_insert("location", frame=frame)
    armature.pose.bones["head"].keyframe_insert("scale", frame=5)
    armature.keyframe_insert("location", frame=3)
    action = armature.animation_data.action
    for number, curve in enumerate(compat.fcurves(action, armature)):
        for point in curve.keyframe_points:
            point.handle_left_type = point.handle_right_type = ("AUTO", "AUTO_CLAMPED", "FREE", "VECTOR")[number % 4]
            point.interpolation = ("BEZIER", "BEZIER", "BEZIER", "LINEAR", "SINE", "CONSTANT")[number % 6]
            point.type = ("KEYFRAME", "EXTREME", "BREAKDOWN")[number % 3]
        curve.update()
        curve.keyframe_points[0].select_control_point = False
    action.name = "Mine"
    bpy.context.scene.frame_set(20)
    return action


def posing_path(mode: str) -> str:
    return {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}.get(mode, "rotation_euler")


@pytest.fixture(autouse=True)
def thirty_frames_a_second(addon):
    bpy.context.scene.render.fps = 30


@pytest.fixture
def mine(mannequin):
    return own_keys(mannequin)


def pose_of(armature) -> dict:
    return {
        bone.name: [
            bits(*getattr(bone, name))
            for name in ("location", "rotation_quaternion", "rotation_euler", "rotation_axis_angle", "scale")
        ]
        for bone in armature.pose.bones
    }


def state(armature) -> dict:
    """What must be the same after Reject."""
    bpy.context.view_layer.update()
    data = armature.animation_data
    return {
        "keys": {
            action.name: (keys_of(action, armature), action.use_fake_user, sorted(action.keys()))
            for action in bpy.data.actions
        },
        "active": data.action.name if data and data.action else None,
        "slot": compat.slot_name(armature) if data else None,
        "tracks": [(t.name, [(s.name, s.action.name) for s in t.strips]) for t in data.nla_tracks] if data else None,
        "pose": pose_of(armature),
    }


def make(armature, options=None, motions=None, start=30, **more):
    motions = motions or [walk(1.5)]
    recipes = [{"prompt": "a person walks", "seed": 5 + k, "model": "momug"} for k in range(len(motions))]
    return results.apply_motions(
        armature,
        bpy.context.scene,
        motions,
        recipes,
        frame_start=start,
        extend_timeline=False,
        options=options or Options(),
        **more,
    )


EVERYWHERE = [ACTION, NLA, SPLICE]


@pytest.mark.parametrize("destination", EVERYWHERE)
def test_reject_brings_everything_back(mannequin, mine, destination):
    before = state(mannequin)
    made = make(mannequin, Options(destination=destination))
    assert commit.pending(mannequin).action == made[0]
    outside = (30, 74) if destination == SPLICE else None
    assert keys_of(mine, mannequin, outside) == {
        curve: value for curve, value in _only_outside(before["keys"]["Mine"][0], outside).items() if value[-1]
    }
    assert state(mannequin) != before
    commit.reject(mannequin)
    assert state(mannequin) == before
    assert commit.pending(mannequin) is None


def _only_outside(keys: dict, outside: "tuple[int, int] | None") -> dict:
    if outside is None:
        return keys
    kept = {}
    for curve, (*rest, points) in keys.items():
        inside = [not outside[0] <= struct.unpack("<f", point[0][:4])[0] <= outside[1] for point in points]
        kept[curve] = (*rest, [point for point, keep in zip(points, inside, strict=True) if keep])
    return kept


@pytest.mark.parametrize("destination", EVERYWHERE)
def test_accept_keeps_the_artists_keys(mannequin, mine, destination):
    before = keys_of(mine, mannequin)
    range_ = (30, 74) if destination == SPLICE else None
    made = make(mannequin, Options(destination=destination))[0]
    commit.accept(mannequin)
    kept = {curve: value for curve, value in _only_outside(before, range_).items() if value[-1]}
    assert keys_of(mine, mannequin, range_) == kept
    assert commit.pending(mannequin) is None and commit.current(mannequin).take.state == ACCEPTED
    assert takes.FORMER not in made and mine.name in bpy.data.actions
    with pytest.raises(RigError, match="waits for a decision"):
        commit.reject(mannequin)


@pytest.mark.parametrize("destination", EVERYWHERE)
def test_first_animation_of_an_armature(mannequin, destination):
    before = state(mannequin)
    if destination == SPLICE:
        with pytest.raises(RigError, match="no action"):
            make(mannequin, Options(destination=destination))
        assert state(mannequin) == before
        return
    make(mannequin, Options(destination=destination))
    commit.reject(mannequin)
    assert state(mannequin) == before and mannequin.animation_data is None


@pytest.mark.parametrize("destination", EVERYWHERE)
@pytest.mark.parametrize("decide", ["accept", "reject", "wait"])
def test_saved_and_opened_again(mannequin, mine, destination, decide, tmp_path):
    bpy.context.scene.frame_set(20)
    before = state(mannequin)
    make(mannequin, Options(destination=destination))
    if decide == "accept":
        commit.accept(mannequin)
    elif decide == "reject":
        commit.reject(mannequin)
    then = state(mannequin)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    mannequin = bpy.data.objects["Mannequin"]
    assert state(mannequin) == then
    if decide == "wait":
        commit.reject(mannequin)
        assert state(mannequin) == before


@pytest.mark.parametrize("destination", EVERYWHERE)
def test_undo_and_redo(mannequin, mine, destination):
    bpy.ops.ed.undo_push(message="before")
    before = state(mannequin)
    make(mannequin, Options(destination=destination))
    bpy.ops.ed.undo_push(message="MoMug: Generate")
    made = state(mannequin)
    bpy.ops.ed.undo()
    assert state(bpy.data.objects["Mannequin"]) == before
    bpy.ops.ed.redo()
    mannequin = bpy.data.objects["Mannequin"]
    assert state(mannequin) == made
    commit.reject(mannequin)
    assert state(mannequin) == before
    bpy.ops.ed.undo_push(message="MoMug: Reject")
    bpy.ops.ed.undo()
    mannequin = bpy.data.objects["Mannequin"]
    assert state(mannequin) == made and commit.pending(mannequin)


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


def test_a_failure_leaves_everything(mannequin, mine, monkeypatch):
    before = state(mannequin)
    for destination, module, name in (
        (ACTION, commit.takes, "keep_motion"),
        (NLA, commit.compat, "bind_strip"),
        (SPLICE, splice.key_data, "write"),
    ):
        real, calls, last = getattr(module, name), [], 3 if name == "write" else 1

        def fail_once(*arguments, real=real, calls=calls, last=last):
            calls.append(1)
            if len(calls) == last:
                raise RuntimeError("disk on fire")
            return real(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(module, name, fail_once)
            with pytest.raises(RuntimeError, match="on fire"):
                make(mannequin, Options(destination=destination))
        assert state(mannequin) == before, destination


# --- variations and options


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
