"""The VQ-VAE: its codebooks learn, its codes travel there and back, and what does not fit is refused."""

import shutil

import numpy as np
import pytest
import torch

from backend.codecs.causal_vae import CausalVAE, CausalVAEConfig, codec_hash, load_codec, save_codec
from backend.codecs.vq_vae import (
    VQVAE,
    Codebook,
    VQVAEConfig,
    directions,
    latent_loss,
    load_vq,
    save_vq,
    use,
    vq_hash,
    vq_loss,
)
from backend.errors import BackendError
from backend.motion import features
from backend.motion.features import WIDTH, Normaliser
from backend.training.codec import rebuilt, reconstruction
from backend.training.run import train

SMALL = {"codes": 16, "code_width": 6, "levels": 2, "width": 16, "blocks": 2}


@pytest.fixture
def base(shaken, tmp_path) -> CausalVAE:
    """A causal VAE of ``tmp_path/codec``."""
    folder = tmp_path / "codec"
    folder.mkdir()
    save_codec(shaken(CausalVAE(CausalVAEConfig(width=16, latent=8, blocks=1)), 0.1), folder)
    return load_codec(folder)


@pytest.fixture
def codec(base, shaken, tmp_path) -> VQVAE:
    model = VQVAE(VQVAEConfig(**SMALL, base=codec_hash(tmp_path / "codec")), base)
    for net in (model.before, model.after):
        shaken(net, 0.1)
    model.half().float()  # files hold float16
    model.begin(torch.randn(40, 10, 8))
    for book in model.books:
        book.half().float()
    return model.eval()


def test_a_step_moves_codes_towards_what_they_stand_for():
    book = Codebook(2, 1)
    vectors = torch.tensor([[0.0], [1.0], [9.0], [11.0]])
    book.begin(vectors, codes=torch.tensor([[2.0], [8.0]]))
    ids = book.nearest(vectors)
    assert ids.tolist() == [0, 0, 1, 1]
    before = book.codes.clone()
    for _ in range(2):
        assert book.update(vectors, ids) == 0
    assert 0.5 < book.codes[0] < before[0] and before[1] < book.codes[1] < 10
    for _ in range(3000):
        book.update(vectors, ids)
    assert torch.allclose(book.codes[:, 0], torch.tensor([0.5, 10.0]), atol=1e-2)


def test_one_step_is_the_moving_average():
    book = Codebook(1, 2)
    book.begin(torch.ones(4, 2), codes=torch.ones(1, 2))
    count, total = book.counts.clone(), book.sums.clone()
    vectors = torch.tensor([[3.0, 5.0], [5.0, 5.0]])
    book.update(vectors, torch.zeros(2, dtype=torch.int64), decay=0.9)
    assert torch.allclose(book.counts, 0.9 * count + 0.1 * 2)
    assert torch.allclose(book.codes, (0.9 * total + 0.1 * vectors.sum(0)) / book.counts)


def test_a_code_that_nobody_uses_is_drawn_anew():
    book = Codebook(4, 2)
    vectors = torch.randn(64, 2)
    book.begin(vectors, codes=torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [500.0, 500.0]]))
    assert book.update(vectors, book.nearest(vectors)) == 1
    assert (vectors - book.codes[3]).abs().sum(1).min() < 1e-5  # it lies on one of the vectors
    assert book.nearest(vectors).unique().tolist() == [0, 1, 2, 3]
    assert book.counts[3] == pytest.approx(book.counts.mean().item(), rel=0.4)


def test_k_means_begins_among_the_vectors():
    places = torch.tensor([[-5.0, 0.0], [0.0, 5.0], [5.0, 0.0]])
    vectors = (places[:, None] + 0.1 * torch.randn(3, 100, 2)).flatten(0, 1)
    book = Codebook(12, 2)
    book.begin(vectors)
    assert (vectors - book.codes[book.nearest(vectors)]).norm(dim=1).mean() < 0.1
    few = Codebook(12, 2)
    few.begin(vectors[:5])  # fewer vectors than codes
    assert torch.isfinite(few.codes).all()


def test_use_and_perplexity():
    assert use(torch.tensor([[0, 1], [2, 3]]), 8) == (0.5, pytest.approx(4.0))
    assert use(torch.zeros(9, dtype=torch.int64), 4) == (0.25, pytest.approx(1.0))
    assert use(torch.zeros(0, dtype=torch.int64), 4)[0] == 0.0


def test_codes_and_back(codec):
    window = torch.randn(3, 24, WIDTH)
    codes = codec.encode(window)
    assert codes.shape == (3, 6, 2) and codes.dtype == torch.int64
    assert codes.min() >= 0 and codes.max() < 16 and len(codes.unique()) > 4
    back = codec.decode(codes)
    assert back.shape == (3, 24, WIDTH) and torch.isfinite(back).all()
    assert torch.equal(codec.encode_latents(codec.base.encode(window)), codes)


def test_the_second_level_says_what_the_first_left_out(codec):
    latents = torch.randn(20, 8, 8)
    vectors = codec.before(latents)
    codes, entries = codec.quantise(vectors)
    first = codec.books[0].codes[codes[..., 0]]
    assert torch.equal(entries, torch.stack([first, codec.books[1].codes[codes[..., 1]]]))
    assert (vectors - entries.sum(0)).pow(2).mean() < 0.8 * (vectors - first).pow(2).mean()


@pytest.mark.parametrize("number", [0, 3, 5])
def test_codes_look_backwards_only(codec, number):
    window = torch.randn(1, 24, WIDTH)
    assert torch.equal(codec.encode(window[:, : 4 * number + 4]), codec.encode(window)[:, : number + 1])
    codes = torch.randint(16, (1, 6, 2))
    whole = codec.decode(codes)
    assert torch.allclose(codec.decode(codes[:, : number + 1]), whole[:, : 4 * number + 4], atol=1e-5)


@pytest.mark.parametrize("code", [-1, 16])
def test_an_unknown_code_is_refused(codec, code):
    codes = torch.zeros(1, 5, 2, dtype=torch.int64)
    codes[0, 3, 1] = code
    with pytest.raises(BackendError, match=f"no motion code {code}: this codec has 0 to 15"):
        codec.decode(codes)
    with pytest.raises(BackendError, match="1x5x3, not windows x codes x up to 2 levels"):
        codec.decode(torch.zeros(1, 5, 3, dtype=torch.int64))


def test_the_last_level_may_be_left_out(codec):
    codes = torch.randint(16, (2, 5, 2))
    coarse = codec.decode(codes[..., :1])
    assert coarse.shape == (2, 20, WIDTH) and not torch.allclose(coarse, codec.decode(codes), atol=1e-3)
    with torch.no_grad():
        codec.books[1].codes.zero_()
    assert torch.allclose(coarse, codec.decode(codes), atol=1e-6)


def test_the_gradient_passes_the_codebooks(codec):
    """It reaches the net before the codebooks as though vectors were not replaced; the base gets none."""
    for net in (codec.before, codec.after):
        net.requires_grad_(True)
    taken = {}
    codec.before.register_forward_hook(lambda *a: taken.update(vectors=a[2]) or a[2].retain_grad())
    codec.after.register_forward_pre_hook(
        lambda module, inputs: taken.update(entries=inputs[0]) or inputs[0].retain_grad()
    )
    loss, logs = vq_loss(codec, torch.randn(2, 16, WIDTH), commit=0.0)
    loss.backward()
    assert torch.equal(taken["vectors"].grad, taken["entries"].grad) and taken["vectors"].grad.abs().sum() > 0
    assert codec.before.net[0].weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in codec.base.parameters())
    assert {"loss", "mpjpe", "commit"} <= set(logs) and logs["commit"] > 0


def test_commitment_pulls_vectors_to_their_codes(codec):
    """With nothing but the commitment, its gradient is twice the distance over the number of values."""
    codec.before.requires_grad_(True)
    taken = {}
    codec.before.register_forward_hook(lambda *a: taken.update(vectors=a[2]) or a[2].retain_grad())
    latents = torch.randn(2, 5, 8)
    entries = codec.quantise(codec.before(latents))[1].sum(0)
    loss, _ = latent_loss(codec, latents, torch.zeros(8, 8), commit=3.0, bf16=False)
    loss.backward()
    wanted = 3.0 * 2 * (taken["vectors"] - entries) / entries.numel()
    assert torch.allclose(taken["vectors"].grad, wanted.detach(), atol=1e-6)


@torch.no_grad()
def test_directions_measure_motion(base):
    """Along the first row the motion changes more than along the last one."""
    latents = torch.randn(6, 8, 8)
    rows = directions(base, latents)
    assert rows.shape == (8, 8) and torch.allclose(rows @ rows.T, torch.diag((rows @ rows.T).diag()), atol=1e-4)
    sizes = rows.norm(dim=1)
    assert (sizes.diff() <= 1e-6).all()
    still = base.decode(latents)[..., :136]
    moved = [(base.decode(latents + 0.5 * rows[i] / sizes[i])[..., :136] - still).norm() for i in (0, -1)]
    assert moved[0] > 1.5 * moved[1]


def test_aligned_nets_are_each_others_inverse(base):
    model = VQVAE(VQVAEConfig(codes=4, code_width=8, width=16, blocks=1), base)
    latents = torch.randn(2, 5, 8)
    model.align(directions(base, latents))
    assert torch.allclose(model.after(model.before(latents)), latents, atol=1e-3)


@torch.no_grad()
def test_files_round_trip(codec, tmp_path, monkeypatch):
    folder = tmp_path / "vq"
    folder.mkdir()
    save_vq(codec, folder)
    back = load_vq(folder, tmp_path / "codec")
    assert back.config == codec.config and not back.training
    assert not any(p.requires_grad for p in back.parameters())
    window = torch.randn(2, 16, WIDTH)
    codes = codec.encode(window)
    assert torch.equal(back.encode(window), codes) and torch.equal(back.decode(codes), codec.decode(codes))
    assert len(vq_hash(folder)) == 16 != vq_hash(folder) != codec_hash(tmp_path / "codec")
    monkeypatch.setenv("MOMUG_CHECKPOINTS", str(tmp_path))  # where its base is found by itself
    assert torch.equal(load_vq(folder).encode(window), codes)
    # the causal VAE is not in the file
    assert (folder / "vq.safetensors").stat().st_size < 2.5 * sum(
        t.numel() for n, t in codec.state_dict().items() if not n.startswith("base.")
    ) + 6000


def test_a_codec_that_does_not_fit_is_refused(codec, base, tmp_path):
    folder, other = tmp_path / "vq", tmp_path / "other"
    folder.mkdir(), other.mkdir()
    save_vq(codec, folder)
    with torch.no_grad():
        base.encoder[0].weight.add_(0.1)
    save_codec(base, other)
    with pytest.raises(
        BackendError, match=f"stands on the codec {codec.config.base}, and .* holds {codec_hash(other)}"
    ):
        load_vq(folder, other)
    with pytest.raises(BackendError, match="no codec in"):
        load_vq(folder, tmp_path / "nothing")
    with pytest.raises(BackendError, match="no VQ codec in"):
        load_vq(other, tmp_path / "codec")
    text = (folder / "vq.json").read_text(encoding="utf-8")
    (folder / "vq.json").write_text(text.replace('"codes": 16', '"codes": 17'), encoding="utf-8")
    with pytest.raises(BackendError, match="do not fit their vq.json"):
        load_vq(folder, tmp_path / "codec")
    (folder / "vq.safetensors").write_bytes(b"nonsense")
    with pytest.raises(BackendError, match="damaged"):
        load_vq(folder, tmp_path / "codec")


BASE = """
task = "codec"
window = 64
batch = 1
bf16 = false
[codec]
width = 32
latent = 16
blocks = 1
noise = 0.0
[schedule]
learning_rate = 8e-3
steps = 120
warmup = 10
validate_every = 120
ema = 0.9
"""
RECIPE = """
task = "vq"
base = "{base}"
window = {window}
batch = {batch}
bf16 = false
latent_steps = {latent_steps}
bank = 4
{more}
[codec]
codes = 24
code_width = 16
levels = 2
width = 32
blocks = 1
[schedule]
learning_rate = 5e-3
steps = {steps}
warmup = 5
validate_every = {steps}
log_every = 5
ema = 0.9
"""


@pytest.fixture
def data(tmp_path, motion, write_split):
    """One walking figure for training and validation, and a small causal VAE that knows its features' scale."""
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "val"):
        write_split(folder, split, [motion(frames=64, turn=1.0, bend=0.4)], ["a person walks"])
    window = features.encode(motion(frames=64, turn=1.0, bend=0.4))
    codec = CausalVAE(CausalVAEConfig(width=32, latent=16, blocks=1))
    normaliser = Normaliser.fit(window)
    codec.mean.copy_(normaliser.mean)
    codec.std.copy_(normaliser.std)
    (tmp_path / "base").mkdir()
    save_codec(codec, tmp_path / "base")
    return folder


def recipe(folder, name, steps, latent_steps, more="", window=32, batch=4):
    path = folder / f"{name}.toml"
    base = (folder / "base").as_posix()
    path.write_text(RECIPE.format(**locals()), encoding="utf-8")
    return str(path)


def test_training_uses_every_figure_and_can_be_resumed_and_continued(data, tmp_path):
    out = tmp_path / "run"
    first = train(recipe(tmp_path, "short", 10, 5), data, out, device="cpu")
    figures = first["validation"]
    assert {"score", "mpjpe_mm", "rotation_degrees", "jerk_ratio", "contact_speed", "skate_ratio"} <= set(figures)
    assert 0 < figures["use_1"] <= 1 and 1 <= figures["perplexity_2"] <= 24
    from safetensors.torch import load_file

    kept = load_file(out / "last" / "state.safetensors")
    assert kept["buffer/seen"] == 10 and kept["buffer/books.1.counts"].shape == (24,)
    second = train(recipe(tmp_path, "long", 12, 5), data, out, resume=True, device="cpu")
    assert second["step"] == 12
    assert load_file(out / "last" / "state.safetensors")["buffer/seen"] == 12
    more = f'start = "{(out / "best").as_posix()}"'
    train(recipe(tmp_path, "more", 1, 0, more), data, tmp_path / "more", device="cpu")
    a, b = (load_vq(folder / "best", tmp_path / "base") for folder in (out, tmp_path / "more"))
    same = (a.books[0].codes - b.books[0].codes).abs().amax(1) < 0.05  # the others were drawn anew
    assert same.float().mean() > 0.5
    wide = recipe(tmp_path, "wide", 1, 0, more)
    text = open(wide, encoding="utf-8").read().replace("width = 32", "width = 48")
    (tmp_path / "wide.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BackendError, match="another width or depth"):
        train(wide, data, tmp_path / "wide", device="cpu")


def test_one_motion_can_be_learned(data, tmp_path, motion):
    """A causal VAE that knows it, then codes for it: joints are far nearer than those of a standing mean pose."""
    path = tmp_path / "base.toml"
    path.write_text(BASE, encoding="utf-8")
    train(str(path), data, tmp_path / "trained", device="cpu")
    for name in ("codec.json", "codec.safetensors"):
        shutil.copy(tmp_path / "trained" / "best" / name, tmp_path / "base" / name)
    train(recipe(tmp_path, "fit", 150, 0, window=64, batch=1), data, tmp_path / "run", device="cpu")
    model = load_vq(tmp_path / "run" / "best", tmp_path / "base")
    window = torch.from_numpy(features.encode(motion(frames=64, turn=1.0, bend=0.4)))
    found = reconstruction([window], rebuilt(model, [window]))
    still = window.mean(0, keepdim=True).expand_as(window)
    assert found["mpjpe_mm"] < 0.5 * reconstruction([window], [still])["mpjpe_mm"]
    assert np.isfinite(list(found.values())).all()
