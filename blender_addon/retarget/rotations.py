"""Rotations as numpy arrays: unit quaternions wxyz in the last axis, 3x3 matrices in the last two; all vectorised."""

import numpy as np


def normalise(q: np.ndarray) -> np.ndarray:
    """Unit quaternions (...,4); a zero quaternion becomes the identity."""
    q = np.asarray(q, dtype=np.float64)
    length = np.linalg.norm(q, axis=-1, keepdims=True)
    identity = np.array([1.0, 0.0, 0.0, 0.0])
    return np.where(length > 1e-12, q / np.maximum(length, 1e-12), identity)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product (...,4): the rotation ``b`` first, then ``a``."""
    a, b = np.asarray(a), np.asarray(b)
    aw, ax, ay, az = a[..., 0], a[..., 1], a[..., 2], a[..., 3]
    bw, bx, by, bz = b[..., 0], b[..., 1], b[..., 2], b[..., 3]
    w = aw * bw - ax * bx - ay * by - az * bz
    product = np.empty(w.shape + (4,), dtype=w.dtype)
    product[..., 0] = w
    product[..., 1] = aw * bx + ax * bw + ay * bz - az * by
    product[..., 2] = aw * by - ax * bz + ay * bw + az * bx
    product[..., 3] = aw * bz + ax * by - ay * bx + az * bw
    return product


def conjugate(q: np.ndarray) -> np.ndarray:
    """The inverse of unit quaternions (...,4)."""
    return np.asarray(q) * np.array([1.0, -1.0, -1.0, -1.0])


def rotate(q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Vectors (...,3) turned by unit quaternions (...,4), broadcast."""
    q, v = np.asarray(q), np.asarray(v)
    w, u = q[..., :1], q[..., 1:]
    t = 2.0 * cross(u, v)
    return v + w * t + cross(u, t)


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product (...,3); several times faster than np.cross on small arrays."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    x = ay * bz - az * by
    product = np.empty(x.shape + (3,), dtype=x.dtype)
    product[..., 0], product[..., 1], product[..., 2] = x, az * bx - ax * bz, ax * by - ay * bx
    return product


def from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Quaternions (...,4) of rotation matrices (...,3,3) (Bar-Itzhack's largest-component choice)."""
    m = np.asarray(matrix, dtype=np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    squares = np.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1)
    yz, zx, xy = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    syz, szx, sxy = m[..., 2, 1] + m[..., 1, 2], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 0] + m[..., 0, 1]
    candidates = np.stack(
        [
            np.stack([squares[..., 0], yz, zx, xy], -1),
            np.stack([yz, squares[..., 1], sxy, szx], -1),
            np.stack([zx, sxy, squares[..., 2], syz], -1),
            np.stack([xy, szx, syz, squares[..., 3]], -1),
        ],
        -2,
    )
    best = squares.argmax(-1)[..., None, None]
    return normalise(np.take_along_axis(candidates, best, -2)[..., 0, :])


def to_matrix(q: np.ndarray) -> np.ndarray:
    """Rotation matrices (...,3,3) of unit quaternions (...,4)."""
    w, x, y, z = np.moveaxis(np.asarray(q, dtype=np.float64), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def from_axis_angle(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Quaternions (...,4) turning by ``angle`` (...) radians about unit ``axis`` (...,3)."""
    half = np.asarray(angle)[..., None] * 0.5
    return np.concatenate([np.cos(half), np.sin(half) * axis], -1)


def to_axis_angle(q: np.ndarray) -> np.ndarray:
    """Rotation vectors (...,3): unit axis times angle in radians, 0..pi."""
    q = normalise(q)
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, q[..., :1])
    return q[..., 1:] * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 2.0)


def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The shortest rotation (...,4) that takes direction ``a`` (...,3) to direction ``b`` (...,3).

    For opposite directions the axis is any one at right angles to ``a``.
    """
    a = np.asarray(a, dtype=np.float64)
    b = np.asarray(b, dtype=np.float64)
    a = a / np.maximum(np.linalg.norm(a, axis=-1, keepdims=True), 1e-12)
    b = b / np.maximum(np.linalg.norm(b, axis=-1, keepdims=True), 1e-12)
    a, b = np.broadcast_arrays(a, b)
    dot = np.sum(a * b, -1, keepdims=True)
    q = np.concatenate([1.0 + dot, cross(a, b)], -1)
    smallest = np.eye(3)[np.abs(a).argmin(-1)]
    turn = np.concatenate([np.zeros_like(dot), cross(a, smallest)], -1)
    return normalise(np.where(dot < -0.999999, turn, q))


def slerp(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Spherical interpolation (...,4) from ``a`` (share 0) to ``b`` (share 1) along the shorter arc."""
    a, b = np.broadcast_arrays(normalise(a), normalise(b))
    share = np.asarray(share, dtype=np.float64)[..., None]
    dot = np.sum(a * b, -1, keepdims=True)
    b = np.where(dot < 0, -b, b)
    angle = np.arccos(np.clip(np.abs(dot), 0.0, 1.0))
    sine = np.sin(angle)
    near = sine < 1e-6
    safe = np.where(near, 1.0, sine)
    first = np.where(near, 1.0 - share, np.sin((1.0 - share) * angle) / safe)
    second = np.where(near, share, np.sin(share * angle) / safe)
    return normalise(first * a + second * b)


def continuous(q: np.ndarray) -> np.ndarray:
    """The same rotations (T,...,4) with signs chosen so that neighbouring frames lie in the same half-sphere."""
    q = np.array(q, dtype=np.float64)
    if len(q) > 1:
        flips = np.where(np.sum(q[1:] * q[:-1], -1) < 0, -1.0, 1.0)
        q[1:] *= np.cumprod(flips, axis=0)[..., None]
    return q


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle (...) in radians between rotations ``a`` and ``b`` (...,4)."""
    difference = multiply(conjugate(a), b)
    return 2.0 * np.arctan2(np.linalg.norm(difference[..., 1:], axis=-1), np.abs(difference[..., 0]))


def to_euler(q: np.ndarray, order: str) -> np.ndarray:
    """Euler angles (T,...,3) in radians, in x, y, z places, of unit quaternions (T,...,4), without jumps along T.

    order: Blender's rotation mode: "XYZ" turns about X first. Of the two angle triples that make the same rotation the
    one nearer to the frame before is taken; angles run on beyond half a turn rather than wrap. Formulas as in
    Shoemake, Euler Angle Conversion (Graphics Gems IV).
    """
    m = to_matrix(q)
    i, j, k = ("XYZ".index(axis) for axis in order)
    odd = (j - i) % 3 != 1
    flat = np.hypot(m[..., i, i], m[..., j, i])
    locked = flat < 1e-7
    angles = np.empty(m.shape[:-2] + (3,))
    angles[..., i] = np.where(locked, np.arctan2(-m[..., j, k], m[..., j, j]), np.arctan2(m[..., k, j], m[..., k, k]))
    angles[..., j] = np.arctan2(-m[..., k, i], flat)
    angles[..., k] = np.where(locked, 0.0, np.arctan2(m[..., j, i], m[..., i, i]))
    if odd:
        angles = -angles
    other = angles + np.pi
    other[..., j] = np.pi - angles[..., j]

    def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.abs((a - b + np.pi) % (2 * np.pi) - np.pi).sum(-1)

    zero = np.zeros_like(angles[:1])
    first = distance(other[:1], zero) < distance(angles[:1], zero)
    # Both branches differ by the same amounts from frame to frame, so the choice is a running exclusive or
    toggles = distance(other[1:], angles[:-1]) < distance(angles[1:], angles[:-1])
    chosen = np.logical_xor.accumulate(np.concatenate([first, toggles]), axis=0)
    angles = np.where(chosen[..., None], other, angles)
    angles[0] = (angles[0] + np.pi) % (2 * np.pi) - np.pi
    return np.unwrap(angles, axis=0)


def to_axis_and_angle(q: np.ndarray) -> np.ndarray:
    """Angle and unit axis (T,...,4) as Blender keys them, without jumps along T, of unit quaternions (T,...,4)."""
    q = continuous(normalise(q))
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    axis = q[..., 1:] / np.maximum(sine, 1e-12)
    angle = 2.0 * np.arctan2(sine, q[..., :1])[..., 0]
    # Where nothing turns, the axis of the frame before stays; where it would point back, the angle goes negative
    for t in range(1, len(q)):
        axis[t] = np.where(sine[t] < 1e-6, axis[t - 1], axis[t])
    signs = np.sign(np.sum(axis[1:] * axis[:-1], -1))
    flips = np.cumprod(np.concatenate([np.ones_like(angle[:1]), np.where(signs < 0, -1.0, 1.0)]), axis=0)
    axis = axis * flips[..., None]
    still = np.linalg.norm(axis, axis=-1, keepdims=True) < 0.5
    axis = np.where(still, np.array([0.0, 1.0, 0.0]), axis)
    return np.concatenate([np.unwrap(angle * flips, axis=0)[..., None], axis], -1)


def from_euler(angles: np.ndarray, order: str) -> np.ndarray:
    """Quaternions (...,4) of Euler angles (...,3) radians in x, y, z places; ``order`` as in :func:`to_euler`."""
    total = None
    for axis in order:
        index = "XYZ".index(axis)
        one = from_axis_angle(np.eye(3)[index], angles[..., index])
        total = one if total is None else multiply(one, total)
    return total
