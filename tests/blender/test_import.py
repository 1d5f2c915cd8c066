"""Motion files onto armatures and out of them again: through the buttons, through ``api``, with nothing lost."""

import os

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import smpl_body  # noqa: E402
from blender.scenes import build, tick_until_done, world_heads  # noqa: E402
from figures import TO_BLENDER, figure, mixamo_names, turn, walk, wild  # noqa: E402

from blender_addon import api, commit, results, runtime  # noqa: E402
from blender_addon.client import environment  # noqa: E402
from blender_addon.retarget import retarget, smpl  # noqa: E402
from blender_addon.retarget import rotations as rot  # noqa: E402
from blender_addon.rig import canonical  # noqa: E402
from blender_addon.scene import armature as armatures  # noqa: E402
from blender_addon.scene import capture, keys, mannequin, takes  # noqa: E402


@pytest.fixture
def real(addon):
    """The real backend, which reads and writes files without any model (``MOMUG_TEST_BACKEND`` may name its Python)."""
    python = environment.backend_python(os.environ.get("MOMUG_TEST_BACKEND", ""))
    if python is None:
        pytest.skip("the backend is not installed here")
    bpy.context.scene.render.fps = 30
    runtime.configure(python=python)
    yield
    runtime.configure()


def animate(armature, motion, name="motion"):
    rig = armatures.read_rig(armature)
    animation = retarget(motion, rig, armatures.bone_map(armature), capture.scene_fps(), foot_lock=False)
    return keys.write_action(armature, animation, name, 1)


def values(action, armature) -> dict:
    """(path, index) -> keyed values, bit for bit."""
    from blender_addon.scene import compat

    return {
        (curve.data_path, curve.array_index): [tuple(key.co) for key in curve.keyframe_points]
        for curve in compat.fcurves(action, armature)
    }


def a_file(folder, name="steps.npz"):
    path = folder / name
    path.write_bytes(b"the fake backend never looks into it")
    return path


# --- the way in, with a backend that makes a walk of every file


def test_a_file_becomes_a_take_that_can_be_rejected(fake, mannequin, tmp_path):
    own = animate(mannequin, wild(20), "mine")
    before = values(own, mannequin)
    action = api.import_motion(a_file(tmp_path), mannequin, frame_start=11)
    assert action.name == "steps" and mannequin.animation_data.action == action
    found = commit.pending(mannequin)
    assert found.take.first == 11 and found.take.options.foot_lock is False
    assert results.recipe(action)["file"] == "steps.npz" and not results.has_recipe(action)
    api.reject(mannequin)
    assert mannequin.animation_data.action == own and values(own, mannequin) == before
    assert [action.name for action in bpy.data.actions] == ["mine"]


def test_into_a_range_of_the_present_action(fake, mannequin, tmp_path):
    own = animate(mannequin, wild(60), "mine")
    before = values(own, mannequin)
    action = api.import_motion(
        a_file(tmp_path), mannequin, frame_range=(20, 40), destination="SPLICE", blend_in=4, blend_out=4
    )
    assert action == own
    for curve, keyed in values(own, mannequin).items():
        outside = [key for key in keyed if not 20 < key[0] < 40]
        assert outside == [key for key in before[curve] if not 20 < key[0] < 40]
    api.reject(mannequin)
    assert values(own, mannequin) == before


def test_the_button_is_one_undo_step(fake, mannequin, tmp_path):
    bpy.context.scene.frame_end = 20
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.momug.import_motion(filepath=str(a_file(tmp_path)), frame_start=5) == {"FINISHED"}
    tick_until_done()
    assert mannequin.animation_data.action.frame_range[0] == 5
    assert "steps.npz" in runtime.status().message and bpy.context.scene.frame_end > 20
    bpy.ops.ed.undo()
    assert not bpy.data.actions and bpy.context.scene.frame_end == 20


@pytest.mark.parametrize(
    ("name", "there", "words"),
    [("a.npz", False, "no file"), ("a.txt", True, "no motion file"), ("a", True, "Use .npz")],
)
def test_what_is_no_motion_file_is_said_at_once(fake, mannequin, snapshot, tmp_path, name, there, words):
    if there:
        a_file(tmp_path, name)
    before = snapshot()
    with pytest.raises(api.Error) as caught:
        api.import_motion(tmp_path / name, mannequin)
    assert words in f"{caught.value.message} {caught.value.hint}" and snapshot() == before
    with pytest.raises(RuntimeError, match="file"):
        bpy.ops.momug.import_motion(filepath=str(tmp_path / name))
    assert runtime.status().failed and snapshot() == before


def test_options_that_do_not_exist_are_said(fake, mannequin, tmp_path):
    for wrong in ({"no_such": 1}, {"destination": "ELSEWHERE"}, {"frame_range": (9, 3)}):
        with pytest.raises(api.Error):
            api.import_motion(a_file(tmp_path), mannequin, **wrong)
    with pytest.raises(api.Error, match="armature"):
        api.import_motion(a_file(tmp_path), None)


def test_the_buttons_say_what_is_missing(addon):
    with pytest.raises(RuntimeError, match="Select an armature"):
        bpy.ops.momug.import_motion(filepath="a.npz")
    bpy.context.view_layer.objects.active = mannequin.add()
    with pytest.raises(RuntimeError, match="no animation yet"):
        bpy.ops.momug.export_motion(filepath="a.bvh", kind="BVH")


# --- real files


@pytest.mark.parametrize("up", ["Z", "Y"])
@pytest.mark.parametrize("on_floor", [False, True])
def test_an_smplx_armature_shows_its_file_exactly(real, tmp_path, up, on_floor):
    lying = np.eye(4)
    lying[:3, :3] = rot.to_matrix(turn("x", 90.0)) * (1.0 if on_floor else 0.01)
    armature = build(smpl_body.rig(on_floor, object_matrix=lying), "SMPLX")
    body = smpl_body.motion()
    smpl_body.save(tmp_path / "a.npz", body, up=up)
    api.import_motion(tmp_path / "a.npz", armature, frame_start=1)
    rig, _, pose = capture.poses(armature)
    seen = smpl.read(rig, smpl.find(rig, armatures.bone_map(armature)), pose)
    assert seen.joints == body.joints and len(seen.joints) == 55
    assert np.degrees(rot.angle(seen.rotations, body.rotations)).max() < 1e-3
    moved = seen.translation - body.translation
    assert np.abs(moved - moved[0] * [0, on_floor, 0]).max() < 1e-5
    # and out again: the same numbers
    api.export(armature, tmp_path / "b.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as a, np.load(tmp_path / "b.npz", allow_pickle=False) as b:
        assert b["poses"].shape == a["poses"].shape == (40, 165)
        assert np.abs(a["poses"] - b["poses"])[:, 3:].max() < 1e-5
        assert float(b["mocap_frame_rate"]) == 30.0 and "zero_pose" not in b.files


def test_bones_of_an_smplx_armature_hold_the_files_rotations(real, tmp_path):
    """With bones along the body's axes, as SMPL-X armatures come, a bone's own quaternion is the file's."""
    rig = smpl_body.rig(object_matrix=np.block([[TO_BLENDER, np.zeros((3, 1))], [np.zeros(3), 1.0]]))
    for bone in rig.bones:
        bone.matrix[:3, :3], bone.tail = np.eye(3), bone.head + [0.0, 0.05, 0.0]
    armature = build(rig, "SMPLX")
    body = smpl_body.motion()
    smpl_body.save(tmp_path / "a.npz", body, up="Y")
    api.import_motion(tmp_path / "a.npz", armature, frame_start=1)
    for frame in (1, 17, 40):
        bpy.context.scene.frame_set(frame)
        for k, joint in enumerate(body.joints):
            there = np.array(armature.pose.bones[joint].rotation_quaternion)
            assert np.degrees(rot.angle(there, body.rotations[frame - 1, k])) < 1e-3, joint
        place = np.array(armature.pose.bones["pelvis"].location)
        assert np.abs(place - body.translation[frame - 1]).max() < 1e-5


def test_after_care_of_an_smplx_take_keeps_its_hands(real, tmp_path):
    armature = build(smpl_body.rig(True), "SMPLX")
    body = smpl_body.motion()
    smpl_body.save(tmp_path / "a.npz", body)
    api.import_motion(tmp_path / "a.npz", armature, frame_start=1)
    exact = world_heads(armature, [20])
    api.change(armature, foot_lock=True, clear_hands=True)
    finger = armature.pose.bones["left_index2"]
    bpy.context.scene.frame_set(20)
    rig = armatures.read_rig(armature)
    found = smpl.find(rig, armatures.bone_map(armature))
    seen = smpl.read(rig, found, capture.poses(armature)[2])
    k = seen.joints.index(finger.name)
    assert np.degrees(rot.angle(seen.rotations[:, k], body.rotations[:, k])).max() < 1e-3
    api.change(armature, foot_lock=False, clear_hands=False)  # from what is stored with the action
    again = world_heads(armature, [20])
    assert max(np.abs(again[name] - exact[name]).max() for name in exact) < 1e-6


def mixamo():
    matrix = np.eye(4)
    matrix[:3, :3] = rot.to_matrix(turn("x", -90.0)) * 0.01
    return build(figure(mixamo_names(), arms_down=45, object_matrix=matrix, root="Root"))


@pytest.mark.parametrize(
    ("name", "features", "degrees", "centimetres"),
    [("m.npz", False, 0.01, 0.01), ("m.bvh", False, 0.5, 0.5), ("m.npy", False, None, 2.0), ("m.npy", True, None, 2.0)],
)
def test_out_of_one_armature_and_onto_another(real, tmp_path, name, features, degrees, centimetres):
    source = mannequin.add()
    animate(source, walk(2.0))
    path = api.export(source, tmp_path / "deep" / name, features=features)
    other = mixamo()
    api.import_motion(path, other, frame_start=1)
    before, after = capture.capture(source), capture.capture(other)
    frames = min(before.frames, after.frames)
    assert frames >= 55
    if degrees is not None:
        error = np.degrees(rot.angle(before.global_rotations()[:frames], after.global_rotations()[:frames]))
        assert error.max() < degrees
    # where the figure stands is the armature's; how it stands, the file's
    ours, theirs = (m.joints()[:frames] - m.joints()[:frames, :1] for m in (before, after))
    assert 100 * np.linalg.norm(ours - theirs, axis=-1).mean() < centimetres
    travel = np.linalg.norm((before.translation - before.translation[0])[frames - 1][[0, 2]])
    again = np.linalg.norm((after.translation - after.translation[0])[frames - 1][[0, 2]])
    assert abs(travel - again) < 0.05 * travel + 0.02


@pytest.mark.parametrize("kind", ["new_joints", "new_joint_vecs"])
def test_the_published_sample_stands_on_its_own_joints(real, shared, kind):
    folder = shared / "mocap" / "humanml3d_sample"
    if not folder.is_dir():
        pytest.skip("the published sample is not there")
    bpy.context.scene.render.fps = 20
    joints = np.load(folder / "new_joints" / "012314.npy", allow_pickle=False)
    armature = build(smpl_body.like(joints), "own bones")
    action = api.import_motion(folder / kind / "012314.npy", armature, frame_start=1)
    frames = int(action.frame_range[1])
    assert frames >= len(joints) - 1
    heads = world_heads(armature, range(1, frames + 1))
    seen = np.stack([heads[joint] for joint in canonical.JOINTS], 1) @ TO_BLENDER
    assert np.linalg.norm(seen - joints[:frames], axis=-1).max() < 1e-3


def test_normalised_features_with_mean_and_std(real, tmp_path):
    source = mannequin.add()
    animate(source, walk(1.5))
    plain = api.export(source, tmp_path / "plain.npy", features=True)
    features = np.load(plain, allow_pickle=False)
    mean, std = features.mean(0), features.std(0) + 0.1
    for name, array in (("x", (features - mean) / std), ("Mean", mean), ("Std", std)):
        np.save(tmp_path / f"{name}.npy", array.astype(np.float64))
    found = []
    for name, more in (("plain", {}), ("x", {"mean": tmp_path / "Mean.npy", "std": tmp_path / "Std.npy"})):
        api.import_motion(tmp_path / f"{name}.npy", source, frame_start=1, **more)
        found.append(capture.capture(source).joints())
    assert np.abs(found[0] - found[1]).max() < 1e-3


def pickled(path):
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


BROKEN = {
    "pickled.npy": (pickled, "Python objects"),
    "cut.bvh": (lambda path: path.write_text("HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\n"), "no MOTION part"),
    "noise.npz": (lambda path: path.write_bytes(b"PK\x03\x04 nothing"), "could not be read"),
    "wrong.npz": (lambda path: np.savez(path, poses=np.zeros((4, 7)), trans=np.zeros((4, 3))), "do not fit a body"),
    "wrong.npy": (lambda path: np.save(path, np.zeros((4, 5))), "is no motion"),
    "nan.npy": (lambda path: np.save(path, np.full((9, 22, 3), np.nan)), "not finite"),
}


def test_a_broken_file_is_one_sentence_and_nothing_changes(real, mannequin, snapshot, tmp_path):
    animate(mannequin, wild(10), "mine")
    before = snapshot(), values(mannequin.animation_data.action, mannequin)
    for name, (make, words) in BROKEN.items():
        make(tmp_path / name)
        with pytest.raises(api.Error) as caught:
            api.import_motion(tmp_path / name, mannequin)
        assert words in caught.value.message and name in caught.value.message and "\n" not in caught.value.message
        assert (snapshot(), values(mannequin.animation_data.action, mannequin)) == before
        assert commit.pending(mannequin) is None and not takes.read(mannequin.animation_data.action)


def test_the_backends_bvh_in_blenders_own_importer(real, tmp_path):
    motion = walk(1.0)
    arrays = {name: getattr(motion, name) for name in ("rotations", "translation", "rest_offsets")}
    path = str(tmp_path / "a.bvh")
    runtime.wait(runtime.start("write", {"path": path, "fps": 30.0}, arrays, lambda _header, _arrays: None))
    bpy.ops.import_anim.bvh(filepath=path, global_scale=0.01)
    armature = bpy.context.object
    heads = world_heads(armature, range(1, 31))
    for j, joint in enumerate(canonical.JOINTS):
        assert np.abs(heads[joint] - motion.joints()[:, j] @ TO_BLENDER.T).max() < 1e-3, joint
    assert armature.data.bones["head"].length == pytest.approx(0.20, abs=1e-4)  # what the end site says
