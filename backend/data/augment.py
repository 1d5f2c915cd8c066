"""More motion from the same capture: other speeds, clips joined, arms on other legs, walks turned round.

Every result passes the gates that real capture passes (:func:`backend.data.gates.gate`). Windows go in as they were
captured and come out unmirrored; mirroring doubles all of them alike afterwards.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from backend.data.gates import gate
from backend.motion.skeleton import Motion

__all__ = ["BUDGET", "KINDS", "Augmented", "Part", "Window", "augmented", "gate"]

KINDS = ("speed", "joined", "composed", "reversed")
# how many windows of a kind are made: a share of the real windows, at most so many
BUDGET: dict[str, float] = {"speed": 0.5, "joined": 0.6, "composed": 0.35, "reversed": 0.1}


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
    ``<kind>: passed`` and ``<kind>: <why it failed>``.
    """
    raise NotImplementedError
    yield
