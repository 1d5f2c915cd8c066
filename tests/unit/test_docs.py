"""The pages in docs/ are true as far as a program can tell: links, names of buttons, quoted messages, named tests."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# what the pages point to in Blender itself
BLENDER = {
    "Edit", "Preferences", "Get Extensions", "Install from Disk", "Install...", "Add-ons", "Object Mode", "Pose Mode",
    "Edit Mode", "File", "Export", "Import", "Allow Online Access", "Asset Browser", "Dope Sheet", "Current File",
    "System", "Network", "Interface", "Language", "Window", "Toggle System Console", "Undo", "Uninstall", "Object",
    "Apply", "Library Override", "Make", "Relations", "File Paths",
}  # fmt: skip


@cache
def sources() -> tuple[str, ...]:
    """Every text in the programs, with "…" where one is filled in."""
    texts: set[str] = set()
    for folder in ("blender_addon", "backend"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.add(node.value)
                elif isinstance(node, ast.JoinedStr):
                    parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                    texts.add("".join(map(str, parts)))
    return tuple(re.sub(r"\{\w+\}", "…", text) for text in texts)


def test_every_page_is_in_the_index():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert not [page.name for page in PAGES if page.name != "README.md" and f"({page.name}" not in index]
    assert "(docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), f"{page.name} points to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            known = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
            assert anchor in known, f"{page.name} points to {target}, and there are {sorted(known)}"


def test_every_picture_is_shown_somewhere():
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *PAGES))
    assert not [file.name for file in (DOCS / "pictures").glob("*.png") if f"pictures/{file.name}" not in text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_buttons_have_the_names_that_pages_give_them(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    names = re.findall(r"(?<![*\w])\*(?!\*)([^*]+)\*(?![*\w])", text)
    words = {word.strip() for name in names for word in re.sub(r"\s+", " ", name).split(" > ")}
    known = set(sources()) | BLENDER | {text.removesuffix("...") for text in sources()}
    assert not sorted(words - known), f"{page.name} names what is not in the programs"


def quoted_messages() -> list[str]:
    page = DOCS / "troubleshooting.md"
    return re.findall(r"^### (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE) if page.is_file() else []


def test_troubleshooting_has_messages():
    assert len(quoted_messages()) >= 20


@pytest.mark.parametrize("message", quoted_messages())
def test_quoted_messages_are_what_the_programs_say(message):
    shapes = [re.escape(part) for part in message.rstrip(".").split("…")]
    pattern = re.compile(".*".join(shapes), re.DOTALL)
    assert any(pattern.search(text) for text in sources()), "no program says that"


def test_tests_that_answer_complaints_exist():
    text = (DOCS / "complaints.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|", text, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 26)], "one row for each complaint"
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    bare = [row.split("|")[1].strip() for row in text.splitlines() if re.match(r"\| \d", row) and "`tests/" not in row]
    assert not bare, "each complaint is answered by a test at least"
    for file, test in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert test in functions, f"{file} has no {test}"


def test_tests_of_the_faults_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (DOCS / "faults.md").read_text(encoding="utf-8"))
    assert len(named) >= 25
    for file, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), f"{file}::{test}"
