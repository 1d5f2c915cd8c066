"""A data set as latents: what is written, read back, and refused."""

import gzip
import json

import numpy as np
import pytest
import torch
from motions import raise_hand, walk

import backend.__main__ as command_line
from backend.codecs.causal_vae import CausalVAE, CausalVAEConfig, save_codec
from backend.data import store
from backend.data.encode import encode
from backend.errors import BackendError
from backend.motion import features
from backend.training.dataset import codec_hash, load_latents, load_windows


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
    from backend.codecs.causal_vae import load_codec

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
