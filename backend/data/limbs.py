"""What hands and feet do: steps, kicks, punches, waves, claps, throws, raised hands. Numbers only, no words.

Every finder takes :class:`backend.data.tracks.Tracks` and gives stretches of frames (start, stop) with figures in
metres, seconds and degrees; thresholds are sizes and speeds of an adult body 1.7 m tall.
"""

import numpy as np

from backend.data.tracks import SIDES, Tracks, close, length, runs, smooth, swings
from backend.motion.skeleton import JOINT_INDEX as J

STRIDE = 0.15  # metres that a foot moves in a step
LOW_HAND = -0.30  # a wrist so far below its shoulder hangs down
HIGH_HAND = 0.10  # above the shoulder: the hand is up


def steps(t: Tracks) -> list[dict]:
    """Steps in order: {start, stop, side, length}: a foot is quicker than the body, goes at least 15 cm and lands."""
    found = []
    direction = t.velocity / np.maximum(t.speed[:, None], 0.05)
    for i, side in enumerate(SIDES):
        ankle = t.joints[:, J[f"{side}_ankle"]]
        forward, left = t.heading(t.rate(ankle))
        along = forward * direction[:, 0] + left * direction[:, 1]
        along = np.where(t.speed > 0.2, along, np.hypot(forward, left))
        swing = (along > np.maximum(0.3, 0.6 * t.speed)) & (t.feet_speed[:, i] > 0.2)
        for a, b in close(runs(swing), t.span(0.07)):
            far = float(np.hypot(*(ankle[b - 1] - ankle[a])[[0, 2]]))
            if far >= STRIDE and t.span(0.1) <= b - a <= t.span(1.3):
                found.append({"start": a, "stop": b, "side": side, "length": round(far, 2)})
    return sorted(found, key=lambda s: s["stop"])


def strides(t: Tracks, start: int, stop: int) -> int:
    """Another estimate of the number of steps: how often one foot passes the other, seen along the way."""
    apart = t.joints[:, J["left_ankle"]] - t.joints[:, J["right_ankle"]]
    forward, _ = t.heading(apart)
    return len(swings(smooth(forward, 3)[start:stop], 0.16)) + 1


def lifts(t: Tracks) -> int:
    """How often a foot is lifted by 8 cm or more and put down: steps on the spot."""
    return sum(len(runs(t.ankles[:, i] > t.ankles[:, i].min() + 0.08, 3)) for i in (0, 1))


def arm(t: Tracks, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (T,3) of shoulder, elbow and wrist."""
    return tuple(t.joints[:, J[f"{side}_{part}"]] for part in ("shoulder", "elbow", "wrist"))


def hand_events(t: Tracks, side: str) -> dict:
    """When a hand is up. shoulder / head: stretches [start, stop] above shoulder and head height; out: arm held out
    sideways or to the front; share: part of the time above the shoulder; began_low, ended_low: the hand hung down
    before it first rose, after it was up last; moves: raises, lowers and holds in order (see :func:`_moves`)."""
    shoulder, elbow, wrist = arm(t, side)
    over = wrist[:, 1] - shoulder[:, 1]
    least = t.span(0.2)
    upright = (t.lean < 45) & (t.height > 0.4)
    up = runs((over > HIGH_HAND) & upright, least)
    # before the chest, the forearm up
    chest = (over > -0.15) & (wrist[:, 1] > elbow[:, 1] + 0.08) & upright
    raised = runs(chest | (over > HIGH_HAND) & upright, least)
    head = runs((wrist[:, 1] > t.joints[:, J["head"], 1] + 0.10) & upright, least)
    reach = length(wrist - shoulder)
    out = (reach > 0.45) & (np.abs(over) < 0.15) & upright
    began = bool(up) and float(over[: up[0][0] + 1].min()) < LOW_HAND and up[0][0] > 3
    ends = bool(up) and float(over[up[-1][1] - 1 :].min()) < LOW_HAND
    return {
        "shoulder": [list(x) for x in up],
        "head": [list(x) for x in head],
        "out": round(float(out.mean()), 3),
        "share": round(float((over > HIGH_HAND).mean()), 3),
        "began_up": bool(up) and up[0][0] <= 3,
        "began_low": began,
        "ended_low": ends,
        "moves": _moves(t, over, wrist[:, 1] - t.joints[:, J["head"], 1], close(raised, t.span(0.4))),
    }


def _moves(t: Tracks, over: np.ndarray, above: np.ndarray, up: list[tuple[int, int]]) -> list[dict]:
    """What a hand does to be up: {kind, level, start, stop}, kind raise (from hanging down), lower (to hanging down)
    or hold (0.7 s and more, slowly); level chest, shoulder, head or above (the head)."""
    found = []
    soon = t.span(1.5)
    for i, (a, b) in enumerate(up):
        top = float(np.percentile(above[a:b], 90))
        level = "above" if top > 0.15 else "head" if top > -0.12 else "shoulder"
        level = "chest" if over[a:b].max() < HIGH_HAND else level
        since = max(up[i - 1][1] if i else 0, a - soon)
        until = min(up[i + 1][0] if i + 1 < len(up) else t.frames, b + soon)
        low = np.flatnonzero(over[since:a] < LOW_HAND)
        down = np.flatnonzero(over[b:until] < LOW_HAND)
        if len(low):
            peak = a + int(over[a:b].argmax())
            found.append({"kind": "raise", "level": level, "start": since + int(low[-1]), "stop": peak + 1})
        if b - a >= t.span(0.7) and np.abs(np.diff(over[a:b])).mean() * t.fps < 0.45:
            found.append({"kind": "hold", "level": level, "start": a, "stop": b})
        if len(down):
            found.append({"kind": "lower", "level": level, "start": b, "stop": b + int(down[0]) + 1})
    return found


def waves(t: Tracks, side: str) -> list[dict]:
    """Raised hands that swing to and fro at least five times, at 1-5 swings a second: {start, stop, count}."""
    shoulder, elbow, wrist = arm(t, side)
    raised = (wrist[:, 1] > shoulder[:, 1] - 0.12) & (wrist[:, 1] > elbow[:, 1] + 0.05) & (t.speed < 1.8)
    found = []
    for start, stop in runs(raised, t.span(0.8)):
        path = (wrist - shoulder)[start:stop]
        path = path - smooth(path, t.span(0.9))
        axis = np.linalg.svd(path, full_matrices=False)[2][0]
        turns = swings(path @ axis, 0.07)
        if len(turns) >= 5:
            seconds = (turns[-1] - turns[0]) / t.fps
            if 1.0 < (len(turns) - 1) / max(seconds, 0.1) < 10:
                found.append({"start": start + turns[0], "stop": start + turns[-1] + 1, "count": (len(turns) + 1) // 2})
    return found


def kicks(t: Tracks, side: str) -> list[dict]:
    """Fast, high swings of a leg that stretches, front or side, while the body does not run: {start, stop, height}."""
    ankle = t.joints[:, J[f"{side}_ankle"]]
    other = SIDES[1 - SIDES.index(side)]
    fast = t.relative_speed[:, J[f"{side}_ankle"]] > 3.2
    high = (ankle[:, 1] > 0.38) & (ankle[:, 1] > t.joints[:, J[f"{other}_ankle"], 1] + 0.3)
    front, left = t.heading(ankle - t.joints[:, 0])
    reach = np.hypot(front, left)
    near = smooth((fast & (front > -0.1)).astype(float), 7) > 0
    hip, knee = t.joints[:, J[f"{side}_hip"]], t.joints[:, J[f"{side}_knee"]]
    straight = length(ankle - hip) > 0.88 * (length(knee - hip) + length(ankle - knee)).max()
    kick = near & high & (reach > 0.35) & (front > -0.1) & (t.speed < 1.6) & (t.up > 0.5)
    # what follows within half a second is the same kick
    return [
        {"start": a, "stop": b, "height": round(float(ankle[a:b, 1].max()), 2)}
        for a, b in close(runs(kick, 2), t.span(0.5))
        if straight[max(0, a - 4) : b + 4].any()  # a knee that stays bent only lifts the leg
    ]


def punches(t: Tracks, side: str) -> list[dict]:
    """Fast stretches of a bent arm at chest to head height, drawn back at once, while the body does not run."""
    shoulder, _, wrist = arm(t, side)
    relative = wrist - shoulder
    reach = length(relative)
    opening = t.rate(reach)
    height = relative[:, 1]
    hit = (opening > 1.6) & (height > -0.25) & (height < 0.35) & (t.speed < 1.6) & (t.lean < 50)
    found = []
    for a, b in close(runs(hit, 2), t.span(0.15)):
        end = min(t.frames, b + 4)
        before = reach[max(0, a - t.span(0.3)) : a + 1].min()
        after = reach[b - 1 : b + t.span(0.6)]
        peak = reach[a:end].max()
        back = after.min() < peak - 0.06 or b + t.span(0.3) >= t.frames
        if peak > 0.40 and peak - before > 0.12 and back:
            found.append({"start": a, "stop": b})
    return found


def claps(t: Tracks) -> list[dict]:
    """Hands that meet again and again in front of the body: {start, stop, count}."""
    left, right = t.joints[:, J["left_wrist"]], t.joints[:, J["right_wrist"]]
    apart = length(left - right)
    turns = swings(apart, 0.10)
    over = np.minimum(left[:, 1], right[:, 1]) - t.height
    meets = [i for i in turns if apart[i] < 0.20 and over[i] > -0.05]
    groups: list[list[int]] = []
    for frame in meets:
        if groups and frame - groups[-1][-1] <= t.span(1.2):
            groups[-1].append(frame)
        else:
            groups.append([frame])
    return [{"start": max(0, g[0] - 5), "stop": g[-1] + 5, "count": len(g)} for g in groups if len(g) >= 3]


def throws(t: Tracks, side: str) -> list[dict]:
    """A fast overarm swing: the hand was up and behind, shoots forward over the shoulder and drops: {start, stop}."""
    shoulder, _, wrist = arm(t, side)
    relative = wrist - shoulder
    ahead, _ = t.heading(relative)
    forward = t.rate(ahead)
    found = []
    for a, b in close(runs((forward > 3.0) & (relative[:, 1] > -0.1) & (t.speed < 2.5), 2), t.span(0.4)):
        back = slice(max(0, a - t.span(0.4)), a + 1)
        cocked = (ahead[back].min() < 0.05) and relative[back, 1].max() > 0.05
        drops = relative[b - 1 : b + t.span(0.6), 1].min() < relative[a:b, 1].max() - 0.2
        if cocked and drops:
            found.append({"start": max(0, a - t.span(0.2)), "stop": min(t.frames, b + 3)})
    return found


def reaches(t: Tracks, side: str) -> list[dict]:
    """Where a hand goes to besides up: {kind: front | down, start, stop}, 0.2 s and more; down is below the knees."""
    shoulder, _, wrist = arm(t, side)
    relative = wrist - shoulder
    ahead, _ = t.heading(relative)
    calm = (t.speed < 0.9) & (t.lean < 50) & (t.height > 0.75)
    front = (ahead > 0.38) & (np.abs(relative[:, 1]) < 0.28) & calm
    down = (wrist[:, 1] < 0.45) & (t.up > 0.0) & (t.height > 0.45)
    found = [{"kind": "front", "start": a, "stop": b} for a, b in close(runs(front, t.span(0.2)), t.span(0.4))]
    found += [{"kind": "down", "start": a, "stop": b} for a, b in close(runs(down, t.span(0.2)), t.span(0.4))]
    return sorted(found, key=lambda r: r["start"])


def spreads(t: Tracks) -> list[dict]:
    """Both arms stretched out sideways at shoulder height for half a second or more: {start, stop}."""
    mask = t.lean < 45
    for side, sign in zip(SIDES, (1, -1), strict=True):
        shoulder, _, wrist = arm(t, side)
        _, left = t.heading(wrist - shoulder)
        mask = mask & (left * sign > 0.36) & (np.abs(wrist[:, 1] - shoulder[:, 1]) < 0.25)
    return [{"start": a, "stop": b} for a, b in close(runs(mask, t.span(0.5)), t.span(0.4))]


def one_leg(t: Tracks, side: str) -> tuple[int, int]:
    """The longest stretch (start, stop) for which the body stands on this leg with the other foot well up."""
    i = SIDES.index(side)
    mask = (t.toes[:, i] < 0.06) & (t.ankles[:, 1 - i] > 0.30) & (t.speed < 0.5)
    return max(runs(mask), key=lambda r: r[1] - r[0], default=(0, 0))
