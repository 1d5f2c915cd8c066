"""MoMug assembled: codec, motion head, and the language model in the loop; generation and captions."""

import json
import logging
import secrets
import time
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from backend import weights
from backend.codecs.causal_vae import STRIDE, CausalVAE, load_codec, save_codec
from backend.errors import BackendError
from backend.language import base, text
from backend.models import actions, again, asked, checkpoint, choosing, decoding, reading, styles
from backend.models.device import choose_device, choose_precision
from backend.models.interface import Cancelled, GenerateRequest, GenerateResult, Progress
from backend.models.momug import batch, few, windows
from backend.models.momug.conditions import Conditions, shared
from backend.models.momug.config import MoMugConfig
from backend.models.momug.denoiser import Denoiser
from backend.models.momug.further import further
from backend.models.momug.head import MotionHead
from backend.models.momug.language_loop import DURATION_DIGITS, LanguageLoop
from backend.models.momug.sampling import cosine_alpha_bar, ddim, seeded_noise
from backend.motion import features
from backend.motion.pin import close_loop, pin
from backend.motion.skeleton import Motion
from backend.protocol import FPS

log = logging.getLogger(__name__)
FALLBACK_SECONDS = 4.0
TRIES = 4  # of the preset that chooses the best
CAPTIONS = 8  # that the truest is chosen from
PULLS, LAST_PULLS = 3, 10  # looks at how far given poses are, at each denoising step and at the end


class MoMug:
    """A MotionModel. ``loop`` is None for a stage 1 checkpoint, which generates but does not caption."""

    def __init__(
        self,
        config: MoMugConfig,
        codec: CausalVAE,
        head: MotionHead,
        language_model,
        tokenizer,
        loop=None,
        folder: Path | None = None,
        recogniser: actions.ActionNet | None = None,
        shortcut: dict[str, Tensor] | None = None,
    ):
        self.config, self.codec, self.head, self.loop, self.folder = config, codec, head, loop, folder
        self.recogniser, self.shortcut = recogniser, shortcut
        self.few = few.merged(head, shortcut) if shortcut else None  # the head that needs few steps
        self.styles: set[str] = set()  # packs that the head holds by now
        self.language_model, self.tokenizer = language_model, tokenizer
        self.device = codec.mean.device
        self.alpha_bar = cosine_alpha_bar(config.timesteps).to(self.device)

    @property
    def presets(self) -> list[dict]:
        return presets(self.config)

    @property
    def precision(self) -> str:
        """Of the language model: "float32" or "bfloat16"."""
        return str(next(self.language_model.parameters()).dtype).removeprefix("torch.")

    @torch.no_grad()
    def generate(self, request: GenerateRequest, progress: Progress, cancelled: Cancelled) -> GenerateResult:
        """Denoise ``request.variations`` motions together. Raises BackendError, ``cancelled`` among others."""
        began = time.perf_counter()
        preset = asked.preset(self.presets, request.preset or self.config.default_preset)
        self._use_style(request.style, request.style_weight)
        progress("text", 0, 1)
        sentences = [sentence for sentence, _ in request.timeline] or [request.prompt]
        ids, mask = (x.to(self.device) for x in text.tokenise(self.tokenizer, [*sentences, ""]))
        states, cache = self._prefix(ids, mask)
        frames, warnings = self._lengths(request, cache, mask)
        encoded = time.perf_counter()
        first = secrets.randbelow(2**31) if request.seed is None else request.seed
        seeds = [first + i for i in range(request.variations)]
        tries = 1 if request.target or request.loop else preset["tries"]  # meeting poses takes long enough for one
        total = sum(frames)
        ends = [-(-sum(frames[: i + 1]) // STRIDE) for i in range(len(frames))]
        lengths = [stop - start for start, stop in zip([0, *ends], ends, strict=False)]
        width = self.config.codec.latent
        noise = torch.cat([seeded_noise(seed, tries, ends[-1], width) for seed in seeds]).to(self.device)
        way, plan = self.way(request, preset), windows.plan(lengths, self.longest)
        denoiser = Denoiser(self, states, mask, cache, plan, len(noise), way, preset["language_every"])
        conditions = None
        if request.target or request.loop:
            conditions = Conditions(self.codec, request.target or None, request.loop, total)

        def predict(x_t: Tensor, t: int) -> Tensor:
            x0 = denoiser(x_t, t)
            return conditions.pull(x0, PULLS, lambda _count: stop_if_cancelled()) if conditions else x0

        def stop_if_cancelled() -> None:
            asked.stop_if(cancelled)

        def on_pull(count: int) -> None:
            stop_if_cancelled()
            progress("meet", min(count, LAST_PULLS), LAST_PULLS)

        def on_step(index: int) -> None:
            denoiser.step = index
            stop_if_cancelled()
            progress("denoise", index, way.steps)

        def on_second_round(index: int) -> None:
            stop_if_cancelled()
            progress("again", index, way.steps)

        denoiser.stop = stop_if_cancelled
        latents = ddim(predict, noise, self.alpha_bar, way.steps, on_step=on_step)
        if conditions:
            latents = conditions.pull(latents, LAST_PULLS, on_pull)
        denoised = time.perf_counter()
        progress("decode", 0, 1)
        decoded = decoding.decode(self.codec, latents, stop_if_cancelled)
        made = [features.decode(row[:total]) for row in decoded.cpu().numpy()]
        segments = [sum(frames[:i]) for i in range(len(frames))]
        tried, score = [made[i : i + tries] for i in range(0, len(made), tries)], choosing.scorer(stop_if_cancelled)
        if tries > 1 and not request.timeline:
            make = further(self, way, on_second_round, stop_if_cancelled)
            again.improve([request.prompt] * len(seeds), seeds, tried, make, score)
        chosen, unmet = choosing.choose(sentences, segments, tried, score)
        motions = [motions[best] for motions, best in zip(tried, chosen, strict=True)]
        if request.target:
            motions = conditions.placed(decoded, motions)
        unpinned = motions if conditions else []
        if request.target:
            motions = [pin(m, request.target) for m in motions]
        if request.loop:
            motions = [close_loop(m) for m in motions]
        done = time.perf_counter()
        timings = {"text": encoded - began, "denoise": denoised - encoded, "decode": done - denoised}
        return GenerateResult(motions, seeds, timings, warnings + unmet, segments, unpinned)

    def generate_batch(
        self, requests: list[GenerateRequest], progress: Progress, cancelled: Cancelled
    ) -> list[GenerateResult]:
        """Several sentences together, see ``batch.generate``."""
        return batch.generate(self, requests, progress, cancelled)

    def way(self, request: GenerateRequest, preset: dict) -> few.Way:
        """The distilled head where there is one, it was learnt for what is asked and one try is made; the plain head
        otherwise: choosing among tries needs tries that differ, and those of the distilled head differ less."""
        own = (request.steps, request.guidance_scale, request.style, request.target or None, request.loop or None)
        alone = preset["tries"] == 1 and not preset["language_every"]
        if self.few is not None and alone and all(value is None for value in own):
            return few.Way(self.few, self.config.few_steps, 1.0)
        scale = self.config.guidance_scale if request.guidance_scale is None else request.guidance_scale
        return few.Way(self.head, request.steps or self.config.steps, scale)

    def _use_style(self, name: str | None, weight: float) -> None:
        if not name and not self.styles:
            return
        from backend.models.momug import style  # peft is not needed without one

        if name and name not in self.styles:
            packs = styles.installed(self.folder) if self.folder else {}
            if name not in packs:
                known = ", ".join(packs) or "none"
                raise BackendError("bad_request", f"There is no style pack called {name!r}.", f"Installed: {known}.")
            style.load(self.head, *packs[name])
            self.styles.add(name)
        style.use(self.head, name or None, weight)

    @property
    def longest(self) -> int:
        """Latents that the head sees at once."""
        return int(self.config.max_seconds * FPS) // STRIDE

    def _lengths(self, request: GenerateRequest, cache, mask: Tensor) -> tuple[list[int], list[str]]:
        """Frames of each sentence, and warnings; a length that is not given is the model's own."""
        if request.target and len(request.timeline) < 2:
            return [request.target.frames], []
        wanted = [seconds for _, seconds in request.timeline] or [request.seconds]
        warnings: list[str] = []
        if any(seconds is None for seconds in wanted):
            guesses, warnings = self._durations(cache, mask)
            wanted = [guess if given is None else given for given, guess in zip(wanted, guesses, strict=False)]
        frames = [asked.frames(seconds, self.config.min_seconds, self.config.max_seconds) for seconds in wanted]
        return shared(request.target.frames, wanted) if request.target else frames, warnings

    @torch.no_grad()
    def caption(self, motion: Motion, progress: Progress, cancelled: Cancelled) -> str:
        """One sentence about a canonical 30 fps motion; of one longer than the model's window, about its beginning.

        Of several that the language half writes, the one that holds best against what can be measured.
        """
        if self.loop is None:
            raise BackendError("bad_request", "These weights cannot caption: their language half is not trained.")

        def on_token(index: int) -> None:
            asked.stop_if(cancelled, "caption")
            progress("caption", index, 0)

        latents = self.encode(motion)
        shown = actions.shown(self.recogniser, latents)
        starts = actions.beginnings(shown, actions.BEGUN)
        written = self.loop.write_captions(latents[None], CAPTIONS, on_token, beginnings=starts)
        return choosing.truest(written, reading.beginning(motion, self.config.max_seconds), shown)

    @torch.no_grad()
    def encode(self, motion: Motion) -> Tensor:
        """Latents (L,C) of a canonical motion, at most ``max_seconds`` long."""
        frames = reading.window(motion, self.config.min_seconds, self.config.max_seconds)
        return self.codec.encode(torch.from_numpy(frames).to(self.device)[None])[0]

    def _prefix(self, ids: Tensor, mask: Tensor):
        return self.loop.prefix(ids, mask) if self.loop else text.text_states(self.language_model, ids, mask)

    def _durations(self, cache, mask: Tensor) -> tuple[list[float], list[str]]:
        """The seconds that the model thinks each sentence takes (the rows of ``mask``, the last one is empty)."""
        if self.loop is None:
            warning = f"No length was given: {FALLBACK_SECONDS:g} seconds were used."
            return [FALLBACK_SECONDS] * (len(mask) - 1), [warning]
        logits = self.loop.duration_logits(cache, mask)[:-1]
        cache.crop(-1)
        expected = (logits.softmax(-1).cpu() * torch.tensor(DURATION_DIGITS)).sum(-1).tolist()
        return [min(max(round(s, 1), self.config.min_seconds), self.config.max_seconds) for s in expected], []


def presets(config: MoMugConfig) -> list[dict]:
    """What the panel offers: steps, how many tries the best is chosen from (``choosing``), and every how many steps the
    language model sees the motion (0: never)."""
    fast = {"name": "fast", "label": "Fast", "steps": config.few_steps or config.steps, "tries": 1, "language_every": 0}
    best = {"name": "best", "label": f"Best of {TRIES}", "steps": config.steps, "tries": TRIES, "language_every": 0}
    full = {"name": "full", "label": "Full", "steps": config.steps, "tries": 1, "language_every": 1}
    return [fast, best, full] if config.lora_rank else [fast, best]


def save_checkpoint(model: MoMug, folder: Path, int8: bool = False) -> None:
    """Write config.json with hashes, codec, head and, when there is one, the language half as float16 safetensors.

    int8: the matrices of head and language half as 8-bit rows (:mod:`backend.weights`), half the size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.safetensors"):  # a first stage saved over a second one leaves nothing of it behind
        old.unlink()
    save_codec(model.codec, folder)
    weights.save(model.head.state_dict(), folder / "head.safetensors", int8)
    if model.loop is not None:
        weights.save(model.loop.trainable(), folder / "language.safetensors", int8)
    if model.shortcut:
        few.save(model.shortcut, folder, int8)
    if model.recogniser is not None:
        actions.save(model.recogniser, folder)
    config = model.config.to_dict()
    config |= {"presets": presets(model.config), "captions": model.loop is not None}
    config["sha256"] = {p.name: base.sha256_file(p) for p in sorted(folder.glob("*.safetensors"))}
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def load_checkpoint(folder: Path, device: str = "auto", precision: str = "auto") -> MoMug:
    """Load a MoMug checkpoint folder; see ``backend.models.load`` for arguments and errors."""
    folder = Path(folder)
    config, values = checkpoint.verified(folder, MoMugConfig.from_dict, _weights, ("codec.json",))
    # text files may change their line ends on the way here: what they say is compared, not their bytes
    if _read_json(folder / "codec.json") != values["codec"]:
        raise checkpoint.changed(folder, "codec.json")
    device = choose_device(device)
    dtype = choose_precision(precision, device)
    head = MotionHead(config)
    try:
        codec = load_codec(folder, "cpu")
        head.load_state_dict(weights.load(folder / "head.safetensors"))
    except (RuntimeError, TypeError, ValueError, SafetensorError) as error:
        raise BackendError(
            "checkpoint_damaged", f"The weights of {folder.name} do not fit its config.json.", checkpoint.HINT
        ) from error
    codec = codec.to(device)
    language_model, tokenizer = base.load_for_serving(device=device, dtype=dtype)
    loop = None
    if config.lora_rank:
        loop = LanguageLoop(config, language_model, tokenizer)
        load_loop(loop, folder / "language.safetensors")
        loop.requires_grad_(False).eval().to(device)
    head = head.requires_grad_(False).eval().to(device)
    shortcut = few.load(folder, device) if config.few_steps else None
    recogniser = actions.load(folder, device)
    return MoMug(config, codec, head, language_model, tokenizer, loop, folder, recogniser, shortcut)


def load_loop(loop: LanguageLoop, path: Path) -> None:
    try:
        stored, wanted = weights.load(path), loop.trainable()
    except (ValueError, SafetensorError) as error:
        raise BackendError(
            "checkpoint_damaged", f"The weights in {path.name} cannot be read.", checkpoint.HINT
        ) from error
    if {k: v.shape for k, v in stored.items()} != {k: v.shape for k, v in wanted.items()}:
        raise BackendError(
            "checkpoint_damaged", f"The weights in {path.name} do not fit their config.json.", checkpoint.HINT
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(stored[name])


def _weights(config: MoMugConfig) -> list[str]:
    found = ["codec.safetensors", "head.safetensors"]
    return found + ["language.safetensors"] * bool(config.lora_rank) + [few.FILE] * bool(config.few_steps)


def _read_json(path: Path):
    """What a JSON file says, or None when it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
