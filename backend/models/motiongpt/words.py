"""Words about a motion: what the language model says after it has read its codes."""

from collections.abc import Callable

import torch
from torch import Tensor

from backend.language import writing
from backend.models.motiongpt.network import MotionTokens, templates
from backend.models.motiongpt.text_half import TextHalf, WordCaches

TEMPERATURE = 0.7
LONGEST = 48  # words
CAPTIONS = 8  # sentences of which the truest is told


@torch.no_grad()
def write_captions(
    text: TextHalf, model: MotionTokens, vectors: Tensor, beginnings: list[str], on_token: Callable[[int], None]
) -> list[tuple[str, float]]:
    """``CAPTIONS`` sentences about one motion, given as entries (n,patch*D), each with its mean log-likelihood a token;
    the last ones have ``beginnings``."""
    sentences = templates()["tokens"]
    device = vectors.device
    prefix = text.before_motion(sentences["caption"], CAPTIONS)
    seen = text.see(
        model, prefix, vectors.expand(CAPTIONS, -1, -1), torch.tensor([len(vectors)] * CAPTIONS, device=device)
    )
    caches = WordCaches(text)
    ids = torch.tensor([text.ids(sentences["caption_cue"], begin=False)] * CAPTIONS, device=device)
    logits = text.say(model, ids, seen, text.ids(sentences["caption"]), caches)[:, -1].float()

    def following(tokens: Tensor) -> Tensor:
        nonlocal seen, ids
        seen = seen.after(ids.shape[1])
        ids = tokens
        return text.say(model, ids, seen, [], caches)[:, -1].float()

    return writing.write(logits, following, text.tokenizer, on_token, LONGEST, TEMPERATURE, beginnings)
