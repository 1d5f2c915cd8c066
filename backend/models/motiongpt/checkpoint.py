"""MotionGPT on disk: its own weights in 8 bits; the codecs that it stands on are found by their hashes."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError

from backend import weights
from backend.codecs.causal_vae import codec_hash
from backend.codecs.vq_vae import load_vq, vq_hash
from backend.errors import BackendError
from backend.language import base
from backend.models import actions, checkpoint
from backend.models.device import choose_device, choose_precision
from backend.models.motiongpt.config import MotionGPTConfig
from backend.models.motiongpt.model import MotionGPT, presets
from backend.models.motiongpt.network import MotionTokens
from backend.models.motiongpt.text_half import TextHalf

WEIGHTS = "motiongpt.safetensors"
STREAM_SECONDS = 600.0  # how long somebody may watch
LORA = (".lora_A.default.weight", ".lora_B.default.weight")


def save_checkpoint(model: MotionTokens, config: MotionGPTConfig, folder: Path) -> None:
    """Write config.json with the hash of the weights, and the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    weights.save(model.trainable(), folder / WEIGHTS, int8=True)
    values = config.to_dict() | {"presets": presets(), "captions": True, "streams": True, "steps": 1}
    values["stream_seconds"] = STREAM_SECONDS
    values["sha256"] = {WEIGHTS: base.sha256_file(folder / WEIGHTS)}
    (folder / "config.json").write_text(json.dumps(values, indent=1), encoding="utf-8")


def load(folder: Path, device: str = "auto", precision: str = "auto") -> MotionGPT:
    """Load a MotionGPT checkpoint folder; see ``backend.models.load`` for arguments and errors."""
    folder = Path(folder)
    config, _ = checkpoint.verified(folder, MotionGPTConfig.from_dict, lambda _: [WEIGHTS])
    device = choose_device(device)
    vq_folder = checkpoint.holder(folder, "vq.safetensors", config.vq, vq_hash, "The codec of motion codes")
    below = json.loads((vq_folder / "vq.json").read_text(encoding="utf-8"))["base"]
    codec_folder = checkpoint.holder(folder, "codec.safetensors", below, codec_hash, "The motion codec")
    quantiser = load_vq(vq_folder, codec_folder, device)
    language_model, tokenizer = base.load_for_serving(device=device, dtype=choose_precision(precision, device))
    tokens = MotionTokens(config, language_model, torch.stack([b.codes for b in quantiser.books]).cpu(), merged=True)
    load_tokens(tokens, folder / WEIGHTS)
    tokens = tokens.requires_grad_(False).eval().to(device)
    half = TextHalf(config, language_model, tokenizer)
    return MotionGPT(config, quantiser, tokens, half, actions.load(codec_folder, device))


def load_tokens(tokens: MotionTokens, path: Path) -> None:
    """Weights of a checkpoint into motion tokens whose layers carry no LoRA: it is added to the layers themselves.

    Raises BackendError ``checkpoint_damaged``.
    """
    damaged = BackendError(
        "checkpoint_damaged", f"The weights in {path.name} do not fit their config.json.", checkpoint.HINT
    )
    try:
        stored = weights.load(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise BackendError(
            "checkpoint_damaged", f"The weights in {path.name} cannot be read.", checkpoint.HINT
        ) from error
    lora = {name: stored.pop(name) for name in list(stored) if "lora_" in name}
    wanted = tokens.trainable()
    shapes = {k: v.shape for k, v in stored.items()}
    layers = dict(tokens.named_parameters())
    if shapes != {k: v.shape for k, v in wanted.items()} or not all(torch.isfinite(v).all() for v in stored.values()):
        raise damaged
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(stored[name])
        for name in [n.removesuffix(LORA[0]) for n in lora if n.endswith(LORA[0])]:
            layer, (a, b) = layers.get(f"{name}.weight"), (lora.get(name + end) for end in LORA)
            if layer is None or b is None or (b @ a).shape != layer.shape:
                raise damaged
            layer.copy_(layer.float() + b @ a * (tokens.config.lora_alpha / tokens.config.lora_rank))
