"""BVH files of any skeleton: joints by tables, by words in names, and by structure; units, axes, channel orders."""

import dataclasses
import random

import numpy as np
import pytest

pytest.importorskip("scipy")

import bvh_files  # noqa: E402

from backend.errors import BackendError  # noqa: E402
from backend.motion import canonical, formats, joint_matching, structure  # noqa: E402
from backend.motion import rotations as rot  # noqa: E402
from backend.motion.formats import bvh, cmu_actions  # noqa: E402
from backend.motion.skeleton import JOINT_INDEX, Motion, global_rotations  # noqa: E402
from backend.protocol import JOINTS  # noqa: E402

NOTHING = {joint: f"bone{(i * 7) % 22:02d}" for i, joint in enumerate(JOINTS)}
BIPED = {
    "pelvis": "Bip01 Pelvis", "spine1": "Bip01 Spine", "spine2": "Bip01 Spine1", "spine3": "Bip01 Spine2",
    "neck": "Bip01 Neck", "head": "Bip01 Head",
} | {
    f"{side}_{part}": f"Bip01 {side[0].upper()} {word}"
    for side in ("left", "right")
    for part, word in (
        ("hip", "Thigh"), ("knee", "Calf"), ("ankle", "Foot"), ("foot", "Toe0"), ("collar", "Clavicle"),
        ("shoulder", "UpperArm"), ("elbow", "Forearm"), ("wrist", "Hand"),
    )
}  # fmt: skip


def degrees(a: Motion, b: Motion) -> np.ndarray:
    """Angles (T,22) between world rotations."""
    p, q = (rot.matrix_to_quaternion(global_rotations(m.rotations.astype(float))) for m in (a, b))
    return np.degrees(rot.quaternion_angle(p, q))


def same(motion: Motion, found: Motion, angle: float = 0.2, metres: float = 2e-3) -> None:
    assert found.frames == motion.frames and found.fps == 30
    assert degrees(motion, found).max() < angle
    moved = found.translation - motion.translation
    assert np.abs(moved - moved.mean(0)).max() < metres
    assert abs(moved[:, [0, 2]].mean()) < metres


@pytest.mark.parametrize(
    "options",
    [
        {"names": bvh_files.names_of(bvh_files.MIXAMO)},
        {"names": {k: f"mixamorig:{v}" for k, v in bvh_files.names_of(bvh_files.MIXAMO).items()}, "scale": 1.0},
        {"names": BIPED, "scale": 39.37, "root": True},
        {"names": {k: v.lower() for k, v in bvh_files.names_of(bvh_files.MIXAMO, "l_", "r_").items()}, "order": "XYZ"},
        {"scale": 1.0},
        {"world": bvh_files.Z_UP},
        {"names": NOTHING},
        {"names": NOTHING, "scale": 1000.0, "world": bvh_files.Z_UP, "order": "YXZ"},
        {"names": NOTHING, "zero_joints": True, "root": True},
        {"names": NOTHING, "place": True, "scale": 0.5},
    ],
    ids=[
        "plain Mixamo",
        "prefix",
        "Biped",
        "lower case",
        "our names, metres",
        "our names, Z up",
        "no names",
        "Z up, mm",
        "zero joints",
        "positions",
    ],
)
def test_any_hierarchy_gives_the_same_motion(tmp_path, options):
    motion = bvh_files.lively()
    bvh_files.write(tmp_path / "a.bvh", motion, **options)
    same(motion, formats.read(tmp_path / "a.bvh"))


def test_a_file_that_lies_is_put_upright_when_told(tmp_path):
    motion = bvh_files.lively()
    # the rest pose stands along Y, but the motion was exported Z up
    tilted = dataclasses.replace(motion)
    turn = rot.matrix_to_quaternion(bvh_files.Z_UP)
    tilted.rotations = motion.rotations.copy()
    tilted.rotations[:, 0] = rot.quaternion_multiply(turn, motion.rotations[:, 0].astype(float))
    tilted.translation = (motion.translation @ bvh_files.Z_UP.T).astype(np.float32)
    bvh_files.write(tmp_path / "a.bvh", tilted, NOTHING)
    same(motion, formats.read(tmp_path / "a.bvh", up="Z"))
    with pytest.raises(BackendError, match="no axis"):
        formats.read(tmp_path / "a.bvh", up="W")


def test_a_zero_pose_that_is_no_person_is_found_out_from_the_motion(tmp_path):
    motion = bvh_files.lively()
    # all bones along X, as exporters leave them that write every bone in its own axes
    bind = np.stack([np.eye(3)] * 22)
    for joint, child in (
        ("hip", "knee"),
        ("knee", "ankle"),
        ("ankle", "foot"),
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
    ):
        for side in ("left", "right"):
            bone = motion.rest_offsets[JOINT_INDEX[f"{side}_{child}"]].astype(float)
            bind[JOINT_INDEX[f"{side}_{joint}"]] = rot.minimal_rotation(np.array([1.0, 0, 0]), bone)
    for joint in ("spine1", "spine2", "spine3", "neck", "head"):
        bind[JOINT_INDEX[joint]] = rot.minimal_rotation(np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
    bvh_files.write(tmp_path / "a.bvh", motion, NOTHING, bind=bind)
    found = formats.read(tmp_path / "a.bvh")
    limbs = [JOINT_INDEX[f"{s}_{j}"] for s in ("left", "right") for j in ("hip", "knee", "shoulder", "elbow")]
    error = degrees(motion, found)
    assert error[:, limbs].mean() < 5 and error.mean() < 8
    ours, theirs = (m.joints() - m.translation[:, None] for m in (motion, found))
    assert np.linalg.norm(ours - theirs, axis=-1).mean() < 0.03


@pytest.mark.parametrize("gone", ["left_elbow", "right_knee", "head"])
def test_what_is_missing_is_said(tmp_path, gone):
    bvh_files.write(tmp_path / "a.bvh", bvh_files.lively(), bvh_files.names_of(bvh_files.MIXAMO), without=(gone,))
    with pytest.raises(BackendError, match=f"a.bvh: these joints were not found.*{gone}") as caught:
        formats.read(tmp_path / "a.bvh")
    assert caught.value.code == "bad_file"


def test_optional_joints_may_be_missing(tmp_path):
    motion = bvh_files.lively()
    gone = ("left_wrist", "right_wrist", "left_foot", "right_foot")
    bvh_files.write(tmp_path / "a.bvh", motion, bvh_files.names_of(bvh_files.MIXAMO), without=gone)
    found = formats.read(tmp_path / "a.bvh")
    keep = [j for j, joint in enumerate(JOINTS) if joint not in gone and not joint.endswith(("ankle", "elbow"))]
    assert degrees(motion, found)[:, keep].max() < 0.2


def test_two_joints_of_one_name_are_kept_apart(tmp_path):
    names = dict.fromkeys(JOINTS, "bone")
    motion = bvh_files.lively()
    bvh_files.write(tmp_path / "a.bvh", motion, names)
    same(motion, formats.read(tmp_path / "a.bvh"))


def test_elbows_bend_forward_in_every_t_pose(tmp_path):
    motion = bvh_files.lively()
    # a skeleton whose T-pose has the arms rolled by 30 degrees: its elbows bend forward and up
    bind = np.stack([np.eye(3)] * 22)
    rolled = dataclasses.replace(motion)
    rolled.rotations = motion.rotations.copy()
    for side, sign in (("left", 1), ("right", -1)):
        roll = np.array([np.cos(np.pi / 12), -sign * np.sin(np.pi / 12) * sign, 0, 0])
        for joint in ("shoulder", "elbow"):
            bind[JOINT_INDEX[f"{side}_{joint}"]] = rot.quaternion_to_matrix(roll)
    bvh_files.write(tmp_path / "a.bvh", rolled, NOTHING, bind=bind)
    # offsets along the arm are not changed by a roll about it, so the zero pose is a T-pose all the same
    same(motion, formats.read(tmp_path / "a.bvh"), angle=1.0)


@pytest.mark.parametrize(
    ("name", "side_and_word"),
    [
        ("LeftUpLeg", ("left", "up leg")), ("thigh.R", ("right", "thigh")), ("r_forearm", ("right", "forearm")),
        ("J_Bip_L_UpperArm", ("left", "upper arm")), ("lfemur", ("left", "femur")), ("Head", ("", "head")),
        ("左ひざ", ("left", "ひざ")), ("Spine2", ("", "spine")), ("lowerback", ("", "lowerback")),
    ],
)  # fmt: skip
def test_words_of_names(name, side_and_word):
    assert joint_matching._words(name) == side_and_word


def test_names_that_contradict_the_skeleton_are_not_believed(tmp_path):
    motion = bvh_files.lively()
    names = bvh_files.names_of(bvh_files.MIXAMO)
    for a, b in (("left_knee", "left_wrist"), ("right_knee", "head")):
        names[a], names[b] = names[b], names[a]
    names["pelvis"] = "body"  # so that no known table fits
    bvh_files.write(tmp_path / "a.bvh", motion, names)
    same(motion, formats.read(tmp_path / "a.bvh"))


def captures(shared):
    """One file of every kind of skeleton in the sample data."""
    mocap = shared / "mocap"
    if not mocap.is_dir():
        pytest.skip("the sample data is not there")
    seen = {}
    for path in sorted(mocap.rglob("*.bvh")):
        with open(path, encoding="utf-8", errors="replace") as file:
            head = "".join(line for line, _ in zip(file, range(1000), strict=False)).split("MOTION")[0]
        seen.setdefault(tuple(line.split()[1] for line in head.splitlines() if "JOINT" in line), path)
    for path in seen.values():
        yield bvh.read_source(path)
    yield cmu_actions.read_source(next(iter(sorted((mocap / "cmu_actions").glob("train_walking*.txt")))))


def test_structure_alone_finds_what_names_find_in_real_captures(shared):
    told, found, kinds = 0, 0, 0
    for source in captures(shared):
        kinds += 1
        index = {name: i for i, name in enumerate(source.names)}
        shape = structure.find(source.parents, source.positions, source.rotations, source.ends)
        for joint, name in joint_matching.match(source).joints.items():
            if name in index:
                told += 1
                found += shape.get(joint) == index[name]
                if not joint.startswith("spine"):
                    assert shape.get(joint) == index[name], f"{source.source}: {joint}"
    assert kinds >= 5 and found / told > 0.98


def test_shuffled_names_do_not_mislead_in_real_captures(shared):
    for source in captures(shared):
        index = {name: i for i, name in enumerate(source.names)}
        truth = {j: index[n] for j, n in joint_matching.match(source).joints.items() if n in index}
        random.Random(1).shuffle(source.names)
        index = {name: i for i, name in enumerate(source.names)}
        found = {j: index[n] for j, n in joint_matching.match(source).joints.items()}
        wrong = [j for j, i in truth.items() if found.get(j) != i and not j.startswith("spine")]
        assert not wrong, f"{source.source}: {wrong}"


def test_canonical_motion_of_a_real_capture_does_not_need_its_names(shared):
    for source in captures(shared):
        family = joint_matching.match(source)
        if family.rest:
            continue  # its zero pose is no person: only near, see above
        named = canonical.to_canonical(source)
        source.names = [f"joint{i}" for i in range(len(source.names))]
        assert degrees(named, canonical.to_canonical(source)).max() < 0.1, source.source
