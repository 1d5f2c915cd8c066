"""The index of the asset libraries: read a file now and then, while Blender stays usable, and keep what it holds."""

import time
from collections.abc import Iterator
from pathlib import Path

import bpy

from . import runtime, service
from .library import index as store
from .scene import assets as scene_assets
from .service import log

TICK = 0.02
BUDGET = 0.03  # seconds of reading before Blender has its turn again; a single file may take longer

_known: "store.Index | None" = None
_work: "Work | None" = None


class Work:
    """One run over the libraries."""

    def __init__(self, folders: list):
        self.files: Iterator = store.blend_files(folders)
        self.seen: set[str] = set()
        self.read = 0
        self.actions = 0
        self.bad: list = []


def _file() -> Path:
    return service.user_folder("library") / "index.json"


def _index() -> store.Index:
    global _known
    if _known is None:
        _known = store.load(_file())
    return _known


def assets() -> "list[store.Asset]":
    """The actions of other files, as they were when the libraries were read; those of the open file are left out."""
    return [asset for asset in _index().assets() if asset.file != bpy.data.filepath]


def folders() -> "list[Path]":
    """The asset libraries of the preferences that are there."""
    listed = bpy.context.preferences.filepaths.asset_libraries
    paths = [Path(bpy.path.abspath(library.path)) for library in listed if library.path]
    return [path for path in paths if path.is_dir()]


def running() -> "Work | None":
    """The run over the libraries, or None."""
    return _work


def begin() -> None:
    """Look for new and changed files in the libraries, and return at once."""
    global _work
    if _work is None:
        _work = Work(folders())
        bpy.app.timers.register(_tick, first_interval=0.0, persistent=True)


def cancel() -> None:
    """Stop; what was read so far is kept."""
    global _work
    if _work is not None:
        _work = None
        _save()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)


def _tick() -> "float | None":
    global _work
    try:
        step()
    except Exception:
        log.exception("reading the libraries failed")
        runtime.show_error(service.Error("internal", "The libraries could not be read.", "See the log."), "captions")
        _work = None
    runtime.redraw()
    return TICK if _work is not None else None


def step() -> None:
    """Read for a moment."""
    global _work
    end = time.monotonic() + BUDGET
    while _work is not None and time.monotonic() < end:
        try:
            path = next(_work.files)
        except StopIteration:
            _finish(_work)
            _work = None
            return
        if path is not None:
            _look(_work, path)


def _look(work: Work, path: Path) -> None:
    try:
        if str(path) != bpy.data.filepath and not _index().current(path):
            _index().put(path, scene_assets.read_assets(path))
            work.read += 1
        work.seen.add(str(path))
    except (OSError, RuntimeError) as error:
        log.warning("%s cannot be read: %s", path, error)
        work.bad.append(path.name)


def _finish(work: Work) -> None:
    _index().keep_only(work.seen)
    _save()
    count = len(assets())
    told = f"The asset libraries can be searched now. Actions: {count}, files: {len(work.seen)}."
    if work.bad:
        told += f" Files that could not be read: {len(work.bad)}, '{work.bad[0]}' among them."
    runtime.tell(told, "captions")


def _save() -> None:
    try:
        store.save(_file(), _index())
    except OSError as error:
        log.warning("the index of the libraries could not be written: %s", error)


def forget() -> None:
    """Read the stored index again when it is needed next."""
    global _known
    _known = None
