"""Clips of animated characters: what their names mean, and whole motions out of loops and parts.

Such sets hold short pieces: loops that stay in place, a sword stroke of a second, sitting down and standing up as two
clips. Here a loop is repeated, a gait gets its way back from the standing foot, pieces are joined to a motion that
starts and ends somewhere, and the table ``clip_names.json`` says it in words.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from backend.data import clean, extend
from backend.data.gates import RADII
from backend.motion.contacts import foot_contacts
from backend.motion.skeleton import JOINT_INDEX, Motion

NEAR = 0.20  # metres, mean over joints; poses nearer than that can be joined
CLOSED = 0.04  # a loop ends where it began
LEAD, TAIL = 14, 18  # frames of standing around a short action
LOOPS = (75, 120)  # frames that a repeated loop should have at least
GAITS = (70, 120, 165)
LEAST_TRAVEL = 0.3  # m/s
MAX_SLIDE = 0.35  # share of the speed by which a standing foot may miss it


@dataclass
class Piece:
    """A motion made of one or more clips. texts: phrases, third person, verb first; alone: nothing else is said;
    allow: faults that are none in this motion; clips: ids of all clips in it, when there are several."""

    id: str
    clip: str
    motion: Motion
    texts: list[str] = field(default_factory=list)
    alone: bool = False
    allow: list[str] = field(default_factory=list)
    clips: list[str] = field(default_factory=list)


@cache
def table() -> dict:
    """``clip_names.json``."""
    return json.loads((Path(__file__).parent / "clip_names.json").read_text(encoding="utf-8"))


def lookup(name: str) -> dict | None:
    """The first entry of the table for a clip's name, its phrases filled in; None when the table does not know it."""
    for entry in table()["names"]:
        found = re.search(entry["match"], name, re.IGNORECASE)
        if found:
            groups = [g.lower() if g else "" for g in found.groups()]
            return entry | {"phrases": [p.format(*groups) for p in entry.get("phrases", [])]}
    return None


def pieces(clips: dict[str, tuple[str, Motion]], dropped: Counter) -> Iterator[Piece]:
    """Motions to learn from: clips {id: (name, motion)} by the table, alone and in sequence.

    ``dropped`` counts the clips that are left out, by reason.
    """
    standing = {id_: on_floor(motion) for id_, (_, motion) in clips.items()}
    for id_, (name, _) in clips.items():
        entry = lookup(name)
        if entry is None:
            dropped["clip: a name that says nothing"] += 1
        elif "drop" in entry:
            dropped["clip: " + entry["drop"]] += 1
        elif not entry.get("part"):
            yield from _variants(id_, entry, standing, dropped)
    for number, entry in enumerate(table()["sequences"]):
        ids = [part.split(":")[0] for part in entry["clips"]]
        if all(id_ in standing for id_ in ids):
            parts = []
            for part, id_ in zip(entry["clips"], ids, strict=True):
                motion = grounded(standing[id_]) if entry.get("ground") else standing[id_]
                _, _, frames = part.partition(":")
                parts.append(motion.slice(0, min(int(frames), motion.frames)) if frames else motion)
            motion = parts[0]
            for part in parts[1:]:
                motion = extend.join(motion, part)
            first = next((id_ for id_ in ids if "Idle" not in id_), ids[0])
            yield Piece(f"{first}~{number}", first, motion, *_said(entry), list(dict.fromkeys(ids)))


def _said(entry: dict) -> tuple[list[str], bool, list[str]]:
    return entry["phrases"], entry.get("alone", False), entry.get("allow", [])


def _variants(id_: str, entry: dict, motions: dict[str, Motion], dropped: Counter) -> Iterator[Piece]:
    motion = motions[id_]
    if entry.get("ground"):
        motion = grounded(motion)
    if entry.get("travel"):
        moving = travel(motion)
        if moving is None:
            dropped["clip: a gait in place"] += 1
            return
        yield from (Piece(f"{id_}x{n}", id_, m, *_said(entry)) for n, m in _repeated(moving, GAITS))
    elif entry.get("loop") and apart(motion, 0, motion, motion.frames - 1) < CLOSED:
        yield from (Piece(f"{id_}x{n}", id_, m, *_said(entry)) for n, m in _repeated(motion, LOOPS))
    elif motion.frames >= clean.SHORTEST:
        yield Piece(id_, id_, motion, *_said(entry))
    else:
        idle = next((v for k, v in table()["idle"].items() if id_.startswith(k)), "")
        if idle in motions:
            stand = grounded(motions[idle]) if entry.get("ground") else motions[idle]
            if apart(stand, 0, motion, 0) < NEAR:
                motion = extend.join(stand.slice(0, LEAD), motion)
            if apart(motion, motion.frames - 1, stand, 0) < NEAR:
                motion = extend.join(motion, stand.slice(0, min(TAIL, stand.frames)))
        if motion.frames < clean.SHORTEST_CLIP:
            dropped["clip: shorter than a window"] += 1
        else:
            yield Piece(id_, id_, motion, *_said(entry))


def _repeated(motion: Motion, lengths: tuple[int, ...]) -> Iterator[tuple[int, Motion]]:
    """(count, the loop so often) for each wanted length; a loop that is long enough stays as it is."""
    motion = motion.slice(0, min(motion.frames, clean.LONGEST))
    step = motion.frames - 1
    counts = {max(1, -(-length // step)) for length in lengths}
    for count in sorted(counts):
        if count > 1 and count * step + 1 > clean.LONGEST:
            continue
        yield count, motion if count == 1 else extend.repeat_cycle(motion, (0, step), count - 1)


def apart(a: Motion, i: int, b: Motion, j: int) -> float:
    """Mean distance of the joints of frame i of a and frame j of b, pelvis on pelvis over the floor, facing alike."""
    first, second = clean.place(a.slice(i, i + 1)).joints()[0], clean.place(b.slice(j, j + 1)).joints()[0]
    return float(np.linalg.norm(first - second, axis=-1).mean())


def on_floor(motion: Motion) -> Motion:
    """The motion moved up or down as a whole so that what is lowest most of the time stands on the floor."""
    lowest = (motion.joints()[..., 1] - RADII).min(1)
    translation = motion.translation - np.array([0, np.percentile(lowest, 5), 0], dtype=np.float32)
    return _with(motion, translation)


def grounded(motion: Motion) -> Motion:
    """The lowest part of the body on the floor in every frame, for motions without flight."""
    lowest = (motion.joints()[..., 1] - RADII).min(1)
    return _with(motion, motion.translation - lowest[:, None] * np.array([0, 1, 0], dtype=np.float32))


def travel(motion: Motion) -> Motion | None:
    """A gait that was keyed in place, with the way that its standing foot slides back given to the body.

    None when no steady speed above 0.3 m/s explains the feet.
    """
    joints = motion.joints().astype(np.float64)
    points = joints[:, [JOINT_INDEX[n] for n in ("left_ankle", "left_foot", "right_ankle", "right_foot")]]
    height = points[..., 1] - np.array([0.06, 0, 0.06, 0])
    lowest = height.argmin(1)
    frames = np.arange(motion.frames - 1)
    step = (points[frames + 1, lowest[:-1]] - points[frames, lowest[:-1]])[:, [0, 2]] * motion.fps
    on = (height.min(1)[:-1] < 0.04) & (height[frames + 1, lowest[:-1]] < 0.06)
    if on.sum() < max(4, 0.2 * motion.frames):
        return None
    slide = np.median(step[on], axis=0)
    speed = np.linalg.norm(slide)
    if speed < LEAST_TRAVEL or np.median(np.linalg.norm(step[on] - slide, axis=1)) > MAX_SLIDE * speed:
        return None
    way = -slide * np.arange(motion.frames)[:, None] / motion.fps
    translation = motion.translation.astype(np.float64).copy()
    translation[:, [0, 2]] += way
    return _with(motion, translation)


def _with(motion: Motion, translation: np.ndarray) -> Motion:
    result = Motion(motion.rotations, translation, motion.rest_offsets, motion.fps)
    result.contacts = foot_contacts(result.joints(), result.fps)
    return result
