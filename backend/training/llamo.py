"""LLaMo's task: the next latent by flow matching, where a motion ends, and captions by the frozen text half."""

import json
import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from backend.codecs.causal_vae import codec_hash, load_codec
from backend.language import base
from backend.models.llamo.config import LLaMoConfig
from backend.models.llamo.expert import MotionExpert
from backend.models.llamo.model import LLaMo, load_expert, new_config, save_checkpoint
from backend.models.llamo.sampling import euler, mix
from backend.models.llamo.text_half import CUE, read_after, rope_theta
from backend.training.momug import balance, pad, read_split
from backend.training.text_keys import TextKeys, chosen_captions

log = logging.getLogger(__name__)


class LLaMoTask:
    """A step is generation (text to motion) or, with probability ``caption_share``, captioning (motion to text).

    Recipe: ``captions`` of each window that are learnt from; ``repeats``: noise levels of each latent in a step;
    ``input_noise``: largest spread of the noise on the latents that the expert reads; ``own_share`` of them are
    replaced by its own predictions from step ``own_from`` on (two forward passes).
    """

    def __init__(self, recipe: dict, data: Path, device: str, out: Path):
        self.recipe, self.device = recipe, device
        self.batch, self.text_dropout = recipe.get("batch", 32), recipe.get("text_dropout", 0.1)
        folder = out.parent / recipe.get("codec", "codec/best")
        codec = load_codec(folder, device)
        language_model = base.load_language_model(device=device, dtype=torch.bfloat16)
        tokenizer = base.load_tokenizer()
        self.config: LLaMoConfig = new_config(codec, codec_hash(folder), language_model, recipe.get("model", {}))
        self.random = np.random.default_rng(recipe.get("schedule", {}).get("seed", 0))
        self.train, self.train_latents = read_split(data, "train", codec, folder, device)
        self.val, self.val_latents = read_split(data, "val", codec, folder, device)
        self.weights = balance(self.train.rows, recipe.get("favour", {}))
        self.captions = chosen_captions(self.train.rows, recipe.get("captions", 3))
        self.val_captions = [row["captions"][0] for row in self.val.rows]
        learnt = {c for captions in self.captions for c in captions} | set(self.val_captions)
        self.keys = TextKeys(
            language_model, tokenizer, sorted(learnt), device, out.parent / "text_keys", base.base_hash()
        )
        self.model = MotionExpert(self.config, rope_theta(language_model)).to(device)
        if "start" in recipe:
            load_expert(self.model, out.parent / recipe["start"] / "motion.safetensors")
        self._fit_expected()
        # how far training is, which a resumed run has to know; a buffer, so that the trainer keeps it
        self.model.register_buffer("trained", torch.zeros(()), persistent=False)
        if recipe.get("compile", False):  # 0.94 s of a processor in place of 1.3 for 32 windows
            for block in self.model.blocks:
                block.compile(dynamic=True)
        self.llamo = LLaMo(self.config, codec, self.model, language_model, tokenizer)
        self.queue: list[np.ndarray] = []

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        decay = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        return [{"params": decay, "lr": learning_rate}, {"params": plain, "lr": learning_rate, "weight_decay": 0.0}]

    def loss(self, model) -> tuple[Tensor, dict[str, float]]:
        model.trained += 1
        rows = self._next_batch()
        captions = [str(self.random.choice(self.captions[i])) for i in rows]
        if self.random.random() < self.recipe.get("caption_share", 0.2):
            some = self.random.choice(len(rows), min(len(rows), self.recipe.get("caption_batch", 8)), replace=False)
            loss = self._caption_loss([self.train_latents[rows[i]] for i in some], [captions[i] for i in some])
            return self.recipe.get("caption_weight", 0.5) * loss, {"caption": loss.item()}
        dropped = self.random.random(len(rows)) < self.text_dropout
        asked = ["" if drop else caption for caption, drop in zip(captions, dropped, strict=True)]
        flow, end = self._motion_losses([self.train_latents[i] for i in rows], asked)
        return flow + end, {"flow": flow.item(), "exit": end.item()}

    def _next_batch(self) -> np.ndarray:
        """Indices of windows of similar length."""
        if not self.queue:
            count = len(self.train) // self.batch * self.batch or self.batch
            drawn = self.random.choice(len(self.train), count, p=self.weights / self.weights.sum())
            order = np.argsort([len(self.train_latents[i]) for i in drawn] + self.random.uniform(-2, 2, count))
            self.queue = list(drawn[order].reshape(-1, self.batch))
            self.random.shuffle(self.queue)
        return self.queue.pop()

    def _autocast(self):
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.recipe.get("bf16", True))

    def _motion_losses(self, latents: list[Tensor], asked: list[str], noise: Tensor | None = None):
        """Flow matching of every next latent, and cross-entropy of the exit head.

        noise (R,B,L,C) with evenly spread t instead of fresh ones: for validation.
        """
        z, lengths = pad(latents, self.device)
        valid = torch.arange(z.shape[1], device=self.device) < lengths[:, None]
        past, seen = (x.to(self.device) for x in self.keys.batch(asked))
        begin = seen.sum(1)
        read = z if noise is not None else self._inputs(z, past, seen, begin)
        with self._autocast():
            # state i, after <bom> x_1 .. x_i, says what comes next: x_{i+1}, or that nothing does
            states, _ = self.model(self.model.tokens(read), past, seen, begin)
            # the exit head learns from the states and does not shape them
            ending = self.model.exit(states[:, 1:].detach()).float()[..., 0]
        if noise is None:
            noise = torch.randn(self.recipe.get("repeats", 3), *z.shape, device=self.device)
            t = torch.rand(noise.shape[:-1], device=self.device)
        else:
            t = (torch.arange(len(noise), device=self.device) + 0.5) / len(noise)
            t = t[:, None, None].expand(noise.shape[:-1])
        expected, spread = self._expected(read)
        r = (z - expected) / spread
        with self._autocast():
            velocity = self.model.flow(mix(noise, r, t), t, states[:, :-1].expand(len(noise), -1, -1, -1))
        error = (velocity - (r - noise)).square().mean((0, -1))
        flow = (error * valid).sum() / valid.sum()
        last = (torch.arange(z.shape[1], device=self.device) == lengths[:, None] - 1).float()
        return flow, F.binary_cross_entropy_with_logits(ending[valid], last[valid])

    def _expected(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """Linear prediction of each of the latents (B,L,C) from the one that is read before it, and its spread."""
        first, rest = (self.model.expected(None, read[:, :1]), self.model.expected(read[:, :-1], read[:, 1:]))
        expected, spread = (torch.cat(pair, 1) for pair in zip(first, rest, strict=True))
        return expected, spread

    def _fit_expected(self) -> None:
        """The linear prediction that the flow starts from, by ridge regression on the training latents."""
        before = torch.cat([x[:-1] for x in self.train_latents])
        after = torch.cat([x[1:] for x in self.train_latents])
        covariance = before.T @ before + 1e-2 * len(before) * torch.eye(before.shape[1], device=self.device)
        self.model.ahead.copy_(torch.linalg.solve(covariance, before.T @ after).T)
        self.model.spread.copy_((after - before @ self.model.ahead.T).std(0))

    @torch.no_grad()
    @torch.compiler.set_stance("force_eager")  # compiled a second time for one pass without gradients: not worth it
    def _inputs(self, z: Tensor, past: Tensor, seen: Tensor, begin: Tensor) -> Tensor:
        """What the expert reads instead of the true latents: it has to live with its own mistakes later."""
        spread = self.recipe.get("input_noise", 0.3) * torch.rand(len(z), 1, 1, device=z.device)
        read = z + spread * torch.randn_like(z)
        share = self.recipe.get("own_share", 0.3)
        if not share or self.model.trained <= self.recipe.get("own_from", 1000):
            return read
        with self._autocast():
            states = self.model(self.model.tokens(read), past, seen, begin)[0][:, :-1]
            flow = lambda x_t, t: self.model.flow(x_t, x_t.new_full(x_t.shape[:-1], t), states)  # noqa: E731
            r = euler(flow, torch.randn_like(z), 3)
        expected, around = self._expected(read)
        own = expected + around * r
        chosen = torch.rand(*z.shape[:2], 1, device=z.device) < share
        return torch.where(chosen, own, read)

    def _caption_loss(self, latents: list[Tensor], captions: list[str]) -> Tensor:
        """Next-token cross-entropy of captions: the frozen text half reads what the expert left."""
        z, lengths = pad(latents, self.device)
        tokenizer = self.llamo.tokenizer
        with self._autocast():
            past, weight = self.llamo.motion_context(z, lengths)
        cue = tokenizer(CUE, add_special_tokens=False)["input_ids"]
        told = [tokenizer(" " + c, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] for c in captions]
        ids = [torch.tensor(cue + words) for words in told]
        valid = torch.nn.utils.rnn.pad_sequence([torch.ones(len(w), dtype=torch.bool) for w in told], batch_first=True)
        ids = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(self.device)
        logits, _ = read_after(self.llamo.language_model, ids, past, weight, lengths + 3)
        logits = logits[:, len(cue) - 1 : -1][valid]
        return F.cross_entropy(logits, ids[:, len(cue) :][valid.to(self.device)])

    @torch.compiler.set_stance("force_eager")
    def validate(self, model) -> dict[str, float]:
        """Losses on held-out windows at fixed noise."""
        generator = torch.Generator().manual_seed(0)
        flow, end, said = [], [], []
        for begin in range(0, len(self.val), self.batch):
            latents, captions = (x[begin : begin + self.batch] for x in (self.val_latents, self.val_captions))
            noise = torch.randn(4, len(latents), max(map(len, latents)), self.config.codec.latent, generator=generator)
            losses = self._motion_losses(latents, captions, noise.to(self.device))
            flow, end = [*flow, losses[0].item()], [*end, losses[1].item()]
            few = slice(0, self.recipe.get("caption_batch", 8))
            said.append(self._caption_loss(latents[few], captions[few]).item())
        figures = {"flow": np.mean(flow), "exit": np.mean(end), "caption": np.mean(said)}
        figures = {name: float(value) for name, value in figures.items()}
        return {"score": figures["flow"] + 0.1 * figures["caption"]} | figures

    def export(self, model, folder: Path, record: dict) -> None:
        save_checkpoint(self.llamo, folder)
        (folder / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
