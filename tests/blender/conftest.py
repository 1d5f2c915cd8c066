"""The add-on in an empty scene, with a backend that needs no model."""

import sys
from pathlib import Path

import pytest

FAKE = Path(__file__).resolve().parents[1] / "fake_backend.py"


def _command(mode: str = "ok", steps: int = 4, delay: float = 0.01) -> list[str]:
    """What starts the fake backend: see tests/fake_backend.py for the modes."""
    return [sys.executable, str(FAKE), "--mode", mode, "--steps", str(steps), "--delay", str(delay)]


@pytest.fixture
def fake_command():
    """``fake_command(mode, steps, delay)``: the command line of the fake backend."""
    return _command


@pytest.fixture
def addon():
    """The add-on, registered in an empty file; taken out again afterwards."""
    import bpy

    import blender_addon

    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender_addon.register()
    yield blender_addon
    blender_addon.unregister()


@pytest.fixture
def fake(addon):
    """``fake(mode, steps, delay, **limits)``: from now on the backend is the fake one; limits are those of Session."""
    from blender_addon import runtime

    def choose(mode: str = "ok", steps: int = 4, delay: float = 0.01, **limits):
        runtime.configure(command=_command(mode, steps, delay), **limits)

    choose()
    yield choose
    runtime.configure()


@pytest.fixture
def mannequin(addon):
    """The mannequin, active, in an otherwise empty scene."""
    import bpy

    from blender_addon.scene import mannequin

    armature = mannequin.add()
    bpy.context.view_layer.objects.active = armature
    return armature


def snapshot() -> dict:
    """What a failed request must not change."""
    import bpy

    scene = bpy.context.scene
    return {
        "actions": sorted((action.name, action.use_fake_user) for action in bpy.data.actions),
        "objects": sorted(thing.name for thing in bpy.data.objects),
        "active": {
            thing.name: thing.animation_data.action.name
            for thing in bpy.data.objects
            if thing.animation_data and thing.animation_data.action
        },
        "range": (scene.frame_start, scene.frame_end, scene.frame_current),
        "fps": (scene.render.fps, scene.render.fps_base),
    }


@pytest.fixture(name="snapshot")
def snapshot_fixture():
    return snapshot


@pytest.fixture
def thirty_frames_a_second(addon):
    import bpy

    bpy.context.scene.render.fps = 30


@pytest.fixture
def mine(mannequin):
    """The mannequin's action, with keys of an artist."""
    from blender.artist import own_keys

    return own_keys(mannequin)
