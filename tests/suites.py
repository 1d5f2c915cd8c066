"""Run suites of tests side by side, each with its own Python, and count what came out. Standard library only."""

import os
import re
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from blender_addon.client import environment
from blender_addon.client.running import end

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "backend": ("unit", "protocol", "backend"),
    "blender": ("unit", "protocol", "blender"),
    "scale": ("scale",),  # a real Ray cluster of several machines, each a process: only when it is asked for
    "window": ("gui",),  # the installed Blender under Xvfb, driven by mouse and keys; skipped where it is not installed
}
SIDE_BY_SIDE = 2  # suites at a time where there are as many processors; each takes up to 3 GB of memory
LONGEST = 25 * 60  # seconds for one suite: only a hang takes that long
EVERY = 60.0  # seconds between two words on how far the suites are


class Counts(NamedTuple):
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    @property
    def line(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclass(frozen=True)
class Suite:
    """Tests of one kind ("backend", "blender", "scale" or "window") in one Python."""

    title: str
    kind: str
    python: Path

    def folders(self, only: "str | None" = None) -> list[str]:
        """Its folders below the repository that are there; with ``only`` that one alone."""
        wanted = [f"tests/{name}" for name in FOLDERS[self.kind] if only in (None, name)]
        return [folder for folder in wanted if (ROOT / folder).is_dir()]


@dataclass
class _Run:
    """A suite that runs."""

    suite: Suite
    folders: list[str]
    child: subprocess.Popen
    scratch: TemporaryDirectory
    began: float = field(default_factory=time.monotonic)

    @property
    def said(self) -> str:
        return (Path(self.scratch.name) / "log.txt").read_text(encoding="utf-8", errors="replace")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def done(self) -> str:
        """How far it is, in pytest's words: "45%"."""
        found = re.findall(r"\[ *(\d+%)\]", self.said)
        return found[-1] if found else "0%"


def run_all(
    suites: "list[Suite]",
    tools: Path,
    variables: "dict[str, str]",
    say: Callable[[str], None],
    only: "str | None" = None,
    extra: "list[str] | None" = None,
) -> Counts:
    """Run pytest over every suite, two at a time, those with a window last and alone; what one says comes at its end.

    tools: folder with pytest; variables: for the environment of the children; extra: arguments for pytest. A crash, a
    hang or an empty run counts as one failure.
    """
    waiting = [(suite, folders) for suite in suites if (folders := suite.folders(only))]
    at_once = min(SIDE_BY_SIDE, os.cpu_count() or 1)
    if at_once > 1:  # threads of one suite that wait for processors of the other cost more than they bring
        variables = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // at_once)), **variables}
    running: list[_Run] = []
    total, told = Counts(), time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < at_once and not (running and _alone(waiting[0][0], running[0].suite)):
                suite, folders = waiting.pop(0)
                say(f"\n=== {suite.title}: {' '.join(folders)}")
                running.append(_start(suite, folders, tools, variables, extra or []))
            time.sleep(0.1)
            for run in list(running):
                code = run.child.poll()
                if code is None and run.seconds > LONGEST:
                    say(f"No end after {LONGEST} s: stopping {run.suite.title} (process {run.child.pid})")
                    end(run.child)
                    code = 124
                if code is not None:
                    running.remove(run)
                    total = total.plus(_finish(run, code, say, bool(extra)))
            if running and time.monotonic() - told > EVERY:
                told = time.monotonic()
                say("    " + ", ".join(f"{run.suite.title} {run.done} in {run.seconds:.0f} s" for run in running))
    finally:
        for run in running:  # interrupted: what they had said by then is not lost
            end(run.child)
            say(f"\n=== {run.suite.title}: interrupted after {run.seconds:.0f} s\n{run.said}")
            run.scratch.cleanup()
    return total


def _alone(*suites: Suite) -> bool:
    """Whether one of them must not share the processors: what is on the screen is waited for."""
    return any(suite.kind == "window" for suite in suites)


def _start(suite: Suite, folders: list[str], tools: Path, variables: dict[str, str], extra: list[str]) -> _Run:
    scratch = TemporaryDirectory(prefix="momug-test-", ignore_cleanup_errors=True)
    place = Path(scratch.name)
    options = ["-q", "-ra", f"--junitxml={place / 'report.xml'}", "-o", f"cache_dir={place / 'cache'}"]
    options += ["-o", "junit_family=xunit2", *extra]
    command = [suite.python, ROOT / "tests" / "run.py", tools, *options, *folders]
    with open(place / "log.txt", "w", encoding="utf-8") as log:
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env={
                **environment.child_environment(),
                "BLENDER_USER_RESOURCES": str(place / "blender"),  # the artist's preferences stay untouched
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=os.name != "nt",
        )
    return _Run(suite, folders, child, scratch)


def _finish(run: _Run, code: int, say: Callable[[str], None], narrowed: bool) -> Counts:
    say(f"\n=== {run.suite.title}: {' '.join(run.folders)} ended after {run.seconds:.0f} s")
    say(run.said)
    counts = read_report(run.suite.title, Path(run.scratch.name) / "report.xml", code, say, narrowed)
    say(f"=== {run.suite.title}: {counts.line}")
    run.scratch.cleanup()
    return counts


def read_report(title: str, report: Path, code: int, say: Callable[[str], None], narrowed: bool = False) -> Counts:
    """Counts out of a JUnit file. pytest ends with 0 or 1, and with 5 when nothing was collected, which is a failure
    unless the user ``narrowed`` the selection; anything else is a run that broke, whatever it had counted."""
    counts = Counts()
    if report.is_file():
        try:
            for suite in ElementTree.parse(report).getroot().iter("testsuite"):
                tests, failures, errors, skipped = (
                    int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
                )
                bad = min(failures + errors, tests)
                counts = counts.plus(Counts(tests - bad - skipped, bad, skipped))
        except ElementTree.ParseError:
            say(f"{title}: the test report is cut off")
    if code == 5 and narrowed:
        return counts
    if code == 5:
        say(f"{title}: no tests were collected")
    elif code not in (0, 1):
        say(f"{title}: the test run broke (exit code {code})")
    if (code != 0 and not counts.failed) or code not in (0, 1) or not report.is_file():
        counts = counts.plus(Counts(failed=1))
    return counts
