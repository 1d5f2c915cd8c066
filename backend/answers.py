"""What results carry: (arrays, fields of the header)."""

from pathlib import Path
from typing import Any

import numpy as np

from backend import protocol
from backend.errors import BackendError
from backend.models.interface import GenerateResult
from backend.motion.skeleton import Motion
from backend.requests import motion_arrays

Answer = tuple[dict[str, np.ndarray], dict[str, Any]]


def generated(result: GenerateResult) -> Answer:
    """What a model has made. Raises BackendError when that is no motion."""
    told = [_described(motion, seed) for seed, motion in zip(result.seeds, result.motions, strict=True)]
    return motion_arrays(result.motions), {
        "motions": told,
        "seconds": result.motions[0].seconds,
        "segments": list(result.segments),
        "warnings": list(result.warnings),
        "timings": dict(result.timings),
    }


def read(path: Path, options: dict[str, Any]) -> Answer:
    """The motion in a file, and what the file says for an SMPL body itself. Raises BackendError."""
    from backend.motion import formats  # readers need scipy, generating does not

    motion = formats.read(path, **options)
    as_body = formats.BODY_READERS.get(path.suffix.lower())
    body = as_body(path, **options) if as_body else None
    if motion.frames > protocol.MAX_FILE_FRAMES:
        told = f"{path.name}: {motion.frames} frames; at most {protocol.MAX_FILE_FRAMES} can be put on a rig."
        raise BackendError("bad_file", told, "Cut the file in pieces.")
    arrays = motion_arrays([motion])
    if body is not None:
        arrays |= {"body/rotations": body.rotations.astype("f4"), "body/translation": body.translation.astype("f4")}
    return arrays, {
        "motions": [_described(motion, 0)],
        "body": list(body.joints) if body is not None else [],
        "seconds": motion.seconds,
    }


def _described(motion: Motion, seed: int) -> dict[str, Any]:
    return {"seed": int(seed), "frames": motion.frames, "fps": float(motion.fps)}
