"""AMASS / SMPL-X npz: ``poses`` axis-angle, ``trans``, ``betas``, ``gender``, ``mocap_frame_rate``.

Files written here also hold ``rest_offsets`` (22,3), ``contacts`` (T,4) and ``up_axis`` = 'Y'. A file without
``rest_offsets`` is taken as AMASS has it: Z up, on the SMPL body. Its shape (``betas``) and gender are not needed: bone
lengths are carried over by the ratio of the legs, and differ from person to person by a few per cent.
"""

import zipfile
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
from backend.protocol import FPS, JOINTS, PARENTS

MAX_BYTES = 512 * 1024 * 1024
SMPLX_COLUMNS = 165
WIDTHS = (66, 69, 72, 156, 159, 165)  # body only, + jaw, SMPL, SMPL-H, + jaw, SMPL-X
WANTED = (
    "poses", "trans", "root_orient", "pose_body", "mocap_frame_rate", "mocap_framerate", "rest_offsets", "contacts",
    "up_axis",
)  # fmt: skip


def read(path: Path, fps: float | None = None, source_fps: float | None = None, up: str | None = None) -> Motion:
    """An npz file as a canonical motion at ``fps`` (30 unless told). Raises BackendError('bad_file').

    ``poses`` may have 165 (SMPL-X), 156 (SMPL-H), 72 (SMPL) or 66 columns, or come as ``root_orient`` + ``pose_body``.
    ``up``: 'Y' or 'Z'; unless told, what the file says, or else Z.
    """
    path = Path(path)
    data = _load(path)
    poses, trans = data.get("poses"), data.get("trans")
    if poses is None and "root_orient" in data and "pose_body" in data:
        turns, body = data["root_orient"], data["pose_body"]
        if turns.ndim == body.ndim == 2 and len(turns) == len(body):
            poses = np.concatenate([turns, body], axis=1)
    if poses is None or trans is None:
        raise BackendError("bad_file", f"{path.name}: 'poses' and 'trans' are missing; it is no SMPL-X or AMASS file.")
    poses = poses.reshape(len(poses), -1) if poses.ndim == 3 and poses.shape[2] == 3 else poses
    frames = len(poses) if poses.ndim else 0
    if poses.ndim != 2 or poses.shape[1] not in WIDTHS or trans.shape != (frames, 3) or not 1 <= frames <= MAX_FRAMES:
        shapes = f"{poses.shape} and {trans.shape}"
        raise BackendError("bad_file", f"{path.name}: 'poses' and 'trans' have shapes {shapes} that do not fit a body.")
    sound = np.isfinite(poses).all(1) & np.isfinite(trans).all(1) & (np.abs(trans).max(1) < 1e5)
    if not sound.all():
        frame = int(np.argmin(sound)) + 1
        raise BackendError("bad_file", f"{path.name}, frame {frame}: the motion holds numbers that cannot be right.")
    up = (up or str(data.get("up_axis", "Z"))).upper()
    if up not in ("Y", "Z"):
        raise BackendError("bad_file", f"{path.name}: the axis that points up can be Y or Z, not {up[:20]!r}.")
    rate = source_fps or _rate(path, data)
    fps = float(fps or FPS)
    quaternions = rot.continuous(rot.axis_angle_to_quaternion(poses[:, :66].reshape(frames, 22, 3)))
    offsets = data.get("rest_offsets")
    if offsets is None:
        return _from_smpl(quaternions, trans.astype(np.float64), rate, fps, up, path.name)
    if offsets.shape != (22, 3) or not np.isfinite(offsets).all():
        raise BackendError("bad_file", f"{path.name}: 'rest_offsets' must have shape (22, 3), not {offsets.shape}.")
    return _own(quaternions, trans, offsets, data.get("contacts"), rate, fps, up)


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
    q: np.ndarray, trans: np.ndarray, offsets: np.ndarray, contacts: np.ndarray | None, rate: float, fps: float, up: str
) -> Motion:
    """A file written here: nothing to map, no floor to find."""
    trans = trans.astype(np.float64)
    if up == "Z":
        turn = np.array([np.sqrt(0.5), -np.sqrt(0.5), 0.0, 0.0])
        q[:, 0] = rot.quaternion_multiply(turn, q[:, 0])
        trans = rot.quaternion_rotate(turn, trans)
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
        if array.dtype.kind not in ("fiu" if key != "up_axis" else "US"):
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
    poses[:, :66] = rot.quaternion_to_axis_angle(motion.rotations).reshape(motion.frames, 66)
    with open(path, "wb") as file:
        np.savez_compressed(
            file,
            poses=poses,
            trans=motion.translation,
            betas=np.zeros(16, dtype=np.float32),
            gender=np.array("neutral"),
            mocap_frame_rate=np.array(motion.fps, dtype=np.float32),
            rest_offsets=motion.rest_offsets,
            contacts=motion.contacts,
            up_axis=np.array("Y"),
        )
