"""The codec's task: reconstruct windows of features."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from backend.codecs.causal_vae import STRIDE, CausalVAE, CausalVAEConfig, load_codec, reconstruction_loss, save_codec
from backend.errors import BackendError
from backend.motion import features
from backend.motion.features import Normaliser
from backend.motion.quality import metrics
from backend.training.dataset import load_windows
from backend.training.variety import varied


class CodecTask:
    """Trains ``CausalVAE`` on random crops; validates on whole held-out windows."""

    def __init__(self, recipe: dict, data: Path, device: str):
        self.window, self.batch = recipe.get("window", 64), recipe.get("batch", 32)
        self.device, self.bf16 = device, recipe.get("bf16", True)
        train = [w for w in load_windows(data, "train").features if len(w) >= self.window]
        self.validation = [torch.from_numpy(trimmed(w)).to(device) for w in load_windows(data, "val").features]
        if not train:
            raise BackendError("bad_file", f"No training window in {data} is at least {self.window} frames long.")
        stacked = np.concatenate(train)
        self.frames = torch.from_numpy(stacked).to(device)
        lengths = np.array([len(w) for w in train])
        self.starts = np.cumsum(lengths) - lengths
        self.room = lengths - self.window + 1
        self.generator = np.random.default_rng(recipe.get("seed", 0))
        self.variety = recipe.get("variety", 0.0)
        self.model = self._model(recipe, stacked)

    def _model(self, recipe: dict, stacked: np.ndarray) -> nn.Module:
        config = CausalVAEConfig(**recipe.get("codec", {}))
        if recipe.get("start"):
            return started(Path(recipe["start"]), config).to(self.device)
        model = CausalVAE(config).to(self.device)
        normaliser = Normaliser.fit(stacked)
        model.mean.copy_(normaliser.mean)
        model.std.copy_(normaliser.std)
        return model

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        return [{"params": list(self.model.parameters()), "lr": learning_rate}]

    def _crops(self, count: int) -> torch.Tensor:
        picks = self.generator.choice(len(self.starts), count, p=self.room / self.room.sum())
        begins = self.starts[picks] + (self.generator.random(count) * self.room[picks]).astype(int)
        index = torch.from_numpy(begins[:, None] + np.arange(self.window)).to(self.device)
        return self.frames[index]

    def _batch(self) -> torch.Tensor:
        crops = self._crops(self.batch)
        return varied(crops, self.variety) if self.variety else crops

    def loss(self, model):
        return reconstruction_loss(model, self._batch(), self.bf16)

    def validate(self, model) -> dict[str, float]:
        """:func:`reconstruction` of the held-out windows, and the score."""
        found = reconstruction(self.validation, rebuilt(model, self.validation))
        score = found["mpjpe_mm"] + 5 * found["rotation_degrees"] + 20 * abs(found["jerk_ratio"] - 1)
        return {"score": score} | found

    def export(self, model, folder: Path, record: dict) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        latents = torch.cat([model.encode_raw(self._crops(64)).flatten(0, 1) for _ in range(16)])
        model.latent_mean.copy_(latents.mean(0))
        model.latent_std.copy_(latents.std(0))
        save_codec(model, folder)
        (folder / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def started(folder: Path, config: CausalVAEConfig) -> CausalVAE:
    """A trained codec to go on from, with its own normalisation. Raises BackendError ``bad_file``.

    ``config`` may ask for more latent channels: the new ones are not heard by the decoder at first.
    """
    try:
        old = load_codec(folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise BackendError("bad_file", f"There is no codec to start from in {folder}.") from error
    kept = old.config.to_dict() | {"noise": config.noise, "latent": config.latent}
    if kept != config.to_dict() or config.latent < old.config.latent:
        raise BackendError("bad_file", f"The codec in {folder} has another shape than the recipe.")
    model = CausalVAE(config)
    with torch.no_grad():
        model.decoder[0].weight.zero_()
        for name, tensor in model.state_dict().items():
            known = old.state_dict()[name]
            tensor[tuple(slice(size) for size in known.shape)].copy_(known)
    return model


def rebuilt(model, windows: list[torch.Tensor]) -> list[torch.Tensor]:
    """Windows of features (T,155), T a multiple of 4, encoded and decoded.

    In batches of one size, since every new size is kept in memory by the CPU's convolutions. What pads a window comes
    after it, and the codecs look backwards only.
    """
    found = []
    longest = max(len(w) for w in windows)
    for begin in range(0, len(windows), 16):
        rows = windows[begin : begin + 16]
        batch = torch.zeros(16, longest, rows[0].shape[-1], device=rows[0].device)
        for i, window in enumerate(rows):
            batch[i, : len(window)] = window
        back = model.decode(model.encode(batch))
        found += [back[i, : len(window)] for i, window in enumerate(rows)]
    return found


def reconstruction(windows: list[torch.Tensor], back: list[torch.Tensor]) -> dict[str, float]:
    """How well ``back`` renders ``windows``, both features (T,155), over all frames.

    mpjpe_mm: pelvis-relative; rotation_degrees; path_error_mm; jerk_ratio: of the real jerk; contact_speed and
    skate_ratio as in :func:`backend.motion.quality.metrics`, with the real motion's contacts, ``real_`` those of the
    real motion itself.
    """
    sums: dict[str, float] = {}

    def add(name: str, value: float) -> None:
        sums[name] = sums.get(name, 0.0) + float(value)

    for window, made in zip(windows, back, strict=True):
        frames = len(window)
        error = features.local_positions(made) - features.local_positions(window)
        add("mpjpe_mm", 1000 * error.norm(dim=-1).mean() * frames)
        a, b = (features.six_to_matrix(x[:, 4:136].unflatten(-1, (22, 6))) for x in (made, window))
        cosine = (((a * b).sum((-1, -2)) - 1) / 2).clamp(-1, 1)
        add("rotation_degrees", torch.rad2deg(cosine.acos()).mean() * frames)
        motion, real = features.decode(made.cpu().numpy()), features.decode(window.cpu().numpy())
        add("path_error_mm", 1000 * np.linalg.norm(motion.translation - real.translation, axis=-1).sum())
        motion.contacts = real.contacts
        for prefix, of in (("", motion), ("real_", real)):
            quality = metrics(of)
            for name in ("contact_speed", "skate_ratio", "jerk"):
                add(prefix + name, quality[name] * frames)
    count = sum(len(window) for window in windows)
    means = {name: value / count for name, value in sums.items()}
    jerk = means.pop("jerk") / max(means.pop("real_jerk"), 1e-9)
    return means | {"jerk_ratio": jerk}


def trimmed(window: np.ndarray) -> np.ndarray:
    """The window (T,155) without the frames after the last whole latent."""
    return window[: len(window) // STRIDE * STRIDE]
