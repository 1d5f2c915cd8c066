"""MoMug's task: its captions, its batches, encoded windows, wider layers, the decoded loss."""

import numpy as np
import pytest
import torch

from backend.data.encode import encode
from backend.errors import BackendError
from backend.language import base
from backend.models.momug.head import SequenceDropout
from backend.training import momug
from backend.training.run import read_recipe, train
from tests.backend.tiny_recipes import CODEC, HEAD, recipe


def test_caption_states_are_computed_once(tmp_path, tiny_base, monkeypatch):
    """A data set with one caption more computes that one only; the order of the captions does not matter."""
    model, tokenizer = base.load_language_model(), base.load_tokenizer()
    computed = []
    plain = momug.TextCache._compute

    def counted(language_model, tokenizer, captions, device):
        computed.append(captions)
        return plain(language_model, tokenizer, captions, device)

    monkeypatch.setattr(momug.TextCache, "_compute", staticmethod(counted))
    said = ["a person walks forward", "someone sits down"]
    first = momug.TextCache(model, tokenizer, said, "cpu", tmp_path, "0123456789abcdef0")
    second = momug.TextCache(model, tokenizer, ["a person waves", *said], "cpu", tmp_path, "0123456789abcdef0")
    assert computed == [said, ["a person waves"]]
    a, _ = first.batch(said, np.zeros(2, bool))
    b, mask = second.batch(said, np.array([False, True]))
    assert torch.equal(a[0, : mask[0].sum()], b[0, : mask[0].sum()]) and not mask[1].any()


def test_rare_windows_come_more_often():
    rows = [{"captions": ["a person walks"]}] * 50 + [
        {"captions": ["a person kicks"]},
        {"captions": ["a person walks"], "weight": 0.5},
    ]
    weights = momug.balance(rows)
    assert weights[50] == 2 * weights[0] and weights[51] == 0.5 * weights[0]


def test_wider_layers_begin_with_the_old_weights():
    """New input channels are not heard and new outputs say nothing, until they are trained."""
    torch.manual_seed(0)
    old, new = torch.nn.Linear(4, 4), torch.nn.Linear(6, 6)
    momug.load_grown(new, dict(old.named_parameters()))
    x = torch.randn(3, 6)
    assert torch.allclose(new(x)[:, :4], old(x[:, :4])) and (new(x)[:, 4:] == 0).all()
    with pytest.raises(BackendError, match="do not fit"):
        momug.load_grown(torch.nn.Linear(3, 6), dict(old.named_parameters()))
    with pytest.raises(BackendError, match="do not fit"):
        momug.load_grown(torch.nn.Identity(), dict(old.named_parameters()))


def test_batches_hold_windows_and_captions_of_like_length(eight_windows, tmp_path, tiny_base):
    runs = tmp_path / "runs"
    train(recipe(tmp_path, "codec", CODEC), eight_windows, runs / "codec", device="cpu")
    task = momug.MoMugTask(read_recipe(recipe(tmp_path, "head", HEAD)), eight_windows, "cpu", runs / "momug_head")
    seen = [task._next_batch() for _ in range(30)]
    assert all(len(rows) == len(captions) == 4 for rows, captions in seen)
    assert all(
        c in task.train.rows[i]["captions"] for rows, captions in seen for i, c in zip(rows, captions, strict=True)
    )
    assert len(set(np.concatenate([rows for rows, _ in seen]))) == 6


def test_training_starts_from_encoded_windows(eight_windows, tmp_path, tiny_base, write_split, motion):
    """The same latents without the capture; those of another codec are refused."""
    runs = tmp_path / "runs"
    train(recipe(tmp_path, "codec", CODEC), eight_windows, runs / "codec", device="cpu")
    write_split(eight_windows, "test", [motion(frames=50)], ["a person walks forward"])
    encode(eight_windows, runs / "codec" / "best", tmp_path / "encoded", lambda line: None)
    values = read_recipe(recipe(tmp_path, "head", HEAD))
    a = momug.MoMugTask(values, eight_windows, "cpu", runs / "momug_head")
    b = momug.MoMugTask(values, tmp_path / "encoded", "cpu", runs / "momug_head")
    assert [r["captions"] for r in a.train.rows] == [r["captions"] for r in b.train.rows]
    assert all(torch.allclose(x, y, atol=0.01) for x, y in zip(a.train_latents, b.train_latents, strict=True))
    record = train(recipe(tmp_path, "head", HEAD), tmp_path / "encoded", runs / "momug_head", device="cpu")
    assert record["step"] == 3
    train(
        recipe(tmp_path, "other", CODEC.replace("steps = 3", "steps = 4")), eight_windows, runs / "other", device="cpu"
    )
    elsewhere = recipe(tmp_path, "elsewhere", HEAD.replace("batch = 4", 'batch = 4\ncodec = "other/best"'))
    with pytest.raises(BackendError, match="made by the codec"):
        train(elsewhere, tmp_path / "encoded", runs / "momug_head", device="cpu")


def test_the_decoded_loss_is_nothing_for_the_right_answer(eight_windows, tmp_path, tiny_base):
    runs = tmp_path / "runs"
    train(recipe(tmp_path, "codec", CODEC), eight_windows, runs / "codec", device="cpu")
    text = HEAD.replace('task = "momug"', 'task = "momug"\ndecoded = 0.5')
    task = momug.MoMugTask(read_recipe(recipe(tmp_path, "head", text)), eight_windows, "cpu", runs / "momug_head")
    x0, lengths = momug.pad(task.train_latents[:4], "cpu")
    t = torch.tensor([10, 300, 600, 990])
    assert task._decoded_loss(x0, x0, lengths, t) == 0
    wrong = (x0 + 0.5 * torch.randn_like(x0)).requires_grad_()
    loss = task._decoded_loss(wrong, x0, lengths, t)
    loss.backward()
    gradient = wrong.grad.norm(dim=(1, 2))
    assert loss > 0 and gradient[0] > 10 * gradient[3] > 0  # a noisy row hardly counts
    assert (wrong.grad[0, lengths[0] :] == 0).all()
    task.model.train()
    loss, _ = task.loss(task.model)
    loss.backward()
    assert all(p.grad is None for p in task.momug.codec.parameters())


def test_only_a_share_of_the_steps_is_decoded(eight_windows, tmp_path, tiny_base, monkeypatch):
    runs = tmp_path / "runs"
    train(recipe(tmp_path, "codec", CODEC), eight_windows, runs / "codec", device="cpu")
    text = HEAD.replace('task = "momug"', 'task = "momug"\ndecoded = 0.5\ndecoded_share = 0.25')
    task = momug.MoMugTask(read_recipe(recipe(tmp_path, "head", text)), eight_windows, "cpu", runs / "momug_head")
    decoded = []
    monkeypatch.setattr(task, "_decoded_loss", lambda *args: decoded.append(1) or torch.zeros(()))
    task.model.train()
    for _ in range(200):
        task.loss(task.model)
    assert 30 <= len(decoded) <= 70  # 50 expected, more than three standard deviations on either side
    task.model.eval()
    decoded.clear()
    for _ in range(40):
        task.loss(task.model)
    assert not decoded


def test_a_dropped_channel_is_dropped_for_the_whole_sequence():
    """What is left keeps its mean; nothing is dropped where nothing is learnt."""
    x = torch.ones(64, 7, 50)
    dropout = SequenceDropout(0.2)
    seen = dropout(x)
    assert (seen == seen[:, :1]).all()
    assert set(seen.unique().tolist()) == {0.0, 1.25}
    assert abs(seen.mean().item() - 1) < 0.05
    assert (seen[0] != seen[1]).any()
    assert (dropout.eval()(x) == x).all()
    assert dropout(x.bfloat16()).dtype == torch.bfloat16
