"""Look into a built data set: its statistics, and windows as text or as strips of stick figures."""

import json
import textwrap
from html import escape
from pathlib import Path

import numpy as np

from backend.data import store
from backend.data.describe import vocabulary
from backend.data.drawing import Png, Svg
from backend.errors import BackendError
from backend.motion.skeleton import JOINTS, Motion
from backend.protocol import PARENTS

LEFT, RIGHT, MIDDLE, GREY, BLACK = (30, 90, 200), (215, 85, 25), (60, 60, 60), (190, 190, 190), (20, 20, 20)
POSES, STEP, SIZE = 10, 100, 62  # figures in a strip, pixels between them, pixels a metre
HEIGHT, MAP = 165, 160  # pixels: a strip, the map of the way at its right end
WIDTH = POSES * STEP + MAP
# where the camera's right and its depth lie in the world (x, z): it sees the figure from its right front, from above
ACROSS, AWAY, TILT = np.array([0.6, 0.8]), np.array([0.8, -0.6]), np.radians(15)


def _load(folder: Path, split: str) -> tuple[dict, list[dict]]:
    table, summary = Path(folder) / f"{split}.jsonl", Path(folder) / "statistics.json"
    if not table.is_file() or not summary.is_file():
        raise BackendError("bad_file", f"There is no data set with a {split} split in {folder}.", "Build one first.")
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    return json.loads(summary.read_text(encoding="utf-8")), rows


def _choose(rows: list[dict], count: int, seed: int, find: str, kind: str) -> list[int]:
    fits = [
        i
        for i, row in enumerate(rows)
        if any(find in text for text in row["captions"]) and kind in ("", row.get("kind", ""))
    ]
    return [fits[i] for i in np.random.default_rng(seed).permutation(len(fits))[:count]]


def report(
    folder: Path, split: str = "train", count: int = 10, seed: int = 0, find: str = "", kind: str = "", most: int = 60
) -> str:
    """Statistics, the ``most`` frequent actions of a split and ``count`` random windows of it, as text for a terminal.

    find: only windows whose captions hold this text; kind: only windows of this kind. Raises BackendError.
    """
    statistics, rows = _load(folder, split)
    lines = [f"recipe {statistics['recipe']}"]
    for name, s in statistics["splits"].items():
        lines.append(
            f"{name}: {s['windows']} windows, {s['hours']} h, {s['clips']} clips, {s['captions']} captions "
            f"({s['different_captions']} different, {s['words']} words), idle {100 * s['idle_share']:.1f} %"
        )
        lines.append("  kinds: " + (", ".join(f"{k} {n}" for k, n in s["kinds"].items()) or "none"))
        if s["speeds"]:
            speeds = ", ".join(f"{q} {v}" for q, v in s["speeds"].items())
            lines.append(f"  speed while moving, m/s, of the windows that travel: {speeds}")
    lines += ["", "step by step:"]
    for step in statistics["steps"]:
        facts = ", ".join(f"{value} {what}" for what, value in step.items() if what != "step")
        lines.append(f"  {step['step']}: {facts}")
    lines += ["", "quality gates, by kind of window:"]
    for name, g in statistics["gates"].items():
        failed = ", ".join(f"{reason} {n}" for reason, n in g["failed"].items()) or "nothing"
        lines.append(f"  {name}: {g['passed']} of {g['made']} passed ({100 * g['rate']:.0f} %); failed: {failed}")
    for title, found in (
        ("left out:", [f"{n} x {reason}" for reason, n in statistics["dropped"].items() if n]),
        ("copies of one performance, kept on one side:", statistics["copies"]),
        ("moved to another split:", statistics["splits_changed"]),
        ("not understood:", statistics["unreadable"]),
    ):
        if found:
            lines += ["", title, *(f"  {line}" for line in found)]
    lines += ["", f"actions in {split} (windows, hours):"]
    actions = [f"{verb} {windows} ({hours:.2f})" for verb, windows, hours in vocabulary(rows)[:most]]
    lines += textwrap.wrap(", ".join(actions), 118, initial_indent="  ", subsequent_indent="  ")
    for i in _choose(rows, count, seed, find, kind):
        lines += ["", _title(rows[i]), *(f"  {text}" for text in rows[i]["captions"])]
    return "\n".join(lines)


def _title(row: dict) -> str:
    m = row["labels"]
    return (
        f"{row['id']}  {row.get('kind', '')}  {m['seconds']:.1f} s  {m['distance']:.1f} m  {m['speed']:.1f} m/s  "
        f"turn {m['turn']:.0f}"
    )


def pictures(
    folder: Path,
    split: str = "train",
    count: int = 10,
    seed: int = 0,
    find: str = "",
    kind: str = "",
    page: Path | None = None,
    png: Path | None = None,
) -> None:
    """Random windows as strips of stick figures with their captions: an HTML page and / or a PNG.

    The left side of the body is blue, the right orange; at the right end the way over the floor from above, upwards
    the direction in which the figure looks at first. Raises BackendError.
    """
    _, rows = _load(folder, split)
    chosen = _choose(rows, count, seed, find, kind)
    with np.load(Path(folder) / f"{split}.npz", allow_pickle=False) as arrays:
        motions = store.unpack(arrays)
    windows = [(motions[i], rows[i]) for i in chosen]
    try:
        if page:
            Path(page).write_text(_page(windows, f"{Path(folder).name}, {split}"), encoding="utf-8")
        if png:
            _picture(windows).save(Path(png))
    except OSError as error:
        raise BackendError("bad_file", f"{page or png} could not be written: {error.strerror}.") from error


def _page(windows: list[tuple[Motion, dict]], title: str) -> str:
    figures = []
    for motion, row in windows:
        svg = Svg(WIDTH, HEIGHT)
        strip(svg, motion, 0, 0)
        said = "".join(f"<li>{escape(text)}</li>" for text in row["captions"])
        figures.append(f"<figure><b>{escape(_title(row))}</b>{svg}<ul>{said}</ul></figure>")
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>
<style>body{{font:14px sans-serif;margin:1em}} figure{{margin:0 0 1.5em;border-top:1px solid #ccc}}
ul{{columns:2;margin:.2em 0}} svg{{display:block}}</style>
<h1>{escape(title)}</h1><p>Left side of the body blue, right side orange.
<input placeholder="show only captions with ..." size="40" oninput="for (const f of document.querySelectorAll('figure'))
 f.hidden = !f.textContent.toLowerCase().includes(this.value.toLowerCase())"></p>
{"".join(figures)}</html>
"""


def _picture(windows: list[tuple[Motion, dict]]) -> Png:
    letters = WIDTH // 6 - 2
    told = [
        [line for text in row["captions"] for line in textwrap.wrap(text, letters // 2, subsequent_indent="  ")]
        for _, row in windows
    ]
    heights = [HEIGHT + 14 + 10 * -(-len(lines) // 2) + 12 for lines in told]
    canvas = Png(WIDTH, max(sum(heights), 1))
    top = 0
    for (motion, row), lines, height in zip(windows, told, heights, strict=True):
        canvas.line((0, top), (WIDTH, top), GREY)
        canvas.text((4, top + 4), _title(row), BLACK)
        strip(canvas, motion, 0, top + 14)
        half = -(-len(lines) // 2)
        for i, line in enumerate(lines):
            canvas.text((8 + WIDTH // 2 * (i // half), top + HEIGHT + 16 + 10 * (i % half)), line, BLACK)
        top += height
    return canvas


def strip(canvas: Svg | Png, motion: Motion, left: float, top: float) -> None:
    """Draw the motion as a row of poses with the way over the floor at its right end."""
    joints = motion.joints()
    frames = np.unique(np.linspace(0, motion.frames - 1, POSES).round().astype(int))
    floor = top + HEIGHT - 30
    for number, frame in enumerate(frames):
        middle = left + STEP * (number + 0.5)
        flat = joints[frame][:, [0, 2]] - joints[frame, 0, [0, 2]]
        up = joints[frame][:, 1] * np.cos(TILT) + flat @ AWAY * np.sin(TILT)
        points = np.stack([middle + SIZE * flat @ ACROSS, floor - SIZE * up], 1)
        canvas.line((middle - 40, floor), (middle + 40, floor), GREY)
        # what is further away is drawn first
        for joint in sorted(range(1, 22), key=lambda j: -float(flat[j] @ AWAY)):
            side = LEFT if JOINTS[joint].startswith("left") else RIGHT if JOINTS[joint].startswith("right") else MIDDLE
            canvas.line(points[PARENTS[joint]], points[joint], side, 3)
        canvas.disc(points[JOINTS.index("head")] - np.array([0, 6]), 7, MIDDLE)
        canvas.text((middle - 12, floor + 16), f"{frame / motion.fps:.1f}s", GREY)
    _map(canvas, motion, frames, left + POSES * STEP + MAP / 2, top + HEIGHT / 2)


def _map(canvas: Svg | Png, motion: Motion, frames: np.ndarray, x: float, y: float) -> None:
    """The way of the pelvis from above around (x, y), with the heading at the drawn frames; x = left is on the left."""
    way = motion.translation[:, [0, 2]] * np.array([-1, 1])
    low, high = way.min(0), way.max(0)
    scale = (MAP / 2 - 22) / max(float((high - low).max()) / 2, 0.5)
    points = np.array([x, y]) + (way - (low + high) / 2) * scale * np.array([1, -1])
    for a, b in zip(points[:-1], points[1:], strict=True):
        canvas.line(a, b, GREY, 2)
    yaw = 2 * np.arctan2(motion.rotations[:, 0, 2], motion.rotations[:, 0, 0])
    for frame in frames:
        nose = points[frame] + 9 * np.array([-np.sin(yaw[frame]), -np.cos(yaw[frame])])
        canvas.line(points[frame], nose, MIDDLE, 1.5)
    canvas.disc(points[0], 4, LEFT)
    canvas.disc(points[-1], 4, RIGHT)
    canvas.text((x - 30, y + MAP / 2 - 12), f"{(high - low).max():.1f} m wide", GREY)
