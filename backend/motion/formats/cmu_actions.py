"""The CMU 8-action text files: a row is the root position, then 38 axis-angle triples, local R = exp(-[v]x)."""

import json
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.motion import rotations as rot
from backend.motion.canonical import MAX_JOINTS, to_canonical
from backend.motion.formats import textfile
from backend.motion.joint_matching import SourceMotion
from backend.motion.skeleton import Motion
from backend.protocol import FPS


def read(path: Path, fps: float = FPS, source_fps: float | None = None, skeleton: str | Path | None = None) -> Motion:
    """A 117-number text file with its skeleton.json on the canonical skeleton. Raises BackendError('bad_file')."""
    return to_canonical(read_source(Path(path), source_fps, skeleton), fps)


def read_source(path: Path, source_fps: float | None = None, skeleton: str | Path | None = None) -> SourceMotion:
    """World rotations and positions in the file's own axes and unit."""
    table = Path(skeleton) if skeleton else path.parent / "skeleton.json"
    names, parents, offsets = _skeleton(table)
    rows = textfile.number_rows(path, textfile.load(path).splitlines(), 1, 3 + 3 * len(names))
    local = rot.quaternion_to_matrix(rot.axis_angle_to_quaternion(-rows[:, 3:].reshape(len(rows), -1, 3)))
    world = np.empty_like(local)
    positions = np.empty((len(rows), len(names), 3))
    for j, parent in enumerate(parents):
        if parent < 0:
            world[:, j], positions[:, j] = local[:, j], rows[:, :3]
        else:
            world[:, j] = world[:, parent] @ local[:, j]
            positions[:, j] = positions[:, parent] + world[:, parent] @ offsets[j]
    return SourceMotion(names, parents, offsets, world, positions, source_fps or float(FPS), path.name)


def _skeleton(table: Path) -> tuple[list[str], list[int], np.ndarray]:
    try:
        joints = json.loads(textfile.load(table))["joints"]
        names = [str(joint["name"]) for joint in joints]
        parents = [int(joint["parent"]) for joint in joints]
        offsets = np.array([joint["offset"] for joint in joints], dtype=np.float64)
        sound = offsets.shape == (len(names), 3) and np.isfinite(offsets).all() and len(names) <= MAX_JOINTS
        sound = sound and len(set(names)) == len(names) and all(-1 <= p < i for i, p in enumerate(parents))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        sound = False
    if not sound:
        raise BackendError("bad_file", f"{table.name}: this is not a skeleton table.")
    return names, parents, offsets
