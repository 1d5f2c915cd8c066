"""Features: what goes in comes out, wherever the motion stands and whichever way it faces."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from backend.motion import features
from backend.motion.features import BLOCKS, WIDTH, Normaliser
from backend.motion.skeleton import CANONICAL_OFFSETS, MIRROR, Motion, forward_kinematics, quaternion_to_matrix
from backend.protocol import JOINTS, PARENTS


def degrees_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle between rotations (...,4) wxyz, accurate near zero."""
    difference = Rotation.from_quat(a.reshape(-1, 4), scalar_first=True).inv()
    difference = difference * Rotation.from_quat(b.reshape(-1, 4), scalar_first=True)
    return np.degrees(difference.magnitude())


def moved(motion: Motion, yaw: float, place: tuple[float, float]) -> Motion:
    """The motion turned about the vertical and put somewhere else."""
    turn = Rotation.from_euler("Y", yaw)
    rotations = motion.rotations.astype(np.float64)
    rotations[:, 0] = (turn * Rotation.from_quat(rotations[:, 0], scalar_first=True)).as_quat(scalar_first=True)
    translation = turn.apply(motion.translation) + np.array([place[0], 0.0, place[1]])
    return Motion(rotations, translation, motion.rest_offsets, motion.fps, motion.contacts)


@pytest.mark.parametrize("turn, bend", [(0.0, 0.0), (1.5, 0.6), (-2.5, 1.4), (9.0, 1.9)])
def test_round_trip(motion, turn, bend):
    # a bend of 1.9 rad is past horizontal, a turn of 9 rad is more than one full circle
    original = motion(frames=120, turn=turn, bend=bend)
    original = moved(original, -float(features.heading(original.rotations[:, 0])[0]), (0.0, 0.0))
    original.translation -= original.translation[0] * [1, 0, 1]
    back = features.decode(features.encode(original))
    assert back.rotations.shape == (120, 22, 4) and back.rotations.dtype == np.float32
    assert np.linalg.norm(back.joints() - original.joints(), axis=-1).max() < 1e-4
    assert degrees_between(back.rotations, original.rotations).max() < 0.01
    assert np.array_equal(back.contacts, original.contacts)


def test_encoding_twice_gives_the_same_features(motion):
    encoded = features.encode(motion(turn=2.0, bend=1.0))
    assert encoded.shape == (90, WIDTH) and encoded.dtype == np.float32
    assert np.abs(features.encode(features.decode(encoded)) - encoded).max() < 1e-4


@pytest.mark.parametrize("yaw", [0.7, -2.0, 3.1])
def test_place_and_heading_leave_features_unchanged(motion, yaw):
    original = motion(turn=1.5, bend=1.0)
    a, b = features.encode(original), features.encode(moved(original, yaw, (4.0, -7.0)))
    assert np.abs(a - b).max() < 2e-5


def test_quaternion_signs_do_not_matter(motion):
    original = motion(turn=1.5, bend=0.5)
    signs = np.where(np.random.default_rng(0).random((90, 22, 1)) < 0.5, -1.0, 1.0)
    flipped = Motion(original.rotations * signs, original.translation, contacts=original.contacts)
    assert np.abs(features.encode(flipped) - features.encode(original)).max() < 1e-5


def test_blocks_mean_what_the_table_says(motion):
    encoded = features.encode(motion(frames=91, speed=1.2, turn=1.5))
    assert np.allclose(encoded[:, BLOCKS["velocity"]], [0.0, 1.2 / 30], atol=1e-5)  # ahead, in the heading frame
    assert np.allclose(encoded[:, BLOCKS["yaw_rate"]], 1.5 / 90, atol=1e-5)  # to the left
    assert np.allclose(encoded[:, 3], motion(frames=91).translation[:, 1])
    covered = sorted(i for block in BLOCKS.values() for i in range(block.start, block.stop))
    assert covered == list(range(WIDTH))


def test_local_positions_equal_numpy_kinematics(motion):
    original = motion(turn=1.5, bend=1.2)
    found = features.local_positions(torch.from_numpy(features.encode(original))).numpy()
    yaw = features.heading(original.rotations[:, 0])
    joints = forward_kinematics(original.rotations, original.translation * [0, 1, 0], CANONICAL_OFFSETS)
    unturn = Rotation.from_euler("Y", -np.repeat(yaw, 22)[:, None])
    wanted = unturn.apply(joints.reshape(-1, 3)).reshape(-1, 22, 3)
    assert np.abs(found - wanted).max() < 1e-5
    ends = (found - found[:, :1])[:, features.ENDS].reshape(-1, 15)
    assert np.abs(ends - features.encode(original)[:, BLOCKS["ends"]]).max() < 1e-5


def test_local_positions_can_be_differentiated(motion):
    encoded = torch.from_numpy(features.encode(motion(frames=8))).requires_grad_()
    features.local_positions(encoded).square().sum().backward()
    assert torch.isfinite(encoded.grad).all() and encoded.grad[:, BLOCKS["rotations"]].abs().max() > 0


def test_six_numbers_give_rotations_even_when_they_are_not_orthogonal():
    matrices = features.six_to_matrix(torch.randn(50, 6, dtype=torch.float64))
    assert torch.allclose(matrices @ matrices.mT, torch.eye(3, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(torch.linalg.det(matrices), torch.ones(50, dtype=torch.float64))


def test_normaliser_round_trip_and_blocks(motion):
    encoded = features.encode(motion(turn=2.0, bend=0.5))
    normaliser = Normaliser.fit(encoded)
    tensor = torch.from_numpy(encoded)
    normal = normaliser.forward(tensor)
    assert torch.allclose(normaliser.inverse(normal), tensor, atol=1e-5)
    assert torch.equal(normal[:, BLOCKS["contacts"]], tensor[:, BLOCKS["contacts"]])
    for name in ("height", "rotations", "ends"):
        assert normal[:, BLOCKS[name]].mean(0).abs().max() < 1e-3
    for block in BLOCKS.values():
        assert normaliser.std[block].unique().numel() == 1  # one spread a block keeps relative sizes


def test_continuous_flips_signs_only():
    base = Rotation.from_euler("Y", np.linspace(0, 5, 40)[:, None]).as_quat(scalar_first=True)
    tracks = np.stack([base, base], 1)
    signs = np.where(np.random.default_rng(1).random((40, 2, 1)) < 0.5, -1.0, 1.0)
    found = features.continuous(tracks * signs)
    assert (np.sum(found[1:] * found[:-1], -1) > 0).all()
    assert np.allclose(quaternion_to_matrix(found), quaternion_to_matrix(tracks))
    assert np.array_equal(found[0], (tracks * signs)[0])


def test_one_frame_survives(motion):
    single = motion(frames=1)
    back = features.decode(features.encode(single))
    assert back.frames == 1
    assert degrees_between(back.rotations, single.rotations).max() < 0.01


def test_mirror_table():
    mirror = np.array(MIRROR)
    assert np.array_equal(mirror[mirror], np.arange(22))
    for joint, partner in enumerate(MIRROR):
        assert JOINTS[joint].replace("left_", "").replace("right_", "") == JOINTS[partner].replace("left_", "").replace(
            "right_", ""
        )
        assert (JOINTS[joint] == JOINTS[partner]) == (not JOINTS[joint].startswith(("left_", "right_")))
        above = PARENTS[joint]
        assert PARENTS[partner] == (MIRROR[above] if above >= 0 else -1)
    assert np.abs(CANONICAL_OFFSETS[mirror] * [-1, 1, 1] - CANONICAL_OFFSETS).max() < 1e-6
    assert (CANONICAL_OFFSETS[[JOINTS.index("left_hip"), JOINTS.index("left_shoulder")], 0] > 0).all()  # left is +X
