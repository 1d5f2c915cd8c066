"""Checkpoint folders: written, read back, and what is said about each way in which they can be broken."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from backend import models
from backend.errors import BackendError
from backend.language import base, text
from backend.models.interface import GenerateRequest
from backend.models.momug.model import load_checkpoint, save_checkpoint


def generate(model, preset=None):
    request = GenerateRequest("a person walks forward", seconds=1.5, seed=3, preset=preset)
    return model.generate(request, lambda *a: None, lambda: False).motions[0]


@pytest.fixture
def checkpoint(make_model, tmp_path) -> Path:
    """A stage 2 checkpoint under ``checkpoints/momug``."""
    folder = tmp_path / "checkpoints" / "momug"
    save_checkpoint(make_model(4), folder)
    return folder


def failure(folder: Path) -> BackendError:
    with pytest.raises(BackendError) as caught:
        load_checkpoint(folder, "cpu", "float32")
    error = caught.value
    assert error.message.endswith(".") and error.message[0].isupper() and "\n" not in error.message
    assert error.hint
    assert str(folder.parent) not in error.message  # a sentence for people, not a path
    return error


@pytest.mark.parametrize("rank", [0, 4])
def test_round_trip(make_model, tmp_path, motion, rank):
    model = make_model(rank)
    for part in (model.codec, model.head):
        part.half().float()  # files hold float16
    if rank:
        with torch.no_grad():
            for tensor in model.loop.trainable().values():
                tensor.copy_(tensor.half())
    save_checkpoint(model, tmp_path / "one")
    back = load_checkpoint(tmp_path / "one", "cpu", "float32")
    assert back.config == model.config
    for preset in ("fast", "full") if rank else ("fast",):
        a, b = generate(model, preset), generate(back, preset)
        assert np.array_equal(a.rotations, b.rotations) and np.array_equal(a.translation, b.translation)
    if rank:
        assert back.caption(motion(), lambda *a: None, lambda: False) == model.caption(
            motion(), lambda *a: None, lambda: False
        )
    save_checkpoint(back, tmp_path / "two")
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == sorted(p.name for p in (tmp_path / "two").iterdir())
    for file in (tmp_path / "one").glob("*.safetensors"):
        assert base.sha256_file(file) == base.sha256_file(tmp_path / "two" / file.name)


def test_loaded_weights_are_frozen_and_read_by_name(checkpoint):
    model = models.load("momug", "cpu", "float32", checkpoints=checkpoint.parent)
    for part in (model.codec, model.head, model.loop):
        assert not part.training and not any(p.requires_grad for p in part.parameters())
    with pytest.raises(BackendError) as caught:
        models.load("mogug", checkpoints=checkpoint.parent)
    assert caught.value.code == "unknown_model" and "momug" in caught.value.hint


def test_bfloat16_stays_close(checkpoint):
    exact, rough = (load_checkpoint(checkpoint, "cpu", precision) for precision in ("float32", "bfloat16"))
    assert next(rough.language_model.parameters()).dtype == torch.bfloat16
    assert next(rough.head.parameters()).dtype == torch.float32  # what becomes motion stays exact
    ids, mask = text.tokenise(exact.tokenizer, ["a person walks forward"])
    lengths = torch.tensor([6])
    latents = torch.randn(1, 6, exact.config.codec.latent)
    found = []
    for model in (exact, rough):
        with torch.no_grad():
            states, cache = model.loop.prefix(ids, mask)
            found.append(torch.cat([states, model.loop.motion_states(latents, lengths * 50, lengths, cache, mask)], 1))
    assert found[1].dtype == torch.float32
    assert torch.cosine_similarity(*found, dim=-1).min() > 0.99
    assert np.isfinite(generate(rough, "full").rotations).all()


@pytest.mark.parametrize("precision", ["float8", ""])
def test_unknown_precision(checkpoint, precision):
    with pytest.raises(BackendError) as caught:
        load_checkpoint(checkpoint, "cpu", precision)
    assert caught.value.code == "bad_request"


def test_missing_folder(tiny_base, tmp_path):
    assert failure(tmp_path / "checkpoints" / "momug").code == "checkpoint_missing"


@pytest.mark.parametrize(
    "name", ["config.json", "codec.json", "codec.safetensors", "head.safetensors", "language.safetensors"]
)
def test_missing_file(checkpoint, name):
    (checkpoint / name).unlink()
    assert failure(checkpoint).code == "checkpoint_missing"


@pytest.mark.parametrize("name", ["codec.safetensors", "head.safetensors", "language.safetensors", "codec.json"])
def test_one_changed_byte(checkpoint, name):
    content = bytearray((checkpoint / name).read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / name).write_bytes(content)
    error = failure(checkpoint)
    assert error.code == "checkpoint_damaged" and name in error.message


@pytest.mark.parametrize("name", ["codec.safetensors", "head.safetensors", "language.safetensors"])
@pytest.mark.parametrize("left", [0, 5, 1000])
def test_truncated_weights(checkpoint, name, left):
    (checkpoint / name).write_bytes((checkpoint / name).read_bytes()[:left])
    assert failure(checkpoint).code == "checkpoint_damaged"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"momug"', "{}", '{"codec": 3, "sha256": {}}', '{"codec": {"colour": 1}, "sha256": {}}'],
)
def test_damaged_config(checkpoint, text):
    (checkpoint / "config.json").write_text(text, encoding="utf-8")
    assert failure(checkpoint).code == "checkpoint_damaged"


def test_config_that_is_not_text(checkpoint):
    (checkpoint / "config.json").write_bytes(b"\xff\xfe\x00momug")
    assert failure(checkpoint).code == "checkpoint_damaged"


def test_config_that_forgets_a_file(checkpoint):
    """A weight file without a hash, and then without the file: never a bare traceback."""
    values = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    values["sha256"].pop("head.safetensors")
    (checkpoint / "config.json").write_text(json.dumps(values), encoding="utf-8")
    (checkpoint / "head.safetensors").unlink()
    assert failure(checkpoint).code in ("checkpoint_missing", "checkpoint_damaged")


def test_sizes_that_do_not_fit_the_weights(checkpoint):
    values = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    values["width"] = 32
    (checkpoint / "config.json").write_text(json.dumps(values), encoding="utf-8")
    assert failure(checkpoint).code == "checkpoint_damaged"


def test_another_base_model(checkpoint, tiny_base):
    weights = tiny_base / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    error = failure(checkpoint)
    assert error.code == "base_mismatch" and "another base" in error.message


def test_no_base_model(checkpoint, tiny_base):
    shutil.rmtree(tiny_base)
    error = failure(checkpoint)
    assert error.code == "base_missing" and "setup" in error.hint


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", base.DONE])
def test_damaged_base_model(checkpoint, tiny_base, name):
    if name == base.DONE:
        (tiny_base / name).write_text("{", encoding="utf-8")
    else:  # as after a full disk: the record is whole, the file is not
        record = {"gguf_sha256": base.base_hash(), "sha256": ""}
        (tiny_base / base.DONE).write_text(json.dumps(record), encoding="utf-8")
        (tiny_base / name).write_bytes((tiny_base / name).read_bytes()[:200])
    error = failure(checkpoint)
    assert error.code == "base_missing" and "damaged" in error.message and "setup" in error.hint


def test_a_converted_base_is_known_by_its_source(tiny_base):
    (tiny_base / base.DONE).write_text(json.dumps({"gguf_sha256": "abc", "sha256": "def"}), encoding="utf-8")
    assert base.base_hash() == "abc"
    (tiny_base / base.DONE).unlink()
    assert base.base_hash() == base.sha256_file(tiny_base / "model.safetensors")


def test_converting_what_is_not_there(tmp_path):
    with pytest.raises(BackendError) as caught:
        base.convert(tmp_path / "nothing.gguf", tmp_path / "out")
    assert caught.value.code == "bad_file" and not (tmp_path / "out").exists()


def record(folder: Path) -> dict:
    found = next(r for r in models.describe(folder.parent) if r["name"] == "momug")
    json.dumps(found)  # it travels in the hello message
    return found


def test_describe(checkpoint, small):
    found = record(checkpoint)
    assert found["available"] and found["captions"] and found["reason"] == ""
    assert (found["fps"], found["joints"]) == (30.0, 22)
    assert (found["min_seconds"], found["max_seconds"], found["default_steps"]) == (1.0, 10.0, small().steps)
    assert [p["name"] for p in found["presets"]] == ["fast", "best", "full"]
    assert found["default_preset"] in [p["name"] for p in found["presets"]]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"steps": 4}', b"\xff\xfe"])
def test_describe_damaged(checkpoint, text):
    (checkpoint / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    found = record(checkpoint)
    assert not found["available"] and "damaged" in found["reason"]


def test_describe_what_cannot_be_read(checkpoint):
    (checkpoint / "config.json").unlink()
    (checkpoint / "config.json").mkdir()
    found = record(checkpoint)
    assert not found["available"] and "damaged" in found["reason"]


def test_describe_missing(tmp_path):
    found = record(tmp_path / "nowhere" / "momug")
    assert not found["available"] and "not installed" in found["reason"]


def test_describing_needs_no_pytorch(checkpoint, child_environment):
    program = (
        "import json, sys\n"
        "from backend.models import describe\n"
        "found = describe()\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules), 'heavy imports'\n"
        "print(json.dumps(found))\n"
    )
    for folder, available in ((checkpoint.parent, True), (checkpoint.parent / "none", False)):
        child = subprocess.run(
            [sys.executable, "-c", program],
            env=child_environment | {"MOMUG_CHECKPOINTS": str(folder)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert child.returncode == 0, child.stderr
        assert [r["available"] for r in json.loads(child.stdout) if r["name"] == "momug"] == [available]
