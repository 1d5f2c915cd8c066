"""Our own prompts with kinematic checks: does the motion do what the sentence says?

Each check asks :class:`backend.evaluation.take.Take`. How far the checks themselves can be believed is measured on real
windows: ``python -m backend evaluate --prove`` (:mod:`backend.evaluation.proof`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backend.data.clean import mirrored
from backend.evaluation.take import SIDES, Take, other
from backend.models.interface import GenerateRequest
from backend.motion.skeleton import Motion


@dataclass(frozen=True)
class Prompt:
    category: str
    text: str
    seconds: float
    check: Callable[[Take], bool]

    @property
    def sided(self) -> bool:
        """Whether the sentence names a side."""
        return bool(re.search(r"\b(left|right)\b", self.text))


def passed(prompt: Prompt, motion: Motion) -> bool:
    """Whether a canonical motion does what the prompt says."""
    return bool(prompt.check(Take(motion)))


def _straight(t: Take) -> bool:
    return t.walks() and t.upright and abs(t.turn()) < 45


def _runs(t: Take) -> bool:
    return t.goes("forward", 1.5) and t.pace > 1.7


def _turned(side: str, least: float, most: float = 1e9) -> Callable[[Take], bool]:
    sign = 1 if side == "left" else -1
    return lambda t: least < sign * t.turn() < most


def _walk_turn(side: str, least: float = 30, most: float = 1e9) -> Callable[[Take], bool]:
    return lambda t: t.goes("forward", 0.8) and t.pace < 2.3 and _turned(side, least, most)(t)


def _squats(t: Take, count: int = 1) -> bool:
    return t.starts_up and t.ends_up and len(t.low()) >= count and t.stays


def _sits(t: Take) -> bool:
    return t.ends_low and float(np.percentile(t.lean, 60)) < 60


def _kick(side: str, count: int = 1) -> Callable[[Take], bool]:
    return lambda t: t.kicks(side) >= count and t.kicks(side) > t.kicks(other(side))


def _punch(side: str) -> Callable[[Take], bool]:
    return lambda t: t.punches(side) >= 1 and t.punches(side) > t.punches(other(side))


def _wave(side: str) -> Callable[[Take], bool]:
    return lambda t: t.waves(side) and t.hangs(other(side))


def _while_walking(t: Take, side: str) -> bool:
    """The hand is up for half a second while the body goes forward."""
    return t.goes("forward", 0.8) and any(t.way(a, b)[2] > 0.25 for a, b in t.raised(side, least=0.5))


def _walk_then_stop(t: Take) -> bool:
    at = t.settles()
    return at is not None and t.goes("forward", 0.8, 0, at)


def _stand_then_go(t: Take, direction: str = "forward") -> bool:
    at = t.sets_off()
    return at is not None and t.goes(direction, 0.8, at)


def _walk_then_low(t: Take) -> bool:
    low = t.low()
    return bool(low) and t.ends_low and low[-1][0] > 0.2 * t.frames and t.goes("forward", 0.6, 0, low[-1][0])


def _low_then_walk(t: Take) -> bool:
    low = t.low()
    return bool(low) and t.ends_up and low[0][0] < t.frames / 2 and t.goes("forward", 0.6, low[0][1])


def _walk_then_jump(t: Take) -> bool:
    return bool(t.jumps) and t.goes("forward", 0.6, 0, t.jumps[0][0])


def _jump_then_walk(t: Take) -> bool:
    return bool(t.jumps) and t.jumps[0][0] < t.frames / 2 and t.goes("forward", 0.6, t.jumps[-1][1])


def _there_and_back(t: Take) -> bool:
    track = t.joints[:, 0][:, [0, 2]]
    away = np.linalg.norm(track - track[0], axis=1)
    return 130 < abs(t.turn()) < 235 and away.max() > 0.8 and away[-1] < 0.65 * away.max()


def _forward_then_backward(t: Take) -> bool:
    path = np.cumsum(t.ahead) / t.fps
    top = int(path.argmax())
    return path[top] > 0.5 and path[top] - path[-1] > 0.5 and abs(t.turn()) < 90


def _squat_then_jump(t: Take) -> bool:
    return any(a < jump and jump - b < 1.0 * t.fps for a, b in t.low(0.82, 0.1) for jump, _ in t.jumps)


def _turn_then_walk(side: str) -> Callable[[Take], bool]:
    def check(t: Take) -> bool:
        half = t.frames // 2
        sign = 1 if side == "left" else -1
        return sign * t.turn(0, half) > 35 and t.goes("forward", 0.6, half) and t.way(half)[2] > 1.2 * t.way(0, half)[2]

    return check


def _raise_then_walk(t: Take) -> bool:
    up = t.raised("right")
    at = t.sets_off(0.3)
    return bool(up) and at is not None and up[0][0] < at and t.goes("forward", 0.6, at)


def _lifted(t: Take, sides: tuple[str, ...] = SIDES, over: str = "shoulder") -> bool:
    return all(t.raised(side, over) for side in sides)


PROMPTS = (
    Prompt("walk", "a person walks forward", 4, _straight),
    Prompt("walk", "a man is walking forward in a straight line", 5, _straight),
    Prompt("walk", "someone walks a few steps forward", 3, lambda t: t.goes("forward", 0.5) and t.pace < 2.2),
    Prompt("speed", "a man walks forward slowly", 4, lambda t: _straight(t) and t.pace < 1.0),
    Prompt("speed", "someone walks quickly straight ahead", 4, lambda t: _straight(t) and t.pace > 1.25),
    Prompt("speed", "a person jogs slowly", 4, lambda t: t.goes("forward", 1.5) and 1.3 < t.pace < 3.0),
    Prompt("speed", "a person sprints", 3, lambda t: _runs(t) and t.pace > 3.0),
    Prompt("backward", "a person walks backward", 4, lambda t: t.goes("backward", 0.5)),
    Prompt("backward", "a man slowly walks backwards", 4, lambda t: t.goes("backward", 0.4) and t.pace < 1.1),
    Prompt("backward", "someone takes a step back", 3, lambda t: t.steps("backward")),
    Prompt("sideways", "a person walks sideways to the left", 4, lambda t: t.goes("left", 0.4)),
    Prompt("sideways", "a person walks sideways to the right", 4, lambda t: t.goes("right", 0.4)),
    Prompt("sideways", "someone takes a step to the left", 3, lambda t: t.steps("left")),
    Prompt("sideways", "someone takes a step to the right", 3, lambda t: t.steps("right")),
    Prompt("run", "a person runs forward", 3, lambda t: _runs(t) and abs(t.turn()) < 60),
    Prompt("run", "someone is jogging forward", 3, _runs),
    Prompt("run", "a person runs in a curve to the left", 4, lambda t: _runs(t) and t.turn() > 30),
    Prompt("run", "a person runs in a curve to the right", 4, lambda t: _runs(t) and t.turn() < -30),
    Prompt("turn", "a person walks forward and turns left", 5, _walk_turn("left")),
    Prompt("turn", "a person walks forward and turns right", 5, _walk_turn("right")),
    Prompt("turn", "a man walks in a curve to the left", 5, _walk_turn("left", 25)),
    Prompt("turn", "a man walks in a curve to the right", 5, _walk_turn("right", 25)),
    Prompt("turn", "a man walks in a circle to the left", 7, _walk_turn("left", 150)),
    Prompt("turn", "a man walks in a circle to the right", 7, _walk_turn("right", 150)),
    Prompt("turn", "a person turns to the left", 3, lambda t: 30 < t.turn() < 240 and t.way()[2] < 2),
    Prompt("turn", "a person turns to the right", 3, lambda t: -240 < t.turn() < -30 and t.way()[2] < 2),
    Prompt("turn", "a person walks forward, then turns around", 6, lambda t: 120 < abs(t.turn()) < 260),
    Prompt("turn", "someone turns around", 4, lambda t: 120 < abs(t.turn()) < 260),
    Prompt("jump", "a person jumps up", 3, lambda t: bool(t.jumps) and t.stays),
    Prompt("jump", "a person jumps forward", 3, lambda t: bool(t.jumps) and t.goes("forward", 0.3)),
    Prompt("jump", "someone jumps high into the air", 3, lambda t: t.rise > 0.25),
    Prompt("jump", "a person hops forward", 3, lambda t: bool(t.jumps) and t.goes("forward", 0.3)),
    Prompt("count", "a person jumps twice", 4, lambda t: len(t.jumps) == 2),
    Prompt("count", "a person jumps three times", 5, lambda t: len(t.jumps) == 3),
    Prompt("count", "someone jumps up and down several times", 5, lambda t: len(t.jumps) >= 3),
    Prompt("count", "a person kicks twice", 4, lambda t: t.kicks("left") + t.kicks("right") == 2),
    Prompt("count", "a person does squats", 6, lambda t: _squats(t, 2)),
    Prompt("sit", "a person sits down", 4, _sits),
    Prompt("sit", "a person is sitting", 4, lambda t: float(np.median(t.height)) < 0.76 and t.stays),
    Prompt("sit", "a person stands up", 4, lambda t: float(t.height[:5].mean()) < 0.78 and t.ends_up),
    Prompt("squat", "a person squats down, then stands up", 4, _squats),
    Prompt("squat", "a person crouches", 4, lambda t: bool(t.low(0.80))),
    Prompt("squat", "someone squats deeply", 4, lambda t: bool(t.low(0.55))),
    Prompt("squat", "a person walks crouched", 4, lambda t: t.goes("forward", 0.5) and np.median(t.height) < 0.82),
    Prompt("bend", "a person bends forward", 4, lambda t: bool(t.bends)),
    Prompt("bend", "a person bends down and picks something up", 4, lambda t: t.reaches_down),
    Prompt("hands", "a person raises the left hand", 4, lambda t: t.only_raises("left")),
    Prompt("hands", "a person raises the right hand", 4, lambda t: t.only_raises("right")),
    Prompt("hands", "a person raises both hands", 4, _lifted),
    Prompt("hands", "someone raises both arms above the head", 4, lambda t: _lifted(t, over="head")),
    Prompt("hands", "a man lifts the left arm", 4, lambda t: t.only_raises("left")),
    Prompt("hands", "a man lifts the right arm", 4, lambda t: t.only_raises("right")),
    Prompt("hands", "a person lowers both hands", 3, lambda t: t.lowers("left") and t.lowers("right")),
    Prompt("hands", "a person stretches out both arms", 4, lambda t: t.spread),
    Prompt("wave", "a person waves with the left hand", 4, _wave("left")),
    Prompt("wave", "a person waves with the right hand", 4, _wave("right")),
    Prompt("wave", "someone waves with both hands", 4, lambda t: t.waves("left") and t.waves("right")),
    Prompt("punch", "a person throws punches like a boxer", 4, lambda t: t.punches("left") + t.punches("right") >= 3),
    Prompt("punch", "a person punches with the left hand", 3, _punch("left")),
    Prompt("punch", "a person punches with the right hand", 3, _punch("right")),
    Prompt("kick", "a person kicks with the left foot", 3, _kick("left")),
    Prompt("kick", "a person kicks with the right foot", 3, _kick("right")),
    Prompt("balance", "a person stands on the left leg", 4, lambda t: t.one_leg("left") > 1),
    Prompt("balance", "a person stands on the right leg", 4, lambda t: t.one_leg("right") > 1),
    Prompt("dance", "a person dances", 5, lambda t: t.hand_motion > 0.55 and t.upright),
    Prompt("still", "a person stands still", 3, lambda t: t.stays and t.hand_motion < 0.35 and t.upright),
    Prompt("order", "a person walks forward, then stops", 5, _walk_then_stop),
    Prompt("order", "a person runs forward, then stops", 4, lambda t: _walk_then_stop(t) and t.pace > 1.4),
    Prompt("order", "a person stands still, then walks forward", 5, _stand_then_go),
    Prompt("order", "a person walks forward, then sits down", 6, _walk_then_low),
    Prompt("order", "a person stands up, then walks forward", 6, _low_then_walk),
    Prompt("order", "a person walks forward, then jumps", 5, _walk_then_jump),
    Prompt("order", "a person jumps, then walks forward", 5, _jump_then_walk),
    Prompt("order", "a person walks forward, turns around and walks back", 8, _there_and_back),
    Prompt("order", "a person walks forward, then walks backward", 6, _forward_then_backward),
    Prompt("order", "a person crouches, then jumps high into the air", 4, _squat_then_jump),
    Prompt("order", "a person turns left, then walks forward", 5, _turn_then_walk("left")),
    Prompt("order", "a person turns right, then walks forward", 5, _turn_then_walk("right")),
    Prompt("order", "a person raises the right hand, then walks forward", 6, _raise_then_walk),
    Prompt("together", "a person walks forward while raising the left hand", 5,
           lambda t: _while_walking(t, "left") and t.hangs("right")),
    Prompt("together", "a person walks forward while waving the right hand", 5,
           lambda t: _while_walking(t, "right") and t.hangs("left")),
    Prompt("together", "a person walks forward with both hands raised", 5,
           lambda t: _while_walking(t, "left") and _while_walking(t, "right")),
    Prompt("together", "a person walks backward and turns left", 5, lambda t: t.goes("backward") and t.turn() > 25),
    Prompt("together", "a person walks backward and turns right", 5, lambda t: t.goes("backward") and t.turn() < -25),
    Prompt("together", "a person jumps and raises both arms", 4, lambda t: bool(t.jumps) and _lifted(t)),
    Prompt("together", "a person runs with both hands raised", 4, lambda t: _runs(t) and _lifted(t)),
)  # fmt: skip

# never looked at while anything was tuned, and in other words than the captions': how far do figures on PROMPTS carry?
FRESH = (
    Prompt("fresh", "the man strolls ahead", 4, _straight),
    Prompt("fresh", "a woman marches onward", 4, _straight),
    Prompt("fresh", "a tired man shuffles forward", 5, lambda t: t.goes("forward", 0.5) and t.pace < 1.2),
    Prompt("fresh", "a woman hurries straight on", 4, lambda t: t.goes("forward", 1.0) and t.pace > 1.25),
    Prompt("fresh", "the figure backs away", 4, lambda t: t.goes("backward", 0.5)),
    Prompt("fresh", "a woman shuffles over to her left without turning", 4, lambda t: t.goes("left", 0.4)),
    Prompt("fresh", "a guy moves sideways, to the right", 4, lambda t: t.goes("right", 0.4)),
    Prompt("fresh", "a boy dashes ahead", 3, _runs),
    Prompt("fresh", "an athlete goes for a jog", 4, _runs),
    Prompt("fresh", "the woman strolls along and veers off to the left", 5, _walk_turn("left")),
    Prompt("fresh", "somebody walks around a bend to the right", 5, _walk_turn("right", 25)),
    Prompt("fresh", "a man spins around on the spot", 4, lambda t: abs(t.turn()) > 120 and t.way()[2] < 2),
    Prompt("fresh", "the boy hops up into the air", 3, lambda t: bool(t.jumps)),
    Prompt("fresh", "a woman leaps forward", 3, lambda t: bool(t.jumps) and t.goes("forward", 0.3)),
    Prompt("fresh", "the man hops two times", 4, lambda t: len(t.jumps) == 2),
    Prompt("fresh", "a man takes a seat", 4, _sits),
    Prompt("fresh", "the woman gets up from a chair", 4, lambda t: float(t.height[:5].mean()) < 0.78 and t.ends_up),
    Prompt("fresh", "she crouches down low and comes back up", 4, _squats),
    Prompt("fresh", "an old man stoops and grabs something from the floor", 4, lambda t: t.reaches_down),
    Prompt("fresh", "the girl puts her left arm up", 4, lambda t: t.only_raises("left")),
    Prompt("fresh", "a man reaches up with his right hand", 4, lambda t: t.only_raises("right")),
    Prompt("fresh", "a woman throws both arms up in the air", 4, _lifted),
    Prompt("fresh", "somebody waves hello with their right hand", 4, _wave("right")),
    Prompt("fresh", "a fighter throws a left punch", 3, _punch("left")),
    Prompt("fresh", "a man gives a kick with his right leg", 3, _kick("right")),
    Prompt("fresh", "a dancer balances on her left foot", 4, lambda t: t.one_leg("left") > 1),
    Prompt("fresh", "the man waits without moving", 3, lambda t: t.stays and t.hand_motion < 0.35 and t.upright),
    Prompt("fresh", "a man runs and comes to a halt", 4, lambda t: _walk_then_stop(t) and t.pace > 1.2),
    Prompt("fresh", "a woman strolls ahead and then takes a seat", 6, _walk_then_low),
    Prompt("fresh", "a tired man gets up and then walks off", 6, _low_then_walk),
    Prompt("fresh", "someone leaps up, then strolls on", 5, _jump_then_walk),
    Prompt("fresh", "a man jogs with both arms up in the air", 4, lambda t: _runs(t) and _lifted(t)),
    Prompt("fresh", "a man walks ahead while lifting his right hand", 5, lambda t: _while_walking(t, "right")),
)  # fmt: skip

# the fixed subset that validation during training asks, so that a training run stays quick
_QUICK = (
    "a person walks forward", "a man walks forward slowly", "someone walks quickly straight ahead",
    "a person walks backward", "a person runs forward", "someone is jogging forward",
    "a person walks forward and turns left", "a person walks forward and turns right",
    "a man walks in a circle to the left", "a person walks forward, then turns around", "a person jumps up",
    "a person jumps forward", "a person sits down", "a person squats down, then stands up",
    "a person raises the left hand", "a person raises the right hand", "a person raises both hands",
    "a person throws punches like a boxer", "a person kicks with the right foot", "a person dances",
    "a person stands still",
)  # fmt: skip
QUICK = tuple(prompt for prompt in PROMPTS if prompt.text in _QUICK)


def generate(model, prompts: tuple[Prompt, ...], seeds: int, **settings) -> list[list[Motion]]:
    """Motions of every prompt with seeds 0 .. seeds-1, from a loaded MotionModel."""
    made = []
    for prompt in prompts:
        request = GenerateRequest(prompt.text, seconds=prompt.seconds, seed=0, variations=seeds, **settings)
        made.append(model.generate(request, lambda phase, step, total: None, lambda: False).motions)
    return made


def judge(prompts: tuple[Prompt, ...], made: list[list[Motion]]) -> list[dict]:
    """For each prompt: category, text, ``passed`` (one bool a motion), and for a sided one ``wrong_side``: the mirrored
    motion passes and the motion does not."""
    rows = []
    for prompt, motions in zip(prompts, made, strict=True):
        row = {"category": prompt.category, "text": prompt.text, "passed": [passed(prompt, m) for m in motions]}
        if prompt.sided:
            swapped = [passed(prompt, mirrored(m)) for m in motions]
            row["wrong_side"] = [s and not p for s, p in zip(swapped, row["passed"], strict=True)]
        rows.append(row)
    return rows


def rates(rows: list[dict]) -> dict[str, float]:
    """Pass rates of ``judge``'s rows: ``passed`` over all, ``passed_<category>``, ``passed_sided`` over the prompts
    that name a side, and ``right_side``: of the motions that do it to either side, the share on the side asked for."""
    groups: dict[str, list[bool]] = {"passed": []}
    right, wrong = 0, 0
    for row in rows:
        names = ["passed", f"passed_{row['category']}"] + ["passed_sided"] * ("wrong_side" in row)
        for name in names:
            groups.setdefault(name, []).extend(row["passed"])
        if "wrong_side" in row:
            right, wrong = right + sum(row["passed"]), wrong + sum(row["wrong_side"])
    result = {name: float(np.mean(values)) for name, values in groups.items()}
    if right + wrong:
        result["right_side"] = right / (right + wrong)
    return result


def adherence(model, seeds: int = 2, prompts: tuple[Prompt, ...] = QUICK, **settings) -> dict[str, float]:
    """Share of prompts whose motion passes its check: see :func:`rates`.

    ``model`` is a loaded MotionModel; every prompt is generated with seeds 0 .. seeds-1.
    """
    return rates(judge(prompts, generate(model, prompts, seeds, **settings)))
