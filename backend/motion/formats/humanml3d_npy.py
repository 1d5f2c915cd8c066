"""HumanML3D arrays (.npy): joint positions (T,22,3), or 263 features a frame, which the number of columns tells.

Positions hold no rotations: :mod:`backend.motion.inverse_kinematics` finds them and says what it cannot. Arrays of
other models come in this way, whatever their unit; Y is up unless told.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.motion import humanml3d, inverse_kinematics
from backend.motion import rotations as rot
from backend.motion.canonical import MAX_FRAMES, to_canonical
from backend.motion.formats import arrayfile
from backend.motion.formats.smplx_npz import BodyMotion, to_zero_pose
from backend.motion.joint_matching import SourceMotion
from backend.motion.skeleton import CANONICAL_OFFSETS, Motion
from backend.protocol import FPS, JOINTS, PARENTS, SMPL_PELVIS

BODIES = (22, 24, 52, 55, 127, 144)  # numbers of joints of SMPL, SMPL-H and SMPL-X output: the first 22 are the same
MAX_SIZE = 1e6  # in the unit of the file: a kilometre in millimetres
OWN_BONES = 0.02  # how far bone lengths may be from the canonical ones for the skeleton to be ours


def read(
    path: Path,
    fps: float = FPS,
    source_fps: float | None = None,
    up: str | None = None,
    mean: str | Path | None = None,
    std: str | Path | None = None,
) -> Motion:
    """Positions or features as a canonical motion at ``fps``, feet on the floor. Raises BackendError('bad_file').

    source_fps: 20 unless told (30 for positions with this program's own bone lengths); up: axis of the positions;
    mean, std: files of (263,) by which the features were normalised, as models give them.
    """
    path = Path(path)
    return from_joints(_positions(path, mean, std), fps, source_fps, up or "Y", path.name)


def read_body(
    path: Path,
    fps: float | None = None,
    source_fps: float | None = None,
    up: str | None = None,
    mean: str | Path | None = None,
    std: str | Path | None = None,
) -> BodyMotion:
    """The same as rotations of an SMPL body, counted from its zero pose, for armatures with the file's own bones.

    Joints come back where the file has them. Raises BackendError('bad_file').
    """
    path = Path(path)
    skeleton, world = solve(_positions(path, mean, std), source_fps, up or "Y", path.name)
    local = world.copy()
    for j, parent in enumerate(PARENTS):
        if parent >= 0:
            local[:, j] = np.swapaxes(world[:, parent], -1, -2) @ world[:, j]
    q = rot.continuous(rot.matrix_to_quaternion(local))
    if skeleton.canonical:
        q = to_zero_pose(q)
    legs = (
        np.linalg.norm(skeleton.rest[[4, 7]], axis=-1).sum()
        / np.linalg.norm(humanml3d.SMPL_REST[[4, 7]], axis=-1).sum()
    )
    unit = 1.0 if 0.5 < legs < 1.5 else 1 / legs  # metres, or whatever makes an adult of it
    trans = skeleton.joints[:, 0] * unit - SMPL_PELVIS
    if fps is not None and abs(skeleton.fps - fps) > 1e-3:
        q, trans = rot.resample_quaternions(q, skeleton.fps, fps), rot.resample_vectors(trans, skeleton.fps, fps)
    return BodyMotion(JOINTS, q, trans, np.zeros(0), float(fps or skeleton.fps))


def _positions(path: Path, mean: str | Path | None, std: str | Path | None) -> np.ndarray:
    """Joint positions (T,22,3) of a file. Raises BackendError."""
    array = _load(path)
    if array.ndim == 2 and array.shape[1] == humanml3d.WIDTH:
        if (mean is None) != (std is None):
            raise BackendError("bad_request", f"{path.name}: both mean and std are needed, or none of them.")
        _check(path, array)
        if mean is not None and std is not None:
            array = array * _statistics(std) + _statistics(mean)
        joints = humanml3d.decode(array)
    else:
        joints = _joints(path, array)
    _check(path, joints.reshape(len(joints), -1))
    return joints


def _check(path: Path, rows: np.ndarray) -> None:
    bad = ~(np.abs(rows) < MAX_SIZE).all(1)
    if bad.any():
        frame = int(np.argmax(bad)) + 1
        raise BackendError("bad_file", f"{path.name}, frame {frame}: a number that is not finite or far too large.")


@dataclass
class Skeleton:
    """Joint positions (T,22,3), Y up, with the rest offsets (22,3) of their own skeleton and their frames a second.

    canonical: the rest pose is the canonical T-pose, else SMPL's zero pose.
    """

    joints: np.ndarray
    rest: np.ndarray
    fps: float
    canonical: bool


def from_joints(joints: np.ndarray, fps: float, source_fps: float | None, up: str, name: str) -> Motion:
    """Joint positions (T,22,3) in SMPL order as a canonical motion (see :func:`read`)."""
    skeleton, world = solve(joints, source_fps, up, name)
    source = SourceMotion(list(JOINTS), list(PARENTS), skeleton.rest, world, skeleton.joints, skeleton.fps, name)
    return to_canonical(source, fps)


def solve(joints: np.ndarray, source_fps: float | None, up: str, name: str) -> tuple[Skeleton, np.ndarray]:
    """(the skeleton, world rotations (T,22,3,3)): with its offsets, forward kinematics gives the positions back."""
    if up.upper() != "Y":
        turn = {"Z": (np.sqrt(0.5), -np.sqrt(0.5), 0.0, 0.0)}.get(up.upper())
        if turn is None:
            raise BackendError("bad_request", f"{name}: the axis that points up can be Y or Z, not {up!r}.")
        joints = rot.quaternion_rotate(np.array(turn), joints)
    bones = np.stack([joints[:, j] - joints[:, p] for j, p in enumerate(PARENTS) if p >= 0], 1)
    lengths = np.median(np.linalg.norm(bones, axis=-1), axis=0)
    if lengths[[3, 4, 6, 7]].min() <= 1e-6 * max(lengths.max(), 1e-12) or lengths.max() <= 1e-9:
        raise BackendError("bad_file", f"{name}: the legs have no length; these are no joints of a person.")
    ours = np.linalg.norm(CANONICAL_OFFSETS[1:], axis=-1)
    scale = ours[[3, 4, 6, 7]].sum() / lengths[[3, 4, 6, 7]].sum()
    own = bool((np.abs(lengths * scale / ours - 1) < OWN_BONES).all())
    pose = CANONICAL_OFFSETS.astype(np.float64) if own else humanml3d.SMPL_REST
    rest = inverse_kinematics.own_offsets(joints, pose)
    rate = source_fps or (float(FPS) if own else humanml3d.FPS)
    return Skeleton(joints, rest, rate, own), inverse_kinematics.world_rotations(joints, rest, rate)


def _array(path: Path) -> np.ndarray:
    """The array of an .npy file, still on disk. Raises BackendError('bad_file')."""
    try:
        with open(path, "rb") as file:
            arrayfile.check_header(file, path.stat().st_size)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except arrayfile.BROKEN as error:
        text = f"{path.name} could not be read as an .npy file: {arrayfile.reason(error)}."
        raise BackendError("bad_file", text) from error
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise BackendError("bad_file", f"{path.name} holds no plain array of numbers.")
    return array


def _load(path: Path) -> np.ndarray:
    """The array of one motion; its size is checked before memory is taken. Raises BackendError('bad_file')."""
    array = _array(path)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim < 2 or array.size > MAX_FRAMES * 3 * max(BODIES):
        raise BackendError("bad_file", f"{path.name}: an array of shape {array.shape} is no motion.")
    with np.errstate(invalid="ignore"):  # of signalling NaNs, which are found later
        return np.array(array, dtype=np.float64)


def _joints(path: Path, array: np.ndarray) -> np.ndarray:
    if array.ndim == 2 and array.shape[1] == 66:
        array = array.reshape(-1, 22, 3)
    if array.ndim == 4:
        raise BackendError("bad_file", f"{path.name} holds {array.shape[0]} motions; save each in a file of its own.")
    if array.ndim != 3 or array.shape[2] != 3 or array.shape[1] not in BODIES:
        raise BackendError(
            "bad_file",
            f"{path.name}: an array of shape {array.shape} is no motion.",
            "Joint positions have shape (frames, 22, 3), HumanML3D features (frames, 263).",
        )
    if not 1 <= len(array) <= MAX_FRAMES:
        raise BackendError("bad_file", f"{path.name}: {len(array)} frames; between 1 and {MAX_FRAMES} can be read.")
    return array[:, :22]


def _statistics(path: str | Path) -> np.ndarray:
    path = Path(path)
    if not path.is_file():
        raise BackendError("bad_file", f"{path.name}: there is no such file.")
    array = _array(path)
    if array.shape != (humanml3d.WIDTH,) or not np.isfinite(array).all():
        raise BackendError("bad_file", f"{path.name}: mean and std are (263,) finite numbers, not {array.shape}.")
    return array.astype(np.float64)


def write(path: Path, motion: Motion, features: bool = False) -> None:
    """Save a motion as HumanML3D has it: joints (T,22,3) float32 on SMPL's bone lengths, metres, 20 fps, or features.

    Features (T-1,263) need at least two frames.
    """
    array = rot.resample_vectors(humanml3d.smpl_joints(motion), motion.fps, humanml3d.FPS).astype(np.float32)
    if features:
        if len(array) < 2:
            raise BackendError("bad_request", f"{path.name}: HumanML3D features need a tenth of a second or more.")
        array = humanml3d.encode(array)
    with open(path, "wb") as file:
        np.save(file, array, allow_pickle=False)
