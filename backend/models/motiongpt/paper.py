"""Codes written as decimal text, as the MotionGPT paper has them: a plain language model with LoRA on q and v (r = 64,
alpha = 16) reads an Alpaca-style prompt and writes "12,845,3,...". Measured once against new tokens, see README.md."""

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from backend.models.motiongpt.network import templates


class CodesAsText(nn.Module):
    """The language model with LoRA; codes are those of the codec's first level, as the paper has one codebook."""

    def __init__(self, language_model, tokenizer, rank: int = 64, alpha: int = 16):
        super().__init__()
        lora = LoraConfig(r=rank, lora_alpha=alpha, target_modules=["q_proj", "v_proj"])
        self.language = get_peft_model(language_model, lora)
        self.tokenizer = tokenizer

    def prompt(self, text: str) -> list[int]:
        """Token ids of the whole prompt."""
        words = templates()["paper"]["text"].format(text=text)
        return [self.tokenizer.bos_token_id, *self.tokenizer(words, add_special_tokens=False)["input_ids"]]

    def answer(self, codes: list[int]) -> list[int]:
        """Token ids of an answer, its end included."""
        words = ",".join(map(str, codes))
        return [*self.tokenizer(words, add_special_tokens=False)["input_ids"], self.tokenizer.eos_token_id]

    def loss(self, texts: list[str], codes: list[list[int]]) -> Tensor:
        """Cross-entropy of the answers alone, summed over their tokens: (B,)."""
        prompts = [self.prompt(text) for text in texts]
        rows = [p + self.answer(c) for p, c in zip(prompts, codes, strict=True)]
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.tokenizer.eos_token_id)
        wanted = torch.full((len(rows), longest), -100)
        for i, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
            ids[i, : len(row)] = torch.tensor(row)
            wanted[i, len(prompt) : len(row)] = torch.tensor(row[len(prompt) :])
        device = next(self.parameters()).device
        ids, wanted = ids.to(device), wanted.to(device)
        logits = self.language(input_ids=ids).logits[:, :-1].float()
        return F.cross_entropy(logits.transpose(1, 2), wanted[:, 1:], reduction="none").sum(1)

    @torch.no_grad()
    def write(self, text: str, most: int) -> str:
        """What the model answers when nothing holds it, sampled, at most ``most`` tokens."""
        ids = torch.tensor([self.prompt(text)], device=next(self.parameters()).device)
        mask, end = torch.ones_like(ids), self.tokenizer.eos_token_id
        found = self.language.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=most, do_sample=True, top_p=0.9, pad_token_id=end
        )
        return self.tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True)


def read_codes(answer: str, codes: int) -> list[int] | None:
    """The codes of an answer; None where it is not numbers from 0 to ``codes`` - 1 between commas."""
    parts = [part.strip() for part in answer.strip().split(",")]
    if not all(part.isdecimal() and part.isascii() and int(part) < codes for part in parts):
        return None
    return [int(part) for part in parts]
