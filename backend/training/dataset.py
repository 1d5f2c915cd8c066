"""Windows of a built data set, as features in memory."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.motion import features
from backend.motion.skeleton import Motion


@dataclass
class Windows:
    """One split. features: list of (T,155) float32; rows: the describing dict of each window (captions, labels...)."""

    features: list[np.ndarray]
    rows: list[dict]
    motions: list[Motion]

    def __len__(self) -> int:
        return len(self.rows)


def load_windows(folder: Path, split: str, keep_motions: bool = False) -> Windows:
    """Read ``<split>.npz`` and ``<split>.jsonl`` of a built data set. Raises BackendError ``bad_file``."""
    folder = Path(folder)
    arrays, table = folder / f"{split}.npz", folder / f"{split}.jsonl"
    if not arrays.is_file() or not table.is_file():
        raise BackendError(
            "bad_file",
            f"There is no {split} split in {folder}.",
            "Build the data set first: python -m backend dataset build --source DIR --out DIR",
        )
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    found, motions = [], []
    with np.load(arrays, allow_pickle=False) as data:
        rotations, translation, contacts = data["rotations"], data["translation"], data["contacts"]
        for start, length in zip(data["starts"], data["lengths"], strict=True):
            part = slice(start, start + length)
            motion = Motion(rotations[part], translation[part], contacts=contacts[part])
            found.append(features.encode(motion))
            if keep_motions:
                motions.append(motion)
    if len(found) != len(rows):
        raise BackendError("bad_file", f"{arrays} and {table} do not describe the same windows.")
    return Windows(found, rows, motions)
