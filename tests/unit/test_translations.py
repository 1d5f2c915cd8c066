"""Every text that a person may read has a translation, with the same values in it."""

import json
import re

import messages
import pytest

TABLES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in messages.TABLES}
PLACE = re.compile(r"\{\w*\}")


def test_there_is_a_complete_language_besides_english():
    assert "zh_HANS" in TABLES


@pytest.mark.parametrize("path", messages.TABLES, ids=lambda path: path.stem)
def test_nothing_is_missing(path):
    lacks = messages.missing(path)
    assert not lacks, f"python tests/messages.py prints what is missing: {lacks}"


@pytest.mark.parametrize("path", messages.TABLES, ids=lambda path: path.stem)
def test_nothing_is_left_from_former_times(path):
    left = [text for text in messages.unused(path) if text not in messages.PARTS]
    assert not left


@pytest.mark.parametrize("name", TABLES)
def test_translations_hold_the_same_values(name):
    table = TABLES[name]
    other = [text for text, said in table.items() if sorted(PLACE.findall(text)) != sorted(PLACE.findall(said))]
    assert not other and all(said.strip() for said in table.values())


def test_what_is_read_as_a_text_and_what_is_not():
    reader = messages.Reader()
    source = '''
"""The docstring of a module is for developers."""
import bpy
class A(bpy.types.Operator):
    """Tooltip of a button"""
    bl_label = "Go"
    size: bpy.props.FloatProperty(name="Size", description="How large", items=[("ID", "Name", "Told")])
    def f(self) -> "A | None":
        """Another docstring for developers."""
        log.warning("Nobody sees this %s", 1)
        raise ValueError("Nobody sees this either.")
        raise Error("code", f"{self.n} of {x} files are left.", "See the log.")
        layout.label(text="ok" if x else f"no {y}")
        layout.label(text=self.name, translate=False)
        return tr("{count} ready").format(count=1)
'''
    reader.visit(messages.ast.parse(source))
    assert set(reader.texts) == {
        "Tooltip of a button", "Go", "Size", "How large", "Name", "Told", "{0} of {1} files are left.", "See the log.",
        "ok", "no {0}", "{count} ready",
    }  # fmt: skip


# what is counted here is never one, or is a measure that reads well with one
NEVER_ONE = {
    "Download: {0} packages, {1}{2}",
    "The frame range is longer than {0} frames.",
    "The animation has more than {0} frames.",
    "The animation is longer than the {0} minutes that can be described.",
    "There are {0} blocks already",
    "This bone map is of another figure: '{0}' has {1} of its {2} bones.",
    "{0} armatures have a new motion.",
    "The backend sent {0} frames and says that it was {1}.",
    "The {0} frames that had come are on {1}.",
    "{0} s ahead, {1} frames a second",
    "{0} captions were made.",
    "{0} selected armatures each get their own motion",
    "{0} frames have keys; select the keys of at most {1}",
    "{0} steps",
    "{0} variations are made; the first is on {1}",
    "{0}: all {1} joints",
    "{0}: {1} of {2} joints. Without {3}",
}
COUNTED = r"actions|armatures|blocks|bones|captions|characters|clips|files|frames|joints|keys|minutes|ones|packages"
COUNTED += r"|points|poses|steps|strips|styles|times|tracks|variations|wheels"


def test_nobody_reads_of_1_blocks():
    forced = re.compile(rf"\{{\w*\}}( \w+)? ({COUNTED})\b")
    plural = {text: place for text, place in messages.texts().items() if forced.search(text)}
    assert {text: place for text, place in plural.items() if text not in NEVER_ONE} == {}, "put the number last"
