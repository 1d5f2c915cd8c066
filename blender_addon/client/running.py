"""Run a program to its end, its output into a log, or end it with all it started. Standard library only."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from .environment import child_environment, no_window
from .problems import EnvironmentProblem


def run(
    command: list,
    log: Path,
    while_running: Callable[[], None] | None = None,
    cwd: Path | None = None,
    **variables: str,
) -> tuple[int, str]:
    """Exit code and output of ``command``; ``while_running()`` is called twice a second. ``variables`` are added to its
    environment; TMPDIR also names the temporary folder on Windows. Raises EnvironmentProblem when it does not start."""
    env = {**child_environment(), **variables}
    if "TMPDIR" in variables:
        env.update(TEMP=variables["TMPDIR"], TMP=variables["TMPDIR"])
    with open(log, "a+", encoding="utf-8", errors="replace") as file:
        start = file.seek(0, 2)
        try:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                **no_window(),
            )
        except OSError as error:
            raise EnvironmentProblem(f"{command[0]} could not be started: {error.strerror}.") from error
        with child, _ticking(while_running):
            child.wait()
        file.seek(start)
        return child.returncode, file.read()


def end(child: subprocess.Popen) -> None:
    """End a child that leads its own group (``start_new_session``), and everything that it started, at once."""
    if child.poll() is None:
        if os.name == "nt":
            subprocess.run(["taskkill", "/T", "/F", "/PID", str(child.pid)], capture_output=True)
        else:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


class _ticking:
    """Calls a function twice a second until the block ends."""

    def __init__(self, function: Callable[[], None] | None):
        self.function, self.over = function, threading.Event()

    def __enter__(self) -> None:
        if self.function:
            self.thread = threading.Thread(target=self._tick, daemon=True)
            self.thread.start()

    def _tick(self) -> None:
        while not self.over.wait(0.5):
            self.function()

    def __exit__(self, *_error) -> None:
        self.over.set()
        if self.function:
            self.thread.join()
