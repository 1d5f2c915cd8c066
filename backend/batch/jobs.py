"""A table of jobs: CSV, JSON or JSON lines. Standard library only; the add-on reads it too.

One row is one motion. A row that cannot be used becomes a job with a ``problem``, so that the others go on; only a
table that cannot be read at all is an error.
"""

import csv
import hashlib
import json
import math
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from .. import paths, protocol

TEXTS = ("name", "prompt", "model", "preset", "style", "target", "rig")
NUMBERS = ("seconds", "guidance_scale", "style_weight")
INTEGERS = ("seed", "steps")
TABLES = ("timeline", "options")  # JSON in a cell of a CSV file
FIELDS = (*TEXTS, *NUMBERS, *INTEGERS, "loop", *TABLES)
# what a generate message carries, see backend/requests.py
GENERATE = (
    "prompt",
    "timeline",
    "seconds",
    "seed",
    "preset",
    "steps",
    "guidance_scale",
    "loop",
    "style",
    "style_weight",
)
YES, NO = ("true", "yes", "1", "x"), ("false", "no", "0", "")
AUTO = "auto"
MAX_NAME = 200  # bytes of one part of a name: file systems take 255, and a suffix has to fit
MAX_LINE = 1 << 20
# Windows keeps these for itself, and a table made on one system is run on another
FORBIDDEN = frozenset('<>:"\\|?*')
DEVICES = frozenset(["con", "prn", "aux", "nul", *(f"{n}{i}" for n in ("com", "lpt") for i in range(1, 10))])


class JobsError(ValueError):
    """The table cannot be read; the text is one sentence."""


@dataclass(frozen=True)
class Job:
    """One row.

    name: of the output, without suffix, folders with "/"; request: the fields of a generate message, seed included;
    target: npz file with given poses, or ""; rig: character file, or ""; options: of the result on a rig (see
    ``blender_addon.api.animate``); problem: one sentence why it cannot be done, or "".
    """

    name: str
    model: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    target: str = ""
    rig: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    def key(self, *more: object) -> str:
        """sha256 of what the motion depends on: the request, the target file, and ``more``. Raises OSError."""
        said = [self.model, self.request, file_hash(self.target) if self.target else "", *more]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read(path: "str | Path", model: str = "momug") -> list[Job]:
    """The jobs of a .csv, .json or .jsonl file, in its order; ``model`` where a row names none. Raises JobsError.

    JSON: a list of objects, or ``{"defaults": {...}, "jobs": [...]}``. Files that a row names are relative to the
    table. Names are unique without regard to case. A row without a seed gets one from its name and prompt.
    """
    path = Path(path)
    reader = {".csv": _csv_rows, ".json": _json_rows, ".jsonl": _json_lines}.get(path.suffix.lower())
    if reader is None:
        raise JobsError(f"'{path.name}' is no table of jobs; use .csv, .json or .jsonl.")
    jobs, taken = [], {}
    try:
        for number, row in enumerate(reader(path), 1):
            job = _job(row, f"job-{number:06d}", model, path.parent)
            folded = unicodedata.normalize("NFC", job.name).casefold()
            if not job.problem and folded in taken:
                # the first one keeps the name; this one is reported under one of its own
                problem = f"Row {number} has the same name as row {taken[folded]}: {job.name}."
                job = replace(job, name=f"job-{number:06d} (same name)", problem=problem)
            taken.setdefault(folded, number)
            jobs.append(job)
    except OSError as error:
        raise JobsError(f"'{path.name}' could not be read: {error.strerror}.") from error
    except (ValueError, RecursionError, csv.Error) as error:
        if isinstance(error, JobsError):
            raise
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).split("\n")[0][:150]
        raise JobsError(f"'{path.name}' could not be read: {reason}.") from error
    if not jobs:
        raise JobsError(f"'{path.name}' holds no jobs.")
    return jobs


def file_hash(path: "str | Path") -> str:
    """sha256 of a file, read once as long as it does not change. Raises OSError."""
    known = os.stat(path)
    return _hash(str(path), known.st_mtime_ns, known.st_size)


@lru_cache(maxsize=1024)
def _hash(path: str, _changed: int, _size: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def weights(model: str) -> str:
    """What tells one set of weights from another: its config.json holds the hashes of the rest. "" without one."""
    config = paths.checkpoints_folder() / model / "config.json"
    return file_hash(config) if config.is_file() else ""


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8-sig", newline="") as opened:
        rows = csv.DictReader(opened, strict=True)
        for row in rows:
            if None in row:
                yield {"problem": f"Line {rows.line_num} has more cells than there are columns."}
                continue
            cells = {key.strip().lower(): value.strip() for key, value in row.items() if value and value.strip()}
            if cells:
                yield cells


def _json_rows(path: Path) -> Iterator[Any]:
    told = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_no_constant)
    defaults: dict[str, Any] = {}
    if isinstance(told, dict):
        defaults, told = told.get("defaults", {}), told.get("jobs")
    if not isinstance(told, list) or not isinstance(defaults, dict):
        raise JobsError(f"'{path.name}' has to hold a list of jobs.")
    for row in told:
        yield {**defaults, **row} if isinstance(row, dict) else row


def _json_lines(path: Path) -> Iterator[Any]:
    with open(path, encoding="utf-8-sig") as opened:
        number = 0
        while line := opened.readline(MAX_LINE):
            number += 1
            if not line.strip():
                continue
            try:
                yield json.loads(line, parse_constant=_no_constant)
            except (ValueError, RecursionError):
                yield {"problem": f"Line {number} is not a JSON object."}


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number")


def _job(row: Any, default: str, model: str, folder: Path) -> Job:
    if not isinstance(row, dict):
        return Job(default, problem="A job has to be an object with fields.")
    if "problem" in row:
        return Job(default, problem=str(row["problem"]))
    name = default
    try:
        row = _flat(row)
        name = _name(row.get("name") or default)
        request = {key: row[key] for key in GENERATE if row.get(key) is not None}
        if "timeline" not in request:
            request["prompt"] = protocol.clean_prompt(row.get("prompt", ""), optional=bool(row.get("target")))
        request.setdefault("seed", _seed(name, request))
        files = {key: _file(row[key], folder) if row.get(key) else "" for key in ("target", "rig")}
        return Job(name, row.get("model") or model, request, **files, options=row.get("options") or {})
    except (JobsError, protocol.ProtocolError) as error:
        return Job(name, problem=str(error))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row, checked for their kind; those in ``conditions`` count as the row's own."""
    row = {key: value for key, value in row.items() if value is not None}
    conditions = row.pop("conditions", {})
    if isinstance(conditions, str):
        conditions = _table("conditions", conditions)
    if not isinstance(conditions, dict):
        raise JobsError("The conditions have to be an object.")
    row = {**row, **conditions}
    unknown = sorted(str(key) for key in row if key not in FIELDS)
    if unknown:
        raise JobsError(f"There is no field '{unknown[0][:40]}'.")
    return {key: _value(key, value) for key, value in row.items()}


def _value(key: str, value: Any) -> Any:
    if key in TEXTS:
        if not isinstance(value, str):
            raise JobsError(f"The field '{key}' has to be text.")
        return value
    if key in TABLES:
        value = _table(key, value) if isinstance(value, str) else value
        if not isinstance(value, list if key == "timeline" else dict):
            raise JobsError(f"The field '{key}' has to be {'a list' if key == 'timeline' else 'an object'}.")
        return value
    if key == "loop":
        told = str(value).strip().lower()
        if told not in YES + NO:
            raise JobsError(f"The field 'loop' is yes or no, not '{told[:20]}'.")
        return told in YES
    if value == AUTO:
        return None
    try:
        number = float(value) if key in NUMBERS or not isinstance(value, str) else int(value)
        if isinstance(value, bool) or not math.isfinite(number) or (key in INTEGERS and number != int(number)):
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise JobsError(
            f"The field '{key}' is not a {'whole ' * (key in INTEGERS)}number: {str(value)[:20]}."
        ) from error
    return (value if isinstance(value, int) else int(number)) if key in INTEGERS else number


def _table(key: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise JobsError(f"The field '{key}' is not JSON.") from error


def _name(text: str) -> str:
    """A relative name that every file system takes. Raises JobsError."""
    name = PurePosixPath(text.strip())
    shown = text.strip()[:60]
    if name.is_absolute() or not name.parts or ".." in name.parts:
        raise JobsError(f"'{shown}' is no name of an output: it has to lie inside the output folder.")
    for part in name.parts:
        if len(part.encode("utf-8", "surrogatepass")) > MAX_NAME:
            raise JobsError(f"The name '{shown}...' is longer than {MAX_NAME} bytes.")
        odd = [c for c in part if c in FORBIDDEN or unicodedata.category(c) in ("Cc", "Cs")]
        if odd or part[-1] in ". " or part[0] in ". " or part.split(".")[0].lower() in DEVICES:
            raise JobsError(f"'{shown}' is no name that every file system takes.".replace("\n", " "))
    return name.as_posix()


def _file(text: str, folder: Path) -> str:
    try:
        path = (folder / Path(text).expanduser()).resolve()
        found = path.is_file()
    except (OSError, ValueError, RuntimeError):
        found = False
    if not found:
        raise JobsError(f"There is no file '{text[:200]}'.")
    return str(path)


def _seed(name: str, request: dict[str, Any]) -> int:
    told = json.dumps([name, request], sort_keys=True)
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:4], "big") >> 1
