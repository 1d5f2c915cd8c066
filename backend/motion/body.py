"""Body meshes: what a motion looks like on an SMPL, SMPL-H or SMPL-X model that the user owns.

The models come from their makers (smpl-x.is.tue.mpg.de and others), under a licence of their own, and are not part of
this program; neither is the package ``smplx``, whose skinning is used: see ``backend/requirements-smplx.txt``. Only
``.npz`` models are read: the ``.pkl`` files of the same models are programs, in effect, and are never opened.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.motion import formats
from backend.motion.formats import arrayfile
from backend.motion.formats.smplx_npz import BODY, COLUMNS, BodyMotion, to_zero_pose
from backend.protocol import SMPL_PELVIS

# number of joints of a model -> what they are
MODELS = {24: COLUMNS[72], 52: COLUMNS[156], 55: COLUMNS[165]}
ARRAYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights", "f")
MAX_BYTES = 4 << 30  # of an array; the largest of SMPL-X takes 0.1 GB
AT_ONCE = 64  # frames that are skinned together


@dataclass
class BodyModel:
    """v_template (V,3), shapedirs (V,3,B), posedirs (V,3,P), regressor (J,V), parents (J,), weights (V,J), faces (F,3).

    joints: the names of the J joints.
    """

    v_template: np.ndarray
    shapedirs: np.ndarray
    posedirs: np.ndarray
    regressor: np.ndarray
    parents: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    joints: tuple[str, ...]


def load_model(path: Path) -> BodyModel:
    """A model's ``.npz`` file. Raises BackendError('bad_file')."""
    if path.suffix.lower() != ".npz":
        raise BackendError(
            "bad_file",
            f"{path.name}: only .npz body models are read; a .pkl can run code, and is never opened.",
            "The same download holds the model as .npz, or its makers' tools convert it.",
        )
    if not path.is_file():
        raise BackendError("bad_file", f"{path.name}: there is no such body model.", "It comes from its makers' page.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ARRAYS if name not in archive.files]
            if missing:
                raise BackendError("bad_file", f"{path.name} is no SMPL body model: it has no '{missing[0]}'.")
            for name in ARRAYS:
                info = archive.zip.getinfo(f"{name}.npy")
                if info.file_size > MAX_BYTES:
                    raise BackendError("bad_file", f"{path.name}: '{name}' is too large for a body model.")
                with archive.zip.open(info) as file:
                    arrayfile.check_header(file, info.file_size)
            data = {name: archive[name] for name in ARRAYS}
    except arrayfile.BROKEN as error:
        text = f"{path.name} could not be read as a body model: {arrayfile.reason(error)}."
        raise BackendError("bad_file", text) from error
    if any(array.dtype.kind not in "fiu" for array in data.values()):
        raise BackendError("bad_file", f"{path.name} holds no plain numbers.")
    vertices, joints = len(data["v_template"]), data["kintree_table"].shape[-1]
    shapes = {name: array.shape for name, array in data.items()}
    fits = (
        joints in MODELS
        and shapes["v_template"] == (vertices, 3)
        and shapes["shapedirs"][:2] == (vertices, 3)
        and shapes["posedirs"] == (vertices, 3, 9 * (joints - 1))
        and shapes["J_regressor"] == (joints, vertices)
        and shapes["weights"] == (vertices, joints)
        and shapes["kintree_table"] == (2, joints)
        and len(shapes["f"]) == 2
        and shapes["f"][1] == 3
        and (not len(data["f"]) or int(data["f"].max()) < vertices)
    )
    if not fits:
        raise BackendError("bad_file", f"{path.name}: its arrays do not fit together as an SMPL body model.")
    parents = data["kintree_table"][0].astype(np.int64)
    parents[0] = -1
    if not all(0 <= parent < joint for joint, parent in enumerate(parents[1:], 1)):
        raise BackendError("bad_file", f"{path.name}: its joints are not in the order of an SMPL body model.")
    arrays = [data[name].astype(np.float32) for name in ARRAYS[:4]]
    return BodyModel(*arrays, parents, data["weights"].astype(np.float32), data["f"].astype(np.int64), MODELS[joints])


def read_motion(path: Path, fps: float | None = None) -> BodyMotion:
    """A motion file for a body: SMPL's own as they are, others through the canonical skeleton. Raises BackendError."""
    motion = formats.read(path, **({"fps": fps} if fps else {}))
    reader = formats.BODY_READERS.get(path.suffix.lower())
    body = reader(path, fps) if reader else None
    if body is not None:
        return body
    turns = to_zero_pose(motion.rotations.astype(np.float64))
    return BodyMotion(BODY, turns, motion.translation - np.array(SMPL_PELVIS), np.zeros(0), motion.fps)


def vertices(model: BodyModel, motion: BodyMotion) -> np.ndarray:
    """The mesh in every frame, (T,V,3) float32, metres, Y up, by linear blend skinning (Loper et al., SMPL, 2015).

    Joints that the motion lacks rest; hands are flat. Raises BackendError when ``smplx`` is not installed.
    """
    try:
        import torch
        from smplx.lbs import lbs
    except ImportError as error:
        raise BackendError(
            "bad_request",
            "The package smplx is not installed, so there are no body meshes.",
            "Install it with: python -m pip install --no-deps -r backend/requirements-smplx.txt",
        ) from error
    from backend.motion import rotations as rot

    frames = len(motion.rotations)
    pose = np.zeros((frames, len(model.joints), 3), dtype=np.float32)
    vectors = rot.quaternion_to_axis_angle(motion.rotations)
    for k, joint in enumerate(motion.joints):
        if joint in model.joints:
            pose[:, model.joints.index(joint)] = vectors[:, k]
    used = min(len(motion.betas), model.shapedirs.shape[2], 10)  # what lies behind them is expression, in SMPL-X
    betas = torch.zeros(1, max(used, 1))
    betas[0, :used] = torch.from_numpy(motion.betas[:used].astype(np.float32))
    parts = [torch.from_numpy(array) for array in (model.v_template, model.shapedirs[..., : betas.shape[1]])]
    posedirs = torch.from_numpy(np.ascontiguousarray(model.posedirs.reshape(-1, model.posedirs.shape[2]).T))
    rest = [torch.from_numpy(array) for array in (model.regressor, model.parents, model.weights)]
    made = []
    with torch.inference_mode():
        for start in range(0, frames, AT_ONCE):
            some = torch.from_numpy(pose[start : start + AT_ONCE].reshape(-1, pose.shape[1] * 3))
            mesh, _ = lbs(betas.expand(len(some), -1), some, parts[0], parts[1], posedirs, *rest)
            made.append(mesh.numpy() + motion.translation[start : start + AT_ONCE, None].astype(np.float32))
    return np.concatenate(made)


def write(path: Path, mesh: np.ndarray, faces: np.ndarray, fps: float) -> None:
    """Save meshes (T,V,3) as .npz (vertices, faces, fps), .obj (the first frame), or .pc2 with an .obj beside it.

    A .pc2 is what Blender's Mesh Cache modifier plays. Raises BackendError('bad_file').
    """
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".obj", ".pc2"):
        raise BackendError("bad_file", f"{path.name}: body meshes are written as .npz, .obj or .pc2.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".npz":
            with open(path, "wb") as file:
                np.savez_compressed(file, vertices=mesh, faces=faces.astype(np.int32), fps=np.array(fps))
            return
        if suffix == ".pc2":
            head = struct.pack("<12siiffi", b"POINTCACHE2\0", 1, mesh.shape[1], 0.0, 1.0, len(mesh))
            path.write_bytes(head + mesh.astype("<f4").tobytes())
        lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh[0]]
        lines += [f"f {a} {b} {c}" for a, b, c in faces + 1]
        path.with_suffix(".obj").write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise BackendError("bad_file", f"{path.name} could not be written: {error.strerror}.") from error
