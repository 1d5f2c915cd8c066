"""Recipes of three steps, a data set of eight windows for them, and a run's log."""

import json

import pytest

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


def rows(out) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def eight_windows(tmp_path, motion, write_split):
    """A data set of six windows to train on and two to validate on."""
    folder = tmp_path / "data"
    folder.mkdir()
    train_split = [motion(frames=64 + 4 * i, speed=0.5 + 0.3 * i, turn=0.2 * i, phase=float(i)) for i in range(6)]
    write_split(folder, "train", train_split, ["a person walks forward", "someone sits down, then waves"] * 3)
    write_split(folder, "val", [motion(frames=50), motion(frames=63, speed=2.0)], ["a person walks forward"] * 2)
    return folder
