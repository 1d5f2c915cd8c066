"""``python -m backend`` from any folder: errors are one sentence on stderr and the exit code 1."""

import subprocess
import sys

import pytest

from blender_addon.client import child_environment


@pytest.fixture
def backend(tmp_path):
    """A function (arguments) -> finished process, run in a folder of its own where no weights are."""
    env = child_environment() | {"MOMUG_CHECKPOINTS": str(tmp_path / "no weights")}

    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "backend", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, encoding="utf-8")

    return run


COMMANDS = [("serve",), ("generate",), ("caption",), ("dataset", "build"), ("dataset", "inspect"), ("train",),
            ("evaluate",), ("base", "convert")]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(backend, command):
    result = backend(*command, "--help")
    assert result.returncode == 0 and "usage: python -m backend " + " ".join(command) in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("generate", "--prompt", "a person walks", "--out", "x.bvh"), "not installed"),
        (("generate", "--prompt", "a person walks", "--out", "x.doc"), "x.doc"),
        (("generate", "--prompt", "a person walks", "--out", "x.bvh", "--model", "nobody"), "no model called 'nobody'"),
        (("dataset", "inspect", "nowhere"), "There is no data set"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value,
)
def test_errors_are_a_sentence_and_a_hint(backend, arguments, words):
    if arguments[0] == "generate":
        pytest.importorskip("scipy", reason="motion files are written with scipy")
    result = backend(*arguments)
    lines = result.stderr.strip().splitlines()
    assert result.returncode == 1 and result.stdout == ""
    assert words in lines[0] and len(lines) <= 2


def test_verbose_adds_the_details(backend):
    result = backend("dataset", "inspect", "nowhere", "--verbose")
    assert result.returncode == 1 and "Traceback" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("dance",), ("generate",), ("serve", "--idle-unload", "-3")])
def test_wrong_usage_exits_with_2(backend, arguments):
    result = backend(*arguments)
    assert result.returncode == 2 and "usage:" in result.stderr


def test_a_process_ends_when_who_started_it_is_gone():
    """Its standard input closes then, on any system and however the other one ended."""
    code = "import time, backend.process as p; p.end_with_stdin(); print('up', flush=True); time.sleep(120)"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env=child_environment(), **pipes) as child:
        assert child.stdout.readline().strip() == b"up" and child.poll() is None
        child.stdin.close()
        assert child.wait(60) == 1
