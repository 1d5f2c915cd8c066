"""``python -m backend dataset reconstruct``: how well the codecs render a split of a data set."""

from pathlib import Path

import torch
from torch import Tensor

from backend.codecs.causal_vae import load_codec
from backend.codecs.vq_vae import VQVAE, load_vq, use
from backend.errors import BackendError
from backend.training.codec import rebuilt, reconstruction, trimmed
from backend.training.dataset import load_windows


class _Coarse:
    """A VQ codec of which only the first ``levels`` are decoded."""

    def __init__(self, model: VQVAE, levels: int):
        self.model, self.levels = model, levels

    def encode(self, features: Tensor) -> Tensor:
        return self.model.encode(features)[..., : self.levels]

    def decode(self, codes: Tensor) -> Tensor:
        return self.model.decode(codes)


@torch.no_grad()
def reconstruct(data: Path, split: str, codec: Path, vq: Path | None = None) -> dict:
    """:func:`backend.training.codec.reconstruction` of ``split`` by the causal VAE in ``codec``, and by the VQ codec on
    it in ``vq`` with one level, two and so on, there also ``use`` and ``perplexity`` of the last of these levels.

    Raises BackendError ``bad_file``.
    """
    windows = [torch.from_numpy(trimmed(w)) for w in load_windows(data, split).features]
    if not windows:
        raise BackendError("bad_file", f"There are no windows in the {split} split in {data}.")
    model = load_codec(codec) if vq is None else load_vq(vq, codec)
    rows = {"causal_vae": reconstruction(windows, rebuilt(model if vq is None else model.base, windows))}
    if vq is not None:
        codes = torch.cat([model.encode(window[None])[0] for window in windows])
        for level in range(1, model.config.levels + 1):
            row = reconstruction(windows, rebuilt(_Coarse(model, level), windows))
            row["use"], row["perplexity"] = use(codes[:, level - 1], model.config.codes)
            rows[f"vq_{level}"] = row
    rows = {name: {key: round(value, 4) for key, value in row.items()} for name, row in rows.items()}
    return {"split": split, "windows": len(windows), "rows": rows}
