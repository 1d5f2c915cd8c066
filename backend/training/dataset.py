"""Windows of a built data set in memory: as features, or as the latents of one codec."""

import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from backend.data import store
from backend.errors import BackendError
from backend.motion import features
from backend.motion.skeleton import Motion


@dataclass
class Windows:
    """One split. features: list of (T,155) float32; rows: the describing dict of each window (captions, labels...)."""

    features: list[np.ndarray]
    rows: list[dict]
    motions: list[Motion]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass
class Latents:
    """One split, encoded. latents: list of (L,C) float32, zero mean and unit variance, ``stride`` frames each at
    ``fps``; rows: as in :class:`Windows`; codec: hash of the codec that they belong to."""

    latents: list[np.ndarray]
    rows: list[dict]
    codec: str
    stride: int
    fps: int

    def __len__(self) -> int:
        return len(self.rows)


def load_windows(folder: Path, split: str, keep_motions: bool = False) -> Windows:
    """Read ``<split>.npz`` and ``<split>.jsonl`` of a built data set. Raises BackendError ``bad_file``."""
    folder = Path(folder)
    arrays, table = folder / f"{split}.npz", folder / f"{split}.jsonl"
    if not arrays.is_file() or not table.is_file():
        raise BackendError(
            "bad_file",
            f"There is no {split} split in {folder}.",
            "Build the data set first: python -m backend dataset build --source DIR --out DIR",
        )
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    with np.load(arrays, allow_pickle=False) as data:
        motions = store.unpack(data)
    if len(motions) != len(rows):
        raise BackendError("bad_file", f"{arrays} and {table} do not describe the same windows.")
    return Windows([features.encode(motion) for motion in motions], rows, motions if keep_motions else [])


def codec_hash(folder: Path) -> str:
    """Sixteen hex digits that name the codec in a run folder or checkpoint, by its weights.

    Latents of one codec mean nothing to another. Raises BackendError ``bad_file``.
    """
    path = Path(folder) / "codec.safetensors"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise BackendError("bad_file", f"There is no codec in {folder}: {error.strerror}.") from error


def load_latents(folder: Path, split: str, codec: str | None = None) -> Latents:
    """Read ``<split>.safetensors`` and ``<split>.jsonl.gz``, as :func:`backend.data.encode.encode` writes them.

    codec: the hash of the codec that will decode (:func:`codec_hash`); with it, latents of another codec are refused.
    Raises BackendError ``bad_file``.
    """
    arrays, table = Path(folder) / f"{split}.safetensors", Path(folder) / f"{split}.jsonl.gz"
    if not arrays.is_file() or not table.is_file():
        raise BackendError(
            "bad_file",
            f"There are no latents of the {split} split in {folder}.",
            "Make them: python -m backend dataset encode --data DIR --codec DIR --out DIR",
        )
    try:
        with safe_open(arrays, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})["about"])
            flat, starts, lengths = (file.get_tensor(name) for name in ("latents", "starts", "lengths"))
        made_by, stride, fps = str(facts["codec"]), int(facts["stride"]), int(facts["fps"])
        with gzip.open(table, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
    except (OSError, EOFError, ValueError, KeyError, SafetensorError) as error:
        raise BackendError("bad_file", f"{arrays.name} and {table.name} in {folder} are damaged ({error}).") from error
    if codec is not None and made_by != codec:
        raise BackendError(
            "bad_file",
            f"The latents in {folder} were made by the codec {made_by}, not by {codec}.",
            "Encode the data set again with the codec that is trained with.",
        )
    found = [flat[start : start + length].astype(np.float32) for start, length in zip(starts, lengths, strict=True)]
    if len(found) != len(rows):
        raise BackendError("bad_file", f"{arrays} and {table} do not describe the same windows.")
    return Latents(found, rows, made_by, stride, fps)
