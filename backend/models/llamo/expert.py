"""The motion half of the mixture: in every block of the language model an expert of its own for motion tokens.

A block has its own norms, projections and feed-forward, as narrow as the configuration says; it meets the text half in
attention alone, where its queries, keys and values have the language model's shape (9 x 64 and 3 x 64). Following LLaMo
(arXiv 2602.12370) the next latent is not a code but a point in space, which the flow head walks to from noise.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backend.models.llamo.config import LLaMoConfig


class Rope(nn.Module):
    """Cosines and sines of rotary positions, as the base language model turns its own keys (theta is the model's)."""

    def __init__(self, width: int, theta: float):
        super().__init__()
        self.register_buffer("rates", theta ** (-torch.arange(0, width, 2) / width), persistent=False)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """positions (B,L) to two (B,L,1,head_width)."""
        angles = positions[..., None, None].float() * self.rates
        angles = torch.cat([angles, angles], -1)
        return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class RMSNorm(nn.Module):
    """Over the last dimension, in the precision of its input: under autocast torch's own leaves its fused kernel."""

    def __init__(self, *shape: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], eps=1e-5) * self.weight.to(x.dtype)


class Block(nn.Module):
    """One motion block beside one text block."""

    def __init__(self, config: LLaMoConfig):
        super().__init__()
        self.heads, self.kv_heads, self.head_width = config.heads, config.kv_heads, config.head_width
        width, queries = config.width, config.heads * config.head_width
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)
        self.qkv = nn.Linear(width, queries + 2 * config.kv_heads * config.head_width, bias=False)
        self.qk_norm = RMSNorm(config.heads + config.kv_heads, config.head_width)
        self.out = nn.Linear(queries, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * config.feed, bias=False)
        self.down = nn.Linear(config.feed, width, bias=False)
        for linear in (self.out, self.down):
            nn.init.normal_(linear.weight, std=(2 * config.layers * linear.in_features) ** -0.5)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, past: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """x (B,L,width); past (2,B,kv_heads,P,head_width) from either half; bias (B,1,L,P+L): 0 or -inf.

        Returns x and its own keys and values (2,B,kv_heads,L,head_width).
        """
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (-1, self.head_width))
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], 2)
        q, k = rotate(self.qk_norm(qk), cos, sin).split([self.heads, self.kv_heads], 2)
        own = torch.stack([k, v]).transpose(2, 3)
        keys, values = torch.cat([past, own], 3)
        x = x + self.out(self._attend(q, keys, values, bias))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up), own

    def _attend(self, q: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """Grouped attention (B,L,heads*head_width): each key head serves several query heads."""
        count, length = q.shape[:2]
        grouped = (q * self.head_width**-0.5).transpose(1, 2).reshape(count, self.kv_heads, -1, self.head_width)
        scores = (grouped @ keys.transpose(-1, -2)).view(count, self.heads, length, -1) + bias
        found = scores.softmax(-1, dtype=values.dtype).view(count, self.kv_heads, -1, keys.shape[2]) @ values
        return found.view(count, self.heads, length, -1).transpose(1, 2).flatten(2)


class FlowHead(nn.Module):
    """The velocity v(x_t, t | h) that carries noise to the next latent: a small MLP, modulated by t and the state h."""

    def __init__(self, config: LLaMoConfig):
        super().__init__()
        width, latent = config.flow_width, config.codec.latent
        self.width, self.layers = width, config.flow_layers
        self.x_in = nn.Linear(latent, width)
        self.state_in = nn.Linear(config.width, width)
        self.clock = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.modulations = nn.Linear(width, (3 * self.layers + 2) * width)  # adaLN: shift, scale and gate of each layer
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(self.layers)
        )
        self.out = nn.Linear(width, latent)
        for linear in (self.modulations, self.out):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x_t: Tensor, t: Tensor, h: Tensor) -> Tensor:
        """x_t (...,C), t (...) in 0..1, h (...,width of the expert); the velocity (...,C) float32."""
        c = self.clock(self._sinusoid(t).to(h.dtype)) + self.state_in(h)
        modulations = self.modulations(F.silu(c)).chunk(3 * self.layers + 2, -1)
        x = self.x_in(x_t) + self.state_in(h)
        for layer, mlp in enumerate(self.mlps):
            shift, scale, gate = modulations[3 * layer : 3 * layer + 3]
            x = x + (1 + gate) * mlp(self._norm(x) * (1 + scale) + shift)
        shift, scale = modulations[-2:]
        return self.out(self._norm(x) * (1 + scale) + shift).float()

    def _norm(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (self.width,))

    def _sinusoid(self, t: Tensor) -> Tensor:
        rates = torch.exp(-math.log(10000.0) * torch.arange(self.width // 2, device=t.device) / (self.width // 2))
        angles = 1000 * t.float()[..., None] * rates
        return torch.cat([angles.cos(), angles.sin()], -1)


class MotionExpert(nn.Module):
    """All that is trained: <bom>, <eom>, the blocks, the flow head and the exit head."""

    def __init__(self, config: LLaMoConfig, theta: float):
        super().__init__()
        width = config.width
        self.rope = Rope(config.head_width, theta)
        self.motion_in = nn.Linear(config.codec.latent, width)
        self.bom, self.eom = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(width)
        self.flow = FlowHead(config)
        # what a linear prediction from the latent before leaves is of this spread: the flow runs in that space
        latent = config.codec.latent
        self.register_buffer("ahead", torch.zeros(latent, latent))
        self.register_buffer("spread", torch.ones(latent))
        self.exit = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def tokens(self, latents: Tensor, ends: Tensor | None = None) -> Tensor:
        """<bom> x_1 .. x_L as (B,1+L,width); with ``ends`` (B,) also <eom> behind that many latents, (B,2+L,width)."""
        bom = self.bom.expand(len(latents), 1, -1)
        x = torch.cat([bom, self.motion_in(latents)], 1)
        if ends is None:
            return x
        x = F.pad(x, (0, 0, 0, 1))
        there = torch.arange(x.shape[1], device=x.device) == ends[:, None] + 1
        return torch.where(there[..., None], self.eom, x)

    def expected(self, before: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
        """Linear prediction (...,C) from the latent before (...,C), None at the beginning, and the spread around it."""
        if before is None:
            return torch.zeros_like(like), torch.ones_like(like)
        return before @ self.ahead.T, self.spread.expand_as(like)

    def forward(self, x: Tensor, past: Tensor, seen: Tensor, begin: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states (B,L,width) of tokens x (B,L,width), and their keys and values.

        past (layers,2,B,kv_heads,P,head_width): what text and motion left before; seen (B,P): which of it there is;
        begin (B,): position of the first token. Keys and values: (layers,2,B,kv_heads,L,head_width).
        """
        length = x.shape[1]
        dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
        cos, sin = (y.to(dtype) for y in self.rope(begin[:, None] + torch.arange(length, device=x.device)))
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril().expand(len(x), -1, -1)
        mask = torch.cat([seen[:, None].expand(-1, length, -1), causal], 2)[:, None]
        bias = torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, -torch.inf)
        x, own = x.to(dtype), []
        for block, before in zip(self.blocks, past.to(dtype), strict=True):
            x, left = block(x, cos, sin, before, bias)
            own.append(left)
        return self.norm(x), torch.stack(own)
