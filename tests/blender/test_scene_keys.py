"""Motion onto armatures in Blender and back."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender.scenes import angle_between, build, empty, world_heads  # noqa: E402
from figures import TO_BLENDER, figure, mixamo_names, turn, walk, wild  # noqa: E402

from blender_addon.retarget import retarget  # noqa: E402
from blender_addon.retarget import rotations as rot  # noqa: E402
from blender_addon.rig import RigError, canonical, match  # noqa: E402
from blender_addon.scene import armature as armatures  # noqa: E402
from blender_addon.scene import capture, compat, keys, mannequin, posing  # noqa: E402

LIMBS = [(f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in
         (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))]  # fmt: skip


def mixamo():
    return build(figure(mixamo_names("mixamorig3:"), toes_out=10, scale=1.1, legs=0.9))


def imported():
    """As FBX importers leave it: object scale 0.01, -90 degrees about X, A-pose."""
    matrix = np.eye(4)
    matrix[:3, :3] = rot.to_matrix(turn("x", -90.0)) * 0.01
    return build(figure(mixamo_names(), arms_down=45, elbows=20, object_matrix=matrix))


def under_a_parent():
    """The armature hangs from a scaled and turned empty."""
    empty_object = bpy.data.objects.new("holder", None)
    bpy.context.scene.collection.objects.link(empty_object)
    armature = build(figure(mixamo_names()))
    empty_object.scale = (0.5, 0.5, 0.5)
    empty_object.location = (2.0, 1.0, 0.0)
    armature.parent = empty_object
    bpy.context.view_layer.update()
    return armature


def rigify():
    bpy.ops.preferences.addon_enable(module="rigify")
    bpy.ops.object.armature_human_metarig_add()
    return bpy.context.object


RIGS = {"mannequin": mannequin.add, "mixamo": mixamo, "imported": imported, "parent": under_a_parent, "rigify": rigify}


@pytest.fixture(params=RIGS)
def rig(request):
    empty()
    return RIGS[request.param]()


def animate(armature, motion, name="a motion", start=1, foot_lock=True, metadata=None):
    plain = armatures.read_rig(armature)
    animation = retarget(motion, plain, match(plain.bones), capture.scene_fps(), foot_lock=foot_lock)
    return keys.write_action(armature, animation, name, start, metadata)


@pytest.mark.parametrize("motion", [walk(1.5), wild(40)], ids=["walk", "wild"])
def test_limbs_point_where_the_motion_says(rig, motion):
    animate(rig, motion, foot_lock=False)
    mapping = armatures.bone_map(rig)
    heads = world_heads(rig, range(1, motion.frames + 1))
    joints = motion.joints() @ TO_BLENDER.T
    for start, end in LIMBS:
        want = joints[:, canonical.INDEX[end]] - joints[:, canonical.INDEX[start]]
        got = heads[mapping.bone(end)] - heads[mapping.bone(start)]
        assert angle_between(want, got).max() < 1.0, (start, end)


@pytest.mark.parametrize("motion", [walk(1.5), wild(40)], ids=["walk", "wild"])
def test_round_trip(rig, motion):
    animate(rig, motion, foot_lock=False)
    back = capture.capture(rig)
    assert back.frames == motion.frames and back.fps == 30.0
    # two neck bones share one joint; the joints themselves come back
    assert np.degrees(rot.angle(back.rotations, motion.rotations)).max() < 0.5
    assert np.abs(back.translation - motion.translation).max() < 0.002


def test_fcurves_tell_what_blender_evaluates(rig):
    action = animate(rig, walk(1.0))
    plain = armatures.read_rig(rig)
    frames = np.arange(1, 31)
    quick = posing.from_fcurves(rig, plain, action, frames)
    slow = posing.from_scene(rig, plain, frames)
    assert np.abs(quick - slow).max() < 1e-4 * np.abs(slow).max()


def curves_of(armature):
    return compat.fcurves(armature.animation_data.action, armature)


def test_keys(rig):
    motion = walk(1.0)
    action = animate(rig, motion, "walks", start=11, metadata={"prompt": "wälks", "seed": 3})
    assert action.name == "walks" and rig.animation_data.action == action
    if compat.SLOTTED:
        assert rig.animation_data.action_slot is not None
        assert rig.animation_data.action_slot.target_id_type == "OBJECT"
    assert keys.read_metadata(action) == {"prompt": "wälks", "seed": 3}
    assert tuple(action.frame_range) == (11.0, 40.0)
    mapping = armatures.bone_map(rig)
    located = set()
    for curve in curves_of(rig):
        bone, channel = posing.bone_of(curve.data_path)
        assert curve.group.name == bone
        assert len(curve.keyframe_points) == motion.frames
        assert {key.type for key in curve.keyframe_points} == {"GENERATED"}
        if channel == "location":
            located.add(bone)
        else:
            assert channel == "rotation_" + {"QUATERNION": "quaternion"}.get(
                rig.pose.bones[bone].rotation_mode, "euler"
            )
    assert located == {mapping.bone("pelvis")}


@pytest.mark.parametrize("mode", ["QUATERNION", "XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX", "AXIS_ANGLE"])
def test_every_rotation_mode_shows_the_same_pose_without_jumps(mode):
    empty()
    armature = mannequin.add()
    motion = wild(60, size=150)
    animate(armature, motion, foot_lock=False)
    want = world_heads(armature, range(1, 61, 7))
    for bone in armature.pose.bones:
        bone.rotation_mode = mode
    animate(armature, motion, foot_lock=False)
    got = world_heads(armature, range(1, 61, 7))
    for name in want:
        assert np.abs(want[name] - got[name]).max() < 1e-4
    for curve in curves_of(armature):
        values = np.array([key.co[1] for key in curve.keyframe_points])
        assert np.abs(np.diff(values)).max() < 2.2, curve.data_path


def test_the_former_action_is_left_alone():
    empty()
    armature = mannequin.add()
    armature.pose.bones["head"].keyframe_insert("scale", frame=1)
    armature.pose.bones["head"].scale = (2.0, 2.0, 2.0)
    armature.pose.bones["head"].keyframe_insert("scale", frame=20)
    mine = armature.animation_data.action
    kept = [(c.data_path, c.array_index, [tuple(k.co) for k in c.keyframe_points]) for c in curves_of(armature)]
    bpy.context.scene.frame_set(20)
    made = animate(armature, walk(1.0))
    assert made != mine and mine.use_fake_user and mine.name in bpy.data.actions
    again = [(c.data_path, c.array_index, [tuple(k.co) for k in c.keyframe_points])
             for c in compat.fcurves(mine, armature)]  # fmt: skip
    assert again == kept
    assert tuple(armature.pose.bones["head"].scale) == (1.0, 1.0, 1.0), "its last pose must not mix into the motion"


def test_scene_rate_is_respected_and_never_changed():
    empty()
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 24, 1.001
    armature = mannequin.add()
    motion = walk(2.0)
    action = animate(armature, motion)
    frames = action.frame_range[1] - action.frame_range[0]
    assert abs(frames / (24 / 1.001) - (motion.frames - 1) / 30) < 0.03
    assert (scene.render.fps, round(scene.render.fps_base, 3)) == (24, 1.001)
    back = capture.capture(armature)
    assert abs(back.seconds - motion.seconds) < 0.05
    assert np.abs(back.translation[30] - motion.translation[30]).max() < 0.02


def test_capture_with_constraints_and_moving_object_reads_what_is_seen():
    empty()
    armature = mannequin.add()
    motion = walk(1.0)
    animate(armature, motion)
    constraint = armature.pose.bones["head"].constraints.new("LIMIT_ROTATION")
    constraint.use_limit_x, constraint.min_x, constraint.max_x = True, 0.5, 0.5
    constraint.owner_space = "LOCAL"
    armature.keyframe_insert("location", frame=1)
    armature.location.x = 1.0
    armature.keyframe_insert("location", frame=30)
    bpy.context.scene.frame_set(7)
    back = capture.capture(armature)
    assert bpy.context.scene.frame_current == 7
    assert np.degrees(rot.angle(back.rotations[:, 15], motion.rotations[:, 15])).max() > 15
    assert np.isclose(np.ptp(back.translation[:, 0] - motion.translation[:, 0]), 1.0, atol=0.1)


def test_capture_of_another_action_restores_the_active_one():
    empty()
    armature = mannequin.add()
    first = animate(armature, walk(1.0), "first")
    second = animate(armature, wild(20), "second")
    back = capture.capture(armature, first)
    assert armature.animation_data.action == second
    assert np.abs(back.translation[:, 2] - walk(1.0).translation[:, 2]).max() < 0.01
    armature.constraints.new("LIMIT_LOCATION")
    slow = capture.capture(armature, first)
    assert armature.animation_data.action == second
    assert np.abs(slow.translation - back.translation).max() < 1e-3


def test_contacts_are_found_in_a_captured_walk():
    empty()
    armature = mannequin.add()
    animate(armature, walk(3.0))
    contacts = capture.capture(armature).contacts
    assert 0.15 < contacts[:, :2].max(-1).mean() < 0.85 and 0.15 < contacts[:, 2:].max(-1).mean() < 0.85


@pytest.mark.parametrize("bad", [(10, 2), (1, 10_000_000)])
def test_impossible_frame_ranges_are_refused(bad):
    empty()
    armature = mannequin.add()
    animate(armature, walk(1.0))
    with pytest.raises(RigError, match="frame range"):
        capture.capture(armature, frame_range=bad)


def test_reasons_why_not():
    empty()
    assert "Select" in armatures.problem(None)
    cube = bpy.data.objects.new("cube", bpy.data.meshes.new("cube"))
    assert "not an armature" in armatures.problem(cube)
    bare = bpy.data.objects.new("bare", bpy.data.armatures.new("bare"))
    assert "no bones" in armatures.problem(bare)
    armature = mannequin.add()
    assert armatures.problem(armature) is None
    with pytest.raises(RigError, match="no animation"):
        capture.capture(armature)
    bpy.ops.object.mode_set(mode="EDIT")
    assert "edit mode" in armatures.problem(armature)
    bpy.ops.object.mode_set(mode="OBJECT")


def test_linked_armatures_say_what_to_do(tmp_path):
    empty()
    mannequin.add()
    file = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    empty()
    with bpy.data.libraries.load(str(file), link=True) as (source, target):
        target.objects = list(source.objects)
    linked = next(o for o in target.objects if o.type == "ARMATURE")
    bpy.context.scene.collection.objects.link(linked)
    assert "library override" in armatures.problem(linked)
    with pytest.raises(RigError, match="library override"):
        armatures.read_rig(linked)
    override = linked.override_create(remap_local_usages=True)
    override.override_library.is_system_override = False
    assert armatures.problem(override) is None
    animate(override, walk(1.0))
    assert override.animation_data.action is not None


def test_a_failed_write_leaves_nothing_behind():
    empty()
    armature = mannequin.add()
    plain = armatures.read_rig(armature)
    animation = retarget(walk(1.0), plain, match(plain.bones), 30.0)
    animation.bones[0] = "gone"
    with pytest.raises(RigError, match="gone"):
        keys.write_action(armature, animation, "x", 1)
    animation = retarget(walk(1.0), plain, match(plain.bones), 30.0)
    animation.rotations = animation.rotations[:, :5]
    with pytest.raises(IndexError):
        keys.write_action(armature, animation, "x", 1)
    assert not bpy.data.actions and armature.animation_data is None


def test_constraints_are_warned_about():
    empty()
    armature = mannequin.add()
    mapping = armatures.bone_map(armature)
    assert armatures.warnings(armature, mapping) == []
    armature.pose.bones["left_knee"].constraints.new("IK")
    assert "left_knee" in armatures.warnings(armature, mapping)[0]


@pytest.mark.parametrize("prompt, name", [("", "Motion"), ("a\n b", "a b"), ("ö" * 80, "ö" * 30)])
def test_action_names(prompt, name):
    assert keys.action_name(prompt) == name
