"""The conversation with the backend: start on first use, requests and their replies, time limits, one restart."""

import itertools
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import protocol
from .jobs import CANCELLED, DONE, FAILED, Job, result_arrays
from .link import Failure, Link
from .process import BackendProcess, backend_root, child_environment

log = logging.getLogger(__name__)

STOPPED, STARTING, READY, BUSY = "stopped", "starting", "ready", "busy"  # and FAILED, the same word as a job's


@dataclass
class Event:
    """Something to show. ``kind``: "state", "restarted" (no job); "progress", "partial", "done", "failed", "cancelled".

    ``data`` holds {"state": ...} of a state event, {"reason": ...} of a restart. What a partial brought is in the
    job's ``incoming``.
    """

    kind: str
    job: Job | None = None
    data: dict[str, Any] = field(default_factory=dict)


class Session:
    """Talks to one backend process at a time. Every method may be called from any thread; none but ``close`` and
    ``wait_ready`` waits for the backend.

    All limits are seconds: ``hello_timeout`` from the start to the hello; ``heartbeat`` between two pings while a job
    runs; ``hang_timeout`` without any sign of life while a job runs; ``cancel_timeout`` from cancel to the backend's
    confirmation, after which it is killed; ``stop_timeout`` from the polite end to the firm one. ``restarts``: how
    often a request is sent again after the backend died or hung under it.
    """

    def __init__(
        self,
        command: list[str],
        env: dict[str, str] | None = None,
        log_file: Path | None = None,
        *,
        cwd: Path | None = None,
        hello_timeout: float = 60.0,
        heartbeat: float = 5.0,
        hang_timeout: float = 90.0,
        cancel_timeout: float = 10.0,
        stop_timeout: float = 3.0,
        restarts: int = 1,
    ):
        self.command = [str(part) for part in command]
        self.env = child_environment() if env is None else dict(env)
        self.log_file = Path(log_file) if log_file else _default_log()
        self.cwd = cwd or backend_root()
        self.hello_timeout, self.heartbeat, self.hang_timeout = hello_timeout, heartbeat, hang_timeout
        self.cancel_timeout, self.stop_timeout, self.restarts = cancel_timeout, stop_timeout, restarts
        self.capabilities: dict[str, Any] | None = None  # as told last
        self.hello: dict[str, Any] = {}
        self.failure: Failure | None = None  # why the state is "failed"
        self.vitals: dict[str, Any] = {}  # model, device and memory, as the last pong told
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._state = STOPPED
        self._jobs: dict[int, Job] = {}
        self._steers: dict[int, Job] = {}  # new prompts that were not answered yet
        self._events: deque[Event] = deque()
        self._ids = itertools.count(1)
        self._link: Link | None = None
        self._last_link: Link | None = None

    # --- what callers use

    @property
    def state(self) -> str:
        """ "stopped", "starting", "ready", "busy" or "failed" (the next request tries again)."""
        with self._lock:
            return BUSY if self._state == READY and self._jobs else self._state

    def start(self) -> None:
        """Start the backend without a request, so that it is warm when one comes."""
        with self._lock:
            if self._link is None:
                self._open_link()

    def wait_ready(self, timeout: float) -> bool:
        """Start if needed and block until the backend said hello; False on failure (see ``failure``) or time-out."""
        with self._changed:
            self.start()
            self._changed.wait_for(lambda: self._state != STARTING, timeout)
            return self._state == READY

    def submit(self, kind: str, fields: dict[str, Any] | None = None, arrays: dict[str, Any] | None = None) -> Job:
        """Send a request (``"generate"``, ``"caption"``, ``"load"`` or ``"unload"``) and return its job at once.

        ``fields`` go into the header, ``arrays`` are numpy arrays by name. Raises protocol.ProtocolError when they
        cannot be sent.
        """
        number = next(self._ids)
        fields = dict(fields or {})
        frame = protocol.encode({**fields, "type": kind, "id": number}, arrays)
        job = Job(number, kind, fields, frame, self.cancel)
        with self._lock:
            if not self._jobs and self._link:
                self._link.last_heard = time.monotonic()  # silence while nothing was asked is no sign of a hang
            self._jobs[number] = job
            self.start()
            if self._link.ready:
                self._send(job)
        return job

    def cancel(self, job: Job) -> None:
        """See :meth:`Job.cancel`."""
        with self._lock:
            if job.id not in self._jobs or job.cancelling:
                return
            if not job.sent:
                self._finish(job, CANCELLED)
                return
            job.cancel_deadline = time.monotonic() + self.cancel_timeout
            self._link.send(protocol.encode({"type": protocol.CANCEL, "id": next(self._ids), "target": job.id}))

    # --- a stream that runs; all of them are harmless when it has ended already

    def steer(self, job: Job, prompt: str, keep: "int | None" = None) -> None:
        """From the next frames on the stream follows ``prompt``; should it be too late, ``job.refused`` says so.
        keep: frames that stay; those that came after them are made anew. Raises protocol.ProtocolError for what is no
        prompt."""
        prompt = protocol.clean_prompt(prompt)
        with self._lock:
            job.refused = ""
            if job.id not in self._jobs or job.cancelling or job.stopping:
                job.refused = "The motion is ending already, so the new prompt is not used."
                return
            if not job.begun:  # also for a backend that is started again
                job.fields["prompt"] = prompt
                job.frame = protocol.encode({**job.fields, "type": job.type, "id": job.id})
            if job.sent:
                number = next(self._ids)
                self._steers[number] = job
                fields = {"type": protocol.STEER, "id": number, "target": job.id, "prompt": prompt}
                if keep is not None:
                    fields["keep"] = keep
                    job.incoming.keep(keep)
                self._link.send(protocol.encode(fields))

    def stop(self, job: Job) -> None:
        """End the stream and keep its frames: it is DONE then. Without any frame it is CANCELLED."""
        if not job.begun:
            self.cancel(job)
            return
        with self._lock:
            if job.id not in self._jobs or job.cancelling or job.stopping:
                return
            job.stop_deadline = time.monotonic() + self.cancel_timeout
            self._link.send(protocol.encode({"type": protocol.STOP, "id": next(self._ids), "target": job.id}))

    def played(self, job: Job, frames: int) -> None:
        """So many frames of the stream were used, which makes room for more."""
        with self._lock:
            if job.incoming.note_played(frames) and job.id in self._jobs:
                fields = {"target": job.id, "frames": job.incoming.played}
                self._link.send(protocol.encode({"type": protocol.PLAYED, "id": next(self._ids), **fields}))

    def ask_vitals(self) -> None:
        """Ask a backend that runs for its memory; the answer is in ``vitals`` when it comes."""
        with self._lock:
            if self._link is not None and self._link.ready:
                self._link.send(protocol.encode({"type": protocol.PING, "id": next(self._ids)}))

    def drain(self) -> list[Event]:
        """What happened since the last call, oldest first; for a timer in the interface."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
            for event in events:
                if event.job is not None:
                    event.job.progress_waits = event.job.partial_waits = False
            return events

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the present (or last) backend's log."""
        link = self._link or self._last_link
        return link.process.log_tail(lines) if link and link.process else ""

    def close(self, wait: bool = True) -> None:
        """End the backend, politely and then firmly; unfinished jobs are CANCELLED. A later request starts it again."""
        with self._lock:
            link, self._link = self._link, None
            if link:
                self._last_link = link
            self.vitals = {}
            for job in list(self._jobs.values()):
                self._finish(job, CANCELLED)
            self._set_state(STOPPED)
        if link:
            farewell = protocol.encode({"type": protocol.SHUTDOWN, "id": next(self._ids)})
            link.shut(farewell, self.stop_timeout, wait)

    # --- under the lock

    def _open_link(self) -> None:
        self.failure = None
        self._set_state(STARTING)
        self._link = Link(
            lambda: BackendProcess(self.command, self.env, self.log_file, self.cwd), self._receive, self._link_ended
        )
        threading.Thread(target=self._watch, args=(self._link,), name="momug-watch", daemon=True).start()

    def _send(self, job: Job) -> None:
        job.sent = True
        self._link.send(job.frame)

    def _set_state(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._events.append(Event("state", data={"state": state}))
            self._changed.notify_all()

    def _finish(self, job: Job, state: str) -> None:
        del self._jobs[job.id]
        self._steers = {number: other for number, other in self._steers.items() if other is not job}
        job.finish(state)
        self._events.append(Event(state, job))

    def _fail(self, job: Job, failure: Failure, **changes: Any) -> None:
        job.code, job.error, job.hint, job.details = failure.code, failure.message, failure.hint, failure.details
        job.retryable = changes.get("retryable", failure.restartable)
        self._finish(job, FAILED)

    # --- on the link's reading thread

    def _receive(self, link: Link, message: protocol.Message) -> None:
        with self._lock:
            if link is not self._link:
                return
            if not link.ready:
                self._greet(link, message)
                return
            if message.type == protocol.PONG:
                self.vitals = message.header
                return
            steered = self._steers.pop(message.id, None)
            if steered is not None and message.type == protocol.ERROR:
                steered.refused = str(message.header.get("message") or "The new prompt was not taken.")
                steered.incoming.keep(None)
            job = self._jobs.get(message.id)
            if job is None:
                return  # an ack of a cancel, or a late reply to a job that is over
            if message.type == protocol.ACK and isinstance(message.header.get("capabilities"), dict):
                self.capabilities = message.header["capabilities"]  # something was installed since hello
            elif message.type == protocol.PROGRESS:
                self._progress(job, message.header)
            elif message.type == protocol.PARTIAL:
                self._partial(job, message)
            elif message.type == protocol.ERROR:
                self._job_error(job, message.header)
            elif message.type == protocol.RESULT:
                self._job_result(job, message)

    def _greet(self, link: Link, message: protocol.Message) -> None:
        header = message.header
        if message.type != protocol.HELLO or not isinstance(header.get("capabilities"), dict):
            raise protocol.ProtocolError("The backend did not say hello first.")
        try:
            protocol.check_version(header.get("protocol"))
        except protocol.ProtocolError as error:
            link.failure = Failure("version", str(error), "Install the add-on and the backend again.")
            raise
        link.ready = True
        self.hello, self.capabilities = header, header["capabilities"]
        self._set_state(READY)
        for job in self._jobs.values():
            self._send(job)

    def _progress(self, job: Job, header: dict[str, Any]) -> None:
        phase, step, total = header.get("phase"), header.get("step"), header.get("total")
        if not isinstance(phase, str) or not isinstance(step, int) or not isinstance(total, int):
            raise protocol.ProtocolError("The backend reported progress without its numbers.")
        job.advance(phase, step, total)
        if not job.progress_waits:
            job.progress_waits = True
            self._events.append(Event("progress", job))

    def _partial(self, job: Job, message: protocol.Message) -> None:
        if job.incoming is None:
            raise protocol.ProtocolError("The backend sent frames that nobody asked for.")
        if job.cancelling:
            return
        job.incoming.add(message)
        if not job.partial_waits:
            job.partial_waits = True
            self._events.append(Event("partial", job))

    def _job_error(self, job: Job, header: dict[str, Any]) -> None:
        if header.get("code") == "cancelled":
            self._finish(job, CANCELLED)
            return
        failure = Failure(
            str(header.get("code", "internal")),
            str(header.get("message") or "The backend reported an error without saying which."),
            str(header.get("hint", "")),
        )
        self._fail(job, failure, retryable=bool(header.get("retryable")))

    def _job_result(self, job: Job, message: protocol.Message) -> None:
        if job.cancelling:  # the result was under way: nobody wants it any more
            self._finish(job, CANCELLED)
            return
        try:
            job.arrays = result_arrays(job.type, message)
            if job.incoming is not None:
                job.incoming.check_end(message.header)
        except protocol.ProtocolError as error:
            self._fail(job, Failure("bad_result", str(error), f"See the log {self.log_file}."), retryable=True)
            return
        job.header = message.header
        self._finish(job, DONE)

    def _link_ended(self, link: Link) -> None:
        with self._lock:
            if link is not self._link:
                return
            self._link, self._last_link = None, link
            failure = link.failure or Failure("died", "The backend ended.", restartable=True)
            log.warning("%s", failure.message)
            failed = False
            for job in list(self._jobs.values()):
                if job.cancel_deadline is not None:
                    self._finish(job, CANCELLED)
                elif job.begun:  # a second try would not go on where this one ended
                    failed = True
                    self._fail(job, failure)
                elif failure.code == CANCELLED:  # killed for the sake of another job
                    job.requeue()
                elif failure.restartable and link.ready and job.restarts < self.restarts:
                    job.restarts += 1
                    job.requeue()
                else:
                    failed = True
                    self._fail(job, _again(failure) if job.restarts else failure)
            self.failure = failure
            if self._jobs:
                self._events.append(Event("restarted", data={"reason": failure.message}))
                self._open_link()
            else:
                harmless = failure.code == CANCELLED or (failure.restartable and link.ready and not failed)
                self._set_state(STOPPED if harmless else FAILED)

    # --- on the watching thread

    def _watch(self, link: Link) -> None:
        tick = min(0.25, self.heartbeat, self.hang_timeout / 4, self.hello_timeout / 4, self.cancel_timeout / 4)
        before = time.monotonic()
        while not link.ended.wait(tick):
            now = time.monotonic()
            late = now - before - tick
            before = now
            if late > 2.0:
                # this computer slept, or Blender let no thread run: the backend's silence means nothing
                link.started += late
                link.last_heard = now
            failure = self._check(link, now)
            if failure:
                link.fail(failure)
                return

    def _check(self, link: Link, now: float) -> Failure | None:
        with self._lock:
            if link is not self._link:
                return None
            log_hint = f"See the log {self.log_file}."
            if not link.ready:
                if now - link.started > self.hello_timeout:
                    message = f"The backend did not answer within {self.hello_timeout:g} seconds of its start."
                    return Failure("no_hello", message, log_hint)
                return None
            if any(job.cancelling and now > job.cancel_deadline for job in self._jobs.values()):
                return Failure(CANCELLED, "The backend did not stop the cancelled job and was ended.", log_hint)
            if any(job.stopping and now > job.stop_deadline for job in self._jobs.values()):
                return Failure("no_stop", "The backend did not end the motion, so it was ended itself.", log_hint)
            if self._jobs and now - link.last_heard > self.hang_timeout:
                message = f"The backend gave no sign of life for {self.hang_timeout:g} seconds and was ended."
                return Failure("hung", message, log_hint, restartable=True)
            if self._jobs and now - link.last_ping >= self.heartbeat:
                link.last_ping = now
                link.send(protocol.encode({"type": protocol.PING, "id": next(self._ids)}))
            return None


def _again(failure: Failure) -> Failure:
    message = f"{failure.message.rstrip('.')}, again after a restart."
    return Failure(failure.code, message, failure.hint, failure.details)


def _default_log() -> Path:
    from .environment import paths

    return paths.cache_folder() / "logs" / "backend.log"
