"""How windows lie on the disk: one split as arrays and rows, and the half-done work of an interrupted build.

A split is ``<split>.npz`` with ``rotations`` (sumT,22,4) float32 wxyz local, ``translation`` (sumT,3) float32,
``contacts`` (sumT,4) uint8, ``starts`` (N,) and ``lengths`` (N,) int64, and ``<split>.jsonl`` with one window a line
in the same order.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from backend.motion.skeleton import Motion
from backend.paths import BACKEND_FOLDER

Batch = tuple[list[Motion], dict]


def pack(motions: list[Motion]) -> dict[str, np.ndarray]:
    """Motions on the canonical skeleton as the arrays of a split."""
    lengths = np.array([m.frames for m in motions], dtype=np.int64)
    return {
        "rotations": _joined([m.rotations for m in motions], (22, 4), np.float32),
        "translation": _joined([m.translation for m in motions], (3,), np.float32),
        "contacts": _joined([m.contacts > 0.5 for m in motions], (4,), np.uint8),
        "starts": np.cumsum(lengths) - lengths,
        "lengths": lengths,
    }


def _joined(arrays: list[np.ndarray], shape: tuple[int, ...], kind: type) -> np.ndarray:
    return np.concatenate(arrays).astype(kind) if arrays else np.zeros((0, *shape), dtype=kind)


def unpack(arrays) -> list[Motion]:
    """The motions of a split; ``arrays`` as :func:`pack` gives them or as ``numpy.load`` does."""
    rotations, translation, contacts = arrays["rotations"], arrays["translation"], arrays["contacts"]
    parts = [slice(s, s + n) for s, n in zip(arrays["starts"], arrays["lengths"], strict=True)]
    return [Motion(rotations[p], translation[p], contacts=contacts[p]) for p in parts]


def write_rows(path: Path, rows: list[dict]) -> None:
    """One JSON object a line."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_split(folder: Path, name: str, motions: list[Motion], rows: list[dict]) -> None:
    with open(folder / f"{name}.npz", "wb") as file:
        np.savez(file, **pack(motions))
    write_rows(folder / f"{name}.jsonl", rows)


@cache
def code_hash() -> str:
    """Hash of the code and tables that a data set depends on."""
    digest = hashlib.sha256()
    for package in ("motion", "data"):
        for path in sorted((BACKEND_FOLDER / package).rglob("*")):
            if path.suffix in (".py", ".json"):
                digest.update(path.read_bytes())
    return digest.hexdigest()


class Work:
    """Results of slow steps in a folder, each written whole or not at all, so that an interrupted build goes on.

    They belong to one state of the code and of the source files; ``clear`` takes them away when the build is done.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)

    def batch(self, key: str, make: Callable[[], Batch]) -> Batch:
        """Motions and what goes with them (JSON), by the key of all that they depend on; made when not there yet."""
        name = hashlib.sha256(f"{code_hash()} {key}".encode()).hexdigest()[:24]
        path = self.folder / f"{name}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as arrays:
                return unpack(arrays), json.loads(str(arrays["facts"]))
        motions, facts = make()
        part = path.with_suffix(".part")
        with open(part, "wb") as file:
            np.savez(file, facts=np.array(json.dumps(facts)), **pack(motions))
        part.replace(path)
        # what was just made differs from what was stored (contacts are rounded): the same from both ways
        return unpack(pack(motions)), json.loads(json.dumps(facts))

    def clear(self) -> None:
        shutil.rmtree(self.folder)
