"""The command that lets one backend work for hundreds of jobs: what it asks for, and how it tells growth."""

import random

import pytest

pytest.importorskip("numpy")
import soak  # noqa: E402

MOMUG = {"name": "momug", "conditions": ["text", "timeline", "poses", "loop"], "captions": True, "presets": []}
LLAMO = {"name": "llamo", "conditions": ["text"], "streams": True, "presets": [{"name": "fast"}]}


def test_growth_is_told_apart_from_what_each_model_holds():
    held = {"momug": 750.0, "llamo": 500.0}
    samples = [
        (number, name, held[name] + 0.2 * number, 5, 2 + number)
        for number, name in enumerate(["momug"] * 25 + ["llamo"] * 25 + ["momug"] * 25)
    ]
    assert soak.slopes(samples) == pytest.approx([0.2, 0.0, 1.0], abs=1e-9)


def test_every_kind_of_job_comes_and_none_that_the_model_cannot_do():
    rng = random.Random(0)
    kinds = {name: {soak.a_job(rng, model)[0] for _ in range(400)} for name, model in (("m", MOMUG), ("l", LLAMO))}
    assert kinds["m"] == {"generate", "variations", "timeline", "loop", "poses", "caption", "bad"}
    assert kinds["l"] == {"generate", "variations", "stream", "bad"}


def test_given_poses_have_the_shapes_of_the_protocol():
    arrays = soak.a_target(random.Random(1))
    frames = len(arrays["target/rotations"])
    assert arrays["target/rotations"].shape == (frames, 22, 4) and arrays["target/joints"].shape == (frames, 22)
    assert arrays["target/place"].shape == arrays["target/translation"].shape == (frames, 3)
    assert arrays["target/joints"].any(1).sum() == 2
