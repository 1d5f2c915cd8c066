"""Twenty compositions that no training caption says: their parts are known, together they are not."""

import numpy as np

from backend.evaluation.metrics import interval
from backend.evaluation.prompts import Prompt, generate, judge
from backend.evaluation.take import Take
from backend.evaluation.wording import Meaning


def _low_after(t: Take, part: float = 0.3) -> bool:
    low = t.low()
    return bool(low) and t.ends_low and low[-1][0] > part * t.frames


def _after_low(t: Take) -> int | None:
    """The frame at which the body has come up from its first low stretch."""
    low = t.low(0.8)
    return low[0][1] if low and t.ends_up else None


def _low_then(t: Take, direction: str) -> bool:
    at = _after_low(t)
    return at is not None and t.goes(direction, 0.6, at)


def _up(t: Take, *sides: str) -> bool:
    return all(t.raised(side) for side in sides)


def _turns(t: Take, side: str, least: float = 25) -> bool:
    return (t.turn() if side == "left" else -t.turn()) > least


UNSEEN = (
    Prompt("unseen", "a person walks backward with both hands raised", 5,
           lambda t: t.goes("backward") and _up(t, "left", "right")),
    Prompt("unseen", "a person runs forward, then sits down", 6, lambda t: t.pace > 1.7 and _low_after(t)),
    Prompt("unseen", "a person turns around, then sits down", 6, lambda t: abs(t.turn()) > 110 and _low_after(t)),
    Prompt("unseen", "a person sits down, then raises both hands", 6,
           lambda t: t.ends_low and _up(t, "left", "right")),
    Prompt("unseen", "a person walks in a circle to the left with both hands raised", 7,
           lambda t: t.goes("forward", 0.5) and _turns(t, "left", 60) and _up(t, "left", "right")),
    Prompt("unseen", "a person crouches, then runs forward", 5, lambda t: _low_then(t, "forward") and t.pace > 1.5),
    Prompt("unseen", "a person squats down, stands up and then walks backward", 6,
           lambda t: _low_then(t, "backward")),
    Prompt("unseen", "a person kicks with the right foot, then walks backward", 6,
           lambda t: t.kicks("right") >= 1 and t.goes("backward", 0.4, t.frames // 3)),
    Prompt("unseen", "a person punches with the left hand, then turns around", 6,
           lambda t: t.punches("left") >= 1 and abs(t.turn()) > 120),
    Prompt("unseen", "a person walks sideways to the left while raising the right hand", 5,
           lambda t: t.goes("left", 0.4) and _up(t, "right")),
    Prompt("unseen", "a person walks backward, then throws punches like a boxer", 6,
           lambda t: t.goes("backward", 0.4) and t.punches("left") + t.punches("right") >= 2),
    Prompt("unseen", "a person runs forward while waving the right hand", 4,
           lambda t: t.goes("forward", 1.5) and t.pace > 1.7 and _up(t, "right")),
    Prompt("unseen", "a person runs backward and turns left", 5,
           lambda t: t.goes("backward") and t.pace > 1.2 and _turns(t, "left")),
    Prompt("unseen", "a person waves with the left hand, then runs forward", 6,
           lambda t: _up(t, "left") and t.goes("forward", 1.0, t.frames // 3) and t.pace > 1.5),
    Prompt("unseen", "a person bends down, then jumps up", 5,
           lambda t: bool(t.bends) and bool(t.jumps) and t.bends[0][0] < t.jumps[-1][0]),
    Prompt("unseen", "a person stands on the left leg, then runs forward", 6,
           lambda t: t.one_leg("left") > 0.6 and t.goes("forward", 1.0, t.frames // 3)),
    Prompt("unseen", "a person turns right, then kicks with the left foot", 6,
           lambda t: _turns(t, "right") and t.kicks("left") >= 1),
    Prompt("unseen", "a person walks crouched with both hands raised", 5,
           lambda t: t.goes("forward", 0.4) and bool(t.low(0.82)) and _up(t, "left", "right")),
    Prompt("unseen", "a person runs forward, then crouches and raises the left hand", 6,
           lambda t: t.pace > 1.5 and bool(t.low(0.8)) and bool(t.raised("left"))),
    Prompt("unseen", "a person stands up, then jumps and turns right", 6,
           lambda t: float(t.height[:5].mean()) < 0.8 and bool(t.jumps) and _turns(t, "right")),
)  # fmt: skip


def heard(captions: list[str]) -> list[str]:
    """Those of the compositions that some of ``captions`` say, in whatever words (none: all are unseen)."""
    meaning = Meaning(captions)
    asked = meaning.vectors([prompt.text for prompt in UNSEEN])
    nearest = (asked @ meaning.vectors(captions).T).max(1).toarray()[:, 0]
    return [prompt.text for prompt, found in zip(UNSEEN, nearest, strict=True) if found > Meaning.SAME]


def unseen(model, captions: list[str], seeds: int = 2, preset: str | None = None) -> dict:
    """Ask all compositions; ``captions`` are those of the training split. Raises ValueError when one is in them."""
    if known := heard(captions):
        raise ValueError(f"the training captions say {known[0]!r}")
    rows = judge(UNSEEN, generate(model, UNSEEN, seeds, preset=preset))
    each = [float(np.mean([row["passed"][seed] for row in rows])) for seed in range(seeds)]
    return {"passed": interval(each), "seeds": seeds, "each": [{k: row[k] for k in ("text", "passed")} for row in rows]}


def text_table(record: dict) -> str:
    """The record as Markdown."""
    lines = ["| unseen composition | passed |", "|---|---|"]
    lines += [f"| {row['text']} | {sum(row['passed'])} of {len(row['passed'])} |" for row in record["each"]]
    return "\n".join([*lines, "", f"{100 * record['passed']['mean']:.0f} % of {len(record['each'])} compositions"])
