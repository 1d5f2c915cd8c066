"""A data set as the latents of one codec: small enough to travel, and training starts from it at once.

Per split ``<split>.safetensors``: ``latents`` (sumL,C) float16 of zero mean and unit variance, ``starts`` and
``lengths`` (N,) int32, and in its metadata the hash of the codec; ``<split>.jsonl.gz``: the rows of the data set in the
same order. :func:`backend.training.dataset.load_latents` reads them.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from backend.codecs.causal_vae import STRIDE, load_codec
from backend.data.splits import SPLITS
from backend.errors import BackendError
from backend.protocol import FPS
from backend.training.dataset import codec_hash, load_windows


@torch.no_grad()
def encode(data: Path, codec: Path, out: Path, progress: Callable[[str], None] = print) -> dict:
    """Write the latents of every split of the data set ``data`` by the codec in folder ``codec`` into ``out``.

    Returns codec hash and per split windows, latents and bytes. Raises BackendError('bad_file').
    """
    data, out = Path(data), Path(out)
    name = codec_hash(codec)
    model = load_codec(codec)
    out.mkdir(parents=True, exist_ok=True)
    record: dict = {"codec": name, "splits": {}}
    for split in SPLITS:
        windows = load_windows(data, split)
        found = []
        for number, features in enumerate(windows.features, 1):
            trimmed = torch.from_numpy(features[: len(features) // STRIDE * STRIDE])
            found.append(model.encode(trimmed[None])[0].half().numpy())
            if number % 1000 == 0:
                progress(f"{split}: {number}/{len(windows)}")
        lengths = np.array([len(x) for x in found], dtype=np.int32)
        empty = np.zeros((0, model.config.latent), dtype=np.float16)
        arrays = {
            # safetensors writes memory as it lies
            "latents": np.ascontiguousarray(np.concatenate([empty, *found])),
            "starts": (np.cumsum(lengths) - lengths).astype(np.int32),
            "lengths": lengths,
        }
        # one entry: the order of several is not the same in every run
        facts = {"about": json.dumps({"codec": name, "stride": STRIDE, "fps": FPS})}
        files = out / f"{split}.safetensors", out / f"{split}.jsonl.gz"
        try:
            save_file(arrays, files[0], metadata=facts)
            # no time stamp: the same data give the same bytes
            with open(files[1], "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as packed:
                for row in windows.rows:
                    packed.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            raise BackendError("bad_file", f"{out} could not be written: {error.strerror}.") from error
        size = sum(path.stat().st_size for path in files)
        record["splits"][split] = {"windows": len(found), "latents": int(lengths.sum()), "bytes": size}
        progress(f"{split}: {len(found)} windows, {size / 2**20:.1f} MiB")
    return record
