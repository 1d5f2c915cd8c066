"""Can the checks of the prompts be believed? Each one is put to real windows whose captions say what it asks, to the
same windows mirrored where it names a side, and to windows whose captions say something else."""

from collections.abc import Sequence

import numpy as np

from backend.data.clean import mirrored
from backend.evaluation.prompts import PROMPTS, Prompt
from backend.evaluation.take import SIDES, Take
from backend.evaluation.wording import Meaning
from backend.motion.skeleton import Motion

SAYS = 0.8  # similarity from which a caption says what the prompt asks
ELSE = 0.35  # similarity below which none of a window's captions comes near to it
MOST = 120  # windows of each kind for one prompt


def table(motions: Sequence[Motion], captions: list[list[str]], prompts: tuple[Prompt, ...] = PROMPTS) -> list[dict]:
    """One row a prompt: ``windows`` that say it and the share of them that pass (``says``), the share of their mirror
    images that pass (``mirrored``; sided prompts), and the share of windows that say something else (``else``).

    A window may do more than its captions tell (who dances may raise both hands), so ``else`` is an upper bound of the
    wrong passes. None where no window says it.
    """
    meaning = Meaning([c for found in captions for c in found])
    similarity = meaning.said_of([p.text for p in prompts], captions)
    random = np.random.default_rng(0)
    takes: dict[tuple[int, bool], Take] = {}

    def share(prompt: Prompt, windows: np.ndarray, mirror: bool = False) -> float | None:
        for i in windows:
            if (i, mirror) not in takes:
                takes[i, mirror] = Take(mirrored(motions[i]) if mirror else motions[i])
        return float(np.mean([bool(prompt.check(takes[i, mirror])) for i in windows])) if len(windows) else None

    single = np.array([not any("then" in c or "," in c for c in found) for found in captions])
    named = {side: np.array([any(side in c.split() for c in found) for found in captions]) for side in SIDES}
    others = random.permutation(len(motions))[: 2 * MOST]
    rows = []
    for prompt, alike in zip(prompts, similarity, strict=True):
        # the window must say nothing more than the prompt does
        says = (alike >= SAYS) & (single | ("then" in prompt.text))
        for side in SIDES:
            if side in prompt.text.split():
                says &= named[side]
        says = np.flatnonzero(says)
        says = random.permutation(says)[:MOST]
        row = {"category": prompt.category, "text": prompt.text, "windows": len(says), "says": share(prompt, says)}
        row["else"] = share(prompt, [i for i in others if alike[i] < ELSE][:MOST])
        if prompt.sided:
            row["mirrored"] = share(prompt, says, True)
        rows.append(row)
    return rows


def summary(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Mean of the rows by category and over all: {category: {"says", "else", "mirrored", "prompts"}}."""
    result = {}
    for name in ("all", *dict.fromkeys(row["category"] for row in rows)):
        chosen = [row for row in rows if name in ("all", row["category"])]
        result[name] = {"prompts": len(chosen), "seen": sum(row["windows"] > 0 for row in chosen)}
        for key in ("says", "else", "mirrored"):
            values = [row[key] for row in chosen if row.get(key) is not None]
            result[name][key] = float(np.mean(values)) if values else None
    return result
