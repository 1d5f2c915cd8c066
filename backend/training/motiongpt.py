"""MotionGPT's task: all kinds of requests together, loss on the answer alone."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from backend import paths
from backend.codecs.causal_vae import STRIDE
from backend.codecs.vq_vae import VQVAE, load_vq, vq_hash
from backend.language import base
from backend.models.motiongpt.checkpoint import save_checkpoint
from backend.models.motiongpt.config import MotionGPTConfig
from backend.models.motiongpt.network import MotionTokens
from backend.models.motiongpt.poses import encode_poses
from backend.models.motiongpt.text_half import TextHalf, hidden_size_of
from backend.training.dataset import load_latents, load_tokens
from backend.training.momug import TextCache, balance

KINDS = {"text": 0.45, "first": 0.1, "last": 0.1, "keys": 0.2, "poses_only": 0.1, "none": 0.05}
CARRIED, OPEN = 0.15, 0.15  # shares of answers that go on from a token before, and whose length nobody says
CORRUPTED, SHARE = 0.5, 0.6  # share of answers that are corrupted, and the largest part of their tokens
POSES = 4  # of a window that may be given, beside its first and last
FINER = 0.5  # weight of the codes after a step's first one


@dataclass
class Example:
    """One request and its answer: codes (n,patch*levels), their entries (n,patch*D), and what was given."""

    text: str
    codes: Tensor
    vectors: Tensor
    before: Tensor | None = None  # (patch*D,) the token that the answer goes on from
    open: bool = False
    keys: list[tuple[int, Tensor]] = field(default_factory=list)  # codec step, entries (D,), in the order of time


class Windows:
    """One split: tokens, captions, and poses of codec steps as they are when given (standing still)."""

    def __init__(self, data: Path, split: str, quantiser: VQVAE, config: MotionGPTConfig, captions: int):
        found = load_tokens(data, split, config.vq)
        self.rows, self.quantiser, self.patch = found.rows, quantiser, config.patch
        self.codes, self.vectors = [], []
        for codes in found.tokens:
            codes = torch.from_numpy(codes)
            codes = torch.cat([codes, codes[-1:].expand(-len(codes) % config.patch, -1)])  # whole tokens
            self.codes.append(codes.reshape(-1, config.patch * config.levels))
            self.vectors.append(quantiser.entries(codes).reshape(len(self.codes[-1]), -1))
        self.latents = load_latents(data, split, found.codec).latents
        self.poses: dict[int, dict[int, Tensor]] = {}
        self.random = random = np.random.default_rng(0)
        self.captions = [[str(c) for c in random.permutation(row["captions"])[:captions]] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def pose(self, indices: list[int]) -> None:
        """Find poses of some windows: ``poses[index]`` is {codec step: entries (D,)}, the first and last step among
        them, as if an artist had given them. All windows at once, since the codec is slow with one at a time."""
        indices = [i for i in indices if i not in self.poses]
        if not indices:
            return
        latents = [torch.from_numpy(self.latents[i]) for i in indices]
        padded = torch.nn.utils.rnn.pad_sequence(latents, batch_first=True)
        with torch.autocast("cpu", torch.bfloat16):
            features = self.quantiser.base.decode(padded)[:, 1::STRIDE]
        steps = [sorted({0, len(x) - 1, *self.random.integers(0, len(x), POSES).tolist()}) for x in latents]
        picked = torch.cat([features[row, some] for row, some in enumerate(steps)])
        with torch.autocast("cpu", torch.bfloat16):
            entries = self.quantiser.entries(encode_poses(self.quantiser, picked)).split([len(some) for some in steps])
        for index, some, found in zip(indices, steps, entries, strict=True):
            self.poses[index] = dict(zip(some, found, strict=True))


class MotionGPTTask:
    """Trains :class:`MotionTokens`; ``data`` is a folder of ``dataset encode --vq``."""

    def __init__(self, recipe: dict, data: Path, device: str, out: Path):
        self.recipe, self.device = recipe, device
        self.batch, self.caption_share = recipe.get("batch", 32), recipe.get("caption_share", 0.1)
        folder = Path(recipe["vq"]) if recipe.get("vq") else paths.checkpoints_folder() / "vq_vae"
        self.quantiser = load_vq(folder, device="cpu")
        sizes = self.quantiser.config
        self.config = MotionGPTConfig(
            base=base.base_hash(),
            vq=vq_hash(folder),
            codes=sizes.codes,
            levels=sizes.levels,
            code_width=sizes.code_width,
            **recipe.get("model", {}),
        )
        self.random = np.random.default_rng(recipe.get("schedule", {}).get("seed", 0))
        some = recipe.get("captions", 100)
        self.train = Windows(data, "train", self.quantiser, self.config, some)
        self.val = Windows(data, "val", self.quantiser, self.config, 1)
        self.weights = balance(self.train.rows, recipe.get("favour", {}))
        self.queue: list[list[int]] = []
        tokenizer = base.load_tokenizer()
        language_model = base.load_language_model(device=device, dtype=torch.bfloat16)
        captions = sorted({c for windows in (self.train, self.val) for row in windows.captions for c in row})
        cached = Path(recipe["text"]) if recipe.get("text") else out.parent / "text"
        self.cache = TextCache(language_model, tokenizer, captions, device, cached, self.config.base)
        self.text = TextHalf(self.config, language_model, tokenizer)
        scale = hidden_size_of(language_model, tokenizer, self.config.first_layer)
        books = torch.stack([book.codes for book in self.quantiser.books])
        self.model = MotionTokens(self.config, language_model, books, scale).to(device)
        trained = self.model.trainable()
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in trained)

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        return [{"params": list(self.model.trainable().values()), "lr": learning_rate}]

    def _next(self) -> list[int]:
        """Indices of windows of similar length."""
        if not self.queue:
            count = max(len(self.train) // self.batch, 1) * self.batch
            drawn = self.random.choice(len(self.train), count, p=self.weights / self.weights.sum())
            order = np.argsort([len(self.train.codes[i]) for i in drawn] + self.random.uniform(-1, 1, count))
            self.queue = [list(rows) for rows in np.array_split(drawn[order], count // self.batch)]
            self.random.shuffle(self.queue)
        return self.queue.pop()

    def _example(self, windows: Windows, index: int, random, kind: str | None = None) -> Example:
        """A request about a window: a kind of request, its words, its given poses."""
        training, patch = kind is None, self.config.patch
        kind = kind or str(random.choice(list(KINDS), p=list(KINDS.values())))
        codes, vectors = windows.codes[index], windows.vectors[index]
        start = 0
        if training and random.random() < CARRIED:
            start = int(random.integers(1, max(len(codes) // 2, 2)))
        low, due = start * patch, []
        if kind not in ("text", "none"):
            poses = windows.poses[index]
            known = [step for step in sorted(poses) if step >= low]
            some = random.choice(known, min(int(random.integers(1, 5)), len(known)), replace=False).tolist()
            ends = [known[0], known[-1]]
            due = {"first": ends[:1], "last": ends[1:], "keys": some, "poses_only": [*ends, *some]}[kind]
        return Example(
            "" if kind in ("poses_only", "none") else str(random.choice(windows.captions[index])),
            codes[start:],
            vectors[start:],
            vectors[start - 1] if start else None,
            training and random.random() < OPEN,
            [(step - low, poses[step]) for step in sorted(set(due))],
        )

    def _words(self, examples: list[Example]) -> tuple[Tensor, Tensor]:
        """States (B,S,H) of the instructions and sentences, and their mask (B,S)."""
        found = []
        for e in examples:
            states = self.cache.states[self.cache.index[e.text]] if e.text else None
            found.append(self.text.told(e.text, bool(e.keys), states))
        lengths = torch.tensor([len(f) for f in found])
        return torch.nn.utils.rnn.pad_sequence(found, batch_first=True), torch.arange(int(lengths.max())) < lengths[
            :, None
        ]

    def _answer_loss(self, examples: list[Example], corrupt: bool) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of the steps' first codes (with the end), and of the finer ones."""
        model, config = self.model, self.config
        lengths = [len(e.codes) for e in examples]
        keys = max(len(e.keys) for e in examples)
        count, longest, width = len(examples), max(lengths) + 1, config.patch * config.code_width
        key_vectors, key_steps = torch.zeros(count, keys, config.code_width), torch.zeros(count, keys)
        before, goals = torch.zeros(count, longest, width), torch.zeros(count, longest, config.code_width)
        left, due = torch.full((count, longest), -1), torch.full((count, longest), -1)
        valid = torch.zeros(count, keys + longest, dtype=torch.bool)
        positions = torch.zeros(count, keys + longest, dtype=torch.int64)
        targets = torch.full((count, longest, config.patch * config.levels), -100)
        at = torch.arange(longest)
        states, words = self._words(examples)
        for row, (example, n) in enumerate(zip(examples, lengths, strict=True)):
            targets[row, :n] = example.codes
            targets[row, n, 0] = config.codes  # <eom>
            before[row, 1 : n + 1] = self._corrupted(example.vectors) if corrupt else example.vectors
            if example.before is not None:
                before[row, 0] = example.before
            if not example.open:
                left[row, : n + 1] = n - at[: n + 1]
            for number, (step, vector) in reversed(list(enumerate(example.keys))):
                key_vectors[row, number], key_steps[row, number] = vector, step
                until = step // config.patch + 1
                goals[row, :until], due[row, :until] = vector, step - config.patch * at[:until]
            given = len(example.keys)
            valid[row, :given] = valid[row, keys : keys + n + 1] = True
            positions[row, :keys] = words[row].sum() + torch.arange(keys)
            positions[row, keys:] = words[row].sum() + given + at
        begins, places = (at == 0).expand(count, -1), at.expand(count, -1)
        to = self.device
        with torch.autocast(torch.device(to).type, torch.bfloat16, enabled=self.recipe.get("bf16", True)):
            prefix = model.read(states.to(to), words.to(to))
            parts = [model.embed_keys(key_vectors.to(to), key_steps.to(to))] if keys else []
            parts.append(model.embed_tokens(*(x.to(to) for x in (before, begins, places, left, goals, due))))
            seen = torch.ones(keys + longest, keys + longest, dtype=torch.bool).tril() & valid[:, None]
            mask = torch.cat([words[:, None].expand(-1, keys + longest, -1), seen], 2).to(to)
            hidden = model.run(torch.cat(parts, 1), positions.to(to), mask, prefix.into(self.text.new_cache()))[
                :, keys:
            ]
            real = targets[..., 0] >= 0
            state, logits = model.first_logits(hidden[real.to(to)])
            wanted = targets[real].to(to)
            first, finer = [F.cross_entropy(logits.float(), wanted[:, 0])], []
            inside = wanted[:, 1] >= 0
            state, wanted = state[inside], wanted[inside]
            for number, head in enumerate(model.finer, 1):
                logits = head(state, model.vectors(wanted[:, :number]))
                kind = finer if number % config.levels else first
                kind.append(F.cross_entropy(logits.float(), wanted[:, number]))
        return torch.stack(first).mean(), torch.stack(finer).mean()

    def _corrupted(self, vectors: Tensor) -> Tensor:
        """Some tokens of an answer replaced by those of another window, so that the model learns to mend its errors."""
        if self.random.random() > CORRUPTED:
            return vectors
        other = self.train.vectors[int(self.random.integers(len(self.train)))]
        changed = torch.from_numpy(self.random.random(len(vectors)) < self.random.uniform(0, SHARE))
        picks = torch.from_numpy(self.random.integers(0, len(other), len(vectors)))
        return torch.where(changed[:, None], other[picks], vectors)

    def _caption_loss(self, windows: Windows, rows: list[int], captions: list[str]) -> Tensor:
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.recipe.get("bf16", True)):
            return self.text.caption_loss(self.model, [windows.vectors[i].to(self.device) for i in rows], captions)

    def loss(self, model):
        if self.random.random() < self.caption_share:
            rows = self._next()[: self.batch // 2]
            captions = [str(self.random.choice(self.train.captions[i])) for i in rows]
            said = self._caption_loss(self.train, rows, captions)
            return said, {"caption": said.item()}
        rows = self._next()
        self.train.pose(rows)
        first, finer = self._answer_loss([self._example(self.train, i, self.random) for i in rows], True)
        return first + FINER * (self.config.levels - 1) * finer, {"first": first.item(), "finer": finer.item()}

    def validate(self, model) -> dict[str, float]:
        """Cross-entropy of a code on held-out windows: of text alone, and with a few given poses; and of captions."""
        found: dict[str, list[float]] = {"text": [], "text_finer": [], "keys": [], "caption": []}
        order = np.argsort([len(c) for c in self.val.codes])
        self.val.pose(list(range(len(self.val))))
        for rows in np.array_split(order, max(len(order) // self.batch, 1)):
            for kind in ("text", "keys"):
                random = np.random.default_rng(0)
                first, finer = self._answer_loss([self._example(self.val, i, random, kind) for i in rows], False)
                found[kind].append(first.item())
                if kind == "text":
                    found["text_finer"].append(finer.item())
            if self.caption_share:
                captions = [self.val.captions[i][0] for i in rows]
                found["caption"].append(self._caption_loss(self.val, list(rows), captions).item())
        figures = {name: float(np.mean(values)) for name, values in found.items() if values}
        score = figures["text"] + figures["text_finer"] + figures["keys"] + 0.3 * figures.get("caption", 0.0)
        return {"score": score, **figures}

    def export(self, model, folder: Path, record: dict) -> None:
        save_checkpoint(model, self.config, folder)
        (folder / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
