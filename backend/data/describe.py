"""What to say about a motion: sentences in several grains that are true of it.

:func:`backend.data.measure.measure` finds the events; :func:`beats` chooses which are worth telling and in which order;
:mod:`backend.data.wording` has the phrases, :mod:`backend.data.grammar` the English, and
:mod:`backend.data.claims` throws out what the numbers deny. The capture's own description adds action words that
numbers cannot give (a dance, a boxer), but only where the measurements allow them.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from backend.data import activities
from backend.data.claims import contradicts
from backend.data.grammar import SUBJECTS, action_words, gerund, plain, sentence, sequence, swap_sides
from backend.data.measure import measure
from backend.data.telling import beats
from backend.motion.skeleton import Motion

__all__ = [
    "action_words", "beats", "captions", "composed_captions", "contradicts", "joined_captions", "measure", "phrases",
    "swap_sides", "vocabulary",
]  # fmt: skip

_POSTURE = re.compile("stands|is|stays|sits|jumps|hops|does j|crouch|squat|kneel|lie|bend|waits")
LEAST, MOST = 6, 9  # sentences for a window
_GENERIC = {
    "stands",
    "moves",
    "does",
    "takes",
    "makes",
    "gets",
    "goes",
    "comes",
    "gives",
    "puts",
    "starts",
    "stays",
    "keeps",
}


class _Voice:
    """Random choices by seed: one of some options, a subject."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)

    def pick(self, options: Sequence[str]) -> str:
        return str(options[int(self.random.integers(len(options)))])

    def subject(self) -> str:
        return self.pick(SUBJECTS)

    def says(self, phrase: str) -> str:
        return sentence(self.subject(), phrase)

    def doing(self, phrase: str) -> str:
        return sentence(self.subject(), "is", gerund(phrase))


def captions(
    motion: Motion,
    descriptions: list[str],
    human: list[str],
    seed: int,
    m: dict | None = None,
    named: Sequence[str] = (),
    alone: bool = False,
) -> list[str]:
    """Six to nine different sentences that are true of the motion (and up to three more that people wrote).

    A short label, an animator's prompt, sentences of one action, of all in order, and with counts, sides and angles.
    descriptions: what the capture says of the whole clip; human: sentences people wrote about this very part; named:
    phrases that are known to hold (third person, verb first); alone: say these only, the measurements cannot read it.
    """
    m = m or measure(motion)
    voice = _Voice(seed)
    acts = ([list(named)] if named else []) + activities.phrases_of(descriptions, m, motion)
    if alone and acts:
        return _true(_named_only(acts[0], voice), m, LEAST) or _named_only(acts[0], voice)[:LEAST]
    told = beats(m, descriptions, acts)
    manner = activities.styles(descriptions)
    found = _about_acts(acts, told, m, voice)
    found = _woven(found, _about_beats(told, manner, voice))
    if not told and not acts:
        found += _quiet(m, voice)
    people = _true([sentence(h) for h in human], m, 3)
    result = _true(found, m, MOST - min(len(people), 2))
    for _ in range(10):
        if len(result) + len(people) >= LEAST:
            break
        more = _about_acts(acts, told, m, voice) + _about_beats(told, manner, voice)
        result = _true(result + (more or _quiet(m, voice)), m, LEAST - len(people))
    if len(result) + len(people) < LEAST:
        result = _true(result + _quiet(m, voice), m, LEAST)
    return list(dict.fromkeys(result + people))


def _true(sentences: list[str], m: dict, most: int) -> list[str]:
    """The first ``most`` different sentences that the numbers do not deny."""
    found: list[str] = []
    for text in dict.fromkeys(s for s in sentences if s):
        if len(found) == most:
            break
        if not contradicts(text, m):
            found.append(text)
    return found


def _woven(first: list[str], second: list[str]) -> list[str]:
    """Two lists in turn, two of the first for one of the second while both last."""
    result = []
    for i in range(max(len(first), len(second))):
        result += first[2 * i : 2 * i + 2] + second[i : i + 1]
    return result + second[len(result) :]


def _about_acts(acts: list[list[str]], told: list[dict], m: dict, voice: _Voice) -> list[str]:
    """Sentences about the actions that the description or the clip's name knows."""
    if not acts:
        return []
    act = acts[0]
    found = [sentence("a person", act[0]), voice.says(voice.pick(act)), gerund(voice.pick(act))]
    travel = next((b for b in told if b["event"]["kind"] == "travel"), None)
    if travel and m["distance"] > 1.0 and not _is_travel(act[0]):
        way, what = voice.pick(travel["ways"]["plain"]), voice.pick(act)
        both = [f"{what} and {way}", f"{way} while {gerund(what)}"]
        found.append(voice.says(f"{way} and {what}" if re.match("stops|comes to", what) else voice.pick(both)))
    found += [voice.says(voice.pick(other)) for other in acts[1:]]
    found += [voice.doing(voice.pick(act)), plain(voice.pick(act))]
    calm = [p for p in act if not _POSTURE.match(p)]
    if len(told) == 1 and m["distance"] < 0.5 and calm:
        found.append(voice.says(f"stands in place and {voice.pick(calm)}"))
    return found


def _is_travel(phrase: str) -> bool:
    return bool(
        re.search(r"\b(walks?|runs?|jogs?|sneaks?|steps|jumps?|hops|leaps|crawls|rolls|moves|marches|limps)\b", phrase)
    )


def _about_beats(told: list[dict], manner: list[str], voice: _Voice) -> list[str]:
    """A label, a prompt, one sentence about the main thing, the whole in order, and the same with numbers."""
    if not told:
        return []
    main = max(told, key=lambda b: b["weight"])

    def phrase(beat: dict, grain: str, styled: bool = False) -> str:
        said = voice.pick(beat["ways"][grain])
        if styled and manner and beat is main:
            said = f"{said} {voice.pick(manner)}"
        if beat["with"]:
            other = voice.pick(beat["with"][grain])
            said = voice.pick([f"{said} while {gerund(other)}", f"{said} and {other}" if " and " not in said else said])
        return said

    whole = lambda grain, style: sequence([phrase(b, grain, True) for b in told], style)  # noqa: E731
    style = int(voice.random.integers(5))
    found = [sentence("a person", main["ways"]["plain"][0] + (f" {manner[0]}" if manner else ""))]
    found.append(voice.says(whole("plain", style)))
    found.append(gerund(main["ways"]["short"][0]))
    found.append(voice.says(whole("detail", 0)))
    found.append(sequence([plain(phrase(b, "plain", True)) for b in told], 0 if len(told) > 2 else 3))
    found.append(voice.doing(phrase(main, "plain")))
    found.append(voice.says(whole("detail", 3)))
    found.append(voice.says(phrase(main, "plain", True)))
    found.append(plain(phrase(main, "short")))
    found.append(voice.says(phrase(main, "detail")))
    if len(told) > 1:
        found.append(sequence([gerund(b["ways"]["short"][0]) for b in told], 1))
    return found


def _named_only(phrases: list[str], voice: _Voice) -> list[str]:
    """Wordings of phrases that are all there is to say."""
    found = [sentence("a person", phrases[0]), gerund(voice.pick(phrases))]
    found += [voice.says(p) for p in phrases[1:4]]
    found += [voice.doing(voice.pick(phrases)), plain(phrases[0]), voice.says(phrases[0])]
    found += [voice.doing(p) for p in phrases] + [sentence(s, phrases[0]) for s in dict.fromkeys(SUBJECTS)]
    return list(dict.fromkeys(found))


def _quiet(m: dict, voice: _Voice) -> list[str]:
    """Sentences for a window in which nothing stands out."""
    low = m["lowest"] < 0.7
    busy = max(m["left_busy"], m["right_busy"])
    if m["distance"] > 1.0:
        options = ["moves around", "moves about", "moves from one place to another", "goes from one place to another"]
    elif m["mean_speed"] < 0.06 and busy < 0.2 and not low:
        options = ["stands still", "stands in place without moving", "stands idle", "stays in place and waits"]
    elif busy > 0.2 and not low and abs(m["left_busy"] - m["right_busy"]) > 0.5 * busy:
        side = "left" if m["left_busy"] > m["right_busy"] else "right"
        options = [f"moves the {side} arm", f"gestures with the {side} hand", f"stands and moves the {side} hand"]
    elif m["hand_activity"] > 0.3 and not low:
        options = ["moves the arms while standing", "gestures with the hands", "stands in place and moves the arms"]
    elif m["mean_speed"] < 0.12 and not low:
        options = ["stands in place", "stands and shifts the weight a little", "stands and moves only a little"]
    else:
        options = ["moves on the spot", "moves in place", "moves a little on the spot"]
    found = [voice.says(p) for p in options] + [gerund(options[0]), voice.doing(voice.pick(options)), plain(options[0])]
    return [*found, *(sentence("a person", p) for p in options), *(voice.doing(p) for p in options)]


def phrases(
    motion: Motion,
    descriptions: list[str],
    seed: int,
    m: dict | None = None,
    named: Sequence[str] = (),
    alone: bool = False,
) -> list[str]:
    """What happens, in order, as short phrases (third person, verb first, no subject): ["walks forward", "sits down"].

    Arguments as for :func:`captions`. One to three phrases, none denied by the measurements.
    """
    m = m or measure(motion)
    voice = _Voice(seed)
    acts = ([list(named)] if named else []) + activities.phrases_of(descriptions, m, motion)
    if alone and acts:
        return [voice.pick(acts[0])]
    told = beats(m, descriptions, acts)
    said = []
    for beat in told[:3]:
        options = [p for p in beat["ways"]["plain"] if not contradicts(p, m)] or beat["ways"]["short"]
        said.append(voice.pick(options))
        if beat["with"] and " and " not in said[-1]:
            said[-1] += f" while {gerund(voice.pick(beat['with']['short']))}"
    true = [p for act in acts for p in act if not contradicts(p, m)]
    if true:
        act = voice.pick([p for p in acts[0] if p in true] or true)
        travel = next((s for s, b in zip(said, told, strict=False) if b["event"]["kind"] == "travel"), None)
        if travel and re.match("stops|comes to", act):
            return [travel, act]
        if travel and m["distance"] > 1.0 and not _is_travel(act) and " while " not in travel:
            return [f"{travel} while {gerund(act)}"]
        return [act]
    return said or [plain_quiet(m)]


def plain_quiet(m: dict) -> str:
    """The phrase for a window in which nothing stands out."""
    return "stands still" if m["mean_speed"] < 0.06 else "stands in place"


def joined_captions(parts: list[list[str]], seed: int) -> list[str]:
    """Six to nine sentences for pieces that follow each other; parts: the :func:`phrases` of each piece, in order."""
    voice = _Voice(seed)
    short = _once([_telling(part) for part in parts if part])
    full = _once([phrase for part in parts for phrase in part])[:6]
    start = int(voice.random.integers(5))
    found = [
        sentence("a person", sequence(short, 0)),
        voice.says(sequence(full, start)),
        sequence([gerund(p) for p in short], 1),
        sequence([plain(p) for p in short], 1),
        voice.says(sequence(short, start + 1)),
        sentence(voice.subject(), "is", sequence([gerund(p) for p in full], 0)),
        voice.says(sequence(full, start + 2)),
        voice.says(sequence(short, start + 3)),
        sequence([plain(p) for p in full], 3),
    ]
    found += [sentence(s, sequence(short, i)) for i, s in enumerate(dict.fromkeys(SUBJECTS))]
    return list(dict.fromkeys(found))[:MOST]


def _once(phrases: list[str]) -> list[str]:
    """Phrases without those that say again in other words what the one before said ("acts like a bear", "imitates a
    bear")."""
    object_of = lambda p: re.search(r"(?:\ba|\ban|\bthe) (?!left|right|floor|ground)[a-z ]+$", p)  # noqa: E731
    result: list[str] = []
    for phrase in phrases:
        words = object_of(phrase)
        before = object_of(result[-1]) if result else None
        if not (words and before and words.group() == before.group() and "step" not in phrase):
            result.append(phrase)
    return result


def _telling(part: list[str]) -> str:
    """The phrase that stands for a piece: the first that is not a posture kept."""
    kept = re.compile(r"(remains|is|stays|sits|stands (in|still|with|bent)|lies on|kneels on|lowers|straightens)\b")
    return next((p for p in part if not kept.match(p)), part[0])


def composed_captions(legs: list[str], arms: list[str], seed: int) -> list[str]:
    """Six to nine sentences for what legs and arms do at the same time; both as :func:`phrases`."""
    voice = _Voice(seed)
    way, what = sequence(legs[:2], 3), arms[0].split(" while ")[0]
    if len(legs) > 1:
        while_way = gerund(legs[0])
    else:
        while_way = gerund(way)
    found = [
        sentence("a person", way, "while", gerund(what)),
        sentence(voice.subject(), what, "while", while_way),
        f"{gerund(way)} while {gerund(what)}",
        f"{plain(way)} while {gerund(what)}",
        sentence(voice.subject(), "is", gerund(way), "while", gerund(what)),
        sentence("while", while_way + ",", voice.subject(), what),
        voice.says(f"{what} and {legs[0]} at the same time"),
        voice.says(f"{way} and at the same time {what}"),
        sentence(voice.subject(), way + ",", gerund(what), "all the while"),
    ]
    return list(dict.fromkeys(found))[:MOST]


def vocabulary(rows: Sequence[dict]) -> list[tuple[str, int, float]]:
    """(action, windows, hours) for the actions that the rows of a data set name, the most frequent first.

    An action counts once a window; its hours are those of the windows that name it. Rows need "captions" and "labels"
    (for "seconds").
    """
    windows: Counter = Counter()
    seconds: Counter = Counter()
    for row in rows:
        for verb in action_words(row["captions"]) - _GENERIC:
            windows[verb] += 1
            seconds[verb] += row["labels"]["seconds"]
    return [(verb, count, round(seconds[verb] / 3600, 3)) for verb, count in windows.most_common()]
