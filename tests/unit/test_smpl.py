"""SMPL bodies: both sides count from the same zero pose, and know which armature is one."""

import numpy as np
import pytest
import smpl_body
from figures import figure, walk

from backend import protocol
from blender_addon.retarget import CanonicalMotion, retarget, smpl
from blender_addon.retarget import rotations as rot
from blender_addon.rig import match


def test_the_zero_pose_is_what_smpls_bones_say():
    pytest.importorskip("scipy")
    from backend.motion import rest_pose
    from backend.motion import rotations as theirs
    from backend.motion.formats import smplx_npz
    from backend.motion.skeleton import JOINT_INDEX

    places = smpl_body.places()
    wanted = rest_pose.correction(np.array([places[joint] for joint in protocol.JOINTS]), JOINT_INDEX)
    wanted = theirs.matrix_to_quaternion(np.stack([wanted[joint] for joint in protocol.JOINTS]))
    assert np.degrees(rot.angle(smpl.zero_pose(), wanted)).max() < 0.01
    np.testing.assert_array_equal(smplx_npz.zero_pose(), smpl.zero_pose())


def test_both_sides_write_the_same_numbers(tmp_path):
    pytest.importorskip("scipy")
    from backend.motion import formats
    from backend.motion.skeleton import Motion

    motion = walk(1.0)
    formats.write(tmp_path / "a.npz", Motion(motion.rotations, motion.translation, contacts=motion.contacts))
    rotations, translation = smpl.from_canonical(motion)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as data:
        np.testing.assert_allclose(data["poses"][:, :66].reshape(-1, 22, 3), rot.to_axis_angle(rotations), atol=1e-5)
        np.testing.assert_allclose(data["trans"], translation, atol=1e-6)


def test_every_joint_hangs_where_smplx_has_it():
    assert len(smpl.JOINTS) == 55 and smpl.parent("pelvis") is None
    assert smpl.parent("left_index1") == "left_wrist" and smpl.parent("right_thumb3") == "right_thumb2"
    assert {smpl.parent(joint) for joint in ("jaw", "left_eye", "right_eye")} == {"head"}


def test_an_smplx_armature_is_known_whatever_its_bones_roll():
    rig = smpl_body.rig()
    found = smpl.find(rig, match(rig.bones))
    assert found is not None and len(found.bones) == 55 and found.own_origin and found.scale == pytest.approx(1.0)
    floor = smpl_body.rig(on_floor=True)
    assert not smpl.find(floor, match(floor.bones)).own_origin


def test_other_armatures_are_none():
    plain = figure()
    assert smpl.find(plain, match(plain.bones)) is None  # no hands, no such family
    rig = smpl_body.rig()
    for bone in rig.bones:  # the same names with hanging arms: not the zero pose
        if bone.name.split("_")[-1] in ("elbow", "wrist") or bone.name[:-1].endswith(("index", "thumb", "ring")):
            side = 1.0 if bone.name.startswith("left") else -1.0
            shoulder = rig.bones[rig.index[f"{'left' if side > 0 else 'right'}_shoulder"]].head
            turn = rot.from_axis_angle(np.array([0.0, 1.0, 0.0]), np.asarray(side * 0.9))
            bone.head = shoulder + rot.rotate(turn, bone.head - shoulder)
    assert smpl.find(rig, match(rig.bones)) is None


def test_a_placed_motion_keeps_its_place_and_takes_the_limbs():
    rig = smpl_body.rig(on_floor=True)
    mapping = match(rig.bones)
    source = walk(1.0)
    body = smpl_body.motion(source.frames)
    motion = CanonicalMotion(source.rotations, source.translation, body=body)
    animation = retarget(motion, rig, mapping, 30.0, foot_lock=False)
    root = animation.bones.index("pelvis")
    before = animation.rotations[:, root].copy(), animation.root_location.copy()
    smpl.drive(animation, motion, rig, smpl.find(rig, mapping), whole=True, moved=True)
    root = animation.bones.index("pelvis")
    np.testing.assert_allclose(animation.root_location, before[1])
    assert np.degrees(rot.angle(animation.rotations[:, root], before[0])).max() < 1e-6
    assert len(animation.bones) == 55 and animation.rotations.shape == (30, 55, 4)


def test_a_body_is_stretched_with_its_motion():
    body = smpl_body.motion(10)
    q, path = smpl.stretched(body, 19)
    assert q.shape == (19, 55, 4) and path.shape == (19, 3)
    np.testing.assert_allclose(path[::2], body.translation, atol=1e-12)
    assert np.degrees(rot.angle(q[::2], body.rotations)).max() < 1e-4
    q, path = smpl.stretched(smpl_body.motion(1), 3)
    assert q.shape == (3, 55, 4) and np.ptp(path, axis=0).max() == 0
