"""Look into a built data set: its statistics, and windows as plain text."""

import json
from pathlib import Path

import numpy as np

from backend.errors import BackendError


def report(folder: Path, split: str = "train", count: int = 10, seed: int = 0, find: str = "") -> str:
    """Statistics and ``count`` random windows of a split whose captions hold ``find``, as text for a terminal."""
    folder = Path(folder)
    table, summary = folder / f"{split}.jsonl", folder / "statistics.json"
    if not table.is_file() or not summary.is_file():
        raise BackendError("bad_file", f"There is no data set with a {split} split in {folder}.", "Build one first.")
    statistics = json.loads(summary.read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    lines = []
    for name, s in statistics["splits"].items():
        lines.append(f"{name}: {s['windows']} windows, {s['hours']} h, {s['clips']} clips, {s['captions']} captions")
    lines += [f"left out: {count_} x {reason}" for reason, count_ in statistics["dropped"].items()]
    rows = [row for row in rows if any(find in text for text in row["captions"])]
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    for i in chosen:
        row = rows[i]
        m = row["labels"]
        lines.append(f"\n{row['id']}  {m['seconds']:.1f} s  {m['distance']:.1f} m  turn {m['turn']:.0f}")
        lines += [f"  {text}" for text in row["captions"]]
    return "\n".join(lines)
