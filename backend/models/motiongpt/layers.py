"""The language model's layers one by one, whichever class it is: our own, which is served, or transformers', which
trains."""

import torch
from torch import Tensor

from backend.language import llama

Turns = tuple[Tensor, Tensor]


def turns(language_model, x: Tensor, positions: Tensor) -> Turns:
    """Cosines and sines of the rotary embedding of positions (B,S), each (B,1,S,head width)."""
    model = language_model.model
    if isinstance(language_model, llama.Llama):
        return model.angles(positions, x.dtype)
    cos, sin = model.rotary_emb(x, positions)
    return cos[:, None], sin[:, None]


def through(layer, x: Tensor, turned: Turns, mask: Tensor, cache, number: int) -> Tensor:
    """Hidden states (B,Q,H) through one layer, ``number`` in ``cache``; mask (B,1,Q,S): bool, or what is added."""
    if isinstance(layer, llama.Block):
        return layer(x, *turned, mask, cache, number)
    layer.self_attn.layer_idx = number
    cos, sin = turned
    return layer(x, attention_mask=mask, position_embeddings=(cos[:, 0], sin[:, 0]), past_key_values=cache)


def rotated(x: Tensor, turned: Turns) -> Tensor:
    """Keys (B,heads,S,head width) with their positions in them."""
    first, second = x.chunk(2, -1)
    return x * turned[0] + torch.cat([-second, first], -1) * turned[1]


def held(cache, number: int) -> tuple[Tensor, Tensor]:
    """Keys and values of one layer in a cache."""
    layer = cache.layers[number]
    return layer if isinstance(layer, tuple) else (layer.keys, layer.values)
