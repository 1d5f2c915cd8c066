"""Windows of a built data set in memory: as features, or as the latents or tokens of one codec."""

import gzip
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


@dataclass
class Tokens:
    """One split as codes. tokens: list of (L,levels) int64 in 0..codes-1, ``stride`` frames each at ``fps``; rows: as
    in :class:`Windows`; vq and codec: hashes of the VQ codec and of the causal VAE that it stands on."""

    tokens: list[np.ndarray]
    rows: list[dict]
    vq: str
    codec: str
    codes: int
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


def load_latents(folder: Path, split: str, codec: str | None = None) -> Latents:
    """Read ``<split>.safetensors`` and ``<split>.jsonl.gz``, as :func:`backend.data.encode.encode` writes them.

    codec: the hash of the codec that will decode (:func:`backend.codecs.causal_vae.codec_hash`); with it, latents of
    another codec are refused. Raises BackendError ``bad_file``.
    """
    found, rows, facts = _encoded(folder, split, "latents", "codec", codec)
    return Latents([x.astype(np.float32) for x in found], rows, facts["codec"], facts["stride"], facts["fps"])


def load_tokens(folder: Path, split: str, vq: str | None = None) -> Tokens:
    """Read ``<split>.tokens.safetensors`` and ``<split>.jsonl.gz``, as ``dataset encode --vq`` writes them.

    vq: the hash of the VQ codec that will decode; with it, tokens of another codec are refused.
    Raises BackendError ``bad_file``, also for tokens that the codec does not have.
    """
    found, rows, facts = _encoded(folder, split, "tokens", "vq", vq)
    if any(len(x) and not 0 <= x.min() <= x.max() < facts["codes"] for x in found):
        message = f"The tokens of the {split} split in {folder} are not all between 0 and {facts['codes'] - 1}."
        raise BackendError("bad_file", message, "Encode the data set again.")
    found = [x.astype(np.int64) for x in found]
    return Tokens(found, rows, facts["vq"], facts["codec"], facts["codes"], facts["stride"], facts["fps"])


def _encoded(folder: Path, split: str, what: str, maker: str, wanted: str | None) -> tuple[list, list[dict], dict]:
    """Arrays of the windows, their rows and the facts of ``what`` ("latents" or "tokens"), made by the codec whose hash
    the facts keep as ``maker``."""
    name = split if what == "latents" else f"{split}.{what}"
    arrays, table = Path(folder) / f"{name}.safetensors", Path(folder) / f"{split}.jsonl.gz"
    if not arrays.is_file() or not table.is_file():
        option = " --vq DIR" if what == "tokens" else ""
        raise BackendError(
            "bad_file",
            f"There are no {what} of the {split} split in {folder}.",
            f"Make them: python -m backend dataset encode --data DIR --codec DIR{option} --out DIR",
        )
    try:
        with safe_open(arrays, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})["about"])
            flat, starts, lengths = (file.get_tensor(key) for key in (what, "starts", "lengths"))
        made_by = str(facts[maker])
        facts |= {key: int(facts[key]) for key in ("stride", "fps", *(("codes",) if what == "tokens" else ()))}
        with gzip.open(table, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
    except (OSError, EOFError, ValueError, KeyError, SafetensorError) as error:
        raise BackendError("bad_file", f"{arrays.name} and {table.name} in {folder} are damaged ({error}).") from error
    if wanted is not None and made_by != wanted:
        raise BackendError(
            "bad_file",
            f"The {what} in {folder} were made by the codec {made_by}, not by {wanted}.",
            "Encode the data set again with the codec that is trained with.",
        )
    found = [flat[start : start + length] for start, length in zip(starts, lengths, strict=True)]
    if len(found) != len(rows):
        raise BackendError("bad_file", f"{arrays} and {table} do not describe the same windows.")
    return found, rows, facts
