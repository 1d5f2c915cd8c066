"""The Llama architecture for inference: what serving a motion needs of it, and nothing else.

transformers' own class takes 2.3 s of processor time to import, before any weight is read, PyTorch itself 1.2. This one
has its parameter names, arguments and numbers (a test compares them), reads the same folder, and is used where a model
is served; training uses transformers. See Touvron et al., arXiv 2302.13971, and Su et al., arXiv 2104.09864 (RoPE).
"""

import json
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from backend.language import linear


class Cache:
    """Keys and values (B,heads,S,width) of every layer; the methods are those of transformers' DynamicCache."""

    def __init__(self):
        self.layers: list[tuple[Tensor, Tensor]] = []

    def get_seq_length(self) -> int:
        return self.layers[0][0].shape[2] if self.layers else 0

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Append to one layer; all that it holds then."""
        if layer < len(self.layers):
            before = self.layers[layer]
            self.layers[layer] = torch.cat([before[0], keys], 2), torch.cat([before[1], values], 2)
        else:
            self.layers.append((keys, values))
        return self.layers[layer]

    def crop(self, count: int) -> None:
        """Remove ``-count`` tokens from the end."""
        self._change(lambda x: x[:, :, :count])

    def batch_select_indices(self, rows: Tensor) -> None:
        self._change(lambda x: x[rows])

    def batch_repeat_interleave(self, count: int) -> None:
        self._change(lambda x: x.repeat_interleave(count, 0))

    def _change(self, change) -> None:
        self.layers = [(change(keys), change(values)) for keys, values in self.layers]


class Linear(linear.Linear):
    """Without random numbers at first: the weights come from a file. The meta device would make none either, but for it
    PyTorch imports its compiler, which takes 0.8 s."""

    def reset_parameters(self) -> None:
        pass


class Embedding(nn.Embedding):
    """See :class:`Linear`."""

    def reset_parameters(self) -> None:
        pass


class Norm(nn.Module):
    def __init__(self, width: int, epsilon: float):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, config: SimpleNamespace):
        super().__init__()
        self.heads, self.shared, self.size = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.q_proj = Linear(config.hidden_size, self.heads * self.size, bias=False)
        self.k_proj = Linear(config.hidden_size, self.shared * self.size, bias=False)
        self.v_proj = Linear(config.hidden_size, self.shared * self.size, bias=False)
        self.o_proj = Linear(self.heads * self.size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, cache: Cache, layer: int) -> Tensor:
        count, length = x.shape[:2]
        split = count, length, -1, self.size
        q, k, v = (project(x).view(split).transpose(1, 2) for project in (self.q_proj, self.k_proj, self.v_proj))
        k, v = cache.update(_rotated(k, cos, sin), v, layer)
        # each key head serves heads/shared query heads
        k, v = (y.repeat_interleave(self.heads // self.shared, 1) for y in (k, v))
        mixed = F.scaled_dot_product_attention(_rotated(q, cos, sin), k, v, attn_mask=mask)
        return self.o_proj(mixed.transpose(1, 2).reshape(count, length, -1))


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class FeedForward(nn.Module):
    def __init__(self, config: SimpleNamespace):
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, config: SimpleNamespace):
        super().__init__()
        self.self_attn, self.mlp = Attention(config), FeedForward(config)
        self.input_layernorm = Norm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = Norm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, *rest) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), *rest)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self, config: SimpleNamespace):
        super().__init__()
        self.config = config
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = Norm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool = True,
        output_hidden_states: bool = False,
    ) -> SimpleNamespace:
        """``last_hidden_state`` (B,S,H), and ``hidden_states``: the embeddings and what each block makes of them, the
        last one normed.

        attention_mask: (B,past+S), 1 for tokens that count, to which attention is causal; or (B,1,S,past+S) bool, as it
        is. position_ids (B,S): by default on from the tokens in ``past_key_values``, which is extended.
        """
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        cache = Cache() if past_key_values is None else past_key_values
        length, past = x.shape[1], cache.get_seq_length()
        if position_ids is None:
            position_ids = torch.arange(past, past + length, device=x.device)[None]
        if attention_mask is None:
            attention_mask = torch.ones(len(x), past + length, dtype=torch.bool, device=x.device)
        if attention_mask.ndim == 2:
            causal = torch.ones(length, past + length, dtype=torch.bool, device=x.device).tril(past)
            attention_mask = attention_mask.bool()[:, None, None] & causal
        cos, sin = self.angles(position_ids, x.dtype)
        seen = [x]
        for number, block in enumerate(self.layers):
            x = block(x, cos, sin, attention_mask, cache, number)
            seen.append(x)
        seen[-1] = x = self.norm(x)
        return SimpleNamespace(last_hidden_state=x, hidden_states=tuple(seen) if output_hidden_states else None)

    def angles(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines (B,1,S,head_dim) of the rotary embedding."""
        size = self.config.head_dim
        steps = torch.arange(0, size, 2, dtype=torch.int64, device=positions.device).float() / size
        angles = positions[..., None].float() * (1.0 / self.config.rope_theta**steps)
        both = torch.cat([angles, angles], -1)[:, None]
        return both.cos().to(dtype), both.sin().to(dtype)


class Llama(nn.Module):
    """``model`` and ``lm_head``, as transformers' LlamaForCausalLM has them."""

    def __init__(self, config: SimpleNamespace):
        super().__init__()
        self.config, self.model = config, Decoder(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.model.embed_tokens


class Words:
    """The tokeniser of a base model's folder, called as transformers' fast tokenisers are."""

    def __init__(self, folder: Path):
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library knows no narrower one
            raise ValueError(f"tokenizer.json cannot be read: {error}") from error
        told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self.bos_token_id, self.eos_token_id = (self._number(told[name]) for name in ("bos_token", "eos_token"))

    def _number(self, token: "str | dict") -> int:
        number = self._tokenizer.token_to_id(token["content"] if isinstance(token, dict) else token)
        if number is None:
            raise ValueError(f"the tokeniser does not know its own {token!r}")
        return number

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def __call__(self, text: str, add_special_tokens: bool = True, return_tensors: str | None = None) -> dict:
        ids = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return {"input_ids": torch.tensor([ids]) if return_tensors else ids}

    def decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)


def read_config(folder: Path) -> SimpleNamespace | None:
    """The sizes of a folder's model; None when it is not a Llama of the plain kind that this module computes."""
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rope = values.get("rope_parameters") or {"rope_type": "default", "rope_theta": values.get("rope_theta", 10000.0)}
    if values.get("rope_scaling"):
        rope = values["rope_scaling"]
    plain = {"model_type": "llama", "hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    known = all(values.get(name, value) == value for name, value in plain.items())
    if not known or rope.get("rope_type", "default") != "default" or not (folder / "model.safetensors").is_file():
        return None
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    config = SimpleNamespace(**{name: values[name] for name in names}, rms_norm_eps=values["rms_norm_eps"])
    config.num_key_value_heads = values.get("num_key_value_heads") or config.num_attention_heads
    config.head_dim = values.get("head_dim") or config.hidden_size // config.num_attention_heads
    config.rope_theta = float(rope.get("rope_theta", 10000.0))
    config.tie_word_embeddings = values.get("tie_word_embeddings", False)
    return config


def load(folder: Path, config: SimpleNamespace, device: str, dtype: torch.dtype) -> Llama:
    """The model of a folder, eval mode, gradients off. Weights that need no conversion stay mapped from the file, so
    that several processes share them. Raises OSError, ValueError, RuntimeError, SafetensorError."""
    stored = load_file(folder / "model.safetensors", device="cpu")
    if config.tie_word_embeddings:
        stored["lm_head.weight"] = stored["model.embed_tokens.weight"]
    model = Llama(config)
    converted = {name: tensor.to(dtype) for name, tensor in stored.items() if name != "lm_head.weight"}
    head = converted["model.embed_tokens.weight"] if config.tie_word_embeddings else stored["lm_head.weight"].to(dtype)
    model.load_state_dict({**converted, "lm_head.weight": head}, assign=True)
    model.lm_head.weight = model.model.embed_tokens.weight if config.tie_word_embeddings else model.lm_head.weight
    return model.requires_grad_(False).eval().to(device)
