"""The language model with motion tokens in it.

Text passes the frozen language model untouched. Motion tokens live in a few of its middle layers, in copies that carry
LoRA: they enter at ``first_layer``, see the text there, and leave at ``last_layer`` into the code head. The layers
before and behind know words only, and running codes through all of them costs several times as much. A token is
``patch`` steps of the codec with all their codes: the first code comes from the code head, the others one after the
other from small heads that read the same state and the codes so far (as in RQ-Transformer, arXiv 2203.01941).
"""

import copy
from dataclasses import dataclass
from functools import cache as remember
from functools import partial
from pathlib import Path

import tomllib
import torch
from torch import Tensor, nn

from backend.models.momug.head import sinusoid
from backend.models.motiongpt import layers as llama
from backend.models.motiongpt.config import MotionGPTConfig

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CLOCK = 64  # width of the sinusoids that tell the time of a token
SPECIAL = ("som", "eom", "key", "open")  # begin, end, a given pose, and: the end is not known


@remember
def templates() -> dict:
    """The sentences around a request, from templates.toml."""
    return tomllib.loads((Path(__file__).parent / "templates.toml").read_text(encoding="utf-8"))


def instruction(text: str, keys: bool) -> str:
    """What the language model is told to do with the user's ``text`` ("" for none), with or without given poses."""
    return templates()["tokens"][("poses" if keys else "text") if text else ("poses_only" if keys else "none")]


@dataclass
class Prefix:
    """Keys and values of words in the motion layers: keys, values (layers,B,heads,S,D); mask (B,S) of real ones."""

    keys: Tensor
    values: Tensor
    mask: Tensor

    def rows(self, rows: "list[int]") -> "Prefix":
        return Prefix(self.keys[:, rows], self.values[:, rows], self.mask[rows])

    def into(self, cache):
        """The cache with these keys and values in it."""
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            cache.update(keys, values, layer)
        return cache


class FinerHead(nn.Module):
    """Names a further code of a token from its state (...,H) and the entries of the codes so far (...,patch*D)."""

    def __init__(self, config: MotionGPTConfig):
        super().__init__()
        width = config.finer_width
        self.state = nn.Linear(config.text_width, width)
        self.before = nn.Linear(config.patch * config.code_width, width)
        self.mix = nn.Linear(width, width)
        self.out = nn.Linear(width, config.codes)

    def forward(self, state: Tensor, before: Tensor) -> Tensor:
        hidden = nn.functional.silu(self.state(state) + self.before(before))
        return self.out(hidden + nn.functional.silu(self.mix(hidden)))


class MotionTokens(nn.Module):
    """Embeddings and heads of motion tokens, and the language model's middle layers with LoRA.

    books (levels,K,D): the codec's codebooks. A token's embedding is made of its codes' entries, so that tokens that
    move alike begin alike, and the heads begin with the same likeness. scale: how large embeddings begin; merged:
    without LoRA, for weights that are added to the layers.
    """

    def __init__(
        self, config: MotionGPTConfig, language_model, books: Tensor, scale: float = 1.0, merged: bool = False
    ):
        super().__init__()
        self.config = config
        width, depth = config.text_width, config.code_width
        layers = copy.deepcopy(language_model.model.layers[config.first_layer : config.last_layer])
        self.plain = not merged  # the CPU's fused attention spends most of its time in its backward pass
        if self.plain:
            settings = copy.copy(language_model.config)
            settings._attn_implementation = "eager"
            for layer in layers:
                layer.self_attn.config = settings
        holder = nn.ModuleDict({"layers": layers})
        if not merged:
            from peft import LoraConfig, inject_adapter_in_model  # training alone needs it

            lora = LoraConfig(r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules=LINEAR)
            inject_adapter_in_model(lora, holder)
            for name, parameter in holder.named_parameters():
                if "lora_" in name:
                    parameter.data = parameter.data.float()
        self.layers = holder["layers"]
        self.turns = partial(llama.turns, language_model)
        self.register_buffer("books", books.clone(), persistent=False)
        self.special = nn.Parameter(torch.randn(len(SPECIAL), width) * scale)
        self.text_in = nn.Linear(width, width)
        self.code_in = nn.Linear(config.patch * depth, width)
        self.code_more = nn.Sequential(nn.Linear(config.patch * depth, 256), nn.SiLU(), nn.Linear(256, width))
        self.key_in = nn.Linear(depth, width)
        self.place = nn.Linear(CLOCK, width)
        self.left = nn.Linear(CLOCK, width)
        self.goal = nn.Linear(depth + CLOCK, width)
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, config.codes + 3)  # the codes, then <eom>, <som>, <key>
        self.finer = nn.ModuleList(FinerHead(config) for _ in range(config.patch * config.levels - 1))
        self._begin(scale)

    @torch.no_grad()
    def _begin(self, scale: float) -> None:
        books, width = self.books.float(), self.config.text_width
        size = books.sum(0).norm(dim=1).mean()
        nn.init.eye_(self.text_in.weight)
        for layer in (self.code_in, self.key_in):
            layer.weight.copy_(torch.randn(layer.weight.shape) * scale / size)
        for layer in (self.code_more[2], self.place, self.left, self.goal):
            layer.weight.mul_(0.1 * scale)
        for layer in (
            self.text_in,
            self.code_in,
            self.key_in,
            self.code_more[2],
            self.place,
            self.left,
            self.goal,
            self.head,
        ):
            layer.bias.zero_()
        unit = books / books.norm(dim=-1).mean(1)[:, None, None]
        projection = torch.randn(books.shape[-1], width)
        self.head.weight[: self.config.codes] = unit[0] @ projection / width**0.5
        for number, head in enumerate(self.finer, 1):
            random = torch.randn(books.shape[-1], self.config.finer_width)
            head.out.weight.copy_(unit[number % self.config.levels] @ random / self.config.finer_width**0.5)
            head.out.bias.zero_()

    def trainable(self) -> dict[str, Tensor]:
        """All trained tensors by name: what a checkpoint stores."""
        return {n: p for n, p in self.named_parameters() if "lora_" in n or not n.startswith("layers.")}

    def vectors(self, codes: Tensor) -> Tensor:
        """The first codes of tokens (...,some of patch*levels) to their entries, summed for each step (...,patch*D)."""
        levels = self.config.levels
        parts = [
            codes.new_zeros((*codes.shape[:-1], self.config.code_width), dtype=self.books.dtype)
        ] * self.config.patch
        for number in range(codes.shape[-1]):
            step, level = divmod(number, levels)
            parts[step] = parts[step] + self.books[level][codes[..., number]]
        return torch.cat(parts, -1)

    def embed(self, vectors: Tensor) -> Tensor:
        """Entries (...,patch*D) to embeddings (...,H)."""
        return self.code_in(vectors) + self.code_more(vectors)

    def clock(self, times: Tensor) -> Tensor:
        """Codec steps (...) to sinusoids (...,CLOCK)."""
        return sinusoid(times.flatten().float() * 10, CLOCK).unflatten(0, times.shape)

    def embed_keys(self, vectors: Tensor, steps: Tensor) -> Tensor:
        """Given poses as tokens (...,H): entries (...,D) and the codec steps (...) at which they are due."""
        return self.special[2] + self.key_in(vectors) + self.place(self.clock(steps))

    def embed_tokens(
        self, before: Tensor, begins: Tensor, tokens: Tensor, left: Tensor, goals: Tensor, due: Tensor
    ) -> Tensor:
        """Inputs (...,H) of the positions that name a token's codes.

        before (...,patch*D): entries of the token before, zero where there is none; begins (...) bool: where <som>
        stands; tokens (...): which token is to be named; left (...): tokens until the end, this one included, or -1
        where nobody said; goals (...,D), due (...): the next given pose and in how many codec steps, -1 for none.
        """
        begun = (before != 0).any(-1, keepdim=True)
        x = self.embed(before) * begun + self.special[0] * begins[..., None]
        x = x + self.place(self.clock(tokens * self.config.patch))
        known = (left >= 0)[..., None]
        x = x + torch.where(known, self.left(self.clock(left.clamp(min=0) * self.config.patch)), self.special[3])
        goal = self.goal(torch.cat([goals, self.clock(due.clamp(min=0))], -1))
        return x + goal * (due >= 0)[..., None]

    def read(self, states: Tensor, mask: Tensor) -> Prefix:
        """Words, as states of the frozen language model (B,S,H) with mask (B,S), as the motion layers see them."""
        x = self.text_in(states.float()).to(self.layers[0].input_layernorm.weight.dtype)
        turned, found = self.turns(x, torch.arange(x.shape[1], device=x.device)[None]), []
        width = self.config.head_width
        for layer in self.layers:
            seen, own = layer.input_layernorm(x), layer.self_attn
            keys, values = (
                linear(seen).unflatten(-1, (-1, width)).transpose(1, 2) for linear in (own.k_proj, own.v_proj)
            )
            found.append((llama.rotated(keys, turned), values))
        return Prefix(torch.stack([k for k, _ in found]), torch.stack([v for _, v in found]), mask)

    def run(self, x: Tensor, positions: Tensor, mask: Tensor, cache) -> Tensor:
        """Embeddings (B,Q,H) through the motion layers; mask (B,Q,S+Q) bool; keys and values go into ``cache``."""
        x = x.to(self.layers[0].input_layernorm.weight.dtype)
        turned, mask = self.turns(x, positions), mask[:, None]
        if self.plain:
            mask = torch.zeros(mask.shape, dtype=x.dtype, device=x.device).masked_fill(~mask, torch.finfo(x.dtype).min)
        for number, layer in enumerate(self.layers):
            x = llama.through(layer, x, turned, mask, cache, number)
        return x

    def first_logits(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states to (states for the finer heads, logits (...,K+3) of the first code or a special token)."""
        state = self.norm(hidden.float())
        return state, self.head(state)
