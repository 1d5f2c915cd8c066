"""LLaMo assembled: codec, frozen text half, motion expert; generation, streaming and captions."""

import json
import logging
import secrets
import time
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from backend import weights
from backend.codecs.causal_vae import STRIDE, CausalVAE, codec_hash, load_codec
from backend.codecs.streaming import Tape, join
from backend.errors import BackendError
from backend.language import base, text, writing
from backend.models import actions, again, asked, checkpoint, choosing, decoding, reading
from backend.models.device import choose_device, choose_precision, one_thread
from backend.models.interface import Cancelled, GenerateRequest, GenerateResult, Progress, Watcher
from backend.models.llamo.config import LLaMoConfig
from backend.models.llamo.expert import MotionExpert
from backend.models.llamo.rollout import Rollout
from backend.models.llamo.text_half import CUE, read_after, read_on, rope_theta, text_keys
from backend.motion import features
from backend.motion.skeleton import Motion
from backend.protocol import FPS

log = logging.getLogger(__name__)
WEIGHTS = "motion.safetensors"
CAPTIONS = 8  # that the truest is chosen from
MOTION_WEIGHT = -2.0  # logarithm of how much a motion counts beside a word, for text that reads it
STREAM_SECONDS = 600.0  # of one stream; its cost does not grow, but somebody has to keep the frames


class LLaMo:
    """A MotionModel that also streams."""

    def __init__(
        self,
        config: LLaMoConfig,
        codec: CausalVAE,
        expert: MotionExpert,
        language_model,
        tokenizer,
        recogniser: actions.ActionNet | None = None,
    ):
        self.config, self.codec, self.expert, self.recogniser = config, codec, expert, recogniser
        self.language_model, self.tokenizer = language_model, tokenizer
        self.device = codec.mean.device

    @property
    def presets(self) -> list[dict]:
        return presets(self.config)

    @property
    def precision(self) -> str:
        """Of the language model: "float32" or "bfloat16"."""
        return str(next(self.language_model.parameters()).dtype).removeprefix("torch.")

    def sentence_keys(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        """Keys and values of sentences, then of as many empty ones, and which of them there are (2N,S)."""
        ids, mask = text.tokenise(self.tokenizer, [*sentences, ""])
        keys = text_keys(self.language_model, ids.to(self.device), mask.to(self.device))
        rows = [*range(len(sentences)), *[len(sentences)] * len(sentences)]
        return keys[:, :, rows], mask[rows].to(self.device)

    # --- text to motion

    @torch.no_grad()
    def generate(self, request: GenerateRequest, progress: Progress, cancelled: Cancelled) -> GenerateResult:
        """``request.variations`` motions together. Raises BackendError, ``cancelled`` among others."""
        first = secrets.randbelow(2**31) if request.seed is None else request.seed
        seeds = [first + i for i in range(request.variations)]
        made, timings, segments = self._grow([request] * len(seeds), seeds, progress, cancelled)
        sentences = [sentence for sentence, _ in request.timeline] or [request.prompt]
        score = choosing.scorer(lambda: asked.stop_if(cancelled))
        if len(made[0]) > 1 and not request.timeline:
            further = again.by_requests(self, request, progress, cancelled)
            again.improve([request.prompt] * len(seeds), seeds, made, further, score)
        chosen, unmet = choosing.choose(sentences, segments, made, score)
        motions = [tries[best] for tries, best in zip(made, chosen, strict=True)]
        return GenerateResult(motions, seeds, timings, unmet, segments)

    @torch.no_grad()
    def generate_batch(
        self, requests: list[GenerateRequest], progress: Progress, cancelled: Cancelled
    ) -> list[GenerateResult]:
        """One motion for each of several requests that are ``alike``; timings are each one's share."""
        made, timings, _ = self._grow(requests, [r.seed for r in requests], progress, cancelled)
        timings = {phase: seconds / len(requests) for phase, seconds in timings.items()}
        results = []
        for request, tries in zip(requests, made, strict=True):
            (best,), unmet = choosing.choose([request.prompt], [0], [tries])
            results.append(GenerateResult([tries[best]], [request.seed], timings, unmet))
        return results

    def _grow(self, requests, seeds, progress, cancelled) -> tuple[list[list[Motion]], dict[str, float], list[int]]:
        """The tries at each request, seconds by phase, and the first frame of each sentence of the timeline."""
        began = time.perf_counter()
        preset = self._preset(requests[0])
        tries = preset["tries"]
        owners = [i for i in range(len(requests)) for _ in range(tries)]
        drawn = choosing.draws(seeds, tries)
        parts = [r.timeline or [(r.prompt, r.seconds)] for r in requests]
        frames = [[self._frames(seconds) for _, seconds in row] for row in parts]
        rollout = self._rollout([parts[i][0][0] for i in owners], drawn, requests[0], preset)
        encoded = time.perf_counter()
        latents, segments, stops = [], [0], [0] * len(owners)
        for part in range(len(parts[0])):
            if part:
                segments.append(len(latents) * STRIDE)
                rollout.say([parts[i][part][0] for i in owners])
            for count in range(1, self._longest + 1):
                asked.stop_if(cancelled)
                latents.append(rollout.next())
                progress("generate", len(latents), 0)
                over = [self._over(frames[i][part], count, float(rollout.ending[k])) for k, i in enumerate(owners)]
                stops = [stop or len(latents) * end for stop, end in zip(stops, over, strict=True)]
                # the sentences of a timeline change for all variations together: when the first one is done
                if all(stops) or (over[0] and len(parts[0]) > 1):
                    break
            last, stops = stops, [0] * len(owners)
        grown = time.perf_counter()
        progress("decode", 0, 1)
        decoded = decoding.decode(self.codec, torch.stack(latents, 1), lambda: asked.stop_if(cancelled))
        made: list[list[Motion]] = [[] for _ in requests]
        for k, i in enumerate(owners):
            told = frames[i][-1]
            end = segments[-1] + told if told else (last[k] or len(latents)) * STRIDE
            made[i].append(features.decode(decoded[k, :end].cpu().numpy()))
        done = time.perf_counter()
        return made, {"text": encoded - began, "generate": grown - encoded, "decode": done - grown}, segments

    def _over(self, frames: int | None, count: int, ending: float) -> bool:
        """Whether a sentence is done after ``count`` latents: as long as told, or when the exit head says so."""
        if frames:
            return count * STRIDE >= frames
        return count == self._longest or (ending > 0.5 and count * STRIDE >= self.config.min_seconds * FPS)

    @one_thread()
    @torch.no_grad()
    def stream(
        self, request: GenerateRequest, watcher: Watcher, progress: Progress, cancelled: Cancelled
    ) -> GenerateResult:
        """One motion, four frames at a time, for ``request.seconds`` or until the watcher stops it.

        The watcher's sentence may change at any time; ``segments`` of the result says when it did. Memory and the time
        for a latent do not grow. Raises BackendError, ``cancelled`` among others.
        """
        seed = secrets.randbelow(2**31) if request.seed is None else request.seed
        rollout = self._rollout([watcher.prompt()], [seed], request, self._preset(request))
        tape, heard = Tape(self.codec), []
        wanted = None if request.seconds is None else round(request.seconds * FPS)
        timings = {"text": 0.0, "generate": 0.0, "decode": 0.0, "wait": 0.0}
        while (wanted is None or tape.frames < wanted) and not watcher.stopped():
            asked.stop_if(cancelled)
            began = time.perf_counter()
            tape.before(rollout.history)
            back = watcher.back_to(tape.starts)
            if back is not None:
                rollout.go_back(tape.go_back(back))
                heard = [(first, sentence) for first, sentence in heard if first < back]
            sentence = watcher.prompt()
            rollout.say([sentence])
            if not heard or heard[-1][1] != sentence:
                heard.append((tape.frames, sentence))
            said = time.perf_counter()
            latent = rollout.next()
            grown = time.perf_counter()
            decoded = tape.decode(latent[:, None])
            decoding.finite(decoded)
            piece = tape.add(decoded[0, : (wanted or tape.frames + STRIDE) - tape.frames].cpu().numpy())
            shown = time.perf_counter()
            watcher.emit(piece)
            progress("stream", tape.frames, wanted or 0)
            spans = (said - began, grown - said, shown - grown, time.perf_counter() - shown)
            timings = {phase: timings[phase] + span for phase, span in zip(timings, spans, strict=True)}
        if not tape.pieces:
            raise BackendError("cancelled", "The motion was stopped before its first frame.", retryable=True)
        return GenerateResult([join(tape.pieces)], [seed], timings, [], [first for first, _ in heard])

    def _rollout(self, sentences: list[str], seeds: list[int], request: GenerateRequest, preset: dict) -> Rollout:
        return Rollout(
            self.config,
            self.expert,
            self.sentence_keys,
            sentences,
            seeds,
            steps=request.steps or preset["steps"],
            scale=request.guidance_scale,
        )

    @property
    def _longest(self) -> int:
        """Latents of one sentence at most."""
        return int(self.config.max_seconds * FPS) // STRIDE

    def _frames(self, seconds: float | None) -> int | None:
        return None if seconds is None else asked.frames(seconds, self.config.min_seconds, self.config.max_seconds)

    def _preset(self, request: GenerateRequest) -> dict:
        return asked.preset(self.presets, request.preset or self.config.default_preset)

    # --- motion to text

    def motion_context(self, latents: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of BOS, <bom>, latents (B,L,C) with lengths (B,), <eom>, and how much each counts (B,3+L).

        All of a motion together counts as part of one word, however long it is: text that never met motion before is
        drowned in it otherwise. What is read next stands at position ``lengths`` + 3.
        """
        count = len(latents)
        ids = torch.full((1, 1), self.tokenizer.bos_token_id, device=self.device)
        bos = text_keys(self.language_model, ids, ids == ids).expand(-1, -1, count, -1, -1, -1)
        ones = torch.ones(count, 1, dtype=torch.bool, device=self.device)
        _, own = self.expert(self.expert.tokens(latents, lengths), bos, ones, ones.sum(1))
        count = lengths[:, None] + 2
        there = torch.arange(own.shape[4], device=self.device) < count
        weight = torch.where(there, MOTION_WEIGHT - count.float().log(), -torch.inf)
        return torch.cat([bos, own.to(bos.dtype)], 4), torch.cat([torch.zeros_like(weight[:, :1]), weight], 1)

    @torch.no_grad()
    def caption(self, motion: Motion, progress: Progress, cancelled: Cancelled) -> str:
        """One sentence about a canonical 30 fps motion; of one longer than the model's window, about its beginning.

        Of several that the text half writes, the one that holds best against what can be measured.
        """
        latents = self.encode(motion)[None]
        shown = actions.shown(self.recogniser, latents[0])
        length = torch.tensor([latents.shape[1]], device=self.device)
        past, weight = self.motion_context(latents, length)
        cue = self.tokenizer(CUE, add_special_tokens=False, return_tensors="pt")["input_ids"].to(self.device)
        logits, cache = read_after(self.language_model, cue, past, weight, length + 3)
        cache.batch_repeat_interleave(CAPTIONS)

        def following(tokens: Tensor) -> Tensor:
            read = cache.get_seq_length()
            counts = torch.cat([weight, weight.new_zeros(1, read - weight.shape[1])], 1).expand(CAPTIONS, -1)
            position = torch.full((CAPTIONS,), read, device=self.device)
            return read_on(self.language_model, tokens, cache, counts, position)[:, -1]

        def on_token(index: int) -> None:
            asked.stop_if(cancelled, "caption")
            progress("caption", index, 0)

        starts = actions.beginnings(shown, actions.BEGUN)
        logits = logits[:, -1].repeat(CAPTIONS, 1)
        written = writing.write(logits, following, self.tokenizer, on_token, beginnings=starts)
        return choosing.truest(written, reading.beginning(motion, self.config.max_seconds), shown)

    @torch.no_grad()
    def encode(self, motion: Motion) -> Tensor:
        """Latents (L,C) of a canonical motion, at most ``max_seconds`` long."""
        frames = reading.window(motion, self.config.min_seconds, self.config.max_seconds)
        return self.codec.encode(torch.from_numpy(frames).to(self.device)[None])[0]


def presets(config: LLaMoConfig) -> list[dict]:
    """What the panel offers: Euler steps, and of how many tries the best is chosen (``choosing``)."""
    fast = {"name": "fast", "label": "Fast", "steps": config.steps, "tries": 1}
    best = {"name": "best", "label": f"Best of {config.tries}", "steps": config.steps, "tries": config.tries}
    return [fast, best]


def new_config(codec: CausalVAE, codec_hash: str, language_model, values: dict) -> LLaMoConfig:
    """The configuration for a codec and a base language model, with the ``values`` of a recipe."""
    about = language_model.config
    return LLaMoConfig(
        codec=codec.config,
        codec_hash=codec_hash,
        base=base.base_hash(),
        layers=about.num_hidden_layers,
        heads=about.num_attention_heads,
        kv_heads=about.num_key_value_heads,
        head_width=getattr(about, "head_dim", None) or about.hidden_size // about.num_attention_heads,
        **values,
    )


def save_checkpoint(model: LLaMo, folder: Path) -> None:
    """Write config.json with hashes, and the motion expert as 8-bit rows. The codec is not copied, only named."""
    folder.mkdir(parents=True, exist_ok=True)
    weights.save(model.expert.state_dict(), folder / "motion.safetensors", int8=True)
    config = model.config.to_dict()
    config |= {"presets": presets(model.config), "captions": True, "streams": True, "stream_seconds": STREAM_SECONDS}
    config["sha256"] = {WEIGHTS: base.sha256_file(folder / WEIGHTS)}
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def load_expert(expert: MotionExpert, path: Path) -> None:
    """Weights of a checkpoint into an expert. Raises BackendError ``checkpoint_damaged``."""
    try:
        expert.load_state_dict(weights.load(path))
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise BackendError(
            "checkpoint_damaged", f"The weights in {path.name} do not fit their model.", checkpoint.HINT
        ) from error


def load_checkpoint(folder: Path, device: str = "auto", precision: str = "auto") -> LLaMo:
    """Load a LLaMo checkpoint folder; see ``backend.models.load`` for arguments and errors."""
    folder = Path(folder)
    config, _ = checkpoint.verified(folder, LLaMoConfig.from_dict, lambda _: [WEIGHTS])
    device = choose_device(device)
    language_model, tokenizer = base.load_for_serving(device=device, dtype=choose_precision(precision, device))
    expert = MotionExpert(config, rope_theta(language_model))
    load_expert(expert, folder / WEIGHTS)
    expert = expert.requires_grad_(False).eval().to(device)
    codec_folder = checkpoint.holder(folder, "codec.safetensors", config.codec_hash, codec_hash, "The motion codec")
    codec = load_codec(codec_folder, device)
    recogniser = actions.load(codec_folder, device)
    return LLaMo(config, codec, expert, language_model, tokenizer, recogniser)
