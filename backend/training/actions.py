"""The task of the net that recognises actions: which verbs do a window's captions hold?"""

import json
from collections import Counter
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from backend.data.grammar import action_words
from backend.models import actions
from backend.training.dataset import Latents, load_latents


class ActionsTask:
    """Trains :class:`backend.models.actions.ActionNet` on the latents of the training split."""

    def __init__(self, recipe: dict, data: Path, device: str):
        self.device, self.batch, self.noise = device, recipe.get("batch", 64), recipe.get("noise", 0.1)
        splits = [load_latents(data, split) for split in ("train", "val")]
        counted = Counter(verb for row in splits[0].rows for verb in action_words(row["captions"]))
        verbs = sorted(verb for verb, count in counted.items() if count >= recipe.get("least_count", 40))
        self.model = actions.ActionNet(splits[0].latents[0].shape[1], verbs, **recipe.get("model", {})).to(device)
        (self.train, self.wanted), (self.val, self.known) = (self._read(split) for split in splits)

    def _read(self, split: Latents) -> tuple[list[Tensor], Tensor]:
        """Latents (L,C) of every window, and which verbs (N,V) its captions hold."""
        named = [action_words(row["captions"]) for row in split.rows]
        wanted = torch.tensor([[float(verb in words) for verb in self.model.verbs] for words in named])
        return [torch.from_numpy(latents) for latents in split.latents], wanted.to(self.device)

    def _logits(self, model: actions.ActionNet, windows: list[Tensor], noise: float = 0.0) -> Tensor:
        latents = pad_sequence(windows, batch_first=True).to(self.device)
        there = torch.tensor([len(window) for window in windows])[:, None] > torch.arange(latents.shape[1])
        return model(latents + noise * torch.randn_like(latents), there.to(self.device))

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        return [{"params": list(self.model.parameters()), "lr": learning_rate}]

    def loss(self, model: actions.ActionNet):
        rows = torch.randint(len(self.train), (self.batch,)).tolist()
        logits = self._logits(model, [self.train[row] for row in rows], self.noise)
        loss = F.binary_cross_entropy_with_logits(logits, self.wanted[rows])
        return loss, {"loss": loss.item()}

    def validate(self, model: actions.ActionNet) -> dict[str, float]:
        """``named``: how often the likeliest verb is one that the window's captions hold."""
        logits = self._logits(model, self.val)
        named = self.known.gather(1, logits.argmax(1, keepdim=True)).mean().item()
        return {"score": F.binary_cross_entropy_with_logits(logits, self.known).item(), "named": named}

    def export(self, model: actions.ActionNet, folder: Path, record: dict) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        actions.save(model, folder)
        (folder / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
