"""Whole folders of motion as a table of captions. Standard library only: what reads a file and what describes it is the
caller's, without Blender in ``backend``, in Blender in the add-on's batch.
"""

import csv
import io
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .jobs import file_hash
from .manifest import DONE, FAILED, RUNNING, Manifest, begin, clear_parts, replacing

COLUMNS = ("file", "armature", "animation", "seconds", "caption")
TABLES = (".jsonl", ".csv")


class Refused(Exception):
    """A file that cannot be described; the text is one sentence."""


def run(
    folder: Path,
    out: Path,
    suffixes: Iterable[str],
    describe: Callable[[Path], "list[dict[str, Any]]"],
    weights: str = "",
    say: Callable[[str], None] = print,
) -> "tuple[int, int, dict[str, str]]":
    """Describe every file below ``folder`` with one of ``suffixes`` and write the table ``out``.

    ``describe`` gives a row ``{"armature", "animation", "seconds", "caption"}`` for each animation of a file, or raises
    Refused. What an earlier run has described is not described again, as long as file and ``weights`` (which model) are
    the same; it is kept in ``<out>.manifest.jsonl``. Returns how many files were described now and earlier, and why
    the others were not. Raises Refused for a folder or table that cannot be used, Busy and OSError.
    """
    folder, out = Path(folder), Path(out)
    if out.suffix.lower() not in TABLES:
        raise Refused(f"{out.name}: the table of captions has to be {' or '.join(TABLES)}.")
    if not folder.is_dir():
        raise Refused(f"There is no folder {folder}.")
    wanted = {suffix.lower() for suffix in suffixes}
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in wanted and path.is_file())
    if not found:
        raise Refused(f"{folder} holds no file with {', '.join(sorted(wanted))}.")
    now = earlier = 0
    failed: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    with Manifest(out.with_name(f"{out.name}.manifest.jsonl")) as book:
        book.add(begin("caption-batch", files=len(found)))
        for path in found:
            name = path.relative_to(folder).as_posix()
            key = f"{file_hash(path)} {weights}"
            if book.is_done(name, key):
                earlier += 1
            else:
                book.add({"job": name, "state": RUNNING})
                began = time.monotonic()
                try:
                    captions = describe(path)
                except Refused as error:
                    failed[name] = str(error)
                    book.add({"job": name, "state": FAILED, "message": str(error)})
                    say(f"{name}: {error}")
                    continue
                took = round(time.monotonic() - began, 3)
                book.add({"job": name, "state": DONE, "input": key, "captions": captions, "took": took})
                now += 1
                say(f"{name}: {captions[0]['caption'] if captions else 'no animation'}")
            rows += [{"file": name, **row} for row in book.last[name]["captions"]]
        clear_parts({out.parent})
        with replacing(out) as part:
            part.write_text(_table(rows, out.suffix.lower()), encoding="utf-8", newline="")
    return now, earlier, failed


def _table(rows: "list[dict[str, Any]]", suffix: str) -> str:
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
