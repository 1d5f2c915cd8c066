"""MotionGPT's task on a tiny base model: what it draws, what it learns, what it writes."""

import numpy as np
import pytest
import torch
from motions import raise_hand, walk

from backend.codecs.causal_vae import CausalVAE, CausalVAEConfig, codec_hash, save_codec
from backend.codecs.vq_vae import VQVAE, VQVAEConfig, save_vq
from backend.data import store
from backend.data.encode import encode
from backend.language import base
from backend.models.interface import GenerateRequest
from backend.models.motiongpt.model import load_checkpoint
from backend.models.motiongpt.paper import CodesAsText, read_codes
from backend.training.motiongpt import KINDS, MotionGPTTask

CODES = 16
MODEL = {
    "text_width": 48,
    "head_width": 12,
    "first_layer": 1,
    "last_layer": 2,
    "lora_rank": 4,
    "lora_alpha": 8,
    "finer_width": 8,
}


@pytest.fixture
def task(tiny_base, tmp_path, monkeypatch):
    """The task on four windows, with a random codec."""
    monkeypatch.setenv("MOMUG_CHECKPOINTS", str(tmp_path))
    for name in ("momug", "vq_vae", "data"):
        (tmp_path / name).mkdir()
    torch.manual_seed(0)
    vae = CausalVAE(CausalVAEConfig(width=16, latent=8, blocks=1))
    save_codec(vae, tmp_path / "momug")
    vq = VQVAE(VQVAEConfig(CODES, 6, 3, 8, 1, codec_hash(tmp_path / "momug")), vae)
    for book in vq.books:
        book.codes.normal_()
    save_vq(vq, tmp_path / "vq_vae")
    windows = [(walk(4), "a person walks"), (raise_hand("left"), "raises a hand"), (walk(2.5, 2.0), "someone runs")]
    for split, motions in (("train", [*windows, (walk(3), "walks on")]), ("val", windows[:2]), ("test", [])):
        rows = [{"id": str(i), "captions": [text], "weight": 1.0} for i, (_, text) in enumerate(motions)]
        store.write_split(tmp_path / "data", split, [motion for motion, _ in motions], rows)
    encode(tmp_path / "data", tmp_path / "momug", tmp_path / "tokens", lambda line: None, tmp_path / "vq_vae")
    recipe = {"batch": 4, "caption_share": 0.3, "bf16": False, "model": MODEL}
    return MotionGPTTask(recipe, tmp_path / "tokens", "cpu", tmp_path / "runs" / "motiongpt")


def test_tokens_hold_whole_steps(task):
    for codes, vectors, latents in zip(task.train.codes, task.train.vectors, task.train.latents, strict=True):
        assert len(codes) == len(vectors) == -(-len(latents) // 2) and codes.shape[1] == 6
        assert torch.allclose(task.model.vectors(codes), vectors, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_requests_give_poses_of_the_window_in_the_order_of_time(task, kind):
    task.train.pose([0])
    last = len(task.train.latents[0]) - 1
    for seed in range(8):
        example = task._example(task.train, 0, np.random.default_rng(seed), kind)
        steps = [step for step, _ in example.keys]
        assert steps == sorted(set(steps)) and all(0 <= step <= last for step in steps)
        assert bool(example.text) == (kind not in ("poses_only", "none"))
        wanted = {"first": {0}, "last": {last}, "poses_only": {0, last}}.get(kind, set())
        assert wanted <= set(steps) and bool(steps) == (kind not in ("text", "none"))


def test_loss_is_on_the_answer_and_falls(task):
    optimiser = torch.optim.AdamW(task.parameter_groups(1e-2))
    examples = [task._example(task.train, i, np.random.default_rng(i), "text") for i in range(4)]
    losses = []
    for _ in range(12):
        first, finer = task._answer_loss(examples, corrupt=False)
        optimiser.zero_grad()
        (first + finer).backward()
        optimiser.step()
        losses.append(first.item())
    assert losses[-1] < 0.7 * losses[0]
    frozen = [p for n, p in task.model.named_parameters() if n not in task.model.trainable()]
    assert frozen and all(p.grad is None for p in [*frozen, *task.text.language_model.parameters()])


def test_later_tokens_do_not_reach_back(task):
    """Causal: changing the end of an answer leaves the loss of its beginning as it is."""
    task.train.pose([0])
    example = task._example(task.train, 0, np.random.default_rng(0), "text")
    states, words = task._words([example])
    prefix = task.model.read(states, words)
    x = torch.randn(1, 5, 48)
    other = x.clone()
    other[:, 3:] += 1
    mask = torch.cat([words[:, None].expand(-1, 5, -1), torch.ones(1, 5, 5, dtype=torch.bool).tril()], 2)
    at = torch.arange(5)[None] + words.shape[1]
    a, b = (task.model.run(y, at, mask, prefix.into(task.text.new_cache())) for y in (x, other))
    assert torch.allclose(a[:, :3], b[:, :3], atol=1e-5) and not torch.allclose(a[:, 3:], b[:, 3:], atol=1e-3)


def test_captions_are_learnt(task):
    optimiser = torch.optim.AdamW(task.parameter_groups(1e-2))
    losses = []
    for _ in range(10):
        loss = task._caption_loss(task.train, [0, 1], ["a person walks", "raises a hand"])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.2


def test_a_step_validation_and_a_checkpoint_that_serves(task, tmp_path):
    for _ in range(3):
        loss, figures = task.loss(task.model)
        assert loss.isfinite() and figures
    with torch.no_grad():
        assert {"score", "text", "text_finer", "keys", "caption"} <= set(task.validate(task.model))
    task.export(task.model, tmp_path / "motiongpt", {"step": 3})
    model = load_checkpoint(tmp_path / "motiongpt", "cpu", "float32")
    made = model.generate(GenerateRequest("a person walks", 2.0, seed=1), lambda *step: None, lambda: False)
    assert made.motions[0].frames == 60


def test_codes_as_text_there_and_back(language):
    model = CodesAsText(language[0], base.load_tokenizer(), rank=4)
    ids = model.answer([12, 0, 15])
    assert read_codes(model.tokenizer.decode(ids[:-1]), CODES) == [12, 0, 15]
    for answer in ("12,x", "", "12,,3", "16", "-1", "a person walks"):
        assert read_codes(answer, CODES) is None
    losses = model.loss(["a person walks", "sits"], [[1, 2], [3]])
    assert losses.shape == (2,) and (losses > 0).all()
    assert isinstance(model.write("a person walks", 4), str)
