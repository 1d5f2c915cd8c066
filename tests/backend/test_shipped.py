"""The weights that are shipped: they do what the sentence says, and their card says where they come from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.codecs.causal_vae import load_codec
from backend.codecs.vq_vae import load_vq
from backend.evaluation.condition_cases import target_of
from backend.models import describe, load
from backend.models.interface import GenerateRequest
from backend.motion import features

pytestmark = pytest.mark.slow
SEEDS = 4


@pytest.fixture(scope="module")
def folder(request) -> Path:
    found = Path(request.config.rootpath) / "checkpoints" / "momug"
    if not (found / "config.json").is_file():
        pytest.skip("no trained weights in checkpoints/momug")
    return found


@pytest.fixture(scope="module")
def model(folder):
    from backend import paths

    if not (paths.base_model_folder() / "model.safetensors").is_file():
        pytest.skip("the base language model is not installed: run python3 build.py setup")
    return load("momug", "cpu", checkpoints=folder.parent)


def generate(model, prompt: str, **more) -> list:
    request = GenerateRequest(prompt, seconds=4.0, seed=0, variations=SEEDS, **more)
    return model.generate(request, lambda *a: None, lambda: False).motions


def forward(motion) -> float:
    """Metres travelled along the motion's own heading."""
    return float(features.encode(motion)[1:, 1].sum())


def speed(motion) -> float:
    """Mean speed of the pelvis over the floor, m/s."""
    return float(np.linalg.norm(np.diff(motion.translation[:, [0, 2]], axis=0), axis=-1).mean() * motion.fps)


@pytest.fixture(scope="module")
def walks(model):
    return generate(model, "a person walks forward")


def test_it_is_offered(folder):
    found = next(r for r in describe(folder.parent) if r["name"] == "momug")
    assert found["available"] and found["presets"]


def test_walking_goes_forward(walks):
    assert sum(forward(m) > 0.5 for m in walks) > SEEDS / 2, [forward(m) for m in walks]


def test_a_walk_is_a_person_on_the_floor(walks):
    for motion in walks:
        joints = motion.joints()
        assert motion.frames == 120 and np.isfinite(joints).all()
        assert 0.6 < motion.translation[:, 1].mean() < 1.2
        assert joints[..., 1].min() > -0.3 and joints[..., 1].max() < 2.5


def test_running_is_faster_than_walking(model, walks):
    runs = generate(model, "a person runs forward")
    assert np.mean([speed(m) for m in runs]) > 1.4 * np.mean([speed(m) for m in walks])


def test_same_seed_same_motion(model, walks):
    again = generate(model, "a person walks forward")
    # bit for bit with the same number of threads; another number adds up in another order (6e-8 was measured)
    apart = max(np.abs(a.rotations - b.rotations).max() for a, b in zip(walks, again, strict=True))
    assert apart < 1e-5, f"quaternions differ by {apart}"
    assert np.abs(walks[0].rotations - walks[1].rotations).max() > 1e-3


def test_a_last_pose_is_come_to_in_good_time(model):
    """No rush in the last tenth of a second: velocities change there by 0.1 m/s a frame in capture."""
    crouch = generate(model, "a person crouches down")[0]
    for motion in generate(model, "a person walks forward", target=target_of(crouch, [119])):
        joints = motion.joints().astype(float)
        assert np.abs(joints[119] - crouch.joints()[119]).max() < 0.01
        change = np.linalg.norm(np.diff(joints, n=2, axis=0), axis=-1).mean(1) * motion.fps
        assert change[-3:].max() < 0.3


def test_captions_are_sentences(model, walks):
    if model.loop is None:
        pytest.skip("these weights have no language half")
    said = model.caption(walks[0], lambda *a: None, lambda: False)
    assert len(said.split()) >= 3 and said.isprintable()


def test_model_card(folder):
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "mocap.cs.cmu.edu" in card
    assert "EIA-0196217" in card  # the grant that the CMU data asks to be named
    assert "SmolLM2" in card


def test_the_codec_keeps_a_walk(folder, walks):
    """What comes out is what went in, on motion that the model made."""
    codec = load_codec(folder)
    for motion in walks:
        frames = torch.from_numpy(features.encode(motion))[None]
        with torch.no_grad():
            back = codec.decode(codec.encode(frames))
        apart = features.local_positions(back) - features.local_positions(frames)
        assert apart.norm(dim=-1).mean() < 0.02
        assert codec.encode(frames).shape == (1, motion.frames // 4, 64)
    card = (folder / "CODEC_CARD.md").read_text(encoding="utf-8")
    assert "EIA-0196217" in card and "shippable" in card


def test_the_vq_codec_keeps_a_walk(folder, walks):
    """checkpoints/vq_vae, on its causal VAE: codes of a walk that a model made give the walk back, the more levels the
    nearer."""
    if not (folder.parent / "vq_vae" / "vq.safetensors").is_file():
        pytest.skip("this checkout has no checkpoints/vq_vae")
    codec = load_vq(folder.parent / "vq_vae")
    levels = codec.config.levels
    for motion in walks:
        frames = torch.from_numpy(features.encode(motion))[None]
        codes = codec.encode(frames)
        assert codes.shape == (1, motion.frames // 4, levels)
        back = [codec.decode(codes[..., :n]) for n in (1, levels)]
        apart = [(features.local_positions(x) - features.local_positions(frames)).norm(dim=-1).mean() for x in back]
        assert apart[1] < apart[0] and apart[1] < 0.035
    card = (folder.parent / "vq_vae" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "EIA-0196217" in card and "shippable" in card
