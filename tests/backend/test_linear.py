"""The language model's linear layers and the codec: the same numbers, in few shapes."""

import pytest
import torch

from backend.codecs import causal_vae
from backend.codecs.causal_vae import CausalVAE, CausalVAEConfig
from backend.language.linear import Linear, few_shapes, filled


def test_rows_are_filled_up_to_few_numbers_and_never_by_much():
    numbers = {filled(rows) for rows in range(1, 513)}
    assert len(numbers) <= 20 and all(filled(number) == number for number in numbers)
    for rows in range(1, 2000):
        assert rows <= filled(rows) <= max(rows + 15, 1.25 * rows)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 7), (2, 40), (2, 0)])
def test_the_numbers_are_those_of_a_plain_layer(shape):
    plain = torch.nn.Linear(48, 32).bfloat16()
    model = few_shapes(torch.nn.Sequential(torch.nn.Linear(48, 32).bfloat16()))
    model[0].load_state_dict(plain.state_dict())
    assert isinstance(model[0], Linear)
    x = torch.randn(*shape, 48).bfloat16()
    with torch.no_grad():
        assert torch.allclose(model(x), plain(x), rtol=0.02, atol=0.02) and model(x).shape == plain(x).shape
    model(x.requires_grad_()).float().sum().backward()  # training takes the plain way
    assert x.grad.shape == x.shape


def test_the_layer_below_sees_few_shapes(monkeypatch):
    seen = set()
    monkeypatch.setattr(torch.nn.Linear, "forward", lambda self, x: seen.add(len(x)) or x)
    layer = Linear(8, 8).bfloat16()
    with torch.no_grad():
        for rows in range(1, 97):
            assert layer(torch.ones(rows, 8, dtype=torch.bfloat16)).shape == (rows, 8)
    assert len(seen) <= 10


@pytest.mark.parametrize("rows", [1, 2, 4, 7, 8])
@pytest.mark.parametrize("length", [1, 7, 8, 21])
def test_the_codec_is_the_same_in_few_shapes(length, rows, monkeypatch):
    torch.manual_seed(0)
    codec = CausalVAE(CausalVAEConfig(width=32, latent=8, blocks=1)).eval()
    latents, features = torch.randn(rows, length, 8), torch.randn(rows, 4 * length, 155)
    with torch.no_grad():
        made = codec.decode(latents), codec.encode(features)
    monkeypatch.setattr(causal_vae, "FILL", 1)
    plain = codec.decode(latents), codec.encode(features)
    for one, other in zip(made, plain, strict=True):
        assert one.shape == other.shape and torch.allclose(one, other, atol=1e-4)


def test_the_codec_sees_few_shapes():
    codec, seen = CausalVAE(CausalVAEConfig(width=16, latent=8, blocks=1)).eval(), set()
    for network in (codec.encoder, codec.decoder):
        network.register_forward_pre_hook(lambda network, given: seen.add((id(network), *given[0].shape)))
    with torch.no_grad():
        for rows in range(1, 10):
            for length in range(1, 65):
                assert codec.decode(torch.zeros(rows, length, 8)).shape == (rows, 4 * length, 155)
                assert codec.encode(torch.zeros(rows, 4 * length, 155)).shape == (rows, length, 8)
    assert len(seen) == 2 * 2 * 8
