"""Runs the Python of a page of the guide, block by block, in whatever Blender this is.

``blender --background --factory-startup --python tests/docs_page.py -- SETTINGS``, or ``python tests/docs_page.py
SETTINGS`` where bpy is a module. SETTINGS is JSON: page; root, the checkout; backend, the command of a backend;
archive, an extension to install and use in place of the checkout. Prints ``RAN n``, or the traceback.
"""

import importlib
import json
import os
import re
import sys
import traceback
from pathlib import Path

INSTALLED = "bl_ext.user_default.momug"


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(settings: dict) -> int:
    import bpy

    if archive := settings.get("archive"):
        bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
        package = INSTALLED
    else:
        sys.path.insert(0, settings["root"])
        package = "blender_addon"
        importlib.import_module(package).register()
    api = importlib.import_module(f"{package}.api")
    api.configure(command=settings["backend"])
    importlib.import_module(f"{package}.scene.mannequin").add().name = "Armature"
    names: dict = {}
    code = blocks(Path(settings["page"]))
    for block in code:
        block = block.replace(INSTALLED, package)
        exec(compile(block, f"{settings['page']}\n{block}", "exec"), names)
    api.shutdown()
    return len(code)


if __name__ == "__main__":
    try:
        print(f"RAN {run(json.loads(sys.argv[-1]))}", flush=True)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # bpy as a module may hang while Python takes it apart
