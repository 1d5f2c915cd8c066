"""The model's programs, installed by mouse and keys from a folder of wheels, without a network."""

import shutil

import pytest
from gui import window as windows
from wheel_shop import PACKAGES, TORCH, write_extension, write_wheel


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels of a friend"
    for name in PACKAGES:
        write_wheel(folder, name, code=TORCH if name == "torch" else "")
    return folder


@pytest.fixture
def bare(tmp_path, wheels, opened):
    """A window whose add-on needs those few wheels, on a computer that has nothing installed."""
    opened.close()  # one Blender at a time
    addon = write_extension(tmp_path / "extensions", sorted(wheels.glob("*.whl")))
    shutil.copytree(
        windows.ROOT / "blender_addon", addon, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}", encoding="utf-8")
    variables = {
        "MOMUG_CACHE": str(tmp_path / "cache of a user"),
        "MOMUG_BASE_MODEL": str(base),
        "MOMUG_BACKEND_PYTHON": "",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",  # nothing answers there
        "PIP_CONFIG_FILE": "/dev/null",
    }
    write_wheel(wheels, "torch", "1.0+cpu", code=TORCH)  # PyTorch's own name of the build for the processor
    with windows.opened(addon=addon, **variables) as window:
        window.do("bpy.context.preferences.view.filebrowser_display_type = 'SCREEN'")
        window.open_sidebar()
        yield window


def test_install_and_remove_with_a_folder_of_wheels(bare, wheels, tmp_path):
    bare.expand("MOMUG_PT_backend")
    assert "not installed" in bare.ask("addon('installation').state().sentence")
    # the browser opens where the file is; typing a path into it would be keys for files whenever its field is not ready
    bare.do(f"bpy.ops.wm.save_as_mainfile(filepath={str(wheels / 'scene.blend')!r})")
    bare.press("momug.choose_wheels")
    bare.until("drawn().get('path of the file browser')")
    left, top, width, height = bare.ask("box('WINDOW', 'FILE_BROWSER')")
    assert bare.ask("area('FILE_BROWSER').spaces.active.params.directory.decode().rstrip('/')") == str(wheels)
    bare.point(left + width // 2, top + height // 2)
    bare.ask("None")
    bare.xdotool("key", "Return")
    bare.until("area('FILE_BROWSER') is None")
    bare.until("addon('installation').the_installer().state == 'planned'")
    assert bare.ask("str(addon('preferences').wheel_folder())") == str(wheels)
    bare.press("momug.install_backend")
    state = bare.until("addon('installation').the_installer().state", lambda state: state in ("done", "failed"), 300)
    assert state == "done", bare.ask("str(addon('installation').the_installer().problem)")
    bare.until("addon('installation').is_installed()")
    made = list((tmp_path / "cache of a user" / "envs").glob("backend-*/momug.json"))
    assert len(made) == 1, "no record of a finished environment"
    assert len(list(made[0].parent.glob("lib/python*/site-packages/torch.py"))) == 1

    bare.press("momug.remove_backend")
    bare.xdotool("key", "Return")  # yes, really
    bare.until("not addon('installation').is_installed()")
    bare.until("addon('installation').the_installer().state == 'done'")
    assert not made[0].parent.exists()
