"""Which events of a motion are worth telling, in which order, and which happen at the same time.

A beat is {"event", "ways" (see :func:`backend.data.wording.ways`), "weight", "with"}: "with" has the ways of what the
arms do meanwhile, or None.
"""

import re
from collections.abc import Sequence

from backend.data import activities
from backend.data.story import BODY
from backend.data.wording import Ways, ways

FEW = 4  # beats that a sentence can carry
_BENT = {"short": ["bends forward"], "plain": ["bends forward", "bends far forward"], "detail": ["bends far forward"]}
_ARMS = ("raise", "lower", "hold", "reach", "spread")


def beats(m: dict, descriptions: Sequence[str] = (), acts: Sequence[Sequence[str]] = ()) -> list[dict]:
    """The beats of a motion in order, at most four; ``acts``: what a description already names."""
    events = [dict(e) for e in m["events"]]
    if activities.seated(list(descriptions)):
        for e in events:
            if e["kind"] == "low" and e["posture"] in ("squat", "crouch", "bend", "lunge", "wide"):
                e["posture"], e["side"] = "sit", ""
    if activities.running(list(descriptions)):
        for e in events:
            if e["kind"] == "travel" and e["gait"] == "walk" and e["way"] == "forward" and e["speed"] > 1.4:
                e["gait"] = "run"
    if not activities.may_wave(list(descriptions)):
        events = [e for e in events if e["kind"] != "wave"]
    named = " ".join(p for act in acts for p in act)
    body = _body([e for e in events if e["kind"] in BODY])
    limbs = _limbs([e for e in events if e["kind"] not in BODY], body, m, named)
    return _ordered(body, limbs, m)


def _overlap(a: dict, b: dict, gap: int = 0) -> int:
    """Frames that two events share; ``gap`` widens the second."""
    return min(a["stop"], b["stop"] + gap) - max(a["start"], b["start"] - gap)


def _body(events: list[dict]) -> list[dict]:
    result: list[dict] = []
    for e in events:
        last = result[-1] if result else None
        walk = next(
            (q for q in events if q["kind"] == "travel" and _overlap(e, q) > 0.5 * (e["stop"] - e["start"])), None
        )
        if e["kind"] == "bend" and walk:
            walk["bent"] = True
            continue
        if e["kind"] == "bend" and last and last["kind"] == "bend" and e["start"] - last["stop"] < 90:
            last["count"], last["stop"] = last.get("count", 1) + 1, e["stop"]
            continue
        if e["kind"] == "stand" and last and last["kind"] == "low":
            crouched = last["posture"] in ("crouch", "lunge", "wide", "bend")
            if crouched and last["stop"] - last["start"] < 30:
                continue
            if last["count"] > 1:
                continue
            if crouched:
                e["ways"] = ["straightens up", "stands up straight", "comes up again"]
        if e["kind"] == "stop":
            e["walk"] = int(bool(last) and last.get("gait") == "walk")
        result.append(e)
    return result


def _limbs(events: list[dict], body: list[dict], m: dict, named: str) -> list[dict]:
    """What arms, hands and single legs do, without what follows from something else."""
    for kind, within in (("punch", 60), ("wave", 0), ("kick", 30)):
        events = _both(events, kind, within)
    kicks = re.search("kick|karate|martial|soccer|ball|fight|box", named)
    least = 0 if kicks else 0.75 if named else 0.5
    events = [e for e in events if e["kind"] != "kick" or e["height"] >= least]
    throws = [e for e in events if e["kind"] == "throw"]
    calm = len(throws) == 1 and m["distance"] < 1.5 and m["hand_activity"] < 0.9 and m["lowest"] > 0.8
    if not (calm and not named or re.search("throw|pitch|shoot|ball", named)):
        events = [e for e in events if e["kind"] != "throw"]
    punches = sum(e["count"] for e in events if e["kind"] == "punch")
    fights = re.search("punch|jab|box|fight|karate|martial", named)
    if not (fights or (punches >= 2 and m["hand_speed"] > 2.5 and not named)):
        events = [e for e in events if e["kind"] != "punch"]
    if named or fights or punches:
        # reaching and leaning are part of what is named already
        events = [e for e in events if e["kind"] != "lean" and (e["kind"] != "reach" or e["to"] == "down")]
    if fights:
        events = [e for e in events if e["kind"] not in _ARMS or e["kind"] == "reach"]
    strong = [e for e in events if e["kind"] in ("wave", "clap", "punch", "throw", "spread")]
    jumps = [e for e in body if e["kind"] == "jump"]
    down = [e for e in body if e["kind"] == "low" and e["posture"] in ("lie", "fours", "kneel", "upside", "floor")]
    down += [e for e in body if e["kind"] == "travel" and (e["gait"] in ("run", "crawl"))]
    result: list[dict] = []
    for e in sorted(events, key=lambda e: e["start"]):
        frames = e["stop"] - e["start"]
        if e["kind"] in _ARMS:
            if any(s is not e and _same_side(s, e) and _overlap(e, s, 12) > 0 for s in strong):
                continue
            if any(_overlap(e, j, 18) > 0 for j in jumps) and not (e["kind"] == "hold" and frames > 45):
                continue
            if any(_overlap(e, d) > 0.3 * frames for d in down) and e["kind"] != "hold":
                continue
        if e["kind"] == "throw" and any(p["kind"] == "punch" for p in events):
            continue
        if e["kind"] == "reach" and (e["to"] == "down" or frames < 12):
            _reach_down(e, body)
            continue
        last = next((q for q in reversed(result) if q.get("side") == e.get("side") and q["kind"] == "raise"), None)
        if e["kind"] == "hold" and last is None and (both := _raised(result)) and e["start"] - both["stop"] < 10:
            continue
        if last and e["kind"] == "hold" and e["start"] - last["stop"] < 10:
            last["kept"], last["stop"] = True, e["stop"]
            continue
        if last and last is result[-1] and e["kind"] == "raise" and last.get("again"):
            last["count"], last["stop"] = last.get("count", 1) + 1, e["stop"]
            continue
        if last and e["kind"] == "lower" and e["start"] - last["stop"] < 75 and last is result[-1]:
            last["again"], last["stop"] = True, e["stop"]
            continue
        result.append(e)
    if named:
        result = [e for e in result if e["kind"] != "spread" or e["stop"] - e["start"] > 45]
    gestures = [e for e in result if e["kind"] in _ARMS]
    if len(gestures) > 3:
        sides = {e.get("side", "both") for e in gestures}
        side = sides.pop() if len(sides) == 1 else "both"
        span = {"start": gestures[0]["start"], "stop": max(e["stop"] for e in gestures)}
        result = [e for e in result if e["kind"] not in _ARMS] + [{"kind": "gesture", "side": side} | span]
    if any(b["kind"] == "travel" for b in body):
        result = [e for e in result if e["kind"] != "lean"]
    return result


def _raised(events: list[dict]) -> dict | None:
    return next((e for e in reversed(events) if e["kind"] == "raise" and e["side"] == "both"), None)


def _same_side(a: dict, b: dict) -> bool:
    sides = {a.get("side", "both"), b.get("side", "both")}
    return len(sides) == 1 or "both" in sides


def _both(events: list[dict], kind: str, gap: int) -> list[dict]:
    """Events of a kind on both sides at the same time as one event of both."""
    left = [e for e in events if e["kind"] == kind and e["side"] == "left"]
    right = [e for e in events if e["kind"] == kind and e["side"] == "right"]
    for a in left:
        b = next(
            (e for e in right if _overlap(a, e, gap) > 0.4 * min(e["stop"] - e["start"], a["stop"] - a["start"])), None
        )
        if b:
            right.remove(b)
            both = a | b | {"side": "both", "start": min(a["start"], b["start"]), "stop": max(a["stop"], b["stop"])}
            both["count"] = a.get("count", 1) + b.get("count", 1)
            events = [e for e in events if e is not a and e is not b] + [both]
    return events


def _reach_down(reach: dict, body: list[dict]) -> None:
    """Note on the bend or squat that a hand goes to the floor in it."""
    for e in body:
        if e.get("began"):
            continue
        low = e["kind"] == "bend" or e["kind"] == "low" and e["posture"] in ("bend", "squat", "crouch", "lunge")
        if reach["to"] == "down" and low and _overlap(reach, e) > 0:
            e["floor"] = reach["side"]


def _weight(e: dict) -> int:
    """How much of the whole an event is to the eye: its frames, more for what is short but striking."""
    extra = {"jump": 60, "kick": 45, "punch": 45, "wave": 45, "throw": 45, "clap": 60, "bend": 30, "low": 30}
    less = {"stop": -60, "lower": -30, "lean": -40, "stand": 15, "reach": -20}
    if e.get("began") and not e.get("ended"):
        return (e["stop"] - e["start"]) // 3  # what it ends in tells more than what it begins with
    if e.get("gait") == "step":
        return (e["stop"] - e["start"]) // 2
    return e["stop"] - e["start"] + extra.get(e["kind"], 0) + less.get(e["kind"], 0)


def _ordered(body: list[dict], limbs: list[dict], m: dict) -> list[dict]:
    """Beats by time; what arms do during a travel goes with it; the weakest are left out beyond four."""
    result = [
        {"event": e, "ways": _ways(e), "weight": _weight(e), "with": _BENT if e.get("bent") else None} for e in body
    ]
    for e in limbs:
        frames = e["stop"] - e["start"]
        host = next((b for b in result if b["event"]["kind"] in ("travel", "turn") and not b["with"]
                     and _overlap(e, b["event"]) > 0.6 * frames), None)  # fmt: skip
        host = host if host and host["event"].get("gait") != "step" else None
        if host and e["kind"] == "gesture":
            continue  # arms that swing with the steps
        if host and e["kind"] in (*_ARMS, "wave", "clap", "throw"):
            if e["kind"] not in ("lower", "reach") and frames > 0.25 * (host["event"]["stop"] - host["event"]["start"]):
                host["with"] = _ways(e)
        elif e["kind"] not in (*_ARMS, "gesture") or m["speed"] < 1.2 or m["distance"] < 1.5:
            result.append({"event": e, "ways": _ways(e), "weight": _weight(e), "with": None})
    result = _at_once(sorted(result, key=lambda b: b["event"]["start"]))
    while len(result) > FEW:
        result.remove(min(result, key=lambda b: b["weight"]))
    while result and result[0]["event"]["kind"] in ("stop", "stand") and len(result) > 1:
        del result[0]
    return result


def _at_once(beats: list[dict]) -> list[dict]:
    """What one hand does while the other one is held up is told together."""
    result: list[dict] = []
    for b in beats:
        e = b["event"]
        host = next((h for h in result if h["event"]["kind"] in ("hold", "raise") and not h["with"]
                     and {h["event"]["side"], e.get("side")} == {"left", "right"}
                     and _overlap(h["event"], e) > 0.6 * (e["stop"] - e["start"])), None)  # fmt: skip
        if host and e["kind"] == host["event"]["kind"]:
            levels = ("chest", "shoulder", "head", "above")
            level = min(e["level"], host["event"]["level"], key=levels.index)
            host["event"] = host["event"] | {"side": "both", "level": level}
            host["ways"] = _ways(host["event"])
        elif host and e["kind"] in ("hold", "raise", "wave", "reach"):
            host["with"] = b["ways"]
        else:
            result.append(b)
    return result


def _ways(e: dict) -> Ways:
    if e["kind"] == "gesture":
        arms = "both hands" if e["side"] == "both" else f"the {e['side']} hand"
        moved = "both arms" if e["side"] == "both" else f"the {e['side']} arm"
        said = [f"gestures with {arms}", f"moves {moved}", f"moves {moved} around"]
        return {"short": said[:1], "plain": said, "detail": said}
    made = ways(e)
    if e.get("floor"):
        hand = "both hands" if e["floor"] == "both" else f"the {e['floor']} hand"
        to = [f"bends down and reaches for the floor with {hand}", f"reaches down to the floor with {hand}"]
        made = made | {"plain": made["plain"] + ["bends down and reaches for the floor"], "detail": to + made["detail"]}
    return made
