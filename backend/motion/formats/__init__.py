"""Motion files. :func:`read` gives a canonical motion, :func:`write` saves one; the extension picks the format.

.bvh, .amc (with its .asf), .txt (CMU actions), .npz (AMASS / SMPL-X) and .npy (HumanML3D joints or 263 features) are
read; .bvh, .npz and .npy are written.
"""

import os
from pathlib import Path

from backend import paths
from backend.errors import BackendError
from backend.motion.formats import amc, bvh, cmu_actions, humanml3d_npy, smplx_npz
from backend.motion.skeleton import Motion

READERS = {
    ".bvh": bvh.read,
    ".amc": amc.read,
    ".txt": cmu_actions.read,
    ".npz": smplx_npz.read,
    ".npy": humanml3d_npy.read,
}
# what a file says for an SMPL body itself, for armatures that are one
BODY_READERS = {".npz": smplx_npz.read_body, ".npy": humanml3d_npy.read_body}
WRITERS = {".bvh": bvh.write, ".npz": smplx_npz.write, ".npy": humanml3d_npy.write}


def read(path: str | Path, **options) -> Motion:
    """Read a motion file onto the canonical skeleton: metres, Y up, 30 fps, feet on the floor.

    Options: ``fps`` of the result; ``source_fps`` where the file does not say or says wrong; ``skeleton``, the .asf or
    skeleton.json beside which an .amc or .txt belongs; ``up``, the axis that points up in a .bvh, .npz or .npy;
    ``mean`` and ``std``, .npy files by which 263 features were normalised. Raises BackendError('bad_file').
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise BackendError("bad_file", f"{path.name}: this kind of file cannot be read.", f"It can be one of {known}.")
    if not os.path.isfile(path):  # unlike Path.is_file, False for a name that is too long
        raise BackendError("bad_file", f"{path.name[:80]}: there is no such file.")
    return reader(path, **options)


def write(path: str | Path, motion: Motion, **options) -> None:
    """Save a canonical motion, whole or not at all; the extension picks the format. Raises BackendError('bad_file').

    Option: ``features`` writes HumanML3D's 263 numbers a frame into an .npy instead of joint positions.
    """
    path = Path(path)
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        known = ", ".join(WRITERS)
        raise BackendError("bad_file", f"{path.name}: this kind of file cannot be written.", f"Use one of {known}.")
    try:
        with paths.replacing(path) as part:
            writer(part, motion, **options)
    except OSError as error:
        why = error.strerror or "the disk took only a part of it"  # numpy's own error has no such text
        raise BackendError("bad_file", f"{path.name} could not be written: {why}.") from error
