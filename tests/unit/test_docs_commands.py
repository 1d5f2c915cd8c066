"""Every command line in the pages can be given as it stands, and every command is told somewhere."""

import argparse
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

import build
from backend import __main__ as command_line
from blender_addon import batch

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("backend", "checkpoints", "docs")
PAGES = [ROOT / "README.md", *sorted(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))]
PROGRAMS = {
    "python -m backend": command_line.parser,
    "python3 build.py": build.parser,
    "build.py": build.parser,
    "python -m blender_addon.batch": None,  # its options depend on its first word: see ``batch.parse``
    "blender -b rig.blend --python blender_addon/batch.py --": None,
}
INTERNAL = {"serve"}  # what the add-on starts


@cache
def commands(page: Path) -> tuple[str, ...]:
    """The command lines of a page: lines of its blocks, and what stands between single quotes of code."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```[^\n]*\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return tuple(line.strip() for line in lines if program_of(line.strip()))


def program_of(line: str) -> str:
    """Which program a line starts; "" for other lines."""
    return next((name for name in PROGRAMS if line == name or line.startswith(f"{name} ")), "")


def narrowed(parser: argparse.ArgumentParser, words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser of the command that the first words name, and the words after its name."""
    while words:
        choices = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not choices or words[0] not in choices[0]:
            break
        parser, words = choices[0][words[0]], words[1:]
    return parser, words


def every(parser: argparse.ArgumentParser) -> set[str]:
    """The names of all commands, "style train"."""
    found = set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found |= {f"{name} {more}" for more in every(below)} or {name}
    return found


def all_commands() -> list:
    return [pytest.param(page, line, id=f"{page.name}: {line[:60]}") for page in PAGES for line in commands(page)]


def test_the_pages_have_commands():
    assert len(all_commands()) > 40


@pytest.mark.parametrize(("page", "line"), all_commands())
def test_a_command_of_the_pages_is_understood(page, line):
    name = program_of(line)
    told, _, remark = line.removeprefix(name).partition("  #")
    words = [word for word in shlex.split(re.sub(r"[\[\]|](?=\s|$|-)|(?<=\s)\[", " ", told), comments=True) if word]
    if PROGRAMS[name] is None:
        assert not words or batch.parse(words)
        return
    parser, rest = narrowed(PROGRAMS[name](), words)
    known = parser._option_string_actions
    assert all(option in known for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", remark)), "the remark names no option"
    if rest or not required(parser):
        PROGRAMS[name]().parse_args(words)
    else:  # only named, in a sentence
        assert parser.prog.endswith(words[-1] if words else "")


def required(parser: argparse.ArgumentParser) -> bool:
    return any(a.required and not isinstance(a, argparse._HelpAction) for a in parser._actions)


def test_the_table_of_build_py_has_every_command_and_its_options():
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## build.py")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)([^`]*)` \| (.*) \|$", text, re.MULTILINE)
    assert {row[0] for row in rows} == every(build.parser())
    for name, more, about in rows:
        parser, _ = narrowed(build.parser(), [name])
        options = set(re.findall(r"--[a-z][a-z-]*", more + about))
        assert options == set(parser._option_string_actions) - {"-h", "--help"}, f"build.py {name}"


def test_every_command_of_the_backend_is_told_somewhere():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    missing = [name for name in every(command_line.parser()) - INTERNAL if f"backend {name}" not in text]
    assert not missing
