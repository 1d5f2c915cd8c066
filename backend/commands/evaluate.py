"""``python -m backend evaluate``: measure a model on a data set."""

import argparse
import json
import logging
from pathlib import Path

from backend.commands.shared import MODEL, capabilities, command, count, positive
from backend.errors import BackendError


def add(commands: argparse._SubParsersAction) -> None:
    one = command(commands, "evaluate", evaluate, "measure a model on a data set", MODEL)
    one.add_argument("--data", type=Path, required=True, metavar="DIR")
    one.add_argument("--split", default="test")
    one.add_argument("--seeds", type=int, default=5, help="how often everything is generated (default: 5)")
    one.add_argument("--preset", help="one of the model's presets (default: its default)")
    one.add_argument("--no-captions", action="store_true", help="leave out the scores of captions")
    one.add_argument("--evaluator", type=Path, metavar="DIR", help="another evaluator than the installed one")
    one.add_argument(
        "--conditions", action="store_true", help="measure how poses, paths, loops and timelines are met instead"
    )
    one.add_argument("--windows", type=count, default=6, metavar="N", help="with --conditions (default: 6)")
    one.add_argument("--prove", action="store_true", help="test the evaluator and the checks on real motion instead")
    one.add_argument(
        "--stream",
        type=positive,
        metavar="SECONDS",
        help="stream so long instead: pace, memory, quality over time",
    )
    one.add_argument("--unseen", action="store_true", help="ask twenty compositions that no caption says instead")
    one.add_argument("--json", type=Path, metavar="OUT")
    one.add_argument("--html", type=Path, metavar="OUT", help="a page with tables, curves and pictures")


def evaluate(options: argparse.Namespace) -> None:
    logging.getLogger().setLevel(logging.INFO)  # it takes minutes: say where it is
    from backend.evaluation import page, proof, report

    drawn = ""
    if options.conditions:
        from backend.evaluation import conditions

        record = conditions.evaluate(
            options.model, options.data, options.split, options.windows, options.device, options.preset
        )
        told = conditions.text_table(record)
    elif options.prove:
        record = proof.prove(options.data, options.split, options.evaluator)
        told = proof.text_table(record)
        drawn = page.proof_page(record, told) if options.html else ""
    elif options.stream or options.unseen:
        if options.html:
            raise BackendError("bad_request", "There is a page for the whole evaluation only.", "Use --json.")
        record, told = _special(options)
    else:
        record, pictures = report.evaluate(
            options.model,
            options.data,
            options.split,
            options.device,
            options.seeds,
            options.preset,
            not options.no_captions,
            options.evaluator,
        )
        told = report.text_table(record)
        drawn = page.page(record, pictures) if options.html else ""
    if options.json:
        _write(options.json, json.dumps(record, indent=1, allow_nan=False) + "\n")
    if drawn:
        _write(options.html, drawn)
    print(told)


def _special(options: argparse.Namespace) -> tuple[dict, str]:
    """The record and the table of --stream or --unseen."""
    from backend import models
    from backend.evaluation import endurance, unseen
    from backend.training.dataset import load_windows

    about = capabilities(options)
    if options.stream and not about["streams"]:
        raise BackendError("bad_request", f"The model {options.model} does not stream.")
    model = models.load(options.model, options.device, options.precision)
    if options.stream:
        record = endurance.endurance(model, options.stream, preset=options.preset)
        return record, endurance.text_table(record)
    said = [c for row in load_windows(options.data, "train").rows for c in row["captions"]]
    record = unseen.unseen(model, said, options.seeds, options.preset)
    return record, unseen.text_table(record)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BackendError("bad_file", f"{path} could not be written: {error.strerror}.") from error
