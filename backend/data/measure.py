"""What a motion does, in numbers: travel, speed, turning, jumps, posture, hands and feet. No words here.

Axes: metres, Y up; left and turning left (counter-clockwise seen from above) are positive.
"""

from dataclasses import dataclass

import numpy as np

from backend.motion.skeleton import JOINT_INDEX as J
from backend.motion.skeleton import Motion, global_rotations

STANDING = 0.94  # height of the pelvis of a standing canonical body
MOVING = 0.35  # m/s; below it the body shifts its weight but does not travel
LEAST_SEGMENT = 0.4  # seconds; shorter phases are joined to a neighbour


@dataclass
class Segment:
    """A phase of the motion. kind: still, walk, backward, left, right, run, turn, jump, low; frames start..stop."""

    kind: str
    start: int
    stop: int
    distance: float = 0.0
    turn: float = 0.0
    speed: float = 0.0


class Tracks:
    """Per-frame curves that the measurements share.

    joints (T,22,3); yaw (T,) degrees, unwrapped; velocity (T,2): forward and left in the body's own heading, m/s,
    smoothed over half a second; speed (T,); lean (T,) degrees of the trunk from upright.
    """

    def __init__(self, motion: Motion):
        self.fps = motion.fps
        self.frames = motion.frames
        self.joints = motion.joints().astype(np.float64)
        self.contacts = motion.contacts > 0.5
        root = motion.rotations[:, 0].astype(np.float64)
        yaw = np.unwrap(2.0 * np.arctan2(root[:, 2], root[:, 0]))
        window = max(1, round(0.5 * self.fps))
        smooth_yaw = smooth(yaw, window)
        self.yaw = np.degrees(smooth_yaw)
        pelvis = smooth(self.joints[:, 0], window)
        step = np.gradient(pelvis, axis=0) * self.fps if self.frames > 1 else np.zeros_like(pelvis)
        sine, cosine = np.sin(smooth_yaw), np.cos(smooth_yaw)
        forward = step[:, 0] * sine + step[:, 2] * cosine
        left = step[:, 0] * cosine - step[:, 2] * sine
        self.velocity = np.stack([forward, left], 1)
        self.speed = np.hypot(forward, left)
        trunk = self.joints[:, J["neck"]] - self.joints[:, 0]
        self.lean = np.degrees(np.arccos(np.clip(trunk[:, 1] / np.linalg.norm(trunk, axis=1), -1, 1)))
        self.up = global_rotations(motion.rotations[:, :])[:, 0, 1, 1]
        self.height = self.joints[:, 0, 1]
        self.toes = self.joints[:, [J["left_foot"], J["right_foot"]], 1]
        self.ankles = self.joints[:, [J["left_ankle"], J["right_ankle"]], 1]
        self.lowest = np.minimum(self.toes, self.ankles - 0.06).min(1)
        relative = self.joints - self.joints[:, :1]
        self.relative_speed = (
            np.linalg.norm(np.gradient(relative, axis=0), axis=-1) * self.fps
            if self.frames > 1
            else np.zeros(relative.shape[:2])
        )


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Running mean over ``window`` frames along axis 0; the ends are extended so that a straight line stays one."""
    if window < 2 or len(values) < 3:
        return values
    half = min(window // 2, len(values) - 1)
    head = 2 * values[0] - values[half:0:-1]
    tail = 2 * values[-1] - values[-2 : -half - 2 : -1]
    padded = np.concatenate([head, values, tail])
    total = np.cumsum(np.concatenate([np.zeros_like(padded[:1]), padded]), axis=0)
    return (total[2 * half + 1 :] - total[: -2 * half - 1]) / (2 * half + 1)


def runs(mask: np.ndarray, least: int = 1) -> list[tuple[int, int]]:
    """Stretches (start, stop) of True of at least ``least`` frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= least]


def measure(motion: Motion) -> dict:
    """Everything the describer and the evaluation need to know about a motion, as plain numbers.

    forward, left: net travel (m) along the first heading; distance: path length; speed: mean speed while moving;
    turn: net heading change (degrees); jumps: list of {start, stop, rise}; phases: list of :class:`Segment` as dicts;
    lowest: smallest pelvis height; lean: largest trunk lean; hand_speed, foot_speed: relative to the pelvis;
    left_hand, right_hand: highest wrist above the own shoulder (m), and *_over_head above the head joint;
    air: share of frames with both feet more than 6 cm up.
    """
    t = Tracks(motion)
    first = np.radians(t.yaw[: max(1, min(10, t.frames // 4))].mean())
    moved = t.joints[-1, 0] - t.joints[0, 0]
    edge = max(1, min(10, t.frames // 4))
    moving = t.speed > MOVING
    jumps = find_jumps(t)
    phases = find_phases(t, jumps)
    shoulders = t.joints[:, [J["left_shoulder"], J["right_shoulder"]], 1]
    wrists = t.joints[:, [J["left_wrist"], J["right_wrist"]], 1]
    head = t.joints[:, J["head"], 1]
    result = {
        "seconds": round(motion.seconds, 3),
        "forward": moved[0] * np.sin(first) + moved[2] * np.cos(first),
        "left": moved[0] * np.cos(first) - moved[2] * np.sin(first),
        "distance": t.speed.sum() / t.fps,
        "speed": t.speed[moving].mean() if moving.any() else 0.0,
        "moving": moving.mean(),
        "turn": t.yaw[-edge:].mean() - t.yaw[:edge].mean(),
        "lowest": np.percentile(t.height, 3),
        "highest": t.height.max(),
        "lean": np.percentile(t.lean, 97),
        "up": np.percentile(t.up, 3),
        "hand_speed": np.percentile(t.relative_speed[:, [20, 21]].max(1), 95),
        "hand_activity": t.relative_speed[:, [18, 19, 20, 21]].mean(),
        "foot_speed": np.percentile(t.relative_speed[:, [7, 8]].max(1), 97),
        "left_hand": np.percentile(wrists[:, 0] - shoulders[:, 0], 95),
        "right_hand": np.percentile(wrists[:, 1] - shoulders[:, 1], 95),
        "left_over_head": np.percentile(wrists[:, 0] - head, 95),
        "right_over_head": np.percentile(wrists[:, 1] - head, 95),
        "air": (t.lowest > 0.06).mean(),
        "off_floor": (t.lowest > 0.25).mean(),
        "head_low": np.percentile(head, 3),
        "mean_speed": mean_joint_speed(motion),
    }
    result = {key: round(float(value), 3) for key, value in result.items()}
    result["jumps"] = jumps
    result["steps"] = count_steps(t)
    result["phases"] = [vars(s) for s in phases]
    result["hands"] = {side: hand_events(t, side) for side in ("left", "right")}
    result["kicks"] = {side: find_kicks(t, side) for side in ("left", "right")}
    result["punches"] = {side: find_punches(t, side) for side in ("left", "right")}
    result["waves"] = {side: is_waving(t, side) for side in ("left", "right")}
    result["one_leg"] = {side: one_leg(t, side) for side in ("left", "right")}
    result["bends"] = [[a, b] for a, b in runs((t.lean > 50) & (t.up > 0.2) & (t.height > 0.55), round(0.25 * t.fps))]
    return result


def mean_joint_speed(motion: Motion) -> float:
    """Mean speed of all joints in m/s."""
    if motion.frames < 2:
        return 0.0
    return float(np.linalg.norm(np.diff(motion.joints(), axis=0), axis=-1).mean() * motion.fps)


def find_jumps(t: Tracks) -> list[dict]:
    """Flights with both feet clearly off the floor; the flights of running are no jumps."""
    found = []
    for start, stop in runs(t.lowest > 0.05, max(3, round(0.12 * t.fps))):
        seconds = (stop - start) / t.fps
        before = t.height[max(0, start - round(0.5 * t.fps)) : start + 1]
        rise = t.height[start:stop].max() - min(np.median(before), STANDING) if len(before) else 0.0
        clearance = t.lowest[start:stop].max()
        inside = start > 0 and stop < t.frames
        speed = t.speed[start:stop].mean()
        need = 0.10 if speed < 1.5 else 0.16
        if inside and seconds < 1.2 and clearance > need and rise > 0.06 + (0.06 if speed > 1.5 else 0):
            found.append({"start": start, "stop": stop, "rise": round(float(rise), 3), "speed": round(float(speed), 2)})
    return found


def find_phases(t: Tracks, jumps: list[dict]) -> list[Segment]:
    """The motion cut into phases of one kind of movement of the whole body."""
    angle = np.degrees(np.arctan2(t.velocity[:, 1], t.velocity[:, 0]))
    kinds = np.full(t.frames, "still", dtype=object)
    moving = t.speed > MOVING
    kinds[moving & (np.abs(angle) <= 50)] = "walk"
    kinds[moving & (np.abs(angle) > 130)] = "backward"
    kinds[moving & (angle > 50) & (angle <= 130)] = "left"
    kinds[moving & (angle < -50) & (angle >= -130)] = "right"
    rate = np.gradient(t.yaw) * t.fps if t.frames > 1 else np.zeros(1)
    # the hips of a bent body twist without a turn of the person
    upright = (smooth(t.lean, 9) < 40) & (t.up > 0.75)
    kinds[~moving & (np.abs(rate) > 45) & upright] = "turn"
    kinds[smooth(t.height, 5) < 0.74] = "low"
    # running: fast, or clearly airborne between steps
    air = smooth((t.lowest > 0.03).astype(float), max(1, round(0.8 * t.fps)))
    kinds[(kinds == "walk") & ((t.speed > 2.3) | ((t.speed > 1.7) & (air > 0.08)))] = "run"
    segments = _segments(kinds, round(LEAST_SEGMENT * t.fps))
    for jump in jumps:
        segments = _insert(segments, Segment("jump", max(0, jump["start"] - 3), min(t.frames, jump["stop"] + 3)))
    edge = 5
    for s in segments:
        s.distance = round(float(t.speed[s.start : s.stop].sum() / t.fps), 3)
        s.speed = round(float(t.speed[s.start : s.stop].mean()), 3)
        first, last = t.yaw[s.start : s.start + edge].mean(), t.yaw[max(s.start, s.stop - edge) : s.stop].mean()
        s.turn = round(float(last - first), 1)
    return segments


def _segments(kinds: np.ndarray, least: int) -> list[Segment]:
    segments: list[Segment] = []
    for frame, kind in enumerate(kinds):
        if segments and segments[-1].kind == kind:
            segments[-1].stop = frame + 1
        else:
            segments.append(Segment(str(kind), frame, frame + 1))
    # the shortest phase joins its longer neighbour until none is too short
    while len(segments) > 1:
        i = min(range(len(segments)), key=lambda k: segments[k].stop - segments[k].start)
        if segments[i].stop - segments[i].start >= least:
            break
        around = [k for k in (i - 1, i + 1) if 0 <= k < len(segments)]
        k = max(around, key=lambda n: segments[n].stop - segments[n].start)
        segments[k].start = min(segments[k].start, segments[i].start)
        segments[k].stop = max(segments[k].stop, segments[i].stop)
        del segments[i]
        merged: list[Segment] = []
        for s in segments:
            if merged and merged[-1].kind == s.kind:
                merged[-1].stop = s.stop
            else:
                merged.append(s)
        segments = merged
    return segments


def _insert(segments: list[Segment], new: Segment) -> list[Segment]:
    result = []
    for s in segments:
        if s.stop <= new.start or s.start >= new.stop:
            result.append(s)
            continue
        if s.start < new.start:
            result.append(Segment(s.kind, s.start, new.start))
        if s.stop > new.stop:
            result.append(Segment(s.kind, new.stop, s.stop))
    return sorted([*result, new], key=lambda s: s.start)


def count_steps(t: Tracks) -> int:
    """Foot placements: how often a foot comes to the ground."""
    feet = np.stack([t.contacts[:, :2].any(1), t.contacts[:, 2:].any(1)], 1).astype(int)
    return int((np.diff(feet, axis=0) > 0).sum())


def _arm(t: Tracks, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(t.joints[:, J[f"{side}_{part}"]] for part in ("shoulder", "elbow", "wrist"))


def hand_events(t: Tracks, side: str) -> dict:
    """When a hand is up. shoulder / head: stretches [start, stop] above shoulder and head height; out: arm held out
    sideways or to the front; share: part of the time above the shoulder; began_low, ended_low: the hand hung down
    before it first rose, after it was up last."""
    shoulder, _, wrist = _arm(t, side)
    over = wrist[:, 1] - shoulder[:, 1]
    least = max(3, round(0.2 * t.fps))
    upright = (t.lean < 45) & (t.height > 0.7)
    up = runs((over > 0.10) & upright, least)
    head = runs((wrist[:, 1] > t.joints[:, J["head"], 1] + 0.10) & upright, least)
    reach = np.linalg.norm(wrist - shoulder, axis=1)
    out = (reach > 0.45) & (np.abs(over) < 0.15) & upright
    began = bool(up) and float(over[: up[0][0] + 1].min()) < -0.22 and up[0][0] > 3
    ends = bool(up) and float(over[up[-1][1] - 1 :].min()) < -0.22
    return {
        "shoulder": [list(x) for x in up],
        "head": [list(x) for x in head],
        "out": round(float(out.mean()), 3),
        "share": round(float((over > 0.10).mean()), 3),
        "began_up": bool(up) and up[0][0] <= 3,
        "began_low": began,
        "ended_low": ends,
    }


def is_waving(t: Tracks, side: str) -> bool:
    """A raised hand that swings to and fro at least four times within its time up, at 1-5 swings a second."""
    shoulder, elbow, wrist = _arm(t, side)
    raised = (wrist[:, 1] > shoulder[:, 1] - 0.12) & (wrist[:, 1] > elbow[:, 1] + 0.05) & (t.speed < 0.5)
    for start, stop in runs(raised, round(0.8 * t.fps)):
        path = (wrist - shoulder)[start:stop]
        path = path - smooth(path, round(0.9 * t.fps))
        axis = np.linalg.svd(path, full_matrices=False)[2][0]
        swing = path @ axis
        turns, last, count = 0.04, 0, 0
        for value in swing:
            sign = 1 if value > turns else -1 if value < -turns else 0
            if sign and sign != last:
                count += 1
                last = sign
        if count >= 5 and 1.0 < count / ((stop - start) / t.fps) < 10:
            return True
    return False


def find_kicks(t: Tracks, side: str) -> int:
    """Fast, high swings of a foot to the front or side while the body does not run."""
    ankle = t.joints[:, J[f"{side}_ankle"]]
    other = "right" if side == "left" else "left"
    fast = t.relative_speed[:, J[f"{side}_ankle"]] > 3.2
    high = (ankle[:, 1] > 0.38) & (ankle[:, 1] > t.joints[:, J[f"{other}_ankle"], 1] + 0.3)
    ahead = (ankle - t.joints[:, 0])[:, [0, 2]]
    yaw = np.radians(t.yaw)
    front = ahead[:, 0] * np.sin(yaw) + ahead[:, 1] * np.cos(yaw)
    reach = np.hypot(ahead[:, 0], ahead[:, 1])
    near = smooth((fast & (front > -0.1)).astype(float), 7) > 0
    kick = near & high & (reach > 0.35) & (front > -0.1) & (t.speed < 1.6) & (t.up > 0.5)
    found = runs(kick, 2)
    # what follows within half a second is the same kick
    return sum(1 for i, (a, _) in enumerate(found) if i == 0 or a - found[i - 1][1] > 0.5 * t.fps)


def find_punches(t: Tracks, side: str) -> int:
    """Fast stretches of an arm at chest to head height while the body does not run."""
    shoulder, _, wrist = _arm(t, side)
    reach = np.linalg.norm(wrist - shoulder, axis=1)
    opening = np.gradient(reach) * t.fps if t.frames > 1 else np.zeros(1)
    height = wrist[:, 1] - shoulder[:, 1]
    hit = (opening > 1.6) & (height > -0.25) & (height < 0.35) & (t.speed < 1.6) & (t.lean < 50)
    merged = smooth(hit.astype(float), 5) > 0
    return sum(1 for a, b in runs(merged, 2) if reach[a : min(t.frames, b + 4)].max() > 0.38)


def one_leg(t: Tracks, side: str) -> float:
    """Longest time in seconds for which the body stands on this leg with the other foot well up."""
    i = 0 if side == "left" else 1
    mask = (t.toes[:, i] < 0.06) & (t.ankles[:, 1 - i] > 0.30) & (t.speed < 0.5)
    return round(max((b - a for a, b in runs(mask)), default=0) / t.fps, 2)
