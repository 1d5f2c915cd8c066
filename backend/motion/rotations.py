"""Rotations as plain arrays: quaternions are wxyz, matrices act on column vectors. Thin layer over scipy."""

import warnings

import numpy as np
from scipy.spatial.transform import Rotation

from backend.motion.skeleton import quaternion_to_matrix

__all__ = [
    "axis_angle_to_quaternion",
    "continuous",
    "euler_to_matrix",
    "matrix_to_euler",
    "matrix_to_quaternion",
    "minimal_rotation",
    "quaternion_angle",
    "quaternion_conjugate",
    "quaternion_multiply",
    "quaternion_rotate",
    "quaternion_to_axis_angle",
    "quaternion_to_matrix",
    "resample_quaternions",
    "resample_vectors",
    "yaw_matrix",
    "yaw_of",
]


def quaternion_multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Product a*b of quaternions (...,4): the rotation b first, then a. Shapes broadcast."""
    aw, ax, ay, az = np.moveaxis(np.asarray(a), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(b), -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def quaternion_conjugate(q: np.ndarray) -> np.ndarray:
    """The inverse of unit quaternions (...,4)."""
    return np.asarray(q) * np.array([1, -1, -1, -1], dtype=np.asarray(q).dtype)


def quaternion_rotate(q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Vectors (...,3) turned by unit quaternions (...,4)."""
    q, v = np.asarray(q), np.asarray(v)
    xyz = q[..., 1:]
    t = 2 * np.cross(xyz, v)
    return v + q[..., :1] * t + np.cross(xyz, t)


def quaternion_angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle between two rotations in radians, 0..pi, for unit quaternions (...,4)."""
    difference = quaternion_multiply(quaternion_conjugate(a), b)
    return 2 * np.arctan2(np.linalg.norm(difference[..., 1:], axis=-1), np.abs(difference[..., 0]))


def continuous(q: np.ndarray) -> np.ndarray:
    """Flip signs along axis 0 so that neighbouring quaternions (T,...,4) lie in one hemisphere."""
    q = np.array(q)
    if len(q) > 1:
        dots = np.sum(q[1:] * q[:-1], -1)
        # the sign of a frame is the product of all flips before it
        signs = np.cumprod(np.where(dots < 0, -1.0, 1.0), axis=0).astype(q.dtype)
        q[1:] *= signs[..., None]
    return q


def matrix_to_quaternion(m: np.ndarray) -> np.ndarray:
    """Rotation matrices (...,3,3) to unit quaternions (...,4) wxyz."""
    m = np.asarray(m, dtype=np.float64)
    xyzw = Rotation.from_matrix(m.reshape(-1, 3, 3)).as_quat()
    return xyzw[:, [3, 0, 1, 2]].reshape(*m.shape[:-2], 4)


def axis_angle_to_quaternion(v: np.ndarray) -> np.ndarray:
    """Rotation vectors (...,3) in radians to unit quaternions (...,4) wxyz."""
    v = np.asarray(v, dtype=np.float64)
    xyzw = Rotation.from_rotvec(v.reshape(-1, 3)).as_quat()
    return xyzw[:, [3, 0, 1, 2]].reshape(*v.shape[:-1], 4)


def quaternion_to_axis_angle(q: np.ndarray) -> np.ndarray:
    """Unit quaternions (...,4) wxyz to rotation vectors (...,3) in radians."""
    q = np.asarray(q, dtype=np.float64)
    flat = q.reshape(-1, 4)[:, [1, 2, 3, 0]]
    return Rotation.from_quat(flat).as_rotvec().reshape(*q.shape[:-1], 3)


def euler_to_matrix(angles: np.ndarray, order: str) -> np.ndarray:
    """Angles (...,n) in degrees to matrices (...,3,3); ``order`` names the axes left to right, 'ZYX' is Rz Ry Rx."""
    angles = np.radians(np.asarray(angles, dtype=np.float64))
    result = np.broadcast_to(np.eye(3), angles.shape[:-1] + (3, 3))
    for column, axis in enumerate(order.upper()):
        c, s = np.cos(angles[..., column]), np.sin(angles[..., column])
        one = np.zeros(angles.shape[:-1] + (3, 3))
        i = "XYZ".index(axis)
        j, k = (i + 1) % 3, (i + 2) % 3
        one[..., i, i] = 1
        one[..., j, j] = one[..., k, k] = c
        one[..., j, k] = -s
        one[..., k, j] = s
        result = one if column == 0 else result @ one
    return result


def matrix_to_euler(m: np.ndarray, order: str) -> np.ndarray:
    """Matrices (...,3,3) to angles (...,3) in degrees with ``euler_to_matrix(angles, order)`` as the inverse."""
    m = np.asarray(m, dtype=np.float64)
    with warnings.catch_warnings():
        # at gimbal lock scipy warns that it sets one angle to zero; the rotation is the same
        warnings.simplefilter("ignore", UserWarning)
        angles = Rotation.from_matrix(m.reshape(-1, 3, 3)).as_euler(order.upper(), degrees=True)
    return angles.reshape(*m.shape[:-2], 3)


def minimal_rotation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The matrix (3,3) that turns direction a onto direction b without twist about them."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis, cosine = np.cross(a, b), float(a @ b)
    if cosine < -0.999999:
        # opposite: any perpendicular axis does
        axis = np.cross(a, [1.0, 0, 0] if abs(a[0]) < 0.9 else [0, 1.0, 0])
        return Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.pi).as_matrix()
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def heading(q: np.ndarray) -> np.ndarray:
    """Heading (...) in radians of quaternions (...,4) wxyz: their twist about +Y, positive to the left (+X).

    In -2 pi .. 2 pi, not unwrapped. Unlike :func:`yaw_of` it stays defined when the body bends over.
    """
    return 2.0 * np.arctan2(q[..., 2], q[..., 0])


def yaw_quaternion(angle: np.ndarray | float) -> np.ndarray:
    """Turns about +Y by ``angle`` radians (...) as quaternions (...,4) wxyz."""
    half = np.asarray(angle) / 2
    return np.stack([np.cos(half), 0 * half, np.sin(half), 0 * half], -1)


def yaw_of(m: np.ndarray) -> np.ndarray:
    """Heading of matrices (...,3,3): the angle of their +Z axis about +Y in radians, positive to the left (+X)."""
    m = np.asarray(m)
    return np.arctan2(m[..., 0, 2], m[..., 2, 2])


def yaw_matrix(angle: np.ndarray) -> np.ndarray:
    """Turns about +Y by ``angle`` radians (...,) as matrices (...,3,3)."""
    return euler_to_matrix(np.degrees(np.asarray(angle, dtype=np.float64))[..., None], "Y")


def _sample_times(frames: int, fps: float, new_fps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = max(1, int(np.floor((frames - 1) / fps * new_fps + 1e-6)) + 1)
    at = np.minimum(np.arange(count) * fps / new_fps, frames - 1)
    low = np.minimum(np.floor(at).astype(int), max(frames - 2, 0))
    return low, np.minimum(low + 1, frames - 1), at - low


def resample_vectors(v: np.ndarray, fps: float, new_fps: float) -> np.ndarray:
    """Linear resampling of (T,...) samples; the first sample keeps its time."""
    low, high, part = _sample_times(len(v), fps, new_fps)
    part = part.reshape((-1,) + (1,) * (v.ndim - 1))
    return v[low] * (1 - part) + v[high] * part


def resample_quaternions(q: np.ndarray, fps: float, new_fps: float) -> np.ndarray:
    """Spherical resampling of unit quaternions (T,...,4)."""
    low, high, part = _sample_times(len(q), fps, new_fps)
    a, b = q[low], q[high]
    part = part.reshape((-1,) + (1,) * (q.ndim - 1))
    dot = np.sum(a * b, -1, keepdims=True)
    b = np.where(dot < 0, -b, b)
    angle = np.arccos(np.clip(np.abs(dot), 0, 1))
    sine = np.sin(angle)
    near = sine < 1e-4
    safe = np.where(near, 1, sine)
    out = np.where(near, 1 - part, np.sin((1 - part) * angle) / safe) * a
    out = out + np.where(near, part, np.sin(part * angle) / safe) * b
    return out / np.linalg.norm(out, axis=-1, keepdims=True)
