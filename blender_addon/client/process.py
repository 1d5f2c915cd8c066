"""One backend process: start it clean, keep its log, end it politely and then firmly, always by its handle."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from . import protocol

log = logging.getLogger(__name__)

LOG_SIZE = 1 << 20  # a log larger than this is put aside at the next start
LOG_COPIES = 2
TAIL_BYTES = 64 << 10


def backend_root() -> Path:
    """The folder that holds ``backend/``."""
    return Path(protocol.__file__).resolve().parents[1]


def child_environment(root: Path | None = None) -> dict[str, str]:
    """Variables for the backend: ours, less what would lead it to another Python's packages or to the network."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    env.update(
        PYTHONPATH=str(root or backend_root()),
        PYTHONNOUSERSITE="1",
        PYTHONUTF8="1",
        PYTHONDONTWRITEBYTECODE="1",  # an installed extension may lie in a folder that is not ours to write to
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
    )
    return env


def backend_command(python: str | os.PathLike, *options: str) -> tuple[list[str], dict[str, str]]:
    """The command that serves the pipe with the backend's interpreter ``python``, and its environment variables.

    ``options`` are those of ``python -m backend serve``, such as ``"--device", "cpu"``.
    """
    return [os.fspath(python), "-m", "backend", "serve", *options], child_environment()


class BackendProcess:
    """A running child. ``stdin`` and ``stdout`` are raw binary pipes; its stderr goes to ``log_file``.

    The thread that makes it has to live as long as the child: Linux ends the child when that very thread ends.
    Raises OSError when the command cannot be started.
    """

    def __init__(self, command: list[str], env: dict[str, str], log_file: Path, cwd: Path):
        self._job_object = None
        options = {}
        if sys.platform == "win32":
            options["creationflags"] = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        else:
            options["start_new_session"] = True  # its own group: Ctrl-C in a terminal is for Blender alone
        with _opened(log_file) as stream:
            self.log_file = Path(stream.name)
            self._log_start = stream.seek(0, os.SEEK_END)
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=env,
                cwd=cwd,
                bufsize=0,
                **options,
            )
        self.stdin, self.stdout = self._popen.stdin, self._popen.stdout
        if sys.platform == "win32":
            from .windows_job import JobObject

            self._job_object = JobObject.around(int(self._popen._handle))

    @property
    def pid(self) -> int:
        return self._popen.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._popen.poll()

    def wait(self, timeout: float) -> bool:
        """True when the process has ended within ``timeout`` seconds."""
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, patience: float) -> None:
        """Wait ``patience`` seconds for an end already asked for, then ask by signal, then kill it and its children."""
        if not self.wait(patience):
            self._popen.terminate()
            if not self.wait(min(patience, 1.0)):
                self.kill()

    def kill(self) -> None:
        """End the process and what it started, at once."""
        if self._popen.poll() is None:
            if sys.platform != "win32":
                try:
                    os.killpg(self._popen.pid, signal.SIGKILL)  # it leads its own group, named by its own id
                except ProcessLookupError:
                    log.debug("the backend ended before it was killed")
            self._popen.kill()
            self.wait(5.0)
        if self._job_object is not None:
            self._job_object.close()
            self._job_object = None

    def log_tail(self, lines: int) -> str:
        """The last lines that this process wrote to its log."""
        try:
            with open(self.log_file, "rb") as stream:
                end = stream.seek(0, os.SEEK_END)
                stream.seek(max(self._log_start, end - TAIL_BYTES))
                text = stream.read().decode("utf-8", "replace")
        except OSError as error:
            return f"(the log {self.log_file} cannot be read: {error})"
        return "\n".join(text.splitlines()[-lines:])


def _opened(log_file: Path) -> BinaryIO:
    """``log_file``, to append to; where that may not be written, a log in a temporary folder."""
    try:
        return open(_rotated(log_file), "ab")
    except OSError as error:
        other = Path(tempfile.mkdtemp(prefix="momug-log-")) / log_file.name
        log.warning("the log %s cannot be written (%s): it is %s now", log_file, error, other)
        return open(other, "ab")


def _rotated(log_file: Path) -> Path:
    """``log_file``, ready to be appended to; a large one is first renamed to .1, .1 to .2."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    try:
        if log_file.is_file() and log_file.stat().st_size > LOG_SIZE:
            for number in range(LOG_COPIES, 0, -1):
                older = log_file if number == 1 else log_file.with_name(f"{log_file.name}.{number - 1}")
                if older.exists():
                    older.replace(log_file.with_name(f"{log_file.name}.{number}"))
    except PermissionError as error:
        # Windows: another Blender has it open
        log.info("the log could not be rotated: %s", error)
    return log_file
