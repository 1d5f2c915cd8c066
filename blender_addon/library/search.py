"""Which entries fit what somebody typed: words in plain form, synonyms, rare words count more."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .words import SYNONYMS, lemmas

EXACT, BEGINNING, SYNONYM = 1.0, 0.7, 0.5
NAME, TAGS, CAPTION = 1.2, 1.1, 1.0  # what a word counts by where it stands


@dataclass(frozen=True)
class Entry:
    """What can be found: the name of an action, what is said of it, and its tags."""

    name: str
    caption: str = ""
    tags: tuple[str, ...] = ()

    def terms(self) -> dict[str, float]:
        """Its words in plain form -> how much they count."""
        found: dict[str, float] = {}
        for weight, text in ((NAME, self.name), (TAGS, " ".join(self.tags)), (CAPTION, self.caption)):
            for word in lemmas(text.replace("_", " ").replace(".", " ")):
                found[word] = max(found.get(word, 0.0), weight)
        return found


def rank(query: str, entries: Sequence[Entry]) -> list[tuple[int, float]]:
    """(index, score) of the entries that fit ``query``, best first; all in their order when nothing is asked.

    A word of the query fits a word of an entry when their plain forms are the same (1), when it begins the entry's word
    (0.7, for words that are still being typed), or when both are synonyms (0.5). What fits counts by the inverse
    document frequency of the word, as in BM25, and by where it stands: name, tags, caption. The score is the share of
    the best possible, so an entry that has all the words comes before one that has some. Ties keep their order.
    """
    # a query may be all "stop" words ("up"): then they are what is looked for
    wanted = list(dict.fromkeys(lemmas(query))) or [word for word in query.lower().split() if word]
    if not wanted:
        return [(index, 0.0) for index in range(len(entries))]
    documents = [entry.terms() for entry in entries]
    counts = Counter(word for document in documents for word in document)
    rarity = {word: math.log(1 + len(entries) / (1 + counts[word])) for word in wanted}
    possible = sum(rarity.values()) * NAME or 1.0
    found = []
    for index, document in enumerate(documents):
        score = sum(rarity[word] * _fit(word, document) for word in wanted)
        if score > 0:
            found.append((index, score / possible))
    return sorted(found, key=lambda pair: -pair[1])


def _fit(word: str, document: dict[str, float]) -> float:
    best = EXACT * document.get(word, 0.0)
    if best:
        return best
    alike = SYNONYMS.get(word, frozenset())
    for other, weight in document.items():
        if len(word) > 1 and other.startswith(word):
            best = max(best, BEGINNING * weight)
        elif other in alike:
            best = max(best, SYNONYM * weight)
    return best
