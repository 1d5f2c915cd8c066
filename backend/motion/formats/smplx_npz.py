"""AMASS / SMPL-X npz: ``poses`` axis-angle, ``trans``, ``betas``, ``gender``, ``mocap_frame_rate``.

Files written here also hold ``rest_offsets`` (22,3), ``contacts`` (T,4) and ``up_axis`` = 'Y'. Without ``up_axis`` a
file is taken as AMASS has it: Z up.
"""

import zipfile
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.motion import rotations as rot
from backend.motion.canonical import MAX_FRAMES, put_on_floor
from backend.motion.contacts import foot_contacts
from backend.motion.skeleton import CANONICAL_OFFSETS, Motion
from backend.protocol import FPS

MAX_BYTES = 512 * 1024 * 1024
SMPLX_COLUMNS = 165
# legs of the SMPL-X mean body (thigh + shin); the translation of a file without rest_offsets is scaled to ours by it
SMPLX_LEG_LENGTH = 0.79
Z_UP_TO_Y_UP = np.array([np.sqrt(0.5), -np.sqrt(0.5), 0.0, 0.0])


def read(path: Path, fps: float | None = None, source_fps: float | None = None) -> Motion:
    """An npz file as a canonical motion at ``fps`` (30 unless told). Raises BackendError('bad_file').

    ``poses`` may have 165 (SMPL-X), 156 (SMPL-H), 72 (SMPL) or 66 columns, or come as ``root_orient`` + ``pose_body``.
    """
    path = Path(path)
    data = _load(path)
    poses, trans = data.get("poses"), data.get("trans")
    if poses is None and "root_orient" in data and "pose_body" in data:
        poses = np.concatenate([data["root_orient"], data["pose_body"]], axis=1)
    if poses is None or trans is None:
        raise BackendError("bad_file", f"{path.name}: 'poses' and 'trans' are missing; it is no SMPL-X or AMASS file.")
    frames = len(poses)
    if poses.ndim != 2 or poses.shape[1] < 66 or trans.shape != (frames, 3) or not 1 <= frames <= MAX_FRAMES:
        shapes = f"{poses.shape} and {trans.shape}"
        raise BackendError("bad_file", f"{path.name}: 'poses' and 'trans' have shapes {shapes} that do not fit a body.")
    if not (np.isfinite(poses).all() and np.isfinite(trans).all()):
        raise BackendError("bad_file", f"{path.name}: the motion holds numbers that are not finite.")
    rate = source_fps or _rate(path, data)
    quaternions = rot.axis_angle_to_quaternion(poses[:, :66].reshape(frames, 22, 3))
    translation = trans.astype(np.float64)
    own = str(data.get("up_axis", "Z")).upper() == "Y"
    if not own:
        quaternions[:, 0] = rot.quaternion_multiply(Z_UP_TO_Y_UP, quaternions[:, 0])
        translation = rot.quaternion_rotate(Z_UP_TO_Y_UP, translation)
    offsets = data.get("rest_offsets")
    if offsets is None:
        offsets = CANONICAL_OFFSETS
        translation = translation * (np.linalg.norm(offsets[[4, 7]], axis=-1).sum() / SMPLX_LEG_LENGTH)
    elif offsets.shape != (22, 3) or not np.isfinite(offsets).all():
        raise BackendError("bad_file", f"{path.name}: 'rest_offsets' must have shape (22, 3), not {offsets.shape}.")
    contacts = data.get("contacts")
    quaternions = rot.continuous(quaternions)
    fps = float(fps or FPS)
    if abs(rate - fps) > 1e-3:
        quaternions = rot.resample_quaternions(quaternions, rate, fps)
        translation = rot.resample_vectors(translation, rate, fps)
        contacts = None
    motion = Motion(quaternions, translation, offsets, fps)
    if "rest_offsets" not in data:
        put_on_floor(motion)
    if contacts is None or contacts.shape != (motion.frames, 4):
        contacts = foot_contacts(motion.joints(), fps)
    motion.contacts = np.asarray(contacts, dtype=np.float32)
    return motion


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:
            raise BackendError("bad_file", f"{path.name}: its arrays take {size // 2**20} MB, which is too much.")
        with np.load(path, allow_pickle=False) as archive:
            wanted = ("poses", "trans", "root_orient", "pose_body", "betas", "gender", "mocap_frame_rate")
            wanted += ("mocap_framerate", "rest_offsets", "contacts", "up_axis")
            return {key: archive[key] for key in wanted if key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BackendError("bad_file", f"{path.name} could not be read as an npz file.") from error


def _rate(path: Path, data: dict[str, np.ndarray]) -> float:
    for key in ("mocap_frame_rate", "mocap_framerate"):
        if key in data:
            rate = float(np.asarray(data[key]).reshape(-1)[0])
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
