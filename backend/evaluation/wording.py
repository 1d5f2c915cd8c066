"""Captions as stems without subject, and when two captions mean the same."""

import re
from collections import Counter

import numpy as np
from scipy import sparse

# words that carry no movement: who moves, articles, auxiliaries
SILENT = frozenset(
    "a an the is are was be being person man woman someone somebody figure human character he she they it his her "
    "their its him himself toon this that who to in of at with into on as first same time all".split()
)
# words that turn a sentence into another one however alike the rest is
TELLING = frozenset(
    "left right both forward backward sideways up down slow slowly quick quickly fast high straight jog sprint run "
    "walk circl curv around stop 2 3 4 5 several then back turn over".split()
)
NEXT = frozenset(("then", "after", "final", "finally"))
NUMBERS = {"one": "1", "once": "1", "two": "2", "twice": "2", "three": "3", "four": "4", "five": "5"}


def stems(sentence: str) -> list[str]:
    """The words that say something, without their endings: "a man is walking backwards" -> ["walk", "backward"]."""
    words = re.findall(r"[a-z0-9]+", sentence.lower())
    return [NUMBERS.get(word) or stem(word) for word in words if word not in SILENT]


def stem(word: str) -> str:
    """A word without -s, -es, -ing, -ed and a doubled last consonant; crude, but the same for all forms of a verb."""
    for ending in ("ings", "ing", "ied", "ies", "ed", "es", "s", "e"):
        left = word[: -len(ending)]
        if word.endswith(ending) and len(left) >= 3 and re.search("[aeiouy]", left) and not word.endswith("ss"):
            word = left + ("y" if ending in ("ied", "ies") else "")
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "slz" else word.removesuffix("e")


class Meaning:
    """Captions as vectors of idf-weighted stems, pairs of neighbouring stems, and stems with the number of their part
    of the sentence ("walks, then sits" is not "sits, then walks"); the cosine says how alike they are.

    Fitted on the captions it is given.
    """

    SAME = 0.8  # cosine from which two captions count as saying the same

    def __init__(self, captions: list[str]):
        counted = Counter(term for caption in captions for term in set(self._terms(caption)))
        self.index = {term: i for i, term in enumerate(sorted(counted))}
        self.idf = np.array([self._weight(term, len(captions), counted[term]) for term in self.index], dtype=np.float32)

    @staticmethod
    def _weight(term: str, captions: int, count: int) -> float:
        weight = float(np.log((1 + captions) / (1 + count))) + 1
        return max(weight, 6.0) if term.split(":")[-1] in TELLING else weight

    @staticmethod
    def _terms(caption: str) -> list[str]:
        found = stems(caption)
        terms = found + [f"{a} {b}" for a, b in zip(found, found[1:], strict=False)]
        part = 1
        for word in found:
            part += word in NEXT
            terms.append(f"{part}:{word}")
        return terms

    def vectors(self, captions: list[str]) -> sparse.csr_matrix:
        """Unit vectors (N,terms); a caption of unknown words only is the zero vector."""
        rows, columns, values = [], [], []
        for row, caption in enumerate(captions):
            known = Counter(self.index[t] for t in self._terms(caption) if t in self.index)
            weights = np.array([n * self.idf[i] for i, n in known.items()], dtype=np.float32)
            rows += [row] * len(known)
            columns += list(known)
            values += list(weights / max(np.linalg.norm(weights), 1e-9))
        return sparse.csr_matrix((values, (rows, columns)), shape=(len(captions), len(self.index)), dtype=np.float32)

    def said_of(self, captions: list[str], windows: list[list[str]]) -> np.ndarray:
        """Similarity (N,M) of each caption to the nearest of the captions that each window has."""
        unique = {c: i for i, c in enumerate(dict.fromkeys(c for w in windows for c in w))}
        similarity = (self.vectors(captions) @ self.vectors(list(unique)).T).toarray()
        return np.stack([similarity[:, [unique[c] for c in w]].max(1) for w in windows], 1)
