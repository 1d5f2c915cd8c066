"""The text half of the mixture: the base language model itself, unchanged.

Text and motion meet in shared causal attention. Since attention only looks back, the two halves need not run side by
side: whichever comes later finds the keys and values of the other in its cache. So text is the plain language model,
byte for byte, and motion is an expert of its own (``expert``) that leaves keys and values of the same shape.
"""

import torch
from torch import Tensor

from backend.language.llama import Cache
from backend.language.text import new_cache

CUE = "Caption:"  # what the language model reads before it describes a motion


@torch.no_grad()
def text_keys(language_model, ids: Tensor, mask: Tensor) -> Tensor:
    """Keys and values of sentences ids (B,S) with mask (B,S): (layers,2,B,kv_heads,S,head_width)."""
    cache = new_cache(language_model)
    language_model.model(input_ids=ids, attention_mask=mask.long(), past_key_values=cache, use_cache=True)
    return torch.stack([torch.stack(_keys_and_values(layer)) for layer in cache.layers])


def read_after(language_model, ids: Tensor, past: Tensor, weight: Tensor, begin: Tensor) -> tuple[Tensor, Cache]:
    """The language model reads ids (B,S) after a context that may hold motion; gradients flow into the context alone.

    past (layers,2,B,kv_heads,P,head_width); weight (B,P): logarithm of how much each of it counts, 0 for text and -inf
    for what is not there; begin (B,): position of the first token.
    Returns logits (B,S,V) float32 and the cache, which holds ``past`` and the new tokens.
    """
    cache = new_cache(language_model)
    for index, (keys, values) in enumerate(past):
        cache.update(keys, values, index)
    return read_on(language_model, ids, cache, weight, begin), cache


def read_on(language_model, ids: Tensor, cache: Cache, weight: Tensor, begin: Tensor) -> Tensor:
    """As :func:`read_after`, for a cache that exists already; the cache grows by S tokens."""
    count, length = ids.shape
    own = torch.full((length, length), -torch.inf, device=ids.device).triu(1).expand(count, -1, -1)
    bias = torch.cat([weight[:, None].expand(-1, length, -1), own], 2)
    hidden = language_model.model(
        input_ids=ids,
        position_ids=begin[:, None] + torch.arange(length, device=ids.device),
        attention_mask=bias[:, None].to(language_model.lm_head.weight.dtype),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return language_model.lm_head(hidden).float()


def rope_theta(language_model) -> float:
    """The base of the model's rotary positions, which motion shares."""
    about = language_model.config
    return about.rope_parameters["rope_theta"] if hasattr(about, "rope_parameters") else about.rope_theta


def _keys_and_values(layer) -> tuple[Tensor, Tensor]:
    return layer if isinstance(layer, tuple) else (layer.keys, layer.values)
