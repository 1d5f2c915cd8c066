"""Which model is offered for given poses: the one that was measured to meet such poses better, if installed."""

import pytest

from blender_addon import conditions, service

FIGURES = {"reconstruction_cm": 20.0, "velocity": 0.4, "distance_cm": 3.0}


@pytest.fixture
def known(monkeypatch):
    table = {
        "first": {"better": "momug", "momug": FIGURES, "motiongpt": FIGURES},
        "keys": {"better": "motiongpt", "momug": FIGURES, "motiongpt": FIGURES},
    }
    models = [
        {"name": "momug", "label": "MoMug (diffusion)", "available": True},
        {"name": "llamo", "label": "LLaMo (streaming)", "available": True},
        {"name": "motiongpt", "label": "MotionGPT (poses)", "available": True, "conditions_quality": table},
    ]
    monkeypatch.setattr(service, "_models", models)
    return models


@pytest.mark.parametrize(
    "frames, first, last, case",
    [([1], 1, None, "first"), ([1], 1, 60, "first"), ([60], 1, 60, "last"), ([30], 1, 60, "keys"),
     ([1, 60], 1, 60, "ends"), ([1, 30, 60], 1, 60, "keys"), ([1, 60], 1, None, "keys"), ([1, 1], 1, 60, "first")],
)  # fmt: skip
def test_poses_are_named_by_where_they_are(frames, first, last, case):
    assert conditions.case_of(frames, first, last) == case
    assert conditions.case_of(frames, first, last, wordless=True) == "poses_only"


def test_the_better_model_is_offered_and_no_other(known):
    assert conditions.better_model("motiongpt", "first") == "momug"
    assert conditions.better_model("momug", "first") == ""
    assert conditions.better_model("momug", "keys") == "motiongpt"
    assert conditions.better_model("momug", "last") == ""  # nobody measured it
    assert conditions.better_model("llamo", "keys") == ""  # nor this model


def test_a_model_that_is_not_installed_is_not_offered(known):
    known[0]["available"] = False
    assert conditions.better_model("motiongpt", "first") == ""


def test_nothing_is_offered_before_the_backend_has_spoken(monkeypatch):
    monkeypatch.setattr(service, "_models", [])
    assert conditions.better_model("momug", "keys") == ""
