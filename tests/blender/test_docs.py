"""The Python of docs/scripting.md runs, in its order: with a backend that needs no model, and what reads motion files
with the real one, where it is set up."""

import re

import bpy

from blender_addon import api
from blender_addon.client import environment


def test_the_page_about_scripts_runs(fake, mannequin, root, tmp_path, monkeypatch):
    page = (root / "docs" / "scripting.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))  # what Blender takes for the present folder
    mannequin.name = "Armature"
    names: dict = {}
    for block in blocks:
        code = block.replace("from bl_ext.user_default.momug import api", "from blender_addon import api")
        if "import_motion" in code:
            if environment.backend_python() is None:
                continue
            api.configure()
        else:
            fake()
        exec(compile(code, f"docs/scripting.md\n{code}", "exec"), names)
    assert (tmp_path / "walks.blend").is_file()
    assert len(bpy.data.actions) >= 5
