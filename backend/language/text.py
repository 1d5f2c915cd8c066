"""What the frozen language model makes of a sentence: hidden states for the motion head, and keys/values for reuse."""

import torch
from torch import Tensor

from backend.language.llama import Cache, Llama

TEXT_LAYERS = (12, 18, 24)  # averaged: the middle of the network carries meaning better than its last layer


def tokenise(tokenizer, texts: list[str], length: int = 96) -> tuple[Tensor, Tensor]:
    """Sentences to ids (B,S) and mask (B,S), right-padded, each beginning with BOS, at most ``length`` tokens long."""
    bos = tokenizer.bos_token_id
    rows = [[bos] + tokenizer(text, add_special_tokens=False)["input_ids"][: length - 1] for text in texts]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), bos)
    mask = torch.zeros((len(rows), longest), dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = True
    return ids, mask


@torch.no_grad()
def text_states(language_model, ids: Tensor, mask: Tensor) -> tuple[Tensor, Cache]:
    """Mean of the hidden states of ``TEXT_LAYERS`` (B,S,hidden) float32, and the prefix' keys and values.

    Position 0 (BOS) is an attention sink of huge norm: users of the states mask it out.
    """
    cache = new_cache(language_model)
    out = language_model.model(
        input_ids=ids,
        attention_mask=mask.long(),
        past_key_values=cache,
        use_cache=True,
        output_hidden_states=True,
    )
    states = torch.stack([out.hidden_states[layer].float() for layer in TEXT_LAYERS]).mean(0)
    return states, cache


def new_cache(language_model) -> Cache:
    """An empty cache for keys and values of ``language_model``; transformers' DynamicCache for a model of theirs."""
    if isinstance(language_model, Llama):
        return Cache()
    from transformers import DynamicCache  # here, because it takes long and a served model does without

    return DynamicCache()
