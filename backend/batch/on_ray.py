"""The same jobs on a Ray cluster: one ``Maker`` a GPU, or one for every few CPUs of a host.

Workers write files; this process alone writes the manifest, so that every job ends exactly once however often it was
tried. Needs ``backend/requirements-scale.txt`` here and on every machine, with this code at the same path.
"""

import logging
import math
import os
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend import paths
from backend.batch import manifest as states
from backend.batch import run
from backend.batch.jobs import Job
from backend.batch.store import UnwritableError
from backend.errors import BackendError

log = logging.getLogger(__name__)
IN_FLIGHT = 2  # batches a worker: one it makes, one that waits, so that it never waits itself
ATTEMPTS = 3  # of one job, when its worker dies or its machine is lost
HOPELESS = 10  # workers lost before the first job is done: it is not the jobs
LOOK = 10.0  # seconds between two looks for machines that have joined
PASSED_ON = ("MOMUG_CACHE", "MOMUG_BASE_MODEL", "MOMUG_CHECKPOINTS", "MOMUG_STYLES", "OMP_NUM_THREADS")


@dataclass
class Batch:
    """Jobs on their way, which try of them it is, and whether the manifest tells of that try."""

    jobs: list[Job]
    attempt: int = 1
    told: bool = False


@dataclass
class Worker:
    """An actor and what it has been given, in the order in which it makes it: task -> batch; ``starting`` until a
    machine has taken it."""

    actor: Any
    starting: Any
    tasks: dict[Any, Batch] = field(default_factory=dict)

    def takes(self, batch: Batch) -> bool:
        """One that lost a worker before has a worker to itself: when that is lost too, it was this batch."""
        if batch.attempt > 1 or any(given.attempt > 1 for given in self.tasks.values()):
            return not self.tasks
        return len(self.tasks) < IN_FLIGHT


def pool(address: str, workers: int | None = None, cpus: int = 2) -> Callable[..., Iterator[list[dict[str, Any]]]]:
    """What ``run.run`` takes as its ``pool``. ``address``: "auto" for a cluster that is running or else one of this
    computer, or the address of one. ``workers``: how many; None for one a GPU or one for ``cpus`` CPUs, more when
    machines join. Raises BackendError.
    """
    try:
        import ray
    except ImportError as error:
        hint = "Install it: python -m pip install -r backend/requirements-scale.txt."
        raise BackendError("bad_request", "Ray is not installed in the backend's environment.", hint) from error

    def spread(settings: run.Settings, batches: list[list[Job]]) -> Iterator[list[dict[str, Any]]]:
        connect(ray, address)
        try:
            yield from _Pool(ray, settings, workers, cpus).make(batches)
        finally:
            ray.shutdown()

    return spread


def connect(ray: Any, address: str) -> None:
    """Join a cluster, or start one on this computer. Raises BackendError."""
    if address != "auto":
        _reachable(address)  # Ray itself tries for a quarter of an hour
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    variables["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(paths.BACKEND_FOLDER.parent), os.environ.get("PYTHONPATH")))
    )
    options = {"runtime_env": {"env_vars": variables}, "logging_level": logging.WARNING, "log_to_driver": False}
    try:
        try:
            ray.init(address="local" if address == "auto" and _gone() else address, **options)
        except ConnectionError:
            if address != "auto":
                raise
            ray.init(address="local", **options)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError, ray.exceptions.RayError) as error:
        if _wants_token(error):
            hint = "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what `ray get-auth-token` says on its head."
            raise BackendError("bad_request", f"The Ray cluster at {address} asks for a token.", hint) from error
        reason = str(error).split("\n")[0].rstrip(".")
        raise BackendError("bad_request", f"There is no Ray cluster at {address}: {reason}.") from error


def _wants_token(error: BaseException | None) -> bool:
    """Is this, or what it came from, Ray's AuthenticationError? (``ray start`` asks for a token where there is one, and
    who gives an address has to say that he has it.)"""
    while error is not None and type(error).__name__ != "AuthenticationError":
        error = error.__cause__
    return error is not None


def _gone() -> bool:
    """Has the cluster of this computer that ``ray start`` noted last ended without ``ray stop``? Ray itself would try
    for a quarter of an hour. The note lies where Ray keeps its sessions."""
    usual = "/tmp" if sys.platform == "darwin" else tempfile.gettempdir()
    note = Path(os.environ.get("RAY_TMPDIR") or usual) / "ray" / "ray_current_cluster"
    try:
        if not os.environ.get("RAY_ADDRESS"):
            _reachable(note.read_text(encoding="utf-8").strip())
    except OSError:
        return False  # none was noted
    except BackendError:
        log.info("the cluster that %s names is gone", note)
        return True
    return False


def _reachable(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        hint = "It is HOST:PORT, as `ray start --head` tells it."
        raise BackendError("bad_request", f"There is no Ray cluster at {address}.", hint) from error


class _Pool:
    """Hands out batches, at most ``IN_FLIGHT`` a worker, and hands them out again when a worker is lost."""

    def __init__(self, ray: Any, settings: run.Settings, workers: int | None, cpus: int):
        self.ray, self.settings, self.wanted, self.cpus = ray, settings, workers, cpus
        self.workers: list[Worker] = []
        self.looked = -math.inf
        self.losses, self.ended = 0, False

    def make(self, batches: list[list[Job]]) -> Iterator[list[dict[str, Any]]]:
        """Manifest lines of all jobs, as they come. Raises UnwritableError when nothing can be kept."""
        waiting = deque(Batch(batch) for batch in batches)
        while waiting or any(worker.tasks for worker in self.workers):
            self._hire(len(waiting))
            # one that no machine has taken yet gets nothing: it may wait for ever, when a machine has just left
            here = [worker for worker in self.workers if worker.starting is None]
            for worker in sorted(here, key=lambda worker: len(worker.tasks)):
                while waiting and worker.takes(waiting[0]):
                    batch = waiting.popleft()
                    worker.tasks[worker.actor.make.remote(batch.jobs)] = batch
                for batch in list(worker.tasks.values())[:1]:
                    yield from self._begun(batch)
            if not waiting:
                self._dismiss()
            tasks = {task: worker for worker in self.workers for task in worker.tasks}
            tasks |= {worker.starting: worker for worker in self.workers if worker.starting is not None}
            ready, _ = self.ray.wait(list(tasks), timeout=1.0) if tasks else ([], [])
            for task in ready:
                worker = tasks[task]
                if task in worker.tasks:  # not when its worker was found lost a moment ago
                    yield from self._end(worker, task, waiting)
                elif task == worker.starting:
                    yield from self._arrive(worker, waiting)
        self._dismiss()

    def _begun(self, batch: Batch) -> Iterator[list[dict[str, Any]]]:
        """The lines of a try, once: when its worker has nothing else to make before. What only waits at a worker has
        not been tried, and is not told as if it had."""
        if not batch.told:
            batch.told = True
            yield [{**run.started(job), "attempt": batch.attempt} for job in batch.jobs]

    def _arrive(self, worker: Worker, waiting: deque[Batch]) -> Iterator[list[dict[str, Any]]]:
        """A machine has taken a worker, or lost it at once."""
        try:
            self.ray.get(worker.starting)
            worker.starting = None
        except self.ray.exceptions.RayError as error:
            yield from self._lost(worker, f"its worker was lost ({type(error).__name__})", waiting)

    def _dismiss(self) -> None:
        """No more work for the idle ones: an autoscaling cluster can give their machines back."""
        for worker in [worker for worker in self.workers if not worker.tasks]:
            self.workers.remove(worker)
            self.ray.kill(worker.actor)

    def _end(self, worker: Worker, task: Any, waiting: deque[Batch]) -> Iterator[list[dict[str, Any]]]:
        errors = self.ray.exceptions
        try:
            records = self.ray.get(task)
        except errors.RayTaskError as error:
            # Maker.make turns what a job does wrong into records: this is the machine's fault, or ours
            if isinstance(error.cause, UnwritableError):
                raise error.cause from error
            log.exception("a worker failed")
            yield from self._begun(worker.tasks[task])
            yield from self._again(worker.tasks.pop(task), f"a worker failed ({type(error.cause).__name__})", waiting)
        except errors.RayError as error:
            yield from self._lost(worker, f"its worker was lost ({type(error).__name__})", waiting)
        else:
            self.ended = True
            yield from self._begun(worker.tasks.pop(task))
            yield records

    def _lost(self, worker: Worker, reason: str, waiting: deque[Batch]) -> Iterator[list[dict[str, Any]]]:
        """A new worker in its place; the batch that it was making has been tried, the one that waited has not, and what
        it had finished is taken."""
        self.workers.remove(worker)
        self.looked, self.losses = -math.inf, self.losses + 1
        lost = []
        for task, batch in worker.tasks.items():
            try:
                records = self.ray.get(task, timeout=LOOK)
            except self.ray.exceptions.RayError:
                lost.append(batch)
            else:
                self.ended = True
                yield from self._begun(batch)
                yield records
        if not self.ended and self.losses >= HOPELESS:
            raise BackendError("internal", f"{self.losses} workers ended before they had made anything: {reason}.")
        if not lost:
            return
        making, *queued = lost
        waiting.extendleft(reversed(queued))
        yield from self._begun(making)
        yield from self._again(making, reason, waiting)

    def _again(self, batch: Batch, reason: str, waiting: deque[Batch]) -> Iterator[list[dict[str, Any]]]:
        """Once more, each job alone: one of them may be what ended the worker."""
        if batch.attempt >= ATTEMPTS:
            told = BackendError("internal", f"Tried {ATTEMPTS} times: {reason}.")
            yield [{**run.failed(job, told), "attempt": batch.attempt} for job in batch.jobs]
            return
        yield [
            {"job": job.name, "state": states.RETRY, "attempt": batch.attempt, "message": f"{reason.capitalize()}."}
            for job in batch.jobs
        ]
        waiting.extendleft(Batch([job], batch.attempt + 1) for job in reversed(batch.jobs))

    def _hire(self, waiting: int) -> None:
        """As many workers as are wanted, or as the machines that are there now can hold, but no idle ones."""
        if time.monotonic() - self.looked < LOOK and self.workers:
            return
        self.looked = time.monotonic()
        resources = self.ray.cluster_resources()
        gpus = 0 if self.settings.device == "cpu" else int(resources.get("GPU", 0))
        share = {"num_gpus": 1} if gpus else {"num_cpus": self.cpus}
        room = gpus or int(resources.get("CPU", 1) // self.cpus)
        count = min(self.wanted or max(room, 1), max(waiting, 1))
        for _ in range(count - len(self.workers)):
            # repeating and starting again are ours: Ray would repeat what ends a worker for ever
            kind = self.ray.remote(max_restarts=0, max_task_retries=0, **share)(run.Maker)
            actor = kind.remote(self.settings)
            self.workers.append(Worker(actor, actor.__ray_ready__.remote()))
