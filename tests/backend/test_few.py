"""Few steps: the low-rank head, what it serves, how it is kept, and what it is taught."""

import numpy as np
import pytest
import torch

from backend import weights
from backend.errors import BackendError
from backend.models.momug import few
from backend.models.momug.head import MotionHead
from backend.models.momug.model import load_checkpoint, save_checkpoint
from backend.models.momug.sampling import cosine_alpha_bar, ddim
from backend.training import momug
from backend.training.distil import DistilTask, aim
from backend.training.run import read_recipe, train
from tests.backend.asking import ask, same
from tests.backend.tiny_recipes import CODEC, HEAD, recipe

DISTIL = HEAD.replace('task = "momug"', 'task = "distil"\ndecoded = 0.5\nstart = "momug_head/best"').replace(
    "[model]", "[distil]\nfew_steps = 2\nteacher_steps = 4\ncourses = 10\nrank = 2\nsingle = 0.5\n[model]"
)


def read(head, x):
    words, mask = torch.ones(len(x), 2, 48), torch.ones(len(x), 2, dtype=torch.bool)
    with torch.no_grad():
        return head(x, torch.full((len(x),), 500), torch.full((len(x),), x.shape[1]), words, mask)


def test_changes_begin_with_the_plain_head_and_merge_exactly(small, shaken):
    plain = shaken(MotionHead(small())).eval()
    learnt = few.attach(plain, rank=4)
    x = torch.randn(2, 5, small().codec.latent)
    assert torch.allclose(read(learnt, x), read(plain, x), atol=1e-6)
    shaken(torch.nn.ParameterList(p for p in learnt.parameters() if p.requires_grad))
    assert (read(learnt, x) - read(plain, x)).abs().max() > 1e-2
    kept = few.changes(learnt)
    assert torch.allclose(read(few.merged(plain, kept), x), read(learnt, x), atol=1e-4)
    assert not any(name.startswith("llm_") for name in kept)
    with pytest.raises(BackendError, match="do not fit"):
        few.merged(plain, {name: torch.ones(3, 3) for name in kept})


@pytest.fixture
def quick(make_model, shaken):
    """A model with a distilled head that answers otherwise than the plain one."""
    model = make_model(4)
    learnt = few.attach(model.head, rank=2)
    shaken(torch.nn.ParameterList(p for p in learnt.parameters() if p.requires_grad))
    model.config.few_steps, model.shortcut = 2, few.changes(learnt)
    model.few = few.merged(model.head, model.shortcut)
    return model


def test_what_it_was_not_taught_is_made_by_the_plain_head(quick):
    made, taught = ask(quick, preset="fast").motions[0], quick.few
    own = (
        {"steps": 4},
        {"guidance_scale": quick.config.guidance_scale},
        {"preset": "full"},
        {"preset": "best"},
        {"loop": True},
    )
    settings = [{"preset": "fast"} | values for values in own]
    slow = [ask(quick, **values).motions[0] for values in settings]
    quick.few = None
    assert not same(ask(quick, preset="fast").motions[0], made, 1e-3)
    for values, motion in zip(settings, slow, strict=True):
        assert same(ask(quick, **values).motions[0], motion)
    quick.few = taught
    assert same(ask(quick, preset="fast").motions[0], made)


def test_it_reads_once_a_step(quick):
    read, plain = [], quick.few.forward
    quick.few.forward = lambda x, *rest: read.append(len(x)) or plain(x, *rest)
    ask(quick, preset="fast", variations=3)
    assert read == [3, 3]


@pytest.mark.parametrize("int8", [False, True])
def test_a_checkpoint_keeps_it(quick, tmp_path, int8):
    before = ask(quick, preset="fast").motions[0]
    save_checkpoint(quick, tmp_path / "kept", int8)
    back = load_checkpoint(tmp_path / "kept", "cpu")
    assert back.config.few_steps == 2 and [p["steps"] for p in back.presets] == [2, 4, 4]
    for kept, now in ((quick.shortcut[name], tensor) for name, tensor in back.shortcut.items()):
        assert (kept - now).abs().max() < 0.01 * kept.abs().max()
    if not int8:
        assert same(ask(back, preset="fast").motions[0], before, 0.02)
    (tmp_path / "kept" / few.FILE).unlink()
    with pytest.raises(BackendError, match="incomplete"):
        load_checkpoint(tmp_path / "kept", "cpu")


def test_the_aim_leads_where_the_teacher_was():
    """A DDIM step of the student with the aimed x0 ends in the state that the teacher came to in several."""
    alpha_bar, states = cosine_alpha_bar(), []
    noise, wanted = torch.randn(2, 3, 4), torch.randn(2, 3, 4)

    def teacher(x_t, t):
        states.append(x_t)
        return wanted * (1 - t / 2000) + 0.1 * x_t

    end = ddim(teacher, noise, alpha_bar, 20)
    ours = [*states[::4], end]
    times = torch.linspace(999, 0, 6).round().long()
    step = iter(range(5))

    def student(x_t, t):
        now = next(step)
        assert torch.allclose(x_t, ours[now], atol=1e-3)
        both = alpha_bar[times[now]].expand(2), alpha_bar[times[now + 1]].expand(2)
        return ours[5] if now == 4 else aim(x_t, ours[now + 1], *both)

    assert torch.allclose(ddim(student, noise, alpha_bar, 5), end, atol=1e-3)


@pytest.fixture
def runs(eight_windows, tmp_path, tiny_base):
    """A trained codec and a head of which every weight says something."""
    runs = tmp_path / "runs"
    train(recipe(tmp_path, "codec", CODEC), eight_windows, runs / "codec", device="cpu")
    train(recipe(tmp_path, "head", HEAD), eight_windows, runs / "momug_head", device="cpu")
    path = runs / "momug_head" / "best" / "head.safetensors"
    weights.save({name: x + 0.1 * torch.randn_like(x) for name, x in weights.load(path).items()}, path)
    return runs


def test_courses_are_made_once_and_learnt(eight_windows, tmp_path, runs, monkeypatch):
    text = DISTIL.replace("steps = 3", "steps = 12\nlearning_rate = 1e-2\nwarmup = 1\nema = 0.1", 1)
    name = recipe(tmp_path, "few", text.replace("validate_every = 3", "validate_every = 6"))
    record = train(name, eight_windows, runs / "momug_few", device="cpu")
    assert record["step"] == 12 and record["best_step"] > 0
    found = load_checkpoint(runs / "momug_few" / "best", "cpu")
    assert found.few is not None and np.isfinite(ask(found, preset="fast").motions[0].rotations).all()
    monkeypatch.setattr(DistilTask, "courses", None)  # nothing is made again
    task = DistilTask(read_recipe(name), eight_windows, "cpu", runs / "momug_few")
    courses = task.train_courses
    assert len(courses.states) >= 10 and all(len(x) == 3 for x in courses.states)
    start = task.validate(task.model)["score"]
    with torch.no_grad():
        for name, tensor in few.changes(task.model).items():
            tensor.copy_(found.shortcut[name])
    assert task.validate(task.model)["score"] < start


def test_other_words_are_learnt_as_the_first(eight_windows, tmp_path, runs, monkeypatch):
    """A course that lacks something is replaced by one in other words, from the same noise."""
    task = DistilTask(read_recipe(recipe(tmp_path, "few", DISTIL)), eight_windows, "cpu", runs / "momug_few")
    asked, plain = [], task._teach

    def teach(said, lengths, noise, captions):
        asked.append((said, lengths, noise, captions))
        states, _ = plain(said, lengths, noise, captions)
        return states, np.array([len(sentences) == 1 and "walks" not in sentences[0] for sentences in said]) * 1

    monkeypatch.setattr(task, "_teach", teach)
    said = "a person sits down, then jumps"
    found = task.courses(["a person walks", said], [20, 16])
    assert asked[1][0] == [["a person sits down", "a person jumps"]] and asked[1][1] == [16] and asked[1][3] == [said]
    assert torch.equal(asked[1][2][0], asked[0][2][1, :16])
    assert found.captions == ["a person walks", said] and found.denied.tolist() == [0, 0]
    assert found.states[1].shape == (3, 16, task.config.codec.latent)
    assert torch.allclose(found.states[1][0].float(), asked[0][2][1, :16], atol=1e-2)


def test_further_captions_are_known_in_memory(tiny_base, tmp_path):
    from backend.language import base

    model, tokenizer = base.load_language_model(), base.load_tokenizer()
    cache = momug.TextCache(model, tokenizer, ["a person walks"], "cpu", tmp_path, "0123456789abcdef0")
    cache.extend(model, tokenizer, ["someone sits", "a person walks"], "cpu")
    cache.extend(model, tokenizer, ["someone sits"], "cpu")
    assert len(cache.states) == 2 and cache.batch(["someone sits"], np.zeros(1, bool))[1].any()
