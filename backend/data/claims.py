"""The truth checker: reads what a sentence claims about a motion and holds it against the measurements.

A sentence is cut into clauses; every clause is searched for claims (walking backward, a turn to the left by 90 degrees,
"twice", the right hand above the head...). A claim holds (True), is denied by the numbers (False), or cannot be
decided (None): "dances" or "with a sword" is no claim at all. Clauses joined by "then" also claim an order.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from backend.data.grammar import NUMBERS


@dataclass(frozen=True)
class Claim:
    """One claim. kind: what about (walk, turn, jump, side of a hand...); holds: True, False, None (undecided); starts:
    the frames at which events begin that bear it out; clause: the number of its clause."""

    kind: str
    holds: bool | None
    starts: tuple[int, ...] = ()
    clause: int = 0


COUNTS = {word: n for n, word in enumerate(NUMBERS)} | {"once": 1, "twice": 2, "thrice": 3, "a": 1, "an": 1}
COUNTS |= {str(n): n for n in range(1, 13)}
_NUMBER = r"(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\d+)"
_TIMES = re.compile(rf"\b(once|twice|thrice|{_NUMBER} times)\b")
_ORDERED = re.compile(r"(?:,? and)? (?:after that|afterwards|finally|then)\b|, then\b| before (?=\w+ing\b)")
_JOINED = re.compile(r",| and (?!the |left|right|a |up\b|down\b)| while | as ")
_HAND = re.compile(r"\b(left|right|both)[- ](?:hands?|arms?|fist|elbow)\b|\b(both|his|her|their|the) (hands|arms)\b")
_WALK = re.compile(r"\b(walk|stroll|pace|march|stride)(s|es|ed|ing)?\b")
_RUN = re.compile(r"\b(run|runs|running|ran|jog\w*|sprint\w*)\b")
_TURN = re.compile(r"\b(turn|veer|spin|pivot|curv|circl|drift|rotat|twirl|swerv|bank)\w*")
_GO = re.compile(r"\b(walk|step|run|jog|sprint|mov|shuffl|sidestep|jump|hop|leap|back|crawl|stroll|go|stumbl)\w*")


def check(text: str, m: dict) -> list[Claim]:
    """The claims of a sentence, each held against the measurements ``m`` of :func:`backend.data.measure.measure`."""
    text = re.sub(r"\s+", " ", text.lower().strip().rstrip("."))
    text = re.sub(r"\b(anti|counter)[- ]clockwise", "counterclockwise", text)
    found: list[Claim] = []
    parts = _ORDERED.split(text)
    for number, part in enumerate(parts):
        for clause in _JOINED.split(part):
            for rule in _RULES:
                found += [Claim(c.kind, c.holds, c.starts, number) for c in rule(clause, m)]
    return found + _order(found, len(parts))


def contradicts(sentence: str, m: dict) -> bool:
    """Whether a sentence says something that the numbers deny, or speaks of what a motion cannot show (a screen)."""
    if re.search(r"stairs|screen|video|\(|\bobject\b.*\bclimb", sentence.lower()):
        return True
    return any(claim.holds is False for claim in check(sentence, m))


def _order(claims: list[Claim], clauses: int) -> list[Claim]:
    """The claim that what "then" joins happens in that order."""
    if clauses < 2:
        return []
    now, known = -1, 0
    for number in range(clauses):
        starts = sorted({s for c in claims if c.clause == number and c.holds for s in c.starts})
        if not starts:
            continue
        later = [s for s in starts if s >= now - 12]
        if not later:
            return [Claim("order", False)]
        now, known = max(now, later[0]), known + 1
    return [Claim("order", True)] if known > 1 else []


# what the rules ask


def _events(m: dict, *kinds: str, **fields) -> list[dict]:
    return [e for e in m["events"] if e["kind"] in kinds and all(e.get(k) == v for k, v in fields.items())]


def _starts(events: list[dict]) -> tuple[int, ...]:
    return tuple(e["start"] for e in events)


def _claim(kind: str, events: list[dict], denied: bool) -> list[Claim]:
    """True with its events, False when denied, else undecided."""
    return [Claim(kind, True if events else False if denied else None, _starts(events))]


def _sure(value: float, denied: float, borne: float) -> bool | None:
    """True above ``borne``, False below ``denied``, undecided between: words like fast have no sharp edge."""
    return True if value > borne else False if value < denied else None


def _count(clause: str) -> int | None:
    found = _TIMES.search(clause)
    return COUNTS.get(found.group(1).split()[0]) if found else None


def _side(clause: str) -> str:
    sides = set(re.findall(r"\b(left|right)\b", clause))
    return sides.pop() if len(sides) == 1 else ""


def _in_place(clause: str) -> bool:
    return bool(re.search(r"in place|on the spot|in one place", clause))


def _travel(clause: str, m: dict) -> list[Claim]:
    walk, run = _WALK.search(clause), _RUN.search(clause)
    if not (walk or run) or _in_place(clause):
        return []
    travel = _events(m, "travel")
    walks = [e for e in travel if e["gait"] != "run"]
    runs = [e for e in travel if e["gait"] == "run"]
    found = []
    if walk and not run:
        found += _claim("walk", walks, m["distance"] < 0.6 or bool(runs) and not walks and m["speed"] > 2.6)
    if run:
        found += _claim("run", runs, m["speed"] < 1.5)
    told = runs if run else walks
    speeds = [e["speed"] for e in told if e["way"] == "forward"]
    if speeds and "sprint" in clause:
        found.append(Claim("speed", _sure(max(speeds), 2.6, 4.2), _starts(told)))
    if speeds and re.search(r"\bslow|leisurely", clause):
        found.append(Claim("speed", _sure(-min(speeds), *((-3.4, -3.0) if run else (-1.15, -0.9))), _starts(told)))
    if speeds and re.search(r"\bfast|quick|brisk|hurr|rapid", clause):
        found.append(Claim("speed", _sure(max(speeds), *((2.4, 3.2) if run else (1.25, 1.5))), _starts(told)))
    if speeds and re.search(r"normal pace|normal speed|steady pace", clause):
        near = any(0.75 < s < 1.75 for s in speeds)
        found.append(Claim("speed", True if near or run else False, _starts(told)))
    return found


def _direction(clause: str, m: dict) -> list[Claim]:
    if not _GO.search(clause):
        return []
    if re.search(r"\bswing\w* .*\b(arms?|hands?)\b", clause):
        return []
    moves = _events(m, "travel", "jump")
    turned = _TURN.search(clause) or "lean" in clause or "bend" in clause or _HAND.search(clause)
    found = []
    if re.search(
        r"(?<!arms )(?<!hands )\b(backwards?|backs (away|up)|backing (away|up)|back (away|up)|step back|steps? back)\b",
        clause,
    ):
        back = [e for e in moves if e["way"] == "backward"]
        found += _claim("backward", back, m["forward"] > -0.25 or not moves)
    elif re.search(r"\b(forwards?|ahead)\b", clause) and not turned:
        ahead = [e for e in moves if e["way"] == "forward"]
        found += _claim("forward", ahead, bool(moves) and m["forward"] < 0.2 or m["distance"] < 0.3)
    aside = re.search(r"(?:to|towards?) (?:the|his|her|their|its) (left|right)|sideways (left|right)", clause)
    if aside and not turned and not re.search(r"\b(foot|leg|knee)\b", clause):
        side = aside.group(1) or aside.group(2)
        sign = 1 if side == "left" else -1
        there = [
            e
            for e in moves
            if side in (e["way"], e.get("aside")) or abs(e.get("turn", 0)) > 20 and e["turn"] * sign > 0
        ]
        found += _claim(
            "side", there, any(e["way"] in ("left", "right") or e.get("aside") for e in moves) or m["left"] * sign < 0.1
        )
    return found


def _turning(clause: str, m: dict) -> list[Claim]:
    word = _TURN.search(clause)
    if not word or re.search(r"\b(head|arms?|hands?|upper body|wrist|torso)\b", clause):
        return []
    events = [e for e in _events(m, "travel", "turn", "jump") if abs(e["turn"]) > 8]
    side = _side(clause)
    if "clockwise" in clause:
        side = "left" if "counterclockwise" in clause else "right"
    sign = {"left": 1, "right": -1}.get(side, 0)
    turns = [(e["turn"], e) for e in events if not sign or e["turn"] * sign > 0]
    size = [abs(t) for t, _ in turns] + [abs(m["turn"])] * (not sign or m["turn"] * sign > 8)
    found = [Claim("turn", bool(size) and max(size) > (8 if sign else 20), _starts([e for _, e in turns]))]
    said = re.search(r"(\d+)[- ]?degrees?", clause)
    low, high = 0.0, 9999.0
    if said:
        low, high = int(said.group(1)) - 30, int(said.group(1)) + 30
    elif re.search(r"quarter", clause):
        low, high = 50, 130
    elif re.search(r"half (a )?(turn|circle)|turn\w* (all the way )?(around|back)", clause):
        low = 110
    elif re.search(r"full (circle|turn)|spin\w* around", clause):
        low = 250
    elif re.search(r"circl", clause):
        low = 200
    elif re.search(r"slight|a little", clause):
        high = 60
    if (low, high) != (0.0, 9999.0):
        found.append(Claim("angle", any(low <= s <= high for s in size), ()))
    return found


def _jumping(clause: str, m: dict) -> list[Claim]:
    if not re.search(r"\b(jump|hop|leap)(s|ed|ing)?\b", clause) or "jumping jack" in clause:
        return []
    jumps = _events(m, "jump")
    found = [Claim("jump", bool(jumps), _starts(jumps))]
    total = sum(e["count"] for e in jumps)
    said = _count(clause)
    if said is not None and jumps:
        found.append(Claim("count", said == total or any(e["count"] == said for e in jumps)))
    leg = re.search(r"\bon (?:the|his|her|their|its) (left|right) (?:leg|foot)", clause)
    if leg and jumps:
        found.append(Claim("side", any(e["leg"] == leg.group(1) for e in jumps)))
    if jumps and re.search(r"\bhigh\b", clause):
        found.append(Claim("height", max(e["rise"] for e in jumps) > 0.25))
    exact = re.search(r"(\d+) (?:centimeters|cm)", clause)
    if jumps and exact:
        found.append(Claim("height", any(abs(100 * e["rise"] - int(exact.group(1))) < 10 for e in jumps)))
    return found


def _stepping(clause: str, m: dict) -> list[Claim]:
    said = re.search(rf"\b{_NUMBER}\s(?:\w+ )?steps\b", clause)
    found = []
    if said and not _in_place(clause):
        count = COUNTS.get(said.group(1), 0)
        counts = [e["steps"] for e in _events(m, "travel") if e["steps"]]
        counts += [sum(counts), m["steps"]]
        found.append(Claim("count", any(abs(count - c) <= (count > 3) for c in counts)))
    far = re.search(r"about (one|[\d.]+) meters?", clause)
    if far:
        meters = 1.0 if far.group(1) == "one" else float(far.group(1))
        ways = [e.get("distance", e.get("length", 0)) for e in _events(m, "travel", "jump")] + [m["distance"]]
        found.append(Claim("distance", any(abs(w - meters) < 0.3 + 0.15 * meters for w in ways)))
    return found


# word: (postures that bear it out, the pelvis height above which it is denied)
_LOW = {
    r"sit(s|ting)?\b|seat(ed)?\b": (("sit", "floor"), 0.80),
    r"squat": (("squat", "crouch", "sit", "lunge"), 0.80),
    r"crouch|in a crouch": (("crouch", "squat", "lunge", "wide", "bend", "kneel"), 0.85),
    r"kneel|on (both|the|one|left|right)? ?(left |right )?knees?\b": (("kneel", "fours"), 0.75),
    r"(lie|lies|lying)\b": (("lie",), 0.55),
    r"crawl": (("fours", "lie", "kneel"), 0.75),
    r"lung(es|ing|e)\b": (("lunge", "crouch", "squat", "kneel"), 0.90),
    r"all fours|push-?ups?": (("fours", "lie"), 0.75),
}


def _postures(clause: str, m: dict) -> list[Claim]:
    found = []
    for words, (postures, limit) in _LOW.items():
        if re.search(rf"\b({words})", clause):
            low = [e for e in _events(m, "low") if e["posture"] in postures]
            low += [e for e in _events(m, "travel") if e["gait"] in ("crouch", "crawl", "kneel")]
            high = m["lowest"] > limit or postures == ("lie",) and m["head_low"] > 0.8
            found += _claim("posture", low, high)
            said = _count(clause) or _squats(clause)
            if said is not None and low and words == "squat":
                found.append(Claim("count", any(e.get("count") == said for e in low)))
            leg = re.search(r"\b(left|right) (?:knee|leg in front)", clause)
            if leg and low:
                found.append(Claim("side", any(e.get("side") == leg.group(1) for e in low)))
    if re.search(r"\b(stand|get|com)(s|es|ing|ting)? up\b", clause) and "pick" not in clause:
        up = _events(m, "stand")
        found += _claim("stand", up, m["lowest"] > 0.86 and not m["bends"])
    if re.search(r"\bbend(s|ing)?\b.*\b(forward|over|down)", clause):
        bent = _events(m, "bend") + _events(m, "low", posture="bend") + _events(m, "low", posture="lunge")
        found += _claim("bend", bent, m["lean"] < 28 and m["lowest"] > 0.8)
    if re.search(r"\bstands? still|doesn'?t move|not moving|motionless", clause):
        found.append(Claim("still", False if m["distance"] > 0.7 else True))
    if re.search(r"\b(stops?|stopping|comes? to a (stop|halt))\b", clause):
        found += _claim("stop", _events(m, "stop"), m["distance"] < 0.3)
    lean = re.search(r"\blean\w*\b.*\b(forward|backward|left|right)", clause)
    if lean:
        said = [e for e in _events(m, "lean") if e["way"] == lean.group(1)] + _events(m, "bend")
        found += _claim("lean", said, m["lean"] < 12)
    return found


def _squats(clause: str) -> int | None:
    said = re.search(rf"{_NUMBER} squats", clause)
    return COUNTS.get(said.group(1)) if said else None


# words of what a hand does: (event kinds, is it denied for this side)
_HANDS: dict[str, tuple[tuple[str, ...], Callable[[dict, str], bool]]] = {
    r"\b(raise[sd]?|raising|lift(s|ing|ed)?)\b|\bhold\w* .*\b(up|above)\b|\bkeep\w* .*\bup\b": (
        ("raise", "hold", "wave", "lower"), lambda m, s: m[f"{s}_hand"] < -0.25),
    r"\b(lower(s|ing)?|puts? .* down|takes? .* down)\b": (("lower",), lambda m, s: m[f"{s}_hand"] < -0.18),
    r"\bwav(es?|ing)\b": (("wave",), lambda m, s: m[f"{s}_hand"] < -0.2),
    r"\bpunch(es|ing)?\b|\bjabs?\b": (("punch",), lambda m, s: m["hand_speed"] < 1.5),
    r"\bthrow(s|ing)?\b(?!.*\bpunch)": (("throw",), lambda m, s: m["hand_speed"] < 1.2),
    r"\breach(es|ing)?\b|\bstretch(es|ing)? .*\b(forward|out)\b": (("reach", "raise", "hold", "spread", "wave"),
                                                                 lambda m, s: m["hand_activity"] < 0.03),
}  # fmt: skip


def _hands(clause: str, m: dict) -> list[Claim]:
    hand = _HAND.search(clause)
    side = hand.group(1) or "both" if hand else ""
    found = []
    for words, (kinds, denied) in _HANDS.items():
        if not re.search(words, clause):
            continue
        sides = ("left", "right") if side == "both" else (side,) if side else ()
        events = _events(m, *kinds)
        for s in sides:
            mine = [e for e in events if e.get("side", "both") in (s, "both")]
            others = kinds[0] in ("wave", "punch", "throw") and events and not mine
            found += _claim("hand", mine, bool(others) or denied(m, s))
        if not sides and (hand or "wav" in clause or "punch" in clause):
            found += _claim("hand", events, all(denied(m, s) for s in ("left", "right")))
        if sides and re.search(r"(above|over) (the|his|her|their) heads?|overhead", clause):
            found.append(Claim("height", all(m[f"{s}_over_head"] > -0.12 for s in sides)))
        if "punch" in words and side in ("left", "right") and (said := _count(clause)) is not None:
            found.append(Claim("count", any(e["count"] == said for e in events if e["side"] == side)))
    if re.search(r"\b(clap(s|ping)?|applaud\w*)\b", clause):
        claps = _events(m, "clap")
        found += _claim("clap", claps, m["hands_apart"] > 0.35)
        said = _count(clause)
        if said is not None and claps:
            found.append(Claim("count", any(e["count"] == said for e in claps)))
    return found


def _legs(clause: str, m: dict) -> list[Claim]:
    found = []
    if re.search(r"\bkick(s|ing)?\b", clause):
        kicks = _events(m, "kick")
        side = re.search(r"\b(left|right) (?:foot|leg|kick)", clause)
        found.append(Claim("kick", bool(kicks), _starts(kicks)))
        if side and kicks:
            found.append(Claim("side", any(e["side"] == side.group(1) for e in kicks)))
        said = _count(clause)
        if said is not None and kicks:
            counts = [e["count"] for e in kicks] + [sum(e["count"] for e in kicks)]
            found.append(Claim("count", said in counts))
    leg = re.search(r"\b(?:stand|balanc)\w*\b.*\bon (one|(?:the|his|her|their) (?:left|right)) (?:leg|foot)", clause)
    if leg:
        side = leg.group(1).split()[-1]
        legs = [side] if side in ("left", "right") else ["left", "right"]
        held = [e for e in _events(m, "balance") if e["side"] in legs]
        found += _claim("balance", held, all(m["one_leg"][s] < 0.3 for s in legs))
    return found


_RULES = (_travel, _direction, _turning, _jumping, _stepping, _postures, _hands, _legs)
