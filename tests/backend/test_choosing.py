"""The best of several tries is the one that does what the sentence says."""

from types import SimpleNamespace

import numpy as np
import pytest
from motions import jump, raise_hand, turn, walk

from backend.errors import BackendError
from backend.models import again, choosing
from backend.models.interface import GenerateRequest, GenerateResult
from backend.motion.quality import metrics
from backend.motion.skeleton import Motion
from tests.backend.asking import asks_again


def there_and_still() -> Motion:
    """A walk of three seconds, then three seconds of standing."""
    first, second = walk(3.0), walk(3.0, 0.0)
    second.translation += first.translation[-1] * [1, 0, 1]
    second.rotations[:] = [1, 0, 0, 0]
    for side, sign in (("left", -1), ("right", 1)):
        second.rotations[:, 16 if side == "left" else 17] = turn(2, np.full(second.frames, 1.3 * sign))
    return Motion(*(np.concatenate([getattr(m, n) for m in (first, second)]) for n in ("rotations", "translation")))


@pytest.mark.parametrize(
    "sentence, right",
    [("a person walks forward", 0), ("a person walks and turns left", 1), ("a person walks and turns right", 2),
     ("a person raises the left hand", 3), ("a person raises the right hand", 4), ("a person jumps", 5)],
)  # fmt: skip
def test_the_try_that_does_it_is_chosen(sentence, right):
    tries = [walk(), walk(yaw_rate=25), walk(yaw_rate=-25), raise_hand("left"), raise_hand("right"), jump()]
    # who walks and turns walks forward, too
    among = [tries[0], *tries[3:]] if right == 0 else tries
    for order in (among, among[::-1]):
        chosen, warnings = choosing.choose([sentence], [0], [order])
        assert order[chosen[0]] is tries[right] and warnings == []


def test_what_nobody_does_is_told():
    chosen, warnings = choosing.choose(["a person jumps twice"], [0], [[walk(), walk(speed=0.9)]])
    assert len(chosen) == len(warnings) == 1 and "jump" in warnings[0]
    # one of two variations does it: nothing to complain about
    assert choosing.choose(["a person jumps"], [0], [[walk()], [jump()]]) == ([0, 0], [])


def test_what_nothing_can_measure_has_no_say_and_of_equals_the_feet_that_stand_are_taken():
    standing, gliding = walk(), walk()
    gliding.rotations[:] = [1, 0, 0, 0]  # upright and stiff, over the floor
    gliding.contacts[:] = 1
    assert metrics(standing)["contact_speed"] < metrics(gliding)["contact_speed"]
    for tries in ([standing, gliding], [gliding, standing]):
        (chosen,), warnings = choosing.choose(["like a zombie"], [0], [tries])
        assert tries[chosen] is standing and warnings == []


def test_each_sentence_of_a_timeline_is_asked_of_its_own_part():
    motion = there_and_still()
    said = ["a person walks forward", "a person stands still"]
    assert choosing.score(said, [0, 90], motion)[1] == []
    assert choosing.score(said[::-1], [0, 90], motion)[1]


def test_best_makes_several_and_returns_one_of_them(make_model, monkeypatch):
    model, asked = make_model(), []

    def last(sentences, segments, tries, score):
        asked.append((sentences, segments, [len(motions) for motions in tries]))
        return [len(motions) - 1 for motions in tries], ["told"]

    quiet, never = (lambda phase, step, total: None), (lambda: False)
    request = {"seconds": 2.0, "seed": 3, "variations": 2}
    plain = model.generate(GenerateRequest("a person walks", preset="fast", **request), quiet, never)
    first = model.generate(GenerateRequest("a person walks", preset="best", **request), quiet, never)
    monkeypatch.setattr(choosing, "choose", last)
    best = model.generate(GenerateRequest("a person walks", preset="best", **request), quiet, never)
    second = model.generate(GenerateRequest("a person walks", preset="best", **request), quiet, never)
    assert asked[0] == (["a person walks"], [0], [4, 4]) and best.warnings == ["told"] and best.seeds == [3, 4]
    assert len(best.motions) == len(first.motions) == 2
    assert np.array_equal(best.motions[0].rotations, second.motions[0].rotations)
    assert not np.allclose(best.motions[0].rotations, plain.motions[0].rotations, atol=1e-3)


def test_a_motion_is_measured_once_and_the_work_can_end_before_each(monkeypatch):
    tries, measured = [walk(), jump(), walk(yaw_rate=25)], []
    measure = choosing.measure
    monkeypatch.setattr(choosing, "measure", lambda motion: measured.append(motion) or measure(motion))
    score = choosing.scorer(lambda: None)
    assert choosing.lacking("a person jumps", tries[:1], score) == ["jump"]
    assert choosing.choose(["a person jumps"], [0], [tries], score) == ([1], [])
    assert len(measured) == 3

    def stop():
        if len(measured) == 5:
            raise BackendError("cancelled", "The generation was cancelled.")

    with pytest.raises(BackendError, match="cancelled"):
        choosing.choose(["a person jumps"], [0], [tries], choosing.scorer(stop))
    assert len(measured) == 5


@pytest.mark.parametrize("variations", [1, 8])
def test_decoding_and_measuring_can_be_cancelled(make_model, variations):
    model, phases = make_model(), []
    asked, calls = GenerateRequest("a person jumps", seconds=2, seed=3, preset="best", variations=variations), []

    def cancelled() -> bool:
        calls.append(phases[-1])
        return calls.count("decode") > variations

    with pytest.raises(BackendError) as caught:
        model.generate(asked, lambda phase, step, total: phases.append(phase), cancelled)
    assert caught.value.code == "cancelled" and calls[-1] == "decode"


def test_the_truest_caption_is_chosen_and_the_likeliest_of_equals():
    written = [("a person jumps", -0.2), ("a person walks backward", -0.1), ("a person walks forward", -0.5)]
    assert choosing.truest(written, walk(), {}) == "a person walks forward"
    assert choosing.truest([("like a zombie", -0.5), ("with a sword", -0.3)], walk(), {}) == "with a sword"


def test_what_the_first_tries_miss_is_asked_for_again_one_action_at_a_time(make_model, monkeypatch):
    """The second round: in other words, and only where something is missing."""
    model, phases, plans = make_model(), [], []
    improve = again.improve

    def heard(sentences, seeds, tried, make, score):
        improve(sentences, seeds, tried, lambda words, *rest: plans.append(words) or make(words, *rest), score)

    monkeypatch.setattr(again, "improve", heard)
    asked = GenerateRequest("a person jumps, then sits down", seconds=2, seed=3, preset="best")
    result = model.generate(asked, lambda phase, step, total: phases.append(phase), lambda: False)
    assert plans == [["a person jumps", "a person sits down"]] and "again" in phases
    assert result.motions[0].frames == 60 and result.warnings
    (batched,) = model.generate_batch([asked], lambda *step: None, lambda: False)
    assert np.allclose(batched.motions[0].rotations, result.motions[0].rotations, atol=1e-3)
    plans.clear()
    model.generate(GenerateRequest("like a zombie", seconds=2, seed=3), lambda *step: None, lambda: False)
    model.generate(GenerateRequest("a person jumps", seconds=2, preset="fast"), lambda *step: None, lambda: False)
    assert plans == []
    with pytest.raises(BackendError, match="cancelled"):
        model.generate(asked, lambda phase, step, total: phases.append(phase), lambda: phases[-1] == "again")


class Walker:
    """A system that only ever walks, for as long as it is asked to."""

    config = SimpleNamespace(min_seconds=1.0)

    def __init__(self):
        self.asked = []

    def generate(self, request, progress, cancelled):
        self.asked.append(request)
        progress("generate", 1, 2)
        seconds = sum(s for _, s in request.timeline) or request.seconds
        seeds = [request.seed + i for i in range(request.variations)]
        return GenerateResult([walk(seconds + 0.1) for _ in seeds], seeds)


def test_any_system_can_be_asked_again():
    model, phases = Walker(), []
    first = GenerateRequest("a person jumps, then sits down", 4.0, 7, guidance_scale=2.5, preset="best")
    make = again.by_requests(model, first, lambda phase, step, total: phases.append(phase), lambda: False)
    tried = [[walk(4.0)], [walk(4.0)]]
    again.improve([first.prompt] * 2, [7, 8], tried, make)
    assert [request.seed for request in model.asked] == [7, 8] and set(phases) == {"again"}
    for request in model.asked:
        assert request.timeline == [("a person jumps", 2.0), ("a person sits down", 2.0)]
        assert (request.preset, request.variations, request.guidance_scale) == ("fast", again.TRIES, 2.5)
    assert [len(motions) for motions in tried] == [1 + again.TRIES] * 2
    assert {motion.frames for motions in tried for motion in motions} == {120}
    model.asked.clear()
    assert make(["a person jumps", "a person sits down"], 45, [7]) == [[]] and not model.asked  # 1.5 s are too short


def test_motiongpt_asks_again(motiongpt, monkeypatch):
    asks_again(motiongpt, monkeypatch)
