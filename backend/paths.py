"""Where things lie on this computer. Standard library only: the add-on and build.py read it too."""

import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

BACKEND_FOLDER = Path(__file__).resolve().parent
REQUIREMENTS = BACKEND_FOLDER / "requirements.txt"
WHEELS = BACKEND_FOLDER / "wheels.json"  # sizes and hashes of what the requirements become
BASE_MODEL_NAME = "smollm2-135m-instruct"


def cache_folder() -> Path:
    """The user's cache for environments and converted base models (``MOMUG_CACHE`` overrides it)."""
    override = os.environ.get("MOMUG_CACHE")
    if override:
        return Path(override).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "momug"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "momug"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "momug"


def key(text: str) -> str:
    """Twelve hex digits that name an environment by its pinned requirements."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def environment_folder(name: str, requirements: str) -> Path:
    """Folder of the virtual environment ``name`` made from the pinned ``requirements`` text."""
    return cache_folder() / "envs" / f"{name}-{key(requirements)}"


def environment_python(folder: Path) -> Path:
    """The interpreter inside a virtual environment folder."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def base_model_folder() -> Path:
    """Folder of the converted base language model (config.json, model.safetensors, tokenizer.json)."""
    override = os.environ.get("MOMUG_BASE_MODEL")
    return Path(override).expanduser() if override else cache_folder() / "base" / BASE_MODEL_NAME


def checkpoints_folder() -> Path:
    """Folder of the trained weights: beside ``backend`` in a checkout and in the packaged extension."""
    override = os.environ.get("MOMUG_CHECKPOINTS")
    return Path(override).expanduser() if override else BACKEND_FOLDER.parent / "checkpoints"


def styles_folder() -> Path:
    """Folder of the user's own style packs (``MOMUG_STYLES`` overrides it)."""
    override = os.environ.get("MOMUG_STYLES")
    if override:
        return Path(override).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", Path.home() / "AppData" / "Roaming")) / "momug" / "styles"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "momug" / "styles"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "momug" / "styles"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to: what was written takes the place of ``path`` when the block ends well, and is
    removed when it does not.

    So neither a full disk nor a killed process leaves half a file where a whole one was. The suffix stays, because
    exporters go by it; a name that begins with a dot keeps its beginning, by which a batch knows its own leftovers.
    Raises OSError.
    """
    path = Path(path).resolve()  # of a link, the file that it leads to
    part = path.with_name(f".{path.stem.lstrip('.')[:40]}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def try_lock(file: IO) -> bool:
    """Take the lock of an open file, until it is closed or the process ends, however it does; False where another
    process has it. Raises OSError where files cannot be locked."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
