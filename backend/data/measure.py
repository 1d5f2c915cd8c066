"""What a motion does, in numbers: travel, speed, turning, jumps, posture, hands and feet. No words here.

Axes: metres, Y up; left and turning left (counter-clockwise seen from above) are positive.
"""

from dataclasses import dataclass

import numpy as np

from backend.data import limbs, postures
from backend.data.story import story
from backend.data.tracks import MOVING, SIDES, STANDING, Tracks, runs, smooth
from backend.motion.skeleton import JOINT_INDEX as J
from backend.motion.skeleton import Motion

__all__ = ["MOVING", "STANDING", "Segment", "Tracks", "find_phases", "mean_joint_speed", "measure", "runs", "smooth"]

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


def measure(motion: Motion) -> dict:
    """Everything the describer and the evaluation need to know about a motion, as plain numbers.

    forward, left: net travel (m) along the first heading; distance: path length; speed: mean speed while moving;
    turn: net heading change (degrees); jumps: see :func:`postures.jumps`; phases: list of :class:`Segment` as dicts;
    lowest: smallest pelvis height; lean: largest trunk lean; hand_speed, foot_speed: relative to the pelvis;
    left_hand, right_hand: highest wrist above the own shoulder (m), and *_over_head above the head joint;
    air: share of frames with both feet more than 6 cm up; steps: their number, on the spot too; events: what happens,
    in order (:func:`backend.data.story.story`); hands_apart: least
    distance of the wrists; left_busy, right_busy: mean speed of elbow and wrist; frames.
    """
    t = Tracks(motion)
    edge = max(1, min(10, t.frames // 4))
    first = np.radians(t.yaw[:edge].mean())
    moved = t.joints[-1, 0] - t.joints[0, 0]
    moving = t.speed > MOVING
    flights = postures.jumps(t)
    phases = find_phases(t, flights)
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
        "left_busy": t.relative_speed[:, [18, 20]].mean(),
        "right_busy": t.relative_speed[:, [19, 21]].mean(),
        "foot_speed": np.percentile(t.relative_speed[:, [7, 8]].max(1), 97),
        "left_hand": np.percentile(wrists[:, 0] - shoulders[:, 0], 95),
        "right_hand": np.percentile(wrists[:, 1] - shoulders[:, 1], 95),
        "left_over_head": np.percentile(wrists[:, 0] - head, 95),
        "right_over_head": np.percentile(wrists[:, 1] - head, 95),
        "air": (t.lowest > 0.06).mean(),
        "off_floor": (t.lowest > 0.25).mean(),
        "head_low": np.percentile(head, 3),
        "hands_apart": np.linalg.norm(t.joints[:, 20] - t.joints[:, 21], axis=1).min(),
        "mean_speed": t.mean_speed,
    }
    result = {key: round(float(value), 3) for key, value in result.items()}
    found = {
        "phases": phases,
        "steps": limbs.steps(t),
        "jumps": flights,
        "landing": postures.landing(t),
        "lows": postures.lows(t),
        "bends": postures.bends(t),
        "leans": postures.leans(t),
        "hands": {side: limbs.hand_events(t, side) for side in SIDES},
        "waves": {side: limbs.waves(t, side) for side in SIDES},
        "kicks": {side: limbs.kicks(t, side) for side in SIDES},
        "punches": {side: limbs.punches(t, side) for side in SIDES},
        "throws": {side: limbs.throws(t, side) for side in SIDES},
        "reaches": {side: limbs.reaches(t, side) for side in SIDES},
        "one_leg": {side: limbs.one_leg(t, side) for side in SIDES},
        "claps": limbs.claps(t),
        "spreads": limbs.spreads(t),
    }
    result["frames"] = t.frames
    result["jumps"] = flights
    result["steps"] = max(len(found["steps"]), limbs.lifts(t))
    result["phases"] = [vars(s) for s in phases]
    result["hands"] = {s: {k: v for k, v in found["hands"][s].items() if k != "moves"} for s in SIDES}
    result["kicks"] = {side: len(found["kicks"][side]) for side in SIDES}
    result["punches"] = {side: len(found["punches"][side]) for side in SIDES}
    result["waves"] = {side: bool(found["waves"][side]) for side in SIDES}
    result["one_leg"] = {side: round((b - a) / t.fps, 2) for side, (a, b) in found["one_leg"].items()}
    result["bends"] = [[b["start"], b["stop"]] for b in found["bends"]]
    result["events"] = story(t, found)
    return result


def mean_joint_speed(motion: Motion) -> float:
    """Mean speed of all joints in m/s."""
    if motion.frames < 2:
        return 0.0
    return float(np.linalg.norm(np.diff(motion.joints(), axis=0), axis=-1).mean() * motion.fps)


def find_phases(t: Tracks, flights: list[dict]) -> list[Segment]:
    """The motion cut into phases of one kind of movement of the whole body."""
    angle = np.degrees(np.arctan2(t.velocity[:, 1], t.velocity[:, 0]))
    kinds = np.full(t.frames, "still", dtype=object)
    moving = t.speed > MOVING
    kinds[moving & (np.abs(angle) <= 50)] = "walk"
    kinds[moving & (np.abs(angle) > 130)] = "backward"
    kinds[moving & (angle > 50) & (angle <= 130)] = "left"
    kinds[moving & (angle < -50) & (angle >= -130)] = "right"
    rate = t.rate(t.yaw)
    # the hips of a bent body twist without a turn of the person
    upright = (smooth(t.lean, 9) < 40) & (t.up > 0.75)
    kinds[~moving & (np.abs(rate) > 45) & upright] = "turn"
    kinds[smooth(t.height, 5) < postures.LOW] = "low"
    # running: fast, or both feet travel with the body for a while (the flight between the steps)
    flight = smooth((t.feet_speed.min(1) > 0.5 * t.speed).astype(float), t.span(0.8))
    kinds[(kinds == "walk") & ((t.speed > 2.4) | ((t.speed > 1.4) & (flight > 0.08)))] = "run"
    segments = _segments(kinds, round(LEAST_SEGMENT * t.fps))
    for jump in flights:
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
