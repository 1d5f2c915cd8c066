"""Phrases for travel: how fast, how far, in how many steps, which way, and how it turns.

Part of :mod:`backend.data.wording`, which says what the grains mean.
"""

from backend.data.grammar import number

Ways = dict[str, list[str]]


def side_of(turn: float) -> str:
    """The side of a turn or a way: left is positive."""
    return "left" if turn > 0 else "right"


def angle(turn: float) -> int:
    """The angle to say for a turn: a multiple of 45 degrees that is less than 18 off, else 0."""
    size = 45 * round(abs(turn) / 45)
    return size if size and abs(abs(turn) - size) < 18 else 0


def _pace(e: dict) -> tuple[str, list[str], list[str]]:
    """(label, verbs with their speed, adverbs) of a travel forward."""
    speed = e["speed"]
    if e["gait"] == "run":
        if speed > 5.0:
            return "runs", ["sprints", "runs fast", "runs very fast"], ["at full speed", "fast"]
        if speed > 4.2:
            return "runs", ["runs fast", "runs quickly", "runs"], ["fast", "quickly"]
        if speed > 2.9:
            return "runs", ["runs", "runs", "is running"], []
        return "jogs", ["jogs", "runs slowly", "jogs"], ["at an easy pace"]
    if speed < 0.8:
        return "walks", ["walks slowly", "slowly walks", "strolls"], ["slowly", "at a slow pace"]
    if speed > 1.6:
        return "walks", ["walks quickly", "walks briskly", "walks fast"], ["quickly", "briskly", "at a quick pace"]
    normal = 1.0 <= speed <= 1.5
    return "walks", ["walks"], ["at a normal pace", "at a steady pace"] if normal else []


def travel(e: dict) -> Ways:
    """The wordings of a travel event."""
    if e["gait"] in ("crouch", "crawl", "kneel"):
        return _low_travel(e)
    if e["way"] != "forward":
        return _aside(e)
    if e["gait"] == "step":
        short, verbs, adverbs = "steps forward", ["steps forward", "takes a step forward", "moves a step forward"], []
        if e["steps"] != 1:
            verbs = ["steps forward", "moves forward a little", "takes a small step forward"][: 2 if e["steps"] else 3]
            verbs += [f"takes {number(e['steps'])} steps forward"] * (1 < e["steps"] < 4)
    else:
        label, verbs, adverbs = _pace(e)
        ahead = [v if "slowly walks" in v else v.replace(label, f"{label} forward", 1) for v in verbs]
        short, verbs = f"{label} forward", [*ahead, *verbs]
    if e.get("aside"):
        return _diagonal(e, label if e["gait"] != "step" else "steps", adverbs)
    turn = turning(e["turn"], e["distance"])
    plain = [f"{v} {t}" for v, t in _mixed(verbs, turn)] if turn else verbs + _straight(e, verbs[0])
    detail = [f"{_far(verbs[0], e)} {t}".strip() for t in exactly(e["turn"], e["distance"]) or [""]]
    detail += [f"{v} {t}".strip() for v, t in _mixed(_counted(e, adverbs), turn or [""])]
    if turn and abs(e["turn"]) > 300:
        short = f"{short.split()[0]} in a circle"
    elif turn and abs(e["turn"]) > 65:
        short = f"{short} and turns {side_of(e['turn'])}"
    return {"short": [short], "plain": plain, "detail": detail}


def _diagonal(e: dict, label: str, adverbs: list[str]) -> Ways:
    """Travel forward and to a side while the body keeps its heading."""
    side, quick = e["aside"], f" {adverbs[0]}" if adverbs else ""
    plain = [
        f"{label} forward and to the {side}",
        f"{label} diagonally to the {side}",
        f"{label} at an angle to the {side}",
    ]
    detail = [f"{label} diagonally forward to the {side}{quick}"]
    if 2 <= e["steps"] <= 12:
        detail.append(f"takes {number(e['steps'])} steps diagonally forward to the {side}")
    return {"short": [f"{label} diagonally to the {side}"], "plain": plain, "detail": detail}


def _mixed(first: list[str], second: list[str]) -> list[tuple[str, str]]:
    """Pairs that use every word of both lists."""
    return [(first[i % len(first)], second[i % len(second)]) for i in range(max(len(first), len(second)))]


def _straight(e: dict, verb: str) -> list[str]:
    if e["distance"] < 2.0 or abs(e["turn"]) > 10:
        return []
    return [f"{verb} in a straight line", verb.replace(" forward", " straight ahead", 1)]


def meters(distance: float) -> str:
    """A distance as it is said, half metres below three."""
    half = round(2 * distance) / 2 if distance < 3 else round(distance)
    return "one meter" if half == 1 else f"{half:g} meters"


def _counted(e: dict, adverbs: list[str]) -> list[str]:
    """Travel forward with the number of steps and the way."""
    verb = "runs" if e["gait"] == "run" else "walks"
    found = []
    if 2 <= e["steps"] <= 12:
        count = number(e["steps"])
        quick = {"slowly": " slow", "quickly": " quick", "fast": " fast"}.get(adverbs[0], "") if adverbs else ""
        found += [f"takes {count}{quick} steps forward", f"{verb} forward {count} steps"]
        found += [f"{verb} {count} steps forward {adverbs[-1]}"] if adverbs else []
    if e["distance"] > 0.8:
        found.append(f"{verb} forward about {meters(e['distance'])}")
        found += [f"{verb} forward {a}" for a in adverbs]
    return found or ["steps forward"]


def _far(verb: str, e: dict) -> str:
    if 2 <= e["steps"] <= 12 and e["gait"] != "step":
        return f"{verb} {'for ' if 'ly' in verb else ''}{number(e['steps'])} steps"
    return verb


def turning(turn: float, distance: float = 1.0) -> list[str]:
    """How a travel turns, after its verb; empty when it goes straight."""
    side, size = side_of(turn), abs(turn)
    if size > 300:
        hand = "counterclockwise" if turn > 0 else "clockwise"
        return [f"in a circle to the {side}", "in a circle", f"around in a {hand} circle", f"in a {hand} circle"]
    if size > 210:
        return [f"in a wide curve to the {side}", f"in a long curve to the {side}"]
    if size > 145:
        return [f"and turns around to the {side}", "and turns around", f"in a half circle to the {side}"]
    if size > 65:
        return [f"and turns {side}", f"and turns to the {side}", f"and makes a {side} turn", f"while turning {side}"]
    if size > 30:
        return [f"and turns {side}", f"in a curve to the {side}", f"and veers to the {side}", f"curving {side}"]
    if size > 20:
        return [f"veering slightly to the {side}", f"and drifts a little to the {side}", f"slightly to the {side}"]
    return []


def exactly(turn: float, distance: float = 1.0) -> list[str]:
    """A travel's turn with its angle; what :func:`turning` says where the angle is not a round one."""
    side, size = side_of(turn), angle(turn)
    if 330 < abs(turn) < 390:
        return [f"in a full circle to the {side}", f"in one full circle to the {side}"]
    if size == 180:
        return [f"and turns around by about 180 degrees to the {side}", f"in a half circle to the {side}"]
    if size == 90:
        return [f"and turns {side} by about 90 degrees", f"and makes a quarter turn to the {side}"]
    if 0 < size < 300:
        return [f"and turns {side} by about {size} degrees", f"while turning about {size} degrees to the {side}"]
    return turning(turn, distance)


def _aside(e: dict) -> Ways:
    way, count = e["way"], e["steps"]
    back = way == "backward"
    slow = " slowly" if e["speed"] < 0.5 and e["distance"] > 0.8 else ""
    if e["gait"] == "step":
        plain = ["steps backward", "moves back a little"] if back else [f"steps to the {way}", f"moves to the {way}"]
        if count == 1:
            plain.append("takes a step back" if back else f"takes a step to the {way}")
        short = plain[0]
    elif back and e["speed"] > 1.6:
        short, plain = "runs backward", ["runs backward", "moves backward quickly"]
    elif back:
        short = "walks backward"
        plain = [f"walks backward{slow}", f"walks backwards{slow}", f"{slow} backs away", f"{slow} backs up"]
    else:
        short = f"walks sideways to the {way}"
        plain = [
            short + slow,
            f"sidesteps to the {way}",
            f"moves sideways to the {way}",
            f"steps sideways to the {way}",
        ]
    detail = []
    if 2 <= count <= 10:
        detail.append(f"takes {number(count)} steps {'backward' if back else f'to the {way}'}")
        detail.append(f"walks {'backward' if back else f'sideways to the {way}'} for {number(count)} steps")
    if e["distance"] > 0.8:
        detail.append(f"{'walks backward' if back else f'moves to the {way}'} about {meters(e['distance'])}")
    turn = turning(e["turn"]) if abs(e["turn"]) > 40 and abs(e["turn"]) < 300 else []
    if turn:
        plain = [f"{v} {t}" for v, t in _mixed(plain[:2], turn[:2])]
        detail = [f"{v} {t}" for v, t in _mixed(detail, exactly(e["turn"]))] if detail else []
    return {"short": [short], "plain": [p.strip() for p in plain], "detail": detail}


def _low_travel(e: dict) -> Ways:
    way = {"forward": "forward", "backward": "backward"}.get(e["way"], f"to the {e['way']}")
    if e["gait"] == "crawl":
        plain = [f"crawls {way}", f"crawls {way} on the floor", f"crawls {way} along the ground"]
    elif e["gait"] == "kneel":
        plain = [f"moves {way} on the knees"]
    else:
        plain = [f"moves {way} in a crouch", f"moves {way} crouched", f"goes {way} with bent knees"]
        if e["way"] == "forward":
            plain += ["walks crouched", "walks forward in a crouch"]
    turn = turning(e["turn"]) if 40 < abs(e["turn"]) < 300 else []
    plain = [f"{v} {t}" for v, t in _mixed(plain, turn)] if turn else plain
    return {
        "short": [plain[0]],
        "plain": plain,
        "detail": [f"{p} for about {meters(e['distance'])}" for p in plain[:2]],
    }
