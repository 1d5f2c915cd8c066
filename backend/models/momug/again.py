"""A second round for motions that miss what their sentence says: asked for in other words, or one action at a time."""

from collections.abc import Callable

import torch

from backend.codecs.causal_vae import STRIDE
from backend.language import text
from backend.models import choosing, wordings
from backend.models.momug import windows
from backend.models.momug.denoiser import Denoiser
from backend.models.momug.sampling import ddim, seeded_noise
from backend.motion import features
from backend.motion.skeleton import Motion
from backend.protocol import FPS

TRIES = 4  # of each other way of asking


def improve(
    model,
    sentences: list[str],
    seeds: list[int],
    tried: list[list[Motion]],
    steps: int,
    scale: float,
    on_step: Callable[[int], None],
) -> None:
    """Append further tries to those of ``tried`` (one list for each sentence and seed, motions of one length) of which
    the best still misses something that can be measured."""
    for way in range(wordings.MOST):
        missing = [i for i, motions in enumerate(tried) if choosing.lacking(sentences[i], motions)]
        for sentence in dict.fromkeys(sentences[i] for i in missing):
            ways = wordings.others(sentence)
            rows = [i for i in missing if sentences[i] == sentence]
            if len(ways) <= way or not rows:
                continue
            for frames in dict.fromkeys(tried[i][0].frames for i in rows):
                same = [i for i in rows if tried[i][0].frames == frames]
                made = _make(model, ways[way], frames, [seeds[i] for i in same], steps, scale, on_step)
                for i, motions in zip(same, made, strict=True):
                    tried[i] += motions


def _make(model, sentences, frames, seeds, steps, scale, on_step) -> list[list[Motion]]:
    """``TRIES`` motions of ``frames`` frames for each seed, in which the sentences follow one another.

    The noise is that of the first round: only the words differ.
    """
    ids, mask = (x.to(model.device) for x in text.tokenise(model.tokenizer, [*sentences, ""]))
    states, cache = model._prefix(ids, mask)
    shares = [1.0]
    if len(sentences) > 1:
        shares, _ = model._durations(cache, mask)
    total = -(-frames // STRIDE)
    lengths = wordings.shared(total, shares, round(model.config.min_seconds * FPS) // STRIDE)
    noise = torch.cat([seeded_noise(seed, TRIES, total, model.config.codec.latent) for seed in seeds])
    plan = windows.plan(lengths, model.longest)
    predict = Denoiser(model, states, mask, cache, plan, len(noise), scale, {"language_every": 0})
    latents = ddim(predict, noise.to(model.device), model.alpha_bar, steps, on_step=on_step)
    made = [features.decode(row[:frames]) for row in model.codec.decode(latents).cpu().numpy()]
    return [made[i : i + TRIES] for i in range(0, len(made), TRIES)]
