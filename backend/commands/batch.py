"""``python -m backend batch`` and ``caption-batch``: many at once."""

import argparse
from pathlib import Path
from typing import Any

from backend.commands.shared import MODEL, SOME_FAILED, capabilities, command, count, to_stderr
from backend.errors import BackendError


def add(commands: argparse._SubParsersAction) -> None:
    one = command(commands, "batch", batch, "turn a table of jobs into motion files", MODEL)
    one.add_argument("jobs", type=Path, metavar="JOBS", help=".csv, .json or .jsonl, see docs/batch.md")
    one.add_argument("--out", required=True, metavar="DIR|URL", help="goes on with what an earlier run began there")
    one.add_argument("--format", default="npz", help="npz (default), bvh or npy")
    one.add_argument("--batch-size", type=count, default=8, metavar="N", help="jobs in the model at once (default: 8)")
    one.add_argument("--manifest", type=Path, metavar="FILE", help="default: OUT/manifest.jsonl")
    one.add_argument("--ray", metavar="auto|ADDRESS", help="on a Ray cluster: a local one, or that at ADDRESS")
    one.add_argument("--workers", type=count, metavar="N", help="with --ray (default: one a GPU, or by the CPUs)")
    one.add_argument("--cpus-per-worker", type=count, default=2, metavar="N", help="with --ray, no GPU (default: 2)")

    one = command(commands, "caption-batch", caption_batch, "describe every motion file of a folder", MODEL)
    one.add_argument("folder", type=Path, metavar="DIR", help="searched with its subfolders")
    one.add_argument("--out", type=Path, required=True, metavar="FILE", help="captions.jsonl or captions.csv")


def batch(options: argparse.Namespace) -> None:
    from backend.batch import run

    if options.format not in ("npz", "bvh", "npy"):
        raise BackendError("bad_file", f"Motions can be written as npz, bvh or npy, not {options.format!r}.")
    settings = run.Settings(options.out, f".{options.format}", options.device, options.precision, options.batch_size)
    pool = None
    if options.ray:
        from backend.batch import on_ray

        pool = on_ray.pool(options.ray, options.workers, options.cpus_per_worker)
    report = run.run(options.jobs, settings, options.model, options.manifest, to_stderr, pool)
    print(report)
    if report.failed:
        raise SystemExit(SOME_FAILED)


def caption_batch(options: argparse.Namespace) -> None:
    from backend import models
    from backend.batch import captions, jobs, manifest
    from backend.motion import formats

    capabilities(options)  # refused before the work, not after
    model = models.load(options.model, options.device, options.precision)

    def describe(path: Path) -> list[dict[str, Any]]:
        try:
            motion = formats.read(path)
            text = model.caption(motion, lambda *step: None, lambda: False)
        except BackendError as error:
            raise captions.Refused(error.message) from error
        return [{"animation": path.stem, "seconds": round(motion.seconds, 3), "caption": text}]

    weights = jobs.weights(options.model)
    try:
        now, earlier, failed = captions.run(options.folder, options.out, formats.READERS, describe, weights, to_stderr)
    except (captions.Refused, manifest.Busy) as error:
        raise BackendError("bad_request", str(error)) from error
    except OSError as error:
        raise BackendError("bad_file", f"{options.out} could not be written: {error.strerror}.") from error
    print(f"{now} files described, {earlier} were described already, {len(failed)} failed")
    if failed:
        raise SystemExit(SOME_FAILED)
