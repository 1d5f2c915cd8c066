"""The VQ codec's task: reconstruct windows of features from codes."""

import json
from pathlib import Path

import numpy as np
import torch

from backend import paths
from backend.codecs.causal_vae import CausalVAE, codec_hash, load_codec
from backend.codecs.vq_vae import VQVAE, VQVAEConfig, directions, latent_loss, load_vq, save_vq, use, vq_loss
from backend.errors import BackendError
from backend.training.codec import CodecTask

MEASURED, FIRST = 8, 2048  # crops by which the directions of motion are found, and by which codebooks are placed


class VQTask(CodecTask):
    """Trains ``VQVAE`` on the frozen causal VAE in the recipe's ``base`` (default: the one among the checkpoints).

    Its first ``latent_steps`` only look at latents, ``bank`` batches of them encoded beforehand, and are several times
    faster; the others decode and look at the motion.
    ``start`` in the recipe: a trained VQ codec whose nets go on being trained; its codebooks are placed anew where the
    recipe asks for other sizes.
    """

    def _model(self, recipe: dict, stacked: np.ndarray) -> VQVAE:
        self.commit = recipe.get("commit", 1.0)
        self.latent_steps = recipe.get("latent_steps", 0)
        base = Path(recipe["base"]) if recipe.get("base") else paths.checkpoints_folder() / "momug"
        model = VQVAE(VQVAEConfig(**recipe.get("codec", {}), base=codec_hash(base)), load_codec(base)).to(self.device)
        # a buffer, so that a run that is resumed knows where it was
        model.register_buffer("seen", torch.zeros((), dtype=torch.int64), persistent=False)
        self.bank = torch.cat([self._latents(model.base) for _ in range(recipe.get("bank", 16))])
        self.directions = directions(model.base, self.bank[:MEASURED])
        old = load_vq(Path(recipe["start"]), base, self.device) if recipe.get("start") else None
        if old is None:
            model.align(self.directions)
        else:
            try:
                model.before.load_state_dict(old.before.state_dict())
                model.after.load_state_dict(old.after.state_dict())
            except RuntimeError as error:
                message = f"The codec in {recipe['start']} has another width or depth than the recipe."
                raise BackendError("bad_file", message) from error
        model.begin(self.bank[:FIRST], old.books if old is not None and old.config == model.config else None)
        return model

    @torch.no_grad()
    def _latents(self, base: CausalVAE) -> torch.Tensor:
        features = self._batch()
        with torch.autocast(features.device.type, torch.bfloat16, enabled=self.bf16):
            return base.encode(features)

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        return [{"params": [p for p in self.model.parameters() if p.requires_grad], "lr": learning_rate}]

    def loss(self, model):
        model.seen += 1
        if model.seen <= self.latent_steps:
            picks = torch.from_numpy(self.generator.integers(len(self.bank), size=self.batch))
            return latent_loss(model, self.bank[picks], self.directions, self.commit, self.bf16)
        return vq_loss(model, self._batch(), self.commit, self.bf16)

    def validate(self, model) -> dict[str, float]:
        """As the causal VAE's; ``use``: share of a level's codes that occur at all, and ``perplexity``."""
        found = super().validate(model)
        codes = torch.cat([model.encode(window[None])[0] for window in self.validation])
        for level in range(model.config.levels):
            share, perplexity = use(codes[:, level], model.config.codes)
            found |= {f"use_{level + 1}": share, f"perplexity_{level + 1}": perplexity}
        return found

    def export(self, model, folder: Path, record: dict) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_vq(model, folder)
        (folder / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
