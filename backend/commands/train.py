"""``python -m backend train``: train a recipe."""

import argparse
import logging
from pathlib import Path

from backend.commands.shared import DEVICE, command, positive, print_record


def add(commands: argparse._SubParsersAction) -> None:
    one = command(commands, "train", train, "train a recipe", DEVICE)
    one.add_argument("--recipe", required=True, metavar="NAME|FILE")
    one.add_argument("--data", type=Path, required=True, metavar="DIR")
    one.add_argument("--out", type=Path, required=True, metavar="DIR")
    one.add_argument("--resume", action="store_true", help="go on where OUT was left")
    one.add_argument("--max-minutes", type=positive, metavar="N")
    one.add_argument("--name", help="what a style pack is to be called (recipe style)")


def train(options: argparse.Namespace) -> None:
    logging.getLogger().setLevel(logging.INFO)  # the losses are what one wants to see
    from backend import training

    print_record(
        training.train(
            options.recipe, options.data, options.out, options.resume, options.max_minutes, options.device, options.name
        )
    )
