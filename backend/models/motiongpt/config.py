"""Sizes and settings of MotionGPT at our size; what departs from the paper stands in README.md."""

from dataclasses import asdict, dataclass, field


@dataclass
class MotionGPTConfig:
    base: str = ""  # identity of the base language model, see language.base.base_hash
    vq: str = ""  # hash of the VQ codec, see codecs.vq_vae.vq_hash
    text_width: int = 576  # hidden size of the base language model
    head_width: int = 64  # of its attention
    codes: int = 1024
    levels: int = 4
    code_width: int = 64
    first_layer: int = 14  # motion tokens enter the language model here ...
    last_layer: int = 18  # ... and leave it before this layer; text goes through all of them
    lora_rank: int = 16
    lora_alpha: int = 32
    patch: int = 2  # codec steps in one token
    finer_width: int = 128  # hidden size of the heads that name the second and later codes of a token
    min_seconds: float = 1.0
    max_seconds: float = 10.0
    max_keys: int = 8  # poses that fit into one request
    guidance_scale: float = 2.0
    temperature: float = 1.0
    top_p: float = 0.9
    finer_temperature: float = 0.1
    default_preset: str = "best"
    conditions_quality: dict = field(default_factory=dict)  # which system meets which poses better, measured

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "MotionGPTConfig":
        return cls(**{k: v for k, v in values.items() if k in cls.__dataclass_fields__})
