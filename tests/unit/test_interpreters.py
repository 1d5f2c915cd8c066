"""A Python for the model is found on three systems, from folders and commands that only look like theirs."""

import os
import subprocess
import sys
import types
from pathlib import Path, PureWindowsPath

import pytest

from blender_addon.client import interpreters
from blender_addon.client.problems import NotOffered


@pytest.fixture
def computer(tmp_path, monkeypatch):
    """``computer(system, **variables)``: from now on this is a bare one of that kind.

    ``computer.python(path, version)`` puts a command there; what is started is noted in ``computer.started``.
    """

    class Computer:
        root = tmp_path
        started: list[str] = []
        answers: dict[str, tuple[int, str]] = {}

        def __call__(self, system, **variables):
            monkeypatch.setattr(sys, "platform", system)
            monkeypatch.setattr(sys, "executable", "/nowhere/blender/python/bin/python3.10")
            monkeypatch.setattr(sys, "version_info", (3, 10, 13))
            monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0, raising=False)
            for name in ("PYENV_ROOT", "XDG_DATA_HOME", "LOCALAPPDATA", "APPDATA", "ProgramFiles", "SystemDrive"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("MOMUG_CACHE", str(tmp_path / "cache"))
            monkeypatch.setenv("PATH", "")
            monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
            monkeypatch.setattr(interpreters.shutil, "which", lambda name: None)
            for name, value in variables.items():
                monkeypatch.setenv(name, str(value))
            monkeypatch.setattr(interpreters.subprocess, "run", self.run)
            return self

        def python(self, path, version="3.11", code=0):
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("")
            self.answers[str(file)] = (code, f"{version}\n{file}\n")
            return file

        def run(self, command, **_options):
            name = command[0]
            self.started.append(name)
            if name not in self.answers:
                raise FileNotFoundError(name)
            code, output = self.answers[name]
            return types.SimpleNamespace(returncode=code, stdout=output)

    made = Computer()
    made.started, made.answers = [], {}
    return made


def test_windows_installer_for_one_user_is_found(computer):
    computer("win32", LOCALAPPDATA=computer.root / "Local")
    monkey = computer.python("Local/Programs/Python/Python311/python.exe")
    patch_registry(None)
    assert interpreters.find_python() == monkey


def patch_registry(places):
    """Stand in for Windows' registry: {(root, version): values}."""

    class Key:
        def __init__(self, values):
            self.values = values

        def __enter__(self):
            return self.values

        def __exit__(self, *_error):
            return None

    def open_key(root, name):
        version = name.split("\\")[3]
        if (root, version) not in (places or {}):
            raise FileNotFoundError(name)
        return Key(places[(root, version)])

    def value_ex(values, name):
        if name not in values:
            raise FileNotFoundError(name)
        return values[name], 1

    sys.modules["winreg"] = types.SimpleNamespace(
        HKEY_CURRENT_USER="user",
        HKEY_LOCAL_MACHINE="machine",
        OpenKey=open_key,
        QueryValueEx=value_ex,
        QueryValue=lambda values, name: values[name],
    )


@pytest.fixture(autouse=True)
def no_registry():
    before = sys.modules.get("winreg")
    yield
    if before is None:
        sys.modules.pop("winreg", None)
    else:
        sys.modules["winreg"] = before


def test_windows_registry_is_read_in_both_forms(computer):
    computer("win32")
    new = computer.python("Apps/Python312/python.exe", "3.12")
    old = computer.python("Old/python.exe", "3.13")
    patch_registry({("machine", "3.12"): {"ExecutablePath": str(new)}, ("user", "3.13"): {None: str(old.parent)}})
    assert interpreters.find_python(((3, 12),)) == new
    assert interpreters.find_python(((3, 13),)) == old


def test_windows_store_stub_is_never_started(computer):
    stub = computer.python("Local/Microsoft/WindowsApps/python3.exe")
    computer("win32", LOCALAPPDATA=computer.root / "Local", PATH=stub.parent)
    patch_registry({("user", "3.11"): {"ExecutablePath": str(stub)}})
    with pytest.raises(NotOffered) as caught:
        interpreters.find_python()
    assert str(stub) not in computer.started
    assert "py launcher" in caught.value.message and caught.value.code == "no_python"


def test_windows_launcher_is_asked_by_version(computer, monkeypatch):
    computer("win32")
    patch_registry(None)
    launcher = computer.python("Windows/py.exe", "3.12")
    monkeypatch.setattr(interpreters.shutil, "which", lambda name: str(launcher) if name == "py" else None)
    assert [str(launcher), "-3.12"] in interpreters.candidates((3, 12))
    assert interpreters.find_python(((3, 12),)) == launcher


def test_windows_uv_and_pyenv_are_found(computer):
    computer("win32", APPDATA=computer.root / "Roaming")
    patch_registry(None)
    uv = computer.python("Roaming/uv/python/cpython-3.11.9-windows-x86_64-none/python.exe")
    pyenv = computer.python("home/.pyenv/pyenv-win/versions/3.12.4/python.exe", "3.12")
    assert interpreters.find_python(((3, 11),)) == uv
    assert interpreters.find_python(((3, 12),)) == pyenv


def test_mac_stub_of_the_developer_tools_is_never_started(computer, monkeypatch):
    computer("darwin", PATH="/usr/bin")
    real = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda self: str(self) == "/usr/bin/python3" or real(self))
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert interpreters.is_stub(Path("/usr/bin/python3"))
    commands = [command[0] for command in interpreters.candidates((3, 11))]
    assert "/usr/bin/python3" not in commands
    # with the tools installed it is a Python like any other
    monkeypatch.setattr(Path, "exists", lambda self: "CommandLineTools" in str(self))
    assert not interpreters.is_stub(Path("/usr/bin/python3"))
    assert ["/usr/bin/python3"] in interpreters.candidates((3, 9))


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("/Library/Frameworks/Python.framework/Versions", "3.11/bin/python3.11"),
        ("/opt/homebrew/opt", "python@3.11/bin/python3.11"),
        ("/usr/local/opt", "python@3.11/bin/python3.11"),
        ("/opt/local/bin", "python3.11"),
    ],
)
def test_mac_looks_where_blender_from_the_finder_has_no_path(computer, monkeypatch, folder, file):
    computer("darwin")
    python = computer.python(f"disk{folder}/{file}")
    places = interpreters._known_places
    moved = [(computer.root / "disk" / str(place).lstrip("/"), pattern) for place, pattern in places("3.11")]
    monkeypatch.setattr(interpreters, "_known_places", lambda text: moved)
    assert interpreters.find_python() == python


def test_linux_system_pyenv_and_uv(computer, monkeypatch):
    computer("linux")
    places = interpreters._known_places("3.11")
    assert (Path("/usr/bin"), "python3.11") in places
    own = [place for place in places if not str(place[0]).startswith("/usr")]
    monkeypatch.setattr(interpreters, "_known_places", lambda text: own)
    uv = computer.python("home/.local/share/uv/python/cpython-3.11.9-linux-x86_64-gnu/bin/python3.11")
    assert interpreters.find_python() == uv
    pyenv = computer.python("home/.pyenv/versions/3.11.7/bin/python")
    assert interpreters.find_python() == pyenv


def test_a_python_without_venv_is_passed_over_and_named(computer, monkeypatch):
    bare = computer.python("bin/python3.11", code=1)
    computer("linux", PATH=bare.parent)
    monkeypatch.setattr(interpreters, "_known_places", lambda text: [])
    with pytest.raises(NotOffered) as caught:
        interpreters.find_python()
    assert f"{bare} (lacks venv, ensurepip or ssl)" in caught.value.hint
    assert "fetch one" in caught.value.hint


def test_what_uv_brought_for_us_is_found(computer, monkeypatch):
    computer("linux")
    ours = computer.python("cache/python/cpython-3.11.13-linux-x86_64-gnu/bin/python3.11")
    assert interpreters.find_python() == ours


def test_blenders_own_python_is_the_last_resort_and_good_enough(computer, monkeypatch):
    own = computer.python("blender-4.5.1-linux-x64/4.5/python/bin/python3.11")
    computer("linux")
    monkeypatch.setattr(interpreters, "_known_places", lambda text: [])
    monkeypatch.setattr(sys, "executable", str(own))
    monkeypatch.setattr(sys, "version_info", (3, 11, 11))
    assert interpreters.of_blender(own)
    assert interpreters.find_python() == own
    other = computer.python("bin/python3.11")
    monkeypatch.setenv("PATH", str(other.parent))
    assert interpreters.find_python() == other, "Blender's own goes away with the next version of Blender"


@pytest.mark.parametrize(
    ("path", "of_blender"),
    [
        ("/opt/blender-4.5/4.5/python/bin/python3.11", True),
        ("/Applications/Blender.app/Contents/Resources/4.5/python/bin/python3.11", True),
        ("/usr/bin/python3.11", False),
        ("/home/me/.pyenv/versions/3.11.7/bin/python", False),
    ],
)
def test_a_python_of_blender_is_known_by_its_place(path, of_blender):
    assert interpreters.of_blender(Path(path)) is of_blender


def test_windows_blender_is_known_by_its_place():
    assert interpreters.of_blender(
        PureWindowsPath(r"C:\Program Files\Blender Foundation\Blender 4.5\4.5\python\bin\python.exe")
    )


@pytest.mark.skipif(os.name == "nt", reason="a symbolic link to this interpreter")
def test_a_real_interpreter_is_really_run(tmp_path, monkeypatch):
    here = sys.version_info[:2]
    assert interpreters.find_python((here,)).is_file()
