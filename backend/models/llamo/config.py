"""Sizes of LLaMo. What the paper does not publish, and every size here, is our choice."""

from dataclasses import asdict, dataclass, field

from backend.codecs.causal_vae import CausalVAEConfig


@dataclass
class LLaMoConfig:
    codec: CausalVAEConfig = field(default_factory=CausalVAEConfig)
    codec_hash: str = ""  # identity of the codec, see codecs.causal_vae.codec_hash
    base: str = ""  # identity of the base language model, see language.base.base_hash
    # of the base language model, which the motion expert shares attention with
    layers: int = 30
    heads: int = 9
    kv_heads: int = 3
    head_width: int = 64
    # of the motion expert: 128 ships, 256 with feed 768 is the wide one
    width: int = 128
    feed: int = 224
    flow_width: int = 256
    flow_layers: int = 3
    # sampling
    min_seconds: float = 1.0
    max_seconds: float = 10.0
    guidance_scale: float = 2.5
    steps: int = 10  # Euler steps of the flow head
    tries: int = 4  # of the preset that chooses the best
    temperature: float = 1.0  # scale of the noise that a latent grows from
    window: int = 72  # latents that a stream remembers before it forgets all but ...
    recall: int = 24  # ... the last ones
    recall_changed: int = 8  # what a new sentence sees of the motion before it
    default_preset: str = "fast"

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "LLaMoConfig":
        known = {k: v for k, v in values.items() if k in cls.__dataclass_fields__}
        known["codec"] = CausalVAEConfig(**known.get("codec", {}))
        return cls(**known)
