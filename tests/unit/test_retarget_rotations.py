"""Quaternions, Euler angles and axis-angle, against each other."""

import numpy as np
import pytest

from blender_addon.retarget import rotations as rot

ORDERS = ("XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX")


def path(frames: int = 400, seed: int = 0) -> np.ndarray:
    """A smooth tumbling path (T,3,4) that turns over many times and passes gimbal lock."""
    random = np.random.default_rng(seed)
    q = np.tile([1.0, 0, 0, 0], (3, 1))
    out = []
    axis = random.normal(size=(3, 3))
    for _ in range(frames):
        axis += 0.3 * random.normal(size=(3, 3))
        axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
        q = rot.multiply(q, rot.from_axis_angle(axis, np.full(3, 0.08)))
        out.append(q)
    return np.array(out)


@pytest.mark.parametrize("order", ORDERS)
def test_euler_round_trip_without_jumps(order):
    q = path()
    angles = rot.to_euler(q, order)
    assert rot.angle(rot.from_euler(angles, order), q).max() < 1e-6
    assert np.abs(np.diff(angles, axis=0)).max() < np.pi / 1.5
    assert np.abs(angles[0]).max() <= np.pi + 1e-9


@pytest.mark.parametrize("order", ORDERS)
def test_euler_of_a_slow_turn_is_smooth(order):
    """A full turn and a half about each axis in turn runs on instead of wrapping."""
    for axis in np.eye(3):
        angle = np.linspace(0, 3 * np.pi, 200)
        angles = rot.to_euler(rot.from_axis_angle(axis, angle), order)
        assert np.abs(np.diff(angles, axis=0)).max() < 0.1 or axis["XYZ".index(order[1])] == 1
        assert rot.angle(rot.from_euler(angles, order), rot.from_axis_angle(axis, angle)).max() < 1e-6


def test_euler_convention_is_blenders():
    """XYZ turns about X first: R = Rz Ry Rx."""
    angles = np.array([0.3, -0.5, 0.9])
    x, y, z = (rot.to_matrix(rot.from_axis_angle(np.eye(3)[i], angles[i])) for i in range(3))
    assert np.allclose(rot.to_matrix(rot.from_euler(angles, "XYZ")), z @ y @ x)


def test_axis_and_angle_round_trip_without_jumps():
    q = path(seed=2)
    values = rot.to_axis_and_angle(q)
    assert np.allclose(np.linalg.norm(values[..., 1:], axis=-1), 1)
    back = rot.from_axis_angle(values[..., 1:], values[..., 0])
    assert rot.angle(back, q).max() < 1e-6
    assert np.abs(np.diff(values[..., 0], axis=0)).max() < 0.5
    still = rot.to_axis_and_angle(np.tile([1.0, 0, 0, 0], (4, 1)))
    assert np.allclose(still, [0, 0, 1, 0])


def test_matrix_round_trip_and_between():
    q = path(seed=3).reshape(-1, 4)
    assert rot.angle(rot.from_matrix(rot.to_matrix(q)), q).max() < 1e-6
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 50, 3))
    turned = rot.rotate(rot.between(a, b), a)
    cosine = np.sum(turned * b, -1) / np.linalg.norm(turned, axis=-1) / np.linalg.norm(b, axis=-1)
    assert np.allclose(cosine, 1)
    assert np.allclose(rot.rotate(rot.between(a, -a), a), -a)


def test_slerp_and_continuity():
    a, b = path(seed=4)[::200, 0]
    middle = rot.slerp(a, -b, np.asarray(0.5))
    assert np.isclose(rot.angle(a, middle), rot.angle(middle, b))
    q = path(seed=5)
    q[::3] *= -1
    smooth = rot.continuous(q)
    assert (np.sum(smooth[1:] * smooth[:-1], -1) > 0).all()
    assert rot.angle(smooth, q).max() < 1e-6


def test_rotation_vectors():
    axis = np.array([0.0, 0.6, 0.8])
    assert np.allclose(rot.to_axis_angle(rot.from_axis_angle(axis, np.asarray(1.2))), axis * 1.2)
    assert np.allclose(rot.to_axis_angle(-rot.from_axis_angle(axis, np.asarray(1.2))), axis * 1.2)
    assert np.allclose(rot.to_axis_angle(np.array([1.0, 0, 0, 0])), 0)
