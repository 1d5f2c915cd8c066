"""Sentences that are true of a motion: wording for what :func:`backend.data.measure.measure` found.

The capture's own description adds action words that numbers cannot give (a dance, a boxer), but only where the
measurements allow them; left, right, forward, fast and how often always come from the measurement.
"""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np

from backend.data.measure import measure
from backend.motion.skeleton import Motion

__all__ = [
    "action_words", "captions", "composed_captions", "contradicts", "describe", "joined_captions", "measure", "phrases",
    "swap_sides",
]  # fmt: skip

SUBJECTS = ("a person", "a person", "a person", "a man", "someone", "the person", "a figure")
NUMBERS = {1: "once", 2: "twice", 3: "three times", 4: "four times", 5: "five times"}
IRREGULAR = {
    "is": "", "sits": "sitting", "runs": "running", "gets": "getting", "puts": "putting", "jogs": "jogging",
    "squats": "squatting", "stops": "stopping", "steps": "stepping", "swings": "swinging", "hops": "hopping",
    "mops": "mopping", "dabs": "dabbing", "spins": "spinning", "does": "doing", "ducks": "ducking",
    "cleans": "cleaning", "moves": "moving", "dives": "diving", "waves": "waving", "dances": "dancing",
    "raises": "raising", "practises": "practising", "imitates": "imitating", "leans": "leaning",
    "takes": "taking", "gives": "giving", "makes": "making", "wipes": "wiping", "boxes": "boxing",
    "washes": "washing", "marches": "marching", "touches": "touching", "stretches": "stretching",
    "twists": "twisting", "punches": "punching", "crouches": "crouching", "balances": "balancing",
    "dribbles": "dribbling", "strikes": "striking", "comes": "coming", "bounces": "bouncing",
    "directs": "directing", "veers": "veering", "lies": "lying", "goes": "going", "shuffles": "shuffling",
    "backs": "backing", "turns": "turning", "walks": "walking", "sneaks": "sneaking", "kneels": "kneeling",
    "drifts": "drifting", "jumps": "jumping", "leaps": "leaping", "stands": "standing", "holds": "holding",
    "lifts": "lifting", "lowers": "lowering", "bends": "bending", "kicks": "kicking", "throws": "throwing",
    "stays": "staying", "sprints": "sprinting", "paces": "pacing", "strolls": "strolling", "acts": "acting",
    "performs": "performing", "plays": "playing", "covers": "covering", "tilts": "tilting", "looks": "looking",
    "fights": "fighting", "climbs": "climbing", "laughs": "laughing", "shakes": "shaking", "drinks": "drinking",
    "picks": "picking", "shoots": "shooting", "tells": "telling", "gestures": "gesturing", "rolls": "rolling",
    "lands": "landing", "talks": "talking", "waits": "waiting", "aims": "aiming", "eats": "eating", "fires": "firing",
    "claps": "clapping", "nods": "nodding", "cheers": "cheering", "rests": "resting", "breathes": "breathing",
    "listens": "listening", "meditates": "meditating", "sways": "swaying", "pushes": "pushing", "thrusts": "thrusting",
    "drives": "driving", "swims": "swimming", "stabs": "stabbing", "works": "working", "pulls": "pulling",
    "sleeps": "sleeping", "crawls": "crawling", "falls": "falling", "collapses": "collapsing", "attacks": "attacking",
    "chops": "chopping", "slices": "slicing", "reloads": "reloading", "celebrates": "celebrating", "bows": "bowing",
    "salutes": "saluting", "rises": "rising", "starts": "starting", "says": "saying", "reaches": "reaching",
    "greets": "greeting", "draws": "drawing", "casts": "casting", "creeps": "creeping", "fixes": "fixing",
}  # fmt: skip


@cache
def activities() -> list[dict]:
    """The table of action words (``activities.json``)."""
    return json.loads((Path(__file__).parent / "activities.json").read_text(encoding="utf-8"))["activities"]


def conditions(m: dict, motion: Motion) -> dict[str, float]:
    """The numbers that the activity table may ask for, from measurements ``m``."""
    up = {side: m["hands"][side]["shoulder"] for side in ("left", "right")}
    over = {side: m["hands"][side]["head"] for side in ("left", "right")}
    height = motion.translation[:, 1]
    n = max(3, motion.frames // 6)
    low = height < 0.74
    speeds = [p["speed"] for p in m["phases"]]
    joints = motion.joints()
    near = {
        side: float((np.linalg.norm(joints[:, w] - joints[:, 15] - [0, 0.1, 0], axis=1) < 0.26).mean())
        for side, w in (("left", 20), ("right", 21))
    }
    shoulder = joints[:, 16] - joints[:, 17]
    twist = np.degrees(np.unwrap(np.arctan2(-shoulder[:, 2], shoulder[:, 0])))
    moving_end = any(a > 1.0 and b < 0.5 for a, b in zip(speeds, speeds[1:], strict=False))
    return {k: v for k, v in m.items() if isinstance(v, float)} | {
        "jumps": len(m["jumps"]),
        "steps": m["steps"],
        "kicks": sum(m["kicks"].values()),
        "kick_speed": m["foot_speed"],
        "punches": sum(m["punches"].values()),
        "waves": sum(m["waves"].values()),
        "bends": len(m["bends"]) + (m["lowest"] < 0.6),
        "one_leg": max(m["one_leg"].values()),
        "abs_turn": abs(m["turn"]),
        "hand_high": max(m["left_hand"], m["right_hand"]) + 0.1,
        "hand_top": max(m["left_hand"], m["right_hand"]),
        "hand_swing": m["hand_activity"],
        "both_up": float(bool(up["left"]) and bool(up["right"])),
        "one_up": float(bool(up["left"]) != bool(up["right"])),
        "one_near_head": float((near["left"] > 0.15) != (near["right"] > 0.15)),
        "both_over_head": float(bool(over["left"]) and bool(over["right"])),
        "sits_down": float(height[:n].mean() > 0.82 and low[-n:].mean() > 0.8),
        "stands_up": float(height[-n:].mean() > 0.82 and low[:n].mean() > 0.8),
        "low_share": float(low.mean()),
        "squats": sum(1 for p in m["phases"] if p["kind"] == "low"),
        "ducks": float(m["lowest"] < 0.72 and m["distance"] > 0.7),
        "stops": float(moving_end),
        "twist": float(np.ptp(twist)),
        "left_near_head": near["left"],
        "right_near_head": near["right"],
    }


def _holds(needs: list[str], values: dict[str, float]) -> bool:
    for need in needs:
        name, sign, limit = re.fullmatch(r"(\w+)([<>])(-?[\d.]+)", need).groups()
        value = values[name]
        if not (value > float(limit) if sign == ">" else value < float(limit)):
            return False
    return True


def activity_phrases(m: dict, motion: Motion, descriptions: list[str]) -> list[list[str]]:
    """Groups of phrases (third person) for the actions that a description names and the numbers confirm."""
    values = conditions(m, motion)
    sides = {"up_side": _side(values, m), "kick_side": max(m["kicks"], key=m["kicks"].get)}
    found = []
    for entry in activities():
        if any(re.search(entry["match"], d, re.IGNORECASE) for d in descriptions) and _holds(entry["needs"], values):
            found.append([p.format(**sides) for p in entry["phrases"]])
    return found


def _may_wave(descriptions: list[str]) -> bool:
    """A hand that swings waves, unless the description names something else that hands do (washing, fencing...)."""
    named = any(re.search(a["match"], d, re.IGNORECASE) for a in activities() for d in descriptions)
    return not named or any(re.search("wave|traffic|hello", d, re.IGNORECASE) for d in descriptions)


def _side(values: dict, m: dict) -> str:
    if values["one_near_head"]:
        return "left" if values["left_near_head"] > values["right_near_head"] else "right"
    return "left" if m["left_hand"] > m["right_hand"] else "right"


def describe(m: dict, seated: bool = False) -> list[tuple[str, ...]]:
    """What happens, in order: for each phase the ways to say it (third person, verb first), most usual first.

    seated: the capture is known to have a seat, so a low pelvis means sitting.
    """
    phrases: list[tuple[str, ...]] = []
    jumps = [p for p in m["phases"] if p["kind"] == "jump"]
    said_jumps = False
    phases = _told(m["phases"])
    for i, p in enumerate(phases):
        if p["kind"] == "jump":
            if not said_jumps:
                phrases.append(_jump_phrase(m, len(jumps)))
            said_jumps = True
        elif p["kind"] in ("walk", "run"):
            phrases.append(_travel_phrase(p))
        elif p["kind"] in ("backward", "left", "right"):
            phrases.append(_side_phrase(p))
        elif p["kind"] == "turn" and _turns(m, p):
            side = "left" if p["turn"] > 0 else "right"
            around = (f"turns around to the {side}", "turns around")
            phrases.append(around if abs(p["turn"]) > 135 else (f"turns to the {side}", f"turns {side}"))
        elif p["kind"] == "low":
            phrases.append(_low_phrase(m, p, seated))
        elif p["kind"] == "still" and len(phases) > 1 and p["stop"] - p["start"] >= 12:
            before = phases[i - 1]["kind"] if i else ""
            if before in ("walk", "run", "backward") and phases[i - 1]["speed"] > 0.7:
                phrases.append(("stops", "comes to a stop"))
            elif before == "low":
                phrases.append(("stands up", "gets up"))
    return [p for i, p in enumerate(phrases) if i == 0 or p != phrases[i - 1]]


def _told(phases: list[dict]) -> list[dict]:
    """The phases worth a word: shuffles of a few centimetres and the run-up and landing of a jump are not."""
    result = []
    for i, p in enumerate(phases):
        beside = {phases[k]["kind"] for k in (i - 1, i + 1) if 0 <= k < len(phases)}
        small = p["kind"] in ("walk", "backward", "left", "right") and p["distance"] < (
            0.7 if "jump" in beside else 0.45
        )
        dip = p["kind"] == "low" and "jump" in beside and p["stop"] - p["start"] < 30
        if small:
            p = p | {"kind": "still"}
        if not dip and not (result and result[-1]["kind"] == p["kind"] == "still"):
            result.append(p)
    return result


def _turns(m: dict, p: dict) -> bool:
    """Whether a turn on the spot is one: it stays, or another turn undoes it; the sway of the hips is none."""
    others = sum(q["turn"] for q in m["phases"] if q["kind"] == "turn" and q is not p and q["turn"] * p["turn"] < 0)
    stays = m["turn"] * p["turn"] > 0 and abs(m["turn"]) > 25
    return abs(p["turn"]) > 30 and (stays or abs(others) > 30)


def _turn_words(turn: float) -> tuple[str, ...]:
    side = "left" if turn > 0 else "right"
    size = abs(turn)
    if size > 300:
        return (f"in a circle to the {side}", "in a circle", f"around in a circle to the {side}")
    if size > 135:
        return (f"and turns around to the {side}", "and turns around", f"in a half circle to the {side}")
    if size > 65:
        return (f"and turns {side}", f"and turns to the {side}", f"and makes a {side} turn")
    if size > 30:
        return (f"and turns {side}", f"in a curve to the {side}", f"and veers to the {side}")
    if size > 20:
        return (f"veering slightly to the {side}", f"and drifts a little to the {side}")
    return ()


def _travel_phrase(p: dict) -> tuple[str, ...]:
    speed = p["speed"]
    if p["kind"] == "run":
        if speed > 4.2:
            verbs = ("runs forward fast", "sprints forward", "runs fast")
        elif speed > 2.9:
            verbs = ("runs forward", "runs", "is running")
        else:
            verbs = ("jogs forward", "jogs", "runs slowly")
    elif p["distance"] < 0.8:
        verbs = ("steps forward", "takes a step forward")
    elif speed < 0.85:
        verbs = ("walks forward slowly", "walks slowly", "slowly walks forward")
    elif speed > 1.6:
        verbs = ("walks forward quickly", "walks fast", "walks briskly")
    else:
        verbs = ("walks forward", "walks", "walks forward at a normal pace")
    turn = _turn_words(p["turn"])
    if not turn:
        verbs = verbs[:2] if p["distance"] < 0.8 else verbs
        straight = (verbs[0] + " in a straight line",) if p["distance"] > 2.5 and abs(p["turn"]) < 10 else ()
        return verbs + straight
    base = verbs[1].removeprefix("is ") if verbs[1].startswith("is ") else verbs[1]
    base = "runs" if base == "running" else base
    slight = 20 < abs(p["turn"]) <= 30
    joined = tuple(f"{verbs[0] if i % 2 == 0 else base} {t}" for i, t in enumerate(turn))
    return joined + ((verbs[0],) if slight else ())


def _side_phrase(p: dict) -> tuple[str, ...]:
    kind = p["kind"]
    if kind == "backward":
        short, long = ("steps backward", "takes a step back"), ("walks backward", "walks backwards", "backs away")
    else:
        short = (f"steps to the {kind}", f"takes a step to the {kind}")
        long = (f"walks sideways to the {kind}", f"shuffles to the {kind}", f"moves sideways to the {kind}")
    base = short if p["distance"] < 0.8 else long
    turn = _turn_words(p["turn"]) if abs(p["turn"]) > 40 else ()
    return tuple(f"{base[0]} {t}" for t in turn[:2]) or base


def _jump_phrase(m: dict, count: int) -> tuple[str, ...]:
    far = np.mean([j["speed"] for j in m["jumps"]])
    forward = m["forward"] > 0.5 and far > 0.7
    times = NUMBERS.get(count, "several times")
    high = max(j["rise"] for j in m["jumps"]) > 0.35
    if count == 1:
        if forward:
            return ("jumps forward", "does a forward jump", "takes a jump forward")
        up_high = ("jumps high", "jumps high into the air", "jumps up high")
        return up_high if high else ("jumps", "jumps up", "jumps into the air")
    if forward:
        return (f"jumps forward {times}", f"hops forward {times}")
    third = f"jumps in place {times}" if m["distance"] < 1 else f"jumps {times}"
    return (f"jumps {times}", f"jumps up and down {times}", third)


def _low_phrase(m: dict, p: dict, seated: bool) -> tuple[str, ...]:
    if seated and m["lowest"] > 0.3:
        return ("sits", "sits on a stool", "is sitting") if p["start"] == 0 else ("sits down", "sits down on a stool")
    if m["up"] < -0.2:
        return ("goes upside down", "turns upside down")
    if m["head_low"] < 0.55 and m["lowest"] < 0.35:
        return ("goes down to the floor", "lies on the floor")
    if m["lean"] > 60 and m["lowest"] > 0.5:
        return ("bends down", "bends over with bent knees", "bends down low")
    if p["distance"] > 0.8:
        return ("walks crouched", "moves forward in a crouch" if m["forward"] > 0.4 else "moves in a crouch")
    if p["start"] == 0:
        return ("crouches", "stays crouched", "stands with bent knees")
    if m["lowest"] < 0.5:
        return ("squats down", "squats deeply", "crouches down")
    return ("crouches", "bends the knees and crouches", "lowers the body")


def hand_phrases(m: dict) -> list[tuple[str, ...]]:
    """What the hands, legs and trunk do besides the travel, most telling first."""
    found: list[tuple[str, ...]] = []
    hands = m["hands"]
    waving = [side for side, waves in m["waves"].items() if waves]
    up = [side for side in ("left", "right") if hands[side]["shoulder"]]
    high = [side for side in ("left", "right") if hands[side]["head"]]
    quiet = m["speed"] < 1.2 or m["distance"] < 1.5
    if quiet and up:
        both = len(up) == 2
        which = "both hands" if both else f"the {up[0]} hand"
        arms = "both arms" if both else f"the {up[0]} arm"
        it = "them" if both else "it"
        where = "above the head" if len(high) == len(up) else "above the shoulders" if both else "above the shoulder"
        began = all(hands[side]["began_low"] for side in up)
        if waving and len(waving) == len(up):
            found.append((f"waves with {which}", f"raises {arms} and waves", f"waves {which}"))
        elif began:
            found.append((f"raises {which}", f"lifts {arms}", f"raises {arms} {where}"))
            if all(hands[side]["ended_low"] for side in up):
                found.append((f"raises {which} and lowers {it} again", f"lifts {arms} and puts {it} down again"))
        elif all(hands[side]["ended_low"] and hands[side]["began_up"] for side in up):
            found.append((f"lowers {which}", f"lowers {arms}", f"takes {which} down"))
        elif all(hands[side]["share"] > 0.5 for side in up):
            found.append((f"holds {which} up", f"holds {arms} up", f"holds {which} {where}"))
        elif m["hand_activity"] > 0.3:
            found.append((f"moves {arms}", f"gestures with {which}"))
    elif quiet and min(hands["left"]["out"], hands["right"]["out"]) > 0.4:
        found.append(("holds both arms stretched out", "stretches out both arms"))
    kicks = {s: n for s, n in m["kicks"].items() if n}
    if len(kicks) == 1:
        side, n = next(iter(kicks.items()))
        times = "" if n == 1 else " " + NUMBERS.get(n, "several times")
        found.append((f"kicks with the {side} foot{times}", f"kicks with the {side} leg{times}", f"kicks{times}"))
    elif kicks:
        found.append(("kicks with both legs", "kicks with the left and the right leg"))
    punches = {s: n for s, n in m["punches"].items() if n}
    if sum(punches.values()) >= 2 and m["hand_speed"] > 2.5:
        if len(punches) == 2:
            found.append(("throws punches", "punches with both hands"))
        else:
            side = next(iter(punches))
            found.append((f"punches with the {side} hand", f"throws punches with the {side} hand"))
    if m["bends"] and not any(p["kind"] == "low" for p in m["phases"]):
        found.append(("bends forward", "bends over", "leans far forward"))
    leg = max(m["one_leg"], key=m["one_leg"].get)
    if m["one_leg"][leg] > 1.2:
        found.append((f"stands on the {leg} leg", "balances on one leg"))
    return found


def _gerund(phrase: str) -> str:
    """A third-person phrase as it follows "is": its verbs, at the start and after and, then or a comma, in -ing."""
    words, verb_here = [], True
    for i, word in enumerate(phrase.split()):
        bare = word.rstrip(",")
        if verb_here and bare in IRREGULAR:
            words.append(IRREGULAR[bare] + word[len(bare) :])
            verb_here = False
        elif i == 0 and bare.endswith("s"):
            words.append(_ing(bare) + word[len(bare) :])
            verb_here = False
        else:
            words.append(word)
            verb_here = verb_here and bare.endswith("ly")
        verb_here = verb_here or bare in ("and", "then") or word.endswith(",")
    return " ".join(w for w in words if w)


def _ing(verb: str) -> str:
    """The -ing form of a regular verb in the third person singular: reloads, creeps, applauds, wonders..."""
    stem = verb[:-2] if re.search(r"(sh|ch|ss|x|o)es$", verb) else verb[:-1]
    stem = stem[:-2] + "y" if stem.endswith("ie") else stem
    return (stem[:-1] if re.search(r"[^eo]e$", stem) else stem) + "ing"


def captions(
    motion: Motion,
    descriptions: list[str],
    human: list[str],
    seed: int,
    m: dict | None = None,
    named: list[str] = (),
    alone: bool = False,
) -> list[str]:
    """4-8 different sentences that are true of the motion.

    descriptions: what the capture says of the whole clip; human: sentences people wrote about this very part; named:
    phrases that are known to hold (third person, verb first); alone: say these only, the measurements cannot read it.
    """
    m = m or measure(motion)
    random = np.random.default_rng(seed)
    pick = lambda options: str(options[int(random.integers(len(options)))])  # noqa: E731
    subject = lambda: pick(SUBJECTS)  # noqa: E731
    seated = any(re.search(r"\bsit\b|stool", d, re.IGNORECASE) for d in descriptions)
    body = describe(m, seated)
    hands = hand_phrases(m if _may_wave(descriptions) else m | {"waves": {}})
    acts = ([list(named)] if named else []) + activity_phrases(m, motion, descriptions)
    if alone:
        return _only(acts[0], subject, pick)
    if any("wave" in phrase for act in acts for phrase in act):
        hands = [h for h in hands if "wave" in h[0]]
    travels = [b for b in body if not b[0].startswith(("stops", "stands up"))]
    main = _longest(m, body, seated)
    result: list[str] = []
    if acts:
        result.append(f"{subject()} {pick(acts[0])}")
        result.append(f"{subject()} {pick(acts[-1])}")
        if main and m["distance"] > 1.0:
            result.append(f"{subject()} {pick(acts[0])} and {pick(main)}")
        for act in acts[1:]:
            result.append(f"{subject()} {pick(act)}")
        result.append(f"{subject()} is {_gerund(pick(acts[0]))}")
    if main:
        result.append(f"a person {main[0]}")
        result.append(f"{subject()} {pick(main)}")
        result.append(f"{subject()} is {_gerund(pick(main))}")
    if len(body) >= 2:
        result += [_sequence(subject(), body, pick) for _ in range(2)]
        if len(body) == 2 and travels:
            result.append(f"{subject()} {body[0][0]} and then {body[1][0]}")
    for hand in hands[:2]:
        alone = m["distance"] < 1.2 and not m["jumps"]
        if alone:
            result.append(f"{subject()} {hand[0]}")
            result.append(f"{subject()} {pick(hand)}")
        elif main:
            result.append(f"{subject()} {pick(main)} and {pick(hand)}")
    if len(hands) >= 2 and m["distance"] < 1.2 and hands[0][0].split()[0] != hands[1][0].split()[0]:
        result.append(f"{subject()} {pick(hands[0])} and {pick(hands[1])}")
    if not result:
        result += _quiet(m, subject, pick)
    low = any(p["kind"] == "low" for p in m["phases"])
    if m["distance"] < 0.5 and len(result) < 4 and not m["jumps"] and not low:
        place = "on the spot" if m["mean_speed"] > 0.1 else "still"
        if result and hands:
            result.append(f"{subject()} stands {place} and {pick(hands[0])}")
        elif acts and (plain := [p for p in acts[0] if " and " not in p and not re.match("stands|is|stays", p)]):
            result.append(f"{subject()} stands in place and {pick(plain)}")
    for sentence in human:
        if not contradicts(sentence, m):
            result.append(sentence.strip().rstrip("."))
    result = [_tidy(s) for s in result]
    unique = list(dict.fromkeys(result))
    # fill up with other wordings of the main phrase
    for _ in range(12):
        if len(unique) >= 4:
            break
        source = acts[0] if acts and random.random() < 0.6 else (main or (hands[0] if hands else None))
        if source is None:
            extra = _quiet(m, subject, pick)
        else:
            phrase = pick(source)
            extra = [f"{subject()} {phrase}", f"{subject()} is {_gerund(phrase)}"]
        unique = list(dict.fromkeys(unique + [_tidy(s) for s in extra]))
    people = {_tidy(h.strip().rstrip(".")) for h in human}
    return unique[:6] + ([s for s in unique[6:] if s in people][:3] if people else unique[6:8])


def phrases(
    motion: Motion,
    descriptions: list[str],
    seed: int,
    m: dict | None = None,
    named: list[str] = (),
    alone: bool = False,
) -> list[str]:
    """What happens, in order, as short phrases (third person, verb first, no subject): ["walks forward", "sits down"].

    Arguments as for :func:`captions`. At least one phrase, at most three.
    """
    m = m or measure(motion)
    random = np.random.default_rng(seed)
    pick = lambda options: str(options[int(random.integers(len(options)))])  # noqa: E731
    acts = ([list(named)] if named else []) + activity_phrases(m, motion, descriptions)
    if acts:
        return [pick(acts[0])]
    seated = any(re.search(r"\bsit\b|stool", d, re.IGNORECASE) for d in descriptions)
    body, hands = describe(m, seated), hand_phrases(m if _may_wave(descriptions) else m | {"waves": {}})
    found = [pick(b) for b in body[:3]]
    if hands and m["distance"] < 1.2 and not found:
        found = [pick(hands[0])]
    return found or [_quiet(m, lambda: "", pick)[0].strip()]


def joined_captions(parts: list[list[str]], seed: int) -> list[str]:
    """At least six sentences for pieces that follow each other; parts: the :func:`phrases` of each piece, in order."""
    random = np.random.default_rng(seed)
    pick = lambda options: str(options[int(random.integers(len(options)))])  # noqa: E731
    short = [part[0] for part in parts if part]
    full = [phrase for part in parts for phrase in part]
    result = []
    for said in (short, full, short):
        said = [p for i, p in enumerate(said) if i == 0 or p != said[i - 1]]
        result.append(_sequence("a person", said, str))
        subject = pick(SUBJECTS)
        result.append(f"{subject} {said[0]}" + "".join(f", then {p}" for p in said[1:]))
        result.append(f"{pick(SUBJECTS)} first {said[0]}" + "".join(f" and after that {p}" for p in said[1:]))
        result.append(f"{pick(SUBJECTS)} is " + ", then ".join(_gerund(p) for p in said))
    return list(dict.fromkeys(_tidy(s) for s in result))[:8]


def composed_captions(legs: list[str], arms: list[str], seed: int) -> list[str]:
    """At least six sentences for what legs and arms do at the same time; both as :func:`phrases`."""
    random = np.random.default_rng(seed)
    subject = lambda: str(SUBJECTS[int(random.integers(len(SUBJECTS)))])  # noqa: E731
    walk, wave = legs[0], arms[0]
    result = [
        f"a person {walk} while {_gerund(wave)}",
        f"{subject()} {wave} while {_gerund(walk)}",
        f"{subject()} {walk} and {wave}",
        f"{subject()} is {_gerund(walk)} while {_gerund(wave)}",
        f"{subject()} {wave} and {walk} at the same time",
        f"while {_gerund(walk)}, {subject()} {wave}",
        f"{subject()} {walk} and at the same time {wave}",
    ]
    return list(dict.fromkeys(_tidy(s) for s in result))


def _only(phrases: list[str], subject, pick) -> list[str]:
    """Up to six wordings of phrases that are all there is to say."""
    result = [f"a person {phrases[0]}"] + [f"{subject()} {phrase}" for phrase in phrases]
    result += [f"{subject()} is {_gerund(pick(phrases))}", f"{subject()} {pick(phrases)}"]
    return list(dict.fromkeys(_tidy(s) for s in result))[:6]


def _longest(m: dict, body: list, seated: bool) -> tuple[str, ...] | None:
    """The phrase of what fills most of the motion."""
    if not body:
        return None
    told = [p for p in _told(m["phases"]) if p["kind"] != "still"]
    if len(body) == 1 or not told:
        return body[0]
    # a jump is short but it is what one sees
    best = max(told, key=lambda p: (p["kind"] == "jump") * 60 + p["stop"] - p["start"])
    alike = [p for p in told if p is best or best["kind"] == p["kind"] == "jump"]
    found = describe(m | {"phases": alike}, seated)
    return found[0] if found else body[0]


def _sequence(subject: str, body: list, pick) -> str:
    parts = [pick(b) for b in body[:4]]
    if len(parts) == 2:
        return f"{subject} {parts[0]}, then {parts[1]}"
    return f"{subject} " + ", ".join(parts[:-1]) + f" and then {parts[-1]}"


def _quiet(m: dict, subject, pick) -> list[str]:
    if m["mean_speed"] < 0.06:
        options = ("stands still", "stands in place without moving", "stands idle", "stays where he is and waits")
    elif m["hand_activity"] > 0.35:
        options = ("moves the arms while standing", "gestures with the hands", "stands in place and moves the arms")
    elif m["mean_speed"] < 0.12:
        options = ("stands in place", "stands and shifts the weight a little", "stands and moves only a little")
    else:
        options = ("moves on the spot", "stands in place and moves the upper body", "moves the body without walking")
    return [f"{subject()} {pick(options)}" for _ in range(5)]


def _tidy(sentence: str) -> str:
    sentence = re.sub(r"\bis is\b", "is", re.sub(r"\s+", " ", sentence)).strip()
    sentence = re.sub(r"\bwhere he is\b", "in place", sentence)
    return sentence[0].lower() + sentence[1:] if sentence else sentence


def swap_sides(text: str) -> str:
    """Exchange left and right, clockwise and counter-clockwise in a sentence."""
    pairs = {"left": "right", "right": "left", "clockwise": "counterclockwise", "counterclockwise": "clockwise"}
    text = re.sub(r"counter[- ]?(counter[- ]?)?clockwise", "counterclockwise", text)
    return re.sub(r"\b(left|right|counterclockwise|clockwise)\b", lambda w: pairs[w.group(1)], text)


def contradicts(sentence: str, m: dict) -> bool:
    """Whether a sentence says something that the numbers deny: a turn to the wrong side, running that is walking..."""
    s = sentence.lower()
    turned = re.search(r"(?:turn|veer|spin|curve|circle)\w*[^.,]*?\b(left|right)\b", s)
    if turned and (m["turn"] < 10 if turned.group(1) == "left" else m["turn"] > -10):
        return True
    if re.search(r"\bcounterclockwise\b", s) and m["turn"] < 10:
        return True
    if re.search(r"(?<!counter)\bclockwise\b", s) and "arm" not in s and m["turn"] > -10:
        return True
    if re.search(r"\b(runs?|running|sprints?|jogs?|jogging)\b", s) and m["speed"] < 1.5:
        return True
    if re.search(r"\b(jump|hop|leap)", s) and not m["jumps"]:
        return True
    if re.search(r"\bbackwards?\b", s) and not any(p["kind"] == "backward" for p in m["phases"]):
        return True
    if re.search(r"\b(walks?|walking)\b", s) and m["distance"] < 0.7:
        return True
    if re.search(r"\b(stairs?|kick)", s) and "kick" in s and not sum(m["kicks"].values()):
        return True
    if "stairs" in s or "screen" in s or "video" in s or "(" in s:
        return True
    return bool(re.search(r"\b(stands? still|doesn'?t move)", s)) and m["distance"] > 0.7


def action_words(sentences: list[str]) -> set[str]:
    """The verbs that occur in the sentences, in the third person singular."""
    gerunds = {v: k for k, v in IRREGULAR.items() if v}
    found = set()
    for sentence in sentences:
        for word in re.findall(r"[a-z]+", sentence.lower()):
            word = gerunds.get(word, word)
            if word in IRREGULAR and word != "is":
                found.add(word)
    return found
