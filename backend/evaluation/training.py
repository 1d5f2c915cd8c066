"""The evaluator's task: contrast every motion with the captions of other motions that mean something else."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from backend.data.describe import swap_sides
from backend.evaluation import metrics
from backend.evaluation.evaluator import Evaluator, EvaluatorConfig, collate, save_evaluator, seen
from backend.evaluation.wording import Meaning, stems
from backend.training.dataset import load_windows


class EvaluatorTask:
    """Trains :class:`Evaluator` on the training split; the validation split only decides when to stop."""

    def __init__(self, recipe: dict, data: Path, device: str):
        self.batch = recipe.get("batch", 64)
        self.bf16 = recipe.get("bf16", True)
        self.least = recipe.get("least_count", 2)
        self.train, self.val = load_windows(data, "train"), load_windows(data, "val")
        self.random = np.random.default_rng(recipe.get("schedule", {}).get("seed", 0))
        captions = [c for row in self.train.rows for c in row["captions"]]
        counted = Counter(word for caption in captions for word in stems(caption))
        vocabulary = sorted(word for word, n in counted.items() if n >= self.least)
        self.meaning = Meaning(captions)
        self.model = Evaluator(EvaluatorConfig(vocabulary=vocabulary, **recipe.get("model", {})))
        self.windows = [seen(w).half() for w in self.train.features]
        self.train.features.clear()  # only the kinematics are looked at from here on
        self._normalise()
        self.noise, self.word_dropout = recipe.get("noise", 0.05), recipe.get("word_dropout", 0.1)
        self.queue: list[np.ndarray] = []

    def _normalise(self) -> None:
        frames = torch.cat(self.windows[:2000]).float()
        self.model.mean.copy_(frames.mean(0))
        # one spread for each kind of number: a wrist keeps moving more than a hip
        for block in (slice(0, 66), slice(66, 132), slice(132, 133)):
            self.model.std[block] = frames[:, block].std(0).mean() + 1e-6

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        decay = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        return [{"params": decay, "lr": learning_rate}, {"params": plain, "lr": learning_rate, "weight_decay": 0.0}]

    def _next_rows(self) -> np.ndarray:
        """A batch of windows of roughly similar length, so that little is padding."""
        if not self.queue:
            order = self.random.permutation(len(self.train))
            lengths = np.array([len(self.windows[i]) for i in order])
            order = order[np.argsort(lengths + self.random.uniform(-40, 40, len(order)))]
            self.queue = np.array_split(order, max(len(order) // self.batch, 1))
            self.random.shuffle(self.queue)
        return self.queue.pop()

    def loss(self, model: Evaluator):
        rows = self._next_rows()
        known = [self.train.rows[i]["captions"] for i in rows]
        captions = [str(self.random.choice(c)) for c in known]
        windows, lengths = collate([self.windows[i] for i in rows])
        windows = windows + self.noise * model.std * torch.randn_like(windows)
        # the same sentence about the other side is the hardest negative
        captions += [swap_sides(c) for c in captions if swap_sides(c) != c]
        tokens = model.tokens(captions)
        tokens[(torch.rand(tokens.shape) < self.word_dropout) & (tokens > 0)] = 1
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            motion, text = model.motion(windows, lengths).float(), model.text(tokens).float()
        same = torch.from_numpy(self.meaning.said_of(captions, known) > Meaning.SAME).T  # motion i, caption j
        loss = contrast(motion @ text.T * model.log_scale.exp().clamp(max=50), same)
        return loss, {"loss": loss.item()}

    def validate(self, model: Evaluator) -> dict[str, float]:
        """R-precision on the validation windows, each with every one of its first four captions."""
        embedded = model.embed_features(self.val.features)
        figures: dict[str, list[float]] = {}
        for turn in range(4):
            captions = [row["captions"][turn % len(row["captions"])] for row in self.val.rows]
            similarity = embedded @ model.embed_texts(captions).T
            same = self.meaning.said_of(captions, [row["captions"] for row in self.val.rows]).T > Meaning.SAME
            for name, value in metrics.r_precision(similarity, same).items():
                figures.setdefault(name, []).append(value)
            for name, value in metrics.r_precision(similarity, same, None).items():
                figures.setdefault("all_" + name, []).append(value)
        result = {name: float(np.mean(values)) for name, values in figures.items()}
        return {"score": 1 - float(np.mean(list(result.values()))), **result}

    def export(self, model: Evaluator, folder: Path, record: dict) -> None:
        about = {"training": {"windows": len(self.train), "steps": record["step"], "validation": record["validation"]}}
        save_evaluator(model, folder, about)
        (folder / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def contrast(similarity: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE of scaled similarities (B,C) of motions and captions.

    Caption i < B belongs to motion i, the others are negatives for every motion; pairs that mean the same (``same``)
    are no negatives.
    """
    target = torch.arange(len(same))
    masked = similarity.masked_fill(same & ~torch.eye(*same.shape, dtype=torch.bool), -torch.inf)
    return (F.cross_entropy(masked, target) + F.cross_entropy(masked[:, : len(same)].T, target)) / 2
