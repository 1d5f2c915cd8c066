"""The same request in other words: how training captions say what people say differently, and one thing at a time.

A model that has learnt from some tens of thousands of captions obeys one wording better than another ("dances": 1 of 8
motions danced, "is dancing": 7 of 8), and a sentence of two actions worse than two sentences of one. Where the first
tries miss what a sentence says (``choosing``), it is asked for again in these ways. No rule changes what is asked for;
some add what the sentence leaves open (which hand).
"""

import re

from backend.data.grammar import VERBS

_SUBJECT = re.compile(
    r"\s*((?:a|an|the)\s(?:[\w-]+\s){0,3}?(?:person|man|woman|figure|character|guy|boy|girl|child|actor|dancer|hero)"
    r"|someone|somebody|he|she|they)\s+(?=\w)",
    re.IGNORECASE,
)
_THEN = re.compile(r"(?:,\s*|\s+)(?:and\s+)?(?:then|after that|afterwards|finally)\s+", re.IGNORECASE)
_LISTED = re.compile(r",\s*(?:and\s+)?|\s+and\s+", re.IGNORECASE)
_OTHER: tuple[tuple[str, str], ...] = (
    (r"\b(?:walks|moves|steps) sideways\b", "sidesteps"),
    (r"\btakes a step (?:back|backwards?)\b", "takes one step backward"),
    (r"\btakes a step to\b", "sidesteps to"),
    (r"\bjumps up and down several times\b", "jumps several times"),
    (r"\bjumps three times\b", "jumps up and down three times"),
    (r"\bdances\b", "is dancing"),
    (r"\b(kicks) with the (left|right) foot\b", r"\1 with the \2 leg"),
    (r"\band waves\b(?! (?:with|the|a|one|both))", "while waving the right hand"),
    (r"\bwaves\b(?! (?:with|the|a|one|both))", "waves with the right hand"),
    (r"\bkicks(?! with| the)\b", "kicks with the right foot"),
    (r"\bturns around(?! to)\b", "turns around to the left"),
    (r"\bdoes squats\b", "squats down twice"),
    (r"^(?:someone|a (?:man|woman|figure))\b", "a person"),
)
_RULES = tuple((re.compile(pattern), other) for pattern, other in _OTHER)
MOST = 2  # other ways of asking


def others(sentence: str) -> list[list[str]]:
    """At most ``MOST`` other ways of asking for the same, the most promising first; each a list of sentences."""
    ways = []
    steps = one_by_one(sentence)
    if len(steps) > 1:
        ways.append(steps)
    worded = _worded(sentence)
    if worded != sentence:
        ways.append([worded])
    if len(steps) > 1 and (again := [_worded(step) for step in steps]) != steps:
        ways.append(again)
    return ways[:MOST]


def _worded(sentence: str) -> str:
    for pattern, other in _RULES:
        sentence = pattern.sub(other, sentence)
    return sentence


def one_by_one(sentence: str) -> list[str]:
    """A sentence of several actions in order as one sentence for each: "a man walks, then sits down" -> "a man walks",
    "a man sits down". Lists of three count as an order ("walks, turns around and waves"), "and" between two does not.
    """
    subject = _SUBJECT.match(sentence)
    if not subject:
        return [sentence]
    clauses = [c for c in _THEN.split(sentence[subject.end() :].strip().rstrip(".")) if c]
    if len(clauses) == 1:
        listed = _split(clauses[0], _LISTED)
        clauses = listed if len(listed) > 2 else clauses
    turned = False
    for i, clause in enumerate(clauses):
        if turned:  # back to where it came from is forward by now
            clauses[i] = re.sub(r"^(walks|runs|goes|jogs) back$", r"\1 forward", clause)
        turned = turned or "turns around" in clause
    return [f"{subject[1]} {clause}" for clause in clauses]


def _split(clause: str, pattern: re.Pattern) -> list[str]:
    """Pieces that begin with a verb; what does not belongs to the piece before it ("lifts the left and right arm")."""
    pieces: list[str] = []
    at = 0
    for match in pattern.finditer(clause):
        word = clause[match.end() :].split(maxsplit=1)[:1]
        if word and word[0].strip(",.") in VERBS:
            pieces.append(clause[at : match.start()])
            at = match.end()
    return [*pieces, clause[at:]]


def shared(frames: int, weights: list[float], least: int) -> list[int]:
    """``frames`` shared out by ``weights``, at least ``least`` each where there is room; they sum to ``frames``."""
    count = len(weights)
    least = min(least, frames // count)
    spare = frames - least * count
    total = sum(weights)
    ends = [least * (i + 1) + round(spare * sum(weights[: i + 1]) / total) for i in range(count)]
    return [stop - start for start, stop in zip([0, *ends], ends, strict=False)]
