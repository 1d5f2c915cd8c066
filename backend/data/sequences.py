"""Which clips follow each other: sequences of two to four different actions whose poses fit."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from backend.data.acts import action
from backend.data.clean import IDLE_SPEED
from backend.data.join import MOST_SHIFT, MOST_TURN, join, pose_features
from backend.motion.skeleton import Motion

NEAR = 0.11  # metres; poses that are farther apart (see join.pose_features) are not joined
LEAST_PART = 30  # frames of a clip in a sequence
LEAST, MOST = 75, 300  # frames of a sequence
PARTS = {2: (0.55, 165), 3: (0.33, 105), 4: (0.12, 75)}  # parts: how often, frames that one may have
STEP = 4  # frames between the cuts that are tried
WASTE = 0.05  # metres of distance that the cutting away of a whole clip is worth
WHOLE = 0.15  # share of a clip from which on the phrases of its row may no longer hold
SEAM_JERK = 450.0  # m/s^3, or that of the clips themselves
DIMENSIONS = 40


def sequences(
    motions: Sequence[Motion],
    rows: Sequence[dict],
    count: int,
    random: np.random.Generator,
    check: Callable[[Motion], str | None],
    report: Counter,
) -> Iterator[tuple[Motion, list[dict]]]:
    """Up to ``count`` joined motions with their parts: dicts of window, start, stop (frames of the sequence),
    source_start, source_stop. ``check`` says why a motion is refused; ``report`` counts."""
    if not rows:
        return
    cuts = _Cuts(motions, rows)
    for _ in range(4 * count):
        if count <= 0:
            return
        chain = cuts.chain(random)
        if chain is None:
            continue
        report["joined: made"] += 1
        made, reason = _built(motions, chain)
        reason = reason or check(made)
        report[f"joined: {reason or 'passed'}"] += 1
        cuts.count(chain, reason is None)
        if reason is None:
            count -= 1
            yield made, _parts(chain)


def _built(motions: Sequence[Motion], chain: list[tuple[int, int, int]]) -> tuple[Motion | None, str | None]:
    """The motion of a chain of (window, first frame, last frame), or why there is none."""
    window, a, b = chain[0]
    made = motions[window].slice(a, b + 1)
    for window, a, b in chain[1:]:
        follower = motions[window]
        made, seam = join(made, made.frames - 1, follower.slice(a - 1, b + 1), 1)
        if seam.turn > MOST_TURN:
            return None, "poses differ"
        if seam.shift > MOST_SHIFT:
            return None, "foot moved too far"
        if seam.jerk > max(SEAM_JERK, 1.2 * _jerk(motions, chain)):
            return None, "jerk at the seam"
    return made, None


def _jerk(motions: Sequence[Motion], chain: list[tuple[int, int, int]]) -> float:
    """The 95th percentile of the jerk of the captured parts, m/s^3."""
    found = []
    for window, a, b in chain:
        joints = motions[window].joints()[a : b + 1].astype(np.float64)
        found.append(np.linalg.norm(np.diff(joints, n=3, axis=0), axis=-1).mean(1) * motions[window].fps ** 3)
    return float(np.percentile(np.concatenate(found), 95))


def _parts(chain: list[tuple[int, int, int]]) -> list[dict]:
    parts, at = [], 0
    for i, (window, a, b) in enumerate(chain):
        # the frame of the cut belongs to the second clip
        last = b + 1 if i == len(chain) - 1 else b
        parts.append({"window": window, "start": at, "stop": at + last - a, "source_start": a, "source_stop": last})
        at += last - a
    return parts


class _Cuts:
    """Where the windows can be left and entered, and which of them fit together."""

    def __init__(self, motions: Sequence[Motion], rows: Sequence[dict]):
        self.rows = rows
        self.frames = [m.frames for m in motions]
        self.features = [pose_features(m) for m in motions]
        names = [action(row) for row in rows]
        self.actions, self.size = np.unique(names, return_inverse=True)[1], Counter(names)
        self.rarity = np.array([self.size[name] ** -0.45 for name in names])
        self.clip = np.unique([row["clip"] for row in rows], return_inverse=True)[1]
        self.outs, self.ins = [], []
        for row, frames in zip(rows, self.frames, strict=True):
            # what is known by its name only is shown whole, or its name would not be true
            share = WHOLE if row.get("kind") == "piece" else 0.45
            self.outs.append(np.arange(frames - 1, max(LEAST_PART, int((1 - share) * frames)) - 1, -STEP)[::-1])
            self.ins.append(np.arange(1, max(2, min(frames - LEAST_PART, int(share * frames))), STEP))
        self.cost = self._costs()
        moving = np.array([row["labels"]["mean_speed"] > IDLE_SPEED for row in rows])
        self.cost[~moving] = self.cost[:, ~moving] = np.inf
        self.used = np.zeros(len(rows))
        self.pairs: Counter = Counter()

    def _costs(self) -> np.ndarray:
        """(N,N) smallest distance between a frame where row's window may end and one where column's may start."""
        count = len(self.rows)
        every = np.concatenate(self.features)
        middle = every.mean(0)
        _, axes = np.linalg.eigh(np.cov(every[::7].T - middle[:, None]))
        axes = axes[:, -DIMENSIONS:].astype(np.float32)
        entry = np.concatenate([f[i] for f, i in zip(self.features, self.ins, strict=True)]) - middle
        entry = entry @ axes
        waste = np.concatenate([WASTE * i / n for i, n in zip(self.ins, self.frames, strict=True)]).astype(np.float32)
        starts = np.cumsum([0] + [len(i) for i in self.ins[:-1]])
        square = (entry**2).sum(1)
        cost = np.full((count, count), np.inf, dtype=np.float32)
        for row, outs in enumerate(self.outs):
            if not len(outs):
                continue
            leave = (self.features[row][outs] - middle) @ axes
            apart = np.sqrt(np.maximum(square - 2 * leave @ entry.T + (leave**2).sum(1)[:, None], 0)) + waste
            apart += (WASTE * (1 - (outs + 1) / self.frames[row]))[:, None].astype(np.float32)
            cost[row] = np.minimum.reduceat(apart.min(0), starts)
        same = (self.actions[:, None] == self.actions) | (self.clip[:, None] == self.clip)
        cost[same] = np.inf
        return cost

    def chain(self, random: np.random.Generator) -> list[tuple[int, int, int]] | None:
        """Windows that follow each other with their first and last frames, or None where the drawn start has none."""
        count = int(random.choice(list(PARTS), p=[share for share, _ in PARTS.values()]))
        longest = PARTS[count][1]
        # every action is drawn about as often, a window less often the more it was used
        weight = self.rarity / (1 + self.used) ** 2 * (self.cost.min(1, initial=np.inf) < NEAR)
        if not weight.sum():
            return None
        window, first = int(random.choice(len(weight), p=weight / weight.sum())), 0
        chain: list[tuple[int, int, int]] = []
        while len(chain) < count - 1:
            step = self._next(window, first, longest, [w for w, _, _ in chain], random)
            if step is None:
                break
            follower, out, entry = step
            if not chain:
                first = max(0, out - longest)
            chain.append((window, first, out))
            window, first = follower, entry
        if not chain:
            return None
        chain.append((window, first, min(self.frames[window] - 1, first + longest)))
        total = sum(b - a for _, a, b in chain) + 1
        return chain if LEAST <= total <= MOST else None

    def _next(
        self, window: int, first: int, longest: int, before: list[int], random: np.random.Generator
    ) -> tuple[int, int, int] | None:
        """(next window, frame at which this one is left, frame at which the next is entered)."""
        cost = self.cost[window].copy()
        cost[[*before, window]] = np.inf
        fits = np.flatnonzero(cost < NEAR)
        if not len(fits):
            return None
        known = np.array([self.pairs[self.actions[window], self.actions[i]] for i in fits])
        weight = np.exp(-cost[fits] / 0.04) * self.rarity[fits] / (1 + self.used[fits]) ** 2 / (1 + known) ** 2
        for follower in random.choice(fits, size=min(5, len(fits)), replace=False, p=weight / weight.sum()):
            outs = self.outs[window]
            if before:
                outs = outs[(outs >= first + LEAST_PART) & (outs <= first + longest)]
            if not len(outs):
                return None
            ins = self.ins[follower]
            apart = np.linalg.norm(self.features[window][outs][:, None] - self.features[follower][ins], axis=-1)
            apart += WASTE * (1 - (outs + 1) / self.frames[window])[:, None] + WASTE * ins / self.frames[follower]
            i, j = np.unravel_index(np.argmin(apart), apart.shape)
            if apart[i, j] < NEAR:
                return int(follower), int(outs[i]), int(ins[j])
        return None

    def count(self, chain: list[tuple[int, int, int]], kept: bool) -> None:
        """Remember what was used, so that the next choice is another."""
        for window, _, _ in chain:
            self.used[window] += 1 if kept else 0.5
        for (a, _, _), (b, _, _) in zip(chain[:-1], chain[1:], strict=True):
            self.pairs[self.actions[a], self.actions[b]] += 1
            self.cost[a, b] = np.inf
