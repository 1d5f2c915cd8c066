"""The zip that artists install: Blender's validator accepts it, a fresh Blender installs and enables it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


# what tests/gui does with the mouse, without a window
USE = """
import importlib, json, os, sys, time
import bpy

archive, fake, slow = json.loads(sys.argv[1])
name = "bl_ext.user_default.momug"
bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
part = lambda module: importlib.import_module(f"{name}.{module}")
api, runtime, commit, service = part("api"), part("runtime"), part("commit"), part("service")
settings = bpy.context.scene.momug


def facts():
    scene = bpy.context.scene
    return [
        sorted(action.name for action in bpy.data.actions),
        sorted(thing.name for thing in bpy.data.objects),
        (scene.frame_start, scene.frame_end, scene.frame_current, scene.render.fps),
    ]


def until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, runtime.status()
        runtime.pump()
        time.sleep(0.01)


def started():
    task = runtime.active()
    return task is not None and task.fraction > 0


def state():
    return commit.current(settings.armature).take.state


told = {}
assert not bpy.ops.momug.generate.poll()
bpy.ops.momug.add_mannequin()
settings.prompt, settings.auto_seconds, settings.seconds = "a person walks", False, 2.0
before = facts()

api.configure(command=slow)  # stopped by Cancel
bpy.ops.momug.generate()
until(started)
bpy.ops.momug.cancel()
until(lambda: runtime.active() is None)
told["cancelled"] = runtime.status().message
assert facts() == before

bpy.ops.momug.generate()  # its process is killed, twice: once more it is tried
until(started)
session = service.current()
for _ in range(2):
    process = session._link.process.pid
    os.kill(process, 9)
    until(lambda: runtime.active() is None or session._link and session._link.process
          and session._link.process.pid != process and started())
told["killed"] = runtime.status().message
assert facts() == before and runtime.status().failed

api.configure(command=fake)
bpy.ops.momug.generate()
api.wait()
assert state() == "pending"
told["made"] = [action.name for action in bpy.data.actions]
bpy.ops.momug.accept()
assert state() == "accepted"
bpy.ops.momug.caption()
told["caption"] = api.wait() or part("results").caption_of(settings.armature)
bpy.ops.momug.caption_to_prompt()
told["prompt"] = settings.prompt
kept = facts()
bpy.ops.momug.generate()
api.wait()
bpy.ops.momug.reject()
assert facts()[0] == kept[0]
bpy.ops.momug.unload_backend()
until(lambda: not service.running())
told["logs"] = str(service.log_folder())
files = os.path.dirname(importlib.import_module(name).__file__)
repository = [repo.module for repo in bpy.context.preferences.extensions.repos].index("user_default")
bpy.ops.extensions.package_uninstall(repo_index=repository, pkg_id="momug")
assert name not in bpy.context.preferences.addons and not hasattr(bpy.types.Scene, "momug")
told["left"] = os.path.isdir(files)
told["actions"] = [action.name for action in bpy.data.actions]
print("FACTS " + json.dumps(told), flush=True)
os._exit(0)
"""

# the buttons of a first motion, with the real model and the weights that are inside the package
REAL = """
import importlib, json, os, sys
import bpy

name = "bl_ext.user_default.momug"
bpy.ops.extensions.package_install_files(filepath=sys.argv[1], repo="user_default", enable_on_install=True)
part = lambda module: importlib.import_module(f"{name}.{module}")
api, runtime, commit, results = part("api"), part("runtime"), part("commit"), part("results")
settings = bpy.context.scene.momug
bpy.ops.momug.add_mannequin()
settings.prompt, settings.auto_seconds, settings.seconds = "a person walks", False, 2.0
told = {"generate": list(bpy.ops.momug.generate())}
api.wait()
told["failed"] = runtime.status().message if runtime.status().failed else ""
told["accept"] = list(bpy.ops.momug.accept())
told["state"] = commit.current(settings.armature).take.state
action = settings.armature.animation_data.action
told["frames"] = action.frame_range[1] - action.frame_range[0] + 1
told["caption"] = list(bpy.ops.momug.caption())
api.wait()
told["words"] = results.caption_of(settings.armature)
capabilities = part("service").models()
told["models"] = [model["name"] for model in capabilities if model.get("available", True)]
api.shutdown()
print("FACTS " + json.dumps(told), flush=True)
os._exit(0)
"""


@pytest.fixture
def archive(root, tmp_path) -> Path:
    build.pack(root, tmp_path / "momug.zip")
    return tmp_path / "momug.zip"


def run(script: str, tmp_path: Path, *arguments: str) -> dict:
    """What ``script`` says in a Blender of its own, with an empty user folder."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["BLENDER_USER_RESOURCES"] = str(tmp_path / "user ü")
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FACTS ")]
    assert lines, done.stdout + done.stderr
    return json.loads(lines[0].removeprefix("FACTS "))


def test_validator_accepts_the_package(archive):
    import bpy

    scripts = Path(bpy.utils.system_resource("SCRIPTS"))
    tool = scripts / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
    done = subprocess.run([sys.executable, tool, "validate", archive], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_fresh_blender_installs_the_package_and_uses_what_is_inside_it(archive, tmp_path):
    facts = run(INSTALL, tmp_path, str(archive))
    assert facts["enabled"] and facts["operators"]
    assert Path(facts["addon"]).is_relative_to(tmp_path / "user ü")
    assert facts["root"] == facts["addon"], "the installed add-on looks for the backend elsewhere"
    assert facts["protocol"].endswith("momug.backend.protocol")
    assert facts["foreign"] == [], "the installed add-on reached into another copy"


def test_installed_extension_does_what_its_buttons_say_and_goes_without_a_trace(archive, tmp_path, fake_command):
    slow = fake_command(steps=1000, delay=0.02)
    told = run(USE, tmp_path, json.dumps([str(archive), fake_command(), slow]))
    assert told["cancelled"] == "Cancelled."
    assert "again after a restart" in told["killed"]
    assert told["made"] == ["a person walks"]
    assert told["caption"] == told["prompt"] and told["caption"].startswith("a person walks forward")
    assert Path(told["logs"]).is_relative_to(tmp_path / "user ü"), "the add-on writes elsewhere"
    assert not told["left"], "the extension's files stay behind"
    assert told["actions"] == ["a person walks"], "what was made went with the add-on"


def test_installed_extension_makes_and_describes_a_motion_with_its_own_weights(archive, tmp_path):
    from blender_addon.client import environment

    if environment.backend_python("") is None:
        pytest.skip("the backend's environment is not set up here (python3 build.py setup)")
    told = run(REAL, tmp_path, str(archive))
    assert told["failed"] == "" and told["generate"] == told["accept"] == told["caption"] == ["FINISHED"]
    assert told["state"] == "accepted"
    assert 40 <= told["frames"] <= 56, "two seconds at 24 frames"
    assert told["words"] and told["words"] != "a person walks"
    assert "momug" in told["models"]
