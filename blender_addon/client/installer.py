"""The installation as the interface sees it: what is planned, how it goes, how it ended. No bpy.

Looking around and installing both happen elsewhere, in a thread and in a process of its own; the interface only reads
attributes. A cancelled installation is ended within a second; what was downloaded is kept and continued later.
"""

import io
import json
import logging
import shutil
import sys
import threading
import time
from pathlib import Path

from . import environment, fetching, interpreters, plan, setup
from .environment import child_environment, paths
from .problems import EnvironmentProblem, from_error
from .process import BackendProcess

log = logging.getLogger(__name__)

IDLE, LOOKING, PLANNED, RUNNING, CANCELLING, DONE, FAILED, CANCELLED = (
    "idle", "looking", "planned", "running", "cancelling", "done", "failed", "cancelled",
)  # fmt: skip
INSTALL, REPAIR, REMOVE = "install", "repair", "remove"

# -I: no variable and no folder of another Python leads the child astray; our folder stands last on its path
_BOOT = "import importlib, sys; sys.path.append(sys.argv[1]); importlib.import_module(sys.argv[2]).main(sys.argv[3:])"

WORDS = {
    "wait": "Waiting for another set-up",
    "python": "Preparing Python",
    "locate": "Finding the packages",
    "download": "Downloading",
    "install": "Installing",
    "check": "Checking",
    "model": "Preparing the language model",
    "remove": "Removing",
}


class Installer:
    """One at a time. States: idle -> looking -> planned -> running -> done, failed or cancelled. After any of these
    it can look or start again. Methods return at once; read ``state`` and the other attributes from any thread."""

    def __init__(self, log_file: Path):
        self.log_file = log_file
        self.state = IDLE
        self.command = ""
        self.plan: plan.Plan | None = None
        self.python: Path | None = None
        self.phase, self.done, self.total, self.label = "", 0, 0, ""
        self.text = ""  # the last line for a person
        self.problem: EnvironmentProblem | None = None
        self.freed = 0
        self._process: BackendProcess | None = None
        self._lock = threading.Lock()
        self._speed: tuple[float, int] | None = None  # when the download began, and with how many bytes

    @property
    def busy(self) -> bool:
        return self.state in (LOOKING, RUNNING, CANCELLING)

    @property
    def fraction(self) -> float:
        """How much of the present phase is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0

    @property
    def phase_text(self) -> str:
        """What happens now, for a progress bar."""
        if self.state == CANCELLING:
            return "Stopping"
        if self.state == LOOKING:
            return "Looking at this computer"
        text = WORDS.get(self.phase, "Starting")
        if self.phase == "download" and self.total:
            return f"{text} {plan.in_words(self.done)} of {plan.in_words(self.total)}{self._left()}"
        return f"{text} {self.done} of {self.total}" if self.total > 1 else text

    def _left(self) -> str:
        started, before = self._speed or (time.monotonic(), self.done)
        gained, seconds = self.done - before, time.monotonic() - started
        if seconds < 2.0 or gained <= 0:
            return ""
        left = (self.total - self.done) * seconds / gained
        return f", {left:.0f} s left" if left < 90 else f", {left / 60:.0f} min left"

    # --- before

    def look(self, device: str = "auto", folder: Path | None = None, online: bool = False) -> None:
        """Find out what an installation would need; ends in ``planned``, or in ``failed`` with the problem."""
        with self._lock:
            if self.busy:
                return
            self.state, self.problem, self.plan, self.python = LOOKING, None, None, None
        threading.Thread(target=self._look, args=(device, folder, online), name="momug-look", daemon=True).start()

    def _look(self, device: str, folder: Path | None, online: bool) -> None:
        try:
            self.plan, self.python = setup.describe(device, folder, online)
        except EnvironmentProblem as problem:
            self._end(FAILED, problem)
        except Exception as error:
            log.exception("this computer could not be looked at")
            self._end(FAILED, from_error(error, "model's programs", paths.cache_folder(), self.log_file))
        else:
            self.state = PLANNED

    def forget(self) -> None:
        """Back to the start: no plan, no problem."""
        with self._lock:
            if not self.busy:
                self.state, self.plan, self.problem = IDLE, None, None

    # --- the work

    def start(self, command: str, **options: object) -> None:
        """Install, repair or remove in a process of its own. ``options``: device, folder, agreed, fetch_python."""
        with self._lock:
            if self.busy:
                return
            self.state, self.command, self.problem, self.freed = RUNNING, command, None, 0
            self.phase, self.done, self.total, self.label, self.text = "", 0, 0, "", ""
            self._speed = None
        given = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
        threading.Thread(target=self._run, args=(command, given), name="momug-install", daemon=True).start()

    def cancel(self) -> None:
        """Stop what runs; a thread sees to the end of it."""
        with self._lock:
            if self.state != RUNNING:
                return
            self.state = CANCELLING
            process = self._process
        if process is not None:
            threading.Thread(target=process.kill, name="momug-cancel", daemon=True).start()

    def shutdown(self) -> None:
        """End the process with Blender; the next installation goes on from there."""
        self.cancel()
        if self._process is not None:
            self._process.kill()

    def _runner(self) -> Path:
        if self.python is not None:
            return self.python
        try:
            return interpreters.find_python()
        except EnvironmentProblem:
            return Path(sys.executable)  # Blender's own: it runs our code and is not written to

    def _run(self, command: str, options: dict) -> None:
        addon = Path(__file__).resolve().parents[1]
        module = f"{addon.name}.client.install_child"
        try:
            words = [str(self._runner()), "-I", "-B", "-c", _BOOT, str(addon.parent), module, command]
            words.append(json.dumps(options))
            paths.cache_folder().mkdir(parents=True, exist_ok=True)
            process = BackendProcess(words, child_environment(), self.log_file, paths.cache_folder())
        except (OSError, EnvironmentProblem) as error:
            self._end(FAILED, from_error(error, "model's programs", paths.cache_folder(), self.log_file))
            return
        with self._lock:
            self._process = process
            cancelled = self.state == CANCELLING
        if cancelled:
            process.kill()
        outcome = self._follow(process)
        process.stop(5.0)
        self._process = None
        self._conclude(outcome, process)

    def _follow(self, process: BackendProcess) -> dict:
        """Read the child's lines to their end; the last word on how it ended."""
        outcome: dict = {}
        for line in io.TextIOWrapper(io.BufferedReader(process.stdout), encoding="utf-8", errors="replace"):
            try:
                told = json.loads(line)
            except ValueError:
                log.warning("the installer said %r", line[:200])
                continue
            if "phase" in told:
                self._progress(told)
            else:
                outcome = told
        return outcome

    def _progress(self, told: dict) -> None:
        if told["phase"] == "download" and told["total"] and self._speed is None:
            self._speed = (time.monotonic(), told["done"])
        self.phase, self.done, self.total = told["phase"], told["done"], told["total"]
        self.label = told["label"] or self.label
        if told["text"]:
            self.text = told["text"]
            log.info("%s", self.text)

    def _conclude(self, outcome: dict, process: BackendProcess) -> None:
        if self.state == CANCELLING:
            left = self._left_over()
            self._end(CANCELLED)
            if left is not None:  # nobody waits for thousands of small files
                shutil.rmtree(left, ignore_errors=True)
        elif "problem" in outcome:
            told = outcome["problem"]
            self._end(FAILED, EnvironmentProblem(told["message"], told["hint"], told["code"]))
        elif "finished" in outcome:
            self.freed = outcome.get("freed", 0)
            self._end(DONE)
        else:
            log.error("the installer died: %s", process.log_tail(20))
            hint = f"Press Install again: what was downloaded is kept. Details are in {self.log_file}."
            sentence = f"The installation stopped unexpectedly (exit code {process.exit_code()})."
            self._end(FAILED, EnvironmentProblem(sentence, hint, "died"))

    def _left_over(self) -> Path | None:
        """The half-made environment, put aside: it is of no use; downloads are."""
        folder = environment.backend_folder()
        if environment.read_record(folder) or not folder.exists():
            return None
        try:
            return environment.set_aside(folder)
        except OSError as error:  # Windows: a file of it is still held; the next installation makes it anew
            log.warning("%s stays: %s", folder, error)
            return None

    def _end(self, state: str, problem: EnvironmentProblem | None = None) -> None:
        if problem is not None:
            log.error("%s %s", problem.message, problem.hint)
        self.problem = problem
        self.state = state


def wheel_folder_problem(made: plan.Plan) -> EnvironmentProblem | None:
    """Why a folder of wheels cannot be installed from, or None."""
    return fetching.missing_wheels(made.folder, made.missing, made.target) if made.folder and made.missing else None


def summary(made: plan.Plan) -> list[str]:
    """What will happen, in lines for a person."""
    count = len(made.items)
    if made.folder:
        lines = [f"Packages from {made.folder}: {count}"]
    else:
        more = f" and {', '.join(made.unknown)} (its index tells the size)" if made.unknown else ""
        lines = [f"Download: {count} packages, {plan.in_words(made.download)}{more}"]
        if made.here:
            lines.append(f"Already here: {plan.in_words(made.here)}")
    lines.append(f"Disk while installing: {plan.in_words(made.disk)}, afterwards {plan.in_words(made.kept)}")
    lines.append(f"Free: {plan.in_words(made.free)} in {paths.cache_folder()}")
    return lines


def largest(made: plan.Plan, count: int = 8) -> list[plan.Item]:
    """The packages that matter for the size."""
    return sorted(made.items, key=lambda item: -item.size)[:count]
