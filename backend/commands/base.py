"""``python -m backend base``: the base language model."""

import argparse
from pathlib import Path

from backend.commands.shared import command


def add(commands: argparse._SubParsersAction) -> None:
    base = commands.add_parser("base", help="the base language model").add_subparsers(required=True, metavar="COMMAND")
    one = command(base, "convert", base_convert, "convert a GGUF file once to safetensors")
    one.add_argument("gguf", type=Path, metavar="GGUF")
    one.add_argument("--out", type=Path, metavar="DIR", help="default: the user's cache")


def base_convert(options: argparse.Namespace) -> None:
    from backend import paths
    from backend.language import base

    print(base.convert(options.gguf, options.out or paths.base_model_folder()))
