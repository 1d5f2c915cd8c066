"""Files out of Blender hold the motion that was seen; characters come back in."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender.scenes import build, empty, world_heads  # noqa: E402
from figures import figure, mixamo_names, turn, walk, wild  # noqa: E402

from blender_addon.retarget import retarget  # noqa: E402
from blender_addon.retarget import rotations as rot  # noqa: E402
from blender_addon.rig import RigError, match  # noqa: E402
from blender_addon.scene import armature as armatures  # noqa: E402
from blender_addon.scene import capture, export, keys, mannequin  # noqa: E402
from blender_addon.scene.import_rig import import_rig  # noqa: E402


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
        arm = rot.to_axis_angle(motion.rotations[:, 16])
        assert np.abs(data["poses"].reshape(30, 55, 3)[:, 16] - arm).max() < 1e-3
        assert np.abs(data["trans"] - motion.translation).max() < 0.01


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
