"""Serves the pipe: one thread reads, the main thread runs the jobs one after another.

Nothing heavy is imported before hello is out: numpy comes with the first request, torch with the first model.
"""

import gc
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Protocol

import backend
from backend import protocol, streaming
from backend.errors import BackendError
from backend.process import (
    claim_pipes,
    die_with_parent,
    is_out_of_memory,
    resident_memory,
    return_memory,
    start_logging,
)

log = logging.getLogger(__name__)

MAX_QUEUED = 32
PROGRESS_INTERVAL = 0.05  # seconds between two progress messages of one phase
GRACE = 1.5  # seconds for a job to see that the pipe was closed


class Models(Protocol):
    """Where models come from; a test brings its own."""

    def describe(self) -> list[dict[str, Any]]:
        """Capabilities, without importing torch."""

    def load(self, name: str) -> Any:
        """A ``backend.models.interface.MotionModel``; raises BackendError."""


class InstalledModels:
    """The models of the checkpoints folder."""

    def __init__(self, device: str = "auto", precision: str = "auto"):
        self.device, self.precision = device, precision

    def describe(self) -> list[dict[str, Any]]:
        from backend import models, paths

        return models.describe(paths.checkpoints_folder())

    def load(self, name: str) -> Any:
        from backend import models

        return models.load(name, self.device, self.precision)


class Job:
    """A request in the queue: ``work`` was made from checked fields, ``cancel`` is set by the reading thread."""

    def __init__(self, number: int, work: "Callable[[Job], None]"):
        self.id = number
        self.work = work
        self.cancel = threading.Event()
        self.stream: streaming.Stream | None = None  # what can be steered and stopped
        self.phase, self.reported = "", 0.0


class Server:
    """``serve`` returns the exit code; when a job does not see that the pipe was closed, the process is ended."""

    def __init__(self, models: Models, pipes: tuple[int, int], device: str = "auto", idle_unload: float | None = None):
        self.models = models
        self.device = device
        self.idle_unload = idle_unload
        self._input = os.fdopen(pipes[0], "rb", buffering=0)
        self._output = os.fdopen(pipes[1], "wb", buffering=0)
        self._write_lock = threading.Lock()
        self._jobs: dict[int, Job] = {}  # waiting or running
        self._jobs_lock = threading.Lock()
        self._queue: queue.Queue[Job | None] = queue.Queue()
        self._finished = threading.Event()
        self._exit_code = 0
        self._described: list[dict[str, Any]] = []
        self._model: tuple[str, Any] | None = None

    def serve(self, preload: str | None = None) -> int:
        self._described = self.models.describe()
        self._send(
            protocol.HELLO,
            0,
            protocol=list(protocol.VERSION),
            backend_version=backend.__version__,
            device=self.device,
            capabilities=self._capabilities(),
        )
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        if preload:
            self._preload(preload)
        while (job := self._next()) is not None:
            self._run(job)
        self._finished.set()
        return self._exit_code

    def _capabilities(self) -> dict[str, Any]:
        captions = any(model.get("captions", True) for model in self._described)
        return {"models": self._described, "captions": captions}

    # --- the reading thread

    def _read(self) -> None:
        reader = protocol.FrameReader(self._input)
        while True:
            try:
                message = reader.read()
            except protocol.ProtocolError as error:
                log.error("the add-on broke the protocol: %s", error)
                self._error(0, BackendError("bad_request", str(error)))
                if error.recoverable:
                    continue
                self._end(1)
            except OSError as error:
                log.info("the pipe broke: %s", error)
                self._end(0)
            if message is None:
                log.info("the add-on closed the pipe")
                self._end(0)
            try:
                self._receive(message)
            except BackendError as error:
                self._error(message.id, error)
            except Exception:
                log.exception("a %s request could not be read", message.type)
                self._error(message.id, BackendError("internal", "The request could not be read."))

    def _end(self, code: int) -> NoReturn:
        """The conversation is over: cancel everything, give the running job a moment, and leave."""
        self._exit_code = code
        self._cancel_all()
        self._queue.put(None)
        if not self._finished.wait(GRACE):
            log.warning("the running job did not see the end in time")
        sys.stderr.flush()
        os._exit(code)

    def _cancel_all(self) -> None:
        with self._jobs_lock:
            for job in self._jobs.values():
                job.cancel.set()

    def _receive(self, message: protocol.Message) -> None:
        kind = message.type
        if kind == protocol.PING:
            self._send(protocol.PONG, message.id, **self._vitals())
        elif kind == protocol.CANCEL:
            self._send(protocol.ACK, message.id)
            if (job := self._target(message)) is not None:
                job.cancel.set()
        elif kind in (protocol.STEER, protocol.STOP, protocol.PLAYED):
            job = self._target(message)
            if job is not None and job.stream is not None:
                streaming.message(kind, message.header, job.stream)
            elif kind != protocol.PLAYED:  # which may be under way when the stream ends
                raise BackendError("ending", "There is no motion in the making that could be changed.")
            if kind != protocol.PLAYED:
                self._send(protocol.ACK, message.id)
        elif kind == protocol.SHUTDOWN:
            self._send(protocol.ACK, message.id)
            self._end(0)
        else:
            self._enqueue(message)

    def _vitals(self) -> dict[str, Any]:
        """For a pong: which model is loaded, on what, and the bytes of memory that this process and its card hold."""
        name, model = self._model or (None, None)
        found = {"model": name, "device": str(getattr(model, "device", self.device)), "memory": resident_memory()}
        if precision := getattr(model, "precision", None):
            found["precision"] = str(precision)
        torch = sys.modules.get("torch")
        cuda = getattr(torch, "cuda", None)  # torch may be in the middle of its import on the main thread
        if cuda is not None and getattr(cuda, "is_initialized", bool)():
            found["card_memory"] = int(cuda.memory_reserved())
        return found

    def _target(self, message: protocol.Message) -> Job | None:
        target = message.header.get("target")
        with self._jobs_lock:
            return self._jobs.get(target) if isinstance(target, int) else None

    def _enqueue(self, message: protocol.Message) -> None:
        known = self._described
        job = self._job_for(message)
        with self._jobs_lock:
            waiting = len(self._jobs)
            if job.id in self._jobs or job.id == 0:
                raise BackendError("bad_request", "The id of the request is in use.")
            if waiting >= MAX_QUEUED:
                raise BackendError(
                    "busy", f"{waiting} requests are already waiting.", "Wait until some are done.", retryable=True
                )
            self._jobs[job.id] = job
        news = {} if self._described is known else {"capabilities": self._capabilities()}
        self._send(protocol.ACK, job.id, waiting=waiting, **news)
        self._queue.put(job)

    def _job_for(self, message: protocol.Message) -> Job:
        """What the request asks for, after all its fields were checked."""
        from backend import requests

        header, number = message.header, message.id
        if message.type == protocol.UNLOAD:
            return Job(number, self._unload_job)
        if message.type == protocol.READ:
            path, options = requests.read_options(header)
            return Job(number, lambda job: self._read_job(job, path, options))
        if message.type == protocol.WRITE:
            path, options = requests.write_options(header)
            motion = requests.caption_motion(header, message.arrays, protocol.MAX_FILE_FRAMES)
            return Job(number, lambda job: self._write_job(job, path, motion, options))
        if message.type not in (protocol.LOAD, protocol.GENERATE, protocol.STREAM, protocol.CAPTION):
            raise BackendError("bad_request", f"The backend knows no request called {message.type[:40]!r}.")
        model = self._available_model(header.get("model"))
        name = model["name"]
        if message.type == protocol.LOAD:
            return Job(number, lambda job: self._load_job(job, name))
        if message.type == protocol.GENERATE:
            request = requests.generate_request(header, model, message.arrays)
            return Job(number, lambda job: self._generate_job(job, name, request))
        if message.type == protocol.STREAM:
            request, ahead = requests.stream_request(header, model)
            job = Job(number, lambda job: self._stream_job(job, name, request))
            send = partial(self._send_partial, number)
            job.stream = streaming.Stream(request.prompt, ahead, send, job.cancel.is_set)
            return job
        if not model.get("captions", True):
            raise BackendError("bad_request", f"The model {name} cannot caption motions.", "Choose another model.")
        motion = requests.caption_motion(header, message.arrays)
        return Job(number, lambda job: self._caption_job(job, name, motion))

    def _available_model(self, name: Any) -> dict[str, Any]:
        from backend import requests

        try:
            return requests.available_model(name, self._described)
        except BackendError:
            described = self.models.describe()
            model = requests.available_model(name, described)
            self._described = described  # it was installed since the last look
            return model

    # --- the main thread

    def _next(self) -> Job | None:
        while True:
            try:
                return self._queue.get(timeout=self.idle_unload if self._model else None)
            except queue.Empty:
                log.info("nothing to do for %g seconds", self.idle_unload)
                self._unload()

    def _run(self, job: Job) -> None:
        try:
            self._raise_if_cancelled(job)
            job.work(job)
        except BackendError as error:
            self._error(job.id, error)
        except Exception as error:
            if is_out_of_memory(error):
                log.exception("out of memory")
                self._unload()
                hint = "Close other programs, or ask for fewer variations or a shorter motion."
                self._error(job.id, BackendError("out_of_memory", "Memory ran out.", hint, retryable=True))
            else:
                log.exception("job %d failed", job.id)
                sentence = f"The model failed unexpectedly ({type(error).__name__})."
                self._error(job.id, BackendError("internal", sentence, "The details are in the log."))
        finally:
            with self._jobs_lock:
                del self._jobs[job.id]

    def _preload(self, name: str) -> None:
        try:
            self._ready_model(name)
        except BackendError as error:
            log.error("%s could not be loaded ahead: %s", name, error.message)
        except Exception:
            log.exception("%s could not be loaded ahead", name)  # the first request will try again and report

    def _ready_model(self, name: str) -> Any:
        if self._model is None or self._model[0] != name:
            self._unload()  # two models at once may not fit
            started = time.monotonic()
            self._model = (name, self.models.load(name))
            log.info("loaded %s in %.2f s", name, time.monotonic() - started)
        return self._model[1]

    def _unload(self) -> None:
        if self._model is None:
            return
        log.info("unloading %s", self._model[0])
        self._model = None
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
        return_memory()

    def _model_for(self, job: Job, name: str) -> tuple[Any, float]:
        """The model and the seconds that loading it took; reports the phase "load"."""
        started = time.monotonic()
        self._progress(job, "load", 0, 1)
        model = self._ready_model(name)
        self._progress(job, "load", 1, 1)
        self._raise_if_cancelled(job)
        return model, time.monotonic() - started

    def _load_job(self, job: Job, name: str) -> None:
        model, seconds = self._model_for(job, name)
        device = str(getattr(model, "device", self.device))
        self._send(protocol.RESULT, job.id, model=name, device=device, warnings=[], timings={"load": seconds})

    def _unload_job(self, job: Job) -> None:
        self._unload()
        self._send(protocol.RESULT, job.id, warnings=[], timings={})

    def _generate_job(self, job: Job, name: str, request: Any) -> None:
        from backend import answers

        model, seconds = self._model_for(job, name)
        result = model.generate(request, partial(self._progress, job), job.cancel.is_set)
        self._raise_if_cancelled(job)
        arrays, told = answers.generated(result)
        told["timings"] = {"load": seconds, **told["timings"]}
        self._send(protocol.RESULT, job.id, arrays, model=name, prompt=request.prompt, **told)

    def _stream_job(self, job: Job, name: str, request: Any) -> None:
        model, seconds = self._model_for(job, name)
        told = streaming.make(model, request, job.stream, partial(self._progress, job), job.cancel.is_set)
        timings = {"load": seconds, **told.pop("timings")}
        self._send(protocol.RESULT, job.id, model=name, timings=timings, **told)

    def _send_partial(self, number: int, fields: dict[str, Any], arrays: dict[str, Any]) -> None:
        self._send(protocol.PARTIAL, number, arrays, **fields)

    def _caption_job(self, job: Job, name: str, motion: Any) -> None:
        model, seconds = self._model_for(job, name)
        started = time.monotonic()
        text = model.caption(motion, partial(self._progress, job), job.cancel.is_set)
        self._raise_if_cancelled(job)
        timings = {"load": seconds, "caption": time.monotonic() - started}
        self._send(protocol.RESULT, job.id, text=text, model=name, warnings=[], timings=timings)

    def _read_job(self, job: Job, path: Path, options: dict[str, Any]) -> None:
        from backend import answers

        started = time.monotonic()
        self._progress(job, "read", 0, 1)
        arrays, told = answers.read(path, options)
        self._raise_if_cancelled(job)
        timings = {"read": time.monotonic() - started}
        self._send(protocol.RESULT, job.id, arrays, warnings=[], timings=timings, **told)

    def _write_job(self, job: Job, path: Path, motion: Any, options: dict[str, Any]) -> None:
        from backend.motion import formats

        started = time.monotonic()
        self._progress(job, "write", 0, 1)
        formats.write(path, motion, **options)
        self._send(protocol.RESULT, job.id, warnings=[], timings={"write": time.monotonic() - started})

    def _raise_if_cancelled(self, job: Job) -> None:
        if job.cancel.is_set():
            raise BackendError("cancelled", "The job was cancelled.", retryable=True)

    # --- both

    def _progress(self, job: Job, phase: str, step: int, total: int) -> None:
        now = time.monotonic()
        if phase == job.phase and step < total and now - job.reported < PROGRESS_INTERVAL:
            return
        job.phase, job.reported = phase, now
        self._send(protocol.PROGRESS, job.id, phase=phase, step=int(step), total=int(total))

    def _error(self, number: int, error: BackendError) -> None:
        if error.code != "cancelled":
            log.info("request %d: %s: %s", number, error.code, error.message)
        self._send(
            protocol.ERROR,
            number,
            code=error.code,
            message=error.message,
            hint=error.hint,
            retryable=error.retryable,
        )

    def _send(self, kind: str, number: int, arrays: dict[str, Any] | None = None, **fields: Any) -> None:
        pieces = protocol.encode({"type": kind, "id": number, **fields}, arrays)
        try:
            with self._write_lock:
                for piece in pieces:
                    view = memoryview(piece)
                    while view:
                        view = view[self._output.write(view) :]
        except OSError as error:
            # the add-on is gone; the reading thread sees the end of its pipe and ends this process
            log.debug("nobody reads any more: %s", error)


def main(
    models: Models | None = None,
    device: str = "auto",
    precision: str = "auto",
    preload: str | None = None,
    idle_unload: float | None = None,
) -> NoReturn:
    """Serve this process's stdin and stdout until they close, then end the process.

    ``models`` defaults to the checkpoints that are there; ``preload`` loads one right after hello; ``idle_unload``
    frees the model after so many seconds without a request.
    """
    pipes = claim_pipes()
    start_logging()
    die_with_parent()
    code = Server(models or InstalledModels(device, precision), pipes, device, idle_unload).serve(preload)
    sys.stderr.flush()
    os._exit(code)  # at once: the threads and libraries of a model may take their time, or never end
