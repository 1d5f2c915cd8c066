"""The same request in other words, and one action at a time."""

import pytest

from backend.models import wordings


@pytest.mark.parametrize(
    ("sentence", "steps"),
    [
        ("a tired man walks forward, then sits down", ["a tired man walks forward", "a tired man sits down"]),
        ("someone jumps and then runs away.", ["someone jumps", "someone runs away"]),
        (
            "a person walks forward, turns around and walks back",
            ["a person walks forward", "a person turns around", "a person walks forward"],
        ),
        ("someone lifts the left and right arm, then waves", ["someone lifts the left and right arm", "someone waves"]),
        ("a person walks and waves", ["a person walks and waves"]),
        ("walk forward, then sit", ["walk forward, then sit"]),
        ("", [""]),
    ],
)  # fmt: skip
def test_one_action_at_a_time(sentence, steps):
    assert wordings.one_by_one(sentence) == steps


@pytest.mark.parametrize(
    ("sentence", "other"),
    [
        ("a person walks sideways to the left", "a person sidesteps to the left"),
        ("a person walks forward and waves", "a person walks forward while waving the right hand"),
        ("a person waves with both hands", None),
        ("a person kicks with the left foot", "a person kicks with the left leg"),
        ("a person walks forward", None),
    ],
)
def test_other_words(sentence, other):
    assert wordings.others(sentence) == ([[other]] if other else [])


def test_other_words_keep_the_sides_that_were_named():
    for side, opposite in (("left", "right"), ("right", "left")):
        for action in ("kicks with the {} foot", "waves with the {} hand", "takes a step to the {}", "turns {}"):
            said = wordings.others("a person " + action.format(side))
            assert not any(opposite in step for way in said for step in way)


def test_frames_are_shared_out_whole():
    assert wordings.shared(100, [2, 3], 30) == [46, 54]
    for frames, weights, least in ((75, [1, 1, 1], 8), (20, [5, 1, 1], 8), (22, [1.0], 8)):
        shares = wordings.shared(frames, weights, least)
        assert sum(shares) == frames and len(shares) == len(weights)
        assert min(shares) >= min(least, frames // len(weights))
