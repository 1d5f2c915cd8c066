"""Weights on disk as float16 and as 8-bit integers."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from backend import weights


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(96, 128, generator=generator) * torch.logspace(-3, 2, 96)[:, None]
    matrix[7] = 0
    return {"matrix": matrix, "bias": torch.randn(96, generator=generator), "small": torch.eye(8)}


def test_float16_comes_back_as_it_was_rounded(tmp_path, tensors):
    weights.save(tensors, tmp_path / "w.safetensors")
    loaded = weights.load(tmp_path / "w.safetensors")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], tensor.half().float())


def test_int8_halves_the_file_and_moves_no_weight_by_more_than_half_a_level(tmp_path, tensors):
    weights.save(tensors, tmp_path / "w16.safetensors")
    weights.save(tensors, tmp_path / "w8.safetensors", int8=True)
    sizes = [(tmp_path / f"w{bits}.safetensors").stat().st_size for bits in (16, 8)]
    assert sizes[1] < 0.6 * sizes[0]
    assert load_file(tmp_path / "w8.safetensors")["matrix"].dtype == torch.int8
    loaded = weights.load(tmp_path / "w8.safetensors")
    largest = tensors["matrix"].abs().amax(1, keepdim=True)
    # half a level, and what rounding the scale to float16 adds to 127 of them
    assert ((loaded["matrix"] - tensors["matrix"]).abs() <= largest * (0.5 / 127 + 1e-3)).all()
    assert torch.equal(loaded["bias"], tensors["bias"].half().float())
    assert torch.equal(loaded["small"], tensors["small"])


def test_int8_saved_again_is_the_same(tmp_path, tensors):
    weights.save(tensors, tmp_path / "a.safetensors", int8=True)
    once = weights.load(tmp_path / "a.safetensors")
    weights.save(once, tmp_path / "b.safetensors", int8=True)
    assert torch.allclose(weights.load(tmp_path / "b.safetensors")["matrix"], once["matrix"], rtol=1e-3)


@pytest.mark.parametrize(
    "stored",
    [
        {"matrix": torch.ones(4, 4, dtype=torch.int8)},
        {"other": torch.ones(4, 4), "matrix.int8_scale": torch.ones(4, 1)},
    ],
)
def test_half_a_matrix_is_refused(tmp_path, stored):
    save_file(stored, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="without its"):
        weights.load(tmp_path / "w.safetensors")
