"""Training in two processes, started by torchrun or accelerate: the same as in one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.errors import BackendError
from backend.training.processes import APART, Processes, begin
from backend.training.run import train
from backend.training.trainer import Schedule, fit

ROOT = Path(__file__).resolve().parents[2]
CODEC = """
task = "codec"
window = 32
batch = 16
bf16 = false
[codec]
width = 32
latent = 8
blocks = 1
[schedule]
steps = {steps}
warmup = 5
learning_rate = 2e-3
validate_every = {steps}
log_every = 10
"""


class Share:
    """Fit y = 3 x - 1 from every ``size``-th of eight points, counted from ``rank``: together they have them all."""

    def __init__(self, rank: int, size: int):
        torch.manual_seed(rank)  # the first one's beginning is to become everybody's
        self.model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        self.unused = torch.nn.Parameter(torch.ones(2))
        self.model.register_parameter("unused", self.unused)
        self.x = torch.linspace(-1, 1, 8)[rank::size, None]

    def parameter_groups(self, learning_rate):
        return [{"params": list(self.model.parameters()), "lr": learning_rate}]

    def loss(self, model):
        loss = (model(self.x) - (3 * self.x - 1)).square().mean()
        return loss, {"loss": loss.item()}

    def validate(self, model):
        return {"score": 1.0}

    def export(self, model, folder, record):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(dict(model.state_dict()), folder / "line.safetensors")


def fit_share(out: Path) -> None:
    """What a process of ``torchrun`` does in the test below."""
    group, _ = begin("cpu")
    task = group.in_turn(lambda: Share(group.rank, group.size))
    schedule = Schedule(steps=30, warmup=3, validate_every=30, log_every=5, learning_rate=0.05)
    fit(task, schedule, out, False, None, group)
    save_file(dict(task.model.state_dict()), out / f"rank{group.rank}.safetensors")


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node=2")
# --multi_gpu: its word for processes of one machine that find each other as torchrun's do; --cpu would ask for MPI
ACCELERATE = ("accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1")
ACCELERATE += (
    "--mixed_precision=no",
    "--dynamo_backend=no",
    "--num_cpu_threads_per_process=1",
    "--main_process_port=0",
)


def torchrun(*arguments: object, launcher: tuple[str, ...] = TORCHRUN) -> None:
    tools = Path(pytest.__file__).parents[1]  # may lie beside the environment: this file is read again, and imports it
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(tools)]),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    command = [sys.executable, "-m", *launcher, *map(str, arguments)]
    ended = subprocess.run(command, env=env, cwd=ROOT, timeout=600, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]


def curve(out: Path) -> np.ndarray:
    lines = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return np.array([row["loss"] for row in map(json.loads, lines) if "loss" in row])


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_with_half_the_points_each_are_one_with_all(tmp_path, launcher):
    pytest.importorskip(launcher[0].partition(".")[0])
    two, one = tmp_path / "two", tmp_path / "one"
    torchrun(__file__, two, launcher=launcher)
    fit(Share(0, 1), Schedule(steps=30, warmup=3, validate_every=30, log_every=5, learning_rate=0.05), one, False, None)
    assert len(curve(one)) == 6 and np.allclose(curve(two), curve(one), rtol=1e-4)
    ranks = [load_file(two / f"rank{rank}.safetensors") for rank in (0, 1)]
    alone = load_file(one / "best" / "line.safetensors")
    trained = load_file(two / "best" / "line.safetensors")
    for name in alone:
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        assert torch.allclose(trained[name], alone[name], atol=1e-5), name
    assert torch.equal(alone["unused"], torch.ones(2)) and torch.equal(trained["unused"], torch.ones(2))


def test_a_recipe_trains_alike_in_one_process_and_in_two(tmp_path, motion, write_split):
    data = tmp_path / "data"
    data.mkdir()
    windows = [motion(frames=64 + 4 * i, speed=0.5 + 0.3 * i, turn=0.2 * i, phase=float(i)) for i in range(6)]
    write_split(data, "train", windows, ["a person walks"] * 6)
    write_split(data, "val", [motion(frames=60)], ["a person walks"])
    recipe = tmp_path / "codec.toml"
    recipe.write_text(CODEC.format(steps=80), encoding="utf-8")
    train(str(recipe), data, tmp_path / "one", device="cpu")
    torchrun("-m", "backend", "train", "--recipe", recipe, "--data", data, "--out", tmp_path / "two", "--device", "cpu")
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    print("one process", one.round(4), "two processes", two.round(4))
    assert len(one) == len(two) == 8 and one[-1] < 0.75 * one[0]
    # batches are drawn differently: the curves differ by the noise of a batch
    assert np.abs(two / one - 1).mean() < 0.1, (one, two)


def test_a_batch_that_cannot_be_shared_is_told():
    group = Processes(rank=1, size=3)
    assert group.share({"task": "momug", "batch": 96, "schedule": {"seed": 4}}) == {
        "task": "momug", "batch": 32, "seed": APART, "schedule": {"seed": 4 + APART},
    }  # fmt: skip
    for recipe in ({"task": "momug", "batch": 64}, {"task": "style"}, {"task": "vq", "batch": 96}):
        with pytest.raises(BackendError) as caught:
            group.share(recipe)
        assert caught.value.code == "bad_request"
    assert Processes().share({"task": "vq"}) == {"task": "vq"}


if __name__ == "__main__":
    fit_share(Path(sys.argv[1]))


@pytest.mark.parametrize("told", [None, "5"])
def test_threads_wait_without_spinning_for_long_unless_the_user_says_otherwise(told):
    environment = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"}
    environment |= {"GOMP_SPINCOUNT": told} if told else {}
    script = "import os, sys, backend; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.split() == [told or "1000", "False"]
