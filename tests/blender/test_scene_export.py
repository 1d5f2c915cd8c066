"""Files out of Blender hold the motion that was seen; characters come back in."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import smpl_body  # noqa: E402
from blender import scenes  # noqa: E402
from blender.scenes import angle_between, build, empty, world_heads  # noqa: E402
from figures import figure, mixamo_names, turn, walk, wild  # noqa: E402

from blender_addon.retarget import CanonicalMotion, retarget, smpl  # noqa: E402
from blender_addon.retarget import rotations as rot  # noqa: E402
from blender_addon.rig import RigError, canonical, match  # noqa: E402
from blender_addon.scene import armature as armatures  # noqa: E402
from blender_addon.scene import capture, compat, export, keys, mannequin  # noqa: E402
from blender_addon.scene.import_rig import import_rig  # noqa: E402

JOINTS = canonical.JOINTS


def animate(armature, motion):
    plain = armatures.read_rig(armature)
    animation = retarget(motion, plain, match(plain.bones), capture.scene_fps())
    return keys.write_action(armature, animation, "motion", 1)


def imported():
    matrix = np.eye(4)
    matrix[:3, :3] = rot.to_matrix(turn("x", -90.0)) * 0.01
    return build(figure(mixamo_names(), arms_down=45, object_matrix=matrix, root="Root"))


MAKERS = {"mannequin": mannequin.add, "scale 0.01, -90 X": imported}


@pytest.fixture(params=MAKERS)
def animated(request):
    empty()
    armature = MAKERS[request.param]()
    animate(armature, wild(30))
    return armature


def seen(armature, frames=30, start=1) -> dict[str, np.ndarray]:
    heads = world_heads(armature, range(start, start + frames))
    return {name.replace("mixamorig:", ""): path for name, path in heads.items()}


def same_motion(before, after, tolerance=1e-3):
    shared = [name for name in before if name in after and name != "Root"]
    assert len(shared) >= 22
    for name in shared:
        assert np.abs(before[name] - after[name]).max() < tolerance, name


def test_bvh_comes_back_the_same(animated, tmp_path):
    before = seen(animated)
    path = export.bvh(animated, tmp_path / "deep" / "motion.bvh")
    lines = path.read_text().splitlines()
    assert lines[0] == "HIERARCHY" and "Frames: 30" in lines
    empty()
    same_motion(before, seen(import_rig(path)))


def test_glb_comes_back_the_same(animated, tmp_path):
    before = seen(animated)
    selected = list(bpy.context.selected_objects)
    path = export.glb(animated, tmp_path / "motion.glb")
    assert bpy.context.selected_objects == selected
    empty()
    back = import_rig(path)
    # glTF time zero is frame 0 in some importers and 1 in others
    start = int(back.animation_data.action.frame_range[0])
    same_motion(before, seen(back, start=start))


def test_fbx_comes_back_the_same(animated, tmp_path):
    before = seen(animated)
    path = export.fbx(animated, tmp_path / "motion.fbx")
    empty()
    back = import_rig(path)
    start = int(back.animation_data.action.frame_range[0])
    same_motion(before, seen(back, start=start), 5e-3)


def test_npz_holds_canonical_motion(tmp_path):
    empty()
    armature = mannequin.add()
    motion = walk(1.0)
    action = animate(armature, motion)
    path = export.npz(armature, tmp_path / "motion.npz", action)
    with np.load(path, allow_pickle=False) as data:
        assert data["poses"].shape == (30, 165) and data["trans"].shape == (30, 3)
        assert str(data["up_axis"]) == "Y" and str(data["gender"]) == "neutral"
        assert float(data["mocap_frame_rate"]) == 30.0
        assert data["rest_offsets"].shape == (22, 3) and data["contacts"].shape == (30, 4)
        turns, path_ = smpl.from_canonical(motion)
        poses = data["poses"].reshape(30, 55, 3)
        arms = np.abs(poses[:, 16:22] - rot.to_axis_angle(turns)[:, 16:])
        assert arms.max() < 1e-3 and not poses[:, 22:].any()
        assert np.abs(data["trans"] - path_).max() < 0.01 and str(data["zero_pose"]) == "SMPL"


def test_rotations_counted_from_smpls_zero_pose_pose_smpls_bones_alike(tmp_path):
    """The zero pose stands apart from the T-pose by some degrees; limbs have to point where the motion has them."""
    motion = wild(20)
    turns, _ = smpl.from_canonical(motion)
    world = CanonicalMotion(turns, motion.translation).global_rotations()
    ours = motion.global_rotations()
    for joint, child in ((1, 4), (4, 7), (17, 19), (19, 21)):
        theirs = rot.rotate(world[:, joint], smpl_body.places()[JOINTS[child]] - smpl_body.places()[JOINTS[joint]])
        own = rot.rotate(ours[:, joint], canonical.REST_OFFSETS[child])
        assert angle_between(theirs, own).max() < 0.01


@pytest.fixture(scope="module")
def rigify(tmp_path_factory):
    """A generated Rigify figure with a skin, animated by its controls, in a file."""
    armature = scenes.rigify()
    armature.name = "rig"
    body = bpy.data.objects.new("Body", bpy.data.meshes.new("Body"))
    body.data.from_pydata([(0, 0, 0), (1, 0, 0), (0, 0, 1)], [], [(0, 1, 2)])
    bpy.context.scene.collection.objects.link(body)
    body.parent = armature
    body.modifiers.new("Armature", "ARMATURE").object = armature
    body.vertex_groups.new(name="DEF-hand.L").add([0, 1, 2], 1.0, "REPLACE")
    rig, mapping = armatures.read_rig(armature), armatures.bone_map(armature)
    assert mapping.controls is not None
    keys.write_action(armature, retarget(walk(0.5), rig, mapping, 30.0, foot_lock=False), "steps", 1)
    path = tmp_path_factory.mktemp("rigify") / "rig.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    return path


@pytest.mark.parametrize("kind", ["fbx", "glb"])
def test_a_control_rig_leaves_as_its_deforming_bones(rigify, tmp_path, kind):
    bpy.ops.wm.open_mainfile(filepath=str(rigify))
    armature = bpy.data.objects["rig"]
    before = seen(armature, 15)
    state = sorted((thing.name, thing.select_get()) for thing in bpy.context.scene.objects), len(bpy.data.actions)
    path = getattr(export, kind)(armature, tmp_path / f"rig.{kind}")
    assert sorted((thing.name, thing.select_get()) for thing in bpy.context.scene.objects) == state[0]
    assert len(bpy.data.actions) == state[1] and bpy.data.objects["Body"].modifiers[0].object == armature
    empty()
    back = import_rig(path)
    assert [bone.name for bone in back.data.bones if bone.parent is None] == ["DEF-spine"]
    assert all(bone.name.startswith("DEF-") for bone in back.data.bones) and len(back.data.bones) > 22
    assert back.data.bones["DEF-upper_arm.L"].parent.name == "DEF-shoulder.L"
    assert back.data.bones["DEF-thigh.R"].parent.name == "DEF-spine"
    assert any(thing.type == "MESH" and thing.vertex_groups.get("DEF-hand.L") for thing in bpy.data.objects)
    start = int(back.animation_data.action.frame_range[0])
    after = seen(back, 15, start)
    for name in after:
        assert np.abs(before[name] - after[name]).max() < 1e-3, name
    assert match(armatures.bones(back)).error is None


@pytest.mark.parametrize("kind", ["fbx", "glb", "bvh", "npz"])
def test_what_strips_play_is_exported_too(tmp_path, kind):
    empty()
    armature = mannequin.add()
    action = animate(armature, wild(30))
    before = seen(armature)
    compat.assign(armature, None)
    compat.add_strip(armature, action, None, 1, "strip")
    path = getattr(export, kind)(armature, tmp_path / f"strip.{kind}", frame_range=(5, 24))
    if kind == "npz":
        with np.load(path, allow_pickle=False) as data:
            assert data["poses"].shape == (20, 165)
        return
    empty()
    back = import_rig(path)
    after = seen(back, 20, int(back.animation_data.action.frame_range[0]))
    same_motion({name: track[4:24] for name, track in before.items()}, after, 5e-3)


def test_end_sites_and_channels_are_as_other_programs_expect(tmp_path):
    empty()
    armature = mannequin.add()
    animate(armature, walk(0.5))
    text = export.bvh(armature, tmp_path / "a.bvh").read_text()
    assert text.count("End Site") == 5 and text.count("ROOT") == 1 and text.count("JOINT") == 21
    assert text.count("CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation") == 1
    ends = [line.split() for line in text.splitlines() if line.startswith("  ") and "OFFSET" in line]
    assert all(len(words) == 4 for words in ends)
    rows = text.split("Frame Time:")[1].splitlines()[1:]
    assert len(rows) == 15 and {len(row.split()) for row in rows} == {6 + 21 * 3}


def test_blend_copy(tmp_path):
    empty()
    armature = mannequin.add()
    animate(armature, walk(1.0))
    path = export.blend(tmp_path / "copy.blend")
    assert bpy.data.filepath == ""
    empty()
    back = import_rig(path)
    assert back.animation_data.action is not None
    assert [child.type for child in back.children] == ["MESH"]
    assert back.children[0].modifiers[0].object == back


def test_motion_over_another_range(tmp_path):
    empty()
    armature = mannequin.add()
    animate(armature, walk(1.0))
    path = export.bvh(armature, tmp_path / "part.bvh", (5, 9))
    assert "Frames: 5" in path.read_text()


def test_nothing_to_export_is_said(tmp_path):
    empty()
    armature = mannequin.add()
    for write, name in ((export.bvh, "a.bvh"), (export.glb, "a.glb"), (export.npz, "a.npz"), (export.fbx, "a.fbx")):
        with pytest.raises(RigError, match="no animation"):
            write(armature, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    empty()
    armature = mannequin.add()
    animate(armature, walk(1.0))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RigError, match="Could not write"):
        export.bvh(armature, tmp_path / "file" / "a.bvh")


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("missing.fbx", None, "no file"),
        ("notes.txt", b"hello", "not a kind of file"),
        ("broken.fbx", b"garbage", "could not read"),
        ("broken.glb", b"glTF garbage", "could not read"),
        ("broken.blend", b"garbage", "could not read"),
        ("broken.bvh", b"garbage", "could not read|holds no armature"),
    ],
)
def test_files_that_hold_no_character_are_refused(tmp_path, name, content, words):
    empty()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RigError, match=words):
        import_rig(tmp_path / name)


def test_a_file_without_an_armature_is_refused(tmp_path):
    empty()
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("thing", bpy.data.meshes.new("thing")))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "thing.blend"))
    empty()
    with pytest.raises(RigError, match="holds no armature"):
        import_rig(tmp_path / "thing.blend")
