"""What became of every job: JSON lines that only grow. Standard library only; the add-on's batch writes it too.

A line is written when the state of a job changes. The last line of a job counts: "running", "retry", "failed" or
"done". Files appear whole under their names before "done" is written, so that whatever is cut off is simply done again.
"""

import json
import os
import platform
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .. import paths

NAME = "manifest.jsonl"
PART = ".momug-"  # how the names of unfinished files begin
RUNNING, RETRY, FAILED, DONE = "running", "retry", "failed", "done"


class Busy(Exception):
    """Another run writes this manifest."""


class Manifest:
    """The manifest at ``path``, for one writer at a time; a context manager. Raises Busy and OSError.

    ``last`` maps a job's name to its last line.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.last: dict[str, dict[str, Any]] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.path.with_name(self.path.name + ".lock"))
        try:
            self._file = open(self.path, "a+b")
            self._read()
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._lock.close()

    def _read(self) -> None:
        self._file.seek(0)
        line = b"\n"
        for line in self._file:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue  # cut off when an earlier run was ended: what it told is done again
            if isinstance(record, dict) and isinstance(record.get("job"), str):
                self.last[record["job"]] = record
        if not line.endswith(b"\n"):
            self._file.write(b"\n")

    def is_done(self, job: str, key: str) -> bool:
        """Was ``job`` done with the same input?"""
        record = self.last.get(job, {})
        return record.get("state") == DONE and record.get("input") == key

    def add(self, *records: dict[str, Any]) -> None:
        """Append lines, and have them on the disk when it returns. Raises OSError."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines = [json.dumps({"time": now, **record}, ensure_ascii=True) + "\n" for record in records]
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.last.update((record["job"], record) for record in records if "job" in record)


def begin(command: str, **fields: Any) -> dict[str, Any]:
    """The line that a run begins with."""
    return {"run": uuid.uuid4().hex[:12], "command": command, "host": platform.node(), "pid": os.getpid(), **fields}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; afterwards the file is on the disk and called ``path``. Raises OSError.

    When the block fails, nothing is left and ``path`` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{PART}{uuid.uuid4().hex}{path.suffix}")
    try:
        yield part
        with open(part, "r+b") as opened:
            os.fsync(opened.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def clear_parts(folders: "set[Path]") -> None:
    """Remove what an interrupted run left half written in ``folders``; only for the holder of the manifest."""
    for folder in folders:
        for part in folder.glob(f"{PART}*"):
            part.unlink(missing_ok=True)


def same_size(file: Path, output: dict[str, Any]) -> bool:
    """Is an output that the manifest tells of still there, with as many bytes?"""
    try:
        return file.stat().st_size == output.get("bytes")
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # a folder cannot be opened there, and the rename is on the disk with the journal
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locked(path: Path):
    """An open file that no other process can lock as long as it is open, however its holder ends."""
    opened = open(path, "a+b")
    try:
        if paths.try_lock(opened):
            return opened
        raise Busy(f"Another run is writing into {path.parent}.")
    except BaseException:
        opened.close()
        raise
