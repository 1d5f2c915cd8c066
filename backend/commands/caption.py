"""``python -m backend caption``: a motion file in words."""

import argparse
from pathlib import Path

from backend.commands.shared import MODEL, capabilities, command, positive, show_progress


def add(commands: argparse._SubParsersAction) -> None:
    one = command(commands, "caption", caption, "describe a motion file in words", MODEL)
    one.add_argument("file", type=Path, metavar="FILE", help=".npz, .bvh or .amc")
    one.add_argument(
        "--fps", type=positive, metavar="N", help="the file's rate, where it says none or a wrong one (.amc: 120)"
    )


def caption(options: argparse.Namespace) -> None:
    from backend import models, requests
    from backend.motion import formats

    capabilities(options)  # refused before the work, not after
    told = {"source_fps": options.fps} if options.fps else {}
    motion = formats.read(options.file, **told)
    arrays = {"rotations": motion.rotations, "translation": motion.translation, "rest_offsets": motion.rest_offsets}
    motion = requests.caption_motion({"fps": motion.fps}, arrays)
    model = models.load(options.model, options.device, options.precision)
    print(model.caption(motion, show_progress, lambda: False))
