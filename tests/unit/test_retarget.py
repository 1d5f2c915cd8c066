"""Retargeting on armatures in plain data, posed the way Blender poses them."""

import numpy as np
import pytest
from figures import TO_BLENDER, bone_matrix, figure, mixamo_names, pose_matrices, turn, walk, wild, world_heads

from blender_addon.retarget import CanonicalMotion, capture, retarget
from blender_addon.retarget import rotations as rot
from blender_addon.retarget.foot_lock import contact_spans, two_bone
from blender_addon.rig import Bone, Rig, RigError, canonical, match

LIMBS = [(f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in
         (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))]  # fmt: skip


def imported_matrix() -> np.ndarray:
    """An object as FBX importers leave it: scale 0.01, turned, moved."""
    matrix = np.eye(4)
    turned = rot.multiply(rot.from_axis_angle(np.array([0, 0, 1.0]), 0.7), turn("x", -90.0))
    matrix[:3, :3] = rot.to_matrix(turned) * 0.01
    matrix[:3, 3] = (3.0, -2.0, 0.0)
    return matrix


def standing_imported() -> tuple[Rig, np.ndarray]:
    """A figure under :func:`imported_matrix` that faces 0.7 radians from -Y, and the world axes of its facing."""
    yaw = rot.to_matrix(rot.from_axis_angle(np.array([0, 0, 1.0]), np.asarray(0.7)))
    matrix = imported_matrix()
    plain = matrix.copy()
    plain[:3, :3] = yaw.T @ matrix[:3, :3]
    plain[:3, 3] = 0.0
    rig = figure(mixamo_names(), arms_down=40, elbows=20, object_matrix=plain, legs=1.2)
    rig.object_matrix = matrix
    return rig, yaw @ TO_BLENDER


RIGS = {
    "mannequin": (figure(), TO_BLENDER),
    "mixamo": (figure(mixamo_names("mixamorig7:"), scale=1.1, legs=0.9, toes_out=12), TO_BLENDER),
    "a-pose": (figure(mixamo_names(""), arms_down=45, elbows=25, toes_out=10, scale=100.0), TO_BLENDER),
    "arms along the body": (figure(arms_down=89), TO_BLENDER),
    "faces +Y": (figure(arms_down=30, facing_y=True), TO_BLENDER * np.array([[-1.0], [-1.0], [1.0]])),
    "scale 0.01, -90 X": standing_imported(),
    "root bone": (figure(mixamo_names(), root="Root"), TO_BLENDER),
}


@pytest.mark.parametrize("name", RIGS)
@pytest.mark.parametrize("motion", [walk(2.0), wild()], ids=["walk", "wild"])
def test_limbs_point_where_the_motion_says(name, motion):
    rig, axes = RIGS[name]
    mapping = match(rig.bones).require()
    animation = retarget(motion, rig, mapping, foot_lock=False)
    heads = world_heads(rig, pose_matrices(rig, animation))
    joints = motion.joints() @ axes.T
    for start, end in LIMBS:
        want = joints[:, canonical.INDEX[end]] - joints[:, canonical.INDEX[start]]
        got = heads[mapping.bone(end)] - heads[mapping.bone(start)]
        cosine = np.sum(want * got, -1) / np.linalg.norm(want, axis=-1) / np.linalg.norm(got, axis=-1)
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.1, (start, end)


@pytest.mark.parametrize("name", RIGS)
def test_twist_travels(name):
    """Turning a forearm about its own axis turns the rig's forearm as much, whatever its roll."""
    rig, _ = RIGS[name]
    still, twisted = walk(1.0), walk(1.0)
    elbow = canonical.INDEX["left_elbow"]
    twisted.rotations[:, elbow] = rot.multiply(twisted.rotations[:, elbow], turn("x", 50.0))
    mapping = match(rig.bones)
    index = rig.index[mapping.bone("left_elbow")]
    poses = [pose_matrices(rig, retarget(m, rig, mapping, foot_lock=False))[:, index, :3, :3] for m in (still, twisted)]
    angle = np.degrees(rot.angle(rot.from_matrix(poses[0]), rot.from_matrix(poses[1])))
    assert np.allclose(angle, 50.0, atol=0.1)


@pytest.mark.parametrize("name", RIGS)
@pytest.mark.parametrize("motion", [walk(2.0), wild()], ids=["walk", "wild"])
def test_round_trip(name, motion):
    rig, _ = RIGS[name]
    mapping = match(rig.bones)
    animation = retarget(motion, rig, mapping, foot_lock=False)
    back = capture(rig, mapping, pose_matrices(rig, animation), motion.fps)
    assert np.degrees(rot.angle(back.rotations, motion.rotations)).max() < 0.1
    assert np.abs(back.translation - motion.translation).max() < 0.001


@pytest.mark.parametrize("name", RIGS)
def test_travel_is_scaled_by_leg_length_and_feet_reach_the_ground(name):
    rig, axes = RIGS[name]
    motion = walk(3.0)
    mapping = match(rig.bones)
    animation = retarget(motion, rig, mapping)
    heads = world_heads(rig, pose_matrices(rig, animation))
    rest = world_heads(rig, rig.rest[None])
    leg = sum(
        np.linalg.norm(rest[mapping.bone(a)] - rest[mapping.bone(b)])
        for a, b in (("left_hip", "left_knee"), ("left_knee", "left_ankle"))
    )
    hips = heads[mapping.bone("pelvis")]
    want = (motion.translation[-1] - motion.translation[0]) @ axes.T * leg / 0.82
    assert np.allclose((hips[-1] - hips[0])[:2], want[:2], atol=0.02 * leg)
    floor = min(rest[mapping.bone(f"{side}_foot")][0, 2] for side in ("left", "right"))
    lowest = np.minimum(heads[mapping.bone("left_foot")][:, 2], heads[mapping.bone("right_foot")][:, 2])
    assert abs(np.median(lowest) - floor) < 0.02 * leg
    assert lowest.min() > floor - 0.03 * leg


def skate(path: np.ndarray, touching: np.ndarray, fps: float) -> float:
    """Mean horizontal speed of a point while it touches."""
    both = touching[1:] & touching[:-1]
    return float((np.linalg.norm(np.diff(path[:, :2], axis=0), axis=-1)[both] * fps).mean())


def test_foot_lock_takes_skating_away():
    rig, _ = RIGS["mixamo"]
    motion = walk(4.0)
    mapping = match(rig.bones)
    free, held = (
        world_heads(rig, pose_matrices(rig, retarget(motion, rig, mapping, foot_lock=lock)))[mapping.bone("left_foot")]
        for lock in (False, True)
    )
    touching = motion.contacts[:, 1] > 0.5
    assert skate(free, touching, 30) > 0.1
    assert skate(held, touching, 30) < 0.35 * skate(free, touching, 30)
    # and nothing jumps: the foot accelerates no harder than about twice what it did
    jump = [np.abs(np.diff(path, 3, axis=0)).max() for path in (free, held)]
    assert jump[1] < 3 * jump[0] + 0.02


def test_foot_lock_leaves_a_motion_without_contacts_alone():
    rig, _ = RIGS["mannequin"]
    motion = wild(size=20)
    motion.translation[:, 1] += 1.0
    mapping = match(rig.bones)
    a, b = (retarget(motion, rig, mapping, foot_lock=lock) for lock in (False, True))
    assert np.allclose(a.rotations, b.rotations)


def test_contact_spans():
    touching = np.array([0, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0], bool)
    assert contact_spans(touching, 2) == [(1, 7)]
    assert contact_spans(np.zeros(5, bool), 2) == []


def test_two_bone_reaches_and_never_overstretches():
    hip = np.zeros((3, 3))
    knee = np.tile([0.0, -0.1, -0.4], (3, 1))
    ankle = np.tile([0.0, 0.0, -0.8], (3, 1))
    target = np.array([[0.1, 0.1, -0.7], [0.0, 0.0, -0.8], [0.0, 0.0, -3.0]])
    upper, lower = two_bone(hip, knee, ankle, target, np.tile([1.0, 0, 0], (3, 1)))
    new_knee = rot.rotate(upper, knee)
    reached = new_knee + rot.rotate(lower, ankle - knee)
    assert np.allclose(reached[0], target[0], atol=1e-6)
    assert np.allclose(reached[1], target[1], atol=1e-6)
    length = 2 * np.linalg.norm(knee[0])
    assert np.linalg.norm(reached[2]) <= length and np.allclose(reached[2, :2], 0, atol=1e-6)
    assert new_knee[0, 1] < 0, "the knee stays in front"


@pytest.mark.parametrize("fps", [24.0, 60.0, 29.97])
def test_resampling_keeps_time(fps):
    motion = walk(3.0)
    rig, _ = RIGS["mannequin"]
    animation = retarget(motion, rig, match(rig.bones), fps)
    assert animation.fps == fps
    assert abs((animation.frames - 1) / fps - (motion.frames - 1) / 30) <= 0.5 / fps
    resampled = motion.resample(fps)
    # a second into the motion both stand at the same place
    frame = int(round(fps))
    assert np.allclose(resampled.translation[frame], motion.translation[30], atol=0.02)


def test_quaternions_are_unit_and_continuous():
    rig, _ = RIGS["a-pose"]
    motion = wild(200, size=150)
    motion.rotations[50:] *= -1
    animation = retarget(motion, rig, match(rig.bones))
    assert np.allclose(np.linalg.norm(animation.rotations, axis=-1), 1)
    assert (np.sum(animation.rotations[1:] * animation.rotations[:-1], -1) > 0).all()


def test_spines_of_other_lengths_share_the_bend():
    """Two, five or one spine bones: the chest ends up turned as the motion's chest."""
    motion = wild(40, size=40)
    chest = motion.global_rotations()[:, canonical.INDEX["spine3"]]
    base = figure(mixamo_names(""))
    for count in (1, 2, 4, 5):
        bones = respined(base, count)
        rig = Rig("spine", bones)
        mapping = match(bones).require()
        assert mapping.spine == [f"Spine{i}" for i in range(count)]
        pose = pose_matrices(rig, retarget(motion, rig, mapping))
        index = rig.index[mapping.spine[-1]]
        turned = pose[:, index, :3, :3] @ bones[index].matrix[:3, :3].T
        want = TO_BLENDER @ rot.to_matrix(chest) @ TO_BLENDER.T
        assert np.allclose(turned, want, atol=1e-5)
        back = capture(rig, mapping, pose, 30.0)
        world = back.global_rotations()
        assert np.degrees(rot.angle(world[:, canonical.INDEX["spine3"]], chest)).max() < 0.1


def respined(rig: Rig, count: int) -> list[Bone]:
    """The figure's bones with ``count`` spine bones between pelvis and neck."""
    low = rig.bones[rig.index["Spine"]].head
    high = rig.bones[rig.index["Neck"]].head
    out = []
    for bone in rig.bones:
        if bone.name in ("Spine1", "Spine2"):
            continue
        if bone.name == "Spine":
            for i in range(count):
                head, tail = (low + (high - low) * k / count for k in (i, i + 1))
                parent = f"Spine{i - 1}" if i else "Hips"
                out.append(Bone(f"Spine{i}", parent, head, tail, bone_matrix(head, tail, 0.4 * i)))
            continue
        if bone.parent == "Spine2":
            bone = Bone(bone.name, f"Spine{count - 1}", bone.head, bone.tail, bone.matrix)
        out.append(bone)
    return out


def test_twist_bones_take_their_part_of_the_roll():
    """Half way along the forearm half of the hand's roll shows; at the shoulder end of an upper arm none of its own."""
    rig = figure(mixamo_names())
    fore, upper = (rig.bones[rig.index[f"mixamorig:Left{part}"]] for part in ("ForeArm", "Arm"))
    middle = (fore.head + fore.tail) / 2
    bones = [
        *rig.bones,
        Bone("LeftForeArmTwist", fore.name, middle, fore.tail, bone_matrix(middle, fore.tail, 1.0)),
        Bone("LeftArmTwist", upper.name, upper.head, upper.tail, bone_matrix(upper.head, upper.tail, 0.4)),
    ]
    rig = Rig("twist", bones)
    mapping = match(bones)
    assert mapping.twist == {"left_elbow": [("LeftForeArmTwist", 0.5)], "left_shoulder": [("LeftArmTwist", 0.0)]}
    wanted = {
        "left_wrist": {"LeftForeArmTwist": 40.0, "mixamorig:LeftForeArm": 0.0},
        "left_shoulder": {"LeftArmTwist": 0.0, "mixamorig:LeftArm": 80.0},
    }
    for joint, rolls in wanted.items():
        poses = []
        for angle in (0.0, 80.0):
            motion = walk(1.0)
            motion.rotations[:, canonical.INDEX["left_wrist"]] = turn("x", 0.0)
            index = canonical.INDEX[joint]
            motion.rotations[:, index] = rot.multiply(motion.rotations[:, index], turn("x", angle))
            pose = pose_matrices(rig, retarget(motion, rig, mapping, foot_lock=False))
            poses.append(rot.from_matrix(pose[..., :3, :3]))
        for name, roll in rolls.items():
            turned = np.degrees(rot.angle(*(pose[:, rig.index[name]] for pose in poses)))
            assert np.allclose(turned, roll, atol=0.1), (joint, name)


def test_bones_that_do_not_inherit_rotation():
    rig = figure(mixamo_names())
    free = rig.bones[rig.index["mixamorig:Head"]]
    free.inherit_rotation = False
    animation = retarget(wild(), rig, match(rig.bones))
    k = animation.bones.index(free.name)
    want = rot.to_matrix(wild().global_rotations()[:, canonical.INDEX["head"]])
    got = free.matrix[:3, :3] @ rot.to_matrix(animation.rotations[:, k]) @ free.matrix[:3, :3].T
    assert np.allclose(got, TO_BLENDER @ want @ TO_BLENDER.T, atol=1e-6)


@pytest.mark.parametrize("motion", [walk(3.0), wild()], ids=["walk", "wild"])
@pytest.mark.parametrize("object_matrix", [None, np.diag([0.01, 0.01, 0.01, 1.0])], ids=["metres", "centimetres"])
def test_a_bone_above_the_hips_that_mesh_hangs_on_travels_along(motion, object_matrix):
    rig = figure(mixamo_names(""), root="Root", object_matrix=object_matrix)
    mapping = match(rig.bones)
    before = world_heads(rig, pose_matrices(rig, retarget(motion, rig, mapping, foot_lock=False)))
    assert np.ptp(before["Root"], axis=0).max() < 1e-9, "without mesh on it it stays"
    rig.carrier = "Root"
    animation = retarget(motion, rig, mapping, foot_lock=False)
    pose = pose_matrices(rig, animation)
    after = world_heads(rig, pose)
    for name in before:
        assert name == "Root" or np.abs(after[name] - before[name]).max() < 1e-6, name
    away = np.linalg.norm((after["Root"] - after["Hips"])[:, :2], axis=-1)
    assert away.max() < 0.6 * np.linalg.norm(np.ptp(before["Hips"][:, :2], axis=0)) and away.mean() < 0.3
    assert np.ptp(after["Root"][:, 2]) < 1e-6, "over the ground alone"
    back = capture(rig, mapping, pose, 30.0)
    assert np.abs(back.joints() - motion.joints()).max() < 1e-3
    still = retarget(motion, rig, mapping, in_place=True)
    assert np.ptp(still.locations["Root"], axis=0).max() < 1e-6 / abs(rig.object_matrix[0, 0])


@pytest.mark.parametrize("scale, words", [((1, 1, 0), "scaled to zero"), ((-1, 1, 1), "mirrored")])
def test_objects_that_cannot_work_say_so(scale, words):
    rig = figure()
    rig.object_matrix[:3, :3] = np.diag(scale)
    with pytest.raises(RigError, match=words):
        retarget(walk(1.0), rig, match(rig.bones))


def test_motion_refuses_broken_numbers():
    motion = walk(1.0)
    with pytest.raises(ValueError, match="finite"):
        CanonicalMotion(motion.rotations, np.full_like(motion.translation, np.nan))
    with pytest.raises(ValueError, match="rotations"):
        CanonicalMotion(motion.rotations[:, :5], motion.translation)


def test_an_unmapped_rig_is_refused_before_anything_happens():
    bones = [Bone("Bone", None, [0, 0, 0], [0, 0, 1], np.eye(4))]
    with pytest.raises(RigError, match="left thigh"):
        retarget(walk(1.0), Rig("box", bones), match(bones))
