"""Style packs: trained on a folder, installed, listed, weighted, and the default untouched without one."""

import json

import numpy as np
import pytest
import torch

from backend import models, paths
from backend.errors import BackendError
from backend.models import styles
from backend.models.interface import GenerateRequest
from backend.models.momug import style
from backend.models.momug.model import load_checkpoint, save_checkpoint
from backend.training import train
from backend.training.style import install

RECIPE = """
task = "style"
batch = 4
bf16 = false
start = "{start}"
[style]
rank = 2
licence = "CC0"
commercial = false
[schedule]
learning_rate = 0.05
steps = 6
warmup = 1
validate_every = 3
log_every = 1
ema = 0.0
"""


@pytest.fixture
def shipped(make_model, tmp_path, monkeypatch):
    """A checkpoint folder with random weights, and the user's folder of packs."""
    monkeypatch.setenv("MOMUG_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("MOMUG_STYLES", str(tmp_path / "packs"))
    folder = tmp_path / "checkpoints" / "momug"
    save_checkpoint(make_model(), folder)
    return folder


@pytest.fixture
def trained(shipped, tmp_path, motion, write_split):
    """A pack called "proud", trained for six steps on eight windows."""
    data = tmp_path / "data"
    data.mkdir()
    made = [motion(frames=64 + 4 * i, speed=0.5 + 0.3 * i, turn=0.2 * i, phase=float(i)) for i in range(8)]
    write_split(data, "train", made, ["a person walks forward", "someone sits down, then waves"] * 4)
    # a folder this small has no held-out window
    empty = {"rotations": np.zeros((0, 22, 4)), "translation": np.zeros((0, 3)), "contacts": np.zeros((0, 4))}
    np.savez(data / "val.npz", **empty, starts=np.zeros(0, int), lengths=np.zeros(0, int))
    (data / "val.jsonl").write_text("", encoding="utf-8")
    recipe = tmp_path / "style.toml"
    recipe.write_text(RECIPE.format(start=shipped), encoding="utf-8")
    record = train(str(recipe), data, tmp_path / "run", device="cpu", name="proud")
    assert record["step"] == 6 and {"val_loss", "val_loss_without"} <= set(record["validation"])
    return tmp_path / "run" / "best"


def made(model, **fields):
    request = GenerateRequest("a person walks forward", seconds=2.0, seed=3, **fields)
    return model.generate(request, lambda *step: None, lambda: False).motions[0].rotations


def test_a_pack_from_a_folder_of_motion(trained, shipped):
    plain = load_checkpoint(shipped)
    before = made(plain)
    assert models.describe_one("momug")["styles"] == []
    with pytest.raises(BackendError, match="no style pack called 'proud'"):
        made(plain, style="proud")
    place = install(trained)
    assert place == paths.styles_folder() / "proud"
    listed = models.describe_one("momug")["styles"]
    assert listed == [{"name": "proud", "label": "proud", "licence": "CC0", "commercial": False}]
    full = made(plain, style="proud")
    half = made(plain, style="proud", style_weight=0.5)
    none = made(plain, style="proud", style_weight=0.0)
    assert np.abs(full - before).max() > 1e-3
    assert 1e-4 < np.abs(half - before).max() and np.abs(half - full).max() > 1e-4
    assert np.allclose(none, before, atol=1e-5)
    assert np.allclose(made(plain), before, atol=1e-5)  # without a style it is as it was
    assert (place / "style.safetensors").stat().st_size < 100_000


def test_packs_of_another_head_are_not_offered(trained, shipped):
    place = install(trained)
    about = json.loads((place / "style.json").read_text(encoding="utf-8"))
    (place / "style.json").write_text(json.dumps(about | {"head": "0" * 64}), encoding="utf-8")
    assert styles.installed(shipped) == {}
    (place / "style.json").write_text("{", encoding="utf-8")
    assert styles.installed(shipped) == {}


def test_a_pack_that_does_not_fit_its_description(trained, shipped):
    place = install(trained)
    about = json.loads((place / "style.json").read_text(encoding="utf-8"))
    (place / "style.json").write_text(json.dumps(about | {"rank": 3}), encoding="utf-8")
    with pytest.raises(BackendError, match="does not fit") as caught:
        made(load_checkpoint(shipped), style="proud")
    assert caught.value.code == "checkpoint_damaged"


def test_two_packs_do_not_mix(trained, shipped, make_model):
    install(trained)
    model = load_checkpoint(shipped)
    proud = made(model, style="proud")
    other = styles.read(trained)
    other.name = "tired"
    torch.manual_seed(1)
    head = load_checkpoint(shipped).head
    style.inject(head, "tired", 2)
    with torch.no_grad():
        for tensor in style.tensors(head, "tired").values():
            tensor.normal_(0, 0.3)
    style.save(head, other, paths.styles_folder() / "tired")
    assert not np.allclose(made(model, style="tired"), proud, atol=1e-3)
    assert np.allclose(made(model, style="proud"), proud, atol=1e-5)


@pytest.mark.parametrize("name", ["", "Proud Walk", "../up"])
def test_bad_names(shipped, tmp_path, name):
    recipe = tmp_path / "style.toml"
    recipe.write_text(RECIPE.format(start=shipped), encoding="utf-8")
    with pytest.raises(BackendError, match="name of small letters"):
        train(str(recipe), tmp_path, tmp_path / "run", device="cpu", name=name or None)


def test_nothing_to_install(tmp_path):
    with pytest.raises(BackendError, match="no style pack in"):
        install(tmp_path)
