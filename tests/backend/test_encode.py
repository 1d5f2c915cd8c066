"""A data set as latents and tokens: what is written, read back, and refused."""

import gzip
import json

import numpy as np
import pytest
import torch
from motions import raise_hand, walk
from safetensors import safe_open
from safetensors.numpy import save_file

import backend.__main__ as command_line
from backend.codecs.causal_vae import CausalVAE, CausalVAEConfig, codec_hash, load_codec, save_codec
from backend.codecs.vq_vae import VQVAE, VQVAEConfig, load_vq, save_vq, vq_hash
from backend.data import store
from backend.data.encode import encode
from backend.errors import BackendError
from backend.motion import features
from backend.training.dataset import load_latents, load_tokens, load_windows


def codec(folder, seed=0):
    torch.manual_seed(seed)
    folder.mkdir()
    model = CausalVAE(CausalVAEConfig(width=16, latent=8, blocks=1))
    save_codec(model, folder)
    return folder


@pytest.fixture
def data(tmp_path):
    """A data set of three windows for training and one for validation, none for the test."""
    folder = tmp_path / "data"
    folder.mkdir()
    windows = [(walk(4), "a person walks"), (raise_hand("left"), "ein Gruß"), (walk(2.5, 2.0), "someone walks fast")]
    for split, motions in (("train", windows), ("val", windows[:1]), ("test", [])):
        rows = [{"id": str(i), "captions": [text], "weight": 1.0} for i, (_, text) in enumerate(motions)]
        store.write_split(folder, split, [motion for motion, _ in motions], rows)
    return folder


def test_latents_are_what_the_codec_gives(data, tmp_path):
    folder = codec(tmp_path / "codec")
    record = encode(data, folder, tmp_path / "out", lambda line: None)
    windows, found = load_windows(data, "train"), load_latents(tmp_path / "out", "train", codec_hash(folder))
    assert found.rows == windows.rows and len(found) == 3 and (found.stride, found.fps) == (4, 30)
    assert record["codec"] == found.codec and record["splits"]["train"]["latents"] == sum(map(len, found.latents))
    model = load_codec(folder)
    for latents, frames in zip(found.latents, windows.features, strict=True):
        assert latents.dtype == np.float32 and latents.shape == (len(frames) // 4, 8)
        whole = torch.from_numpy(frames[: len(frames) // 4 * 4])[None]
        np.testing.assert_allclose(latents, model.encode(whole)[0].numpy(), rtol=2e-3, atol=2e-3)
        assert (
            model.decode(torch.from_numpy(latents)[None]).shape == whole.shape == (1, len(latents) * 4, features.WIDTH)
        )
    assert len(load_latents(tmp_path / "out", "test")) == 0


def test_the_same_data_give_the_same_bytes(data, tmp_path):
    folder = codec(tmp_path / "codec")
    for name in ("a", "b"):
        encode(data, folder, tmp_path / name, lambda line: None)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_latents_of_another_codec_are_refused(data, tmp_path):
    first, second = codec(tmp_path / "one", 1), codec(tmp_path / "two", 2)
    encode(data, first, tmp_path / "out", lambda line: None)
    with pytest.raises(BackendError, match=f"made by the codec {codec_hash(first)}, not by {codec_hash(second)}"):
        load_latents(tmp_path / "out", "train", codec_hash(second))


def test_what_is_missing_or_damaged_is_told(data, tmp_path):
    folder = codec(tmp_path / "codec")
    with pytest.raises(BackendError, match="no codec in"):
        encode(data, tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(BackendError, match="no latents of the train split"):
        load_latents(tmp_path, "train")
    encode(data, folder, tmp_path / "out", lambda line: None)
    table = tmp_path / "out" / "train.jsonl.gz"
    table.write_bytes(table.read_bytes()[:30])
    with pytest.raises(BackendError, match="damaged"):
        load_latents(tmp_path / "out", "train")
    table.write_bytes(gzip.compress(b'{"id": "0"}\n'))
    with pytest.raises(BackendError, match="do not describe the same windows"):
        load_latents(tmp_path / "out", "train")


def test_the_command(data, tmp_path, capsys):
    folder = codec(tmp_path / "codec")
    told = ["dataset", "encode", "--data", str(data), "--codec", str(folder), "--out", str(tmp_path / "out")]
    assert command_line.main(told) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["codec"] == codec_hash(folder) and "train: 3 windows" in said.err


@pytest.fixture
def both(tmp_path):
    """A codec and a VQ codec that stands on it: their folders."""
    folder = codec(tmp_path / "codec")
    (tmp_path / "vq").mkdir()
    torch.manual_seed(3)
    config = VQVAEConfig(codes=16, code_width=8, levels=2, width=16, blocks=1, base=codec_hash(folder))
    model = VQVAE(config, load_codec(folder))
    model.begin(torch.randn(40, 10, 8))
    save_vq(model, tmp_path / "vq")
    return folder, tmp_path / "vq"


def test_tokens_are_what_the_vq_codec_gives(data, both, tmp_path, capsys):
    """By the command: tokens beside the latents, as int16, with the hashes of both codecs."""
    folder, vq = both
    out = tmp_path / "out"
    told = ["dataset", "encode", "--data", str(data), "--codec", str(folder), "--vq", str(vq), "--out", str(out)]
    assert command_line.main(told) == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert "train: tokens" in said.err and record["vq"] == vq_hash(vq)
    windows, found = load_windows(data, "train"), load_tokens(out, "train", vq_hash(vq))
    assert found.rows == windows.rows and len(found) == 3 and found.codec == codec_hash(folder)
    assert (found.codes, found.stride, found.fps) == (16, 4, 30)
    model = load_vq(vq, folder)
    for tokens, frames in zip(found.tokens, windows.features, strict=True):
        whole = torch.from_numpy(frames[: len(frames) // 4 * 4])[None]
        assert tokens.dtype == np.int64 and tokens.shape == (len(frames) // 4, 2)
        assert np.array_equal(tokens, model.encode(whole)[0].numpy())
        assert model.decode(torch.from_numpy(tokens)[None]).shape == whole.shape
    entry = record["splits"]["train"]
    assert entry["token_bytes"] == (out / "train.tokens.safetensors").stat().st_size < entry["bytes"]
    assert len(entry["use"]) == len(entry["perplexity"]) == 2 and 1 <= entry["perplexity"][0] <= 16
    with safe_open(out / "train.tokens.safetensors", framework="numpy") as file:
        assert file.get_tensor("tokens").dtype == np.int16
    assert len(load_tokens(out, "test")) == 0
    # the latents are those that are written without tokens
    encode(data, folder, tmp_path / "alone", lambda line: None)
    for name in ("train.safetensors", "train.jsonl.gz"):
        assert (out / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_tokens_that_do_not_fit_are_refused(data, both, tmp_path):
    folder, vq = both
    out = tmp_path / "out"
    encode(data, folder, out, lambda line: None)
    with pytest.raises(BackendError, match="no tokens of the train split") as caught:
        load_tokens(out, "train")
    assert "--vq" in caught.value.hint
    encode(data, folder, out, lambda line: None, vq)
    with pytest.raises(BackendError, match=f"tokens in .* made by the codec {vq_hash(vq)}, not by 0123456789abcdef"):
        load_tokens(out, "train", "0123456789abcdef")
    with pytest.raises(BackendError, match="stands on the codec"):
        encode(data, codec(tmp_path / "another", 5), out, lambda line: None, vq)
    path = out / "train.tokens.safetensors"
    with safe_open(path, framework="numpy") as file:
        arrays, about = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    arrays["tokens"][3, 1] = 16
    save_file(arrays, path, metadata=about)
    with pytest.raises(BackendError, match="not all between 0 and 15"):
        load_tokens(out, "train", vq_hash(vq))


def test_reconstruction_is_measured_level_by_level(data, both, capsys):
    folder, vq = both
    told = ["dataset", "reconstruct", "--data", str(data), "--codec", str(folder), "--vq", str(vq)]
    assert command_line.main(told) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert list(rows) == ["causal_vae", "vq_1", "vq_2"]
    assert all(row["mpjpe_mm"] > 0 and row["jerk_ratio"] > 0 for row in rows.values())
    assert rows["vq_1"]["perplexity"] <= 16 and rows["vq_1"]["mpjpe_mm"] != rows["vq_2"]["mpjpe_mm"]
    assert rows["vq_1"]["real_skate_ratio"] == rows["causal_vae"]["real_skate_ratio"]
    assert command_line.main([*told, "--split", "test"]) != 0
    assert "no windows in the test split" in capsys.readouterr().err
