"""The language model in MoMug's loop: motion tokens pass through it with LoRA, text passes through it untouched.

Layout (arXiv 2503.06119): text, then <t> <bom> x_1 .. x_n, attended to in both directions inside the motion block, then
<eom> and text again for captions. LoRA acts on motion tokens and on the <duration> query alone, so the model's language
stays exactly what it was and the text prefix' keys and values can be kept for all denoising steps.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backend.language import text, writing
from backend.language.adapters import Adapted
from backend.language.llama import Cache
from backend.models.momug.config import MoMugConfig
from backend.models.momug.head import sinusoid

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CUE = "Caption:"  # what the frozen text half reads before it describes a motion
DURATION_DIGITS = tuple(range(1, 11))  # whole seconds; the LM head answers with one letter each
DURATION_LETTERS = "ABCDEFGHIJ"


class LanguageLoop(nn.Module):
    """Trainable parts: LoRA, the motion projection, the timestep token, and the <bom>, <eom>, <duration> embeddings."""

    def __init__(self, config: MoMugConfig, language_model, tokenizer):
        super().__init__()
        width = config.text_width
        self.language = Adapted(language_model, config.lora_rank, config.lora_alpha, LINEAR)
        self.tokenizer = tokenizer
        scale = float(language_model.get_input_embeddings().weight.float().std())
        self.motion_in = nn.Linear(config.codec.latent, width)
        self.clock = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.bom = nn.Parameter(torch.randn(width) * scale)
        self.eom = nn.Parameter(torch.randn(width) * scale)
        self.duration = nn.Parameter(torch.randn(width) * scale)
        with torch.no_grad():
            for linear in (self.motion_in, self.clock[2]):
                linear.weight.mul_(scale)
                linear.bias.zero_()

    @property
    def dtype(self) -> torch.dtype:
        return self.language.get_input_embeddings().weight.dtype

    def trainable(self) -> dict[str, Tensor]:
        """All trained tensors by name: what a checkpoint stores."""
        return {n: p for n, p in self.named_parameters() if "lora_" in n or not n.startswith("language.")}

    def _run(self, embeddings: Tensor, positions: Tensor, mask: Tensor, cache: Cache) -> Tensor:
        model = self.language.get_base_model().model
        return model(
            inputs_embeds=embeddings.to(self.dtype),
            position_ids=positions,
            attention_mask=mask[:, None],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state

    @torch.no_grad()
    def prefix(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Cache]:
        """Text states (B,S,576) and keys/values of sentences (see ``text.text_states``), without LoRA."""
        with self.language.disable_adapter():
            return text.text_states(self.language.get_base_model(), ids, mask)

    def motion_states(self, x_t: Tensor, t: Tensor, lengths: Tensor, cache: Cache, prefix_mask: Tensor) -> Tensor:
        """Hidden states (B,L,576) of motion tokens; the block's keys and values are appended to ``cache``.

        x_t (B,L,C), t (B,) timesteps, lengths (B,) valid latents, prefix_mask (B,S) of the tokens in ``cache``.
        """
        count, longest = x_t.shape[:2]
        width = self.bom.shape[0]
        clock = self.clock(torch.cat([sinusoid(t, width), sinusoid(lengths * 10, width)], -1))
        head = torch.stack([clock, self.bom.expand(count, -1)], 1)
        embeddings = torch.cat([head, self.motion_in(x_t)], 1)
        begin = prefix_mask.sum(1, keepdim=True)
        positions = begin + torch.arange(longest + 2, device=x_t.device)
        valid = torch.arange(longest + 2, device=x_t.device) < lengths[:, None] + 2
        mask = torch.cat([prefix_mask, valid], 1)[:, None].expand(-1, longest + 2, -1)
        return self._run(embeddings, positions, mask, cache)[:, 2:].float()

    def duration_logits(self, cache: Cache, prefix_mask: Tensor) -> Tensor:
        """The LM head's scores (B,10) for 1 to 10 whole seconds after a text prefix; extends ``cache`` by one token."""
        count = len(prefix_mask)
        positions = prefix_mask.sum(1, keepdim=True)
        mask = torch.cat([prefix_mask, prefix_mask.new_ones(count, 1)], 1)[:, None]
        hidden = self._run(self.duration.expand(count, 1, -1), positions, mask, cache)[:, 0]
        letters = [self.tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in DURATION_LETTERS]
        return self.language.get_base_model().lm_head(hidden)[:, letters].float()

    def _motion_context(self, latents: Tensor, lengths: Tensor) -> tuple[Cache, Tensor, Tensor]:
        """Keys and values of BOS and a clean motion (t = 0); the mask (B,S) and next position (B,) after it."""
        count = len(latents)
        ids = torch.full((count, 1), self.tokenizer.bos_token_id, device=latents.device)
        ones = torch.ones_like(ids, dtype=torch.bool)
        _, cache = self.prefix(ids, ones)
        self.motion_states(latents, torch.zeros_like(lengths), lengths, cache, ones)
        valid = torch.arange(latents.shape[1] + 2, device=latents.device) < lengths[:, None] + 2
        return cache, torch.cat([ones, valid], 1), lengths + 3

    def caption_loss(self, latents: Tensor, lengths: Tensor, captions: list[str]) -> Tensor:
        """Next-token cross-entropy of the captions of clean motions (B,L,C)."""
        cache, seen, begin = self._motion_context(latents, lengths)
        cue = self.tokenizer(CUE, add_special_tokens=False)["input_ids"]
        rows = [
            cue + self.tokenizer(" " + c, add_special_tokens=False)["input_ids"] + [self.tokenizer.eos_token_id]
            for c in captions
        ]
        longest = max(map(len, rows))
        ids = torch.zeros(len(rows), longest, dtype=torch.long, device=latents.device)
        valid = torch.zeros(len(rows), longest, dtype=torch.bool, device=latents.device)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            valid[i, : len(row)] = True
        logits = self._text_logits(ids, valid, cache, seen, begin)
        # token i is predicted from the position before it; <eom> stands before the cue, the cue itself is given
        logits, targets = logits[:, len(cue) : -1], ids[:, len(cue) :]
        losses = nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        return losses[valid[:, len(cue) :]].mean()

    def _text_logits(self, ids: Tensor, valid: Tensor, cache: Cache, seen: Tensor, begin: Tensor) -> Tensor:
        """LM logits (B,1+S,V) of <eom> and text tokens after a motion, without LoRA; causal."""
        count, longest = ids.shape
        words = self.language.get_input_embeddings()(ids)
        embeddings = torch.cat([self.eom.to(words.dtype).expand(count, 1, -1), words], 1)
        positions = begin[:, None] + torch.arange(longest + 1, device=ids.device)
        causal = torch.ones(longest + 1, longest + 1, dtype=torch.bool, device=ids.device).tril()
        mine = torch.cat([valid.new_ones(count, 1), valid], 1)[:, None] & causal
        mask = torch.cat([seen[:, None].expand(-1, longest + 1, -1), mine], 2)
        with self.language.disable_adapter():
            hidden = self._run(embeddings, positions, mask, cache)
            return self.language.get_base_model().lm_head(hidden).float()

    @torch.no_grad()
    def write_captions(
        self,
        latents: Tensor,
        count: int = 1,
        on_token=lambda index: None,
        longest: int = 48,
        beginnings: Sequence[str] = (),
    ) -> list[tuple[str, float]]:
        """``count`` sentences about one clean motion (1,L,C), see ``writing.write``."""
        lengths = torch.tensor([latents.shape[1]], device=latents.device)
        cache, seen, begin = self._motion_context(latents, lengths)
        cue = self.tokenizer(CUE, add_special_tokens=False, return_tensors="pt")["input_ids"].to(latents.device)
        logits = self._text_logits(cue, torch.ones_like(cue, dtype=torch.bool), cache, seen, begin)[:, -1]
        cache.batch_repeat_interleave(count)
        seen = seen.new_ones(count, seen.shape[1] + 1 + cue.shape[1])
        position = int(begin) + 1 + cue.shape[1]

        def following(tokens: Tensor) -> Tensor:
            nonlocal seen, position
            seen = torch.cat([seen, seen.new_ones(count, 1)], 1)
            words = self.language.get_input_embeddings()(tokens)
            positions = torch.full((count, 1), position, device=latents.device)
            position += 1
            hidden = self._run(words, positions, seen[:, None], cache)
            return self.language.get_base_model().lm_head(hidden)[:, -1].float()

        with self.language.disable_adapter():
            logits = logits.repeat(count, 1)
            return writing.write(logits, following, self.tokenizer, on_token, longest, beginnings=beginnings)
