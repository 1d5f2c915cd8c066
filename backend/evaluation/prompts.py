"""Our own prompts with kinematic checks: does the motion do what the sentence says?

Every check reads the figures of ``backend.data.measure`` on the generated motion: metres, seconds, degrees.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backend.data.measure import measure
from backend.models.interface import GenerateRequest


@dataclass(frozen=True)
class Prompt:
    category: str
    text: str
    seconds: float
    check: Callable[[dict], bool]


def _walks(f: dict) -> bool:
    return f["forward"] > 0.45 * f["distance"] and 0.35 < f["speed"] < 2.2 and f["lowest"] > 0.75


def _runs(f: dict) -> bool:
    return f["forward"] > 0.45 * f["distance"] and f["speed"] > 1.7


def _raised(f: dict, side: str, other: str) -> bool:
    return f[f"{side}_hand"] > 0.05 and f[f"{side}_hand"] > f[f"{other}_hand"] + 0.1


PROMPTS = (
    Prompt("walk", "a person walks forward", 4, lambda f: _walks(f) and abs(f["turn"]) < 45),
    Prompt("walk", "a man walks forward slowly", 4, lambda f: _walks(f) and f["speed"] < 1.0),
    Prompt("walk", "someone walks quickly straight ahead", 4, lambda f: _walks(f) and f["speed"] > 1.1),
    Prompt("backward", "a person walks backward", 4, lambda f: f["forward"] < -0.4),
    Prompt("run", "a person runs forward", 3, lambda f: _runs(f) and abs(f["turn"]) < 60),
    Prompt("run", "someone is jogging forward", 3, _runs),
    Prompt("turn", "a person walks forward and turns left", 5, lambda f: f["turn"] > 45 and f["distance"] > 1),
    Prompt("turn", "a person walks forward and turns right", 5, lambda f: f["turn"] < -45 and f["distance"] > 1),
    Prompt("turn", "a man walks in a circle to the left", 7, lambda f: f["turn"] > 120),
    Prompt("turn", "a person walks forward, then turns around", 6, lambda f: 120 < abs(f["turn"]) < 260),
    Prompt("jump", "a person jumps up", 3, lambda f: len(f["jumps"]) >= 1 and abs(f["forward"]) < 1.0),
    Prompt("jump", "a person jumps forward", 3, lambda f: len(f["jumps"]) >= 1 and f["forward"] > 0.3),
    Prompt("sit", "a person sits down", 4, lambda f: f["lowest"] < 0.75),
    Prompt("squat", "a person squats down, then stands up", 4, lambda f: f["lowest"] < 0.7 and f["highest"] > 0.85),
    Prompt("hands", "a person raises the left hand", 4, lambda f: _raised(f, "left", "right")),
    Prompt("hands", "a person raises the right hand", 4, lambda f: _raised(f, "right", "left")),
    Prompt("hands", "a person raises both hands", 4, lambda f: min(f["left_hand"], f["right_hand"]) > 0.05),
    Prompt("punch", "a person throws punches like a boxer", 4, lambda f: f["hand_speed"] > 2.5),
    Prompt("kick", "a person kicks with the right foot", 3, lambda f: f["foot_speed"] > 2.5),
    Prompt("dance", "a person dances", 5, lambda f: f["hand_speed"] > 1.2),
    Prompt("still", "a person stands still", 3, lambda f: f["distance"] < 0.6 and f["hand_speed"] < 0.8),
)


def adherence(model, seeds: int = 2, prompts: tuple[Prompt, ...] = PROMPTS, **settings) -> dict[str, float]:
    """Share of prompts whose motion passes its check: ``passed`` over all, and one figure a category.

    ``model`` is a loaded MotionModel; every prompt is generated with seeds 0 .. seeds-1.
    """
    by_category: dict[str, list[float]] = {}
    for prompt in prompts:
        request = GenerateRequest(prompt.text, seconds=prompt.seconds, seed=0, variations=seeds, **settings)
        result = model.generate(request, lambda phase, step, total: None, lambda: False)
        by_category.setdefault(prompt.category, []).extend(float(prompt.check(measure(m))) for m in result.motions)
    every = [value for values in by_category.values() for value in values]
    return {"passed": float(np.mean(every))} | {f"passed_{k}": float(np.mean(v)) for k, v in by_category.items()}
