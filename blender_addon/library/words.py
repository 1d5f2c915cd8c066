"""Words of captions in their plain form: "walking", "walks" and "walked" are all "walk"."""

import json
import re
from functools import lru_cache
from pathlib import Path

_TABLE = json.loads((Path(__file__).parent / "words.json").read_text(encoding="utf-8"))
STOP = frozenset(_TABLE["stop"])
SYNONYMS: dict[str, frozenset[str]] = {}
for _group in _TABLE["synonyms"]:
    for _word in _group:
        SYNONYMS[_word] = SYNONYMS.get(_word, frozenset()) | frozenset(_group)

_WORD = re.compile(r"[^\W\d_]+", re.UNICODE)
# "balanc-ing", "rais-ing", "judg-ing", "juggl-ing"; and "hik-ing", for a short vowel would have doubled the consonant
_LOST_E = re.compile(r"[cvu]$|[^sz][sz]$|[^ln]g$|[^aeioulr]l$|^[^aeiou]*[aeiou][^aeiouwxy]$")
_KEPT_DOUBLE = ("ll", "ss", "zz", "ff")
MAX_TAGS = 12


@lru_cache(maxsize=8192)
def lemma(word: str) -> str:
    """The plain form of an English word, by a table of irregular forms, the words that are known, and endings.

    Words of other languages come back in small letters.
    """
    word = word.lower()
    if word in _TABLE["irregular"]:
        return _TABLE["irregular"][word]
    if word in SYNONYMS or word in STOP or len(word) < 4:
        return word
    for ending, endings in (("ies", "y"), ("ied", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")):
        stem = word[: -len(ending)]
        if not word.endswith(ending) or len(stem) < 2 or (ending == "s" and stem.endswith(("s", "u", "i"))):
            continue
        if endings:
            return stem + endings
        single = stem[:-1] if len(stem) > 2 and stem[-1] == stem[-2] and not stem.endswith(_KEPT_DOUBLE) else stem
        for candidate in (stem, stem + "e", single):
            if candidate in SYNONYMS:
                return candidate
        if ending == "es":
            return stem if stem.endswith(("s", "x", "z", "ch", "sh", "o")) else stem + "e"
        if ending in ("ing", "ed") and not any(vowel in stem for vowel in "aeiouy"):
            continue  # "sing", "bed"
        if single == stem and ending in ("ing", "ed") and _LOST_E.search(stem):
            return stem + "e"
        return single
    return word


@lru_cache(maxsize=4096)
def lemmas(text: str) -> tuple[str, ...]:
    """Plain forms of all words in ``text``, in order; words that say nothing ("a", "then") are left out."""
    found = (lemma(word) for word in _WORD.findall(text))
    return tuple(word for word in found if word not in STOP and len(word) > 1)


def tags(caption: str) -> list[str]:
    """Tags for a caption: its words in plain form, each once, in order, at most ``MAX_TAGS``."""
    return list(dict.fromkeys(lemmas(caption)))[:MAX_TAGS]
