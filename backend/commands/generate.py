"""``python -m backend generate``: a sentence becomes a motion file."""

import argparse
import time
from pathlib import Path

from backend.commands.shared import MODEL, capabilities, command, show_progress
from backend.errors import BackendError


def add(commands: argparse._SubParsersAction) -> None:
    one = command(commands, "generate", generate, "turn a sentence into a motion file", MODEL)
    one.add_argument("--prompt", default="", help="what happens; poses alone (--key) need none")
    one.add_argument("--out", type=Path, required=True, help=".npz, .bvh or .npy")
    one.add_argument("--seconds", type=float)
    one.add_argument("--seed", type=int)
    one.add_argument("--steps", type=int)
    one.add_argument("--guidance", type=float)
    one.add_argument("--variations", type=int, default=1, help="more than one: OUT-1, OUT-2, ...")
    one.add_argument("--preset")
    one.add_argument(
        "--then",
        nargs=2,
        action="append",
        metavar=("PROMPT", "SECONDS"),
        help='what comes next in the same motion; may be given often; SECONDS may be "auto"',
    )
    one.add_argument(
        "--key",
        nargs=2,
        action="append",
        metavar=("SECONDS", "FILE"),
        help="a pose to meet at that time: the first frame of a motion file; may be given often",
    )
    one.add_argument("--loop", action="store_true", help="the end leads into the beginning")
    one.add_argument("--style", metavar="NAME", help="a style pack that is installed")
    one.add_argument("--style-weight", type=float, default=1.0, metavar="0..1")


def generate(options: argparse.Namespace) -> None:
    from backend import models, requests
    from backend.motion import formats

    fields = {name: getattr(options, name) for name in ("prompt", "seconds", "seed", "steps", "preset", "variations")}
    fields |= {"guidance_scale": options.guidance, "loop": options.loop}
    fields |= {"style": options.style, "style_weight": options.style_weight}
    if options.then:
        parts = [(options.prompt, options.seconds), *((text, _seconds(told)) for text, told in options.then)]
        fields["timeline"] = [{"prompt": text, "seconds": seconds} for text, seconds in parts]
    if options.out.suffix.lower() not in formats.WRITERS:  # told before the work, not after
        raise BackendError("bad_file", f"{options.out.name}: the file has to be {', '.join(formats.WRITERS)}.")
    request = requests.generate_request(fields, capabilities(options), _given_poses(options))
    started = time.monotonic()
    model = models.load(options.model, options.device, options.precision)
    timings = {"load": time.monotonic() - started}
    result = model.generate(request, show_progress, lambda: False)
    timings.update(result.timings)
    started = time.monotonic()
    for index, (motion, seed) in enumerate(zip(result.motions, result.seeds, strict=True)):
        path = options.out
        if len(result.motions) > 1:
            path = path.with_name(f"{path.stem}-{index + 1}{path.suffix}")
        formats.write(path, motion)
        print(f"{path}: {motion.frames} frames, {motion.seconds:.2f} s, seed {seed}")
    timings["write"] = time.monotonic() - started
    for warning in result.warnings:
        print(f"note: {warning}")
    print("seconds: " + ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in timings.items()))


def _given_poses(options: argparse.Namespace) -> dict:
    """The arrays of --key, none without it."""
    if not options.key:
        return {}
    from backend.motion import formats
    from backend.motion.target import of_poses

    if options.seconds is None:
        raise BackendError("bad_duration", "Poses need to know how long the motion is.", "Give --seconds.")
    times = [_seconds(told) for told, _ in options.key]
    if None in times:
        raise BackendError("bad_request", "A pose needs a time in seconds.")
    poses = [(at, formats.read(Path(file))) for at, (_, file) in zip(times, options.key, strict=True)]
    return of_poses(poses, options.seconds).arrays()


def _seconds(told: str) -> float | None:
    if told == "auto":
        return None
    try:
        return float(told)
    except ValueError as error:
        raise BackendError("bad_duration", f"{told!r} is no number of seconds.", 'Give a number, or "auto".') from error
