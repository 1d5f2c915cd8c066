"""Several tries at a sentence, and the one that does most of what it says: measured on the motion, not guessed.

The measurements are those that check the captions of the training data (:mod:`backend.data.claims`): "turns left by 90
degrees" is held against the heading, "waves with the right hand" against the wrists. What a sentence says and nothing
can measure ("like a zombie") has no say.
"""

import re
from collections.abc import Callable

from backend.data.claims import Claim, check
from backend.data.grammar import action_words
from backend.data.measure import measure
from backend.motion.quality import metrics
from backend.motion.skeleton import Motion

# between the seeds of two tries; of a seed PyTorch's generator on a CPU knows the lowest 32 bits alone
APART = 1_000_003
Score = Callable[[list[str], list[int], Motion], tuple[float, list[str]]]  # see ``score``
SHORTEST = 10  # frames; less of a motion is not measured
HELD, DENIED, ENOUGH = 0.6, 0.5, 3  # what a claim of a caption is worth beside its likelihood; how many are counted
NAMED = 1.0  # and what it is worth that it names the action that is recognised
# what the kinds of claims are called in a sentence for the artist; a kind that is not here goes by its own name
WORDS = {
    "hand": "hands", "side": "left or right", "count": "how often", "posture": "low posture",
    "angle": "how far to turn", "stop": "stopping", "stand": "standing up", "bend": "bending",
    "balance": "standing on one leg",
}  # fmt: skip


def draws(seeds: list[int], tries: int) -> list[int]:
    """The seeds of all tries, seed by seed; the first try of each is that of the seed itself."""
    return [seed + k * APART for seed in seeds for k in range(tries)]


def score(sentences: list[str], segments: list[int], motion: Motion) -> tuple[float, list[str]]:
    """How well a motion does what is said: (claims that hold less twice those denied, the kinds that are denied).

    sentences: in order; segments: the first frame of each.
    """
    total, denied = 0.0, []
    for sentence, start, stop in zip(sentences, segments, [*segments[1:], motion.frames], strict=True):
        if stop - start < SHORTEST:
            continue
        facts = measure(motion.slice(start, stop))
        for claim in check(sentence, facts) + _strictly(sentence, facts):
            if claim.holds is False:
                denied.append(claim.kind)
            total += {True: 1.0, False: -2.0, None: 0.0}[claim.holds]
    return total, list(dict.fromkeys(denied))


_ASKED = (
    (re.compile(r"\bpunch|\bbox(es|ing|er)\b"), "punch"),
    (re.compile(r"\bkick"), "kick"),
    (re.compile(r"\bwav(e|es|ing)\b"), "wave"),
    (re.compile(r"\bclap"), "clap"),
)
_SIDEWAYS = re.compile(r"\b(?:sideways|sidesteps?|(?:step|steps|stepping)\b)(?: sideways)? to the (left|right)\b")


def _strictly(sentence: str, facts: dict) -> list[Claim]:
    """What a caption may be forgiven and a wish may not: a punch that is no more than suspected, a step to the left
    that only ends there, a stop that never comes."""
    sentence = sentence.lower()
    events = facts["events"]
    found = [
        Claim(kind, any(event["kind"] == kind for event in events)) for asked, kind in _ASKED if asked.search(sentence)
    ]
    if aside := _SIDEWAYS.search(sentence):
        found.append(Claim("sideways", any(event.get("way") == aside[1] for event in events)))
    if re.search(r"\b(stops?|halts?)\b", sentence) and facts["phases"]:
        found.append(Claim("stop", facts["phases"][-1]["kind"] == "still"))
    return found


def scorer(stop: Callable[[], None]) -> Score:
    """``score`` that measures a motion once and calls ``stop`` before, which may end the work by an error."""
    known: dict[tuple, tuple[Motion, tuple[float, list[str]]]] = {}

    def scored(sentences: list[str], segments: list[int], motion: Motion) -> tuple[float, list[str]]:
        key = (*sentences, *segments, id(motion))
        if key not in known:
            stop()
            known[key] = motion, score(sentences, segments, motion)  # the motion is kept, and so its id is its own
        return known[key][1]

    return scored


def lacking(sentence: str, motions: list[Motion], score: Score = score) -> list[str]:
    """What the best of several motions is denied of a sentence: kinds of claims, none where all holds."""
    return max((score([sentence], [0], motion) for motion in motions), key=lambda found: found[0])[1]


def choose(
    sentences: list[str], segments: list[int], tries: list[list[Motion]], score: Score = score
) -> tuple[list[int], list[str]]:
    """The index of the best of each variation's tries, and warnings about what none does.

    Of those that do equally much, the one whose toes are slowest in contact, in m/s (``motion.quality.metrics``).
    """
    chosen, missing = [], []
    for motions in tries:
        scores = [score(sentences, segments, motion) for motion in motions]
        highest = max(score for score, _ in scores)
        equals = [i for i, (score, _) in enumerate(scores) if score == highest]
        best = min(equals, key=lambda i: metrics(motions[i])["contact_speed"]) if len(equals) > 1 else equals[0]
        chosen.append(best)
        missing.append(scores[best][1])
    everywhere = [kind for kind in missing[0] if all(kind in kinds for kinds in missing)]
    if not everywhere:
        return chosen, []
    said = ", ".join(WORDS.get(kind, kind) for kind in everywhere)
    return chosen, [f"The motion may not do all that was asked ({said}): try another seed or a plainer sentence."]


def truest(written: list[tuple[str, float]], motion: Motion, shown: dict[str, float]) -> str:
    """The sentence that says most of what is measured and least of what is denied, the likeliest of equals.

    written: sentences and the mean log-likelihood of their tokens; shown: the probability of actions
    (:meth:`backend.models.actions.ActionNet.shown`), of which the sentence should name a likely one.
    """
    facts = measure(motion)

    def worth(sentence: str, likelihood: float) -> float:
        claims = check(sentence, facts)
        held = sum(claim.holds is True for claim in claims)
        denied = sum(claim.holds is False for claim in claims)
        named = max((shown.get(verb, 0.0) for verb in action_words([sentence])), default=0.0)
        return likelihood + HELD * min(held, ENOUGH) - DENIED * denied + NAMED * named

    return max(written, key=lambda row: worth(*row))[0]
