"""Motion tokens one after the other, under a grammar that leaves only what an answer may hold."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from backend.models.motiongpt.network import MotionTokens, Prefix

OPEN = -1  # tokens of an answer whose length is the model's own choice


class AnswerGrammar:
    """An answer is ``tokens`` tokens of codes, then <eom>; of an open one <eom> may come after ``least`` tokens."""

    def __init__(self, codes: int, tokens: int, least: int = 1):
        self.codes, self.tokens, self.least = codes, tokens, least

    def __call__(self, written: int, scores: Tensor) -> Tensor:
        """Scores (B,codes + 3) of the code head after ``written`` tokens, with what may not follow ruled out."""
        scores = scores.clone()
        scores[:, self.codes + 1 :] = -torch.inf
        if self.tokens == OPEN:
            if written < self.least:
                scores[:, self.codes] = -torch.inf
        elif written < self.tokens:
            scores[:, self.codes] = -torch.inf
        else:
            scores[:, : self.codes] = -torch.inf
        return scores


@dataclass
class Ask:
    """One request as the model reads it, for any number of rows.

    prefix: the words, in two rows where there is guidance: with the user's sentence and without; tokens: how many, or
    OPEN; keys: (codec step, entries (D,)) of given poses in the order of time; before: entries (patch*D,), or
    (rows,patch*D), of the token that the motion goes on from; scale: of the guidance.
    """

    prefix: Prefix
    tokens: int
    keys: list[tuple[int, Tensor]]
    before: Tensor | None = None
    scale: float = 1.0


@dataclass
class Settings:
    """temperature: of the first code of a step; finer_temperature: of those after it, lower, since what they leave open
    becomes jitter."""

    temperature: float
    top_p: float
    finer_temperature: float = 1.0


class StaticCache:
    """Keys and values in buffers of one shape for the whole motion; ``update`` is what transformers' layers call."""

    def __init__(self, prefix: Prefix, rows: int, room: int):
        layers, _, heads, words, width = prefix.keys.shape
        shape = (layers, rows, heads, words + room, width)
        self.keys, self.values = (prefix.keys.new_zeros(shape) for _ in range(2))
        self.keys[:, :, :, :words], self.values[:, :, :, :words] = prefix.keys, prefix.values
        self.used = words
        self.mask = torch.zeros(rows, 1, words + room, dtype=torch.bool, device=prefix.mask.device)
        self.mask[:, 0, :words] = prefix.mask

    def update(self, keys: Tensor, values: Tensor, layer: int, *_args, **_more) -> tuple[Tensor, Tensor]:
        end = self.used + keys.shape[2]
        self.keys[layer, :, :, self.used : end] = keys
        self.values[layer, :, :, self.used : end] = values
        return self.keys[layer], self.values[layer]

    def taken(self, count: int) -> Tensor:
        """Make room for ``count`` tokens: the mask (B,count,S) by which each sees those before it."""
        mask = self.mask.repeat(1, count, 1)
        for i in range(count):
            mask[:, i, self.used : self.used + i + 1] = True
        self.mask[:, 0, self.used : self.used + count] = True
        return mask


@torch.no_grad()
def write(
    model: MotionTokens,
    ask: Ask,
    seeds: list[int],
    limit: int,
    settings: Settings,
    least: int = 1,
    constrained: bool = True,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One motion a seed, token by token: (what the code head says (B,), codes (B,patch*levels)), ``limit`` + 1 of them.

    Rows that have ended go on, without meaning. Unconstrained, the code head says what it likes, <eom> and others
    (ids from ``codes`` on) among it.
    """
    config, device = model.config, model.special.device
    rows = len(seeds)
    generators = [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]
    guided = len(ask.prefix.mask) > 1
    prefix = ask.prefix.rows([0] * rows + [1] * rows if guided else [0] * rows)
    total = len(prefix.mask)
    cache = StaticCache(prefix, total, len(ask.keys) + limit + 1)
    position = prefix.mask.sum(1)
    if ask.keys:
        vectors = torch.stack([vector for _, vector in ask.keys]).to(device)
        x = model.embed_keys(vectors, torch.tensor([step for step, _ in ask.keys], device=device))
        count = len(ask.keys)
        at = position[:, None] + torch.arange(count, device=device)
        model.run(x.expand(total, -1, -1), at, cache.taken(count), cache)
        cache.used += count
        position = position + count
    grammar = AnswerGrammar(config.codes, ask.tokens, least) if constrained else None
    before = torch.zeros(rows, config.patch * config.code_width, device=device)
    if ask.before is not None:
        before[:] = ask.before.to(device)
    for number in range(limit + 1):
        begin = number * config.patch
        due = next(((at, vector) for at, vector in ask.keys if at >= begin), None)
        goal = torch.zeros(config.code_width, device=device) if due is None else due[1].to(device)
        x = model.embed_tokens(
            before,
            torch.full((rows,), number == 0, device=device),
            torch.full((rows,), number, device=device),
            torch.full((rows,), OPEN if ask.tokens == OPEN else max(ask.tokens - number, 0), device=device),
            goal.expand(rows, -1),
            torch.full((rows,), -1 if due is None else due[0] - begin, device=device),
        )
        x = x.repeat(1 + guided, 1)[:, None]
        hidden = model.run(x, position[:, None], cache.taken(1), cache)[:, 0]
        cache.used += 1
        position = position + 1
        state, logits = model.first_logits(hidden)
        if guided:
            with_text, without = logits.chunk(2)
            logits = without + ask.scale * (with_text - without)
            state = state[:rows]
        tokens = draw(grammar(number, logits) if grammar else logits, settings.temperature, settings.top_p, generators)
        codes = [tokens.clamp(max=config.codes - 1)]
        for head in model.finer:
            known = torch.stack(codes, -1)
            heat = settings.finer_temperature if len(codes) % config.levels else settings.temperature
            codes.append(draw(head(state, model.vectors(known)), heat, settings.top_p, generators))
        known = torch.stack(codes, -1)
        before = model.vectors(known)
        yield tokens, known


def draw(scores: Tensor, temperature: float, top_p: float, generators: list[torch.Generator]) -> Tensor:
    """A token (B,) of each row's scores (B,V), among the likeliest that make up ``top_p`` of the chances.

    Each row has its own generator: a motion depends on its seed alone.
    """
    chances, order = (scores.float().cpu() / temperature).softmax(-1).sort(-1, descending=True)
    chances = torch.where(chances.cumsum(-1) - chances < top_p, chances, 0.0)
    picks = [torch.multinomial(row, 1, generator=generator) for row, generator in zip(chances, generators, strict=True)]
    return order.gather(1, torch.stack(picks))[:, 0].to(scores.device)
