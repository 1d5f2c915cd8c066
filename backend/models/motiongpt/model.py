"""MotionGPT assembled: motion from text and poses, whole or while it is made, and captions."""

import secrets
import time
from pathlib import Path

import torch
from torch import Tensor

from backend.codecs.causal_vae import STRIDE
from backend.codecs.streaming import Tape, join
from backend.codecs.vq_vae import VQVAE
from backend.errors import BackendError
from backend.models import actions, again, asked, choosing, decoding, reading
from backend.models.device import one_thread
from backend.models.interface import Cancelled, GenerateRequest, GenerateResult, Progress, Watcher
from backend.models.momug.conditions import Conditions
from backend.models.motiongpt import poses, sampling
from backend.models.motiongpt.answers import Answers
from backend.models.motiongpt.config import MotionGPTConfig
from backend.models.motiongpt.network import MotionTokens
from backend.models.motiongpt.text_half import TextHalf
from backend.models.motiongpt.words import write_captions
from backend.models.plant import plant_feet
from backend.motion import features
from backend.motion.pin import pin
from backend.motion.skeleton import Motion
from backend.motion.target import Target
from backend.protocol import FPS

TRIES = 4  # of the preset that chooses the best


class MotionGPT:
    """A MotionModel that also streams. codec: the VQ codec; tokens: the trained half; text: the frozen half."""

    def __init__(
        self,
        config: MotionGPTConfig,
        codec: VQVAE,
        tokens: MotionTokens,
        text: TextHalf,
        recogniser: actions.ActionNet | None = None,
    ):
        self.config, self.codec, self.tokens, self.text = config, codec, tokens, text
        self.recogniser = recogniser
        self.device = codec.base.mean.device

    @property
    def presets(self) -> list[dict]:
        return presets()

    @property
    def precision(self) -> str:
        """Of the language model: "float32" or "bfloat16"."""
        return str(next(self.text.language_model.parameters()).dtype).removeprefix("torch.")

    # --- text and poses to motion

    @torch.no_grad()
    def generate(self, request: GenerateRequest, progress: Progress, cancelled: Cancelled) -> GenerateResult:
        """``request.variations`` motions together. Raises BackendError, ``cancelled`` among others."""
        began = time.perf_counter()
        first = secrets.randbelow(2**31) if request.seed is None else request.seed
        seeds = [first + i for i in range(request.variations)]
        tries = asked.preset(self.presets, request.preset or self.config.default_preset)["tries"]
        drawn = choosing.draws(seeds, tries)
        parts, target, keys, warnings = request.timeline or [(request.prompt, request.seconds)], None, [], []
        if request.loop:
            raise BackendError("bad_request", "MotionGPT makes no loops.", poses.OTHER_MODEL)
        if request.target:
            if len(parts) > 1:
                raise BackendError("bad_request", "MotionGPT meets poses in one sentence, not in a timeline.")
            target = request.target
            parts = [(parts[0][0], target.frames / FPS)]
            keys, warnings = poses.keys_of(self.codec, target, self.config.max_keys)
        frames = [self._frames(seconds) for _, seconds in parts]
        rows: list[Tensor] = [torch.zeros(0, self.config.levels, dtype=torch.int64)] * len(drawn)
        segments, before = [0], None
        for (sentence, _), told_frames in zip(parts, frames, strict=True):
            ask = self._ask(sentence, told_frames, keys, request.guidance_scale, before)
            made = self._answers(ask, drawn, progress, cancelled)
            rows = [torch.cat([row, codes]) for row, codes in zip(rows, made, strict=True)]
            # the sentences of a timeline change for all variations together: when the first one is done
            if len(parts) > 1:
                rows = [row[: len(rows[0])] if len(row) >= len(rows[0]) else _held(row, len(rows[0])) for row in rows]
                before = torch.stack([self._last(row) for row in rows])
            segments.append(len(rows[0]) * STRIDE)
        written = time.perf_counter()
        progress("decode", 0, 1)
        total = None  # of a timeline: its sentences are whole tokens
        if len(parts) == 1:
            total = frames[0] or int(self.config.max_seconds * FPS)
        free = [self._decode(row, cancelled)[:total] for row in rows]
        motions = [features.decode(found.numpy()) for found in free]
        sentences = [sentence for sentence, _ in parts]
        grouped = [motions[i : i + tries] for i in range(0, len(motions), tries)]
        score = choosing.scorer(lambda: asked.stop_if(cancelled))
        if tries > 1 and not request.timeline and not target:
            further = again.by_requests(self, request, progress, cancelled)
            again.improve([request.prompt] * len(seeds), seeds, grouped, further, score)
        chosen, unmet = choosing.choose(sentences, segments[:-1], grouped, score)
        motions, unpinned = [group[best] for group, best in zip(grouped, chosen, strict=True)], []
        if target:
            conditions = Conditions(self.codec.base, target, False, target.frames)
            kept = [i * tries + best for i, best in enumerate(chosen)]
            motions = [
                conditions.placed(free[i][None].to(self.device), [motion])[0]
                for i, motion in zip(kept, motions, strict=True)
            ]
            unpinned = motions
        motions = [self._met(motion, target) for motion in motions]
        done = time.perf_counter()
        timings = {"generate": written - began, "decode": done - written}
        return GenerateResult(motions, seeds, timings, warnings + unmet, segments[:-1], unpinned)

    def _met(self, motion: Motion, target: Target | None) -> Motion:
        """Given poses met exactly, feet planted."""
        if target is None:
            return plant_feet(motion)
        return plant_feet(pin(motion, target), target.joints.any(1) | target.place.any(1))

    def _ask(
        self, sentence: str, frames: int | None, keys: list, scale: float | None, before: Tensor | None = None
    ) -> sampling.Ask:
        scale = self.config.guidance_scale if scale is None else scale
        words = [self.text.told(sentence, bool(keys))] + ([self.text.told("", bool(keys))] if scale != 1.0 else [])
        lengths = torch.tensor([len(w) for w in words], device=self.device)
        states = torch.nn.utils.rnn.pad_sequence(words, batch_first=True)
        prefix = self.tokens.read(states, torch.arange(states.shape[1], device=self.device) < lengths[:, None])
        count = sampling.OPEN if frames is None else self._tokens(frames)
        return sampling.Ask(prefix, count, keys, before, scale)

    def _answers(
        self, ask: sampling.Ask, seeds: list[int], progress: Progress, cancelled: Cancelled, constrained: bool = True
    ) -> list[Tensor]:
        """Codes (n,levels), n codec steps, of one answer a seed."""
        limit = self.longest if ask.tokens == sampling.OPEN else ask.tokens
        least = self._tokens(int(self.config.min_seconds * FPS))
        said, made = [], []
        for tokens, codes in sampling.write(self.tokens, ask, seeds, limit, self._settings, least, constrained):
            asked.stop_if(cancelled)
            progress("generate", len(said), limit)
            said.append(tokens.cpu())
            made.append(codes.cpu())
            if len(said) == limit or (torch.stack(said) >= self.config.codes).any(0).all():
                break
        tokens, codes = torch.stack(said, 1), torch.stack(made, 1)
        ends = [(row >= self.config.codes).nonzero() for row in tokens]
        rows = [row[: int(end[0]) if len(end) else limit] for row, end in zip(codes, ends, strict=True)]
        return [row.reshape(-1, self.config.levels) for row in rows]

    def _last(self, codes: Tensor) -> Tensor:
        """Entries (patch*D,) of the last token of codes (n,levels)."""
        return self.tokens.vectors(codes[-self.config.patch :].flatten().to(self.device))

    @one_thread()
    @torch.no_grad()
    def stream(
        self, request: GenerateRequest, watcher: Watcher, progress: Progress, cancelled: Cancelled
    ) -> GenerateResult:
        """One motion, 16 frames at a time, for ``request.seconds`` or until the watcher stops it.

        Another sentence of the watcher holds from the next piece on. Feet are not planted, which needs to know what
        comes: who shows the frames holds them (the add-on's ``retarget.live``). Raises BackendError, ``cancelled``
        among others.
        """
        seed = secrets.randbelow(2**31) if request.seed is None else request.seed
        if request.target or request.timeline or request.loop:
            raise BackendError("bad_request", "What is watched while it is made follows one sentence at a time.")
        wanted = None if request.seconds is None else round(request.seconds * FPS)
        tape, answers, heard = Tape(self.codec.base), Answers(self, request, wanted, seed, watcher), []
        timings = {"generate": 0.0, "decode": 0.0, "wait": 0.0}
        while (wanted is None or tape.frames < wanted) and not watcher.stopped():
            began = time.perf_counter()
            tape.before(answers.state)
            back = watcher.back_to(tape.starts)
            if back is not None:
                answers.go_back(tape.go_back(back))
                heard = [(first, sentence) for first, sentence in heard if first < back]
            sentence, codes = answers.piece(cancelled)
            written = time.perf_counter()
            if not heard or heard[-1][1] != sentence:
                heard.append((tape.frames, sentence))
            found = tape.decode(self.codec.after(self.codec.entries(codes[None])))[0].cpu().numpy()
            piece = tape.add(found[: None if wanted is None else wanted - tape.frames])
            shown = time.perf_counter()
            watcher.emit(piece)
            progress("stream", tape.frames, wanted or 0)
            spans = (written - began, shown - written, time.perf_counter() - shown)
            timings = {phase: timings[phase] + span for phase, span in zip(timings, spans, strict=True)}
        if not tape.pieces:
            raise BackendError("cancelled", "The motion was stopped before its first frame.", retryable=True)
        return GenerateResult([join(tape.pieces)], [seed], timings, [], [first for first, _ in heard])

    # --- motion to text

    @torch.no_grad()
    def caption(self, motion: Motion, progress: Progress, cancelled: Cancelled) -> str:
        """One sentence about a canonical 30 fps motion; of one longer than ten seconds, about its beginning.

        Of several that are written, the one that holds best against what can be measured.
        """

        def on_token(index: int) -> None:
            asked.stop_if(cancelled, "caption")
            progress("caption", index, 0)

        latents = self.codec.base.encode(self._features(motion))
        shown = actions.shown(self.recogniser, latents[0])
        codes = self.codec.encode_latents(latents)[0]
        codes = codes[: len(codes) // self.config.patch * self.config.patch]
        vectors = self.tokens.vectors(codes.reshape(-1, self.config.patch * self.config.levels))
        starts = actions.beginnings(shown, actions.BEGUN)
        written = write_captions(self.text, self.tokens, vectors, starts, on_token)
        return choosing.truest(written, reading.beginning(motion, self.config.max_seconds), shown)

    @torch.no_grad()
    def encode(self, motion: Motion) -> Tensor:
        """Codes (n,levels) of a canonical motion, at most ``max_seconds`` long. Raises BackendError ``bad_motion``."""
        return self.codec.encode(self._features(motion))[0]

    def _features(self, motion: Motion) -> Tensor:
        frames = reading.window(motion, self.config.min_seconds, self.config.max_seconds)
        return torch.from_numpy(frames).to(self.device)[None]

    # --- small things

    @property
    def longest(self) -> int:
        """Tokens of one answer at most."""
        return self._tokens(int(self.config.max_seconds * FPS))

    def _tokens(self, frames: int) -> int:
        """Tokens that hold so many frames."""
        return -(-frames // (STRIDE * self.config.patch))

    @property
    def _settings(self) -> sampling.Settings:
        return sampling.Settings(self.config.temperature, self.config.top_p, self.config.finer_temperature)

    def _decode(self, codes: Tensor, cancelled: Cancelled) -> Tensor:
        """Codes (n,levels) of the codec to features (4n,155)."""
        asked.stop_if(cancelled)
        return decoding.finite(self.codec.decode(codes[None].to(self.device))[0]).cpu()

    def _frames(self, seconds: float | None) -> int | None:
        return None if seconds is None else asked.frames(seconds, self.config.min_seconds, self.config.max_seconds)


def presets() -> list[dict]:
    """What the panel offers: of how many tries the best is chosen (``choosing``)."""
    fast = {"name": "fast", "label": "Fast", "tries": 1}
    return [fast, {"name": "best", "label": f"Best of {TRIES}", "tries": TRIES}]


def _held(codes: Tensor, steps: int) -> Tensor:
    """Codes (n,levels) as long as ``steps``: the last one stays."""
    return torch.cat([codes, codes[-1:].expand(steps - len(codes), -1)])


def load_checkpoint(folder: Path, device: str = "auto", precision: str = "auto") -> MotionGPT:
    """Load a MotionGPT checkpoint folder; see ``backend.models.load`` for arguments and errors."""
    from backend.models.motiongpt import checkpoint  # which knows this module

    return checkpoint.load(folder, device, precision)
