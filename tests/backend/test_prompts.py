"""The checked prompts: a procedural motion passes the sentences that describe it and fails the others."""

import math

import pytest

from backend.data.measure import measure
from backend.evaluation.prompts import PROMPTS, adherence
from backend.models.interface import GenerateResult


class Actor:
    """A MotionModel that answers every sentence with the same motion."""

    def __init__(self, make):
        self.make, self.asked = make, []

    def generate(self, request, progress, cancelled):
        self.asked.append(request)
        motions = [self.make(round(request.seconds * 30)) for _ in range(request.variations)]
        return GenerateResult(motions, [request.seed + i for i in range(request.variations)])


def passes(motion) -> set[str]:
    figures = measure(motion)
    return {prompt.text for prompt in PROMPTS if prompt.check(figures)}


def test_every_sentence_can_be_asked():
    texts = [prompt.text for prompt in PROMPTS]
    assert len(texts) == len(set(texts)) >= 15
    assert all(1 <= prompt.seconds <= 10 for prompt in PROMPTS)


LEFT, RIGHT = (f"a person walks forward and turns {side}" for side in ("left", "right"))


@pytest.mark.parametrize(
    "fields, right, wrong",
    [
        ({"speed": 1.2, "turn": 0.0}, "a person walks forward", "a person walks backward"),
        ({"speed": 3.2, "turn": 0.0}, "a person runs forward", "a man walks forward slowly"),
        ({"speed": -0.8, "turn": 0.0}, "a person walks backward", "a person walks forward"),
        ({"speed": 0.9, "turn": 1.6}, LEFT, RIGHT),
        ({"speed": 0.9, "turn": -1.6}, RIGHT, LEFT),
        ({"speed": 0.9, "turn": math.pi}, "a person walks forward, then turns around", "a person stands still"),
    ],
)
def test_known_motions(motion, fields, right, wrong):
    found = passes(motion(frames=150, **fields))
    assert right in found and wrong not in found


def test_adherence_counts_by_category(motion):
    actor = Actor(lambda frames: motion(frames=frames, speed=1.2, turn=0.0))
    chosen = tuple(p for p in PROMPTS if p.category in ("walk", "backward"))
    figures = adherence(actor, seeds=2, prompts=chosen, preset="fast")
    assert figures["passed_backward"] == 0.0 and figures["passed_walk"] == pytest.approx(2 / 3)
    assert figures["passed"] == pytest.approx(2 / 4)
    assert all((r.seed, r.variations, r.preset) == (0, 2, "fast") for r in actor.asked)
