"""What the commands have in common: options, checks of numbers, how they print."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

SOME_FAILED = 3  # exit code: the run went through, some of its jobs did not
PRECISIONS = ("auto", "float32", "bfloat16")

_COMMON = argparse.ArgumentParser(add_help=False)
_COMMON.add_argument("--verbose", action="store_true", help="show what happens, and the details of an error")
DEVICE = argparse.ArgumentParser(add_help=False)
DEVICE.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
MODEL = argparse.ArgumentParser(add_help=False, parents=[DEVICE])
MODEL.add_argument("--precision", choices=PRECISIONS, default="auto")
MODEL.add_argument("--model", default="momug", help="one of momug, llamo, motiongpt (default: momug)")


def command(
    where: argparse._SubParsersAction,
    name: str,
    run: Callable[[argparse.Namespace], None],
    about: str,
    *parents: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    """Add the command ``name``, which does ``run``; ``parents``: DEVICE or MODEL, where it takes their options."""
    made = where.add_parser(name, help=about, description=about, parents=[_COMMON, *parents])
    made.set_defaults(run=run)
    return made


def capabilities(options: argparse.Namespace) -> dict:
    """What the model of --model can do. Raises BackendError where it is unknown or has no weights here."""
    from backend import models, paths, requests

    return requests.available_model(options.model, models.describe(paths.checkpoints_folder()))


def count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError("must be at least one")
    return number


def positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be a number above zero")
    return number


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def print_record(record: Any) -> None:
    if record is not None:
        print(record if isinstance(record, str) else json.dumps(record, indent=1, default=str))


def show_progress(phase: str, step: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{phase} {step}/{total}   ", end="\n" if step >= total else "", file=sys.stderr, flush=True)
