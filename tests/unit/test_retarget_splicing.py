"""A generated piece inside an animation: where it stands, and how its ends run into what is there."""

import numpy as np
import pytest
from figures import turn, walk, wild

from blender_addon.retarget import close_loop, splicing
from blender_addon.retarget import rotations as rot
from blender_addon.retarget.splicing import Stand

ORDERS = ["QUATERNION", "AXIS_ANGLE", "XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"]


def tracks(mode: str, seed: int) -> np.ndarray:
    """Keyed values (60,k) of a wild joint in a rotation mode."""
    q = rot.continuous(wild(60, seed=seed, size=150).rotations[:, 5].astype(float))
    if mode == "QUATERNION":
        return q
    return rot.to_axis_and_angle(q) if mode == "AXIS_ANGLE" else rot.to_euler(q, mode)


@pytest.mark.parametrize("frames", [2, 17, 60, 91])
@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
def test_fitted_fills_the_frames_exactly(frames, fps):
    motion = walk(2.0)
    found = splicing.fitted(motion, frames, fps)
    assert found.frames == frames and found.fps == fps
    np.testing.assert_allclose(found.translation[[0, -1]], motion.translation[[0, -1]], atol=1e-5)
    assert splicing.fitted(splicing.fitted(motion, 1, fps), 5, fps).frames == 5


@pytest.mark.parametrize("degrees", [0.0, 70.0, 180.0, -100.0])
def test_placed_at_the_start(degrees):
    motion = walk(2.0)
    found = splicing.placed(motion, Stand((3.0, 9.0, -2.0), np.radians(degrees)), None)
    np.testing.assert_allclose(found.translation[0, [0, 2]], (3.0, -2.0), atol=1e-5)
    np.testing.assert_allclose(found.translation[:, 1], motion.translation[:, 1], atol=1e-5)
    steps = [np.linalg.norm(np.diff(m.translation, axis=0), axis=-1) for m in (found, motion)]
    np.testing.assert_allclose(*steps, atol=1e-5)
    way = found.translation[-1] - found.translation[0]
    assert abs(np.degrees(np.arctan2(way[0], way[2])) - degrees) % 360 < 12 or degrees == 180.0
    assert np.degrees(rot.angle(found.rotations[:, 1:], motion.rotations[:, 1:])).max() < 1e-2


def test_placed_between_two_ends():
    motion = walk(3.0)
    start = Stand((0.0, 1.0, 0.0), 0.0)
    end = Stand((0.8, 1.0, 3.0), np.radians(40.0))
    found = splicing.placed(motion, start, end)
    np.testing.assert_allclose(found.translation[0, [0, 2]], 0.0, atol=1e-5)
    np.testing.assert_allclose(found.translation[-1, [0, 2]], (0.8, 3.0), atol=1e-4)
    assert abs(splicing.heading(found.rotations[-1, 0]) - end.heading) < 1e-3
    steps = np.linalg.norm(np.diff(found.translation, axis=0), axis=-1) * 30
    assert steps.max() < 2.5, "the way is bent, not rushed"


def test_placed_at_the_end_alone():
    found = splicing.placed(walk(2.0), None, Stand((5.0, 1.0, 5.0), np.radians(90.0)))
    np.testing.assert_allclose(found.translation[-1, [0, 2]], (5.0, 5.0), atol=1e-4)
    assert found.translation[0, 0] < 3.5


@pytest.mark.parametrize("stay", [True, False])
def test_three_rounds_go_on_from_each_other(stay):
    motion = close_loop(walk(3.0))
    found = splicing.three_rounds(motion, stay)
    frames = motion.frames
    assert found.frames == 3 * frames - 2
    middle = found.translation[frames - 1 : 2 * frames - 1]
    shift = middle[0] - motion.translation[0]
    np.testing.assert_allclose(middle - shift, motion.translation, atol=1e-4)
    begin = found.translation[0] if stay else middle[0]
    np.testing.assert_allclose(begin[[0, 2]], motion.translation[0, [0, 2]], atol=1e-4)
    steps = np.linalg.norm(np.diff(found.translation[:, [0, 2]], axis=0), axis=-1)
    assert steps.max() < 1.2 * np.linalg.norm(np.diff(motion.translation[:, [0, 2]], axis=0), axis=-1).max()
    assert np.degrees(rot.angle(found.rotations[1:], found.rotations[:-1])).max() < 15


def test_heading_of_who_lies_and_stands():
    for degrees in (0.0, 45.0, 170.0):
        yaw = turn("y", degrees)
        assert abs(splicing.heading(yaw) - np.radians(degrees)) < 1e-6
        on_the_back = rot.multiply(yaw, turn("x", -90.0))
        assert abs(splicing.heading(on_the_back) - np.radians(degrees)) < 1e-6


def test_weights():
    found = splicing.weights(20, 5, 8)
    assert found[0] == found[-1] == 0.0 and (found[5:12] == 1.0).all()
    assert (np.diff(found[:6]) > 0).all() and (np.diff(found[11:]) < 0).all()
    assert (splicing.weights(20, 0, 0) == 1.0).all()
    assert splicing.weights(4, 10, 10).max() < 1.0


@pytest.mark.parametrize("mode", ORDERS)
@pytest.mark.parametrize("seed", range(4))
def test_blended_ends_are_what_was_there(mode, seed):
    generated, existing = tracks(mode, seed), tracks(mode, seed + 10)
    if mode not in ("QUATERNION", "AXIS_ANGLE"):
        existing = existing + 2 * np.pi * np.array([1, -1, 2])  # an artist's curve may have wound up
    weight = splicing.weights(60, 8, 8)
    values, jumps = splicing.blended(mode, generated, existing, weight)
    np.testing.assert_array_equal(values[[0, -1]], existing[[0, -1]])
    middle = slice(9, 51)
    away = rot.angle(splicing.to_quaternions(mode, values[middle]), splicing.to_quaternions(mode, generated[middle]))
    assert away.max() < 1e-6
    # the rotation runs on; where the numbers cannot, the frame before is marked
    q = splicing.to_quaternions(mode, values)
    assert np.degrees(rot.angle(q[1:], q[:-1])).max() < 60
    steps = np.abs(np.diff(values, axis=0)).max(-1)
    assert jumps.sum() <= 1 and not jumps[-1]
    if mode != "AXIS_ANGLE":  # its axis may turn about at will where the angle is small
        assert (steps[~jumps[:-1]] < 2.6).all()


def test_plain_numbers_are_blended():
    existing, generated = np.zeros((10, 3)), np.ones((10, 3))
    values, jumps = splicing.blended("", generated, existing, splicing.weights(10, 3, 0))
    assert values[0].max() == 0.0 and values[-1].min() == 1.0 and not jumps.any()
