"""Imports go one way: read from the source itself, so that no module has to be importable here."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ADDON = ROOT / "blender_addon"
BACKEND = ROOT / "backend"

# panels -> operators -> api -> {client, scene} -> {retarget, rig}; "api" is api.py and the other files beside it
LOWER = {
    "rig": set(),
    "retarget": {"rig"},
    "client": set(),
    "library": set(),
    "translations": set(),
    "scene": {"library", "retarget", "rig"},
    "api": {"client", "scene", "library", "translations", "retarget", "rig"},
    "operators": {"api", "client", "scene", "library", "translations", "retarget", "rig"},
    "panels": {"operators", "api", "client", "scene", "library", "translations", "retarget", "rig"},
}
# evaluation judges motion as it arrives on a body: by the add-on's own plain numpy part
AFTER_RETARGETING = BACKEND / "evaluation" / "retargeted.py"
SHARED = {"backend.protocol", "backend.paths", "backend.batch", "backend.batch.jobs", "backend.batch.manifest"}
SHARED |= {"backend.batch.captions"}
HEAVY = {"torch", "transformers", "peft", "safetensors", "scipy", "gguf", "smplx"}


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def exists(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports(text: str, module: str, is_package: bool) -> Iterator[str]:
    """Full names of the modules that the source ``text`` of ``module`` imports, wherever in the file."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                if full == "blender_addon.client.protocol":
                    yield "backend.protocol"  # the one place that finds it for the whole add-on
                else:
                    yield full if exists(full) else base
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            for text_node in ast.walk(node):
                if isinstance(text_node, ast.Constant) and isinstance(text_node.value, str):
                    name = text_node.value.lstrip(".")
                    if name and exists(name):
                        yield name


def imports_of(path: Path) -> set[str]:
    return set(imports(path.read_text(encoding="utf-8"), name_of(path), path.name == "__init__.py"))


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (ADDON / parts[1]).is_dir() else "api"


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_reader_of_imports_sees_every_form():
    text = (
        "import torch.nn as nn\nfrom ..scene import keys\nfrom . import jobs\n"
        "def f():\n    from ..client import protocol\n    import importlib\n"
        "    importlib.import_module(x + '.backend.server')\n    from ...elsewhere import thing\n"
    )
    assert set(imports(text, "blender_addon.client.session", False)) == {
        "torch.nn", "blender_addon.scene.keys" if exists("blender_addon.scene.keys") else "blender_addon.scene",
        "blender_addon.client.jobs", "backend.protocol", "importlib", "backend.server", "elsewhere",
    }  # fmt: skip


def test_there_is_something_to_check():
    assert len(sources(ADDON)) > 10 and len(sources(BACKEND)) > 10


@pytest.mark.parametrize("path", sources(ADDON), ids=ids)
def test_addon_needs_no_model_libraries_and_only_the_shared_part_of_the_backend(path):
    assert not tops(path) & HEAVY
    assert {name for name in imports_of(path) if name.startswith("backend")} <= SHARED | {"backend"}
    wanted = {name for name in imports_of(path) if name.startswith("blender_addon.backend.")}
    assert wanted <= {f"blender_addon.{name}" for name in SHARED}


@pytest.mark.parametrize(
    "path", [path for part in ("rig", "retarget", "client", "library") for path in sources(ADDON / part)], ids=ids
)
def test_rig_retarget_client_and_library_need_no_blender(path):
    assert not tops(path) & {"bpy", "mathutils", "bmesh", "gpu", "bpy_extras", "bl_ui"}


@pytest.mark.parametrize("path", [path for path in sources(ADDON) if path != ADDON / "__init__.py"], ids=ids)
def test_addon_imports_go_one_way(path):
    here = layer(name_of(path))
    used = {layer(name) for name in imports_of(path) if name.startswith("blender_addon.")}
    assert used <= LOWER[here] | {here}, f"{here} may not import {used - LOWER[here] - {here}}"


def test_the_addon_imports_nothing_of_itself_or_blender_before_register():
    top_level = ast.parse((ADDON / "__init__.py").read_text(encoding="utf-8")).body
    assert not [node for node in top_level if isinstance(node, (ast.Import, ast.ImportFrom))]


@pytest.mark.parametrize("path", sources(BACKEND), ids=ids)
def test_backend_knows_nothing_of_blender(path):
    allowed = {"blender_addon.rig", "blender_addon.retarget"} if path == AFTER_RETARGETING else set()
    assert not tops(path) & {"bpy", "mathutils"}
    addon = {name for name in imports_of(path) if name.split(".")[0] == "blender_addon"}
    assert {".".join(name.split(".")[:2]) for name in addon} <= allowed


@pytest.mark.parametrize("name", sorted(SHARED | {"backend.errors", "backend"}))
def test_what_both_sides_share_is_standard_library_only(name):
    path = ROOT.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    foreign = {top for top in tops(path) if top not in sys.stdlib_module_names}
    assert foreign <= {"backend"}
    assert {module for module in imports_of(path) if module.startswith("backend.")} <= SHARED


@pytest.mark.parametrize("path", sources(ADDON), ids=ids)
def test_only_compat_asks_for_the_version_of_blender(path):
    attributes = [ast.unparse(n) for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Attribute)]
    asks = [text for text in attributes if text.startswith("bpy.app.version")]
    assert not asks or path == ADDON / "scene" / "compat.py"


@pytest.mark.parametrize("path", [*sources(ADDON), *sources(BACKEND), ROOT / "build.py"], ids=ids)
def test_no_pickle_no_shell(path):
    assert not tops(path) & {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("os.system", "os.popen", "torch.load", "eval", "exec")
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                assert (keyword.arg, value) not in {("shell", True), ("allow_pickle", True)}
