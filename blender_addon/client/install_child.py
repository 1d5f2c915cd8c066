"""The process that installs: started by ``installer``, tells how it goes as lines of JSON, is ended at any moment.

Being a process of its own it can be cancelled at once, whatever it is doing, and never holds up Blender. It ends when
its stdin closes, with everything it started. Standard library only.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from . import bring_python, setup
from .environment import set_up_lock
from .interpreters import find_python
from .problems import EnvironmentProblem, from_error

EVERY = 0.1  # seconds between two lines about the same phase


class Teller:
    """Writes lines of JSON to what was stdout; prints of anybody else go to the log."""

    def __init__(self):
        self.output = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        os.dup2(2, 1)
        self.told = ("", 0.0)
        self.lock = threading.Lock()

    def say(self, **fields: object) -> None:
        with self.lock:
            self.output.write(json.dumps(fields) + "\n")
            self.output.flush()

    def report(self, phase: str, done: int = 0, total: int = 0, text: str = "", label: str = "") -> None:
        """How it goes; often repeated numbers are left out."""
        now = time.monotonic()
        if not text and phase == self.told[0] and now - self.told[1] < EVERY and done < total:
            return
        self.told = (phase, now)
        if text:
            logging.info("%s", text)
        self.say(phase=phase, done=done, total=total, text=text, label=label)


def _end_with_parent() -> None:
    while os.read(0, 1024):
        continue
    if os.name == "nt":
        os._exit(1)  # the job object that holds us ends what we started
    os.killpg(0, signal.SIGKILL)


def main(words: list[str]) -> None:
    """``words``: "install", "repair" or "remove", then its options as JSON: device, folder, agreed, fetch_python."""
    command, options = words[0], json.loads(words[1])
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    teller = Teller()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with set_up_lock(lambda text: teller.report("wait", text=text)):
            teller.say(**_work(command, options, teller.report))
    except EnvironmentProblem as problem:
        logging.error("%s %s", problem.message, problem.hint)
        teller.say(problem={"message": problem.message, "hint": problem.hint, "code": problem.code})
    except Exception as error:
        logging.exception("the installation failed")
        problem = from_error(error, "model's programs", setup.paths.cache_folder(), "the log")
        teller.say(problem={"message": problem.message, "hint": problem.hint, "code": problem.code})
    sys.stderr.flush()
    os._exit(0)


def _work(command: str, options: dict, report: setup.Report) -> dict:
    if command == "remove":
        return {"finished": "remove", "freed": setup.remove(report)}

    folder = Path(options["folder"]) if options.get("folder") else None

    def python() -> Path:
        report("python", text="Looking for Python")
        try:
            return find_python(setup.pythons(folder))
        except EnvironmentProblem:
            if not options.get("fetch_python"):
                raise
            bring_python.fetch_python(Path(sys.executable), report)
            return find_python(setup.pythons(folder))

    setup.install(
        report,
        python=python,
        device=options.get("device", "auto"),
        folder=folder,
        agreed=options.get("agreed"),
        thorough=command == "repair",
    )
    return {"finished": command}
