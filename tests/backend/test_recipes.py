"""Recipes: what is said of broken ones, and that those of this repository hold known keys and fit each other."""

import dataclasses
import inspect

import pytest

from backend.codecs.causal_vae import CausalVAEConfig
from backend.codecs.vq_vae import VQVAEConfig
from backend.errors import BackendError
from backend.models.actions import ActionNet
from backend.models.llamo.config import LLaMoConfig
from backend.models.momug.config import MoMugConfig
from backend.models.motiongpt.config import MotionGPTConfig
from backend.models.styles import Style
from backend.training.distil import SETTINGS
from backend.training.run import RECIPES, read_recipe, train
from backend.training.trainer import Schedule
from tests.backend.tiny_recipes import recipe

NAMES = sorted(p.stem for p in RECIPES.glob("*.toml"))


@pytest.mark.parametrize(
    "text, message", [("task = ", "not valid TOML"), ('task = "juggling"', "unknown task"), (None, "no recipe")]
)
def test_broken_recipes(tmp_path, eight_windows, text, message):
    name = recipe(tmp_path, "broken", text) if text else "juggling"
    with pytest.raises(BackendError, match=message) as caught:
        train(name, eight_windows, tmp_path / "out", device="cpu")
    assert caught.value.code == "bad_file"


@pytest.mark.parametrize("name", NAMES)
def test_recipes_hold_known_keys_only(name):
    """A misspelt key would be passed over in silence."""
    values = read_recipe(name)
    assert values["task"] in ("codec", "vq", "momug", "distil", "llamo", "motiongpt", "style", "evaluator", "actions")

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
    elif values["task"] == "actions":
        known = {"task", "batch", "noise", "least_count", "model", "schedule"}
        assert set(values["model"]) <= set(inspect.signature(ActionNet).parameters) - {"latent", "verbs"}
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
            "decoded_share",
            "compile",
            "bf16",
            "model",
            "schedule",
        }
        assert set(values["model"]) <= names(MoMugConfig)
        if values["task"] == "distil":
            known |= {"distil"}
            assert set(values["distil"]) <= set(SETTINGS)
        assert values["model"]["width"] % (2 * values["model"]["heads"]) == 0
    assert set(values) <= known


def test_the_stages_fit_each_other():
    assert {"codec", "momug_head", "momug"} <= set(NAMES)
    head, loop = read_recipe("momug_head")["model"], read_recipe("momug")["model"]
    assert loop["lora_rank"] > 0 and "lora_rank" not in head
    assert {k: v for k, v in loop.items() if not k.startswith("lora")} == head
