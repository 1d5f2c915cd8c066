"""Where files go: a folder, or a URL that fsspec knows (``s3://bucket/clips``, ``file:///mnt/clips``).

A file is there whole or not at all, also when its writer is killed.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.batch import manifest
from backend.batch.jobs import file_hash
from backend.errors import BackendError


class UnwritableError(Exception):
    """Nothing can be written there now; the text is one sentence."""


class Store:
    """The output folder or URL ``out``."""

    def __init__(self, out: str):
        self.out = str(out)
        self.remote = "://" in self.out

    def manifest(self) -> Path:
        """Where the manifest lies unless told. Raises UnwritableError for a URL: an object store cannot append."""
        if self.remote:
            raise UnwritableError("The manifest needs a local file when the output is a URL: give --manifest FILE.")
        return Path(self.out) / manifest.NAME

    def put(self, name: str, write: Callable[[Path], None]) -> dict[str, Any]:
        """Let ``write`` fill a file called ``name``: {"file", "sha256", "bytes"}. Raises UnwritableError."""
        try:
            if self.remote:
                with tempfile.TemporaryDirectory(prefix="momug-") as folder:
                    part = Path(folder) / f"out{Path(name).suffix}"
                    write(part)
                    told = _facts(name, part)
                    self._upload(part, name)
                return told
            with manifest.replacing(Path(self.out) / name) as part:
                write(part)
                return _facts(name, part)
        except (OSError, BackendError) as error:
            # formats.write tells in a sentence what the system said
            reason = error.__cause__ if isinstance(error, BackendError) else error
            if not isinstance(reason, OSError):
                raise
            raise UnwritableError(f"{name} could not be written: {reason.strerror or reason}.") from error

    def _upload(self, part: Path, name: str) -> None:
        import fsspec

        system, folder = fsspec.core.url_to_fs(self.out)
        path = f"{folder.rstrip('/')}/{name}"
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        with system.transaction, open(part, "rb") as source, system.open(path, "wb") as target:
            shutil.copyfileobj(source, target)

    def holds(self, output: dict[str, Any]) -> bool:
        """Is an output that the manifest tells of still there? Of a URL the manifest is believed."""
        return self.remote or manifest.same_size(Path(self.out) / str(output.get("file")), output)

    def clear(self, names: set[str]) -> None:
        """Take away what an earlier run left half written beside the files ``names``."""
        if not self.remote:
            manifest.clear_parts({(Path(self.out) / name).parent for name in names})


def _facts(name: str, path: Path) -> dict[str, Any]:
    return {"file": name, "sha256": file_hash(path), "bytes": path.stat().st_size}
