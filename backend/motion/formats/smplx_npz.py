"""AMASS / SMPL-X npz: ``poses`` axis-angle, ``trans``, ``betas``, ``gender``, ``mocap_frame_rate``.

Rotations count from SMPL's zero pose, ``trans`` moves the whole body, as everywhere in the field. Files written here
also hold ``rest_offsets`` (22,3), ``contacts`` (T,4), ``up_axis`` = 'Y' and ``zero_pose`` = 'SMPL' (older ones count
from the canonical T-pose and lack it). A file without ``rest_offsets`` is taken as AMASS has it: Z up, on the SMPL
body. Its shape (``betas``) and gender are not needed: bone lengths are carried over by the ratio of the legs, and
differ from person to person by a few per cent.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.motion import humanml3d
from backend.motion import rotations as rot
from backend.motion.canonical import MAX_FRAMES, to_canonical
from backend.motion.contacts import foot_contacts
from backend.motion.formats import arrayfile
from backend.motion.joint_matching import SourceMotion
from backend.motion.skeleton import Motion, forward_kinematics, global_rotations
from backend.protocol import FPS, JOINTS, PARENTS, SMPL_PELVIS, SMPL_ZERO_POSE, SMPLX_JOINTS

MAX_BYTES = 512 * 1024 * 1024
SMPLX_COLUMNS = 165
BODY, FACE, HANDS = SMPLX_JOINTS[:22], SMPLX_JOINTS[22:25], SMPLX_JOINTS[25:]
# numbers a frame -> what they turn: body, + jaw, SMPL, SMPL-H, + jaw, SMPL-X
COLUMNS = {
    66: BODY,
    69: (*BODY, "jaw"),
    72: (*BODY, "left_hand", "right_hand"),
    156: (*BODY, *HANDS),
    159: (*BODY, "jaw", *HANDS),
    165: SMPLX_JOINTS,
}
WANTED = (
    "poses", "trans", "root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand", "mocap_frame_rate",
    "mocap_framerate", "rest_offsets", "contacts", "up_axis", "zero_pose", "betas",
)  # fmt: skip


@dataclass
class BodyMotion:
    """What a file says for an SMPL body itself, Y up.

    joints: names of the n joints, the first 22 as ``protocol.JOINTS``. rotations: (T,n,4) local, wxyz, counted from
    SMPL's zero pose. translation: (T,3) of the whole body, metres. betas: shape, (k,). fps: frames per second.
    """

    joints: tuple[str, ...]
    rotations: np.ndarray
    translation: np.ndarray
    betas: np.ndarray
    fps: float


def read(path: Path, fps: float | None = None, source_fps: float | None = None, up: str | None = None) -> Motion:
    """An npz file as a canonical motion at ``fps`` (30 unless told). Raises BackendError('bad_file').

    ``poses`` may have 165 (SMPL-X), 156 (SMPL-H), 72 (SMPL) or 66 columns, or come as ``root_orient`` + ``pose_body``.
    ``up``: 'Y' or 'Z'; unless told, what the file says, or else Z.
    """
    path = Path(path)
    data, poses, rate, up = _checked(path, source_fps, up)
    fps = float(fps or FPS)
    quaternions = rot.continuous(rot.axis_angle_to_quaternion(poses[:, :66].reshape(len(poses), 22, 3)))
    trans, offsets = data["trans"].astype(np.float64), data.get("rest_offsets")
    if offsets is None:
        return _from_smpl(quaternions, trans, rate, fps, up, path.name)
    if offsets.shape != (22, 3) or not np.isfinite(offsets).all():
        raise BackendError("bad_file", f"{path.name}: 'rest_offsets' must have shape (22, 3), not {offsets.shape}.")
    quaternions, trans = upright(quaternions, trans, up)
    if "zero_pose" in data:
        quaternions, trans = from_zero_pose(quaternions), trans + SMPL_PELVIS
    return _own(quaternions, trans, offsets, data.get("contacts"), rate, fps)


def read_body(
    path: Path, fps: float | None = None, source_fps: float | None = None, up: str | None = None
) -> BodyMotion | None:
    """The same file as it is meant for an SMPL body, hands and face included, at ``fps`` (the file's own when None).

    None for a file that counts from the canonical T-pose. Raises BackendError('bad_file').
    """
    path = Path(path)
    data, poses, rate, up = _checked(path, source_fps, up)
    if "rest_offsets" in data and "zero_pose" not in data:
        return None
    joints = COLUMNS[poses.shape[1]]
    if "rest_offsets" in data:  # written here: what lies beyond the 22 joints is not known
        joints, poses = BODY, poses[:, :66]
    quaternions = rot.continuous(rot.axis_angle_to_quaternion(poses.reshape(len(poses), -1, 3)))
    quaternions, trans = upright(quaternions, data["trans"].astype(np.float64), up)
    if fps is not None and abs(rate - fps) > 1e-3:
        quaternions, trans = rot.resample_quaternions(quaternions, rate, fps), rot.resample_vectors(trans, rate, fps)
    betas = data.get("betas", np.zeros(0)).reshape(-1).astype(np.float64)
    return BodyMotion(joints, quaternions, trans, betas, float(fps or rate))


def _checked(path: Path, source_fps: float | None, up: str | None) -> tuple[dict, np.ndarray, float, str]:
    """(arrays, poses (T,k) with k in ``COLUMNS``, frames per second, 'Y' or 'Z') of a file that is sound."""
    data = _load(path)
    poses, trans = _poses(data), data.get("trans")
    if poses is None or trans is None:
        raise BackendError("bad_file", f"{path.name}: 'poses' and 'trans' are missing; it is no SMPL-X or AMASS file.")
    poses = poses.reshape(len(poses), -1) if poses.ndim == 3 and poses.shape[2] == 3 else poses
    frames = len(poses) if poses.ndim else 0
    if poses.ndim != 2 or poses.shape[1] not in COLUMNS or trans.shape != (frames, 3) or not 1 <= frames <= MAX_FRAMES:
        shapes = f"{poses.shape} and {trans.shape}"
        raise BackendError("bad_file", f"{path.name}: 'poses' and 'trans' have shapes {shapes} that do not fit a body.")
    sound = np.isfinite(poses).all(1) & np.isfinite(trans).all(1) & (np.abs(trans).max(1) < 1e5)
    if not sound.all():
        frame = int(np.argmin(sound)) + 1
        raise BackendError("bad_file", f"{path.name}, frame {frame}: the motion holds numbers that cannot be right.")
    up = (up or str(data.get("up_axis", "Z"))).upper()
    if up not in ("Y", "Z"):
        raise BackendError("bad_file", f"{path.name}: the axis that points up can be Y or Z, not {up[:20]!r}.")
    return data, poses, source_fps or _rate(path, data), up


def _poses(data: dict[str, np.ndarray]) -> np.ndarray | None:
    if "poses" in data:
        return data["poses"]
    widths = (("root_orient", 3), ("pose_body", 63), ("pose_jaw", 3), ("pose_eye", 6), ("pose_hand", 90))
    parts = [data[name] for name, width in widths if name in data and data[name].shape[1:] == (width,)]
    if {"root_orient", "pose_body"} <= set(data) and len({len(part) for part in parts}) == 1:
        whole = np.concatenate(parts, axis=1)
        return whole if whole.shape[1] in COLUMNS else whole[:, :66]
    return None


def upright(q: np.ndarray, trans: np.ndarray, up: str) -> tuple[np.ndarray, np.ndarray]:
    """Local rotations (T,n,4) and travel (T,3) of a file whose ``up`` is 'Y' or 'Z', with Y up."""
    if up == "Y":
        return q, trans
    turn = np.array([np.sqrt(0.5), -np.sqrt(0.5), 0.0, 0.0])
    q = q.copy()
    q[:, 0] = rot.quaternion_multiply(turn, q[:, 0])
    return q, rot.quaternion_rotate(turn, trans)


def zero_pose() -> np.ndarray:
    """World turns (22,4) wxyz of the canonical T-pose that pose it like SMPL's zero pose."""
    turns = np.tile([1.0, 0.0, 0.0, 0.0], (22, 1))
    for i, joint in enumerate(JOINTS):
        side, _, part = joint.partition("_")
        if part in SMPL_ZERO_POSE:
            turns[i] = np.array(SMPL_ZERO_POSE[part]) * (1.0 if side == "left" else np.array([1.0, 1.0, -1.0, -1.0]))
    return turns / np.linalg.norm(turns, axis=-1, keepdims=True)


def from_zero_pose(q: np.ndarray) -> np.ndarray:
    """Local rotations (T,22,4) counted from SMPL's zero pose, counted from the canonical T-pose."""
    turns = zero_pose()
    above = turns[[max(parent, 0) for parent in PARENTS]]
    above[0] = [1.0, 0.0, 0.0, 0.0]
    return rot.quaternion_multiply(rot.quaternion_multiply(rot.quaternion_conjugate(above), q), turns)


def to_zero_pose(q: np.ndarray) -> np.ndarray:
    """The way back: local rotations (T,22,4) of the canonical skeleton, counted from SMPL's zero pose."""
    turns = zero_pose()
    above = turns[[max(parent, 0) for parent in PARENTS]]
    above[0] = [1.0, 0.0, 0.0, 0.0]
    return rot.quaternion_multiply(rot.quaternion_multiply(above, q), rot.quaternion_conjugate(turns))


def _from_smpl(q: np.ndarray, trans: np.ndarray, rate: float, fps: float, up: str, name: str) -> Motion:
    """The SMPL body's rotations: its rest pose is another T-pose than the canonical one, and is accounted for."""
    source = SourceMotion(
        list(JOINTS),
        list(PARENTS),
        humanml3d.SMPL_REST,
        global_rotations(q),
        forward_kinematics(q, trans, humanml3d.SMPL_REST),
        rate,
        name,
    )
    return to_canonical(source, fps, up=up)


def _own(
    q: np.ndarray, trans: np.ndarray, offsets: np.ndarray, contacts: np.ndarray | None, rate: float, fps: float
) -> Motion:
    """A file written here: nothing to map, no floor to find."""
    if abs(rate - fps) > 1e-3:
        q, trans, contacts = rot.resample_quaternions(q, rate, fps), rot.resample_vectors(trans, rate, fps), None
    motion = Motion(q, trans, offsets, fps)
    if contacts is None or contacts.shape != (motion.frames, 4) or not np.isfinite(contacts).all():
        contacts = foot_contacts(motion.joints(), fps)
    motion.contacts = np.asarray(contacts, dtype=np.float32)
    return motion


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if e.filename.removesuffix(".npy") in WANTED]
            size = sum(entry.file_size for entry in entries)
            if size > MAX_BYTES:
                raise BackendError("bad_file", f"{path.name}: its arrays take {size // 2**20} MB, which is too much.")
            for entry in entries:
                with archive.open(entry) as file:
                    arrayfile.check_header(file, entry.file_size)
        with np.load(path, allow_pickle=False) as archive:
            data = {key: archive[key] for key in WANTED if key in archive.files}
    except arrayfile.BROKEN as error:
        text = f"{path.name} could not be read as an npz file: {arrayfile.reason(error)}."
        raise BackendError("bad_file", text) from error
    for key, array in data.items():
        if array.dtype.kind not in ("US" if key in ("up_axis", "zero_pose") else "fiu"):
            raise BackendError("bad_file", f"{path.name}: '{key}' holds no plain numbers.")
    return data


def _rate(path: Path, data: dict[str, np.ndarray]) -> float:
    for key in ("mocap_frame_rate", "mocap_framerate"):
        if key in data:
            rate = float(data[key].reshape(-1)[0]) if data[key].size == 1 else float("nan")
            if not 0.1 < rate < 10_000:
                raise BackendError("bad_file", f"{path.name}: {rate} frames a second cannot be right.")
            return rate
    return float(FPS)


def write(path: Path, motion: Motion) -> None:
    """Save a motion with the keys of SMPL-X files (165 columns: jaw, eyes and hands at rest) plus our own."""
    poses = np.zeros((motion.frames, SMPLX_COLUMNS), dtype=np.float32)
    turns = to_zero_pose(motion.rotations.astype(np.float64))
    poses[:, :66] = rot.quaternion_to_axis_angle(turns).reshape(motion.frames, 66)
    with open(path, "wb") as file:
        np.savez_compressed(
            file,
            poses=poses,
            trans=(motion.translation - np.array(SMPL_PELVIS)).astype(np.float32),
            betas=np.zeros(16, dtype=np.float32),
            gender=np.array("neutral"),
            mocap_frame_rate=np.array(motion.fps, dtype=np.float32),
            rest_offsets=motion.rest_offsets,
            contacts=motion.contacts,
            up_axis=np.array("Y"),
            zero_pose=np.array("SMPL"),
        )
