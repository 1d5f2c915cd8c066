"""``python -m backend``: serve the add-on, or generate, caption, train and evaluate from a terminal."""

import argparse
import logging
import sys

from backend.commands import base, batch, body, caption, dataset, evaluate, generate, serve, style, train
from backend.errors import BackendError

COMMANDS = (serve, generate, caption, batch, body, dataset, train, style, evaluate, base)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code. A BackendError becomes one sentence on stderr and the code 1."""
    options = parser().parse_args(arguments)
    if options.run is not serve.serve:
        logging.basicConfig(
            stream=sys.stderr, level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s"
        )
    try:
        options.run(options)
        return 0
    except BackendError as error:
        if options.verbose:
            logging.exception("details")
        print(error.message, file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The whole command line; every parsed command carries ``run``, the function that does it."""
    made = argparse.ArgumentParser(prog="python -m backend", description=__doc__)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    return made


if __name__ == "__main__":
    sys.exit(main())
