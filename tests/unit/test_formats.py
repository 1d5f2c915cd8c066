"""Motion files: forward kinematics against independent arithmetic, round trips, and what is said of broken files."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from motions import walk  # noqa: E402

from backend.errors import BackendError  # noqa: E402
from backend.motion import canonical, formats, humanml3d, joint_matching  # noqa: E402
from backend.motion import rotations as rot  # noqa: E402
from backend.motion.formats import amc, bvh  # noqa: E402
from backend.motion.joint_matching import SourceMotion  # noqa: E402
from backend.motion.skeleton import CANONICAL_OFFSETS, JOINT_INDEX, Motion  # noqa: E402
from backend.protocol import JOINTS, PARENTS  # noqa: E402

ASF = """:version 1.10
:name tiny
:units
  mass 1.0
  length 0.45
  angle deg
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    id 1
    name upper
    direction 0.6 -0.8 0
    length 2.0
    axis 10 20 30 XYZ
    dof rx ry rz
  end
  begin
    id 2
    name lower
    direction 0 0 1
    length 1.5
    axis -40 5 15 XYZ
    dof rx rz
  end
  begin
    id 3
    name tip
    direction 1 0 0
    length 0.5
    axis 0 0 0 XYZ
  end
:hierarchy
  begin
    root upper
    upper lower
    lower tip
  end
"""
AMC = """:FULLY-SPECIFIED
:DEGREES
1
root 1 2 3 15 -25 40
upper 30 -20 10
lower 50 -35
2
root 1.5 2 3 0 0 0
upper 0 0 0
lower 0 90
"""


def axis_matrix(axis, degrees):
    """Rodrigues' formula, independent of the code under test."""
    x, y, z = axis
    a = np.radians(degrees)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=float)
    return np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * (k @ k)


def zyx(x, y, z):
    return axis_matrix((0, 0, 1), z) @ axis_matrix((0, 1, 0), y) @ axis_matrix((1, 0, 0), x)


def write_pair(folder):
    (folder / "9.asf").write_text(ASF)
    (folder / "9_01.amc").write_text(AMC)
    return folder / "9_01.amc"


def test_amc_positions_follow_the_asf_rules(tmp_path):
    path = write_pair(tmp_path)
    skeleton = amc.read_skeleton(amc.find_skeleton(path))
    source = amc.pose(skeleton, amc.read_channels(path, skeleton), 120)
    root = zyx(15, -25, 40)
    c1, c2 = zyx(10, 20, 30), zyx(-40, 5, 15)
    upper = root @ c1 @ zyx(30, -20, 10) @ c1.T
    lower = upper @ c2 @ zyx(50, 0, -35) @ c2.T
    knee = np.array([1, 2, 3]) + upper @ np.array([1.2, -1.6, 0])
    ankle = knee + lower @ np.array([0, 0, 1.5])
    names = source.names
    np.testing.assert_allclose(source.positions[0, names.index("lower")], knee, atol=1e-9)
    np.testing.assert_allclose(source.positions[0, names.index("tip")], ankle, atol=1e-9)
    np.testing.assert_allclose(source.rotations[0, names.index("lower")], lower, atol=1e-9)


def test_bvh_channels_are_applied_as_declared(tmp_path):
    path = tmp_path / "x.bvh"
    path.write_text(
        "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition Yrotation Xrotation Zrotation\n"
        "JOINT b\n{\nOFFSET 0 2 0\nCHANNELS 3 Zrotation Xrotation Yrotation\nEnd Site\n{\nOFFSET 0 1 0\n}\n}\n}\n"
        "MOTION\nFrames: 1\nFrame Time: 0.04\n1 2 3 30 40 50 10 20 60\n"
    )
    source = bvh.read_source(path)
    a = axis_matrix((0, 1, 0), 30) @ axis_matrix((1, 0, 0), 40) @ axis_matrix((0, 0, 1), 50)
    b = a @ axis_matrix((0, 0, 1), 10) @ axis_matrix((1, 0, 0), 20) @ axis_matrix((0, 1, 0), 60)
    np.testing.assert_allclose(source.rotations[0, 1], b, atol=1e-9)
    np.testing.assert_allclose(source.positions[0, 1], np.array([1, 2, 3]) + a @ [0, 2, 0], atol=1e-9)
    assert source.fps == pytest.approx(25)


def angle(a: Motion, b: Motion) -> float:
    return float(np.degrees(rot.quaternion_angle(a.rotations.astype(float), b.rotations.astype(float))).max())


@pytest.mark.parametrize("extension", [".bvh", ".npz"])
def test_round_trip(tmp_path, extension):
    motion = walk(yaw_rate=80)
    rng = np.random.default_rng(3)
    motion.rotations[:, 16:20] = rot.axis_angle_to_quaternion(rng.normal(size=(motion.frames, 4, 3)))
    motion.rest_offsets = CANONICAL_OFFSETS * 1.1
    formats.write(tmp_path / f"m{extension}", motion)
    back = formats.read(tmp_path / f"m{extension}")
    assert back.fps == 30 and back.frames == motion.frames
    assert angle(motion, back) < 0.01
    assert np.abs(back.translation - motion.translation).max() < 1e-4
    assert np.abs(back.joints() - motion.joints()).max() < 1e-4


def test_joint_positions_file(tmp_path):
    motion = walk(1.0)
    formats.write(tmp_path / "m.npy", motion)
    joints = np.load(tmp_path / "m.npy", allow_pickle=False)
    assert joints.shape == (20, 22, 3) and joints.dtype == np.float32  # HumanML3D: 20 fps, SMPL's bones
    legs = np.linalg.norm(joints[:, 4] - joints[:, 1], axis=-1)
    np.testing.assert_allclose(legs, np.linalg.norm(humanml3d.SMPL_REST[4]), atol=1e-3)
    back = formats.read(tmp_path / "m.npy")
    ours, theirs = (m.joints()[: back.frames] - m.translation[: back.frames, None] for m in (motion, back))
    assert back.frames >= 28 and np.linalg.norm(ours - theirs, axis=-1).mean() < 0.01


def test_amass_is_z_up(tmp_path):
    frames = 60
    poses = np.zeros((frames, 156))
    poses[:, 0] = np.pi / 2  # AMASS: the body stands along Z, so the root turns it about X
    trans = np.zeros((frames, 3))
    trans[:, 1] = -np.arange(frames) / 60  # forward is -Y
    trans[:, 2] = 0.9
    np.savez(tmp_path / "a.npz", poses=poses, trans=trans, gender="neutral", mocap_framerate=60.0)
    motion = formats.read(tmp_path / "a.npz")
    assert motion.frames == 30
    joints = motion.joints()
    assert joints[0, JOINT_INDEX["head"], 1] > joints[0, 0, 1] + 0.4
    assert motion.translation[-1, 2] > 0.8 and abs(motion.translation[-1, 0]) < 1e-6
    assert abs(joints[:, [10, 11], 1].min()) < 0.02


def source_like_cmu(motion: Motion, scale: float, turn: np.ndarray) -> SourceMotion:
    """The same motion on another skeleton: other names, unit, facing, and a rest pose with spread legs."""
    family = next(f for f in joint_matching.families() if f.name == "CMU ASF")
    names = [family.joints[j] for j in JOINTS]
    rest = np.stack([np.eye(3)] * 22)
    for side, sign in (("left", 1), ("right", -1)):
        for part in ("hip", "knee", "ankle", "foot"):
            rest[JOINT_INDEX[f"{side}_{part}"]] = axis_matrix((0, 0, 1), 20 * sign)
    world = np.empty((motion.frames, 22, 3, 3))
    local = rot.quaternion_to_matrix(motion.rotations.astype(float))
    for j, p in enumerate(PARENTS):
        world[:, j] = local[:, j] if p < 0 else world[:, p] @ local[:, j]
    delta = turn @ world @ np.swapaxes(rest, -1, -2) @ turn.T
    offsets = np.stack([turn @ rest[max(p, 0)] @ CANONICAL_OFFSETS[j] * scale for j, p in enumerate(PARENTS)])
    positions = motion.joints() @ turn.T * scale
    return SourceMotion(names, list(PARENTS), offsets, delta, positions, 30.0, "made.amc")


@pytest.mark.parametrize("degrees", [0, 90, 180])
def test_another_skeleton_gives_the_same_motion(degrees):
    motion = walk(yaw_rate=40)
    source = source_like_cmu(motion, 18.0, axis_matrix((0, 1, 0), degrees))
    found = canonical.to_canonical(source)
    assert angle(motion, found) < 0.1
    moved = found.translation - motion.translation
    assert np.ptp(moved, axis=0).max() < 1e-4


def test_missing_joints_are_named():
    source = source_like_cmu(walk(0.5), 1.0, np.eye(3))
    gone = [JOINT_INDEX[joint] for joint in ("left_knee", "left_ankle", "left_foot")]
    keep = [j for j in range(22) if j not in gone]
    short = SourceMotion(
        [source.names[j] for j in keep],
        [keep.index(PARENTS[j]) if j else -1 for j in keep],
        source.offsets[keep],
        source.rotations[:, keep],
        source.positions[:, keep],
        30.0,
        "legless.bvh",
    )
    with pytest.raises(BackendError, match=r"legless\.bvh: .*not found.*: left_knee, left_ankle\.") as caught:
        canonical.to_canonical(short)
    assert caught.value.code == "bad_file"


def test_a_rest_pose_that_is_no_person_is_refused():
    source = source_like_cmu(walk(0.5), 1.0, np.eye(3))
    source.offsets[:] = np.abs(source.offsets)
    for j, parent in enumerate(PARENTS):
        if parent >= 0:
            bone = source.rotations[:, parent] @ source.offsets[j]
            source.positions[:, j] = source.positions[:, parent] + bone
    with pytest.raises(BackendError, match="rest pose"):
        canonical.to_canonical(source)


def test_resampling_keeps_time():
    motion = walk(2.0)
    source = source_like_cmu(motion, 1.0, np.eye(3))
    source.fps = 60.0
    found = canonical.to_canonical(source)
    assert found.frames == 30
    np.testing.assert_allclose(np.ptp(found.translation[:, 2]), np.ptp(motion.translation[:59, 2]), atol=1e-3)


BROKEN = {
    "cut.bvh": ("HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\n", "MOTION"),
    "word.bvh": ("HIERARCHY\nROOT a\n{\nOFFSET 0 zero 0\n", "line 4"),
    "channels.bvh": ("HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 2 Xrotation Sideways\n}\n", "line 5"),
    "few.bvh": (
        "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 3 Xrotation Yrotation Zrotation\n}\nMOTION\nFrames: 2\n"
        "Frame Time: 0.03\n1 2 3\n1 2\n",
        "line 11",
    ),
    "nothing.bvh": ("", "MOTION"),
    "no.npz": ("not a zip", "npz"),
    "no.xyz": ("", "kind of file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_in_words(tmp_path, name):
    text, part = BROKEN[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(BackendError, match=part) as caught:
        formats.read(tmp_path / name)
    assert caught.value.code == "bad_file" and name in caught.value.message


def test_broken_amc_names_the_line(tmp_path):
    path = write_pair(tmp_path)
    path.write_text(AMC.replace("lower 50 -35", "lower 50 x"))
    with pytest.raises(BackendError, match="line 6"):
        formats.read(path)
    path.write_text(AMC.replace("upper 0 0 0\n", ""))
    with pytest.raises(BackendError, match="upper"):
        formats.read(path)


def test_objects_in_npz_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "o.npz", poses=np.array([{"a": 1}], dtype=object), trans=np.zeros((1, 3)))
    with pytest.raises(BackendError):
        formats.read(tmp_path / "o.npz")


def test_real_capture_keeps_its_bone_directions(shared):
    folder = shared / "mocap"
    path, skeleton = folder / "cmu" / "amc" / "02_01.amc", folder / "cmu" / "asf" / "02.asf"
    if not path.is_file():
        pytest.skip("the sample has no CMU capture")
    bones = amc.read_skeleton(skeleton)
    source = amc.pose(bones, amc.read_channels(path, bones), 30.0, path.name)
    motion = canonical.to_canonical(source)
    joints, family = motion.joints(), joint_matching.match(source)
    for a, b in (("left_hip", "left_knee"), ("right_knee", "right_ankle"), ("left_elbow", "left_wrist")):
        i, j = (source.names.index(family.joints[name]) for name in (a, b))
        true = source.positions[:, j] - source.positions[:, i]
        ours = joints[:, JOINT_INDEX[b]] - joints[:, JOINT_INDEX[a]]
        cosine = (true * ours).sum(1) / np.linalg.norm(true, axis=1) / np.linalg.norm(ours, axis=1)
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.5
    assert -0.05 < joints[..., 1].min() < 0.03 and 0.85 < np.median(motion.translation[:, 1]) < 1.0
