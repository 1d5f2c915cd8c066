"""``python -m backend style``: style packs, trained and installed."""

import argparse
import logging
from pathlib import Path

from backend.commands.shared import DEVICE, command, print_record
from backend.process import end_with_stdin


def add(commands: argparse._SubParsersAction) -> None:
    style = commands.add_parser("style", help="style packs").add_subparsers(required=True, metavar="COMMAND")
    one = command(style, "train", style_train, "learn a style from a few captioned motions and install it", DEVICE)
    one.add_argument("--source", type=Path, required=True, metavar="DIR", help="motion files and captions.jsonl")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run: data set, curve, pack")
    one.add_argument("--name", required=True, help="small letters, digits and dashes")
    one.add_argument("--label", default="", help="what artists read (default: the name)")
    one.add_argument("--licence", default="the owner's", metavar="TEXT", help="of the motions")
    one.add_argument("--non-commercial", action="store_true", help="the motions may not be used commercially")
    one.add_argument("--steps", type=int, metavar="N", help="default: the recipe's")
    one.add_argument("--end-with-stdin", action="store_true", help="end when the program that started this one is gone")
    one = command(style, "install", style_install, "put a trained style pack where the backend finds it")
    one.add_argument("folder", type=Path, metavar="DIR", help="RUN/best of `train --recipe style`")


def style_train(options: argparse.Namespace) -> None:
    logging.getLogger().setLevel(logging.INFO)
    if options.end_with_stdin:
        end_with_stdin()
    from backend.training.own_style import train_style

    print_record(
        train_style(
            options.source,
            options.out,
            options.name,
            options.label,
            options.licence,
            not options.non_commercial,
            options.steps,
            options.device,
        )
    )


def style_install(options: argparse.Namespace) -> None:
    from backend.training.style import install

    print(install(options.folder))
