"""The words of the interface in other languages: one table a language, for Blender's own labels and for sentences.

Names, labels and tooltips of properties, buttons and panels are translated by Blender itself once the table is
registered. Sentences that are put together (from a name, a number, a reason) are formed in English everywhere, so that
logs stay readable for those who help, and are translated by :func:`tr` where they are shown: the table holds them with
``{0}`` where something is filled in.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path

import bpy

# the same language has another id before Blender 4.0
TABLES = {"zh_HANS": ("zh_HANS", "zh_CN")}
SHORT = 8  # letters
CLOSING = "，。；：！？、）”"
_PLACE = re.compile(r"\{(\w*)\}")


@cache
def table(name: str) -> "dict[str, str]":
    """English -> the language of ``<name>.json``."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))


@cache
def _patterns(name: str) -> "list[tuple[re.Pattern, str]]":
    """What finds a sentence that was filled in, the longest first: (pattern, translation with numbered places)."""
    found = []
    for english in sorted((text for text in table(name) if _PLACE.search(text)), key=len, reverse=True):
        parts = _PLACE.split(english)
        names = parts[1::2]
        said = sum(len(part) for part in parts[::2] if part.strip())
        value = r"(.*?)" if said > SHORT else r"(\S+)"  # "{0} of {1}" would fit many a sentence
        pattern = "".join(re.escape(part) if index % 2 == 0 else value for index, part in enumerate(parts))
        translation = table(name)[english]
        for index, place in enumerate(names):
            translation = translation.replace(f"{{{place}}}", f"\x00{index}\x00", 1)
        found.append((re.compile(pattern, re.DOTALL), translation))
    return found


def language() -> str:
    """Name of the table for the language of the interface; empty for English and languages without one."""
    if not bpy.context.preferences.view.use_translate_interface:
        return ""
    locale = bpy.app.translations.locale
    return next((name for name, locales in TABLES.items() if locale in locales), "")


def tr(sentence: str) -> str:
    """``sentence`` as it is to be shown: in the language of the interface as far as the table has it."""
    name = language()
    return translate(name, sentence) if name and sentence else sentence


@lru_cache(maxsize=2048)
def translate(name: str, text: str) -> str:
    """The same by the table ``name``. Sentences in a row are translated one by one, and what is added to a sentence
    after a comma, semicolon or "and" by itself; a number at the end ("Working 3/10") and a name before a colon stay."""
    if text in table(name):
        return table(name)[text]
    sentences = re.split(r"(?<=[.!?])\s+", text)
    if len(sentences) > 1 and all(translate(name, sentence) != sentence for sentence in sentences):
        return "".join(translate(name, sentence) for sentence in sentences)
    listed = text.split(", ")
    if len(listed) > 1 and all(part in table(name) for part in listed):
        return "、".join(table(name)[part] for part in listed)
    for mark in ("; ", ", "):
        cut = text.find(mark)
        if cut > 0 and (added := translate(name, text[cut:])) != text[cut:]:
            return translate(name, text[:cut]) + added
    whole = _one(name, text)
    if whole is not None:
        return whole
    if len(sentences) > 1:
        return "".join(translate(name, sentence) for sentence in sentences)
    counted = re.fullmatch(r"(.+) (\d+/\d+)", text)
    if counted:
        return f"{translate(name, counted[1])} {counted[2]}"
    named = re.fullmatch(r"([^:]+): (.+)", text, re.DOTALL)
    if named and translate(name, named[2]) != named[2]:
        return f"{named[1]}：{translate(name, named[2])}"
    both = text.split(" and ")
    if len(both) == 2 and all(translate(name, part) != part for part in both):
        return f"{translate(name, both[0])}，{translate(name, both[1])}"
    return text


def _one(name: str, text: str) -> "str | None":
    """One sentence, or None. The full stop may be on either side alone: poll messages lack it."""
    if text + "." in table(name):
        return table(name)[text + "."].rstrip("。.")
    if text.endswith(".") and text[:-1] in table(name):
        return table(name)[text[:-1]] + "。"
    for pattern, translation in _patterns(name):
        stopped = pattern.pattern.endswith(r"\.")
        if stopped == text.endswith("."):
            candidate, translated = text, translation
        elif stopped:
            candidate, translated = text + ".", translation.rstrip("。")
        else:
            candidate, translated = text[:-1], translation + "。"
        found = pattern.fullmatch(candidate)
        if found is None:
            continue
        for index, group in enumerate(found.groups()):
            # a reason or a word inside of a sentence is in the table itself; a name is not, and is left as it is
            translated = translated.replace(
                f"\x00{index}\x00", translate(name, group) if _inner(name, group) else group
            )
        return translated
    return None


def _inner(name: str, text: str) -> bool:
    """May this be more than a name that somebody gave?"""
    return " " in text or (text.islower() and text in table(name))


def width(text: str) -> int:
    """How many columns ``text`` takes: letters of Chinese and Japanese take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def wrapped(text: str, room: float, measure: "Callable[[str], float]" = width) -> "list[str]":
    """``text`` in lines that take at most ``room`` by ``measure`` (columns, when nothing else is given), broken between
    words, and anywhere between wide letters; no line begins with a mark that closes something."""
    pieces = re.findall(r"[\u2e80-\u9fff\uff00-\uffef]|[^\s\u2e80-\u9fff\uff00-\uffef]+|\s+", text)
    lines, line = [], ""
    for piece in pieces:
        piece = " " if piece.isspace() else piece
        if piece != " " and line and measure(line + piece) > room:
            held = line[-1] if piece in CLOSING and len(line) > 1 else ""  # goes along to the next line
            lines.append(line[: len(line) - len(held)].rstrip())
            line = held
        while measure(piece) > room and len(piece) > 1:
            cut = next((n for n in range(len(piece) - 1, 1, -1) if measure(piece[:n]) <= room), 1)
            lines.append(piece[:cut])
            piece = piece[cut:]
        line = line + piece if line or piece != " " else ""
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def register():
    words = {}
    for name, locales in TABLES.items():
        both = {(context, text): said for text, said in table(name).items() for context in ("*", "Operator")}
        words.update(dict.fromkeys(locales, both))
    bpy.app.translations.register(__name__, words)


def unregister():
    bpy.app.translations.unregister(__name__)
