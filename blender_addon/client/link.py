"""One life of the backend: the process and the two threads that read and write its pipes."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from . import protocol
from .process import BackendProcess

log = logging.getLogger(__name__)


@dataclass
class Failure:
    """Why a link ended: a sentence, what to do about it, the last lines of the log."""

    code: str
    message: str
    hint: str = ""
    details: str = ""
    restartable: bool = False  # worth one automatic restart


class Link:
    """Starts the process on its own thread; ``on_message(link, message)`` and, once, ``on_end(link)`` come from there.

    Nothing here blocks the caller, except :meth:`shut`. The reading thread starts the process because Linux ends the
    child when the thread that started it ends, and because starting may take long.
    """

    def __init__(self, start: Callable[[], BackendProcess], on_message: Callable, on_end: Callable):
        self.ready = False  # hello was heard
        self.started = self.last_heard = self.last_ping = time.monotonic()
        self.failure: Failure | None = None
        self.ended = threading.Event()
        self.process: BackendProcess | None = None
        self.closing = False
        self._start, self._on_message, self._on_end = start, on_message, on_end
        self._lock = threading.Lock()
        self._outgoing: SimpleQueue[list[bytes] | None] = SimpleQueue()
        threading.Thread(target=self._run, name="momug-reader", daemon=True).start()

    def send(self, pieces: list[bytes]) -> None:
        """Queue a frame for the writing thread: a full pipe blocks that thread, never this one."""
        self._outgoing.put(pieces)

    def fail(self, failure: Failure) -> None:
        """Give up on this process and kill it; the first failure is the one that is told."""
        with self._lock:
            self.failure = self.failure or failure
            process = self.process
        if process is not None:
            process.kill()

    def shut(self, farewell: list[bytes], patience: float, wait: bool) -> None:
        """End the process politely: say farewell, close its stdin, wait ``patience`` seconds, then firmly."""
        with self._lock:
            self.closing = True
            process = self.process
        self._outgoing.put(farewell)
        self._outgoing.put(None)
        if process is not None and wait:
            process.stop(patience)
            self.ended.wait(patience)
        elif process is not None:
            threading.Thread(target=process.stop, args=(patience,), name="momug-stop", daemon=True).start()

    def _run(self) -> None:
        try:
            process = self._start()
        except (OSError, ValueError) as error:
            self.failure = Failure(
                "start",
                f"The backend could not be started: {error}.",
                "Run the set-up, or choose the backend's Python in the preferences.",
            )
        else:
            self._serve(process)
        finally:
            self.ended.set()
            self._on_end(self)

    def _serve(self, process: BackendProcess) -> None:
        with self._lock:
            self.process = process
            unwanted = self.closing or self.failure
        if unwanted:
            process.kill()
        threading.Thread(target=self._write, args=(process,), name="momug-writer", daemon=True).start()
        reader = protocol.FrameReader(process.stdout)
        try:
            while (message := reader.read()) is not None:
                self.last_heard = time.monotonic()
                self._on_message(self, message)
        except protocol.ProtocolError as error:
            if process.exit_code() is None and not self.closing:
                self._garbage(process, str(error))
        except Exception:
            log.exception("a message of the backend could not be handled")
            self.failure = self.failure or Failure("internal", "A message of the backend could not be handled.")
        if self.failure:
            process.kill()
        elif self.closing:
            process.stop(1.0)
        elif process.wait(2.0):
            self.failure = _death(process)
        else:
            self._garbage(process, "it closed its output")
        process.kill()
        if self.failure:
            self.failure.details = process.log_tail(20)
        self._outgoing.put(None)

    def _garbage(self, process: BackendProcess, reason: str) -> None:
        # a dying process may leave half a frame: its death is the better explanation
        if process.wait(0.5):
            return
        log.warning("the backend broke the protocol: %s", reason)
        self.failure = self.failure or Failure(
            "garbage",
            "The backend sent something that is not an answer.",
            f"See the log {process.log_file}; reinstalling the backend may help.",
        )

    def _write(self, process: BackendProcess) -> None:
        try:
            while (pieces := self._outgoing.get()) is not None:
                for piece in pieces:
                    view = memoryview(piece)
                    while view:
                        view = view[process.stdin.write(view) :]
        except (OSError, ValueError) as error:
            log.debug("the backend no longer reads: %s", error)  # the reading thread finds out why
        try:
            process.stdin.close()
        except OSError as error:
            log.debug("stdin was already broken: %s", error)


def _death(process: BackendProcess) -> Failure:
    code = process.exit_code()
    hint = f"See the log {process.log_file}."
    if code in (-9, 137):
        hint = "The system may have ended it because memory ran out: close other programs or ask for less at once."
    return Failure("died", f"The backend stopped unexpectedly (exit code {code}).", hint, restartable=True)
