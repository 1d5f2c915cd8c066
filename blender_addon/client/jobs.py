"""One request and what became of it."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import protocol
from .incoming import Incoming

if TYPE_CHECKING:
    import numpy as np

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
FINISHED = (DONE, FAILED, CANCELLED)


class Job:
    """QUEUED -> RUNNING -> DONE, FAILED or CANCELLED; changed by the session's threads, read by anybody.

    While it runs: ``phase``, ``step``, ``total``. When DONE: ``header`` (the fields of the result) and ``arrays``
    (numpy arrays by name). When FAILED: ``error`` (one sentence), ``hint`` (what to do), ``code``, ``retryable``,
    ``details`` (the last lines of the backend's log, when it died). A ``stream`` has ``incoming``, its frames.
    """

    def __init__(self, number: int, kind: str, fields: dict[str, Any], frame: list[bytes], cancel: Callable):
        self.id = number
        self.type = kind
        self.fields = fields
        self.state = QUEUED
        self.phase, self.step, self.total = "", 0, 0
        self.header: dict[str, Any] = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.error = self.hint = self.code = self.details = ""
        self.retryable = False
        self.incoming: Incoming | None = None
        if kind == protocol.STREAM:
            self.incoming = Incoming(int(fields.get("ahead") or protocol.AHEAD))
        self.restarts = 0  # how often the backend was started again under this job
        # what follows belongs to the session
        self.frame = frame
        self.sent = False
        self.cancel_deadline: float | None = None
        self.stop_deadline: float | None = None
        self.refused = ""  # why the last new prompt of a stream was not taken
        self.progress_waits = self.partial_waits = False  # such an event that nobody has drained yet
        self._cancel = cancel
        self._created = time.monotonic()
        self._started: float | None = None
        self._phase_started = self._created
        self._ended: float | None = None
        self._finished = threading.Event()

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.type} {self.state}>"

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    @property
    def cancelling(self) -> bool:
        """True between cancel() and the backend's confirmation."""
        return self.cancel_deadline is not None and not self.finished

    @property
    def begun(self) -> bool:
        """Has a frame of the stream arrived?"""
        return self.incoming is not None and self.incoming.received > 0

    @property
    def stopping(self) -> bool:
        """True between ``Session.stop`` and the backend's answer."""
        return self.stop_deadline is not None and not self.finished

    @property
    def elapsed(self) -> float:
        """Seconds since the backend began with it (0.0 while it waits), standing still when it has ended."""
        if self._started is None:
            return 0.0
        return (self._ended or time.monotonic()) - self._started

    @property
    def eta(self) -> float | None:
        """Seconds that the present phase will still take at the pace it had so far; None when that is unknown."""
        if self.state != RUNNING or not 0 < self.step <= self.total:
            return None
        return (time.monotonic() - self._phase_started) / self.step * (self.total - self.step)

    def cancel(self) -> None:
        """Ask for the end of the job; it is over when ``state`` says so. Harmless when it has ended already."""
        self._cancel(self)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the job has ended; False when ``timeout`` seconds were not enough."""
        return self._finished.wait(timeout)

    def advance(self, phase: str, step: int, total: int) -> None:
        """For the session: the backend reported progress."""
        now = time.monotonic()
        if self._started is None:
            self._started = self._phase_started = now
            self.state = RUNNING
        if phase != self.phase:
            self._phase_started = now
        self.phase, self.step, self.total = phase, step, total

    def requeue(self) -> None:
        """For the session: the backend died under it and the request will be sent again."""
        self.state, self.sent, self._started = QUEUED, False, None
        self.phase, self.step, self.total = "", 0, 0

    def finish(self, state: str) -> None:
        """For the session: the last step; results or errors are already in place."""
        self._ended = time.monotonic()
        self.state = state
        self.frame = []
        self._finished.set()


def result_arrays(kind: str, message: protocol.Message) -> "dict[str, np.ndarray]":
    """The arrays of a ``result`` as numpy arrays, after a check that it is what a ``kind`` request must return.

    Raises protocol.ProtocolError with a sentence for the artist.
    """
    import numpy as np  # not at the top: build.py reads this package with a Python that has no numpy

    arrays = {name: np.asarray(array) for name, array in message.arrays.items()}
    if kind == protocol.CAPTION and not isinstance(message.header.get("text"), str):
        raise protocol.ProtocolError("The backend sent a caption without text.")
    if kind not in (protocol.GENERATE, protocol.READ):  # the frames of a stream came before
        return arrays
    motions = message.header.get("motions")
    if not isinstance(motions, list) or not 0 < len(motions) <= protocol.MAX_VARIATIONS:
        raise protocol.ProtocolError("The backend sent a result without motions.")
    expected = {"rest_offsets": (22, 3)}
    for index, motion in enumerate(motions):
        if not isinstance(motion, dict):
            raise protocol.ProtocolError("The backend sent a motion that it does not describe.")
        frames = protocol.check_number(motion.get("frames"), "The number of frames", 1, 1_000_000, integer=True)
        protocol.check_number(motion.get("fps"), "The frame rate", 1e-3, protocol.MAX_FPS)
        protocol.check_number(motion.get("seed"), "The seed", 0, protocol.MAX_SEED, integer=True)
        expected[f"{index}/rotations"] = (frames, 22, 4)
        expected[f"{index}/translation"] = (frames, 3)
        expected[f"{index}/contacts"] = (frames, 4)
    body = message.header.get("body")  # what a file says for an SMPL body itself
    if body:
        if not isinstance(body, list) or not all(isinstance(joint, str) for joint in body):
            raise protocol.ProtocolError("The backend sent a body that it does not describe.")
        expected["body/rotations"] = (motions[0]["frames"], len(body), 4)
        expected["body/translation"] = (motions[0]["frames"], 3)
    for name, shape in expected.items():
        if name not in arrays or arrays[name].shape != shape or arrays[name].dtype.kind != "f":
            raise protocol.ProtocolError("The backend sent a motion that is incomplete or of the wrong shape.")
        if not np.isfinite(arrays[name]).all():
            raise protocol.ProtocolError("The backend sent a motion with numbers that are not finite.")
        if name.endswith("/rotations") and (np.linalg.norm(arrays[name], axis=-1) < 0.5).any():
            raise protocol.ProtocolError("The backend sent a motion with rotations that are not rotations.")
    return arrays
