"""More motion from the same capture: other speeds, clips joined, arms on other legs, walks turned round.

Every result passes the gates that real capture passes (:func:`backend.data.gates.gate`). Windows go in as they were
captured and come out unmirrored; mirroring doubles all of them alike afterwards.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from backend.data.clean import IDLE_SPEED, place
from backend.data.compose import composed
from backend.data.gates import gate
from backend.data.retime import at_speed, reverse, reversible, speed_factor
from backend.data.sequences import sequences
from backend.motion.skeleton import Motion

__all__ = ["BUDGET", "KINDS", "Augmented", "Part", "Window", "augmented", "gate"]

KINDS = ("speed", "joined", "composed", "reversed")
# how many windows of a kind are made: a share of the real windows, at most so many
BUDGET: dict[str, float] = {"speed": 0.5, "joined": 0.6, "composed": 0.35, "reversed": 0.1}
LEAST, MOST = 32, 300  # frames of a window at another speed
REVERSED_A_CLIP = 3
WHOLE = 0.85  # share of a window from which on its phrases hold for the part


@dataclass
class Window:
    """A window of capture. motion: canonical, starts at x = z = 0 facing +Z; row: its line of the data set."""

    motion: Motion
    row: dict


@dataclass
class Part:
    """A stretch of an augmented motion and where it comes from.

    start, stop: frames of the result; source: index into ``Augmented.sources``; source_start, source_stop: frames of
    that window (before a change of speed or direction); role: "whole", "legs" or "arms"; phrases: what the source's
    row says the person does (third person, verb first), empty when only a small part of the window is used: then the
    stretch has to be measured (``motion.slice(part.start, part.stop)``).
    """

    start: int
    stop: int
    source: int
    source_start: int
    source_stop: int
    role: str = "whole"
    phrases: list[str] = field(default_factory=list)


@dataclass
class Augmented:
    """A new window. kind: one of ``KINDS``; sources: rows of the windows it is made of, in order of ``parts``;
    parts: of a joined motion one a piece in the order of time, of a composed one legs and arms; recipe: the numbers
    that made it (speed factor, cut frames), for the provenance list."""

    motion: Motion
    kind: str
    sources: list[dict]
    parts: list[Part]
    recipe: dict = field(default_factory=dict)


def augmented(
    windows: Sequence[Window], seed: int, report: Counter, budget: dict[str, float] | None = None
) -> Iterator[Augmented]:
    """Augmented windows of the kinds in ``budget`` (shares of ``len(windows)``), the same for the same seed.

    windows: the training split only, mirrored ones are passed over. ``report`` counts ``<kind>: made``,
    ``<kind>: passed`` and ``<kind>: <why it failed>``. Raises KeyError for a kind that there is not.
    """
    windows = [w for w in windows if not w.row["mirrored"]]
    makers = {"speed": _other_speeds, "joined": _joined, "composed": _composed, "reversed": _reversed}
    for kind, share in (BUDGET if budget is None else budget).items():
        # a kind gives the same windows whether others are made before it or not
        random = np.random.default_rng([seed, KINDS.index(kind) if kind in KINDS else 0])
        yield from makers[kind](windows, round(share * len(windows)), random, report)


def _other_speeds(windows: list[Window], count: int, random: np.random.Generator, report: Counter):
    for i in random.permutation(len(windows)):
        window = windows[i]
        factor = speed_factor(window.row["labels"], random)
        idle = window.row["labels"]["mean_speed"] < IDLE_SPEED
        if count <= 0 or factor is None or idle or not LEAST <= window.motion.frames / factor <= MOST:
            continue
        made = at_speed(window.motion, factor)
        if _passes(made, "speed", report):
            count -= 1
            part = Part(0, made.frames, 0, 0, window.motion.frames)
            yield Augmented(made, "speed", [window.row], [part], {"factor": round(factor, 3)})


def _reversed(windows: list[Window], count: int, random: np.random.Generator, report: Counter):
    clips: Counter = Counter()
    for i in random.permutation(len(windows)):
        window = windows[i]
        if count <= 0 or not reversible(window.row) or clips[window.row["clip"]] >= REVERSED_A_CLIP:
            continue
        made = reverse(window.motion)
        if _passes(made, "reversed", report):
            count -= 1
            clips[window.row["clip"]] += 1
            part = Part(0, made.frames, 0, 0, made.frames)
            yield Augmented(place(made), "reversed", [window.row], [part])


def _joined(windows: list[Window], count: int, random: np.random.Generator, report: Counter):
    motions, rows = [w.motion for w in windows], [w.row for w in windows]
    for made, pieces in sequences(motions, rows, count, random, gate, report):
        sources, parts = [windows[piece["window"]].row for piece in pieces], []
        for number, piece in enumerate(pieces):
            window = windows[piece.pop("window")]
            whole = piece["stop"] - piece["start"] > WHOLE * window.motion.frames
            phrases = list(window.row["phrases"]) if whole else []
            parts.append(Part(source=number, phrases=phrases, **piece))
        yield Augmented(place(made), "joined", sources, parts, {"cuts": [p.start for p in parts[1:]]})


def _composed(windows: list[Window], count: int, random: np.random.Generator, report: Counter):
    motions, rows = [w.motion for w in windows], [w.row for w in windows]
    for made, of in composed(motions, rows, count, random, gate, report):
        legs, arms, frames = windows[of["legs"]], windows[of["arms"]], of["frames"]
        lower = Part(0, frames, 0, of["legs_start"], of["legs_start"] + frames, "legs", of["leg_phrases"])
        upper = Part(0, frames, 1, 0, frames, "arms", of["arm_phrases"])
        recipe = {"arms": " and ".join(of["sides"]) or "none", "reversed": of["reversed"]}
        yield Augmented(place(made), "composed", [legs.row, arms.row], [lower, upper], recipe)


def _passes(motion: Motion, kind: str, report: Counter) -> bool:
    reason = gate(motion)
    report[f"{kind}: made"] += 1
    report[f"{kind}: {reason or 'passed'}"] += 1
    return reason is None
