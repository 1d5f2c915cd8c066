"""Reading text motion files safely: size limit, encoding, numbers with the line they came from."""

from pathlib import Path

import numpy as np

from backend.errors import BackendError

MAX_BYTES = 512 * 1024 * 1024


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


def number_rows(path: Path, lines: list[str], first: int, columns: int | None) -> np.ndarray:
    """Lines of numbers to an array (rows, columns); ``first`` is the number of the first line in the file."""
    rows = [(i, line) for i, line in enumerate(lines) if line.strip()]
    if not rows:
        raise BackendError("bad_file", f"{path.name}: there are no frames in the file.")
    width = columns if columns is not None else len(rows[0][1].replace(",", " ").split())
    try:
        data = np.array(" ".join(line for _, line in rows).replace(",", " ").split(), dtype=np.float64)
        if data.size == len(rows) * width and np.isfinite(data).all():
            return data.reshape(len(rows), width)
    except ValueError:
        data = None
    # something is wrong: find the line
    for i, line in rows:
        words = line.replace(",", " ").split()
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
