"""The zip that artists install: Blender's validator accepts it, a fresh Blender installs and enables it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import build

INSTALL = """
import json, os, sys
import bpy

bpy.ops.extensions.package_install_files(filepath=sys.argv[1], repo="user_default", enable_on_install=True)
from bl_ext.user_default import momug
from bl_ext.user_default.momug import api
from bl_ext.user_default.momug.client import environment, protocol

facts = {
    "enabled": "bl_ext.user_default.momug" in bpy.context.preferences.addons,
    "operators": hasattr(bpy.types, "MOMUG_OT_generate"),
    "addon": os.path.dirname(momug.__file__),
    "root": str(environment.backend_root()),
    "protocol": protocol.__name__,
    "foreign": sorted(name for name in sys.modules if name.split(".")[0] in ("backend", "blender_addon")),
}
print("FACTS " + json.dumps(facts), flush=True)
os._exit(0)
"""


def test_validator_accepts_the_package(root, tmp_path):
    archive = tmp_path / "momug.zip"
    build.pack(root, archive)
    import bpy

    scripts = Path(bpy.utils.system_resource("SCRIPTS"))
    tool = scripts / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
    done = subprocess.run([sys.executable, tool, "validate", archive], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_fresh_blender_installs_the_package_and_uses_what_is_inside_it(root, tmp_path):
    archive = tmp_path / "momug.zip"
    build.pack(root, archive)
    env = {**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path / "user ü")}
    command = [sys.executable, "-c", INSTALL, str(archive)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FACTS ")]
    assert lines, done.stdout + done.stderr
    facts = json.loads(lines[0].removeprefix("FACTS "))
    assert facts["enabled"] and facts["operators"]
    assert Path(facts["addon"]).is_relative_to(tmp_path / "user ü")
    assert facts["root"] == facts["addon"], "the installed add-on looks for the backend elsewhere"
    assert facts["protocol"].endswith("momug.backend.protocol")
    assert facts["foreign"] == [], "the installed add-on reached into another copy"
