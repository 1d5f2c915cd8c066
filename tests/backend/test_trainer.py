"""The trainer on a toy task: log, resuming, what is kept, the time limit, losses that are not finite."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.errors import BackendError
from backend.training import trainer
from backend.training.trainer import Schedule, fit
from tests.backend.tiny_recipes import rows


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
