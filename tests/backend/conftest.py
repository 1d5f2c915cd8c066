"""What the model tests share: procedural motions, a tiny Llama with its tokenizer, and small MoMug configurations."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from backend import paths
from backend.codecs.causal_vae import CausalVAE, CausalVAEConfig
from backend.language import text
from backend.models.momug.config import MoMugConfig
from backend.models.momug.head import MotionHead
from backend.models.momug.language_loop import LanguageLoop
from backend.models.momug.model import MoMug
from backend.motion.skeleton import JOINT_INDEX, Motion
from tests.backend.small_motiongpt import motiongpt, motiongpt_folder  # noqa: F401 - fixtures
from tests.backend.tiny_recipes import eight_windows  # noqa: F401

SENTENCES = ("a person walks forward", "a person jumps up and turns left", "someone sits down, then waves")
HIDDEN = 48
LATENT = 8


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tensors run faster on one thread, and other work on the machine is left alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def make_motion(frames: int = 90, speed: float = 1.2, turn: float = 1.5, phase: float = 0.0, bend: float = 0.0):
    """A stepping figure: ``speed`` m/s along its heading, ``turn`` radians to the left over the motion, trunk bent
    forward by up to ``bend`` radians at the pelvis."""
    time = np.arange(frames) / 30.0
    part = np.arange(frames) / max(frames - 1, 1)
    swing = np.sin(2 * np.pi * 0.9 * time + phase)
    vectors = np.zeros((frames, 22, 3))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        vectors[:, JOINT_INDEX[f"{side}_hip"], 0] = -0.45 * sign * swing
        vectors[:, JOINT_INDEX[f"{side}_knee"], 0] = 0.3 + 0.3 * np.maximum(0, sign * swing)
        vectors[:, JOINT_INDEX[f"{side}_shoulder"], 2] = -1.2 * sign
        vectors[:, JOINT_INDEX[f"{side}_elbow"], 1] = -0.5 * sign - 0.2 * swing
    vectors[:, JOINT_INDEX["spine2"], 1] = 0.15 * swing
    rotations = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_quat(scalar_first=True).reshape(frames, 22, 4)
    yaw = turn * part
    lean = bend * np.sin(np.pi * part)
    pelvis = Rotation.from_euler("Y", yaw[:, None]) * Rotation.from_euler("X", lean[:, None])
    rotations[:, 0] = pelvis.as_quat(scalar_first=True)
    step = speed / 30.0 * np.stack([np.sin(yaw), np.zeros(frames), np.cos(yaw)], -1)
    translation = np.cumsum(step, 0) + np.stack([0 * time, 0.93 + 0.02 * np.cos(4 * np.pi * 0.9 * time), 0 * time], -1)
    down = (np.stack([swing, swing, -swing, -swing], -1) > 0).astype(np.float32)
    return Motion(rotations, translation, contacts=down)


@pytest.fixture(scope="session")
def motion() -> Callable[..., Motion]:
    """``make_motion`` by its arguments."""
    return make_motion


def make_base(folder: Path, seed: int = 0, hidden: int = HIDDEN, layers: int = 2) -> Path:
    """A folder like a converted base model: a random Llama and a byte-level tokenizer trained on three sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" " + sentence for sentence in SENTENCES] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>")
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def base_template(tmp_path_factory) -> Path:
    return make_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def tiny_base(base_template, tmp_path, monkeypatch) -> Path:
    """A base model folder of two layers that the backend takes for the installed one."""
    folder = tmp_path / "base"
    shutil.copytree(base_template, folder)
    monkeypatch.setenv("MOMUG_BASE_MODEL", str(folder))
    monkeypatch.setattr(text, "TEXT_LAYERS", (1, 2))
    return folder


@pytest.fixture
def language(tiny_base):
    """(frozen language model, tokenizer) of ``tiny_base``."""
    from backend.language import base

    return base.load_language_model(), base.load_tokenizer()


def make_config(**changes) -> MoMugConfig:
    """Sizes for tests: width 64, two blocks, latents of 8 numbers."""
    codec = CausalVAEConfig(width=16, latent=LATENT, blocks=1)
    values = {"codec": codec, "text_width": HIDDEN, "width": 64, "layers": 2, "heads": 2, "dropout": 0.0, "steps": 4}
    return MoMugConfig(**(values | changes))


@pytest.fixture(scope="session")
def small() -> Callable[..., MoMugConfig]:
    return make_config


def shake(module: torch.nn.Module, scale: float = 0.1, seed: int = 0) -> torch.nn.Module:
    """Add noise to every trained weight, so that layers that start at zero do something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module


@pytest.fixture(scope="session")
def shaken() -> Callable[..., torch.nn.Module]:
    return shake


@pytest.fixture
def make_model(language) -> Callable[..., MoMug]:
    """``make_model(lora_rank=0)``: a whole MoMug with random weights on the tiny base model."""
    from backend.language import base

    def make(lora_rank: int = 0) -> MoMug:
        config = make_config(base=base.base_hash(), lora_rank=lora_rank)
        torch.manual_seed(1)
        codec = shake(CausalVAE(config.codec), 0.02).eval()
        head = shake(MotionHead(config)).requires_grad_(False).eval()
        model, tokenizer = language
        loop = None
        if lora_rank:
            loop = LanguageLoop(config, model, tokenizer)
            with torch.no_grad():
                for tensor in loop.trainable().values():
                    tensor.add_(0.05 * torch.randn_like(tensor))
            loop.requires_grad_(False).eval()
        return MoMug(config, codec, head, model, tokenizer, loop)

    return make


@pytest.fixture
def real_base() -> Path:
    """The converted base language model on this computer; skips where set-up has not run."""
    folder = paths.base_model_folder()
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"the base language model is not installed at {folder}: run python3 build.py setup")
    return folder


@pytest.fixture(scope="session")
def child_environment(root) -> dict[str, str]:
    """Environment of a fresh interpreter that finds ``backend`` in this checkout."""
    return os.environ | {"PYTHONPATH": str(root)}


def save_split(folder, split: str, motions: list, captions: list[str]) -> None:
    lengths = np.array([m.frames for m in motions])
    np.savez(
        folder / f"{split}.npz",
        rotations=np.concatenate([m.rotations for m in motions]),
        translation=np.concatenate([m.translation for m in motions]),
        contacts=np.concatenate([m.contacts for m in motions]).astype(np.uint8),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
    )
    lines = [json.dumps({"captions": [caption]}) for caption in captions]
    (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def write_split() -> Callable[..., None]:
    """``save_split(folder, split, motions, captions)``: one split of a data set."""
    return save_split
