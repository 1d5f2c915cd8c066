"""What happens in a motion, in order: the measurements of body, limbs and posture as one list of events.

An event is a plain dict: kind, start, stop (frames) and its figures. Kinds and their fields:

- travel: gait (walk, run, step, crouch, crawl, kneel), way (forward, backward, left, right), distance (m), speed (m/s),
  turn (degrees, left positive), steps (0: not sure), aside (left, right: forward and to that side)
- turn (on the spot): turn; stop; land (from a flight that the motion begins with); stand (up from a low posture)
- jump: count, rise (m), way (up, forward, backward, left, right), length (m), leg (both, left, right), turn
- low: posture (see :func:`backend.data.postures.lows`), side, face, depth, began, ended, count
- bend: lean, began; lean: way
- raise, lower, hold: side (left, right, both), level (chest, shoulder, head, above)
- wave, punch, kick, clap, throw: side, count (kick: height)
- reach: side, to (front, down); spread; balance: side, seconds
"""

import itertools

import numpy as np

from backend.data import limbs
from backend.data.tracks import SIDES, Tracks, runs, swings

SHUFFLE = 0.45  # metres of travel that are not worth a word
TRAVEL = ("walk", "run", "backward", "left", "right")
BODY = ("travel", "turn", "jump", "land", "low", "stand", "stop", "bend")


def story(t: Tracks, found: dict) -> list[dict]:
    """The events of a motion, by start; ``found``: what the finders of ``measure`` gave."""
    events = _body(t, found) + _trunk(t, found) + _arms(t, found) + _strikes(t, found)
    for event in events:
        event["start"], event["stop"] = int(event["start"]), int(event["stop"])
    return sorted(events, key=lambda e: (e["start"], e["kind"] not in BODY))


def _body(t: Tracks, found: dict) -> list[dict]:
    """Travel, turns, jumps and low postures in order, with the stops and the standing up between them."""
    events: list[dict] = []
    phases = _merged(t, found["phases"])
    for i, p in enumerate(phases):
        before = events[-1] if events else None
        if p["kind"] in TRAVEL:
            beside = {phases[k]["kind"] for k in (i - 1, i + 1) if 0 <= k < len(phases)}
            if p["distance"] >= (0.7 if "jump" in beside else SHUFFLE):
                events += _travel(t, p, found["steps"])
        elif p["kind"] == "still" and before and before["kind"] == "travel" and before["speed"] > 0.7:
            if p["stop"] - p["start"] >= t.span(0.4) and p["start"] - before["stop"] <= 2:
                events.append({"kind": "stop", "start": p["start"], "stop": p["stop"]})
    events += _turns(t, phases)
    events += _jumps(t, found["jumps"])
    down = found["landing"]
    if down:
        shuffles = ("travel", "stop")
        events = [e for e in events if e["kind"] not in shuffles or e["start"] > down + 12 or e.get("distance", 0) > 1]
        events.append({"kind": "land", "start": 0, "stop": down + t.span(0.4)})
    lows = _lows(t, found)
    for low in (e for e in lows if e["kind"] == "low"):
        for e in events:
            # on the feet again before the pelvis is all the way up: first up, then away
            if e["kind"] == "travel" and e["start"] < low["stop"] + 5 < e["stop"] and e["start"] > low["start"]:
                e["start"] = low["stop"] + 5
    events += lows
    return sorted(events, key=lambda e: e["start"])


def _turns(t: Tracks, phases: list[dict]) -> list[dict]:
    """Turns on the spot by more than 35 degrees, seen from the feet, so that the hips may twist and sway."""
    events: list[dict] = []
    standing = np.zeros(t.frames, dtype=bool)
    for p in phases:
        away = p["kind"] in TRAVEL and p["distance"] >= SHUFFLE
        standing[p["start"] : p["stop"]] = not away and p["kind"] not in ("jump", "low")
    for a, b in runs(standing, t.span(0.3)):
        yaw = t.feet_yaw[a:b]
        for first, last in itertools.pairwise([0, *swings(yaw, 35.0), len(yaw) - 1]):
            turn = float(yaw[last] - yaw[first])
            if abs(turn) > 35 and last > first:
                done = (yaw[first : last + 1] - yaw[first]) / turn
                start, stop = a + first + int((done > 0.12).argmax()), a + first + int((done > 0.88).argmax())
                events.append({"kind": "turn", "start": start, "stop": stop + 1, "turn": round(turn, 1)})
    return events


def _merged(t: Tracks, phases: list) -> list[dict]:
    """Phases as dicts; walking and running that differ by less than a change of gait are one phase."""
    result: list[dict] = []
    for p in (dict(vars(p)) for p in phases):
        last = result[-1] if result else None
        gaits = {last["kind"], p["kind"]} if last else set()
        near = last and abs(last["speed"] - p["speed"]) < 0.9
        # a way between two directions sways from one to the other
        brief = last and min(last["stop"] - last["start"], p["stop"] - p["start"]) < t.span(0.9)
        sways = brief and gaits in ({"walk", "left"}, {"walk", "right"}, {"backward", "left"}, {"backward", "right"})
        same = len(gaits) == 1 and p["kind"] in TRAVEL
        if near and (gaits == {"walk", "run"} or sways) or same:
            longer = max(last, p, key=lambda q: q["stop"] - q["start"])
            turn = t.yaw[p["stop"] - 1] - t.yaw[last["start"]]
            distance = last["distance"] + p["distance"]
            seconds = (p["stop"] - last["start"]) / t.fps
            last |= {"kind": longer["kind"], "stop": p["stop"], "distance": distance, "turn": float(turn)}
            last["speed"] = distance / seconds
        else:
            result.append(p)
    return result


def _travel(t: Tracks, p: dict, steps: list[dict]) -> list[dict]:
    way = "forward" if p["kind"] in ("walk", "run") else p["kind"]
    inside = [s for s in steps if p["start"] - 3 <= (s["start"] + s["stop"]) / 2 <= p["stop"] + 3]
    frames = slice(p["start"], p["stop"])
    gliding = (t.lowest[frames] > 0.03) & (t.feet_speed[frames].min(1) > 0.5 * t.speed[frames])
    hangs = gliding.mean() > (0.75 if p["kind"] == "run" else 0.5)
    sways = not inside and (t.feet_speed[frames].max(1) < 0.25).mean() > 0.6
    if hangs or sways:
        return []  # the way is not made by the feet
    if p["distance"] < 1.5 and abs(p["turn"]) > 120 * p["distance"]:
        return [{"kind": "turn", "start": p["start"], "stop": p["stop"], "turn": round(p["turn"], 1)}]
    count, rate = len(inside), len(inside) / (p["stop"] - p["start"]) * t.fps
    if rate > 3.6 or way in ("forward", "backward") and abs(limbs.strides(t, p["start"], p["stop"]) - count) > 1:
        count = 0
    gait = "run" if p["kind"] == "run" else "step" if p["distance"] < 0.8 else "walk"
    off = np.degrees(np.arctan2(t.velocity[frames, 1].sum(), t.velocity[frames, 0].sum()))
    aside = ("left" if off > 0 else "right") if way == "forward" and 25 < abs(off) < 70 and p["distance"] > 0.8 else ""
    return [{
        "kind": "travel", "start": p["start"], "stop": p["stop"], "gait": gait, "way": way,
        "distance": round(p["distance"], 2), "speed": round(p["speed"], 2), "turn": round(p["turn"], 1), "steps": count,
        "aside": aside,
    }]  # fmt: skip


def _jumps(t: Tracks, jumps: list[dict]) -> list[dict]:
    """Jumps; those that follow each other within two seconds and go the same way are counted together."""
    events: list[dict] = []
    for j in jumps:
        length = float(np.hypot(j["forward"], j["left"]))
        way = "up"
        if length > 0.4:
            ahead = abs(j["forward"]) >= abs(j["left"])
            way = ("forward" if j["forward"] > 0 else "backward") if ahead else "left" if j["left"] > 0 else "right"
        last = events[-1] if events else None
        if last and j["start"] - last["stop"] < t.span(1.8) and (last["way"], last["leg"]) == (way, j["leg"]):
            last["count"] += 1
            last["rise"], last["length"] = max(last["rise"], j["rise"]), round(max(last["length"], length), 2)
            last["turn"], last["stop"] = round(last["turn"] + j["turn"], 1), j["stop"]
        else:
            events.append({
                "kind": "jump", "start": j["start"], "stop": j["stop"], "count": 1, "rise": j["rise"], "way": way,
                "length": round(length, 2), "leg": j["leg"], "turn": j["turn"],
            })  # fmt: skip
    return events


def _lows(t: Tracks, found: dict) -> list[dict]:
    events: list[dict] = []
    for low in found["lows"]:
        jumping = any(low["start"] - 3 <= j["stop"] and j["start"] <= low["stop"] + 3 for j in found["jumps"])
        jumping = jumping or bool(found["landing"]) and low["start"] <= found["landing"] + 6
        if jumping and low["stop"] - low["start"] < t.span(1.2):
            continue  # the dip before or after a flight
        if (
            low["distance"] > 0.8
            and (low["depth"] > 0.45 or low["posture"] in ("lie", "fours"))
            and low["posture"]
            in (
                "squat",
                "crouch",
                "lunge",
                "wide",
                "bend",
                "fours",
                "kneel",
                "lie",
            )
        ):
            events.append(_low_travel(t, low, found["steps"]))
            continue
        last = events[-1] if events and events[-1]["kind"] == "low" else None
        again = last and (last["posture"], last["side"]) == (low["posture"], low["side"]) and not last["began"]
        if again and low["start"] - last["stop"] < t.span(1.5):
            last["count"], last["stop"], last["ended"] = last["count"] + 1, low["stop"], low["ended"]
            last["depth"] = min(last["depth"], low["depth"])
        else:
            fields = ("start", "stop", "posture", "side", "face", "depth", "began", "ended")
            events.append({"kind": "low", "count": 1} | {k: low[k] for k in fields})
    up = []
    for i, e in enumerate(events):
        end = events[i + 1]["start"] if i + 1 < len(events) else t.frames
        after = t.height[e["stop"] : end]
        if e["kind"] == "low" and not e["ended"] and len(after) > t.span(0.2) and after.max() > 0.82:
            stop = e["stop"] + int(after.argmax()) + 1
            up.append({"kind": "stand", "start": e["stop"], "stop": min(stop, e["stop"] + t.span(1.0))})
    return events + up


def _low_travel(t: Tracks, low: dict, steps: list[dict]) -> dict:
    a, b = low["start"], low["stop"]
    gait = {"fours": "crawl", "lie": "crawl", "kneel": "kneel"}.get(low["posture"], "crouch")
    forward, left = float(t.velocity[a:b, 0].mean()), float(t.velocity[a:b, 1].mean())
    ahead = abs(forward) >= abs(left)
    way = ("forward" if forward > 0 else "backward") if ahead else "left" if left > 0 else "right"
    count = sum(a <= s["stop"] <= b for s in steps) if gait == "crouch" else 0
    return {
        "kind": "travel", "start": a, "stop": b, "gait": gait, "way": way, "distance": low["distance"],
        "speed": round(float(t.speed[a:b].mean()), 2), "turn": round(float(t.yaw[b - 1] - t.yaw[a]), 1), "steps": count,
    }  # fmt: skip


def _trunk(t: Tracks, found: dict) -> list[dict]:
    low = [(e["start"], e["stop"]) for e in found["lows"]]
    free = lambda e: not any(a < e["stop"] and e["start"] < b for a, b in low)  # noqa: E731
    events = [{"kind": "bend"} | b for b in found["bends"] if free(b)]
    events += [
        {"kind": "lean"} | e
        for e in found["leans"]
        if not any(b["start"] - 15 < e["stop"] and e["start"] < b["stop"] + 15 for b in found["bends"])
    ]
    for side in SIDES:
        a, b = found["one_leg"][side]
        if b - a > t.span(1.2):
            events.append(
                {"kind": "balance", "start": a, "stop": b, "side": side, "seconds": round((b - a) / t.fps, 1)}
            )
    return events


def _arms(t: Tracks, found: dict) -> list[dict]:
    """Raising, lowering and holding hands and reaching; both hands at the same time are one event."""
    lists = {side: list(found["hands"][side]["moves"]) for side in SIDES}
    events = []
    for move in lists["left"]:
        gap = t.span(0.4)
        partner = next(
            (m for m in lists["right"] if m["kind"] == move["kind"] and abs(m["start"] - move["start"]) <= gap
             and (m["kind"] != "hold" or abs(m["stop"] - move["stop"]) <= 2 * gap)), None,
        )  # fmt: skip
        if partner:
            lists["right"].remove(partner)
            levels = ("chest", "shoulder", "head", "above")
            level = min(move["level"], partner["level"], key=levels.index)
            start, stop = min(move["start"], partner["start"]), max(move["stop"], partner["stop"])
            events.append(move | {"side": "both", "level": level, "start": start, "stop": stop})
        else:
            events.append(move | {"side": "left"})
    events += [move | {"side": "right"} for move in lists["right"]]
    for side, other in (("left", "right"), ("right", "left")):
        for r in found["reaches"][side]:
            both = any(q["kind"] == r["kind"] and q["start"] < r["stop"] and r["start"] < q["stop"]
                       for q in found["reaches"][other])  # fmt: skip
            if not both or side == "left":
                event = {"kind": "reach", "to": r["kind"], "side": "both" if both else side}
                events.append(event | {"start": r["start"], "stop": r["stop"]})
    return events + [{"kind": "spread"} | s for s in found["spreads"]]


def _strikes(t: Tracks, found: dict) -> list[dict]:
    events = [{"kind": "clap"} | c for c in found["claps"]]
    for side in SIDES:
        events += [{"kind": "wave", "side": side} | w for w in found["waves"][side]]
        events += [{"kind": "throw", "side": side} | x for x in found["throws"][side]]
        events += [{"kind": "kick", "side": side} | g for g in _groups(found["kicks"][side], t.span(2.0))]
        events += [{"kind": "punch", "side": side} | g for g in _groups(found["punches"][side], t.span(2.0))]
    return events


def _groups(strikes: list[dict], gap: int) -> list[dict]:
    """Strikes less than ``gap`` frames apart as one, with their count and greatest height."""
    groups: list[dict] = []
    for strike in strikes:
        last = groups[-1] if groups else None
        if last and strike["start"] - last["stop"] < gap:
            last["count"], last["stop"] = last["count"] + 1, strike["stop"]
            if "height" in last:
                last["height"] = max(last["height"], strike["height"])
        else:
            groups.append(strike | {"count": 1})
    return groups
