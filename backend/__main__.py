"""``python -m backend``: serve the add-on, or generate, caption, train and evaluate from a terminal."""

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from backend.errors import BackendError

SOME_FAILED = 3  # exit code: the run went through, some of its jobs did not
MODELS = ("momug", "llamo", "motiongpt")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code. A BackendError becomes one sentence on stderr and the code 1."""
    options = _parser().parse_args(arguments)
    if options.run is not serve:
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


def serve(options: argparse.Namespace) -> None:
    from backend import server

    server.main(
        device=options.device,
        precision=options.precision,
        preload=options.preload,
        idle_unload=options.idle_unload,
    )


def generate(options: argparse.Namespace) -> None:
    from backend import models, paths, requests
    from backend.motion import formats

    fields = {name: getattr(options, name) for name in ("prompt", "seconds", "seed", "steps", "preset", "variations")}
    fields |= {"guidance_scale": options.guidance, "loop": options.loop}
    fields |= {"style": options.style, "style_weight": options.style_weight}
    if options.then:
        parts = [(options.prompt, options.seconds), *((text, _seconds(told)) for text, told in options.then)]
        fields["timeline"] = [{"prompt": text, "seconds": seconds} for text, seconds in parts]
    if options.out.suffix.lower() not in formats.WRITERS:  # told before the work, not after
        raise BackendError("bad_file", f"{options.out.name}: the file has to be {', '.join(formats.WRITERS)}.")
    capabilities = requests.available_model(options.model, models.describe(paths.checkpoints_folder()))
    request = requests.generate_request(fields, capabilities, _given_poses(options))
    started = time.monotonic()
    model = models.load(options.model, options.device, options.precision)
    timings = {"load": time.monotonic() - started}
    result = model.generate(request, _show_progress, lambda: False)
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


def caption(options: argparse.Namespace) -> None:
    from backend import models, paths, requests
    from backend.motion import formats

    requests.available_model(options.model, models.describe(paths.checkpoints_folder()))
    told = {"source_fps": options.fps} if options.fps else {}
    motion = formats.read(options.file, **told)
    arrays = {"rotations": motion.rotations, "translation": motion.translation, "rest_offsets": motion.rest_offsets}
    motion = requests.caption_motion({"fps": motion.fps}, arrays)
    model = models.load(options.model, options.device, options.precision)
    print(model.caption(motion, _show_progress, lambda: False))


def batch(options: argparse.Namespace) -> None:
    from backend.batch import run

    if options.format not in ("npz", "bvh", "npy"):
        raise BackendError("bad_file", f"Motions can be written as npz, bvh or npy, not {options.format!r}.")
    settings = run.Settings(options.out, f".{options.format}", options.device, options.precision, options.batch_size)
    pool = None
    if options.ray:
        from backend.batch import on_ray

        pool = on_ray.pool(options.ray, options.workers, options.cpus_per_worker)
    report = run.run(options.jobs, settings, options.model, options.manifest, _to_stderr, pool)
    print(report)
    if report.failed:
        raise SystemExit(SOME_FAILED)


def caption_batch(options: argparse.Namespace) -> None:
    from backend import models, paths, requests
    from backend.batch import captions, jobs, manifest
    from backend.motion import formats

    requests.available_model(options.model, models.describe(paths.checkpoints_folder()))
    model = models.load(options.model, options.device, options.precision)

    def describe(path: Path) -> list[dict[str, Any]]:
        try:
            motion = formats.read(path)
            text = model.caption(motion, lambda *step: None, lambda: False)
        except BackendError as error:
            raise captions.Refused(error.message) from error
        return [{"animation": path.stem, "seconds": round(motion.seconds, 3), "caption": text}]

    weights = jobs.weights(options.model)
    try:
        now, earlier, failed = captions.run(options.folder, options.out, formats.READERS, describe, weights, _to_stderr)
    except (captions.Refused, manifest.Busy) as error:
        raise BackendError("bad_request", str(error)) from error
    except OSError as error:
        raise BackendError("bad_file", f"{options.out} could not be written: {error.strerror}.") from error
    print(f"{now} files described, {earlier} were described already, {len(failed)} failed")
    if failed:
        raise SystemExit(SOME_FAILED)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def body(options: argparse.Namespace) -> None:
    from backend.motion import body as bodies

    model = bodies.load_model(options.model)
    motion = bodies.read_motion(options.file, options.fps)
    mesh = bodies.vertices(model, motion)
    bodies.write(options.out, mesh, model.faces, motion.fps)
    print(f"{options.out}: {mesh.shape[0]} frames of {mesh.shape[1]} vertices, {motion.fps:g} frames a second")


def dataset_build(options: argparse.Namespace) -> None:
    from backend.data import inspect
    from backend.data.build import build

    build(
        options.source,
        options.out,
        options.recipe,
        lambda line: print(line, file=sys.stderr, flush=True),
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

    def progress(line: str) -> None:
        print(line, file=sys.stderr)

    _print_record(encode(options.data, options.codec, options.out, progress, options.vq))


def dataset_reconstruct(options: argparse.Namespace) -> None:
    from backend.training.reconstruct import reconstruct

    _print_record(reconstruct(options.data, options.split, options.codec, options.vq))


def train(options: argparse.Namespace) -> None:
    logging.getLogger().setLevel(logging.INFO)  # the losses are what one wants to see
    from backend import training

    _print_record(
        training.train(
            options.recipe, options.data, options.out, options.resume, options.max_minutes, options.device, options.name
        )
    )


def style_train(options: argparse.Namespace) -> None:
    logging.getLogger().setLevel(logging.INFO)
    from backend.training.own_style import train_style

    _print_record(
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
    from backend import models, paths, requests
    from backend.evaluation import endurance, unseen
    from backend.training.dataset import load_windows

    capabilities = requests.available_model(options.model, models.describe(paths.checkpoints_folder()))
    if options.stream and not capabilities["streams"]:
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


def base_convert(options: argparse.Namespace) -> None:
    from backend import paths
    from backend.language import base

    print(base.convert(options.gguf, options.out or paths.base_model_folder()))


def _print_record(record: Any) -> None:
    if record is not None:
        print(record if isinstance(record, str) else json.dumps(record, indent=1, default=str))


def _show_progress(phase: str, step: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{phase} {step}/{total}   ", end="\n" if step >= total else "", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--verbose", action="store_true", help="show what happens, and the details of an error")
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    model = argparse.ArgumentParser(add_help=False, parents=[device])
    model.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    model.add_argument("--model", default="momug", help=f"one of {', '.join(MODELS)} (default: momug)")

    parser = argparse.ArgumentParser(prog="python -m backend", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(where, name: str, run, about: str, *parents) -> argparse.ArgumentParser:
        made = where.add_parser(name, help=about, description=about, parents=[common, *parents])
        made.set_defaults(run=run)
        return made

    one = command(commands, "serve", serve, "speak the add-on's protocol on stdin and stdout", device)
    one.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    one.add_argument("--preload", metavar="MODEL", help="load this model before the first request")
    one.add_argument("--idle-unload", type=_positive, metavar="SECONDS", help="free the model when idle so long")

    one = command(commands, "generate", generate, "turn a sentence into a motion file", model)
    one.add_argument("--prompt", required=True)
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

    one = command(commands, "caption", caption, "describe a motion file in words", model)
    one.add_argument("file", type=Path, metavar="FILE", help=".npz, .bvh or .amc")
    one.add_argument(
        "--fps", type=_positive, metavar="N", help="the file's rate, where it says none or a wrong one (.amc: 120)"
    )

    one = command(commands, "batch", batch, "turn a table of jobs into motion files", model)
    one.add_argument("jobs", type=Path, metavar="JOBS", help=".csv, .json or .jsonl, see docs/batch.md")
    one.add_argument("--out", required=True, metavar="DIR|URL", help="goes on with what an earlier run began there")
    one.add_argument("--format", default="npz", help="npz (default), bvh or npy")
    one.add_argument("--batch-size", type=_count, default=8, metavar="N", help="jobs in the model at once (default: 8)")
    one.add_argument("--manifest", type=Path, metavar="FILE", help="default: OUT/manifest.jsonl")
    one.add_argument("--ray", metavar="auto|ADDRESS", help="on a Ray cluster: a local one, or that at ADDRESS")
    one.add_argument("--workers", type=_count, metavar="N", help="with --ray (default: one a GPU, or by the CPUs)")
    one.add_argument("--cpus-per-worker", type=_count, default=2, metavar="N", help="with --ray, no GPU (default: 2)")

    one = command(commands, "caption-batch", caption_batch, "describe every motion file of a folder", model)
    one.add_argument("folder", type=Path, metavar="DIR", help="searched with its subfolders")
    one.add_argument("--out", type=Path, required=True, metavar="FILE", help="captions.jsonl or captions.csv")

    one = command(commands, "body", body, "body meshes of a motion, on an SMPL model that you own (needs smplx)")
    one.add_argument("file", type=Path, metavar="FILE", help=".npz, .npy, .bvh or .amc")
    one.add_argument("--model", type=Path, required=True, metavar="FILE.npz", help="SMPL, SMPL-H or SMPL-X, never .pkl")
    one.add_argument("--out", type=Path, required=True, metavar="OUT", help=".npz, .obj (first frame) or .pc2 + .obj")
    one.add_argument("--fps", type=_positive, metavar="N", help="frames a second (default: the file's)")

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

    one = command(commands, "train", train, "train a recipe", device)
    one.add_argument("--recipe", required=True, metavar="NAME|FILE")
    one.add_argument("--data", type=Path, required=True, metavar="DIR")
    one.add_argument("--out", type=Path, required=True, metavar="DIR")
    one.add_argument("--resume", action="store_true", help="go on where OUT was left")
    one.add_argument("--max-minutes", type=_positive, metavar="N")
    one.add_argument("--name", help="what a style pack is to be called (recipe style)")

    style = commands.add_parser("style", help="style packs").add_subparsers(required=True, metavar="COMMAND")
    one = command(style, "train", style_train, "learn a style from a few captioned motions and install it", device)
    one.add_argument("--source", type=Path, required=True, metavar="DIR", help="motion files and captions.jsonl")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run: data set, curve, pack")
    one.add_argument("--name", required=True, help="small letters, digits and dashes")
    one.add_argument("--label", default="", help="what artists read (default: the name)")
    one.add_argument("--licence", default="the owner's", metavar="TEXT", help="of the motions")
    one.add_argument("--non-commercial", action="store_true", help="the motions may not be used commercially")
    one.add_argument("--steps", type=int, metavar="N", help="default: the recipe's")
    one = command(style, "install", style_install, "put a trained style pack where the backend finds it")
    one.add_argument("folder", type=Path, metavar="DIR", help="RUN/best of `train --recipe style`")

    one = command(commands, "evaluate", evaluate, "measure a model on a data set", model)
    one.add_argument("--data", type=Path, required=True, metavar="DIR")
    one.add_argument("--split", default="test")
    one.add_argument("--seeds", type=int, default=5, help="how often everything is generated (default: 5)")
    one.add_argument("--preset", help="one of the model's presets (default: its default)")
    one.add_argument("--no-captions", action="store_true", help="leave out the scores of captions")
    one.add_argument("--evaluator", type=Path, metavar="DIR", help="another evaluator than the installed one")
    one.add_argument(
        "--conditions", action="store_true", help="measure how poses, paths, loops and timelines are met instead"
    )
    one.add_argument("--windows", type=_count, default=6, metavar="N", help="with --conditions (default: 6)")
    one.add_argument("--prove", action="store_true", help="test the evaluator and the checks on real motion instead")
    one.add_argument(
        "--stream",
        type=_positive,
        metavar="SECONDS",
        help="stream so long instead: pace, memory, quality over time",
    )
    one.add_argument("--unseen", action="store_true", help="ask twenty compositions that no caption says instead")
    one.add_argument("--json", type=Path, metavar="OUT")
    one.add_argument("--html", type=Path, metavar="OUT", help="a page with tables, curves and pictures")

    base = commands.add_parser("base", help="the base language model").add_subparsers(required=True, metavar="COMMAND")
    one = command(base, "convert", base_convert, "convert a GGUF file once to safetensors")
    one.add_argument("gguf", type=Path, metavar="GGUF")
    one.add_argument("--out", type=Path, metavar="DIR", help="default: the user's cache")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError("must be at least one")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be a number above zero")
    return number


if __name__ == "__main__":
    sys.exit(main())
