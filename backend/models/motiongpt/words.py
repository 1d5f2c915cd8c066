"""Words about a motion: what the language model says after it has read its codes."""

from collections.abc import Callable

import torch
from torch import Tensor

from backend.models.motiongpt.network import MotionTokens, templates
from backend.models.motiongpt.text_half import TextHalf, WordCaches

TEMPERATURE = 0.7
LONGEST = 48  # words


@torch.no_grad()
def write_captions(
    text: TextHalf, model: MotionTokens, vectors: Tensor, count: int, on_token: Callable[[int], None]
) -> list[tuple[str, float]]:
    """``count`` sentences about one motion, given as entries (n,patch*D), each with its mean log-likelihood a token.

    The first is decoded greedily, the others are drawn (the same for the same motion); none repeats a three-word run.
    """
    generator = torch.Generator().manual_seed(0)
    sentences = templates()["tokens"]
    end, device = text.tokenizer.eos_token_id, vectors.device
    prefix = text.before_motion(sentences["caption"], count)
    seen = text.see(model, prefix, vectors.expand(count, -1, -1), torch.tensor([len(vectors)] * count, device=device))
    caches = WordCaches(text)
    ids = torch.tensor([text.ids(sentences["caption_cue"], begin=False)] * count, device=device)
    logits = text.say(model, ids, seen, text.ids(sentences["caption"]), caches)[:, -1].float()
    said: list[list[int]] = [[] for _ in range(count)]
    likelihood, ended = torch.zeros(count), torch.zeros(count, dtype=torch.bool)
    for index in range(LONGEST):
        on_token(index)
        for row, words in enumerate(said):
            for i in range(len(words) - 2):
                if words[i : i + 2] == words[-2:]:
                    logits[row, words[i + 2]] = -torch.inf
        tokens = logits.argmax(-1).cpu()
        if count > 1:
            tokens[1:] = torch.multinomial((logits[1:] / TEMPERATURE).softmax(-1).cpu(), 1, generator=generator)[:, 0]
        found = logits.log_softmax(-1).cpu().gather(1, tokens[:, None])[:, 0]
        likelihood += torch.where(ended, 0.0, found)
        ended |= tokens == end
        if ended.all():
            break
        for row, token in enumerate(tokens.tolist()):
            if not ended[row]:
                said[row].append(token)
        seen = seen.after(ids.shape[1])
        ids = tokens[:, None].to(device)
        logits = text.say(model, ids, seen, [], caches)[:, -1].float()
    return [
        (text.tokenizer.decode(words).strip(), float(total) / (len(words) + 1))
        for words, total in zip(said, likelihood, strict=True)
    ]
