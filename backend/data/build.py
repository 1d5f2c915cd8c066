"""From folders of capture to a data set of captioned windows.

Layout of the result, per split (train, val, test):
``<split>.npz``: ``rotations`` (sumT,22,4) float32 wxyz local, ``translation`` (sumT,3) float32, ``contacts`` (sumT,4)
uint8, ``starts`` (N,) and ``lengths`` (N,) int64; ``<split>.jsonl``: one window a line in the same order (id, clip,
start, end, mirrored, extended, captions, labels, licence, source). Every window starts at x = z = 0, heading +Z.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backend.data import blender, characters, clean, describe, extend
from backend.data.measure import measure
from backend.errors import BackendError
from backend.motion import formats
from backend.motion.skeleton import Motion

SPLITS = ("train", "val", "test")
HELD_OUT = {"val": 0.09, "test": 0.05}
HELD_SUBJECTS = 0.08  # share of performers who are seen in the test split only
IDLE_SHARE = 0.05
RECIPES = ("shippable", "noncommercial")
READABLE = {"amc", "bvh", "txt117", "npz"}


@dataclass
class Clip:
    """One source clip and what is known about it."""

    id: str
    path: Path
    format: str
    fps: float | None = None
    skeleton: Path | None = None
    captions: list[dict] = field(default_factory=list)
    subject: str | None = None
    trial: str = ""
    licence: str = "unknown"
    source: str = ""
    skip: str = ""
    animation: str | None = None

    @property
    def name(self) -> str | None:
        """The name an animator gave the clip, where that is all that is known of it."""
        names = [c["text"] for c in self.captions if c.get("source") == "clip name"]
        return names[0] if names and self.format in blender.FORMATS else None


def find_clips(sources: list[Path], recipe: str) -> Iterator[Clip]:
    """All clips of the folders: by clips.jsonl where there is one, else every motion file with its name as text."""
    for folder in sources:
        folder = Path(folder)
        table = folder / "clips.jsonl"
        if table.is_file():
            for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    yield _from_row(folder, json.loads(line), recipe)
                except (ValueError, KeyError, TypeError) as error:
                    raise BackendError(
                        "bad_file", f"{table.name}, line {number}: this is no clip ({error})."
                    ) from error
        elif folder.is_dir():
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in formats.READERS:
                    text = re.sub(r"[\W_]+", " ", path.stem).strip()
                    caption = {"text": text, "start": None, "end": None, "mirrored": False, "source": "file name"}
                    kind = path.suffix[1:].lower()
                    kind = "txt117" if kind == "txt" else kind
                    yield Clip(path.stem, path, kind, captions=[caption], trial=path.stem, source=folder.name)
        else:
            raise BackendError("bad_file", f"{folder} is not a folder of motion files.")


def _from_row(folder: Path, row: dict, recipe: str) -> Clip:
    skip = ""
    fps = float(row.get("fps") or 30)
    if recipe == "shippable" and not row.get("shippable"):
        skip = "licence does not allow it"
    elif row["format"] not in READABLE | blender.FORMATS:
        skip = f"format {row['format']} is not read yet"
    elif row.get("excerpt"):
        if row.get("tempo_estimate"):
            fps /= float(row["tempo_estimate"])
        else:
            skip = "excerpt without a known tempo"
    elif row.get("quality") != "ok":
        skip = "marked odd"
    trial = row.get("same_trial_as") or row.get("trial") or row["id"]
    trial = trial if isinstance(trial, str) else trial[0]
    return Clip(
        row["id"], folder / row["file"], row["format"], fps, folder / row["skeleton"] if row.get("skeleton") else None,
        row.get("captions", []), row.get("subject"), trial.removeprefix("cmu_"), row.get("licence", "unknown"),
        row.get("source", ""), skip, row.get("animation"),
    )  # fmt: skip


def split_of(clip: Clip) -> str:
    """The split of a clip: by performer for a few, else by trial; the same in every build.

    Named clips of characters are all learnt from: each is the only take of its action, and they share parts.
    """
    if clip.name:
        return "train"
    if clip.subject and _unit("performer " + clip.subject) < HELD_SUBJECTS:
        return "test"
    value = _unit("trial " + re.sub(r"_\w{6}$", "", clip.trial))
    if value < HELD_OUT["test"]:
        return "test"
    return "val" if value < HELD_OUT["test"] + HELD_OUT["val"] else "train"


def _unit(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


class _Split:
    def __init__(self):
        self.motions: list[Motion] = []
        self.rows: list[dict] = []

    def add(self, motion: Motion, row: dict) -> None:
        self.motions.append(motion)
        self.rows.append(row)


def build(
    sources: list[Path],
    out: Path,
    recipe: str = "shippable",
    progress: Callable[[str], None] = print,
    blender_python: str | Path | None = None,
) -> dict:
    """Read, clean, cut, describe and save. Returns the statistics that it also writes to ``statistics.json``.

    recipe 'shippable' uses only clips whose licence lets a trained model be given away; 'noncommercial' uses all.
    blender_python: a Python with ``bpy`` (or a Blender) that reads GLB and FBX clips; without it and without
    ``MOMUG_BLENDER_PYTHON`` they are left out. Raises BackendError('bad_request' or 'bad_file').
    """
    if recipe not in RECIPES:
        raise BackendError("bad_request", f"There is no recipe {recipe!r}; use {' or '.join(map(repr, RECIPES))}.")
    python = blender.interpreter(blender_python)
    clips = list(find_clips([Path(s) for s in sources], recipe))
    reasons = _through_blender(clips, python, progress)
    splits = {name: _Split() for name in SPLITS}
    dropped: Counter = Counter()
    failed: list[str] = []
    used = 0
    named: dict[str, tuple[Clip, Motion]] = {}
    for number, clip in enumerate(clips, 1):
        if number % 50 == 0:
            windows = sum(len(s.rows) for s in splits.values())
            progress(f"{number}/{len(clips)} clips, {windows} windows")
        if clip.skip:
            dropped["clip: " + clip.skip] += 1
            continue
        try:
            if clip.id in reasons:
                raise BackendError("bad_file", reasons[clip.id])
            motion = _read(clip)
        except BackendError as error:
            failed.append(f"{clip.id}: {error.message}")
            dropped["clip: could not be read"] += 1
            continue
        used += 1
        if clip.name:
            named[clip.id] = clip, motion
        else:
            _add_windows(clip, motion, splits[split_of(clip)], split_of(clip), dropped)
    for piece in characters.pieces({id_: (clip.name, motion) for id_, (clip, motion) in named.items()}, dropped):
        clip = named[piece.clip][0]
        _add(clip, piece.motion, 0, piece.motion.frames, splits[split_of(clip)], split_of(clip), dropped, piece=piece)
    if not any(s.rows for s in splits.values()):
        raise BackendError("bad_file", "No usable motion was found in " + ", ".join(str(s) for s in sources) + ".")
    for split in splits.values():
        _limit_idle(split, dropped)
    statistics = _save(splits, Path(out), recipe)
    statistics |= {"clips_used": used, "dropped": dict(dropped.most_common()), "unreadable": failed}
    (Path(out) / "statistics.json").write_text(json.dumps(statistics, indent=1), encoding="utf-8")
    return statistics


def _through_blender(clips: list[Clip], python: Path | None, progress: Callable[[str], None]) -> dict[str, str]:
    """Point the clips that Blender has to read at their converted files; returns {clip id: why it could not}."""
    wanted = [clip for clip in clips if clip.format in blender.FORMATS and not clip.skip]
    if python is None:
        for clip in wanted:
            clip.skip = f"format {clip.format} needs a Blender Python"
        return {}
    done, failed = blender.convert([(c.id, c.path, c.animation) for c in wanted], python, progress)
    for clip in wanted:
        if clip.id in done:
            # the key times of the file are in it: the rate that the list tells is no longer needed
            clip.path, clip.fps = done[clip.id], None
    return failed


def _read(clip: Clip) -> Motion:
    options = {}
    if clip.fps:
        options["source_fps"] = clip.fps
    if clip.skeleton:
        options["skeleton"] = clip.skeleton
    motion = formats.read(clip.path, **options)
    if clip.format in blender.FORMATS:
        motion = clean.without_rest_frame(motion)
    return clean.repair(motion)


def _add_windows(clip: Clip, motion: Motion, split: _Split, name: str, dropped: Counter) -> None:
    parts = clean.active_parts(motion)
    if not parts:
        # nothing moves: one still window stands for the clip
        size = min(motion.frames, 150)
        parts = [(0, size)] if size >= clean.SHORTEST else []
        if not parts:
            dropped["clip: idle and short"] += 1
    for start, stop in parts:
        if stop - start < clean.SHORTEST and motion.frames > 1.5 * clean.SHORTEST:
            dropped["part: shorter than a window between two rests"] += 1
            continue
        for a, b in clean.cut(motion, start, stop, _seed(clip.id)):
            _add(clip, motion.slice(a, b), a, b, split, name, dropped)
        for longer, a, b in _longer(motion, start, stop):
            _add(clip, longer, a, b, split, name, dropped, extended=True)


def _longer(motion: Motion, start: int, stop: int) -> Iterator[tuple[Motion, int, int]]:
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
            yield extend.repeat_cycle(part, cycle, times), start, stop


def _add(
    clip: Clip,
    window: Motion,
    start: int,
    stop: int,
    split: _Split,
    name: str,
    dropped: Counter,
    extended: bool = False,
    piece: characters.Piece | None = None,
) -> None:
    reason = clean.fault(window)
    if reason and not any(allowed in reason for allowed in (piece.allow if piece else ())):
        dropped["window: " + reason] += 1
        return
    for mirror in (False, True) if name == "train" else (False,):
        motion = clean.place(clean.mirrored(window) if mirror else window)
        m = measure(motion)
        if m["speed"] > 0 and extended and abs(m["turn"]) > 720:
            dropped["window: spins when repeated"] += 1
            return
        human = [] if extended or piece else _human(clip, start, stop, mirror)
        plain = [c["text"] for c in clip.captions if not str(c.get("source", "")).startswith("HumanML3D")]
        known = [describe.swap_sides(t) if mirror else t for t in piece.texts] if piece else []
        source = piece.id if piece else clip.id
        seed = _seed(f"{source} {start} {stop} {extended} {mirror}")
        alone = bool(piece and piece.alone)
        texts = describe.captions(motion, [] if piece else plain, human, seed, m, known, alone)
        row = {
            "id": f"{source}:{start}-{stop}" + ("+" if extended else "") + ("m" if mirror else ""),
            "clip": clip.id, "start": start, "end": stop, "split": name, "mirrored": mirror, "extended": extended,
            "captions": texts, "labels": m, "licence": clip.licence, "source": clip.source,
        }  # fmt: skip
        split.add(motion, row)


def _human(clip: Clip, start: int, stop: int, mirror: bool) -> list[str]:
    """Sentences people wrote about most of this window, sides swapped where window or sentence is mirrored."""
    found = []
    for caption in clip.captions:
        if not str(caption.get("source", "")).startswith("HumanML3D"):
            continue
        begin, end = caption.get("start"), caption.get("end")
        if begin is not None and end is not None:
            a, b = start / 30.0, stop / 30.0
            overlap = min(b, end) - max(a, begin)
            if overlap < 0.7 * (end - begin) or overlap < 0.6 * (b - a):
                continue
        text = caption["text"]
        found.append(describe.swap_sides(text) if bool(caption.get("mirrored")) != mirror else text)
    return found


def _limit_idle(split: _Split, dropped: Counter) -> None:
    """Keep at most a twentieth of the time for windows in which next to nothing moves."""
    idle = [i for i, row in enumerate(split.rows) if row["labels"]["mean_speed"] < clean.IDLE_SPEED]
    total = sum(m.frames for m in split.motions)
    allowed, remove = IDLE_SHARE * total, set()
    for i in sorted(idle, key=lambda i: _seed(split.rows[i]["id"])):
        allowed -= split.motions[i].frames
        if allowed < 0:
            remove.add(i)
            dropped["window: idle, beyond the share of 5 %"] += 1
    split.motions = [m for i, m in enumerate(split.motions) if i not in remove]
    split.rows = [r for i, r in enumerate(split.rows) if i not in remove]


def _save(splits: dict[str, _Split], out: Path, recipe: str) -> dict:
    out.mkdir(parents=True, exist_ok=True)
    statistics: dict = {"recipe": recipe, "splits": {}}
    for name, split in splits.items():
        lengths = np.array([m.frames for m in split.motions], dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64) if len(lengths) else lengths
        arrays = {
            "rotations": _joined([m.rotations for m in split.motions], (22, 4), np.float32),
            "translation": _joined([m.translation for m in split.motions], (3,), np.float32),
            "contacts": _joined([m.contacts > 0.5 for m in split.motions], (4,), np.uint8),
            "starts": starts,
            "lengths": lengths,
        }
        with open(out / f"{name}.npz", "wb") as file:
            np.savez(file, **arrays)
        lines = [json.dumps(row, ensure_ascii=False) for row in split.rows]
        (out / f"{name}.jsonl").write_text("\n".join(lines) + ("\n" if lines else ""), encoding="utf-8")
        statistics["splits"][name] = _statistics(split)
    return statistics


def _joined(arrays: list[np.ndarray], shape: tuple[int, ...], kind: type) -> np.ndarray:
    return np.concatenate(arrays).astype(kind) if arrays else np.zeros((0, *shape), dtype=kind)


def _statistics(split: _Split) -> dict:
    frames = sum(m.frames for m in split.motions)
    idle = sum(
        m.frames for m, r in zip(split.motions, split.rows, strict=True) if r["labels"]["mean_speed"] < clean.IDLE_SPEED
    )
    verbs: Counter = Counter()
    words: set[str] = set()
    for row in split.rows:
        verbs.update(describe.action_words(row["captions"]))
        words.update(word for text in row["captions"] for word in text.split())
    return {
        "windows": len(split.rows),
        "hours": round(frames / 30 / 3600, 3),
        "clips": len({r["clip"] for r in split.rows}),
        "extended": sum(r["extended"] for r in split.rows),
        "mirrored": sum(r["mirrored"] for r in split.rows),
        "idle_share": round(idle / frames, 4) if frames else 0.0,
        "captions": sum(len(r["captions"]) for r in split.rows),
        "words": len(words),
        "actions": dict(verbs.most_common(40)),
    }
