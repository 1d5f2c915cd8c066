"""Files that appear whole or not at all."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to: what was written takes the place of ``path`` when the block ends well, and is
    removed when it does not.

    So neither a full disk nor a killed Blender leaves half a file where a whole one was. The suffix stays, because
    exporters go by it. The backend has the same in ``backend.paths``, which this layer may not import. Raises OSError.
    """
    path = Path(path).resolve()  # of a link, the file that it leads to
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield part
        if not part.is_file():  # Blender's exporters report some failures and raise nothing
            raise OSError("nothing was written")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def reason(error: Exception) -> str:
    """Why a file could not be read or written, in a few words; Blender's operators send a whole traceback."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Location:")]
    named = [line for line in lines if re.match(r"\w+(Error|Exception): ", line)]
    told = (named or lines or [type(error).__name__])[-1]
    system = re.match(r"\w+Error: \[Errno \d+\] ([^:]+)", told)
    return system[1] if system else told.rstrip(".")
