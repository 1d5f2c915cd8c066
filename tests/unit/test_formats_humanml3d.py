"""HumanML3D arrays: the 263 numbers against independent arithmetic and the published sample, and what inverse
kinematics makes of positions."""

import numpy as np
import pytest

pytest.importorskip("scipy")

import bvh_files  # noqa: E402
from motions import walk  # noqa: E402

from backend.errors import BackendError  # noqa: E402
from backend.motion import formats, humanml3d, inverse_kinematics  # noqa: E402
from backend.motion import rotations as rot  # noqa: E402
from backend.motion.formats import amc, humanml3d_npy  # noqa: E402
from backend.motion.skeleton import JOINT_INDEX, Motion, forward_kinematics, global_rotations  # noqa: E402
from backend.protocol import JOINTS, PARENTS  # noqa: E402


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles (...) between rotation matrices (...,3,3)."""
    return np.degrees(rot.quaternion_angle(rot.matrix_to_quaternion(a), rot.matrix_to_quaternion(b)))


def local(world: np.ndarray) -> np.ndarray:
    result = world.copy()
    for j, parent in enumerate(PARENTS):
        if parent >= 0:
            result[:, j] = np.swapaxes(world[:, parent], -1, -2) @ world[:, j]
    return rot.matrix_to_quaternion(result)


def test_features_mean_what_the_papers_scripts_say():
    joints = walk(3.0, 1.2).joints()[::2].astype(float)  # straight along +Z
    features = humanml3d.encode(joints)
    assert features.shape == (len(joints) - 1, 263) and features.dtype == np.float32
    np.testing.assert_allclose(features[:, 0], 0, atol=1e-6)
    np.testing.assert_allclose(features[:, 1], 0, atol=1e-6)
    np.testing.assert_allclose(features[:, 2], 1.2 / 15, atol=1e-5)
    np.testing.assert_allclose(features[:, 3], joints[:-1, 0, 1] - joints[..., 1].min(), atol=1e-5)
    knee = features[:, 4:67].reshape(-1, 21, 3)[:, JOINT_INDEX["left_knee"] - 1]
    expected = joints[:-1, JOINT_INDEX["left_knee"]] - joints[:-1, 0] * [1, 0, 1]
    np.testing.assert_allclose(knee, expected - [0, joints[..., 1].min(), 0], atol=1e-5)
    speed = features[:, 193:259].reshape(-1, 22, 3)
    np.testing.assert_allclose(speed, np.diff(joints, axis=0), atol=1e-5)
    still = (np.diff(joints[:, [7, 10, 8, 11]], axis=0) ** 2).sum(-1) < 0.002
    np.testing.assert_array_equal(features[:, 259:] > 0.5, still)
    # columns of rotations are of length one and at right angles
    six = features[:, 67:193].reshape(-1, 21, 2, 3)
    np.testing.assert_allclose(np.linalg.norm(six, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose((six[..., 0, :] * six[..., 1, :]).sum(-1), 0, atol=1e-5)


@pytest.mark.parametrize("yaw_rate", [0, 120, -400])
def test_features_give_the_joints_back(yaw_rate):
    joints = humanml3d.placed(bvh_files.lively(4.0, yaw_rate).joints()[::2])
    back = humanml3d.decode(humanml3d.encode(joints, place=False))
    assert np.abs(back - joints[:-1]).max() < 1e-4


def test_placed_starts_on_the_floor_and_faces_forward():
    joints = bvh_files.lively().joints() + [3.0, 1.0, -2.0]
    turned = rot.quaternion_rotate(np.array([np.cos(1.0), 0, np.sin(1.0), 0]), joints.astype(float))
    placed = humanml3d.placed(turned)
    np.testing.assert_allclose(placed[0, 0, [0, 2]], 0, atol=1e-9)
    assert placed[..., 1].min() == 0
    across = placed[0, 1] - placed[0, 2] + placed[0, 16] - placed[0, 17]
    assert abs(across[2]) < 1e-6 and across[0] > 0


def test_the_published_sample_converts_to_its_own_joints(shared):
    folder = shared / "mocap" / "humanml3d_sample"
    if not folder.is_dir():
        pytest.skip("the published sample is not there")
    joints = np.load(folder / "new_joints" / "012314.npy", allow_pickle=False)
    features = np.load(folder / "new_joint_vecs" / "012314.npy", allow_pickle=False)
    assert np.abs(humanml3d.decode(features) - joints).max() < 1e-3
    ours = humanml3d.encode(joints)
    assert np.abs(humanml3d.decode(ours) - joints[:-1]).max() < 1e-3
    # the smoothing of the heading reaches over the last frame, which the joints no longer have
    inner = np.abs(ours - features[:-1])[:-60]
    assert inner.max() < 1e-3, {name: inner[:, block].max() for name, block in humanml3d.BLOCKS.items()}
    a, b = (formats.read(folder / kind / "012314.npy") for kind in ("new_joints", "new_joint_vecs"))
    assert a.fps == 30 and abs(a.seconds - len(joints) / 20) < 0.1
    assert np.abs(a.joints() - b.joints()).max() < 1e-3
    skeleton, world = humanml3d_npy.solve(joints.astype(float), None, "Y", "sample")
    posed = forward_kinematics(local(world), joints[:, 0], skeleton.rest)
    assert np.abs(posed - joints).max() < 1e-3


def test_normalised_features_are_read_with_mean_and_std(tmp_path):
    features = humanml3d.encode(walk(2.0).joints()[::2])
    mean, std = features.mean(0), features.std(0) + 0.1
    for name, array in (("x", (features - mean) / std), ("plain", features), ("Mean", mean), ("Std", std)):
        np.save(tmp_path / f"{name}.npy", array)
    plain = formats.read(tmp_path / "plain.npy")
    found = formats.read(tmp_path / "x.npy", mean=tmp_path / "Mean.npy", std=tmp_path / "Std.npy")
    assert np.abs(plain.joints() - found.joints()).max() < 1e-3
    with pytest.raises(BackendError, match="both"):
        formats.read(tmp_path / "x.npy", mean=tmp_path / "Mean.npy")
    with pytest.raises(BackendError, match="263"):
        formats.read(tmp_path / "x.npy", mean=tmp_path / "x.npy", std=tmp_path / "Std.npy")


def test_positions_alone_give_limbs_their_twist():
    motion = bvh_files.lively(yaw_rate=90)
    joints = motion.joints().astype(float)
    world = inverse_kinematics.world_rotations(joints, motion.rest_offsets, 30.0)
    true = global_rotations(motion.rotations.astype(float))
    error = degrees(world, true).max(0)
    blind = ("neck", "head", "foot", "wrist", "ankle")  # no next joint, or one that says nothing about twist
    for j, joint in enumerate(JOINTS):
        if not joint.endswith(blind):
            assert error[j] < 8.0, f"{joint}: {error[j]:.1f} degrees"
    posed = forward_kinematics(local(world), motion.translation, motion.rest_offsets)
    assert np.abs(posed - joints).max() < 2e-3


def test_straight_limbs_keep_the_twist_of_before_and_do_not_flip():
    motion = bvh_files.lively()
    # for half a second in the middle arms and legs are straight
    for side in ("left", "right"):
        for joint in ("elbow", "knee"):
            motion.rotations[40:56, JOINT_INDEX[f"{side}_{joint}"]] = [1, 0, 0, 0]
    world = inverse_kinematics.world_rotations(motion.joints(), motion.rest_offsets, 30.0)
    assert np.isfinite(world).all()
    true = global_rotations(motion.rotations.astype(float))
    upper = [JOINT_INDEX[f"{s}_{j}"] for s in ("left", "right") for j in ("hip", "shoulder")]
    step = degrees(world[1:], world[:-1])[:, upper]
    assert step.max() < 2 * degrees(true[1:], true[:-1])[:, upper].max() + 5
    assert degrees(world, true)[40:56, upper].max() < 30


def test_a_t_pose_that_never_moves_is_no_rotation():
    motion = Motion(np.tile([1.0, 0, 0, 0], (5, 22, 1)), np.tile([0, 0.96, 0], (5, 1)))
    world = inverse_kinematics.world_rotations(motion.joints(), motion.rest_offsets, 30.0)
    np.testing.assert_allclose(world, np.broadcast_to(np.eye(3), world.shape), atol=1e-5)


@pytest.mark.parametrize(("scale", "up"), [(1.0, "Y"), (100.0, "Y"), (1000.0, "Z")])
def test_positions_come_in_in_any_unit(tmp_path, scale, up):
    motion = bvh_files.lively()
    joints = motion.joints() * scale
    np.save(tmp_path / "j.npy", joints if up == "Y" else joints @ bvh_files.Z_UP.T)
    found = formats.read(tmp_path / "j.npy", up=up)
    assert found.frames == motion.frames  # our own bones: 30 fps
    moved = found.joints() - motion.joints()
    assert np.abs(moved - moved.mean((0, 1))).max() < 3e-3


def test_features_written_are_read_back(tmp_path):
    motion = bvh_files.lively()
    formats.write(tmp_path / "f.npy", motion, features=True)
    assert np.load(tmp_path / "f.npy", allow_pickle=False).shape == (59, 263)
    found = formats.read(tmp_path / "f.npy")
    assert abs(found.seconds - motion.seconds) < 0.15
    ours, theirs = (m.joints()[: found.frames] - m.translation[: found.frames, None] for m in (motion, found))
    assert np.linalg.norm(ours - theirs, axis=-1).mean() < 0.01


def test_smpl_bodies_with_more_joints_and_a_batch_of_one(tmp_path):
    joints = bvh_files.lively().joints()
    more = np.concatenate([joints, joints[:, -2:]], axis=1)
    np.save(tmp_path / "smpl.npy", more[None])
    assert formats.read(tmp_path / "smpl.npy").frames == len(joints)
    np.save(tmp_path / "two.npy", np.stack([joints, joints]))
    with pytest.raises(BackendError, match="2 motions"):
        formats.read(tmp_path / "two.npy")


def test_amass_counts_from_smpls_own_rest_pose(tmp_path):
    frames = 30
    poses = np.zeros((frames, 165))
    poses[:, 0] = np.pi / 2
    # hanging arms of the SMPL body: straight down from its own T-pose, which has them a little low and back
    for j, sign in ((16, 1.0), (17, -1.0)):
        down = rot.minimal_rotation(humanml3d.SMPL_REST[j + 2], np.array([0, -1.0, 0]))
        poses[:, 3 * j : 3 * j + 3] = rot.quaternion_to_axis_angle(rot.matrix_to_quaternion(down))
        assert sign * humanml3d.SMPL_REST[j + 2, 0] > 0
    np.savez(tmp_path / "a.npz", poses=poses, trans=np.zeros((frames, 3)), mocap_frame_rate=30.0)
    joints = formats.read(tmp_path / "a.npz").joints()
    for side in ("left", "right"):
        arm = joints[0, JOINT_INDEX[f"{side}_elbow"]] - joints[0, JOINT_INDEX[f"{side}_shoulder"]]
        assert arm[1] / np.linalg.norm(arm) < -0.999
        # the legs of that body stand apart
        leg = joints[0, JOINT_INDEX[f"{side}_knee"]] - joints[0, JOINT_INDEX[f"{side}_hip"]]
        assert 3 < np.degrees(np.arccos(-leg[1] / np.linalg.norm(leg))) < 9


def test_real_capture_survives_without_its_rotations(tmp_path, shared):
    folder = shared / "mocap" / "cmu"
    if not (folder / "amc" / "02_01.amc").is_file():
        pytest.skip("the sample has no CMU capture")
    skeleton = amc.find_skeleton(folder / "amc" / "02_01.amc")
    for name in ("02_01", "02_05"):
        if not (folder / "amc" / f"{name}.amc").is_file():
            continue
        motion = formats.read(folder / "amc" / f"{name}.amc", source_fps=30, skeleton=skeleton)
        world = inverse_kinematics.world_rotations(motion.joints(), motion.rest_offsets, 30.0)
        error = degrees(world, global_rotations(motion.rotations.astype(float))).mean(0)
        limbs = [JOINT_INDEX[f"{s}_{j}"] for s in ("left", "right") for j in ("hip", "knee", "shoulder", "elbow")]
        assert error[limbs].max() < 6 and error[[0, 3, 6, 9]].max() < 2
        posed = forward_kinematics(local(world), motion.translation, motion.rest_offsets)
        assert np.linalg.norm(posed - motion.joints(), axis=-1).mean() < 1e-3
