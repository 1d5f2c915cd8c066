"""Reading text motion files safely: size limit, encoding, numbers with the line they came from."""

import itertools
from pathlib import Path

import numpy as np

from backend.errors import BackendError

MAX_BYTES = 256 * 1024 * 1024


def load(path: Path) -> str:
    """The text of a file. Raises BackendError('bad_file') when it is missing, too large or binary."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            limit = MAX_BYTES // 2**20
            raise BackendError("bad_file", f"{path.name} has {size // 2**20} MB; at most {limit} are read.")
        data = path.read_bytes()
    except OSError as error:
        raise BackendError("bad_file", f"{path.name} could not be read: {error.strerror}.") from error
    if b"\0" in data[:4096]:
        raise BackendError("bad_file", f"{path.name} is not a text file.")
    return data.decode("utf-8", errors="replace")


def bad_line(path: Path, line: int, what: str) -> BackendError:
    """The error for something wrong in line ``line`` (counted from 1)."""
    return BackendError("bad_file", f"{path.name}, line {line}: {what}.")


def number_rows(path: Path, lines: list[str], first: int, columns: int | None, limit: int | None = None) -> np.ndarray:
    """Lines of numbers to an array (rows, columns); ``first`` is the number of the first line in the file.

    columns: how many there have to be in each line (unless told, as many as in the first one); limit: how many rows are
    read. Empty lines are passed over. Raises BackendError('bad_file') with the line.
    """
    rows = list(itertools.islice(((i, line) for i, line in enumerate(lines) if line.strip()), limit))
    if not rows:
        raise BackendError("bad_file", f"{path.name}: there are no frames in the file.")
    width = columns if columns is not None else len(_words(rows[0][1]))
    try:
        data = np.loadtxt((line.replace(",", " ") for _, line in rows), comments=None, ndmin=2)
        if data.shape == (len(rows), width) and np.isfinite(data).all():
            return data
    except ValueError:
        data = None
    # something is wrong: find the line
    for i, line in rows:
        words = _words(line)
        if len(words) != width:
            raise bad_line(path, first + i, f"{len(words)} numbers where {width} are expected")
        for word in words:
            try:
                good = np.isfinite(float(word))
            except ValueError:
                good = False
            if not good:
                raise bad_line(path, first + i, f"{word[:20]!r} is not a number")
    raise BackendError("bad_file", f"{path.name}: the numbers could not be read.")


def _words(line: str) -> list[str]:
    return line.replace(",", " ").split()
