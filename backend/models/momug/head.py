"""The motion head: a compact transformer that predicts the clean latents x0 from x_t, t and the text's states.

Text tokens, then motion tokens, full attention over both. The timestep and the length modulate every block
(adaLN-single, PixArt-alpha, arXiv 2310.00426). Hidden states of the language model, when it is in the loop, are added
to the motion tokens through a projection that starts at zero, so that the second stage can only add to the first.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backend.models.momug.config import MoMugConfig


def sinusoid(values: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding (B,width) of scalars (B,), periods from 2 pi to 10,000 * 2 pi."""
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(width // 2, device=values.device) / (width // 2))
    angles = values.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


def rotary(length: int, width: int, device) -> tuple[Tensor, Tensor]:
    """Cosines and sines (length, width) of rotary position embeddings."""
    frequencies = 1.0 / 1000.0 ** (torch.arange(0, width, 2, device=device) / width)
    angles = torch.arange(length, device=device)[:, None] * frequencies
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return x * cos + torch.cat([-b, a], -1) * sin


class SequenceDropout(nn.Dropout):
    """Dropout of (B,S,C) with one mask for all tokens of a row (arXiv 1512.05287): a mask for each costs a CPU as much
    as a quarter of the whole step."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(len(x), 1, x.shape[-1], device=x.device) >= self.p
        return x * (kept.to(x.dtype) / (1 - self.p))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(approximate="tanh"),
            SequenceDropout(dropout),
            nn.Linear(4 * width, width),
        )
        self.modulation = nn.Parameter(torch.randn(6, width) / width**0.5)

    def forward(self, x: Tensor, shared: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = (shared + self.modulation).unbind(1)
        y = self.norm1(x) * (1 + scale1[:, None]) + shift1[:, None]
        q, k, v = self.qkv(y).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = self._attend(rotate(q, cos, sin), rotate(k, cos, sin), v, mask)
        x = x + gate1[:, None] * self.out(y.transpose(1, 2).flatten(2))
        y = self.norm2(x) * (1 + scale2[:, None]) + shift2[:, None]
        return x + gate2[:, None] * self.mlp(y)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        if not (self.training and q.device.type == "cpu"):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        # for these short sequences the CPU's fused kernel spends most of its time in its backward pass
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        return scores.masked_fill(~mask, float("-inf")).softmax(-1).to(v.dtype) @ v


class MotionHead(nn.Module):
    def __init__(self, config: MoMugConfig):
        super().__init__()
        width = config.width
        self.text_norm = nn.LayerNorm(config.text_width)
        self.text_in = nn.Linear(config.text_width, width)
        self.null_text = nn.Parameter(torch.randn(width) * 0.02)
        self.motion_in = nn.Linear(config.codec.latent, width)
        self.motion_kind = nn.Parameter(torch.randn(width) * 0.02)
        self.condition = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.shared = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(Block(width, config.heads, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, config.codec.latent)
        self.llm_norm = nn.LayerNorm(config.text_width)
        self.llm_in = nn.Linear(config.text_width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.llm_in.weight)
        nn.init.zeros_(self.llm_in.bias)
        self.head_width = width // config.heads

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        lengths: Tensor,
        text: Tensor,
        text_mask: Tensor,
        llm_states: Tensor | None = None,
    ) -> Tensor:
        """Predict x0 (B,L,C) from x_t (B,L,C), timesteps t (B,), valid lengths (B,) in latents, and text states.

        text (B,S,576) with text_mask (B,S); a row whose mask is empty is unconditional. llm_states (B,L,576) or None.
        """
        count, longest = x_t.shape[:2]
        words = self.text_in(self.text_norm(text))
        unconditional = ~text_mask.any(1)
        first = torch.where(unconditional[:, None], self.null_text.to(words.dtype), words[:, 0])
        words = torch.cat([first[:, None], words[:, 1:]], 1)
        text_mask = torch.cat([text_mask[:, :1] | unconditional[:, None], text_mask[:, 1:]], 1)
        moves = self.motion_in(x_t) + self.motion_kind
        if llm_states is not None:
            moves = moves + self.llm_in(self.llm_norm(llm_states))
        valid = torch.arange(longest, device=x_t.device) < lengths[:, None]
        mask = torch.cat([text_mask, valid], 1)[:, None, None]
        # words keep the order that the language model gave their states; only motion tokens carry a position here
        cos, sin = rotary(longest, self.head_width, x_t.device)
        cos = F.pad(cos, (0, 0, words.shape[1], 0), value=1.0)
        sin = F.pad(sin, (0, 0, words.shape[1], 0))
        width = words.shape[-1]
        clock = torch.cat([sinusoid(t, width), sinusoid(lengths * 10, width)], -1)
        shared = self.shared(self.condition(clock.to(x_t.dtype))).unflatten(-1, (6, width))
        x = torch.cat([words, moves], 1)
        for block in self.blocks:
            x = block(x, shared, mask, cos, sin)
        return self.out(self.norm(x[:, -longest:])).reshape(count, longest, -1).float()
