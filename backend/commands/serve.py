"""``python -m backend serve``: the add-on's other half."""

import argparse

from backend.commands.shared import DEVICE, PRECISIONS, command, positive


def add(commands: argparse._SubParsersAction) -> None:
    one = command(commands, "serve", serve, "speak the add-on's protocol on stdin and stdout", DEVICE)
    one.add_argument("--precision", choices=PRECISIONS, default="auto")
    one.add_argument("--preload", metavar="MODEL", help="load this model before the first request")
    one.add_argument("--idle-unload", type=positive, metavar="SECONDS", help="free the model when idle so long")


def serve(options: argparse.Namespace) -> None:
    from backend import server

    server.main(
        device=options.device,
        precision=options.precision,
        preload=options.preload,
        idle_unload=options.idle_unload,
    )
