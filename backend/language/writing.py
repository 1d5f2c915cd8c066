"""Several sentences from one language model at once: the likeliest, and others that are drawn."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

TEMPERATURE = 0.8  # of the sentences that are drawn
ENOUGH = 0.7  # share of the sentences that has to end: the longest would take as long again, and are seldom the best


def write(
    logits: Tensor,
    following: Callable[[Tensor], Tensor],
    tokenizer,
    on_token: Callable[[int], None] = lambda index: None,
    longest: int = 48,
    temperature: float = TEMPERATURE,
    beginnings: Sequence[str] = (),
) -> list[tuple[str, float]]:
    """Sentences, each with its mean log-likelihood a token.

    logits (N,V): of the first token of each; following: tokens (N,1) -> the logits (N,V) after them. The first sentence
    is decoded greedily, the others are drawn (the same for the same logits); none says three words in a row twice.
    Those that still go on when ``ENOUGH`` of them have ended are left out. beginnings: of the last
    sentences, one each; how likely they are does not count.
    """
    generator = torch.Generator().manual_seed(0)
    said: list[list[int]] = [[] for _ in logits]
    likelihood, ended = torch.zeros(len(logits)), torch.zeros(len(logits), dtype=torch.bool)
    given = [[]] * (len(logits) - len(beginnings))
    given += [tokenizer(words, add_special_tokens=False)["input_ids"] for words in beginnings]
    for index in range(longest):
        on_token(index)
        for row, words in enumerate(said):
            for i in range(len(words) - 2):
                if words[i : i + 2] == words[-2:]:
                    logits[row, words[i + 2]] = -torch.inf
        tokens = logits.argmax(-1).cpu()
        if len(said) > 1:
            chances = (logits[1:] / temperature).softmax(-1).cpu()
            tokens[1:] = torch.multinomial(chances, 1, generator=generator)[:, 0]
        for row, start in enumerate(given):
            if index < len(start):
                tokens[row] = start[index]
        free = torch.tensor([index >= len(start) for start in given])
        found = logits.log_softmax(-1).cpu().gather(1, tokens[:, None])[:, 0]
        likelihood += torch.where(free & ~ended, found, 0.0)
        ended |= tokens == tokenizer.eos_token_id
        if ended.sum() >= ENOUGH * len(said):
            break
        for row, token in enumerate(tokens.tolist()):
            if not ended[row]:
                said[row].append(token)
        logits = following(tokens[:, None].to(logits.device))
    lengths = torch.tensor([len(words) + 1 - len(start) for words, start in zip(said, given, strict=True)])
    sentences = [tokenizer.decode(words).strip() for words in said]
    written = list(zip(sentences, (likelihood / lengths).tolist(), strict=True))
    return [row for row, whole in zip(written, ended.tolist(), strict=True) if whole] or written
