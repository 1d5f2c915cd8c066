"""MoMug's further tries at sentences that the first ones miss, see ``backend.models.again``."""

from collections.abc import Callable

import torch

from backend.codecs.causal_vae import STRIDE
from backend.language import text
from backend.models import decoding, wordings
from backend.models.again import TRIES, Make
from backend.models.momug import windows
from backend.models.momug.denoiser import Denoiser
from backend.models.momug.few import Way
from backend.models.momug.sampling import ddim, seeded_noise
from backend.motion import features
from backend.motion.skeleton import Motion
from backend.protocol import FPS


def further(model, way: Way, on_step: Callable[[int], None], stop: Callable[[], None]) -> Make:
    """All seeds go through the model together. The noise is that of the first round: only the words differ."""

    def make(sentences: list[str], frames: int, seeds: list[int]) -> list[list[Motion]]:
        ids, mask = (x.to(model.device) for x in text.tokenise(model.tokenizer, [*sentences, ""]))
        states, cache = model._prefix(ids, mask)
        shares = [1.0]
        if len(sentences) > 1:
            shares, _ = model._durations(cache, mask)
        total = -(-frames // STRIDE)
        lengths = wordings.shared(total, shares, round(model.config.min_seconds * FPS) // STRIDE)
        noise = torch.cat([seeded_noise(seed, TRIES, total, model.config.codec.latent) for seed in seeds])
        plan = windows.plan(lengths, model.longest)
        predict = Denoiser(model, states, mask, cache, plan, len(noise), way)
        predict.stop = stop
        latents = ddim(predict, noise.to(model.device), model.alpha_bar, way.steps, on_step=on_step)
        made = [features.decode(row[:frames]) for row in decoding.decode(model.codec, latents, stop).cpu().numpy()]
        return [made[i : i + TRIES] for i in range(0, len(made), TRIES)]

    return make
