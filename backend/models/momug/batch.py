"""Several sentences at once: rows of one batch, each with its own sentence, length and seed.

The decoder is causal and attention is masked, so that a row does not know how long the others are.
"""

import time

import torch
from torch import Tensor

from backend.codecs.causal_vae import STRIDE
from backend.language import text
from backend.models import again, asked, choosing, decoding
from backend.models.interface import Cancelled, GenerateRequest, GenerateResult, Progress, alike
from backend.models.momug.further import further
from backend.models.momug.sampling import ddim, guided, seeded_noise
from backend.motion import features


@torch.no_grad()
def generate(model, requests: list[GenerateRequest], progress: Progress, cancelled: Cancelled) -> list[GenerateResult]:
    """One motion for each of ``requests``, which are all ``alike``. Raises BackendError for all of them together.

    timings: each row's share, the batch's seconds divided by its rows.
    """
    if len({alike(request) for request in requests}) != 1 or alike(requests[0]) is None:
        raise ValueError("these requests cannot go through the model together")
    began = time.perf_counter()
    first, count = requests[0], len(requests)
    preset = asked.preset(model.presets, first.preset or model.config.default_preset)
    way = model.way(first, preset)
    model._use_style(first.style, first.style_weight)
    progress("text", 0, 1)
    ids, mask = (x.to(model.device) for x in text.tokenise(model.tokenizer, [*(r.prompt for r in requests), ""]))
    states, cache = model._prefix(ids, mask)
    guesses, warnings = [None] * count, []
    if any(request.seconds is None for request in requests):
        guesses, warnings = model._durations(cache, mask)
    seconds = [guess if r.seconds is None else r.seconds for r, guess in zip(requests, guesses, strict=True)]
    frames = [asked.frames(s, model.config.min_seconds, model.config.max_seconds) for s in seconds]
    sizes = [-(-f // STRIDE) for f in frames]
    lengths = torch.tensor(sizes, device=model.device)
    tries = preset["tries"]  # rows are request by request, try by try
    noise = torch.zeros(count, tries, max(sizes), model.config.codec.latent)
    for row, (request, size) in enumerate(zip(requests, sizes, strict=True)):
        noise[row, :, :size] = seeded_noise(request.seed, tries, size, noise.shape[-1])
    noise, lengths = noise.flatten(0, 1), lengths.repeat_interleave(tries)
    encoded = time.perf_counter()

    prompts = torch.arange(count, device=model.device).repeat_interleave(tries)
    rows = torch.cat([prompts, torch.full_like(prompts, count)][: way.reads])
    words, word_mask, prefix_mask = states[rows, 1:], mask[rows, 1:], mask[rows]
    every = preset["language_every"] if model.loop else 0
    if every:
        cache.batch_select_indices(rows)
    hidden, step = None, 0

    def predict(x_t: Tensor, t: int) -> Tensor:
        nonlocal hidden
        both, twice = x_t.repeat(way.reads, 1, 1), lengths.repeat(way.reads)
        times = torch.full((len(both),), t, device=x_t.device)
        if every and step % every == 0:
            hidden = model.loop.motion_states(both, times, twice, cache, prefix_mask)
            cache.crop(-(both.shape[1] + 2))
        x0 = way.head(both, times, twice, words, word_mask, hidden)
        return guided(*x0.chunk(2), way.scale, lengths) if way.reads == 2 else x0

    def stop() -> None:
        asked.stop_if(cancelled)

    def on_step(index: int, phase: str = "denoise") -> None:
        nonlocal step
        step = index
        stop()
        progress(phase, index, way.steps)

    latents = ddim(predict, noise.to(model.device), model.alpha_bar, way.steps, on_step=on_step)
    denoised = time.perf_counter()
    decoded = decoding.decode(model.codec, latents, stop).cpu().numpy()
    tried = [
        [features.decode(row[:total]) for row in decoded[index * tries : (index + 1) * tries]]
        for index, total in enumerate(frames)
    ]
    score = choosing.scorer(stop)
    if tries > 1:
        sentences, seeds = [r.prompt for r in requests], [r.seed for r in requests]
        make = further(model, way, lambda index: on_step(index, "again"), stop)
        again.improve(sentences, seeds, tried, make, score)
    results = []
    for request, motions in zip(requests, tried, strict=True):
        (best,), unmet = choosing.choose([request.prompt], [0], [motions], score)
        told = [*(warnings if request.seconds is None else []), *unmet]
        results.append(GenerateResult([motions[best]], [request.seed], {}, told))
    done = time.perf_counter()
    spans = {"text": encoded - began, "denoise": denoised - encoded, "decode": done - denoised}
    for result in results:
        result.timings = {phase: span / count for phase, span in spans.items()}
    return results
