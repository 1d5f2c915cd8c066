"""Jobs to motion files on this computer: ``python -m backend batch jobs.csv --out DIR``.

A ``Maker`` holds the model and makes batches of jobs, here in this process, elsewhere (``pool``) in workers. Only the
process that was started by the user writes the manifest.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import backend
from backend import models, paths, requests
from backend.batch import manifest as states
from backend.batch import poses
from backend.batch.jobs import Job, JobsError, read, weights
from backend.batch.manifest import Busy, Manifest
from backend.batch.store import Store, UnwritableError
from backend.errors import BackendError
from backend.models.interface import GenerateRequest, alike
from backend.motion import formats

log = logging.getLogger(__name__)
BATCH = 8
PADDING = 1.5  # the longest of a batch over the shortest: what is longer waits for its like


@dataclass
class Settings:
    """What all jobs of a run share. ``load``: a model by name, device and precision, as ``models.load``."""

    out: str
    suffix: str = ".npz"
    device: str = "auto"
    precision: str = "auto"
    batch: int = BATCH
    load: Callable[..., Any] = models.load


@dataclass
class Report:
    """How a run ended, by jobs."""

    done: int = 0
    earlier: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        told = f"{self.done} done, {self.earlier} were done already, {len(self.failed)} failed"
        return f"{told}; {self.seconds:.1f} s, {self.done / max(self.seconds, 1e-9):.2f} jobs/s"


class Maker:
    """Holds one model at a time and turns batches of jobs into files. What a worker of a pool is, too."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.store = Store(settings.out)
        self.loaded: tuple[str, Any] | None = None
        self.described: dict[str, dict[str, Any]] = {}

    def check(self, job: Job) -> GenerateRequest:
        """The request of a job, every field checked. Raises BackendError."""
        if job.problem:
            raise BackendError("bad_request", job.problem)
        if job.model not in self.described:
            self.described[job.model] = requests.available_model(job.model, describe(self.settings))
        return requests.generate_request(
            job.request, self.described[job.model], poses.read(Path(job.target)) if job.target else {}
        )

    def make(self, jobs: list[Job]) -> list[dict[str, Any]]:
        """Manifest lines, "done" or "failed", of jobs that are alike. Raises UnwritableError when none can be kept."""
        began = time.monotonic()
        try:
            wanted = [self.check(job) for job in jobs]
            results = self._generate(jobs[0].model, wanted)
        except Exception as error:
            told = _told(error)
            if len(jobs) > 1 and told.code not in ("checkpoint_missing", "checkpoint_damaged", "base_missing"):
                log.info("a batch of %d failed (%s); its jobs go one by one", len(jobs), told.message)
                return [record for job in jobs for record in self.make([job])]
            return [failed(job, told) for job in jobs]
        share = (time.monotonic() - began) / len(jobs)
        return [self._keep(job, result, share, len(jobs)) for job, result in zip(jobs, results, strict=True)]

    def _generate(self, name: str, wanted: list[GenerateRequest]) -> list[Any]:
        if self.loaded is None or self.loaded[0] != name:
            self.loaded = None  # two models at once may not fit
            self.loaded = (name, self.settings.load(name, self.settings.device, self.settings.precision))
        model = self.loaded[1]
        if len(wanted) > 1 and hasattr(model, "generate_batch"):
            return model.generate_batch(wanted, _silent, _never)
        return [model.generate(one, _silent, _never) for one in wanted]

    def _keep(self, job: Job, result: Any, share: float, count: int) -> dict[str, Any]:
        motion = result.motions[0]
        if not (np.isfinite(motion.rotations).all() and np.isfinite(motion.translation).all()):
            return failed(job, BackendError("internal", "The model produced numbers that are not finite."))
        began = time.monotonic()
        name = job.name + self.settings.suffix
        output = self.store.put(name, lambda path: formats.write(path, motion))
        seconds = {"generate": share, **result.timings, "write": time.monotonic() - began}
        return {
            "job": job.name,
            "state": states.DONE,
            "seed": int(result.seeds[0]),
            "frames": motion.frames,
            "outputs": [output],
            "seconds": {phase: round(value, 4) for phase, value in seconds.items()},
            "batch": count,
            **({"warnings": result.warnings} if result.warnings else {}),
        }


def describe(settings: Settings) -> list[dict[str, Any]]:
    """Capabilities of the installed models; a test's own loader may bring them along."""
    return getattr(settings.load, "described", None) or models.describe(paths.checkpoints_folder())


def run(
    table: Path,
    settings: Settings,
    model: str = "momug",
    manifest: Path | None = None,
    say: Callable[[str], None] = print,
    pool: Callable[..., Iterator[list[dict[str, Any]]]] | None = None,
) -> Report:
    """Do what is not done yet of a table of jobs. Raises BackendError when the run as a whole cannot go on.

    ``pool(settings, batches)`` makes batches elsewhere and yields manifest lines; without one they are made here.
    """
    try:
        jobs = read(table, model)
        store = Store(settings.out)
        with Manifest(Path(manifest) if manifest else store.manifest()) as book:
            return _run(jobs, book, store, settings, say, pool)
    except (JobsError, Busy) as error:
        raise BackendError("bad_request", str(error)) from error
    except UnwritableError as error:
        raise BackendError("bad_file", str(error), "Mend that, and give the same command again: it goes on.") from error
    except OSError as error:
        text = f"The run stopped: {error.filename or settings.out}: {error.strerror}."
        raise BackendError("bad_file", text, "Mend that, and give the same command again: it goes on.") from error


def _run(jobs: list[Job], book: Manifest, store: Store, settings: Settings, say, pool) -> Report:
    report, began = Report(), time.monotonic()
    maker = Maker(settings)
    waiting: list[tuple[Job, GenerateRequest]] = []
    keys: dict[str, str] = {}
    bad = []
    hashes = {name: weights(name) for name in {job.model for job in jobs}}
    for job in jobs:
        try:
            wanted = maker.check(job)
            key = job.key(settings.suffix, hashes[job.model])
        except (BackendError, OSError) as error:
            told = error if isinstance(error, BackendError) else BackendError("bad_file", f"{job.target}: {error}")
            bad.append(failed(job, told))
            continue
        if book.is_done(job.name, key) and all(map(store.holds, book.last[job.name].get("outputs", []))):
            report.earlier += 1
            continue
        keys[job.name] = key
        waiting.append((job, wanted))
    book.add(states.begin("batch", version=backend.__version__, jobs=len(jobs), waiting=len(waiting), bad=len(bad)))
    _note(book, bad, report, say)
    batches = plan(waiting, settings.batch)
    store.clear({job.name for job, _ in waiting})
    told = began
    for records in (pool or _here)(settings, batches):
        for record in records:
            record["input"] = keys[record["job"]]
        _note(book, records, report, say)
        report.seconds = time.monotonic() - began
        if time.monotonic() - told > 2:
            told = time.monotonic()
            left = (len(waiting) + len(bad) - report.done - len(report.failed)) * report.seconds / max(report.done, 1)
            say(f"{report}; about {left:.0f} s left")
    store.clear({job.name for job, _ in waiting})  # what workers left that were killed
    report.seconds = time.monotonic() - began
    return report


def _here(settings: Settings, batches: list[list[Job]]) -> Iterator[list[dict[str, Any]]]:
    maker = Maker(settings)
    for batch in batches:
        yield [started(job) for job in batch]
        yield maker.make(batch)


def _note(book: Manifest, records: list[dict[str, Any]], report: Report, say) -> None:
    if records:
        book.add(*records)
    for record in records:
        if record["state"] == states.DONE:
            report.done += 1
        elif record["state"] == states.FAILED:
            report.failed[record["job"]] = record["message"]
            say(f"{record['job']} failed: {record['message']}")


def plan(waiting: list[tuple[Job, GenerateRequest]], size: int) -> list[list[Job]]:
    """Batches of at most ``size`` jobs that can go through the model together, similar lengths side by side."""
    groups: dict[Any, list[tuple[Job, GenerateRequest]]] = {}
    batches = []
    for job, wanted in waiting:
        likeness = alike(wanted)
        if likeness is None or size == 1:
            batches.append([job])
        else:
            groups.setdefault((job.model, likeness, wanted.seconds is None), []).append((job, wanted))
    for group in groups.values():
        # the model knows how long a sentence without seconds takes only when it has read it
        group.sort(key=lambda pair: (pair[1].seconds or 0.0, len(pair[1].prompt)))
        batch: list[Job] = []
        shortest = 0.0
        for job, wanted in group:
            seconds = wanted.seconds or 0.0
            if batch and (len(batch) == size or seconds > PADDING * shortest):
                batches.append(batch)
                batch = []
            if not batch:
                shortest = seconds
            batch.append(job)
        batches.append(batch)
    return batches


def started(job: Job) -> dict[str, Any]:
    return {"job": job.name, "state": states.RUNNING, "seed": job.request.get("seed")}


def failed(job: Job, error: BackendError) -> dict[str, Any]:
    record = {"job": job.name, "state": states.FAILED, "seed": job.request.get("seed"), "error": error.code}
    return record | {"message": error.message}


def _told(error: Exception) -> BackendError:
    if isinstance(error, BackendError):
        return error
    log.exception("a batch failed")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return BackendError("out_of_memory", "Memory ran out.", retryable=True)
    return BackendError("internal", f"The model failed unexpectedly ({type(error).__name__}).")


def _silent(phase: str, step: int, total: int) -> None:
    pass


def _never() -> bool:
    return False
