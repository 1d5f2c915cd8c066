"""The frozen half: what the language model makes of words before a motion, and says after it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backend.language import text as language
from backend.models.motiongpt import layers as llama
from backend.models.motiongpt.config import MotionGPTConfig
from backend.models.motiongpt.network import MotionTokens, Prefix, instruction, templates

KEPT = 64  # texts whose states are kept


class TextHalf:
    """The frozen language model around the motion layers: prefixes, and words after motion."""

    def __init__(self, config: MotionGPTConfig, language_model, tokenizer):
        self.config, self.language_model, self.tokenizer = config, language_model, tokenizer
        self.device = language_model.lm_head.weight.device
        self.known: dict[str, Tensor] = {}

    def ids(self, text: str, begin: bool = True) -> list[int]:
        bos = [self.tokenizer.bos_token_id] if begin else []
        return bos + self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def words(self, ids: Tensor, positions: Tensor, layers: slice, x: Tensor | None = None, cache=None) -> Tensor:
        """Words (B,S), or what earlier layers made of them, x (B,S,H), through some of the frozen layers.

        cache: of those layers, with the words before; counted from the first of them.
        """
        model = self.language_model.model
        x = model.embed_tokens(ids) if x is None else x
        cache = self.new_cache() if cache is None else cache
        turned = llama.turns(self.language_model, x, positions)
        past = llama.held(cache, 0)[0].shape[2] if len(cache.layers) else 0
        mask = torch.ones(x.shape[1], past + x.shape[1], dtype=torch.bool, device=x.device).tril(past)[None, None]
        for number, layer in enumerate(model.layers[layers]):
            x = llama.through(layer, x, turned, mask.expand(len(x), -1, -1, -1), cache, number)
        return x

    @torch.no_grad()
    def states(self, text: str) -> Tensor:
        """What the frozen language model makes of a text (S,H), see ``language.text.text_states``."""
        if text not in self.known:
            ids, mask = language.tokenise(self.tokenizer, [text])
            states, _ = language.text_states(self.language_model, ids.to(self.device), mask.to(self.device))
            self.known = dict(list(self.known.items())[-KEPT:]) | {text: states[0, 1:]}  # the first one is BOS
        return self.known[text]

    def told(self, text: str, keys: bool, states: Tensor | None = None) -> Tensor:
        """The states (S,H) of a whole request: the instruction, then the user's sentence (or its ``states``)."""
        parts = [self.states(instruction(text, keys))]
        if text:
            parts.append(self.states(text) if states is None else states.to(parts[0]))
        return torch.cat(parts)

    @torch.no_grad()
    def before_motion(self, text: str, rows: int) -> Prefix:
        """A fixed text in front of a motion that is to be described, read by the layers themselves."""
        ids = torch.tensor([self.ids(text)], device=self.device)
        cache, positions = self.new_cache(), torch.arange(ids.shape[1], device=ids.device)[None]
        self.words(ids, positions, slice(0, self.config.last_layer), cache=cache)
        kept = [llama.held(cache, number) for number in range(self.config.first_layer, self.config.last_layer)]
        keys, values = (torch.stack(parts) for parts in zip(*kept, strict=True))
        return Prefix(keys, values, torch.ones_like(ids, dtype=torch.bool)).rows([0] * rows)

    def new_cache(self):
        return language.new_cache(self.language_model)

    def caption_loss(self, model: MotionTokens, vectors: list[Tensor], captions: list[str]) -> Tensor:
        """Next-token cross-entropy of the captions of motions, given as entries (n,patch*D)."""
        prompt, cue = templates()["tokens"]["caption"], templates()["tokens"]["caption_cue"]
        before, cue_ids = self.ids(prompt), self.ids(cue, begin=False)
        rows = [cue_ids + self.ids(" " + c, begin=False) + [self.tokenizer.eos_token_id] for c in captions]
        device = self.device
        lengths = torch.tensor([len(v) for v in vectors], device=device)
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.tokenizer.eos_token_id)
        valid = torch.zeros(len(rows), longest, dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            valid[i, : len(row)] = True
        ids, valid = ids.to(device), valid.to(device)
        prefix = self.before_motion(prompt, len(rows))
        context = self.see(model, prefix, nn.utils.rnn.pad_sequence(vectors, batch_first=True), lengths)
        logits = self.say(model, ids[:, :-1], context, before)
        inside = torch.arange(longest, device=device) >= len(cue_ids)
        wanted = torch.where(valid & inside, ids, -100)[:, 1:]
        return nn.functional.cross_entropy(logits.float().flatten(0, 1), wanted.flatten())

    def see(self, model: MotionTokens, prefix: Prefix, vectors: Tensor, lengths: Tensor) -> "Seen":
        """What words can look at after a motion (B,n,patch*D), of which ``lengths`` (B,) tokens count, and a prefix."""
        count, longest = vectors.shape[:2]
        at = torch.arange(longest, device=vectors.device)
        steps = model.embed(vectors) + model.place(model.clock(at * self.config.patch))
        som, eom = (model.special[i].expand(count, 1, -1) for i in (0, 1))
        x = torch.cat([som, steps, eom], 1)
        words = prefix.mask.shape[1]
        positions = (words + torch.arange(longest + 2, device=vectors.device)).expand(count, -1).clone()
        positions[:, -1] = words + 1 + lengths
        seen = torch.arange(longest + 2, device=vectors.device) < lengths[:, None] + 1
        seen[:, -1] = True
        causal = torch.ones(longest + 2, longest + 2, dtype=torch.bool, device=vectors.device).tril()
        mask = torch.cat([prefix.mask[:, None].expand(-1, longest + 2, -1), causal & seen[:, None]], 2)
        cache = prefix.into(self.new_cache())
        model.run(x, positions, mask, cache)
        return Seen(cache, torch.cat([prefix.mask, seen], 1), words + lengths + 2)

    def say(
        self, model: MotionTokens, ids: Tensor, seen: "Seen", before: list[int], caches: "WordCaches | None" = None
    ) -> Tensor:
        """Logits (B,W,V) after words (B,W) that follow a motion; below and above the motion layers words see words.

        before: ids of the words before the motion; caches: to be asked again for the words that follow, with no words
        ``before``.
        """
        low, high = (caches.low, caches.high) if caches else (None, None)
        count, longest = ids.shape
        device, first, last = ids.device, self.config.first_layer, self.config.last_layer
        prompt = torch.tensor(before, dtype=torch.int64, device=device).expand(count, -1)
        words = seen.next[:, None] + torch.arange(longest, device=device)
        positions = torch.cat([torch.arange(len(before), device=device).expand(count, -1), words], 1)
        with torch.no_grad():
            x = self.words(torch.cat([prompt, ids], 1), positions, slice(0, first), cache=low)
            front = x[:, : len(before)]
            if before:
                front = self.words(prompt, positions[:, : len(before)], slice(first, last), front)
        causal = torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
        mask = torch.cat([seen.mask[:, None].expand(-1, longest, -1), causal.expand(count, -1, -1)], 2)
        x = model.run(x[:, len(before) :], words, mask, seen.cache)
        x = torch.cat([front, x], 1)
        x = self.words(ids, positions, slice(last, None), x, high)[:, len(before) :]
        return self.language_model.lm_head(self.language_model.model.norm(x))


@dataclass
class Seen:
    """A motion that words can follow: its keys and values in the motion layers, mask (B,S), the next position (B,)."""

    cache: object
    mask: Tensor
    next: Tensor

    def after(self, words: int) -> "Seen":
        """What can be looked at after ``words`` more words, whose keys and values the cache has by now."""
        return Seen(self.cache, nn.functional.pad(self.mask, (0, words), value=True), self.next + words)


class WordCaches:
    """Keys and values of words below and above the motion layers."""

    def __init__(self, text: TextHalf):
        self.low, self.high = text.new_cache(), text.new_cache()


@torch.no_grad()
def hidden_size_of(language_model, tokenizer, layer: int) -> float:
    """Standard deviation of the plain words' hidden states that enter ``layer``: motion tokens begin as large."""
    words = "a person walks forward, then turns left and sits down on a chair"
    ids = tokenizer(words, return_tensors="pt")["input_ids"]
    states = language_model.model(ids.to(language_model.device), output_hidden_states=True).hidden_states[layer]
    return float(states[0, 2:].float().std())
