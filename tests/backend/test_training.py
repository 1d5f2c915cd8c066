"""The trainer on a toy task, the data set's layout, the recipes, and three steps of every real task."""

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.codecs.causal_vae import CausalVAEConfig, load_codec
from backend.codecs.vq_vae import VQVAEConfig
from backend.data.encode import encode
from backend.errors import BackendError
from backend.evaluation.prompts import PROMPTS, adherence
from backend.language import base
from backend.models.interface import GenerateRequest
from backend.models.llamo.config import LLaMoConfig
from backend.models.momug.config import MoMugConfig
from backend.models.momug.model import load_checkpoint
from backend.models.motiongpt.config import MotionGPTConfig
from backend.models.styles import Style
from backend.motion import features
from backend.training import momug, trainer
from backend.training.codec import started
from backend.training.dataset import load_windows
from backend.training.run import RECIPES, read_recipe, train
from backend.training.trainer import Schedule, fit
from backend.training.variety import varied

NAMES = sorted(p.stem for p in RECIPES.glob("*.toml"))


class Line:
    """Fit y = 3 x - 1 from the same eight points at every step. ``scores`` scripts the validation."""

    def __init__(self, stop_at: int | None = None, scores: list[float] | None = None, poison_at: int | None = None):
        torch.manual_seed(5)
        self.model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        self.x = torch.linspace(-1, 1, 8)[:, None]
        self.calls, self.stop_at, self.poison_at = 0, stop_at, poison_at
        self.scores, self.exports = list(scores or []), []

    def parameter_groups(self, learning_rate):
        weights = [p for p in self.model.parameters() if p.ndim > 1]
        biases = [p for p in self.model.parameters() if p.ndim == 1]
        return [{"params": weights, "lr": learning_rate}, {"params": biases, "lr": learning_rate, "weight_decay": 0.0}]

    def loss(self, model):
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.calls += 1
        loss = (model(self.x) - (3 * self.x - 1)).square().mean()
        if self.calls - 1 == self.poison_at:
            loss = loss * math.nan
        return loss, {"loss": loss.item()}

    def validate(self, model):
        assert not model.training and not torch.is_grad_enabled()
        error = (model(self.x) - (3 * self.x - 1)).square().mean().item()
        return {"score": self.scores.pop(0) if self.scores else error, "error": error}

    def export(self, model, folder, record):
        folder.mkdir(parents=True, exist_ok=True)
        save_file({n: p.detach().clone() for n, p in model.named_parameters()}, folder / "line.safetensors")
        (folder / "training.json").write_text(json.dumps(record), encoding="utf-8")
        self.exports.append(record["step"])


def schedule(**changes) -> Schedule:
    usual = {"steps": 20, "warmup": 3, "validate_every": 10, "log_every": 5, "learning_rate": 0.05}
    return Schedule(**(usual | changes))


def rows(out) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves by one second whenever it is read."""
    times = iter(range(10**9))
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: float(next(times))))


def test_log_and_record(tmp_path, clock):
    task = Line()
    record = fit(task, schedule(), tmp_path, resume=False, max_minutes=None)
    found = rows(tmp_path)
    assert [r["step"] for r in found if "validation" not in r] == [5, 10, 15, 20]
    assert [r["step"] for r in found if "validation" in r] == [10, 20]
    losses = [r["loss"] for r in found if "loss" in r]
    assert len(losses) == 4 and losses[-1] < 0.2 * losses[0]
    assert all({"lr", "minutes", "steps_per_s"} <= set(r) for r in found if "loss" in r)
    rates = [r["lr"] for r in found if "lr" in r]
    assert rates == sorted(rates, reverse=True) and 0 < rates[-1] < 0.1  # warm-up is over, cosine decay
    assert record["step"] == 20 and record["best_step"] == 20 and record["validation"]["score"] == record["best"]


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_resuming_equals_never_stopping(tmp_path, ema):
    straight = fit(Line(), schedule(ema=ema), tmp_path / "straight", resume=False, max_minutes=None)
    with pytest.raises(KeyboardInterrupt):  # stopped in step 14; the state of step 10 is what is kept
        fit(Line(stop_at=13), schedule(ema=ema), tmp_path / "broken", resume=False, max_minutes=None)
    second = Line()
    continued = fit(second, schedule(ema=ema), tmp_path / "broken", resume=True, max_minutes=None)
    assert second.calls == 10 and continued["step"] == 20
    assert continued["best"] == pytest.approx(straight["best"], rel=1e-5)
    a, b = (load_file(tmp_path / name / "last" / "state.safetensors") for name in ("straight", "broken"))
    assert a.keys() == b.keys()
    kinds = {key.split("/")[0] for key in a}
    assert kinds == {"model", "ema", "optimiser"}
    for key in a:
        assert torch.allclose(a[key], b[key], rtol=1e-6, atol=1e-8), key
    assert a["optimiser/0/step"] == 20


def test_the_best_is_kept_and_survives_a_resume(tmp_path):
    task = Line(scores=[3.0, 1.0, 2.0])
    record = fit(task, schedule(steps=30), tmp_path, resume=False, max_minutes=None)
    assert task.exports == [10, 20] and (record["best"], record["best_step"]) == (1.0, 20)
    again = Line(scores=[1.5, 0.5])
    record = fit(again, schedule(steps=50), tmp_path, resume=True, max_minutes=None)
    assert again.exports == [50] and (record["best"], record["best_step"]) == (0.5, 50)
    assert json.loads((tmp_path / "best" / "training.json").read_text(encoding="utf-8"))["step"] == 50


def test_averages_are_exported_and_raw_weights_go_on(tmp_path):
    task = Line()
    fit(task, schedule(steps=10, ema=0.99), tmp_path, resume=False, max_minutes=None)
    state = load_file(tmp_path / "last" / "state.safetensors")
    exported = load_file(tmp_path / "best" / "line.safetensors")
    for name, parameter in task.model.named_parameters():
        assert torch.equal(exported[name], state[f"ema/{name}"])
        assert torch.equal(parameter, state[f"model/{name}"])
    assert any((exported[n] - state[f"model/{n}"]).abs().max() > 1e-4 for n in exported)


def test_time_limit(tmp_path, clock):
    record = fit(Line(), schedule(steps=10**6, validate_every=10**5), tmp_path, resume=False, max_minutes=2.0)
    assert 0 < record["step"] < 120 and 1.9 < record["minutes"] < 2.2  # a second or more goes by in each step
    assert (tmp_path / "best" / "line.safetensors").is_file() and (tmp_path / "last" / "record.json").is_file()
    assert rows(tmp_path)[-1]["validation"]["score"] == record["best"]
    rates = [r["lr"] for r in rows(tmp_path) if "lr" in r]
    assert rates[-1] < 0.2  # the rate has come down by the time that the time is over
    more = fit(Line(), schedule(steps=10**6, validate_every=10**5), tmp_path, resume=True, max_minutes=1.0)
    assert more["step"] > record["step"] and 2.9 < more["minutes"] < 3.3


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(BackendError, match="not finite at step 12") as caught:
        fit(Line(poison_at=12), schedule(), tmp_path, resume=False, max_minutes=None)
    assert caught.value.code == "internal"
    kept = load_file(tmp_path / "last" / "state.safetensors")
    assert kept and all(torch.isfinite(tensor).all() for tensor in kept.values())


def test_nothing_to_resume(tmp_path):
    with pytest.raises(BackendError, match="nothing to resume") as caught:
        fit(Line(), schedule(), tmp_path, resume=True, max_minutes=None)
    assert caught.value.code == "bad_file"


def test_resuming_another_recipe(tmp_path):
    fit(Line(), schedule(steps=10), tmp_path, resume=False, max_minutes=None)
    other = Line()
    other.model = torch.nn.Sequential(torch.nn.Linear(1, 9), torch.nn.Tanh(), torch.nn.Linear(9, 1))
    with pytest.raises(BackendError, match="another recipe") as caught:
        fit(other, schedule(), tmp_path, resume=True, max_minutes=None)
    assert caught.value.code == "bad_file"


# --- the data set and the tasks


@pytest.fixture
def data(tmp_path, motion, write_split):
    folder = tmp_path / "data"
    folder.mkdir()
    train_split = [motion(frames=64 + 4 * i, speed=0.5 + 0.3 * i, turn=0.2 * i, phase=float(i)) for i in range(6)]
    write_split(folder, "train", train_split, ["a person walks forward", "someone sits down, then waves"] * 3)
    write_split(folder, "val", [motion(frames=50), motion(frames=63, speed=2.0)], ["a person walks forward"] * 2)
    return folder


def test_windows(data, motion):
    windows = load_windows(data, "val", keep_motions=True)
    assert [len(f) for f in windows.features] == [50, 63] and len(windows) == len(windows.rows) == 2
    assert np.array_equal(windows.features[1], features.encode(motion(frames=63, speed=2.0)))
    assert np.array_equal(windows.motions[0].contacts, motion(frames=50).contacts)
    assert windows.rows[0]["captions"] == ["a person walks forward"]


def test_windows_that_are_not_there_or_do_not_agree(data):
    with pytest.raises(BackendError, match="no test split") as caught:
        load_windows(data, "test")
    assert caught.value.code == "bad_file" and "dataset build" in caught.value.hint
    with open(data / "val.jsonl", "a", encoding="utf-8") as file:
        file.write('{"captions": ["one too many"]}\n')
    with pytest.raises(BackendError, match="same windows"):
        load_windows(data, "val")


CODEC = """
task = "codec"
window = 32
batch = 4
bf16 = false
[codec]
width = 16
latent = 8
blocks = 1
[schedule]
steps = 3
validate_every = 3
log_every = 1
"""
HEAD = """
task = "momug"
batch = 4
bf16 = false
[model]
text_width = 48
width = 32
layers = 1
heads = 2
steps = 2
[schedule]
steps = 3
validate_every = 3
log_every = 1
"""
LOOP = HEAD.replace("batch = 4", 'batch = 2\nstart = "momug_head/best"')
LOOP = LOOP.replace("[schedule]", "lora_rank = 2\n[schedule]")


def recipe(folder, name: str, text: str) -> str:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_every_stage_trains_and_hands_on(data, tmp_path, tiny_base, monkeypatch, motion):
    """Codec, head, language loop: three steps each on six windows, every stage starting from the one before."""
    runs = tmp_path / "runs"
    quick = SimpleNamespace(prompts=PROMPTS[:2], calls=0)

    def few_prompts(model, seeds, preset):
        quick.calls += 1
        return adherence(model, seeds=1, prompts=quick.prompts, preset=preset)

    monkeypatch.setattr(momug, "adherence", few_prompts)
    record = train(recipe(tmp_path, "codec", CODEC), data, runs / "codec", device="cpu")
    assert record["step"] == 3 and math.isfinite(record["best"])
    assert {"mpjpe_mm", "rotation_degrees", "path_error_mm", "jerk_ratio"} <= set(record["validation"])
    codec = load_codec(runs / "codec" / "best")
    with torch.no_grad():
        windows = [torch.from_numpy(w[:64]) for w in load_windows(data, "train").features]
        found = codec.encode(torch.stack(windows)).flatten(0, 1)
    assert found.mean(0).abs().max() < 1 and 0.3 < found.std() < 3  # scaled on crops of the same windows

    record = train(recipe(tmp_path, "head", HEAD), data, runs / "momug_head", device="cpu")
    assert record["step"] == 3 and math.isfinite(record["validation"]["val_loss"]) and quick.calls == 1
    head = load_checkpoint(runs / "momug_head" / "best", "cpu", "float32")
    assert head.loop is None

    train(recipe(tmp_path, "frames", "frames = true\n" + HEAD), data, runs / "momug_frames", device="cpu")
    raw = load_checkpoint(runs / "momug_frames" / "best", "cpu", "float32")
    assert raw.config.codec.latent == 4 * 155 and not list(raw.codec.parameters())
    result = raw.generate(GenerateRequest("a person walks", seconds=2, seed=1), lambda *a: None, lambda: False)
    assert result.motions[0].frames == 60 and np.isfinite(result.motions[0].translation).all()

    record = train(recipe(tmp_path, "loop", LOOP), data, runs / "momug", device="cpu")
    assert record["step"] == 3 and math.isfinite(record["validation"]["caption_loss"])
    logged = set().union(*(set(r) for r in rows(runs / "momug")))
    assert logged & {"motion", "caption"}
    whole = load_checkpoint(runs / "momug" / "best", "cpu", "float32")
    assert torch.equal(whole.codec.mean, head.codec.mean)
    result = whole.generate(GenerateRequest("a person walks", seed=1, preset="full"), lambda *a: None, lambda: False)
    assert np.isfinite(result.motions[0].rotations).all()
    assert isinstance(whole.caption(motion(), lambda *a: None, lambda: False), str)

    again = train(recipe(tmp_path, "loop", LOOP.replace("steps = 3", "steps = 4")), data, runs / "momug", resume=True)
    assert again["step"] == 4


def test_a_codec_goes_on_from_another(data, tmp_path):
    """Weights and normalisation are taken over; another shape, or nothing there, is an error that names the folder."""
    first = tmp_path / "first"
    train(recipe(tmp_path, "codec", CODEC), data, first, device="cpu")
    start = f'start = "{first / "best"}"\n'
    still = start + CODEC.replace("steps = 3", "steps = 3\nlearning_rate = 0.0").replace("batch = 4", "batch = 2")
    train(recipe(tmp_path, "again", still + "weight_decay = 0.0\n"), data, tmp_path / "second", device="cpu")
    a, b = load_codec(first / "best"), load_codec(tmp_path / "second" / "best")
    for name, parameter in a.named_parameters():
        assert torch.allclose(parameter, b.get_parameter(name), atol=1e-3), name
    assert torch.equal(a.mean, b.mean) and torch.equal(a.std, b.std)
    wider = recipe(tmp_path, "wider", start + CODEC.replace("width = 16", "width = 24"))
    with pytest.raises(BackendError, match="another shape"):
        train(wider, data, tmp_path / "third", device="cpu")
    more = recipe(
        tmp_path, "more", start + CODEC.replace("latent = 8", "latent = 12").replace("steps = 3", "steps = 0")
    )
    values = read_recipe(more)
    grown = started(Path(values["start"]), CausalVAEConfig(**values["codec"])).eval()
    window = torch.from_numpy(load_windows(data, "val").features[0][None, :48])
    with torch.no_grad():
        assert grown.encode_raw(window).shape[-1] == 12
        assert torch.allclose(grown.encode_raw(window)[..., :8], a.encode_raw(window), atol=1e-5)
        assert torch.allclose(grown.decode_raw(grown.encode_raw(window)), a.decode_raw(a.encode_raw(window)), atol=1e-5)
    nowhere = recipe(tmp_path, "nowhere", f'start = "{tmp_path / "nowhere"}"\n' + CODEC)
    with pytest.raises(BackendError, match="no codec to start from"):
        train(nowhere, data, tmp_path / "third", device="cpu")


def test_varied_windows_are_possible_poses(motion):
    """Rotations stay rotations, head, hands and feet lie where they put them, and the root keeps its path."""
    torch.manual_seed(0)
    made = [motion(frames=64, speed=0.5 + 0.3 * i, phase=float(i)) for i in range(8)]
    windows = torch.from_numpy(np.stack([features.encode(m) for m in made]))
    assert torch.allclose(varied(windows, 0.0), windows, atol=1e-5)
    changed = varied(windows, 1.0)
    six = changed[..., features.BLOCKS["rotations"]].unflatten(-1, (22, 6))
    matrices = features.six_to_matrix(six)
    assert torch.allclose(matrices[..., :2].transpose(-1, -2).flatten(-2), six, atol=1e-5)
    positions = features.local_positions(changed)
    ends = (positions[:, :, list(features.ENDS)] - positions[:, :, :1]).flatten(-2)
    assert torch.allclose(ends, changed[..., features.BLOCKS["ends"]], atol=1e-5)
    assert ((changed[..., 136:140] == 0) | (changed[..., 136:140] == 1)).all()
    path = changed[..., 1].sum(1) / windows[..., 1].sum(1)
    assert ((path > 0.7) & (path < 1.01)).all() and path.min() < 0.97  # played slower, so not as far
    turned = (
        matrices - features.six_to_matrix(windows[..., features.BLOCKS["rotations"]].unflatten(-1, (22, 6)))
    ).abs()
    assert (turned.amax((1, 3, 4)) > 0.01).any(0)[[15, 20, 21]].all()


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


def test_batches_hold_windows_and_captions_of_like_length(data, tmp_path, tiny_base):
    runs = tmp_path / "runs"
    train(recipe(tmp_path, "codec", CODEC), data, runs / "codec", device="cpu")
    task = momug.MoMugTask(read_recipe(recipe(tmp_path, "head", HEAD)), data, "cpu", runs / "momug_head")
    seen = [task._next_batch() for _ in range(30)]
    assert all(len(rows) == len(captions) == 4 for rows, captions in seen)
    assert all(
        c in task.train.rows[i]["captions"] for rows, captions in seen for i, c in zip(rows, captions, strict=True)
    )
    assert len(set(np.concatenate([rows for rows, _ in seen]))) == 6


def test_training_starts_from_encoded_windows(data, tmp_path, tiny_base, write_split, motion):
    """The same latents without the capture; those of another codec are refused."""
    runs = tmp_path / "runs"
    train(recipe(tmp_path, "codec", CODEC), data, runs / "codec", device="cpu")
    write_split(data, "test", [motion(frames=50)], ["a person walks forward"])
    encode(data, runs / "codec" / "best", tmp_path / "encoded", lambda line: None)
    values = read_recipe(recipe(tmp_path, "head", HEAD))
    a = momug.MoMugTask(values, data, "cpu", runs / "momug_head")
    b = momug.MoMugTask(values, tmp_path / "encoded", "cpu", runs / "momug_head")
    assert [r["captions"] for r in a.train.rows] == [r["captions"] for r in b.train.rows]
    assert all(torch.allclose(x, y, atol=0.01) for x, y in zip(a.train_latents, b.train_latents, strict=True))
    record = train(recipe(tmp_path, "head", HEAD), tmp_path / "encoded", runs / "momug_head", device="cpu")
    assert record["step"] == 3
    train(recipe(tmp_path, "other", CODEC.replace("steps = 3", "steps = 4")), data, runs / "other", device="cpu")
    elsewhere = recipe(tmp_path, "elsewhere", HEAD.replace("batch = 4", 'batch = 4\ncodec = "other/best"'))
    with pytest.raises(BackendError, match="made by the codec"):
        train(elsewhere, tmp_path / "encoded", runs / "momug_head", device="cpu")


def test_the_decoded_loss_is_nothing_for_the_right_answer(data, tmp_path, tiny_base):
    runs = tmp_path / "runs"
    train(recipe(tmp_path, "codec", CODEC), data, runs / "codec", device="cpu")
    text = HEAD.replace('task = "momug"', 'task = "momug"\ndecoded = 0.5')
    task = momug.MoMugTask(read_recipe(recipe(tmp_path, "head", text)), data, "cpu", runs / "momug_head")
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


def test_missing_data(tmp_path):
    with pytest.raises(BackendError, match="no train split") as caught:
        train(recipe(tmp_path, "codec", CODEC), tmp_path / "nothing", tmp_path / "out", device="cpu")
    assert caught.value.code == "bad_file"


@pytest.mark.parametrize(
    "text, message", [("task = ", "not valid TOML"), ('task = "juggling"', "unknown task"), (None, "no recipe")]
)
def test_broken_recipes(tmp_path, data, text, message):
    name = recipe(tmp_path, "broken", text) if text else "juggling"
    with pytest.raises(BackendError, match=message) as caught:
        train(name, data, tmp_path / "out", device="cpu")
    assert caught.value.code == "bad_file"


@pytest.mark.parametrize("name", NAMES)
def test_recipes_hold_known_keys_only(name):
    """A misspelt key would be passed over in silence."""
    values = read_recipe(name)
    assert values["task"] in ("codec", "vq", "momug", "llamo", "motiongpt", "style", "evaluator")

    def names(kind):
        return {field.name for field in dataclasses.fields(kind)}

    assert set(values["schedule"]) <= names(Schedule)
    if values["task"] == "codec":
        known = {"task", "window", "batch", "bf16", "seed", "start", "variety", "codec", "schedule"}
        assert set(values.get("codec", {})) <= names(CausalVAEConfig)
        assert values["window"] % 4 == 0
    elif values["task"] == "vq":
        known = {"task", "window", "batch", "bf16", "seed", "start", "variety", "codec", "schedule"}
        known |= {"base", "commit", "latent_steps", "bank"}
        assert set(values["codec"]) <= names(VQVAEConfig) and values["window"] % 4 == 0
    elif values["task"] == "style":
        known = {"task", "batch", "text_dropout", "decoded", "bf16", "style", "schedule"}
        assert set(values["style"]) <= names(Style) and values["style"]["rank"] == 8
    elif values["task"] == "llamo":
        known = {"task", "codec", "start", "batch", "captions", "text_dropout", "caption_share", "caption_batch"}
        known |= {"caption_weight", "repeats", "input_noise", "own_share", "own_from", "favour", "bf16", "compile"}
        known |= {"model", "schedule"}
        assert set(values["model"]) <= names(LLaMoConfig)
    elif values["task"] == "motiongpt":
        known = {"task", "batch", "caption_share", "captions", "vq", "text", "favour", "bf16", "model", "schedule"}
        assert set(values["model"]) <= names(MotionGPTConfig)
    elif values["task"] == "evaluator":
        known = set(values)  # its own tests know them
    else:
        known = {"task", "codec", "start", "language", "batch", "text_dropout", "denoise_share", "lambda_motion"}
        known |= {
            "sideless",
            "favour",
            "frames",
            "projection_rate",
            "head_rate",
            "decoded",
            "bf16",
            "model",
            "schedule",
        }
        assert set(values["model"]) <= names(MoMugConfig)
        assert values["model"]["width"] % (2 * values["model"]["heads"]) == 0
    assert set(values) <= known


def test_the_stages_fit_each_other():
    assert {"codec", "momug_head", "momug"} <= set(NAMES)
    head, loop = read_recipe("momug_head")["model"], read_recipe("momug")["model"]
    assert loop["lora_rank"] > 0 and "lora_rank" not in head
    assert {k: v for k, v in loop.items() if not k.startswith("lora")} == head
