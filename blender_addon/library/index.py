"""What the asset libraries hold, kept in one small file of the user, so that searching opens no library."""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .search import Entry

log = logging.getLogger(__name__)
VERSION = 1
MAX_FILES = 5000  # blend files in all libraries; a wrongly chosen folder must not keep the computer busy


@dataclass(frozen=True)
class Asset:
    """An action that is an asset in another file."""

    file: str
    name: str
    caption: str = ""
    tags: tuple[str, ...] = ()

    @property
    def entry(self) -> Entry:
        return Entry(self.name, self.caption, self.tags)


@dataclass
class Index:
    """files: path -> [time of change, size, [[name, caption, [tags]], ...]]."""

    files: dict[str, list] = field(default_factory=dict)

    def current(self, path: Path) -> bool:
        """Is what is known of the file still true?"""
        known = self.files.get(str(path))
        return known is not None and known[:2] == _stamp(path)

    def put(self, path: Path, assets: list[Asset]) -> None:
        """Remember what a file holds now."""
        rows = [[asset.name, asset.caption, list(asset.tags)] for asset in assets]
        self.files[str(path)] = [*_stamp(path), rows]

    def keep_only(self, paths: set[str]) -> None:
        """Forget files that are gone or in no library any more."""
        self.files = {path: told for path, told in self.files.items() if path in paths}

    def assets(self) -> list[Asset]:
        """All of them, by file and name."""
        return [
            Asset(path, name, caption, tuple(tags))
            for path, told in sorted(self.files.items())
            for name, caption, tags in told[2]
        ]


def _stamp(path: Path) -> list:
    told = path.stat()
    return [told.st_mtime_ns, told.st_size]


def load(path: Path) -> Index:
    """The stored index; an empty one when there is none, or when it cannot be read (see the log)."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Index()
    except (OSError, ValueError) as error:
        log.warning("the index of the libraries cannot be read: %s", error)
        return Index()
    files = stored.get("files") if isinstance(stored, dict) and stored.get("version") == VERSION else None
    if not isinstance(files, dict):
        return Index()
    return Index({name: told for name, told in files.items() if _sound(told)})


def _sound(told: object) -> bool:
    if not (isinstance(told, list) and len(told) == 3 and isinstance(told[2], list)):
        return False
    return all(
        isinstance(row, list)
        and len(row) == 3
        and isinstance(row[0], str)
        and isinstance(row[1], str)
        and isinstance(row[2], list)
        and all(isinstance(tag, str) for tag in row[2])
        for row in told[2]
    )


def save(path: Path, index: Index) -> None:
    """Write the index, whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"version": VERSION, **asdict(index)}, ensure_ascii=False), encoding="utf-8")
    part.replace(path)


def blend_files(folders: list[Path]) -> Iterator[Path | None]:
    """The .blend files in ``folders`` and below, one at a time; None after a folder without any, so that the caller may
    pause. At most ``MAX_FILES``."""
    seen = 0
    for top in folders:
        for folder, inner, names in os.walk(top):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            for name in sorted(names):
                if name.lower().endswith(".blend"):
                    seen += 1
                    if seen > MAX_FILES:
                        log.warning("only the first %d files of the libraries were read", MAX_FILES)
                        return
                    yield Path(folder, name)
            yield None
