"""Given poses of a job from a file: the ``target/...`` arrays of a generate message, see ``requests.target``."""

import zipfile
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.motion.formats import arrayfile

NAMES = ("rotations", "translation", "joints", "place")
MAX_BYTES = 64 << 20


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file: rotations (T,22,4), translation (T,3), joints (T,22) and place (T,3) uint8.

    Raises BackendError('bad_file'); what the arrays say is checked with the request.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.removesuffix(".npy") in NAMES]
            if sum(entry.file_size for entry in entries) > MAX_BYTES:
                raise BackendError("bad_file", f"{path.name}: its arrays are too large for given poses.")
            for entry in entries:
                with archive.open(entry) as file:
                    arrayfile.check_header(file, entry.file_size)
        with np.load(path, allow_pickle=False) as archive:
            return {f"target/{name}": archive[name] for name in NAMES if name in archive.files}
    except arrayfile.BROKEN as error:
        text = f"{path.name} could not be read as given poses: {arrayfile.reason(error)}."
        raise BackendError("bad_file", text) from error
