"""LLaMo's training: captions' keys and values on disk, both kinds of steps, resuming; and what measures its streams."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from backend.codecs.causal_vae import CausalVAE, CausalVAEConfig, save_codec
from backend.evaluation import endurance, unseen
from backend.evaluation.prompts import PROMPTS
from backend.language import base
from backend.models.llamo.model import load_checkpoint
from backend.models.llamo.text_half import text_keys
from backend.training.llamo import LLaMoTask
from backend.training.run import train
from backend.training.text_keys import TextKeys, chosen_captions
from tests.backend.test_llamo import make_llamo  # noqa: F401

CAPTIONS = ("a person walks forward", "someone sits down, then waves", "a person jumps up and turns left")
RECIPE = """
task = "llamo"
codec = "codec"
batch = 2
captions = 2
caption_share = {share}
caption_batch = 2
own_share = 0.5
own_from = 2
bf16 = false
[model]
width = 16
feed = 24
flow_width = 32
flow_layers = 2
steps = 2
[schedule]
learning_rate = 2e-3
steps = {steps}
warmup = 2
validate_every = 4
log_every = 2
"""


@pytest.fixture
def place(tiny_base, tmp_path, motion, write_split, shaken):
    """A folder with a data set of six windows in ``data`` and a codec in ``runs/codec``."""
    data, runs = tmp_path / "data", tmp_path / "runs"
    data.mkdir()
    (runs / "codec").mkdir(parents=True)
    save_codec(shaken(CausalVAE(CausalVAEConfig(width=16, latent=8, blocks=1)), 0.02), runs / "codec")
    motions = [motion(frames=40 + 8 * i, turn=0.4 * i) for i in range(6)]
    write_split(data, "train", motions, [CAPTIONS[i % 3] for i in range(6)])
    write_split(data, "val", motions[:2], list(CAPTIONS[:2]))
    return tmp_path


def run(place, steps: int, share: float = 0.3, resume: bool = False) -> dict:
    recipe = place / "small.toml"
    recipe.write_text(RECIPE.format(steps=steps, share=share))
    return train(str(recipe), place / "data", place / "runs" / "llamo", resume, device="cpu")


def test_both_kinds_of_steps_train_and_the_checkpoint_generates(place):
    record = run(place, 8)
    assert (
        record["step"] == 8 and np.isfinite(record["best"]) and {"flow", "exit", "caption"} <= set(record["validation"])
    )
    best = place / "runs" / "llamo" / "best"
    config = json.loads((best / "config.json").read_text())
    assert config["streams"] and config["width"] == 16
    (place / "runs" / "llamo" / "momug").symlink_to(place / "runs" / "codec")  # the codec beside the checkpoint
    assert load_checkpoint(best, "cpu", "float32").config.codec_hash == config["codec_hash"]


def test_a_resumed_run_knows_how_far_it_is(place):
    run(place, 4)
    state = load_file(place / "runs" / "llamo" / "last" / "state.safetensors")
    assert state["buffer/trained"].item() == 4
    assert run(place, 6, resume=True)["step"] == 6
    state = load_file(place / "runs" / "llamo" / "last" / "state.safetensors")
    assert state["buffer/trained"].item() == 6


def make_task(place, **changes) -> LLaMoTask:
    recipe = {"codec": "codec", "batch": 4, "caption_share": 0.0, "bf16": False, "own_share": 0.0, "input_noise": 0.0}
    recipe |= {"model": {"width": 32, "feed": 48, "flow_width": 64, "flow_layers": 2}} | changes
    torch.manual_seed(0)
    return LLaMoTask(recipe, place / "data", "cpu", place / "runs" / "llamo")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_each_loss_falls(place, share):
    """A few steps on six windows: the expert learns them, and the base model stays byte for byte what it was."""
    task = make_task(place, caption_share=share, caption_weight=1.0)
    before = {n: p.clone() for n, p in task.llamo.language_model.named_parameters()}
    optimiser, losses = torch.optim.Adam(task.parameter_groups(5e-3)), []
    for _ in range(60):
        loss, _ = task.loss(task.model)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert all(torch.equal(p, before[n]) for n, p in task.llamo.language_model.named_parameters())


def test_own_predictions_replace_a_share_of_the_inputs(place):
    task = make_task(place, own_share=0.5, own_from=0, batch=4)
    z = torch.randn(4, 10, 8)
    past, seen = task.keys.batch(list(CAPTIONS) + [""])
    task.model.trained += 1
    read = task._inputs(z, past, seen, seen.sum(1))
    replaced = (read != z).all(-1).float().mean()
    assert 0.2 < replaced < 0.8 and torch.equal(read[read == z], z[read == z])
    task.recipe["own_from"] = 5
    assert torch.equal(task._inputs(z, past, seen, seen.sum(1)), z)


def test_keys_of_captions_are_kept(language, tmp_path, monkeypatch):
    model, tokenizer = language
    keys = TextKeys(model, tokenizer, list(CAPTIONS), "cpu", tmp_path, base.base_hash())
    found, mask = keys.batch([CAPTIONS[1], "", CAPTIONS[0]])
    assert found.dtype == torch.bfloat16 and mask[1].sum() == 1  # a dropped sentence is BOS alone
    ids = torch.tensor([[tokenizer.bos_token_id] + tokenizer(CAPTIONS[0], add_special_tokens=False)["input_ids"]])
    wanted = text_keys(model, ids, torch.ones_like(ids, dtype=torch.bool))
    assert torch.allclose(found[:, :, 2:, :, : ids.shape[1]].float(), wanted, atol=0.02, rtol=0.02)
    assert keys.length(CAPTIONS[0]) == ids.shape[1]

    def never(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr("backend.training.text_keys.text_keys", never)
    again, _ = TextKeys(model, tokenizer, [CAPTIONS[0]], "cpu", tmp_path, base.base_hash()).batch([CAPTIONS[0]])
    assert torch.equal(again[:, :, 0], found[:, :, 2, :, : ids.shape[1]])
    with pytest.raises(AssertionError, match="computed again"):
        TextKeys(model, tokenizer, ["something new"], "cpu", tmp_path, base.base_hash())


def test_captions_that_many_windows_share_come_first():
    rows = [{"captions": ["a", "walks", "b"]}, {"captions": ["walks", "c", "d"]}, {"captions": ["e"]}]
    assert chosen_captions(rows, 2) == [["walks", "a"], ["walks", "c"], ["e"]]


def test_a_long_stream_is_measured(make_llamo):  # noqa: F811
    record = endurance.endurance(make_llamo(window=12, recall=4), 25.0, hold=10.0, preset="fast")
    assert [row["seconds"] for row in record["sections"]] == [0, 10, 20]
    assert [row["sentence"] for row in record["sections"]] == list(endurance.SENTENCES[:3])
    assert record["seconds"] == 25 and record["latent_ms"]["p50"] <= record["latent_ms"]["p99"] and record["fps"] > 0
    assert endurance.text_table(record).count("\n") == 6


def test_unseen_compositions(make_llamo, monkeypatch):  # noqa: F811
    said = [prompt.text for prompt in PROMPTS]
    assert len(unseen.UNSEEN) == 20 and "a person runs forward, then sits down" not in unseen.heard(said)
    said.append("someone is running forward, then sits down")
    with pytest.raises(ValueError, match="runs forward, then sits"):
        monkeypatch.setattr(unseen, "UNSEEN", unseen.UNSEEN[1:2])
        unseen.unseen(None, said)
    record = unseen.unseen(make_llamo(), said[:-1], seeds=1, preset="fast")
    assert record["passed"]["mean"] in (0, 1) and record["each"][0]["text"] == "a person runs forward, then sits down"
    assert "a person runs forward, then sits down" in unseen.text_table(record)
