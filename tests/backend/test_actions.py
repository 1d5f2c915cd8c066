"""The net that recognises actions: what it learns, how it is kept, and what captions make of it."""

import pytest
import torch
from motions import raise_hand, walk

from backend.codecs.causal_vae import CausalVAE, CausalVAEConfig, load_codec, save_codec
from backend.data import store
from backend.data.encode import encode
from backend.errors import BackendError
from backend.models import actions, choosing
from backend.models.momug.model import load_checkpoint, save_checkpoint
from backend.motion import features
from backend.training.run import train
from tests.backend.tiny_recipes import recipe, rows

RECIPE = """
task = "actions"
batch = 8
least_count = 2
noise = 0.0
[model]
width = 16
dropout = 0.0
[schedule]
learning_rate = 1e-2
steps = 80
warmup = 2
validate_every = 20
ema = 0.8
"""


@pytest.fixture
def encoded(tmp_path):
    """Latents of people who walk and of people who raise a hand; the folder of their codec."""
    folder, data = tmp_path / "codec", tmp_path / "data"
    folder.mkdir(), data.mkdir()
    torch.manual_seed(0)
    codec = CausalVAE(CausalVAEConfig(width=16, latent=8, blocks=1))
    with torch.no_grad():  # an untrained one hardly stirs: its latents are scaled as training would scale them
        found = codec.encode_raw(torch.from_numpy(features.encode(raise_hand("left"))[:116])[None])[0]
    codec.latent_mean.copy_(found.mean(0)), codec.latent_std.copy_(found.std(0))
    save_codec(codec, folder)
    walks = [(walk(2 + i / 4, 0.8 + i / 10), "a person walks") for i in range(4)]
    raised = [(raise_hand(side), f"a person raises the {side} hand") for side in ("left", "right")] * 2
    for split, motions in (("train", walks[1:] + raised), ("val", [walks[0], raised[0]]), ("test", [])):
        found = [{"id": str(i), "captions": [text], "weight": 1.0} for i, (_, text) in enumerate(motions)]
        store.write_split(data, split, [motion for motion, _ in motions], found)
    encode(data, folder, tmp_path / "latents", lambda line: None)
    return tmp_path / "latents", folder


def test_it_learns_to_tell_two_actions_apart(encoded, tmp_path):
    latents, folder = encoded
    out = tmp_path / "run"
    record = train(recipe(tmp_path, "actions", RECIPE), latents, out, device="cpu")
    curve = [row["validation"]["score"] for row in rows(out) if "validation" in row]
    assert record["validation"]["named"] == 1.0 and curve[-1] < curve[0]
    net, codec = actions.load(out / "best"), load_codec(folder)
    assert net.verbs == ["raises", "walks"]
    for motion, verb in ((walk(3, 1.1), "walks"), (raise_hand("right"), "raises")):
        frames = torch.from_numpy(features.encode(motion))
        shown = net.shown(codec.encode(frames[: len(frames) // 4 * 4][None])[0])
        assert next(iter(shown)) == verb and shown[verb] > 0.6 > 0.4 > min(shown.values())


def test_what_is_padded_has_no_say():
    torch.manual_seed(0)
    net = actions.ActionNet(8, ["jumps", "walks"], 16).eval()
    latents, mask = torch.randn(1, 12, 8), torch.arange(12)[None] < 7
    assert torch.allclose(net(latents, mask), net(latents[:, :7], mask[:, :7]), atol=1e-5)


def test_kept_in_a_checkpoint_and_refused_when_damaged(make_model, tmp_path):
    model = make_model(lora_rank=2)
    save_checkpoint(model, tmp_path / "plain")
    assert load_checkpoint(tmp_path / "plain").recogniser is None
    model.recogniser = actions.ActionNet(model.config.codec.latent, ["jumps", "walks"], 16).eval()
    save_checkpoint(model, tmp_path / "whole")
    loaded = load_checkpoint(tmp_path / "whole").recogniser
    latents = torch.randn(9, model.config.codec.latent)
    assert loaded.shown(latents) == pytest.approx(model.recogniser.shown(latents), abs=1e-3)
    (tmp_path / "whole" / actions.FILE).write_bytes(b"no weights")
    with pytest.raises(BackendError, match="has changed"):
        load_checkpoint(tmp_path / "whole")
    with pytest.raises(BackendError, match="cannot be read"):
        actions.load(tmp_path / "whole")


def test_captions_begin_with_what_is_recognised():
    shown = {"walks": 0.9, "turns": 0.3, "jumps": 0.1}
    assert actions.beginnings(shown, 4) == [" a person walks", " a person turns"] * 2
    assert actions.beginnings({"jumps": 0.1}, 4) == actions.beginnings({}, 4) == []


def test_the_caption_that_names_the_action_is_preferred():
    written = [("a person acts like a king", -0.3), ("a person imitates a king", -0.6)]
    assert choosing.truest(written, walk(), {}) == "a person acts like a king"
    assert choosing.truest(written, walk(), {"imitates": 0.9}) == "a person imitates a king"
    # what is measured counts more than what is thought to be recognised
    written = [("a person jumps", -0.1), ("a person walks", -0.1)]
    assert choosing.truest(written, walk(), {"jumps": 0.9}) == "a person walks"
