"""Suites of tests: run side by side, ended when they hang, counted honestly."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import suites

TOOLS = Path(pytest.__file__).parents[1]


# --- counting


def report(tmp_path: Path, tests: int, failures: int = 0, errors: int = 0, skipped: int = 0) -> Path:
    file = tmp_path / "report.xml"
    file.write_text(
        f'<testsuites><testsuite name="pytest" tests="{tests}" failures="{failures}" errors="{errors}" '
        f'skipped="{skipped}"/></testsuites>'
    )
    return file


def test_counts_come_from_the_report(tmp_path):
    counts = suites.read_report("t", report(tmp_path, tests=10, failures=1, errors=1, skipped=3), code=1, say=print)
    assert counts.line == "5 passed, 2 failed, 3 skipped"
    assert suites.read_report("t", report(tmp_path, tests=4), code=0, say=print) == suites.Counts(4, 0, 0)


@pytest.mark.parametrize("code", [-11, 2, 3, 4, 124, 139])
def test_a_broken_run_fails_whatever_it_counted(tmp_path, code):
    assert suites.read_report("t", report(tmp_path, tests=4), code=code, say=print) == suites.Counts(4, 1, 0)
    assert suites.read_report("t", tmp_path / "none.xml", code=code, say=print) == suites.Counts(0, 1, 0)


def test_success_without_a_report_fails(tmp_path):
    assert suites.read_report("t", tmp_path / "none.xml", code=0, say=print) == suites.Counts(0, 1, 0)
    cut = tmp_path / "cut.xml"
    cut.write_text("<testsuites><testsu")
    assert suites.read_report("t", cut, code=1, say=print) == suites.Counts(0, 1, 0)


def test_no_tests_fails_unless_the_user_narrowed_the_selection(tmp_path):
    empty = report(tmp_path, tests=0)
    assert suites.read_report("t", empty, code=5, say=print) == suites.Counts(0, 1, 0)
    assert suites.read_report("t", empty, code=5, say=print, narrowed=True) == suites.Counts(0, 0, 0)


# --- running


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """``folders(one=..., two=...)``: suites of one file each, with that source, in a repository of their own."""
    monkeypatch.setattr(suites, "ROOT", tmp_path)
    monkeypatch.setattr(suites.os, "cpu_count", lambda: 2)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def write(**sources: str) -> "list[suites.Suite]":
        for name, source in sources.items():
            (tmp_path / "tests" / name).mkdir(parents=True)
            (tmp_path / "tests" / name / f"test_{name}.py").write_text(source)
        (tmp_path / "tests" / "run.py").write_text(DRIVER.read_text(encoding="utf-8"))
        monkeypatch.setattr(suites, "FOLDERS", {name: (name,) for name in sources})
        return [suites.Suite(name, name, Path(sys.executable)) for name in sources]

    return write


DRIVER = Path(__file__).resolve().parents[1] / "run.py"
MEETS = """
import pathlib, time
def test_the_other_runs_too():
    here = pathlib.Path(__file__).parents[2]
    (here / "{mine}").touch()
    end = time.monotonic() + 60
    while not (here / "{other}").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
"""


def test_two_run_side_by_side_and_the_window_after_them_alone(folders, tmp_path):
    window = "import pathlib\ndef test_it():\n    assert not list(pathlib.Path(__file__).parents[2].glob('*.busy'))\n"
    wanted = folders(
        one=MEETS.format(mine="a", other="b"), two=MEETS.format(mine="b", other="a"), window=window + "    assert 0\n"
    )
    said = []
    counts = suites.run_all(wanted, TOOLS, {}, said.append)
    assert counts == suites.Counts(2, 1, 0)
    text = "\n".join(said)
    assert max(text.index(f"=== {name}: 1 passed") for name in ("one", "two")) < text.index("=== window: tests/window")
    assert "assert 0" in text and "=== window: 0 passed, 1 failed, 0 skipped" in text


def test_only_one_folder_and_what_pytest_is_told(folders):
    said = []
    wanted = folders(one="def test_a(): pass\ndef test_b(): pass\n", two="def test_c(): pass\n")
    assert suites.run_all(wanted, TOOLS, {}, said.append, only="one", extra=["-k", "test_b"]) == suites.Counts(1, 0, 0)
    assert not any("two" in line for line in said)
    assert suites.run_all(wanted, TOOLS, {}, said.append, extra=["-k", "nothing_at_all"]) == suites.Counts()


def test_a_suite_that_hangs_is_ended_and_counts_as_a_failure(folders, monkeypatch):
    monkeypatch.setattr(suites, "LONGEST", 3.0)
    monkeypatch.setattr(suites, "EVERY", 0.5)
    said = []
    began = time.monotonic()
    wanted = folders(one="import time\ndef test_it():\n    time.sleep(600)\n")
    assert suites.run_all(wanted, TOOLS, {}, said.append).failed == 1
    assert time.monotonic() - began < 120 and any("one 0% in" in line for line in said)
    assert any("No end after 3" in line for line in said) and any("exit code 124" in line for line in said)


def test_what_was_said_before_an_interruption_is_not_lost(folders, monkeypatch):
    monkeypatch.setattr(suites, "EVERY", 0.2)
    said = []

    def say(line):
        said.append(line)
        if line.startswith("    one 50%"):
            raise KeyboardInterrupt

    wanted = folders(one="import time\ndef test_a(): pass\ndef test_b(): time.sleep(60)\n")
    with pytest.raises(KeyboardInterrupt):
        suites.run_all(wanted, TOOLS, {}, say, extra=["-vv"])
    assert "one: interrupted after" in said[-1] and "test_a PASSED" in said[-1]


def test_driver_leaves_although_a_thread_never_ends(root, tmp_path):
    (tmp_path / "test_hang.py").write_text(
        "import threading, time\ndef test_it():\n    threading.Thread(target=time.sleep, args=(120,)).start()\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    tools = os.pathsep.join(sys.path)
    command = [sys.executable, str(root / "tests" / "run.py"), str(Path(pytest.__file__).parents[1]), "-q"]
    env = {**os.environ, "PYTHONPATH": tools}
    done = subprocess.run([*command, str(tmp_path)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
