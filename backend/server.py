"""Serves the pipe: one thread reads, the main thread runs the jobs one after another.

Nothing heavy is imported before hello is out: numpy comes with the first request, torch with the first model.
"""

import gc
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Protocol

import backend
from backend import protocol
from backend.errors import BackendError

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


def claim_pipes() -> tuple[int, int]:
    """(input, output) file descriptors that only the protocol knows; call it before anything else can print.

    File descriptor 1 then leads to stderr, so that a ``print`` in any library cannot break a frame, and 0 to nothing.
    """
    incoming, outgoing = os.dup(0), os.dup(1)  # not inherited by children of ours
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if sys.platform == "win32":
        import msvcrt

        for descriptor in (incoming, outgoing):
            msvcrt.setmode(descriptor, os.O_BINARY)
    return incoming, outgoing


def die_with_parent() -> None:
    """Linux: ask the kernel to end this process when its parent is gone."""
    if sys.platform != "linux":
        return
    import ctypes

    PR_SET_PDEATHSIG = 1
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        log.warning("prctl failed with error %d", ctypes.get_errno())
    if os.getppid() != parent:
        os._exit(0)


class Job:
    """A request in the queue: ``work`` was made from checked fields, ``cancel`` is set by the reading thread."""

    def __init__(self, number: int, work: "Callable[[Job], None]"):
        self.id = number
        self.work = work
        self.cancel = threading.Event()
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
            self._cancel(message.header.get("target"))
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

    def _cancel(self, target: Any) -> None:
        with self._jobs_lock:
            job = self._jobs.get(target) if isinstance(target, int) else None
        if job is not None:
            job.cancel.set()

    def _enqueue(self, message: protocol.Message) -> None:
        known = self._described
        job = Job(message.id, self._work(message))
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

    def _work(self, message: protocol.Message) -> Callable[[Job], None]:
        """What the request asks for, after all its fields were checked."""
        from backend import requests

        header = message.header
        if message.type == protocol.UNLOAD:
            return self._unload_job
        if message.type == protocol.READ:
            path, options = requests.read_options(header)
            return lambda job: self._read_job(job, path, options)
        if message.type == protocol.WRITE:
            path, options = requests.write_options(header)
            motion = requests.caption_motion(header, message.arrays, protocol.MAX_FILE_FRAMES)
            return lambda job: self._write_job(job, path, motion, options)
        if message.type not in (protocol.LOAD, protocol.GENERATE, protocol.CAPTION):
            raise BackendError("bad_request", f"The backend knows no request called {message.type[:40]!r}.")
        model = self._available_model(header.get("model"))
        name = model["name"]
        if message.type == protocol.LOAD:
            return lambda job: self._load_job(job, name)
        if message.type == protocol.GENERATE:
            request = requests.generate_request(header, model, message.arrays)
            return lambda job: self._generate_job(job, name, request)
        if not model.get("captions", True):
            raise BackendError("bad_request", f"The model {name} cannot caption motions.", "Choose another model.")
        motion = requests.caption_motion(header, message.arrays)
        return lambda job: self._caption_job(job, name, motion)

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
            if _is_out_of_memory(error):
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
        from backend import requests

        model, seconds = self._model_for(job, name)
        result = model.generate(request, lambda *step: self._progress(job, *step), job.cancel.is_set)
        self._raise_if_cancelled(job)
        motions = [
            {"seed": int(seed), "frames": motion.frames, "fps": float(motion.fps)}
            for seed, motion in zip(result.seeds, result.motions, strict=True)
        ]
        self._send(
            protocol.RESULT,
            job.id,
            requests.motion_arrays(result.motions),
            motions=motions,
            seconds=result.motions[0].seconds,
            model=name,
            prompt=request.prompt,
            segments=list(result.segments),
            warnings=list(result.warnings),
            timings={"load": seconds, **result.timings},
        )

    def _caption_job(self, job: Job, name: str, motion: Any) -> None:
        model, seconds = self._model_for(job, name)
        started = time.monotonic()
        text = model.caption(motion, lambda *step: self._progress(job, *step), job.cancel.is_set)
        self._raise_if_cancelled(job)
        timings = {"load": seconds, "caption": time.monotonic() - started}
        self._send(protocol.RESULT, job.id, text=text, model=name, warnings=[], timings=timings)

    def _read_job(self, job: Job, path: Path, options: dict[str, Any]) -> None:
        from backend import requests
        from backend.motion import formats

        started = time.monotonic()
        self._progress(job, "read", 0, 1)
        motion = formats.read(path, **options)
        as_body = formats.BODY_READERS.get(path.suffix.lower())
        body = as_body(path, **options) if as_body else None
        if motion.frames > protocol.MAX_FILE_FRAMES:
            told = f"{path.name}: {motion.frames} frames; at most {protocol.MAX_FILE_FRAMES} can be put on a rig."
            raise BackendError("bad_file", told, "Cut the file in pieces.")
        self._raise_if_cancelled(job)
        arrays = requests.motion_arrays([motion])
        if body is not None:
            arrays |= {"body/rotations": body.rotations.astype("f4"), "body/translation": body.translation.astype("f4")}
        self._send(
            protocol.RESULT,
            job.id,
            arrays,
            motions=[{"seed": 0, "frames": motion.frames, "fps": float(motion.fps)}],
            body=list(body.joints) if body is not None else [],
            seconds=motion.seconds,
            warnings=[],
            timings={"read": time.monotonic() - started},
        )

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


def resident_memory() -> int | None:
    """Bytes of memory that this process holds; None where nobody can tell."""
    try:
        import psutil
    except ImportError:  # tests of the protocol run without the backend's packages
        return None
    return psutil.Process().memory_info().rss


def _is_out_of_memory(error: Exception) -> bool:
    # torch's own error is named without importing torch; the CPU allocator raises a plain RuntimeError
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "not enough memory" in str(error).lower())
    )


def start_logging() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


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
