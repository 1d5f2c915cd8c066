"""The Python of the guide runs, in its order: in this Blender, and through the packaged extension. The backend needs no
model; motion files are read by the real one, where it is set up. An installed Blender: tests/gui/test_headless.py."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import bpy
import docs_page
import pytest

from blender_addon import api
from blender_addon.client import environment

ROOT = Path(__file__).resolve().parents[2]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if docs_page.blocks(page)]
SCRIPTING = ROOT / "docs" / "scripting.md"


def test_the_page_about_scripts_is_among_them():
    assert SCRIPTING in PAGES and len(docs_page.blocks(SCRIPTING)) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_run(fake, mannequin, tmp_path, monkeypatch, page):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))  # what Blender takes for the present folder
    monkeypatch.setenv("MOMUG_FAKE_LLAMO", "1")
    mannequin.name = "Armature"
    names: dict = {}
    for block in docs_page.blocks(page):
        code = block.replace(docs_page.INSTALLED, "blender_addon")
        if "import_motion" in code:
            if environment.backend_python() is None:
                continue
            api.configure()
        else:
            fake()
        exec(compile(code, f"{page.name}\n{code}", "exec"), names)
    assert list(tmp_path.glob("*.blend")) and bpy.data.actions


@pytest.mark.skipif(bpy.app.version < (4, 2), reason="extensions came with Blender 4.2")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_run_with_the_packaged_extension(root, tmp_path, fake_command, page):
    build = pytest.importorskip("build")
    build.pack(root, tmp_path / "momug.zip")
    settings = {"page": str(page), "backend": fake_command(), "archive": str(tmp_path / "momug.zip")}
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"BLENDER_USER_RESOURCES": str(tmp_path / "user"), "PWD": str(tmp_path), "MOMUG_FAKE_LLAMO": "1"}
    script = f"import runpy, sys; sys.argv = ['x', {json.dumps(settings)!r}]; sys.path.insert(0, '')\n"
    script += f"runpy.run_path({str(root / 'tests' / 'docs_page.py')!r}, run_name='__main__')"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert f"RAN {len(docs_page.blocks(page))}" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]


def test_every_function_for_scripts_is_typed_described_and_on_the_page():
    page = SCRIPTING.read_text(encoding="utf-8")
    for name in api.__all__:
        function = getattr(api, name)
        assert re.search(rf"\b{name}\b", page), f"{name} is not on the page"
        if not inspect.isfunction(function):
            continue
        told = inspect.signature(function)
        assert function.__doc__ and told.return_annotation is not inspect.Signature.empty, name
        assert all(p.annotation is not inspect.Parameter.empty for p in told.parameters.values()), name
    public = {n for n, f in vars(api).items() if inspect.isfunction(f) and f.__module__ == api.__name__ and n[0] != "_"}
    assert public <= set(api.__all__)


def test_capture_gives_the_motion_that_was_made(fake, mannequin):
    from blender_addon import commit

    bpy.context.scene.render.fps = 30
    api.animate(mannequin, "a person walks", seconds=2.0, seed=1, foot_lock=False, clear_hands=False)
    motion, made = api.capture(mannequin), commit.stored_motion(commit.current(mannequin))
    assert motion.rotations.shape == (60, 22, 4) and motion.fps == 30.0
    assert abs(motion.translation[-1] - motion.translation[0] - made.translation[-1] + made.translation[0]).max() < 0.02
    assert api.capture(mannequin, frame_range=(11, 20)).frames == 10
    bpy.data.objects.remove(mannequin)
    with pytest.raises(api.Error):
        api.capture(None)


def test_bones_of_a_map_are_chosen_saved_and_loaded(addon, mannequin, tmp_path):
    knee = api.bone_map(mannequin)["left_knee"]
    with pytest.raises(api.Error, match="no joint"):
        api.set_bones(mannequin, "left_wing", knee)
    with pytest.raises(api.Error, match="no bone called"):
        api.set_bones(mannequin, "left_knee", "wheel")
    api.set_bones(mannequin, "head", [])
    file = api.save_bone_map(mannequin, tmp_path / "maps 🚶" / "a map.json")
    assert json.loads(file.read_text(encoding="utf-8"))
    api.set_bones(mannequin, "head", "head" if "head" in mannequin.pose.bones else knee)
    assert api.load_bone_map(mannequin, file).endswith(".")
    for content in ("", "{}", "[" * 100_000, "\x00\x01", '{"joints": 3}'):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(api.Error) as caught:
            api.load_bone_map(mannequin, file)
        assert caught.value.message.endswith("."), content[:20]
    assert api.bone_map(mannequin)["left_knee"] == knee
