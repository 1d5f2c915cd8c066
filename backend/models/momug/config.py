"""Sizes and schedules of MoMug. The paper does not publish its hyper-parameters: these numbers are ours."""

from dataclasses import asdict, dataclass, field

from backend.codecs.causal_vae import CausalVAEConfig


@dataclass
class MoMugConfig:
    codec: CausalVAEConfig = field(default_factory=CausalVAEConfig)
    base: str = ""  # identity of the base language model, see language.base.base_hash
    text_width: int = 576  # hidden size of the base language model
    width: int = 320
    layers: int = 6
    heads: int = 5
    dropout: float = 0.1
    timesteps: int = 1000
    lora_rank: int = 0  # 0: stage 1, the head alone
    lora_alpha: int = 16
    min_seconds: float = 1.0
    max_seconds: float = 10.0
    guidance_scale: float = 2.5
    steps: int = 10
    few_steps: int = 0  # of the distilled head, see few.py; 0: there is none
    default_preset: str = "fast"

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "MoMugConfig":
        known = {k: v for k, v in values.items() if k in cls.__dataclass_fields__}
        known["codec"] = CausalVAEConfig(**known.get("codec", {}))
        return cls(**known)
