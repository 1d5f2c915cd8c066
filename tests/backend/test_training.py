"""Windows of a data set, and three steps of every stage: codec, head, language loop."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from backend.codecs.causal_vae import CausalVAEConfig, load_codec
from backend.errors import BackendError
from backend.evaluation.prompts import PROMPTS, adherence
from backend.models.interface import GenerateRequest
from backend.models.momug.model import load_checkpoint
from backend.motion import features
from backend.training import momug
from backend.training.codec import started
from backend.training.dataset import load_windows
from backend.training.run import read_recipe, train
from backend.training.variety import varied
from tests.backend.tiny_recipes import CODEC, HEAD, LOOP, recipe, rows


def test_windows(eight_windows, motion):
    windows = load_windows(eight_windows, "val", keep_motions=True)
    assert [len(f) for f in windows.features] == [50, 63] and len(windows) == len(windows.rows) == 2
    assert np.array_equal(windows.features[1], features.encode(motion(frames=63, speed=2.0)))
    assert np.array_equal(windows.motions[0].contacts, motion(frames=50).contacts)
    assert windows.rows[0]["captions"] == ["a person walks forward"]


def test_windows_that_are_not_there_or_do_not_agree(eight_windows):
    with pytest.raises(BackendError, match="no test split") as caught:
        load_windows(eight_windows, "test")
    assert caught.value.code == "bad_file" and "dataset build" in caught.value.hint
    with open(eight_windows / "val.jsonl", "a", encoding="utf-8") as file:
        file.write('{"captions": ["one too many"]}\n')
    with pytest.raises(BackendError, match="same windows"):
        load_windows(eight_windows, "val")


def test_every_stage_trains_and_hands_on(eight_windows, tmp_path, tiny_base, monkeypatch, motion):
    """Codec, head, language loop: three steps each on six windows, every stage starting from the one before."""
    runs = tmp_path / "runs"
    quick = SimpleNamespace(prompts=PROMPTS[:2], calls=0)

    def few_prompts(model, seeds, preset):
        quick.calls += 1
        return adherence(model, seeds=1, prompts=quick.prompts, preset=preset)

    monkeypatch.setattr(momug, "adherence", few_prompts)
    record = train(recipe(tmp_path, "codec", CODEC), eight_windows, runs / "codec", device="cpu")
    assert record["step"] == 3 and math.isfinite(record["best"])
    assert {"mpjpe_mm", "rotation_degrees", "path_error_mm", "jerk_ratio"} <= set(record["validation"])
    codec = load_codec(runs / "codec" / "best")
    with torch.no_grad():
        windows = [torch.from_numpy(w[:64]) for w in load_windows(eight_windows, "train").features]
        found = codec.encode(torch.stack(windows)).flatten(0, 1)
    assert found.mean(0).abs().max() < 1 and 0.3 < found.std() < 3  # scaled on crops of the same windows

    record = train(recipe(tmp_path, "head", HEAD), eight_windows, runs / "momug_head", device="cpu")
    assert record["step"] == 3 and math.isfinite(record["validation"]["val_loss"]) and quick.calls == 1
    head = load_checkpoint(runs / "momug_head" / "best", "cpu", "float32")
    assert head.loop is None

    train(recipe(tmp_path, "frames", "frames = true\n" + HEAD), eight_windows, runs / "momug_frames", device="cpu")
    raw = load_checkpoint(runs / "momug_frames" / "best", "cpu", "float32")
    assert raw.config.codec.latent == 4 * 155 and not list(raw.codec.parameters())
    result = raw.generate(GenerateRequest("a person walks", seconds=2, seed=1), lambda *a: None, lambda: False)
    assert result.motions[0].frames == 60 and np.isfinite(result.motions[0].translation).all()

    record = train(recipe(tmp_path, "loop", LOOP), eight_windows, runs / "momug", device="cpu")
    assert record["step"] == 3 and math.isfinite(record["validation"]["caption_loss"])
    logged = set().union(*(set(r) for r in rows(runs / "momug")))
    assert logged & {"motion", "caption"}
    whole = load_checkpoint(runs / "momug" / "best", "cpu", "float32")
    assert torch.equal(whole.codec.mean, head.codec.mean)
    result = whole.generate(GenerateRequest("a person walks", seed=1, preset="full"), lambda *a: None, lambda: False)
    assert np.isfinite(result.motions[0].rotations).all()
    assert isinstance(whole.caption(motion(), lambda *a: None, lambda: False), str)

    again = train(
        recipe(tmp_path, "loop", LOOP.replace("steps = 3", "steps = 4")), eight_windows, runs / "momug", resume=True
    )
    assert again["step"] == 4


def test_a_codec_goes_on_from_another(eight_windows, tmp_path):
    """Weights and normalisation are taken over; another shape, or nothing there, is an error that names the folder."""
    first = tmp_path / "first"
    train(recipe(tmp_path, "codec", CODEC), eight_windows, first, device="cpu")
    start = f'start = "{first / "best"}"\n'
    still = start + CODEC.replace("steps = 3", "steps = 3\nlearning_rate = 0.0").replace("batch = 4", "batch = 2")
    train(recipe(tmp_path, "again", still + "weight_decay = 0.0\n"), eight_windows, tmp_path / "second", device="cpu")
    a, b = load_codec(first / "best"), load_codec(tmp_path / "second" / "best")
    for name, parameter in a.named_parameters():
        assert torch.allclose(parameter, b.get_parameter(name), atol=1e-3), name
    assert torch.equal(a.mean, b.mean) and torch.equal(a.std, b.std)
    wider = recipe(tmp_path, "wider", start + CODEC.replace("width = 16", "width = 24"))
    with pytest.raises(BackendError, match="another shape"):
        train(wider, eight_windows, tmp_path / "third", device="cpu")
    more = recipe(
        tmp_path, "more", start + CODEC.replace("latent = 8", "latent = 12").replace("steps = 3", "steps = 0")
    )
    values = read_recipe(more)
    grown = started(Path(values["start"]), CausalVAEConfig(**values["codec"])).eval()
    window = torch.from_numpy(load_windows(eight_windows, "val").features[0][None, :48])
    with torch.no_grad():
        assert grown.encode_raw(window).shape[-1] == 12
        assert torch.allclose(grown.encode_raw(window)[..., :8], a.encode_raw(window), atol=1e-5)
        assert torch.allclose(grown.decode_raw(grown.encode_raw(window)), a.decode_raw(a.encode_raw(window)), atol=1e-5)
    nowhere = recipe(tmp_path, "nowhere", f'start = "{tmp_path / "nowhere"}"\n' + CODEC)
    with pytest.raises(BackendError, match="no codec to start from"):
        train(nowhere, eight_windows, tmp_path / "third", device="cpu")


def test_varied_windows_are_possible_poses(motion):
    """Rotations stay rotations, head, hands and feet lie where they put them, and the root keeps its path."""
    torch.manual_seed(0)
    made = [motion(frames=64, speed=0.5 + 0.3 * i, phase=float(i)) for i in range(8)]
    windows = torch.from_numpy(np.stack([features.encode(m) for m in made]))
    assert torch.allclose(varied(windows, 0.0), windows, atol=1e-5)
    changed = varied(windows, 1.0)
    six = changed[..., features.BLOCKS["rotations"]].unflatten(-1, (22, 6))
    matrices = features.six_to_matrix(six)
    assert torch.allclose(matrices[..., :2].transpose(-1, -2).flatten(-2), six, atol=1e-5)
    positions = features.local_positions(changed)
    ends = (positions[:, :, list(features.ENDS)] - positions[:, :, :1]).flatten(-2)
    assert torch.allclose(ends, changed[..., features.BLOCKS["ends"]], atol=1e-5)
    assert ((changed[..., 136:140] == 0) | (changed[..., 136:140] == 1)).all()
    path = changed[..., 1].sum(1) / windows[..., 1].sum(1)
    assert ((path > 0.7) & (path < 1.01)).all() and path.min() < 0.97  # played slower, so not as far
    turned = (
        matrices - features.six_to_matrix(windows[..., features.BLOCKS["rotations"]].unflatten(-1, (22, 6)))
    ).abs()
    assert (turned.amax((1, 3, 4)) > 0.01).any(0)[[15, 20, 21]].all()


def test_missing_data(tmp_path):
    with pytest.raises(BackendError, match="no train split") as caught:
        train(recipe(tmp_path, "codec", CODEC), tmp_path / "nothing", tmp_path / "out", device="cpu")
    assert caught.value.code == "bad_file"
