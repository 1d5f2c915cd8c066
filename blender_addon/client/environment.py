"""The backend's own Python environment: where it lies, whether it is whole, and what may work on it.

Standard library only and no bpy: build.py uses it from a terminal, the add-on from Blender. Everything lies in the
user's cache (see ``backend.paths``). A folder counts only once its record, ``momug.json``, says that it was checked,
and the record is written last: what an interrupted set-up left behind is never taken for whole.
"""

import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import platforms
from .problems import EnvironmentProblem, NotOffered

__all__ = ["EnvironmentProblem", "NotOffered"]

RECORD = "momug.json"
LONGEST_NAME = 173  # letters: the longest path below site-packages, a licence inside PyTorch for CUDA on Windows


def backend_root() -> Path:
    """The folder that contains ``backend/``: the add-on itself when packaged, the checkout otherwise."""
    addon = Path(__file__).resolve().parents[1]
    return addon if (addon / "backend" / "paths.py").is_file() else addon.parent


def _paths():
    addon = Path(__file__).resolve().parents[1]
    if backend_root() == addon:
        return importlib.import_module(__name__.rsplit(".", 2)[0] + ".backend.paths")
    if str(addon.parent) not in sys.path:
        sys.path.append(str(addon.parent))
    return importlib.import_module("backend.paths")


paths = _paths()


def backend_python(preference: str = "") -> Path | None:
    """The backend's interpreter: the user's preference, else ``MOMUG_BACKEND_PYTHON``, else the one set-up made.

    A path that was asked for is returned only when it is there; None means that set-up has to run, or that the path
    is wrong.
    """
    asked = preference or os.environ.get("MOMUG_BACKEND_PYTHON", "")
    if asked:
        python = Path(asked).expanduser()
        return python if python.is_file() else None
    return ready_python(backend_folder())


def backend_folder() -> Path:
    """Where the environment with today's pins lies or will lie."""
    return paths.environment_folder("backend", paths.REQUIREMENTS.read_text(encoding="utf-8"))


def downloads_folder() -> Path:
    """Where downloads wait until they are installed; an interrupted one is continued there."""
    return paths.cache_folder() / "downloads"


def log_file(name: str) -> Path:
    """The log of a step of the set-up."""
    return paths.cache_folder() / "logs" / f"{name}.log"


def ready_python(folder: Path) -> Path | None:
    """The interpreter of a finished environment; None when the folder is absent, unfinished or lost its base Python."""
    python = paths.environment_python(folder)
    return python if read_record(folder).get("checked") and python.is_file() else None


def child_environment() -> dict[str, str]:
    """Variables for a child process: ours, less what would pull in packages from another Python."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    env.update(
        PYTHONNOUSERSITE="1",
        PYTHONUTF8="1",
        PYTHONDONTWRITEBYTECODE="1",  # the add-on's folder, and Blender's own Python, are not ours to write to
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        HF_HUB_OFFLINE="1",
    )
    return env


def no_window() -> dict:
    """Options for subprocess: no console flashes up on Windows."""
    return {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}


def check_disk(needed: int, what: str) -> None:
    """Raise EnvironmentProblem when the disk that holds the cache has fewer than ``needed`` bytes free."""
    folder = paths.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EnvironmentProblem(
            f"There is too little disk space for {what}: it needs about {needed / 1e9:.1f} GB, "
            f"and {free / 1e9:.1f} GB are free in {folder}.",
            "Free some space, or choose a folder on a larger disk (the cache folder in the add-on's preferences, or "
            "MOMUG_CACHE), and try again.",
            "disk_full",
        )


def check_path(folder: Path) -> None:
    """Raise EnvironmentProblem when an environment at ``folder`` would have paths that are too long for Windows."""
    limit = platforms.path_limit()
    longest = len(str(folder / "Lib" / "site-packages")) + 1 + LONGEST_NAME
    if limit is not None and longest > limit:
        raise EnvironmentProblem(
            f"The name of the folder {paths.cache_folder()} is too long: Windows allows paths of {limit} letters, and "
            f"the model's programs would need {longest}.",
            "Choose a cache folder with a short name, such as C:\\momug, in the preferences.",
            "path_too_long",
        )


@contextlib.contextmanager
def set_up_lock(progress: Callable[[str], None]) -> Iterator[None]:
    """Let one set-up at a time work on the cache; a second one waits. The system frees the lock of a dead process."""
    folder = paths.cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / "setup.lock", "a+b")
    except OSError as error:
        raise EnvironmentProblem(
            f"The folder {folder} cannot be written: {error.strerror}.",
            "Choose a folder of yours: the cache folder in the add-on's preferences, or MOMUG_CACHE.",
            "permission",
        ) from error
    with file:
        told = False
        while not _try_lock(file):
            if not told:
                progress("Another set-up is running; waiting for it to end")
                told = True
            time.sleep(0.5)
        base = paths.base_model_folder()
        # ours alone now: whatever lies here belonged to a set-up that was killed
        for left_over in (*folder.glob("download-*"), *folder.glob(f"base/{base.name}-*"), *folder.glob("removed-*")):
            shutil.rmtree(left_over, ignore_errors=True)
        yield


def _try_lock(file) -> bool:
    try:
        return paths.try_lock(file)
    except OSError:
        return False


def read_record(folder: Path) -> dict:
    """What is known about a folder of ours; empty when it is absent or was cut off in the middle."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(folder: Path, record: dict) -> None:
    """Replace a folder's record in one step."""
    part = folder / (RECORD + ".part")
    part.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(part, folder / RECORD)


def set_aside(folder: Path) -> Path:
    """Rename a folder of ours to what the next set-up deletes: it stops counting at once. Raises OSError."""
    doomed = paths.cache_folder() / f"removed-{folder.name}-{os.getpid()}-{time.monotonic_ns()}"
    os.replace(folder, doomed)
    return doomed


def remove_folder(folder: Path) -> None:
    """Delete a folder of ours. It stops counting first: it is renamed before its files go one by one."""
    if not folder.exists():
        return
    try:
        shutil.rmtree(set_aside(folder))
    except OSError as error:
        raise EnvironmentProblem(
            f"The folder {folder} cannot be removed: {error.strerror}.",
            "A program still uses it: close other Blender windows, and try again.",
            "locked",
        ) from error


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder; links and what vanishes meanwhile count nothing."""
    total = 0
    for file in folder.rglob("*") if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            if file.is_file() and not file.is_symlink():
                total += file.stat().st_size
    return total


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder on the cache's own disk: /tmp is often a small memory disk, and wheels are large."""
    import tempfile

    cache = paths.cache_folder()
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
