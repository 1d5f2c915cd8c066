"""Clips that show the same performance: copies on another skeleton, overlapping cuts of one trial, loops of a clip.

The fingerprint of a frame is where head, arms and legs are around the pelvis, in the heading frame. Stretches of a
second are looked up among all clips at all times, and every pair that meets is laid over each other at the best offset.
Copies differ by less than 12 mm in the mean and 21 mm at the worst point, and their speeds go together (correlation
over 0.98), measured on copies of known trials on other skeletons. Two takes of the same walk by the same person are
further apart: 14 mm or more, 23 mm at the worst point.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backend.data.clean import SHORTEST_CLIP
from backend.motion import rotations as rot
from backend.motion.skeleton import JOINT_INDEX, Motion

_NAMES = ("left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck", "left_elbow", "right_elbow",
          "left_wrist", "right_wrist")  # fmt: skip
POINTS = [JOINT_INDEX[name] for name in _NAMES]
SAMPLES = np.arange(0, SHORTEST_CLIP, 4)  # frames of a stretch that is looked up
PROBE_STEP, STEP = 30, 2  # frames between stretches: those that are looked up, those that may be found
NEAR = 0.04  # metres, mean over points and samples, for a pair that is worth a closer look
LIVELY = 0.02  # metres of movement inside a stretch; people who stand are all alike
COPY, WORST, TOGETHER = 0.012, 0.022, 0.97  # metres, mean and worst point; correlation of the speeds
WHOLE = 0.8  # a clip of which so much is in another adds nothing


@dataclass(frozen=True)
class Copy:
    """``second`` shows what ``first`` shows. offset: frame t of first is frame t + offset of second; frames: how long;
    distance: mean over the points in metres; whole: the shorter one lies (almost) whole in the other."""

    first: str
    second: str
    offset: int
    frames: int
    distance: float
    whole: bool


def fingerprint(motion: Motion) -> np.ndarray:
    """(T,10,3) float32: knees, ankles, head, neck, elbows and wrists relative to the pelvis, heading frame, metres."""
    root = motion.rotations[:, 0].astype(np.float64)
    turn = rot.yaw_quaternion(-rot.heading(root))[:, None]
    joints = motion.joints().astype(np.float64)
    return rot.quaternion_rotate(turn, joints[:, POINTS] - joints[:, :1]).astype(np.float32)


def find(motions: dict[str, Motion], progress: Callable[[str], None] = lambda line: None) -> list[Copy]:
    """All pairs of clips {id: motion} of which one is a copy of the other or of a part of it."""
    ids = [id_ for id_, motion in motions.items() if motion.frames >= SHORTEST_CLIP]
    prints = [fingerprint(motions[id_]) for id_ in ids]
    if len(ids) < 2:
        return []
    found = []
    meetings = _meetings(prints, progress)
    for (a, b), offsets in sorted(meetings.items()):
        copy = _laid_over(prints[a], prints[b], offsets)
        if copy:
            distance, offset, frames = copy
            whole = frames >= WHOLE * min(len(prints[a]), len(prints[b]))
            found.append(Copy(ids[a], ids[b], offset, frames, distance, whole))
    return found


def _stretches(prints: list[np.ndarray], step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stretches (N,240), the clip (N,) and the frame (N,) in which each begins."""
    rows, clips, starts = [], [], []
    for number, points in enumerate(prints):
        at = np.arange(0, len(points) - SAMPLES[-1], step)
        rows.append(points[at[:, None] + SAMPLES].reshape(len(at), -1))
        clips.append(np.full(len(at), number))
        starts.append(at)
    return np.concatenate(rows), np.concatenate(clips), np.concatenate(starts)


def _meetings(prints: list[np.ndarray], progress: Callable[[str], None]) -> dict[tuple[int, int], list[int]]:
    """Pairs of clips (a < b) that come near each other -> the offsets at which they do, nearest first, at most four."""
    every, clip, start = _stretches(prints, STEP)
    probes, probe_clip, probe_start = _stretches(prints, PROBE_STEP)
    moved = probes.reshape(len(probes), len(SAMPLES), -1).std(1).reshape(len(probes), len(POINTS), 3)
    lively = np.linalg.norm(moved, axis=-1).mean(1) > LIVELY
    probes, probe_clip, probe_start = probes[lively], probe_clip[lively], probe_start[lively]
    limit = NEAR**2 * len(SAMPLES) * len(POINTS)
    squares = np.einsum("ij,ij->i", every, every)
    hits = []
    for begin in range(0, len(probes), 256):
        part = probes[begin : begin + 256]
        distance = np.einsum("ij,ij->i", part, part)[:, None] + squares - 2 * part @ every.T
        i, j = np.nonzero(distance < limit)
        i, distance = i + begin, distance[i, j]
        other = probe_clip[i] != clip[j]
        i, j, distance = i[other], j[other], distance[other]
        swap = probe_clip[i] > clip[j]
        offset = start[j] - probe_start[i]
        low, high = np.minimum(probe_clip[i], clip[j]), np.maximum(probe_clip[i], clip[j])
        hits.append(np.stack([low, high, np.where(swap, -offset, offset), distance], 1))
        if begin // 256 % 10 == 9:
            progress(f"copies: {begin + len(part)}/{len(probes)} stretches looked up")
    table = np.concatenate(hits) if hits else np.zeros((0, 4))
    found: dict[tuple[int, int], list[int]] = {}
    for a, b, offset, _ in table[np.argsort(table[:, 3], kind="stable")]:
        offsets = found.setdefault((int(a), int(b)), [])
        if len(offsets) < 4 and offset not in offsets:
            offsets.append(int(offset))
    return found


def _laid_over(a: np.ndarray, b: np.ndarray, offsets: list[int]) -> tuple[float, int, int] | None:
    """(distance, offset, frames) of the best of the offsets and their neighbours, or None when these are no copies."""
    best = None
    for offset in sorted({o + d for o in offsets for d in range(-STEP, STEP + 1)}):
        start, stop = max(0, -offset), min(len(a), len(b) - offset)
        if stop - start < SHORTEST_CLIP:
            continue
        distance = float(np.linalg.norm(a[start:stop] - b[start + offset : stop + offset], axis=-1).mean())
        if best is None or distance < best[0]:
            best = distance, offset, stop - start
    if best is None or best[0] > COPY:
        return None
    _, offset, frames = best
    start = max(0, -offset)
    a, b = a[start : start + frames], b[start + offset : start + offset + frames]
    if np.linalg.norm(a - b, axis=-1).mean(0).max() > WORST:
        return None
    x, y = (speed - speed.mean(0) for speed in (np.diff(a, axis=0), np.diff(b, axis=0)))
    together = (x * y).sum() / max(np.sqrt((x**2).sum() * (y**2).sum()), 1e-9)
    return best if together > TOGETHER else None


def redundant(copies: list[Copy], motions: dict[str, Motion], keep: frozenset[str] = frozenset()) -> dict[str, str]:
    """{clip that adds nothing: the clip that shows it too}. The longer one stays, of equal ones the first; clips in
    ``keep`` always do."""
    gone: dict[str, str] = {}
    for copy in copies:
        pair = sorted((copy.first, copy.second), key=lambda i: (-motions[i].frames, i != copy.first))
        stays, goes = pair
        if copy.whole and stays not in gone and goes not in gone and goes not in keep:
            gone[goes] = stays
    return gone
