"""Style packs: small LoRA weights on the motion head that load on top of the default and are weighted 0..1.

A pack is a folder with ``style.safetensors`` and ``style.json``: name, label, licence, whether it may be used
commercially, what it was trained on, and the hash of the head that it belongs to. The head is not changed on disk.
"""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import nn

from backend.errors import BackendError
from backend.models.styles import Style

LAYERS = r"blocks\.\d+\.(qkv|out|mlp\.0|mlp\.3)"


def inject(head: nn.Module, name: str, rank: int) -> None:
    """Add LoRA layers called ``name`` to a head, in place; they change nothing until trained or loaded."""
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=LAYERS, init_lora_weights=True)
    inject_adapter_in_model(config, head, adapter_name=name)
    for parameter_name, parameter in head.named_parameters():
        parameter.requires_grad_("lora_" in parameter_name and f".{name}." in parameter_name)


def use(head: nn.Module, name: str | None, weight: float = 1.0, trains: bool = False) -> None:
    """Let the pack ``name`` act with ``weight``, or none of them; ``trains`` keeps its weights trainable."""
    for module in head.modules():
        if isinstance(module, LoraLayer):
            module.enable_adapters(name is not None)
            if name is not None:
                module.set_adapter(name, inference_mode=not trains)
                module.set_scale(name, weight)


def tensors(head: nn.Module, name: str) -> dict[str, torch.Tensor]:
    """The weights of one pack, without its name in them."""
    return {
        key.replace(f".{name}.", "."): value
        for key, value in head.named_parameters()
        if "lora_" in key and f".{name}." in key
    }


def save(head: nn.Module, style: Style, folder: Path) -> None:
    """Write a pack, float16."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in tensors(head, style.name).items()}
    save_file(values, folder / "style.safetensors")
    (folder / "style.json").write_text(json.dumps(asdict(style), indent=1), encoding="utf-8")


def load(head: nn.Module, style: Style, folder: Path) -> None:
    """Add a pack to a head in place. Raises BackendError ``checkpoint_damaged``."""
    stored = load_file(folder / "style.safetensors")
    inject(head, style.name, style.rank)
    wanted = tensors(head, style.name)
    if {k: v.shape for k, v in stored.items()} != {k: v.shape for k, v in wanted.items()}:
        raise BackendError("checkpoint_damaged", f"The style pack {style.label} does not fit its description.")
    with torch.no_grad():
        for key, parameter in wanted.items():
            parameter.copy_(stored[key])
    head.requires_grad_(False)
