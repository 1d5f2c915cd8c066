"""Phrases for the events of a motion (:mod:`backend.data.story`), third person and verb first.

:func:`ways` gives each event's wordings in three grains: ``short`` (a label), ``plain`` (one sentence, sides) and
``detail`` (counts, distances, angles, heights). Numbers are said only where they are sure.
"""

from backend.data.grammar import number, times

Ways = dict[str, list[str]]


def ways(event: dict) -> Ways:
    """The wordings of one event: {"short": [...], "plain": [...], "detail": [...]}, the most usual first."""
    made = _MAKERS[event["kind"]](event)
    short, plain, detail = (made[k] if k in made else [] for k in ("short", "plain", "detail"))
    plain = plain or short
    return {"short": short or plain[:1], "plain": plain, "detail": detail or plain}


def side_of(turn: float) -> str:
    """The side of a turn or a way: left is positive."""
    return "left" if turn > 0 else "right"


def angle(turn: float) -> int:
    """The angle to say for a turn: a multiple of 45 degrees that is less than 18 off, else 0."""
    size = 45 * round(abs(turn) / 45)
    return size if size and abs(abs(turn) - size) < 18 else 0


# travel


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


def _travel(e: dict) -> Ways:
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
    turn = turning(e["turn"], e["distance"])
    plain = [f"{v} {t}" for v, t in _mixed(verbs, turn)] if turn else verbs + _straight(e, verbs[0])
    detail = [f"{_far(verbs[0], e)} {t}".strip() for t in exactly(e["turn"], e["distance"]) or [""]]
    detail += [f"{v} {t}".strip() for v, t in _mixed(_counted(e, adverbs), turn or [""])]
    if turn and abs(e["turn"]) > 300:
        short = f"{short.split()[0]} in a circle"
    elif turn and abs(e["turn"]) > 65:
        short = f"{short} and turns {side_of(e['turn'])}"
    return {"short": [short], "plain": plain, "detail": detail}


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


# on the spot


def _turn(e: dict) -> Ways:
    side, size = side_of(e["turn"]), abs(e["turn"])
    if size > 320:
        full = [f"spins around to the {side}", f"turns all the way around to the {side}", "spins around"]
        rounds = round(size / 360)
        exact = [f"turns a full circle to the {side}", f"spins {times(rounds)} to the {side}"]
        return {"short": ["spins around"], "plain": full, "detail": exact if abs(size - 360 * rounds) < 40 else full}
    if size > 145:
        plain = [f"turns around to the {side}", "turns around", f"turns around over the {side} shoulder"]
        exact = ["turns by about 180 degrees", f"makes a half turn to the {side}"] if size < 215 else plain
        return {"short": ["turns around"], "plain": plain, "detail": exact}
    plain = [f"turns to the {side}", f"turns {side}", f"pivots to the {side}"]
    exact = angle(e["turn"])
    detail = (
        [f"turns {side} by about {exact} degrees", f"turns about {exact} degrees to the {side}"] if exact else plain
    )
    detail = [f"makes a quarter turn to the {side}", *detail] if exact == 90 else detail
    return {"short": [f"turns {side}"], "plain": plain, "detail": detail}


def _jump(e: dict) -> Ways:
    count, way = e["count"], e["way"]
    verb = "hops" if e["leg"] != "both" else "jumps"
    to = {"up": "", "forward": " forward", "backward": " backward"}.get(way, f" to the {way}")
    often = f" {times(count)}" if count > 1 else ""
    on = f" on the {e['leg']} leg" if e["leg"] != "both" else ""
    plain = [f"{verb}{to}{often}"]
    if way == "up":
        plain += [f"{verb} on the spot{often}", f"{verb} up and down {times(count)}" if count > 1 else f"{verb} up"]
        plain += ["jumps into the air"] if verb == "jumps" and count == 1 else []
    elif count == 1:
        plain += [f"takes a {verb[:-1]}{to}", f"does a {verb[:-1]}{to}"]
    if e["rise"] > 0.40 and verb == "jumps":
        plain = [f"jumps high{to}{often}", f"jumps{to}{often}", f"jumps high{to or ' into the air'}{often}"]
    elif e["rise"] < 0.15 and count == 1:
        plain += [f"does a small {verb[:-1]}{to}"]
    turn = ""
    if abs(e["turn"]) > 60 and count == 1:
        exact = angle(e["turn"])
        turn = f" while turning {side_of(e['turn'])}" + (f" by about {exact} degrees" if exact else "")
        plain += [f"{p} and turns {side_of(e['turn'])} in the air" for p in plain[:1]]
    detail = [f"{verb}{to}{on}{often}{turn}"] if on or turn else []
    high = 10 * round(10 * e["rise"])
    if high >= 20 and way == "up":
        detail += [f"{verb}{on}{often} about {high} centimeters high"]
    if way != "up" and e["length"] > 0.5:
        each = " each time" if count > 1 else ""
        detail += [f"{verb}{to}{on}{often} by about {meters(e['length'])}{each}"]
    elif way == "up" and count > 1:
        detail += [f"{verb}{on} in place {times(count)}"]
    return {"short": [f"{verb}{to}"], "plain": plain, "detail": detail or plain}


def _low(e: dict) -> Ways:
    posture, side, count = e["posture"], e["side"], e["count"]
    often = f" {times(count)}" if count > 1 else ""
    front = f" with the {side} leg in front" if side else ""
    if e["began"] and count == 1:
        knee = f"kneels on the {side} knee" if side else "kneels on both knees"
        back = {"up": "lies on the back", "down": "lies on the stomach", "side": "lies on the floor"}[e["face"]]
        said = {
            "sit": (["sits", "is sitting", "remains seated"], ["sits on a seat", "sits on a chair"]),
            "floor": (["sits on the floor", "sits on the ground"], ["is sitting on the floor"]),
            "squat": (["squats", "stays in a squat"], ["squats low", "stays down in a deep squat"]),
            "crouch": (["crouches", "stays crouched", "stands with bent knees"], []),
            "lunge": (["stands in a lunge", "stands in a deep stance"], [f"stands in a deep stance{front}"]),
            "wide": (["stands in a wide, low stance", "stands with the legs wide apart"], []),
            "kneel": (["kneels", "is kneeling"], [knee]),
            "lie": (["lies on the floor", "is lying on the ground"], [back]),
            "fours": (["is on all fours", "stays on hands and feet or knees"][:1], ["is down on all fours"]),
            "bend": (["stands bent over", "stays bent down"], ["stands bent over with bent knees"]),
            "upside": (["is upside down"], []),
        }[posture]
    else:
        knee = f"goes down on the {side} knee" if side else "goes down on both knees"
        back = {"up": "lies down on the back", "down": "lies down on the stomach", "side": "goes down to the floor"}
        deep = " deeply" if e["depth"] < 0.5 else ""
        squat = [f"does {number(count)} squats", f"squats down and up{often}"] if count > 1 else [f"squats down{deep}"]
        said = {
            "sit": (["sits down", "takes a seat", "sits down on a seat"], [f"sits down{often}", "lowers onto a seat"]),
            "floor": (["sits down on the floor", "sits down on the ground"], ["goes down and sits on the floor"]),
            "squat": ([f"squats down{often}", f"squats{often}", "goes into a squat"][: 2 if often else 3], squat),
            "crouch": ([f"crouches down{often}", f"crouches{often}", f"bends the knees{often}"], []),
            "lunge": (["goes into a lunge", "lunges", "steps into a deep stance"], [f"lunges{front}"]),
            "wide": (["goes into a wide, low stance", "goes low with the legs wide apart"], []),
            "kneel": (["kneels down", "kneels", "gets down on the knees"][: 2 if side else 3], [knee]),
            "lie": (["lies down", "lies down on the floor", "goes down to the floor"], [back[e["face"]]]),
            "fours": (["goes down on all fours", "gets down on all fours"], []),
            "bend": ([f"bends down{often}", f"bends over{often}", f"bends down low{often}"], []),
            "upside": (["goes upside down", "turns upside down"], []),
        }[posture]
    return {"short": said[0][:1], "plain": said[0], "detail": said[1] + said[0][:1]}


# hands, arms, feet

_HEIGHT = {"shoulder": "to shoulder height", "head": "to head height", "above": "above the head"}
_AT = {"shoulder": "at shoulder height", "head": "at head height", "above": "above the head"}


def hand(side: str) -> str:
    """the left hand, both hands"""
    return "both hands" if side == "both" else f"the {side} hand"


def arm(side: str) -> str:
    """the left arm, both arms"""
    return "both arms" if side == "both" else f"the {side} arm"


def _raise(e: dict) -> Ways:
    h, a = hand(e["side"]), arm(e["side"])
    if e.get("count", 1) > 1:
        plain = [
            f"raises {h} {times(e['count'])}",
            f"lifts {a} {times(e['count'])}",
            f"raises and lowers {a} repeatedly",
        ]
        return {"short": [f"raises {h}"], "plain": plain}
    again = [f"raises {h} and lowers {'them' if e['side'] == 'both' else 'it'} again"] if e.get("again") else []
    keep = [f"raises {h} {_HEIGHT[e['level']]} and holds {'them' if e['side'] == 'both' else 'it'} there"]
    detail = [f"raises {h} {_HEIGHT[e['level']]}", f"lifts {a} {_HEIGHT[e['level']]}"]
    plain = [f"raises {h}", f"lifts {a}", f"raises {a}"]
    return {"short": [f"raises {h}"], "plain": again + plain, "detail": (keep if e.get("kept") else []) + detail}


def _lower(e: dict) -> Ways:
    h, a = hand(e["side"]), arm(e["side"])
    return {"short": [f"lowers {h}"], "plain": [f"lowers {h}", f"lowers {a}", f"puts {a} down"]}


def _hold(e: dict) -> Ways:
    h, a = hand(e["side"]), arm(e["side"])
    plain = [f"holds {h} up", f"holds {a} up", f"keeps {h} up"]
    return {"short": [f"holds {h} up"], "plain": plain, "detail": [f"holds {h} {_AT[e['level']]}"]}


def _wave(e: dict) -> Ways:
    side = e["side"]
    if side == "both":
        return {"short": ["waves with both hands"], "plain": ["waves with both hands", "waves both hands"]}
    plain = [f"waves with the {side} hand", f"waves the {side} hand", f"waves using the {side} arm"]
    return {
        "short": [f"waves the {side} hand"],
        "plain": plain,
        "detail": [plain[0], f"waves the {side} hand to and fro"],
    }


def _clap(e: dict) -> Ways:
    often = times(e["count"]) if e["count"] <= 8 else "many times"
    return {"short": ["claps"], "plain": ["claps the hands", "claps"], "detail": [f"claps {often}", "claps both hands"]}


def _punch(e: dict) -> Ways:
    side, count = e["side"], e["count"]
    if side == "both":
        return {"short": ["throws punches"], "plain": ["throws punches", "punches with both hands", "punches"]}
    plain = [f"punches with the {side} hand", f"throws {'a punch' if count == 1 else 'punches'} with the {side} hand"]
    return {"short": ["punches"], "plain": plain, "detail": [f"punches {times(count)} with the {side} hand", plain[0]]}


def _kick(e: dict) -> Ways:
    side, count = e["side"], e["count"]
    if side == "both":
        return {"short": ["kicks"], "plain": ["kicks with both legs", "kicks with the left and the right leg"]}
    often = f" {times(count)}" if count > 1 else ""
    plain = [f"kicks{often} with the {side} foot", f"kicks{often} with the {side} leg"]
    plain += [f"does a {side} kick"] if count == 1 else []
    high = e["height"]
    word = "low " if high < 0.55 else "" if high < 0.8 else "at waist height " if high < 1.15 else "high "
    return {"short": ["kicks"], "plain": plain, "detail": [f"kicks {word}with the {side} foot{often}", *plain]}


def _throw(e: dict) -> Ways:
    plain = [f"throws something with the {e['side']} hand", f"makes a throwing motion with the {e['side']} arm"]
    return {"short": ["throws something"], "plain": plain, "detail": [f"throws overarm with the {e['side']} hand"]}


def _reach(e: dict) -> Ways:
    h, a = hand(e["side"]), arm(e["side"])
    if e["to"] == "down":
        return {"short": ["reaches down"], "plain": [f"reaches down with {h}", "reaches down to the floor"]}
    plain = [f"reaches forward with {h}", f"stretches {a} forward", f"reaches out with {h}"]
    return {"short": [f"reaches forward with {h}"], "plain": plain}


def _bend(e: dict) -> Ways:
    if e["began"]:
        return {"short": ["straightens up"], "plain": ["straightens up", "comes up from bending forward"]}
    plain = ["bends forward", "bends over", "bends down"]
    often = f" {times(e.get('count', 1))}" if e.get("count", 1) > 1 else ""
    plain = [f"{p}{often}" for p in plain]
    return {"short": ["bends forward"], "plain": plain, "detail": [f"bends the upper body forward{often}", *plain]}


def _lean(e: dict) -> Ways:
    way = e["way"] if e["way"] in ("forward", "backward") else f"to the {e['way']}"
    return {"short": [f"leans {way}"], "plain": [f"leans {way}", f"leans the upper body {way}"]}


def _balance(e: dict) -> Ways:
    leg, seconds = e["side"], round(e["seconds"])
    plain = [f"balances on the {leg} leg", f"stands on the {leg} leg", "stands on one leg"]
    exact = [f"stands on the {leg} leg for about {number(seconds)} seconds"] if seconds > 1 else []
    return {"short": ["balances on one leg"], "plain": plain, "detail": exact + plain[:2]}


def _land(e: dict) -> Ways:
    plain = ["lands from a jump", "lands", "comes down from a jump"]
    return {"short": ["lands from a jump"], "plain": plain}


def _stop(e: dict) -> Ways:
    return {"short": ["stops"], "plain": ["stops", "comes to a stop"] + ["stops walking"] * e.get("walk", 0)}


_MAKERS = {
    "travel": _travel, "turn": _turn, "jump": _jump, "low": _low, "raise": _raise, "lower": _lower, "hold": _hold,
    "wave": _wave, "clap": _clap, "punch": _punch, "kick": _kick, "throw": _throw, "reach": _reach, "bend": _bend,
    "lean": _lean, "balance": _balance,
    "stop": _stop, "land": _land,
    "stand": lambda e: {"short": ["stands up"], "plain": e.get("ways") or ["stands up", "gets up", "stands up again"]},
    "spread": lambda e: {"short": ["stretches out both arms"], "plain": [
        "holds both arms stretched out", "stretches both arms out to the sides", "holds both arms out sideways"]},
}  # fmt: skip
