"""MoMug's task, both stages: the motion head on cached text states, then the language model in the loop."""

import json
import logging
import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from backend import weights
from backend.codecs.causal_vae import STRIDE, CausalVAE, codec_hash, frames_of, kinematic_errors, load_codec
from backend.data.describe import action_words
from backend.data.wording import without_side
from backend.errors import BackendError
from backend.evaluation.prompts import adherence
from backend.language import base, text
from backend.models.momug.config import MoMugConfig
from backend.models.momug.head import MotionHead
from backend.models.momug.language_loop import DURATION_DIGITS, LanguageLoop
from backend.models.momug.model import MoMug, save_checkpoint
from backend.models.momug.sampling import add_noise, cosine_alpha_bar, min_snr_weight
from backend.protocol import FPS
from backend.training.dataset import Latents, Windows, load_latents, load_windows

DECODED_ROWS = 12  # of a batch that are decoded for their kinematic loss: decoding costs more than the head
log = logging.getLogger(__name__)


class TextCache:
    """Hidden states (tokens,576) float16 of every caption of a data set, computed once and kept in ``folder``.

    One file for each base model. A data set with new captions adds to it; only those are computed.
    """

    def __init__(self, language_model, tokenizer, captions: list[str], device: str, folder: Path, base_hash: str):
        self.index = {caption: i for i, caption in enumerate(captions)}
        path = folder / f"text-{base_hash[:16]}.safetensors"
        known = self._read(path)
        missing = [caption for caption in captions if caption not in known]
        if missing:
            log.info("computing the language model's states of %d captions", len(missing))
            known |= dict(zip(missing, self._compute(language_model, tokenizer, missing, device), strict=True))
            folder.mkdir(parents=True, exist_ok=True)
            tensors = {
                "states": torch.cat(list(known.values())),
                "lengths": torch.tensor([len(s) for s in known.values()]),
            }
            temporary = path.with_suffix(".tmp")
            save_file(tensors, temporary, metadata={"captions": json.dumps(list(known))})
            temporary.replace(path)
        self.states = [known[caption] for caption in captions]

    def extend(self, language_model, tokenizer, captions: list[str], device: str) -> None:
        """Know further captions as well, in memory only."""
        new = sorted(set(captions) - set(self.index))
        self.index |= {caption: len(self.states) + i for i, caption in enumerate(new)}
        self.states += self._compute(language_model, tokenizer, new, device)

    @staticmethod
    def _read(path: Path) -> dict[str, Tensor]:
        if not path.is_file():
            return {}
        with safe_open(path, "pt") as file:
            captions = json.loads(file.metadata()["captions"])
            states = file.get_tensor("states").split(file.get_tensor("lengths").tolist())
        return dict(zip(captions, states, strict=True))

    @staticmethod
    def _compute(language_model, tokenizer, captions: list[str], device: str, batch: int = 64) -> list[Tensor]:
        order = sorted(range(len(captions)), key=lambda i: len(captions[i]))
        found: list[Tensor] = [torch.empty(0)] * len(captions)
        for begin in range(0, len(order), batch):
            rows = order[begin : begin + batch]
            ids, mask = text.tokenise(tokenizer, [captions[i] for i in rows])
            states, _ = text.text_states(language_model, ids.to(device), mask.to(device))
            for row, index in enumerate(rows):
                found[index] = states[row, 1 : mask[row].sum()].to("cpu", torch.float16)
        return found

    def length(self, caption: str) -> int:
        """Tokens of a caption."""
        return len(self.states[self.index[caption]])

    def batch(self, captions: list[str], drop: np.ndarray) -> tuple[Tensor, Tensor]:
        """States (B,S,576) float32 and mask (B,S); rows with ``drop`` are unconditional."""
        found = [self.states[self.index[c]] for c in captions]
        longest = max(len(f) for f in found)
        states = torch.zeros(len(found), longest, found[0].shape[-1])
        mask = torch.zeros(len(found), longest, dtype=torch.bool)
        for row, (state, dropped) in enumerate(zip(found, drop, strict=True)):
            if not dropped:
                states[row, : len(state)] = state.float()
                mask[row, : len(state)] = True
        return states, mask


class MoMugTask:
    """Stage 1 (``stage = 1``): x_t, t and cached text states into the head; no language model in the loop."""

    sideless = 0.0  # share of the captions that do not say which hand or foot

    def __init__(self, recipe: dict, data: Path, device: str, out: Path):
        self.recipe, self.device = recipe, device
        self.batch, self.text_dropout = recipe.get("batch", 64), recipe.get("text_dropout", 0.1)
        self.codec_folder = out.parent / recipe.get("codec", "codec/best")
        codec = load_codec(self.codec_folder, device)
        if recipe.get("frames", False):  # data has to be windows then, not latents
            codec = frames_of(codec)
        self.config = MoMugConfig(codec=codec.config, base=base.base_hash(), **recipe.get("model", {}))
        self.alpha_bar = cosine_alpha_bar(self.config.timesteps).to(device)
        self.random = np.random.default_rng(recipe.get("schedule", {}).get("seed", 0))
        self.train, self.train_latents = read_split(data, "train", codec, self.codec_folder, device)
        self.val, self.val_latents = read_split(data, "val", codec, self.codec_folder, device)
        self.weights = balance(self.train.rows, recipe.get("favour", {}))
        self.sideless = recipe.get("sideless", 0.0)
        self.queue: list[tuple[np.ndarray, list[str]]] = []
        tokenizer = base.load_tokenizer()
        language_model = base.load_language_model(device=device, dtype=torch.bfloat16)
        captions = {c for rows in (self.train.rows, self.val.rows) for row in rows for c in row["captions"]}
        captions = sorted(captions | {without_side(c) for c in captions} if self.sideless else captions)
        self.cache = TextCache(language_model, tokenizer, captions, device, out.parent / "text", self.config.base)
        self.momug = MoMug(self.config, codec, MotionHead(self.config).to(device), language_model, tokenizer)
        if "start" in recipe:
            load_grown(self.momug.head, weights.load(out.parent / recipe["start"] / "head.safetensors"))
        if recipe.get("compile", False):  # a fifth quicker on a processor; needs a C++ compiler
            for block in self.momug.head.blocks:
                block.compile(dynamic=True)
        self.model = self.momug.head

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        decay = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        return [{"params": decay, "lr": learning_rate}, {"params": plain, "lr": learning_rate, "weight_decay": 0.0}]

    def _next_batch(self) -> tuple[np.ndarray, list[str]]:
        """Indices of windows of similar length and a caption of each, captions of similar length."""
        if not self.queue:
            count = len(self.train) // self.batch * self.batch or self.batch
            drawn = self.random.choice(len(self.train), count, p=self.weights / self.weights.sum())
            captions = np.array([self._caption(self.train.rows[i]) for i in drawn], dtype=object)
            order = np.argsort([len(self.train_latents[i]) for i in drawn] + self.random.uniform(-4, 4, count))
            # groups of windows of a length, and in each group batches of captions of a length: little padding
            for group in np.array_split(order, max(count // (4 * self.batch), 1)):
                group = group[np.argsort([self.cache.length(captions[i]) for i in group], kind="stable")]
                for rows in np.array_split(group, max(len(group) // self.batch, 1)):
                    self.queue.append((drawn[rows], captions[rows].tolist()))
            self.random.shuffle(self.queue)
        return self.queue.pop()

    def _caption(self, row: dict) -> str:
        """One of a window's captions; now and then it does not say which hand or foot."""
        caption = str(self.random.choice(row["captions"]))
        return without_side(caption) if self.random.random() < self.sideless else caption

    def _motion_loss(self, model, latents: list[Tensor], captions: list[str], t: Tensor, noise, drop) -> Tensor:
        """Weighted MSE of x0; ``noise`` (B,80,C) or None for fresh noise; rows with ``drop`` see no text."""
        x0, lengths = pad(latents, self.device)
        states, mask = self.cache.batch(captions, drop)
        if noise is None:
            noise = torch.randn_like(x0)
        x_t = add_noise(x0, noise[:, : x0.shape[1]], self.alpha_bar[t])
        hidden = self._hidden(x_t, t, lengths, captions, drop)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.recipe.get("bf16", True)):
            predicted = self.momug.head(x_t, t, lengths, states.to(self.device), mask.to(self.device), hidden)
        valid = (torch.arange(x0.shape[1], device=self.device) < lengths[:, None]).float()
        error = F.mse_loss(predicted, x0, reduction="none").mean(-1)
        error = (error * valid).sum(1) / valid.sum(1)
        loss = (error * min_snr_weight(self.alpha_bar[t])).mean()
        share = self.recipe.get("decoded", 0.0)
        if not share or not model.training or self.random.random() >= self.recipe.get("decoded_share", 1.0):
            return loss
        return loss + share * self._decoded_loss(predicted, x0, lengths, t)

    def _decoded_loss(self, predicted: Tensor, x0: Tensor, lengths: Tensor, t: Tensor) -> Tensor:
        """How differently some of the batch move once decoded: joints, their speeds, and feet over the floor.

        Rows of little noise count most: what the model can only guess need not be sharp.
        """
        rows = self.alpha_bar[t].topk(min(DECODED_ROWS, len(t))).indices
        codec, weight = self.momug.codec, self.alpha_bar[t[rows]]
        with torch.no_grad():
            wanted = codec.decode(x0[rows])
        errors = kinematic_errors(codec.decode(predicted[rows]), wanted)
        frames = torch.arange(wanted.shape[1], device=self.device) < lengths[rows, None] * STRIDE
        total = predicted.new_zeros(())
        for name, scale in (("position", 1.0), ("velocity", 10.0), ("slide", 10.0)):
            error = errors[name].norm(dim=-1).mean(-1)
            valid = frames[:, frames.shape[1] - error.shape[1] :].float()
            total = total + scale * (weight * (error * valid).sum(1) / valid.sum(1)).mean()
        return total

    def _hidden(self, x_t: Tensor, t: Tensor, lengths: Tensor, captions: list[str], drop) -> Tensor | None:
        """Hidden states of the language model for the motion tokens: none in stage 1."""
        return None

    def loss(self, model):
        rows, captions = self._next_batch()
        t = torch.from_numpy(self.random.integers(0, self.config.timesteps, len(rows))).to(self.device)
        drop = self.random.random(len(rows)) < self.text_dropout
        loss = self._motion_loss(model, [self.train_latents[i] for i in rows], captions, t, None, drop)
        return loss, {"loss": loss.item()}

    @torch.compiler.set_stance("force_eager")  # many shapes, each seen a few times: not worth compiling
    def validate(self, model) -> dict[str, float]:
        """Loss on held-out windows at fixed timesteps and noise, and how many of our prompts are obeyed."""
        loss = self._held_out_loss(model)
        figures = adherence(self.momug, seeds=2, preset="fast")
        return {"score": loss + (1 - figures["passed"]), "val_loss": loss, **figures}

    def _held_out_loss(self, model) -> float:
        generator = torch.Generator().manual_seed(0)
        total, count = 0.0, 0
        for begin in range(0, len(self.val), self.batch):
            rows = range(begin, min(begin + self.batch, len(self.val)))
            latents = [self.val_latents[i] for i in rows]
            captions = [self.val.rows[i]["captions"][0] for i in rows]
            noise = torch.randn(len(latents), 80, self.config.codec.latent, generator=generator).to(self.device)
            for level in (100, 300, 500, 700, 900):
                t = torch.full((len(latents),), level, device=self.device)
                loss = self._motion_loss(model, latents, captions, t, noise, np.zeros(len(latents)))
                total, count = total + loss.item() * len(latents), count + len(latents)
        return total / count

    def export(self, model, folder: Path, record: dict) -> None:
        save_checkpoint(self.momug, folder)
        (folder / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


class MoMugLoopTask(MoMugTask):
    """Stage 2: motion tokens pass through the language model with LoRA; captions and lengths are learned here.

    A step is either denoising (with probability ``denoise_share``) or captioning and length prediction:
    L = L_text + lambda * L_motion in expectation. With a share of 0 only captions and lengths are trained.
    """

    def __init__(self, recipe: dict, data: Path, device: str, out: Path):
        super().__init__(recipe, data, device, out)
        self.denoise_share = recipe.get("denoise_share", 0.5)
        loop = LanguageLoop(self.config, self.momug.language_model, self.momug.tokenizer).to(device)
        self.momug.loop = loop
        if "language" in recipe:
            load_grown(loop, weights.load(out.parent / recipe["language"] / "language.safetensors"))
        for name, parameter in loop.named_parameters():
            parameter.requires_grad_("lora_" in name or not name.startswith("language."))
        self.model = nn.ModuleDict({"head": self.momug.head, "loop": loop})

    def parameter_groups(self, learning_rate: float) -> list[dict]:
        loop = self.momug.loop
        lora = [p for n, p in loop.named_parameters() if "lora_" in n]
        rest = [p for n, p in loop.named_parameters() if not n.startswith("language.")]
        head = list(self.momug.head.parameters())
        faster = self.recipe.get("projection_rate", 4.0)
        return [
            {"params": lora, "lr": learning_rate},
            {"params": rest, "lr": learning_rate * faster},
            {"params": head, "lr": learning_rate * self.recipe.get("head_rate", 1.0)},
        ]

    def _prefix(self, captions: list[str], drop):
        sentences = ["" if dropped else caption for caption, dropped in zip(captions, drop, strict=True)]
        ids, mask = (x.to(self.device) for x in text.tokenise(self.momug.tokenizer, sentences))
        return self.momug.loop.prefix(ids, mask)[1], mask

    def _hidden(self, x_t, t, lengths, captions, drop):
        cache, mask = self._prefix(captions, drop)
        return self.momug.loop.motion_states(x_t, t, lengths, cache, mask)

    def loss(self, model):
        if self.random.random() < self.denoise_share:
            loss, logs = super().loss(model)
            return self.recipe.get("lambda_motion", 1.0) * loss, {"motion": logs["loss"]}
        rows, captions = self._next_batch()
        said, durations = self._text_losses(captions, [self.train_latents[i] for i in rows])
        return said + 0.2 * durations, {"caption": said.item(), "duration": durations.item()}

    def _text_losses(self, captions: list[str], found: list[Tensor]) -> tuple[Tensor, Tensor]:
        latents, lengths = pad(found, self.device)
        said = self.momug.loop.caption_loss(latents, lengths, captions)
        cache, mask = self._prefix(captions, np.zeros(len(captions)))
        seconds = (lengths * STRIDE / FPS).round().long().clamp(DURATION_DIGITS[0], DURATION_DIGITS[-1])
        return said, F.cross_entropy(self.momug.loop.duration_logits(cache, mask), seconds - DURATION_DIGITS[0])

    def validate(self, model) -> dict[str, float]:
        losses = []
        for begin in range(0, len(self.val), 16):
            rows = range(begin, min(begin + 16, len(self.val)))
            captions = [self.val.rows[i]["captions"][0] for i in rows]
            losses.append(self._text_losses(captions, [self.val_latents[i] for i in rows])[0].item())
        caption = float(np.mean(losses))
        if self.denoise_share == 0:  # the motion half is left as it is: captions alone decide
            return {"score": caption, "caption_loss": caption}
        figures = super().validate(model)
        return figures | {"score": figures["score"] + 0.3 * caption, "caption_loss": caption}


def balance(rows: list[dict], favour: dict[str, float] | None = None) -> np.ndarray:
    """Sampling weights (N,): windows with rare actions come more often, by the root of how rare, at most 4 to 1.

    A row's own ``weight`` (1 where it has none) multiplies its share. favour: regular expression -> factor for the
    windows with a caption that it is found in (the largest one counts): what held-out prompts say is learnt least.
    """
    named = [action_words(row["captions"]) or {"?"} for row in rows]
    counts = Counter(word for words in named for word in words)
    weights = np.array([max(counts[word] ** -0.5 for word in words) for words in named])
    own = np.array([row.get("weight", 1.0) for row in rows])
    factors = {re.compile(pattern): factor for pattern, factor in (favour or {}).items()}
    more = [
        max([f for p, f in factors.items() if any(p.search(c) for c in row["captions"])], default=1.0) for row in rows
    ]
    return np.clip(weights / np.median(weights), 0.5, 2.0) * own * np.array(more)


def load_grown(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy weights into a module whose layers may be wider (more latent channels); what is new begins at zero.

    Raises BackendError ``bad_file`` when they do not fit.
    """
    own = dict(module.named_parameters())
    with torch.no_grad():
        for name, tensor in tensors.items():
            wanted = own.get(name)
            if (
                wanted is None
                or wanted.ndim != tensor.ndim
                or any(a > b for a, b in zip(tensor.shape, wanted.shape, strict=True))
            ):
                raise BackendError("bad_file", f"The weights to start from do not fit the recipe ({name}).")
            if tensor.shape != wanted.shape:
                wanted.zero_()
            wanted[tuple(slice(size) for size in tensor.shape)].copy_(tensor)


def pad(latents: list[Tensor], device: str) -> tuple[Tensor, Tensor]:
    """Latents [(L_i,C)] to (B,max L,C) with zeros, and lengths (B,)."""
    lengths = torch.tensor([len(x) for x in latents], device=device)
    return torch.nn.utils.rnn.pad_sequence(latents, batch_first=True).to(device), lengths


def read_split(
    data: Path, split: str, codec: CausalVAE, folder: Path, device: str
) -> tuple[Windows | Latents, list[Tensor]]:
    """The rows of a split and the latents (L,C) of every window, from a data set or from one that is encoded already.

    folder: where ``codec`` was read; latents of another codec are refused. Raises BackendError ``bad_file``.
    """
    if (Path(data) / f"{split}.safetensors").is_file():
        if not codec.config.width:
            raise BackendError("bad_file", f"{data} holds latents; frames are learnt from the data set itself.")
        stored = load_latents(data, split, codec_hash(folder))
        return stored, [torch.from_numpy(latents).to(device) for latents in stored.latents]
    windows = load_windows(data, split)
    return windows, encode_all(codec, windows, device)


@torch.no_grad()
def encode_all(codec, windows: Windows, device: str) -> list[Tensor]:
    """Latents (L,C) of every window, in order."""
    found = []
    for window in windows.features:
        trimmed = torch.from_numpy(window[: len(window) // STRIDE * STRIDE]).to(device)
        found.append(codec.encode(trimmed[None])[0])
    return found
