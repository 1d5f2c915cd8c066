"""A handful of motions and what their maker says of them, as a data set: what a style pack learns from.

No describer and no augmentation but the mirror image: the words are the artist's own.
"""

import json
from pathlib import Path

from backend.data import clean
from backend.data.cuts import seed_of
from backend.data.grammar import swap_sides
from backend.data.store import write_split
from backend.errors import BackendError
from backend.motion import formats
from backend.motion.skeleton import Motion

CAPTIONS = "captions.jsonl"
SHORTEST = clean.SHORTEST_CLIP  # frames at 30 fps: about a second


def build(source: Path, out: Path) -> dict:
    """Windows of the motions in ``source`` as the train split of ``out``; the val split is empty.

    ``source/captions.jsonl`` has one JSON object a line: "file" (any motion file, beside it) and "captions" (a list of
    sentences). A motion of up to ten seconds is one window, a longer one is cut at quiet moments; every window also
    goes in as its mirror image, with left and right exchanged in the words. Returns {"motions", "windows", "notes"}.
    Raises BackendError('bad_file').
    """
    source, out = Path(source), Path(out)
    motions: list[Motion] = []
    rows: list[dict] = []
    notes: list[str] = []
    told = _read(source / CAPTIONS)
    for file, captions in told:
        try:
            motion = clean.repair(formats.read(source / file))
        except BackendError as error:
            notes.append(f"{file}: {error.message}")
            continue
        if motion.frames < SHORTEST:
            notes.append(f"{file} is shorter than a second.")
            continue
        for start, stop in _windows(motion, file):
            window = clean.place(motion.slice(start, stop))
            for mirrored in (False, True):
                motions.append(clean.place(clean.mirrored(window)) if mirrored else window)
                words = [swap_sides(text) if mirrored else text for text in captions]
                rows.append({"id": f"{file}:{start}-{stop}", "mirrored": mirrored, "captions": words})
    if not motions:
        raise BackendError(
            "bad_file", "None of the motions can be learnt from.", notes[0] if notes else "There are no captions."
        )
    out.mkdir(parents=True, exist_ok=True)
    write_split(out, "train", motions, rows)
    write_split(out, "val", [], [])
    return {"motions": len(told) - len(notes), "windows": len(motions), "notes": notes}


def _windows(motion: Motion, name: str) -> list[tuple[int, int]]:
    """First and one past the last frame of the windows of a motion."""
    if motion.frames <= clean.LONGEST:
        return [(0, motion.frames)]
    found = clean.cut(motion, 0, motion.frames, seed_of(name))
    return found or [(0, clean.LONGEST)]


def _read(table: Path) -> list[tuple[str, list[str]]]:
    found = []
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BackendError("bad_file", f"{table} cannot be read: {error.strerror}.") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            file, captions = row["file"], [text.strip() for text in row["captions"] if text.strip()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackendError("bad_file", f"{table.name}, line {number}: not a file with its captions.") from error
        if Path(file).name != file:
            raise BackendError("bad_file", f"{table.name}, line {number}: the file has to lie beside it.")
        if captions:
            found.append((file, captions))
    if not found:
        raise BackendError("bad_file", f"{table.name} names no motion with a caption.")
    return found
