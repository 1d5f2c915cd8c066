"""The causal VAE: shapes, causality in both directions, reconstruction after a short overfit, files."""

import numpy as np
import pytest
import torch

from backend.codecs.causal_vae import (
    STRIDE,
    CausalVAE,
    CausalVAEConfig,
    frames_of,
    load_codec,
    reconstruction_loss,
    save_codec,
)
from backend.motion import features
from backend.motion.features import BLOCKS, WIDTH, Normaliser


@pytest.fixture
def codec(shaken) -> CausalVAE:
    # residual branches start at zero: shaken, they take part in the causality tests
    return shaken(CausalVAE(CausalVAEConfig(width=16, latent=6)), 0.1).eval()


@torch.no_grad()
def test_shapes(codec):
    window = torch.randn(3, 24, WIDTH)
    latents = codec.encode(window)
    assert latents.shape == (3, 24 // STRIDE, 6)
    back = codec.decode(latents)
    assert back.shape == (3, 24, WIDTH)
    contacts = back[..., BLOCKS["contacts"]]
    assert contacts.min() >= 0 and contacts.max() <= 1


@torch.no_grad()
@pytest.mark.parametrize("frame", [0, 3, 4, 17, 38, 39])
def test_a_frame_alters_no_earlier_latent(codec, frame):
    window = torch.randn(1, 40, WIDTH)
    changed = window.clone()
    changed[:, frame] += 3.0
    difference = (codec.encode(changed) - codec.encode(window)).abs().amax(-1)[0]
    assert difference[: frame // STRIDE].sum() == 0
    assert difference[frame // STRIDE] > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("latent", [0, 1, 5, 9])
def test_a_latent_alters_no_earlier_frame(codec, latent):
    latents = torch.randn(1, 10, 6)
    changed = latents.clone()
    changed[:, latent] += 3.0
    difference = (codec.decode(changed) - codec.decode(latents)).abs().amax(-1)[0]
    assert difference[: latent * STRIDE].sum() == 0
    assert (difference[latent * STRIDE : (latent + 1) * STRIDE] > 1e-4).all()


@torch.no_grad()
def test_decoding_what_has_arrived_equals_decoding_the_whole(codec):
    latents = torch.randn(1, 10, 6)
    whole = codec.decode(latents)
    assert torch.allclose(codec.decode(latents[:, :4]), whole[:, : 4 * STRIDE], atol=1e-5)


@torch.no_grad()
def test_latent_scale_is_undone(codec):
    latents = torch.randn(1, 5, 6)
    before = codec.decode(latents)
    codec.latent_mean.fill_(0.7)
    codec.latent_std.fill_(2.0)
    assert torch.allclose(codec.decode((latents - 0.7) / 2.0), before, atol=1e-5)


def test_one_window_can_be_learned(motion):
    """After 120 steps on one second: joints within 10 mm (the mean pose: 80 mm), path 10 mm, rotations 1.5 degrees."""
    window = torch.from_numpy(features.encode(motion(frames=32, turn=1.0, bend=0.4)))[None]
    codec = CausalVAE(CausalVAEConfig(width=32, latent=16, noise=0.0))
    normaliser = Normaliser.fit(window[0].numpy())
    codec.mean.copy_(normaliser.mean)
    codec.std.copy_(normaliser.std)
    optimiser = torch.optim.Adam(codec.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 8e-3, 120)
    for _ in range(120):
        loss, _ = reconstruction_loss(codec, window)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        back = codec.decode(codec.encode(window))
    wanted = features.local_positions(window)
    still = (wanted.mean(1, keepdim=True) - wanted).norm(dim=-1).mean()
    error = (features.local_positions(back) - wanted).norm(dim=-1).mean()
    assert error < 0.01 < 0.15 * still
    made, real = features.decode(back[0].numpy()), features.decode(window[0].numpy())
    assert np.linalg.norm(made.translation - real.translation, axis=-1).mean() < 0.01
    a, b = (features.six_to_matrix(x[0, :, BLOCKS["rotations"]].unflatten(-1, (22, 6))) for x in (back, window))
    cosine = ((a * b).sum((-1, -2)) - 1) / 2
    assert torch.rad2deg(cosine.clamp(-1, 1).acos()).mean() < 1.5
    contacts = BLOCKS["contacts"]
    assert ((back[..., contacts] > 0.5) == (window[..., contacts] > 0.5)).float().mean() > 0.97


@torch.no_grad()
def test_files_round_trip(codec, tmp_path):
    codec.latent_mean.normal_()
    codec.half().float()  # files hold float16
    save_codec(codec, tmp_path)
    back = load_codec(tmp_path)
    assert back.config == codec.config
    assert not back.training and not any(p.requires_grad for p in back.parameters())
    window = torch.randn(2, 16, WIDTH)
    assert torch.equal(back.encode(window), codec.encode(window))
    assert torch.equal(back.decode(codec.encode(window)), codec.decode(codec.encode(window)))


@torch.no_grad()
def test_frames_in_a_codecs_place_lose_nothing(codec, tmp_path):
    codec.mean.normal_()
    codec.std.uniform_(0.5, 2.0)
    codec.mean[BLOCKS["contacts"]], codec.std[BLOCKS["contacts"]] = 0.0, 1.0
    frames = frames_of(codec)
    window = torch.randn(2, 16, WIDTH)
    window[..., BLOCKS["contacts"]] = torch.rand(2, 16, 4).round()
    latents = frames.encode(window)
    assert latents.shape == (2, 4, STRIDE * WIDTH) == (2, 4, frames.config.latent)
    assert torch.allclose(frames.decode(latents), window, atol=1e-5)
    changed = window.clone()
    changed[:, 9] += 1.0  # the tenth frame is a quarter of the third latent
    moved = (frames.encode(changed) - latents).abs() > 1e-3
    assert moved[:, 2].sum() == 2 * WIDTH and moved.sum() == 2 * WIDTH
    save_codec(frames, tmp_path)
    assert load_codec(tmp_path).config == frames.config
