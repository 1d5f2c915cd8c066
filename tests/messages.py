"""Every text of the add-on that a person may read: ``python tests/messages.py`` prints what a table lacks, as JSON.

The source is read, nothing is imported. A text with values in it ("3 of 5") is a pattern with numbered places
("{0} of {1}"). What only goes to the log is left out; what is no text for people is named in ``NOT_SHOWN``.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from blender_addon.rig import canonical  # noqa: E402

ADDON = ROOT / "blender_addon"
TABLES = sorted((ADDON / "translations").glob("*.json"))

# names and labels are shown whatever they look like; other texts when they are sentences
SHOWN_KEYWORDS = {"name", "description", "text", "heading", "bl_label", "bl_description"}
RNA = re.compile(r"^bpy\.props\.\w+Property$")
LAYOUT = {"label", "operator", "prop", "menu", "progress", "operator_menu_enum", "prop_search", "row", "popover"}
QUIET = re.compile(r"(^|\.)(log|logging|logger|_log)\.(debug|info|warning|error|exception|critical)$|^print$|^say$")
SENTENCE = re.compile(r"^glTF |^\d+ [a-z]+ [a-z]+|^[A-Z'\u201c{][^\n]*\s\S|^\{0\}[^\n]*[a-z]{2}.*\s")
DRAWN = re.compile(r"^[A-Z][a-z]+\.?$|[A-Za-z{}].* .*[a-z]{2}|[a-z]{2}.* \S")
DRAWN_FILES = {"costs.py", "property_items.py", "runtime.py", "installation.py", "ask.py", "maps.py"}
BVH = r"^\{0\} +(OFFSET|CHANNELS|End Site)|^Frames: \{0\}$|^Frame Time|"
NO_TEXT = re.compile(
    BVH + r"\\[bsSd]|\(\?P<|^\{0\},? ?text/|[A-Z]Error\||\|[A-Z]\w+Error"
)  # regular expressions, headers
WORDS = re.compile(r"[A-Za-z]{2}")
# files whose texts are for developers, terminals or other programs
NOT_SHOWN_FILES = {"convert.py", "demo.py", "batch.py", "scene/console.py", "scene/render.py", "scene/stage.py"}
NOT_SHOWN = {
    "MoMug",
    "Principled BSDF",
    "Base Color",
    "MoMug stand-in",
    "SSLError",
    "NVIDIA Corporation/NVSMI/nvidia-smi.exe",
}
# words that are filled into sentences, or that the add-on puts together: in the tables, but in no source as they are
JOINTS = [canonical.words(joint) for joint in canonical.JOINTS]
PARTS = {*JOINTS, *(joint.capitalize() for joint in JOINTS), *(f"The bone that is the {joint}" for joint in JOINTS)}
PARTS |= {
    "left",
    "right",
    "pose",
    "poses",
    "Failed",
    *json.loads((ADDON / "examples.json").read_text(encoding="utf-8")),
}


def files() -> list[Path]:
    """The add-on's own source files that have texts for people."""
    found = [path for path in sorted(ADDON.rglob("*.py")) if "__pycache__" not in path.parts]
    return [path for path in found if path.relative_to(ADDON).as_posix() not in NOT_SHOWN_FILES]


def pattern(node: ast.AST) -> str | None:
    """The text of a string, of an f-string with numbered places, or of strings added together; None for others."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts, places = [], 0
        for value in node.values:
            if isinstance(value, ast.Constant):
                parts.append(str(value.value))
            else:
                parts.append(f"{{{places}}}")
                places += 1
        return "".join(parts) if any(WORDS.search(part) for part in parts if not part.startswith("{")) else None
    return None


class Reader(ast.NodeVisitor):
    """Collects the texts of one file. drawn: words and parts of sentences count too, for it is what is drawn."""

    def __init__(self, drawn: bool = False) -> None:
        self.texts: dict[str, int] = {}
        self.sentence = DRAWN if drawn else SENTENCE

    def add(self, text: str | None, line: int, always: bool = False) -> None:
        if not text or text in NOT_SHOWN or not WORDS.search(text) or NO_TEXT.search(text):
            return
        if always or self.sentence.search(text):
            self.texts.setdefault(text, line)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = [ast.unparse(base) for base in node.bases]
        labels = {target.id for item in node.body if isinstance(item, ast.Assign) for target in item.targets
                  if isinstance(target, ast.Name)}  # fmt: skip
        doc = ast.get_docstring(node, clean=False)
        if doc and any(base.endswith("Operator") for base in bases) and "bl_description" not in labels:
            self.add(doc, node.lineno, always=True)
        for item in node.body:
            if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
                if item.targets[0].id in ("bl_label", "bl_description"):
                    self.add(pattern(item.value), item.lineno, always=True)
        self.body(node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.body(node.body)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Module(self, node: ast.Module) -> None:
        self.body(node.body)

    def body(self, statements: list[ast.stmt]) -> None:
        """Visit what is no docstring; texts that stand alone document an attribute."""
        for statement in statements:
            if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                self.visit(statement)

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func)
        if QUIET.search(called):
            return
        if RNA.match(called) or called.rsplit(".", 1)[-1] in LAYOUT:
            untranslated = any(k.arg == "translate" and getattr(k.value, "value", 1) is False for k in node.keywords)
            for keyword in node.keywords:
                if keyword.arg in SHOWN_KEYWORDS and not untranslated:
                    for part in self.branches(keyword.value):
                        self.add(pattern(part), node.lineno, always=True)
                if keyword.arg == "items" and isinstance(keyword.value, (ast.List, ast.Tuple)):
                    for item in keyword.value.elts:
                        if isinstance(item, ast.Tuple):
                            for part in item.elts[1:3]:
                                self.add(pattern(part), node.lineno, always=True)
        if called == "tr":
            self.add(pattern(node.args[0]), node.lineno, always=True)
        if called.endswith("get_logger"):
            return
        self.generic_visit(node)

    @staticmethod
    def branches(node: ast.AST) -> Iterator[ast.AST]:
        if isinstance(node, ast.IfExp):
            yield from (node.body, node.orelse)
        else:
            yield node

    def visit_Raise(self, node: ast.Raise) -> None:
        kind = ast.unparse(node.exc.func) if isinstance(node.exc, ast.Call) else ""
        # what only a programmer can cause, and what is caught and written to the log
        if kind not in ("ValueError", "TypeError", "KeyError", "NotImplementedError", "AssertionError", "RuntimeError"):
            self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if ast.unparse(node.value).split(".")[-1] not in ("Sequence", "Mapping", "list", "tuple", "dict", "Callable"):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.annotation, ast.Call):  # a property of Blender
            self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        self.add(pattern(node), node.lineno)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.add(pattern(node), node.lineno)


def texts_of(path: Path) -> dict[str, int]:
    """Text -> line, of one file."""
    relative = path.relative_to(ADDON).as_posix()
    reader = Reader(relative.startswith("panels/") or relative in DRAWN_FILES)
    reader.visit(ast.parse(path.read_text(encoding="utf-8")))
    return reader.texts


@cache
def texts() -> dict[str, str]:
    """Every text -> where it stands first ("panels/base.py:12"), of the whole add-on."""
    found: dict[str, str] = {}
    for path in files():
        for text, line in texts_of(path).items():
            found.setdefault(text, f"{path.relative_to(ADDON).as_posix()}:{line}")
    return found


def missing(table: Path) -> dict[str, str]:
    """The texts that a table lacks, with their places."""
    known = json.loads(table.read_text(encoding="utf-8"))
    wanted = texts() | dict.fromkeys(PARTS, "rig/canonical.py")
    return {text: place for text, place in wanted.items() if text not in known}


def unused(table: Path) -> list[str]:
    """What a table has and no source says any more, but for words that Blender's RNA shows."""
    there = {*texts(), *PARTS}
    return [text for text in json.loads(table.read_text(encoding="utf-8")) if text not in there]


if __name__ == "__main__":
    for one in TABLES:
        lacks = missing(one)
        print(json.dumps(lacks, indent=1, ensure_ascii=False))
        print(
            f"{one.name}: {len(lacks)} of {len(texts())} missing, {len(unused(one))} not in the source", file=sys.stderr
        )
