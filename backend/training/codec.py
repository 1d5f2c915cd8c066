"""The codec's task: reconstruct windows of features."""

import json
from pathlib import Path

import numpy as np
import torch

from backend.codecs.causal_vae import STRIDE, CausalVAE, CausalVAEConfig, load_codec, reconstruction_loss, save_codec
from backend.errors import BackendError
from backend.motion import features
from backend.motion.features import Normaliser
from backend.training.dataset import load_windows
from backend.training.variety import varied


class CodecTask:
    """Trains ``CausalVAE`` on random crops; validates on whole held-out windows."""

    def __init__(self, recipe: dict, data: Path, device: str):
        self.window, self.batch = recipe.get("window", 64), recipe.get("batch", 32)
        self.device, self.bf16 = device, recipe.get("bf16", True)
        train = [w for w in load_windows(data, "train").features if len(w) >= self.window]
        self.validation = [torch.from_numpy(_trim(w)).to(device) for w in load_windows(data, "val").features]
        if not train:
            raise BackendError("bad_file", f"No training window in {data} is at least {self.window} frames long.")
        stacked = np.concatenate(train)
        self.frames = torch.from_numpy(stacked).to(device)
        lengths = np.array([len(w) for w in train])
        self.starts = np.cumsum(lengths) - lengths
        self.room = lengths - self.window + 1
        self.generator = np.random.default_rng(recipe.get("seed", 0))
        self.variety = recipe.get("variety", 0.0)
        config = CausalVAEConfig(**recipe.get("codec", {}))
        if recipe.get("start"):
            self.model = started(Path(recipe["start"]), config).to(device)
        else:
            self.model = CausalVAE(config).to(device)
            normaliser = Normaliser.fit(stacked)
            self.model.mean.copy_(normaliser.mean)
            self.model.std.copy_(normaliser.std)

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        return [{"params": list(self.model.parameters()), "lr": learning_rate}]

    def _crops(self, count: int) -> torch.Tensor:
        picks = self.generator.choice(len(self.starts), count, p=self.room / self.room.sum())
        begins = self.starts[picks] + (self.generator.random(count) * self.room[picks]).astype(int)
        index = torch.from_numpy(begins[:, None] + np.arange(self.window)).to(self.device)
        return self.frames[index]

    def loss(self, model):
        crops = self._crops(self.batch)
        return reconstruction_loss(model, varied(crops, self.variety) if self.variety else crops, self.bf16)

    def validate(self, model) -> dict[str, float]:
        """MPJPE (mm, pelvis-relative), path error, rotation error (degrees) and jerk ratio on held-out windows."""
        position, rotation, path, jerk, real_jerk, count = 0.0, 0.0, 0.0, 0.0, 0.0, 0
        for window, back in zip(self.validation, self._rebuilt(model), strict=True):
            a, b = features.local_positions(back), features.local_positions(window)
            position += (a - b).norm(dim=-1).sum().item() / 22
            ra = features.six_to_matrix(back[:, 4:136].unflatten(-1, (22, 6)))
            rb = features.six_to_matrix(window[:, 4:136].unflatten(-1, (22, 6)))
            trace = (ra * rb).sum((-1, -2))
            rotation += ((trace - 1) / 2).clamp(-1, 1).acos().mean(-1).sum().item()
            made, real = features.decode(back.cpu().numpy()), features.decode(window.cpu().numpy())
            path += float(np.linalg.norm(made.translation - real.translation, axis=-1).sum())
            jerk += float(np.linalg.norm(np.diff(made.joints(), 3, axis=0), axis=-1).mean()) * len(window)
            real_jerk += float(np.linalg.norm(np.diff(real.joints(), 3, axis=0), axis=-1).mean()) * len(window)
            count += len(window)
        mpjpe, degrees = 1000 * position / count, np.degrees(rotation / count)
        ratio = jerk / max(real_jerk, 1e-9)
        return {
            "score": mpjpe + 5 * degrees + 20 * abs(ratio - 1),
            "mpjpe_mm": mpjpe,
            "rotation_degrees": float(degrees),
            "path_error_mm": 1000 * path / count,
            "jerk_ratio": ratio,
        }

    def _rebuilt(self, model) -> list[torch.Tensor]:
        """The validation windows, encoded and decoded: in batches of one size, since every new size is kept in memory
        by the CPU's convolutions. What pads a window comes after it, and the codec looks backwards only."""
        found = []
        longest = max(len(w) for w in self.validation)
        for begin in range(0, len(self.validation), 16):
            rows = self.validation[begin : begin + 16]
            batch = torch.zeros(16, longest, rows[0].shape[-1], device=self.device)
            for i, window in enumerate(rows):
                batch[i, : len(window)] = window
            back = model.decode(model.encode(batch))
            found += [back[i, : len(window)] for i, window in enumerate(rows)]
        return found

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


def _trim(window: np.ndarray) -> np.ndarray:
    return window[: len(window) // STRIDE * STRIDE]
