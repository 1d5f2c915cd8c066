"""Which clips are for training, which for validation, which for the test: by performer and trial, never by window.

The rule gives every clip the same split in every build. What it gave is written to ``splits.json`` of the data set and
read back by later builds, so that a clip never changes sides when others join.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from backend.data.clips import Clip
from backend.errors import BackendError

SPLITS = ("train", "val", "test")
FILE = "splits.json"
HELD_OUT = {"val": 0.09, "test": 0.05}
HELD_SUBJECTS = 0.08  # share of performers who are seen in the test split only


def split_of(clip: Clip) -> str:
    """The rule: by performer for a few, else by trial.

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


def groups(clips: Iterable[Clip], alike: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Clip id -> name of its group: clips of one trial and clips that are ``alike`` (pairs of ids) go together."""
    clips = list(clips)
    leader = {clip.id: clip.id for clip in clips}

    def find(id_: str) -> str:
        while leader[id_] != id_:
            id_ = leader[id_]
        return id_

    first: dict[str, str] = {}
    pairs = [(first.setdefault(clip.trial, clip.id), clip.id) for clip in clips]
    for a, b in [*pairs, *alike]:
        low, high = sorted((find(a), find(b)))
        leader[high] = low
    return {clip.id: find(clip.id) for clip in clips}


def assign(
    clips: list[Clip], alike: Iterable[tuple[str, str]], fixed: dict[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Split of every clip, and what has to be told about it.

    fixed: splits of clips that earlier builds gave; a group with such members takes theirs, another what the rule says
    of its members. When they differ it is held out, test before val: nothing that was held out may be learnt from.
    In a new set that is too small for the rule, one group each becomes train, val and test, as far as there are some.
    """
    group = groups(clips, alike)
    members: dict[str, list[Clip]] = {}
    for clip in clips:
        members.setdefault(group[clip.id], []).append(clip)
    chosen: dict[str, str] = {}
    notes = []
    for name, found in members.items():
        known = Counter(fixed[c.id] for c in found if c.id in fixed)
        said = known or Counter(split_of(c) for c in found)
        chosen[name] = next(s for s in ("test", "val", "train") if s in said)
        if len(said) > 1:
            ids = ", ".join(c.id for c in found[:6]) + (" ..." if len(found) > 6 else "")
            notes.append(f"the same performance in {' and '.join(sorted(said))}, now all in {chosen[name]}: {ids}")
    if not fixed:
        if "train" not in chosen.values():
            chosen[max(members, key=lambda n: _unit("group " + n))] = "train"
        free = sorted((n for n in members if chosen[n] == "train"), key=lambda n: _unit("group " + n))
        for split in ("val", "test"):
            if len(free) > 1 and split not in chosen.values():
                chosen[free.pop(0)] = split
    return {clip.id: chosen[group[clip.id]] for clip in clips}, notes


def load(path: Path) -> dict[str, str]:
    """{clip id: split} of a splits file. Raises BackendError('bad_file')."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["clips"]
        if not all(isinstance(k, str) and v in SPLITS for k, v in found.items()):
            raise ValueError("a clip has a split other than " + ", ".join(SPLITS))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackendError("bad_file", f"{path}: this is no file of splits ({error}).") from error
    return found


def save(path: Path, splits: dict[str, str]) -> None:
    """Write {clip id: split}, sorted, one clip a line."""
    record = {"rule": "by performer and trial, see backend/data/splits.py", "clips": dict(sorted(splits.items()))}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
