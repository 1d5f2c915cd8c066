"""The style packs that are there, by what they say of themselves. Standard library only."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from backend import paths

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass
class Style:
    """What a pack says of itself. ``head``: sha256 of the head.safetensors that it belongs to."""

    name: str
    label: str
    licence: str
    commercial: bool
    head: str
    rank: int = 8
    description: str = ""


def folders(checkpoint: Path) -> list[Path]:
    """Where packs are looked for: those that come with a checkpoint, then the user's own, which win."""
    return [Path(checkpoint) / "styles", paths.styles_folder()]


def installed(checkpoint: Path) -> dict[str, tuple[Style, Path]]:
    """The packs that fit the head of a checkpoint folder, by name, without PyTorch weights being read."""
    try:
        head = json.loads((Path(checkpoint) / "config.json").read_text(encoding="utf-8"))["sha256"]["head.safetensors"]
    except (OSError, ValueError, KeyError):
        return {}
    found = {}
    for folder in folders(checkpoint):
        for file in sorted(folder.glob("*/style.json")):
            style = read(file.parent)
            if style is not None and style.head == head:
                found[style.name] = style, file.parent
    return found


def read(folder: Path) -> Style | None:
    """The description of a pack, or None when it is not one."""
    try:
        values = json.loads((folder / "style.json").read_text(encoding="utf-8"))
        style = Style(**{key: values[key] for key in Style.__dataclass_fields__ if key in values})
    except (OSError, ValueError, TypeError):
        return None
    return style if NAME.fullmatch(style.name) and (folder / "style.safetensors").is_file() else None
