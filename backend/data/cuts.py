"""From a clip that was read to windows that can be learnt from, not yet described."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from backend.data import characters, clean, extend, gates
from backend.data.clips import Clip, is_sentence
from backend.data.describe import swap_sides
from backend.data.measure import mean_joint_speed, measure
from backend.motion.skeleton import Motion


@dataclass
class Cut:
    """A window: frames start..stop of a clip at 30 fps, placed at the origin facing +Z.

    kind: real, extended (its gait cycle repeated) or piece (made of the clips of a character); clips: ids of all clips
    in it; texts, alone: as in :class:`characters.Piece`; allow: faults that are none here.
    """

    id: str
    clip: Clip
    motion: Motion
    start: int
    stop: int
    kind: str = "real"
    clips: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    alone: bool = False
    allow: list[str] = field(default_factory=list)


def seed_of(text: str) -> int:
    """A seed that belongs to a name."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def windows(clip: Clip, motion: Motion, longer: bool, dropped: Counter) -> Iterator[Cut]:
    """The windows of a clip; ``longer``: walks and runs that repeat are also there with more of their cycles."""
    parts = clean.active_parts(motion)
    if not parts:
        # nothing moves: one still window stands for the clip
        size = min(motion.frames, 150)
        parts = [(0, size)] if size >= clean.SHORTEST else []
        if not parts:
            dropped["clip: too short, or at rest"] += 1
    whole = sum(stop - start for start, stop in parts)
    parts = clean.without_broken(parts, motion)
    if (lost := whole - sum(stop - start for start, stop in parts)) > 0:
        dropped["frames: broken"] += lost
    for start, stop in parts:
        if stop - start < clean.SHORTEST and motion.frames > 1.5 * clean.SHORTEST:
            dropped["part: shorter than a window between two rests"] += 1
            continue
        for a, b in clean.cut(motion, start, stop, seed_of(clip.id)):
            yield Cut(f"{clip.id}:{a}-{b}", clip, clean.place(motion.slice(a, b)), a, b, clips=[clip.id])
        for made in _repeated(motion, start, stop) if longer else ():
            id_ = f"{clip.id}:{start}-{stop}+{made.frames}"
            yield Cut(id_, clip, clean.place(made), start, stop, "extended", [clip.id])


def _repeated(motion: Motion, start: int, stop: int) -> Iterator[Motion]:
    """The part with its gait cycle repeated, when it is a walk or run that repeats and is short."""
    part = motion.slice(start, stop)
    if part.frames > 165:
        return
    m = measure(part)
    travelling = [p for p in m["phases"] if p["kind"] in ("walk", "run", "backward", "left", "right")]
    if m["jumps"] or sum(p["stop"] - p["start"] for p in travelling) < 0.9 * part.frames:
        return
    cycle = extend.find_cycle(part)
    if cycle is None:
        return
    length = cycle[1] - cycle[0]
    wanted = (80, 130) if part.frames < 64 else (135, 190)
    lengths = set()
    for frames in wanted:
        times = max(1, math.ceil((frames - part.frames) / length))
        if part.frames + times * length <= clean.LONGEST and times <= 8 and times not in lengths:
            lengths.add(times)
            longer = extend.repeat_cycle(part, cycle, times)
            if abs(measure(longer)["turn"]) <= 720:  # a slight curve becomes a whirl
                yield longer


def pieces(named: dict[str, tuple[Clip, Motion]], dropped: Counter) -> Iterator[Cut]:
    """The windows that characters' clips {id: (clip, motion)} give by their names."""
    motions = {id_: (clip.name or "", motion) for id_, (clip, motion) in named.items()}
    for piece in characters.pieces(motions, dropped):
        frames = piece.motion.frames
        yield Cut(
            f"{piece.id}:0-{frames}", named[piece.clip][0], clean.place(piece.motion), 0, frames, "piece",
            [piece.clip, *(c for c in piece.clips if c != piece.clip)], piece.texts, piece.alone, piece.allow,
        )  # fmt: skip


def why_not(cut: Cut) -> str | None:
    """Why a window cannot be used: broken data ("broken: ...") or a quality gate ("gate: ..."); None when it can."""
    reason = clean.fault(cut.motion)
    if reason and not any(allowed in reason for allowed in cut.allow):
        return "broken: " + reason
    reason = None if cut.allow else gates.gate(cut.motion)
    return f"gate: {reason}" if reason else None


def sentences(cut: Cut, mirrored: bool) -> list[str]:
    """Sentences people wrote about most of this window, sides swapped where window or sentence is mirrored.

    One without times tells of the whole clip, so it is true only of a window that shows most of it.
    """
    found = []
    for caption in cut.clip.captions:
        if not is_sentence(caption):
            continue
        begin, end = caption.get("start"), caption.get("end")
        if begin is None or end is None:
            begin, end = 0.0, cut.clip.seconds
        a, b = cut.start / 30.0, cut.stop / 30.0
        overlap = min(b, end) - max(a, begin)
        if overlap < 0.7 * (end - begin) or overlap < 0.6 * (b - a):
            continue
        text = caption["text"]
        found.append(swap_sides(text) if bool(caption.get("mirrored")) != mirrored else text)
    return found


def idle_beyond(cuts: list[Cut], share: float) -> set[str]:
    """Ids of the windows in which next to nothing moves, beyond ``share`` of the time."""
    idle = [c for c in cuts if mean_joint_speed(c.motion) < clean.IDLE_SPEED]
    busy = sum(c.motion.frames for c in cuts) - sum(c.motion.frames for c in idle)
    allowed, gone = share / (1 - share) * busy, set()
    for cut in sorted(idle, key=lambda c: seed_of(c.id)):
        allowed -= cut.motion.frames
        if allowed < 0:
            gone.add(cut.id)
    return gone
