"""Phrases for the events of a motion (:mod:`backend.data.story`), third person and verb first.

:func:`ways` gives each event's wordings in three grains: ``short`` (a label), ``plain`` (one sentence, sides) and
``detail`` (counts, distances, angles, heights). Numbers are said only where they are sure.
"""

import re

from backend.data.grammar import number, times
from backend.data.travel_words import Ways, angle, meters, side_of, travel


def ways(event: dict) -> Ways:
    """The wordings of one event: {"short": [...], "plain": [...], "detail": [...]}, the most usual first."""
    made = _MAKERS[event["kind"]](event)
    short, plain, detail = (made[k] if k in made else [] for k in ("short", "plain", "detail"))
    plain = plain or short
    return {"short": short or plain[:1], "plain": plain, "detail": detail or plain}


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

_HEIGHT = {
    "chest": "to chest height",
    "shoulder": "to shoulder height",
    "head": "to head height",
    "above": "above the head",
}
_AT = {
    "chest": "in front of the chest",
    "shoulder": "at shoulder height",
    "head": "at head height",
    "above": "above the head",
}


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
    if e["level"] == "chest":
        plain = [f"holds {h} in front of the chest", f"keeps {h} at chest height"]
        return {"short": plain[:1], "plain": plain}
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
    "travel": travel, "turn": _turn, "jump": _jump, "low": _low, "raise": _raise, "lower": _lower, "hold": _hold,
    "wave": _wave, "clap": _clap, "punch": _punch, "kick": _kick, "throw": _throw, "reach": _reach, "bend": _bend,
    "lean": _lean, "balance": _balance,
    "stop": _stop, "land": _land,
    "stand": lambda e: {"short": ["stands up"], "plain": e.get("ways") or ["stands up", "gets up", "stands up again"]},
    "spread": lambda e: {"short": ["stretches out both arms"], "plain": [
        "holds both arms stretched out", "stretches both arms out to the sides", "holds both arms out sideways"]},
}  # fmt: skip


_LIMB = "(?:hand|arm|foot|leg)"
_PLAIN = (
    (re.compile(rf" (?:with|using) (?:the|a|his|her) (?:left|right) {_LIMB}\b"), ""),
    (re.compile(r"\b(?:the|his|her) (?:left|right) arm\b"), "an arm"),
    (re.compile(rf"\b(?:the|his|her) (?:left|right) ({_LIMB})\b"), r"a \1"),
    (re.compile(r"\ba (?:left|right) (kick|punch|wave)\b"), r"a \1"),
)


def without_side(caption: str) -> str:
    """The caption without the word for which hand, arm, foot or leg: "waves with the left hand" -> "waves".

    Where a body goes or turns keeps its side. Still true, and what people write who do not care which hand.
    """
    for pattern, plain in _PLAIN:
        caption = pattern.sub(plain, caption)
    return caption
