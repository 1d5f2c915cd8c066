"""``python -m backend dataset``: build, inspect, encode and reconstruct training sets."""

import argparse
from pathlib import Path

from backend.commands.shared import command, print_record, to_stderr


def add(commands: argparse._SubParsersAction) -> None:
    dataset = commands.add_parser("dataset", help="build, inspect or encode training data").add_subparsers(
        required=True, metavar="COMMAND"
    )
    one = command(dataset, "build", dataset_build, "turn capture into a training set")
    one.add_argument("--source", type=Path, nargs="+", required=True, metavar="DIR")
    one.add_argument("--out", type=Path, required=True, metavar="DIR")
    one.add_argument("--recipe", default="shippable", help="which licences may go in: shippable or noncommercial")
    one.add_argument(
        "--blender-python", type=Path, metavar="FILE", help="reads GLB and FBX clips (default: MOMUG_BLENDER_PYTHON)"
    )
    one.add_argument(
        "--splits", type=Path, metavar="FILE", help="which clip is on which side (default: OUT/splits.json if there)"
    )
    one.add_argument("--no-augment", action="store_true", help="only what was captured, and its mirror image")
    one = command(dataset, "inspect", dataset_inspect, "say or show what a training set holds")
    one.add_argument("data", type=Path, metavar="DIR")
    one.add_argument("--split", default="train")
    one.add_argument("--count", type=int, default=5, help="how many windows to show (default: 5)")
    one.add_argument("--seed", type=int, default=0, help="which ones")
    one.add_argument("--find", default="", metavar="TEXT", help="only windows whose captions hold this text")
    one.add_argument("--kind", default="", help="only windows of this kind: real, extended, piece, joined, ...")
    one.add_argument("--page", type=Path, metavar="FILE.html", help="a page with stick figures and captions")
    one.add_argument("--png", type=Path, metavar="FILE", help="the same as a picture")
    one = command(dataset, "encode", dataset_encode, "write a training set as the latents, and tokens, of a codec")
    one.add_argument("--data", type=Path, required=True, metavar="DIR")
    one.add_argument("--codec", type=Path, required=True, metavar="DIR", help="holds codec.json and codec.safetensors")
    one.add_argument("--vq", type=Path, metavar="DIR", help="holds vq.json and vq.safetensors: write tokens too")
    one.add_argument("--out", type=Path, required=True, metavar="DIR")
    one = command(dataset, "reconstruct", dataset_reconstruct, "measure how well codecs render a training set")
    one.add_argument("--data", type=Path, required=True, metavar="DIR")
    one.add_argument("--split", default="val")
    one.add_argument("--codec", type=Path, required=True, metavar="DIR", help="holds codec.json and codec.safetensors")
    one.add_argument("--vq", type=Path, metavar="DIR", help="holds vq.json and vq.safetensors: measured level by level")


def dataset_build(options: argparse.Namespace) -> None:
    from backend.data import inspect
    from backend.data.build import build

    build(
        options.source,
        options.out,
        options.recipe,
        to_stderr,
        options.blender_python,
        options.splits,
        not options.no_augment,
    )
    print(inspect.report(options.out, count=0))


def dataset_inspect(options: argparse.Namespace) -> None:
    from backend.data import inspect

    if options.page or options.png:
        inspect.pictures(
            options.data,
            options.split,
            options.count,
            options.seed,
            options.find,
            options.kind,
            options.page,
            options.png,
        )
    else:
        print(inspect.report(options.data, options.split, options.count, options.seed, options.find, options.kind))


def dataset_encode(options: argparse.Namespace) -> None:
    from backend.data.encode import encode

    print_record(encode(options.data, options.codec, options.out, to_stderr, options.vq))


def dataset_reconstruct(options: argparse.Namespace) -> None:
    from backend.training.reconstruct import reconstruct

    print_record(reconstruct(options.data, options.split, options.codec, options.vq))
