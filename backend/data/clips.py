"""Which clips there are: by a table ``clips.jsonl`` in a folder, else every motion file that can be read.

Stage 1 of the build. A clip is found with what is known about it (captions, licence, performer); nothing is read yet.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from backend.data import blender
from backend.errors import BackendError
from backend.motion import formats

RECIPES = ("shippable", "noncommercial")
READABLE = {"amc", "bvh", "txt117", "npz", "npy", "npy263"}
FILE_NAME, CAPTION_FILE = "file name", "caption file"


@dataclass
class Clip:
    """One source clip and what is known about it.

    captions: dicts with text, source, start, end (seconds or None), mirrored. trial: clips of one trial show the same
    performance, or parts of it. skip: why the clip is not used, or empty.
    """

    id: str
    path: Path
    format: str
    fps: float | None = None
    skeleton: Path | None = None
    captions: list[dict] = field(default_factory=list)
    subject: str | None = None
    trial: str = ""
    licence: str = "unknown"
    source: str = ""
    skip: str = ""
    animation: str | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str | None:
        """The name an animator gave the clip, where that is all that is known of it."""
        names = [c["text"] for c in self.captions if c.get("source") == "clip name"]
        return names[0] if names and self.format in blender.FORMATS else None

    @property
    def descriptions(self) -> list[str]:
        """What is said about the clip as a whole, in anybody's words."""
        return [c["text"] for c in self.captions if not is_sentence(c)]


def is_sentence(caption: dict) -> bool:
    """Whether a caption is a sentence somebody wrote about the motion, not a title or the name of a file."""
    source = str(caption.get("source", ""))
    return source.startswith("HumanML3D") or source == CAPTION_FILE


def find_clips(sources: list[Path], recipe: str, problems: list[str]) -> list[Clip]:
    """All clips of the folders. What cannot be understood is told in ``problems`` (file, line, why) and passed over.

    recipe 'shippable' marks the clips that may not be given away (``skip``). Raises BackendError('bad_request' or
    'bad_file') for an unknown recipe and for a source that is no folder.
    """
    if recipe not in RECIPES:
        raise BackendError("bad_request", f"There is no recipe {recipe!r}; use {' or '.join(map(repr, RECIPES))}.")
    found: dict[str, Clip] = {}
    for folder in map(Path, sources):
        if not folder.is_dir():
            raise BackendError("bad_file", f"{folder} is not a folder of motion files.")
        table = folder / "clips.jsonl"
        for clip in _of_table(table, recipe, problems) if table.is_file() else _of_folder(folder, problems):
            if clip.id in found:
                problems.append(f"{clip.path.name}: another clip is called {clip.id} too; this one is left out.")
            else:
                found[clip.id] = clip
    return list(found.values())


def _of_table(table: Path, recipe: str, problems: list[str]) -> Iterator[Clip]:
    for number, line in enumerate(table.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if line.strip():
            try:
                yield _from_row(table.parent, json.loads(line), recipe)
            except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
                problems.append(f"{table.name}, line {number}: this is no clip ({type(error).__name__}: {error}).")


def _from_row(folder: Path, row: dict, recipe: str) -> Clip:
    skip = ""
    fps = float(row.get("fps") or 30)
    if recipe == "shippable" and not row.get("shippable"):
        skip = "licence does not allow it"
    elif "importer test only" in (row.get("notes") or ()):
        skip = "for tests only"
    elif row["format"] not in READABLE | blender.FORMATS:
        skip = f"format {row['format']} is not read"
    elif row.get("excerpt"):
        if row.get("tempo_estimate"):
            fps /= float(row["tempo_estimate"])
        else:
            skip = "excerpt without a known tempo"
    elif row.get("quality") != "ok":
        skip = "marked odd"
    trial = row.get("same_trial_as") or row.get("trial") or row["id"]
    trial = trial if isinstance(trial, str) else trial[0]
    return Clip(
        row["id"], folder / row["file"], row["format"], fps, folder / row["skeleton"] if row.get("skeleton") else None,
        row.get("captions", []), row.get("subject"), trial.removeprefix("cmu_"), row.get("licence", "unknown"),
        row.get("source", ""), skip, row.get("animation"), float(row.get("seconds") or 0.0),
    )  # fmt: skip


def _of_folder(folder: Path, problems: list[str]) -> Iterator[Clip]:
    """Every motion file below the folder; ``<name>.txt`` beside one holds sentences about it, one a line."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    motions = [p for p in files if p.suffix.lower() in formats.READERS or p.suffix[1:].lower() in blender.FORMATS]
    told = {p.with_suffix("") for p in motions if p.suffix.lower() != ".txt"}
    for path in motions:
        text_file = path.suffix.lower() == ".txt"
        # a text file is a motion only with its skeleton table; beside a motion it holds that motion's captions
        if text_file and (path.with_suffix("") in told or not (path.parent / "skeleton.json").is_file()):
            continue
        kind = "txt117" if text_file else path.suffix[1:].lower()
        id_ = path.relative_to(folder).with_suffix("").as_posix()
        sentences = [] if text_file else _sentences(path.with_suffix(".txt"), problems)
        animations = glb_animations(path) if kind == "glb" else []
        for animation in animations or [None]:
            text = re.sub(r"[\W_]+", " ", animation or path.stem).strip()
            captions = [_caption(text, FILE_NAME), *(_caption(s, CAPTION_FILE) for s in sentences)]
            called = f"{id_}/{animation}" if len(animations) > 1 else id_
            yield Clip(called, path, kind, captions=captions, trial=called, source=folder.name, animation=animation)


def _caption(text: str, source: str) -> dict:
    return {"text": text, "start": None, "end": None, "mirrored": False, "source": source}


def _sentences(path: Path, problems: list[str]) -> list[str]:
    if not path.is_file():
        return []
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        problems.append(f"{path.name}: the captions are not UTF-8 text ({error.reason}).")
        return []


def glb_animations(path: Path) -> list[str]:
    """Names of the animations in a GLB file, empty when its header cannot be understood (the reader then says why)."""
    with open(path, "rb") as file:
        header = file.read(20)
        length = int.from_bytes(header[12:16], "little")
        if header[:4] != b"glTF" or header[16:20] != b"JSON" or length > path.stat().st_size:
            return []
        try:
            animations = json.loads(file.read(length)).get("animations", [])
            return [a["name"] for a in animations if a.get("name")]
        except (ValueError, AttributeError, TypeError):
            return []
