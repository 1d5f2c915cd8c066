"""A style pack in the making: the backend's trainer as a process of its own, looked at now and then. No bpy."""

import json
import logging
import time
from pathlib import Path

from .process import BackendProcess, backend_root, child_environment

log = logging.getLogger(__name__)

RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"


class StyleTraining:
    """Runs ``python -m backend style train`` and reads how far it is. Nothing here waits but :meth:`cancel`.

    state: "running", "done", "failed" or "cancelled". step, total: of the training, step 0 while the model loads.
    loss: the last one, None before the first. record: what the trainer said at its end. error, details: one sentence
    and the last lines of the log, when it failed. Raises OSError when the program cannot be started.
    """

    def __init__(
        self,
        program: list[str],
        env: "dict[str, str] | None",
        source: Path,
        run: Path,
        name: str,
        *,
        label: str,
        licence: str,
        commercial: bool,
        steps: int,
        log_file: Path,
    ):
        command = [*program, "style", "train", "--source", str(source), "--out", str(run), "--name", name]
        command += ["--label", label, "--licence", licence, "--steps", str(steps)]
        command.append("--end-with-stdin")  # which closes when Blender ends, however it ends
        if not commercial:
            command.append("--non-commercial")
        self.name, self.label, self.licence, self.commercial = name, label, licence, commercial
        self.run, self.total, self.step = Path(run), steps, 0
        self.state, self.error, self.details = RUNNING, "", ""
        self.loss: float | None = None
        self.record: dict = {}
        self._speed = 0.0
        self._read = 0
        self._started = time.monotonic()
        self._process = BackendProcess(command, env or child_environment(), log_file, backend_root())

    @property
    def fraction(self) -> float:
        return min(1.0, self.step / self.total)

    @property
    def remaining(self) -> "float | None":
        """Seconds that the training will still take, None while that is unknown."""
        return (self.total - self.step) / self._speed if self._speed > 0 else None

    def poll(self) -> str:
        """Look how far it is; the state."""
        if self.state != RUNNING:
            return self.state
        self._read_curve()
        code = self._process.exit_code()
        if code is None:
            return self.state
        self._read_curve()
        printed = self._process.stdout.read().decode("utf-8", "replace")
        self.details = self._process.log_tail(20)
        self._process.kill()  # it has ended: lets go of what belongs to it
        if code == 0:
            self.state = DONE
            self.record = _last_json(printed)
            self.step = self.total
        else:
            self.state = FAILED
            self.error = _reason(self.details) or f"The trainer ended with the code {code}."
        return self.state

    def cancel(self) -> None:
        """End the process and what it started, at once."""
        if self.state == RUNNING:
            self.state = CANCELLED
            self._process.kill()

    def _read_curve(self) -> None:
        """New whole lines of the curve that the trainer writes."""
        try:
            with open(self.run / "log.jsonl", "rb") as file:
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("the curve of the training cannot be read: %s", error)
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                row = json.loads(line)
            except ValueError as error:
                log.warning("a line of the training's curve is damaged: %s", error)
                continue
            self.step = int(row.get("step", self.step))
            if isinstance(row.get("loss"), (int, float)):
                self.loss = float(row["loss"])
            if isinstance(row.get("steps_per_s"), (int, float)):
                # the first one also counts what came before it
                self._speed = float(row["steps_per_s"])


def _last_json(printed: str) -> dict:
    """The record that the trainer prints at its end."""
    try:
        record = json.loads(printed[printed.index("{") :])
    except ValueError as error:
        log.warning("the trainer's record cannot be read: %s", error)
        return {}
    return record if isinstance(record, dict) else {}


def _reason(log_lines: str) -> str:
    """What the backend said last in plain words: its errors are sentences, after lines of figures."""
    said: list[str] = []
    for line in log_lines.splitlines():
        if line.startswith(("Traceback", " ", "{")) or not line.strip():
            said = []
        else:
            said.append(line.strip())
    return " ".join(said[-2:])
