"""Bone names in a common form: words, the side they name, and what is left when sides, numbers and noise are gone.

Case, separators, digits, namespaces (``mixamorig:``, ``Armature|``), prefixes that most bones share, full-width
letters and accents make no difference. Sides and body parts are known in several languages (``bone_maps/words.json``).
"""

import json
import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "bone_maps"
# A word that this share of all bones has in common says nothing about a bone
_COMMON = 0.6
# Fewer pairs of names than this do not show that a rig writes its sides with some letter
_FEWEST_PAIRS = 4
_WORD = re.compile(r"[a-z]+|\d+|[Ѐ-ӿ]+|[぀-ヿ㐀-鿿々ー]+|[가-힣]+")
_CAMEL = re.compile(r"([a-zа-яё0-9])([A-ZА-ЯЁ])|([A-ZА-ЯЁ])(?=[A-ZА-ЯЁ][a-zа-яё])")
_JOINED_SIDE = re.compile(r"^(左|右|왼쪽|왼|오른쪽|오른)(.+)$|^(.+?)(左|右)$")
_ENDS = {"end", "tip", "nub", "leaf", "site", "endsite", "effector", "先端"}


@cache
def load(name: str) -> dict:
    """A JSON table of the folder of bone maps."""
    with open(FOLDER / f"{name}.json", encoding="utf-8") as file:
        return json.load(file)


def plain(text: str) -> str:
    """Lower case, full-width letters as plain ones, Latin and Cyrillic letters without accents."""
    text = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text))
    text = "".join(letter for letter in text if not "\u0300" <= letter <= "\u036f")
    return unicodedata.normalize("NFC", text).casefold()


@cache
def without_namespace(name: str) -> str:
    """``Armature|mixamorig:Hips`` -> ``Hips``."""
    return next((part for part in re.split(r"[:|]", name)[::-1] if part.strip()), name)


@cache
def split_words(name: str) -> tuple[str, ...]:
    """Lower-case words and numbers of a bone name, namespaces dropped, Japanese, Chinese and Korean sides split off.

    ``mixamorig:LeftUpLeg`` -> left, up, leg; ``upperarm01.L`` -> upperarm, 01, l; ``左ひじ`` -> 左, ひじ.
    """
    name = unicodedata.normalize("NFKC", without_namespace(name))
    words: list[str] = []
    for word in _WORD.findall(plain(_CAMEL.sub(lambda m: f"{m[1] or m[3]} {m[2] or ''}", name))):
        joined = _JOINED_SIDE.match(word)
        words += [part for part in joined.groups() if part] if joined else [word]
    return tuple(words)


@cache
def _sides() -> dict[str, str]:
    return {plain(word): side for side, words in load("words")["sides"].items() for word in words}


@cache
def roles() -> dict[str, dict[str, int]]:
    """Role of a bone ("hip", "knee", ...) -> word -> rank; 0 is certain, higher ranks need company."""
    tables = load("words")["roles"]
    return {role: {plain(w): rank for rank, tier in enumerate(tiers) for w in tier} for role, tiers in tables.items()}


@cache
def _known() -> frozenset[str]:
    return frozenset(word for words in roles().values() for word in words)


def is_end(name: str) -> bool:
    """Whether the name says that the bone only marks where the one before it ends."""
    return any(word in _ENDS for word in split_words(name))


@cache
def key(name: str) -> str:
    """The name without case, separators and namespace: what tables are compared by."""
    return re.sub(r"[\W_]+", "", plain(without_namespace(name)))


class Names:
    """The names of one armature.

    names: as given. key: name -> (side, word), side "left", "right" or "". stripped: name -> table key without the
    prefix or numbering that the bones have in common.
    """

    def __init__(self, names: list[str]):
        self.names = names
        shown = {name: self._unnumbered(without_namespace(name)) for name in names}
        words = {name: split_words(shown[name]) for name in names}
        counts = Counter(word for tokens in words.values() for word in set(tokens))
        self.side_words = _sides() | self._letters(words)
        many = len(names) > 4
        self.common = {w for w, n in counts.items() if many and n > _COMMON * len(names) and w not in self.side_words}
        noise = set(load("words")["noise"])
        self._raw = set(words.values())
        self.key = {name: self._canonical(tokens, noise) for name, tokens in words.items()}
        prefix = self._prefix(list(shown.values())) if many else ""
        self.stripped = {name: key(text[len(prefix) :] if text.startswith(prefix) else text) or key(text)
                         for name, text in shown.items()}  # fmt: skip

    def _unnumbered(self, name: str) -> str:
        """Without the running number that some exporters append to every node (``Hips_02``, ``Spine_03``)."""
        if not hasattr(self, "_numbered"):
            ends = [re.search(r"_(\d+)$", without_namespace(n)) for n in self.names]
            numbers = [m[1] for m in ends if m]
            self._numbered = len(numbers) > 8 and len(numbers) > 0.9 * len(ends) and len(set(numbers)) == len(numbers)
        return re.sub(r"_\d+$", "", name) if self._numbered else name

    @staticmethod
    def _prefix(names: list[str]) -> str:
        """The longest beginning, up to a separator or number, that most names share."""
        counts = Counter(name[: m.end()] for name in names for m in re.finditer(r"[\W_]+|(?<=\D)\d+[\W_]*", name))
        shared = [start for start, n in counts.items() if n > _COMMON * len(names)]
        return max(shared, key=len, default="")

    def _letters(self, words: dict[str, tuple[str, ...]]) -> dict[str, str]:
        """Letters that are sides in this armature only: French g and d, for instance, when names come in such pairs."""
        known, everything = _sides(), set(words.values())

        def pairs(a: str, b: str) -> int:
            swapped = (tuple(b if w == a else w for w in tokens) for tokens in everything if a in tokens)
            return sum(tokens in everything for tokens in swapped)

        if sum(any(word in known for word in tokens) for tokens in everything) >= 2 * _FEWEST_PAIRS:
            return {}
        counted = [(pairs(a, b), a, b) for a, b in load("words")["letters"]]
        count, left, right = max(counted)
        return {left: "left", right: "right"} if count >= _FEWEST_PAIRS else {}

    def _canonical(self, tokens: tuple[str, ...], noise: set[str]) -> tuple[str, str]:
        side, rest = "", []
        for token in tokens:
            named = self.side_words.get(token)
            if named and not side:
                side = named
            elif not token.isdigit():
                rest.append(token)
        kept = [token for token in rest if token not in noise and token not in self.common]
        word = "".join(kept or rest)
        if side:
            return side, word
        for prefix in ("left", "right"):
            if word.startswith(prefix) and len(word) > len(prefix):
                return prefix, word[len(prefix) :]
            if word.endswith(prefix) and len(word) > len(prefix):
                return prefix, word[: -len(prefix)]
        # "lfemur" beside "rfemur"
        if len(tokens) == 1 and word[:1] in ("l", "r") and word[1:] in _known():
            if (("r" if word[0] == "l" else "l") + word[1:],) in self._raw:
                return {"l": "left", "r": "right"}[word[0]], word[1:]
        return "", word

    def partner(self, name: str) -> str | None:
        """The bone whose name is the same but for the side; None for bones of the midline and lonely ones."""
        swap = {"left": "right", "right": "left"}
        if not hasattr(self, "_by_words"):
            self._by_words: dict[tuple, list[str]] = {}
            for each in self.names:
                side = self.key[each][0]
                rest = tuple(w for w in split_words(each) if w not in self.side_words)
                self._by_words.setdefault((side, self.key[each][1], rest), []).append(each)
        side, word = self.key[name]
        if not side:
            return None
        rest = tuple(w for w in split_words(name) if w not in self.side_words)
        found = self._by_words.get((swap[side], word, rest), [])
        return found[0] if len(found) == 1 else None
