"""MotionGPT with random weights on a tiny base model and a small codec, for the tests of its parts."""

import pytest
import torch

from backend.codecs.causal_vae import CausalVAE, CausalVAEConfig, codec_hash, save_codec
from backend.codecs.vq_vae import VQVAE, VQVAEConfig, save_vq, vq_hash
from backend.language import base
from backend.models.motiongpt.checkpoint import save_checkpoint
from backend.models.motiongpt.config import MotionGPTConfig
from backend.models.motiongpt.model import load_checkpoint
from backend.models.motiongpt.network import MotionTokens

CODES = 16
SIZES = {"text_width": 48, "head_width": 12, "first_layer": 1, "last_layer": 2, "lora_rank": 2, "finer_width": 8}


@pytest.fixture
def motiongpt_folder(tiny_base, tmp_path, monkeypatch, shaken):
    """A folder of checkpoints: a small causal VAE, a VQ codec on it, and MotionGPT on both, all random."""
    folder = tmp_path / "checkpoints"
    for name in ("momug", "vq_vae", "motiongpt"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv("MOMUG_CHECKPOINTS", str(folder))
    torch.manual_seed(1)
    vae = shaken(CausalVAE(CausalVAEConfig(width=16, latent=8, blocks=1)), 0.02)
    save_codec(vae, folder / "momug")
    vq = VQVAE(VQVAEConfig(CODES, 6, 3, 8, 1, codec_hash(folder / "momug")), vae)
    for book in vq.books:
        book.codes.normal_()
    save_vq(vq, folder / "vq_vae")
    config = MotionGPTConfig(
        base=base.base_hash(), vq=vq_hash(folder / "vq_vae"), codes=CODES, levels=3, code_width=6, **SIZES
    )
    tokens = MotionTokens(config, base.load_language_model(), torch.stack([book.codes for book in vq.books]), 0.5)
    with torch.no_grad():
        for tensor in tokens.trainable().values():
            tensor.add_(0.05 * torch.randn_like(tensor))
    save_checkpoint(tokens, config, folder / "motiongpt")
    return folder


@pytest.fixture
def motiongpt(motiongpt_folder):
    """It, loaded."""
    return load_checkpoint(motiongpt_folder / "motiongpt", "cpu", "float32")
