"""A data set as the latents of one codec, and as tokens: small enough to travel, and training starts from it at once.

Per split ``<split>.safetensors``: ``latents`` (sumL,C) float16 of zero mean and unit variance, ``starts`` and
``lengths`` (N,) int32, and in its metadata the hash of the codec. With a VQ codec also ``<split>.tokens.safetensors``:
``tokens`` (sumL,levels) int16 with the same starts and lengths, and the hashes of both codecs. ``<split>.jsonl.gz``:
the rows of the data set in the same order. :func:`backend.training.dataset.load_latents` and ``load_tokens`` read them.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from backend.codecs.causal_vae import STRIDE, codec_hash, load_codec
from backend.codecs.vq_vae import load_vq, use, vq_hash
from backend.data.splits import SPLITS
from backend.errors import BackendError
from backend.protocol import FPS
from backend.training.dataset import load_windows


@torch.no_grad()
def encode(data: Path, codec: Path, out: Path, progress: Callable[[str], None] = print, vq: Path | None = None) -> dict:
    """Write the latents of every split of the data set ``data`` by the codec in folder ``codec`` into ``out``.

    vq: folder of a VQ codec on the same ``codec``; then tokens are written too.
    Returns the hashes and per split windows, latents and bytes, with tokens also how the codes are used (per level the
    share of codes that occur, and perplexity). Raises BackendError('bad_file').
    """
    data, out = Path(data), Path(out)
    facts = {"codec": codec_hash(codec), "stride": STRIDE, "fps": FPS}
    record: dict = {"codec": facts["codec"], "splits": {}}
    quantiser = None
    if vq is None:
        model = load_codec(codec)
    else:
        quantiser = load_vq(vq, codec)
        model = quantiser.base
        token_facts = facts | {"vq": vq_hash(vq), "codes": quantiser.config.codes, "levels": quantiser.config.levels}
        record["vq"] = token_facts["vq"]
    out.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        windows = load_windows(data, split)
        found, tokens = [], []
        for number, features in enumerate(windows.features, 1):
            latents = model.encode(torch.from_numpy(features[: len(features) // STRIDE * STRIDE])[None])
            found.append(latents[0].half().numpy())
            if quantiser:
                tokens.append(quantiser.encode_latents(latents)[0].to(torch.int16).numpy())
            if number % 1000 == 0:
                progress(f"{split}: {number}/{len(windows)}")
        lengths = np.array([len(x) for x in found], dtype=np.int32)
        places = {"starts": (np.cumsum(lengths) - lengths).astype(np.int32), "lengths": lengths}
        arrays, table = out / f"{split}.safetensors", out / f"{split}.jsonl.gz"
        flat = np.concatenate([np.zeros((0, model.config.latent), dtype=np.float16), *found])
        _write(arrays, places | {"latents": flat}, facts)
        size = arrays.stat().st_size + _write_rows(table, windows.rows)
        entry = {"windows": len(found), "latents": int(lengths.sum()), "bytes": size}
        progress(f"{split}: {len(found)} windows, {size / 2**20:.1f} MiB")
        if quantiser:
            flat = np.concatenate([np.zeros((0, quantiser.config.levels), dtype=np.int16), *tokens])
            arrays = out / f"{split}.tokens.safetensors"
            _write(arrays, places | {"tokens": flat}, token_facts)
            entry["token_bytes"] = arrays.stat().st_size
            entry["use"], entry["perplexity"] = _spread(flat, quantiser.config.codes)
            progress(f"{split}: tokens, {entry['token_bytes'] / 2**20:.2f} MiB")
        record["splits"][split] = entry
    return record


def _spread(tokens: np.ndarray, codes: int) -> tuple[list[float], list[float]]:
    levels = [use(torch.from_numpy(level.astype(np.int64)), codes) for level in tokens.T]
    return [round(share, 4) for share, _ in levels], [round(perplexity, 1) for _, perplexity in levels]


def _write(path: Path, arrays: dict[str, np.ndarray], facts: dict) -> None:
    # safetensors writes memory as it lies; one entry of metadata: the order of several is not the same in every run
    packed = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    try:
        save_file(packed, path, metadata={"about": json.dumps(facts)})
    except OSError as error:
        raise BackendError("bad_file", f"{path} could not be written: {error.strerror}.") from error


def _write_rows(path: Path, rows: list[dict]) -> int:
    """Write the rows as gzipped JSON lines; returns the size of the file."""
    try:
        # no time stamp: the same data give the same bytes
        with open(path, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as packed:
            for row in rows:
                packed.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return path.stat().st_size
    except OSError as error:
        raise BackendError("bad_file", f"{path} could not be written: {error.strerror}.") from error
