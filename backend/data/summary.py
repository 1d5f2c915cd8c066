"""What a data set holds, in numbers: hours after each step, gate pass rates, words, speeds, actions."""

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from backend.data import clean, describe
from backend.data.clips import Clip
from backend.data.cuts import Cut
from backend.motion.skeleton import Motion
from backend.protocol import FPS


def hours(frames: float) -> float:
    return round(float(frames) / FPS / 3600, 3)


class Steps:
    """Clips or windows and hours after each step of a build; each is told as it is known."""

    def __init__(self, tell: Callable[[str], None]):
        self.table: list[dict] = []
        self.tell = tell

    def clips(self, step: str, clips: Iterable[Clip]) -> None:
        clips = list(clips)
        self._add(step, {"clips": len(clips), "hours": round(sum(c.seconds for c in clips) / 3600, 3)})

    def windows(self, step: str, cuts: Iterable[Cut]) -> None:
        """Windows overlap: ``hours`` counts all of them, ``covered`` each moment of the capture once."""
        cuts = list(cuts)
        spans = [(c.clip.id, c.start, c.stop) for c in cuts if c.kind == "real"]
        self._add(
            step,
            {
                "windows": len(cuts),
                "hours": hours(sum(c.motion.frames for c in cuts)),
                "covered": hours(covered(spans)),
            },
        )

    def rows(self, step: str, rows: Iterable[dict]) -> None:
        rows = list(rows)
        seconds = sum(row["labels"]["seconds"] for row in rows)
        self._add(step, {"windows": len(rows), "hours": round(seconds / 3600, 3)})

    def _add(self, step: str, facts: dict) -> None:
        self.table.append({"step": step} | facts)
        self.tell(f"{step}: " + ", ".join(f"{value} {name}" for name, value in facts.items()))


def covered(spans: list[tuple[str, int, int]]) -> int:
    """Frames that lie in at least one of the spans (clip, start, stop)."""
    total, at = 0, ("", 0)
    for clip, start, stop in sorted(spans):
        begin = max(start, at[1]) if clip == at[0] else start
        total += max(0, stop - begin)
        at = (clip, max(stop, begin))
    return total


def pass_rates(counts: Counter) -> dict[str, dict]:
    """By kind of window: made, passed, rate and why the others failed, from counts "<kind>: <made|passed|why>"."""
    table: dict[str, dict] = {}
    for name, count in counts.items():
        kind, _, what = name.partition(": ")
        entry = table.setdefault(kind, {"made": 0, "passed": 0, "rate": 0.0, "failed": {}})
        if what in ("made", "passed"):
            entry[what] = count
        else:
            entry["failed"][what] = count
    for entry in table.values():
        entry["rate"] = round(entry["passed"] / max(entry["made"], 1), 3)
        entry["failed"] = dict(sorted(entry["failed"].items(), key=lambda item: -item[1]))
    return table


def of_split(motions: list[Motion], rows: list[dict]) -> dict:
    """Statistics of one split."""
    frames = np.array([m.frames for m in motions], dtype=np.int64)
    idle = np.array([row["labels"]["mean_speed"] < clean.IDLE_SPEED for row in rows], dtype=bool)
    speeds = np.array([row["labels"]["speed"] for row in rows if row["labels"]["distance"] > 1.0])
    words = {word for row in rows for text in row["captions"] for word in text.split()}
    return {
        "windows": len(rows),
        "hours": hours(frames.sum()),
        "clips": len({id_ for row in rows for id_ in row["sources"]}),
        "kinds": dict(Counter(row["kind"] for row in rows).most_common()),
        "mirrored": sum(row["mirrored"] for row in rows),
        "idle_share": round(float(frames[idle].sum() / max(frames.sum(), 1)), 4),
        "captions": sum(len(row["captions"]) for row in rows),
        "different_captions": len({text for row in rows for text in row["captions"]}),
        "words": len(words),
        "speeds": {f"p{p}": round(float(np.percentile(speeds, p)), 2) for p in (5, 25, 50, 75, 95)}
        if len(speeds)
        else {},
        "actions": {verb: windows for verb, windows, _ in describe.vocabulary(rows)[:60]},
    }
