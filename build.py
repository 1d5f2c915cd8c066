#!/usr/bin/env python3
"""The one door to MoMug: set-up, demo, tests, package. Standard library only; any Python from 3.10 runs it.

python3 build.py setup                 environments and base model, in the user's cache
python3 build.py demo "a person waves" from a prompt to a .blend, headless
python3 build.py test                  every test on every Blender Python that is here; --only scale: on a Ray cluster
python3 build.py bench                 the promised times, measured on this computer
python3 build.py env                   where the environments are, as JSON
python3 build.py package               dist/momug-<version>.zip, the extension
python3 build.py wheels --out DIR      a folder of wheels for a machine without internet
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

if sys.version_info < (3, 10):  # noqa: UP036 - the sentence is for whoever starts it with an older one
    sys.exit(f"build.py needs Python 3.10 or newer; this is {sys.version.split()[0]}.")

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from backend import paths  # noqa: E402
from blender_addon.client import base_model, environment, gpu, plan, platforms, setup, sources  # noqa: E402
from blender_addon.client.environment import EnvironmentProblem, NotOffered  # noqa: E402
from blender_addon.client.interpreters import BACKEND_PYTHONS, find_python  # noqa: E402
from blender_addon.client.running import end  # noqa: E402
from tests import suites  # noqa: E402

REQUIREMENTS = ROOT / "tests" / "requirements"
BLENDER_BYTES = 1_800_000_000  # measured: installed size and download side by side, rounded up
RUN_TIMEOUT = 25 * 60  # seconds for one child: only a hang takes that long
BENCH_TIMEOUT = 2 * 60 * 60  # beside other work every row takes its multiple

# bpy 4.5 may never end by itself: every child that imports it leaves with os._exit
CHECK_BLENDER = "import bpy, os; print(bpy.app.version_string, flush=True); os._exit(0)"


class Blender(NamedTuple):
    """A Blender release that comes as a Python module, and the Python it is made for."""

    version: str
    python: tuple[int, int]

    @property
    def name(self) -> str:
        return f"blender-{self.version}"

    @property
    def requirements(self) -> Path:
        return REQUIREMENTS / f"{self.name}.txt"

    @property
    def folder(self) -> Path:
        return paths.environment_folder(self.name, self.requirements.read_text(encoding="utf-8"))


BLENDERS = (Blender("4.5", (3, 11)), Blender("5.2", (3, 13)))


def say(line: str) -> None:
    print(line, flush=True)


def report(_phase: str, _done: int = 0, _total: int = 0, text: str = "", label: str = "") -> None:
    """How a set-up goes, for a terminal: its sentences."""
    if text:
        say(f"{text} {label}".rstrip())


# --- setup


def set_up(blenders: str = "all", thorough: bool = False) -> tuple[Path, dict[Blender, Path]]:
    """Make or repair the environments and the base model. Returns the backend's Python and one Python per Blender.

    ``blenders``: "all" that can be had, or "one" (the newest) for the demo; ``thorough``: the base model's files are
    compared with their hashes. Raises EnvironmentProblem.
    """
    wanted = BLENDERS if blenders == "all" else BLENDERS[-1:]
    with environment.set_up_lock(say):
        _check_space(wanted)
        backend = setup.create(
            "backend",
            paths.REQUIREMENTS,
            lambda: find_python(BACKEND_PYTHONS),
            report,
            check=setup.CHECK_BACKEND,
        )
        setup.convert_base(backend, report, thorough=thorough)
        made: dict[Blender, Path] = {}
        problems = []
        for blender in reversed(BLENDERS):
            try:
                made[blender] = setup.create(
                    blender.name,
                    blender.requirements,
                    lambda versions=(blender.python,): find_python(versions),
                    report,
                    needed=BLENDER_BYTES,
                    check=CHECK_BLENDER,
                )
            except NotOffered as problem:  # one Blender is enough; no network or a full disk ends the set-up
                problems.append(problem)
                say(f"{blender.name}: left out. {problem.message} {problem.hint}")
            if made and blenders == "one":
                break
        if not made:
            raise EnvironmentProblem("No Blender could be set up. " + problems[0].message, problems[0].hint)
    return backend, dict(sorted(made.items()))


def _check_space(blenders: tuple[Blender, ...]) -> None:
    """Before anything is downloaded: say how much is to come, and stop when it cannot fit."""
    needed = 0
    if not environment.ready_python(environment.backend_folder()):
        target = platforms.this_computer(BACKEND_PYTHONS[0])
        builds, why = gpu.builds(target, gpu.cards())
        say(f"{builds[0].label}: {why}")
        needed += plan.make(paths.REQUIREMENTS.read_text(encoding="utf-8"), target, builds[0], base=False).disk
    needed += 0 if base_model.base_is_ready() else base_model.BYTES
    needed += sum(BLENDER_BYTES for blender in blenders if not environment.ready_python(blender.folder))
    if needed:
        environment.check_disk(needed, "the set-up")
        free = plan.in_words(plan.free_space())
        say(f"Set-up takes up to {plan.in_words(needed)} in {paths.cache_folder()} ({free} are free)")


def command_setup(_arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    backend, blenders = set_up(thorough=True)
    say(f"backend      {backend}")
    for blender, python in blenders.items():
        say(f"Blender {blender.version}  {python}")
    say(f"base model   {paths.base_model_folder()}")
    say(f"Set-up is complete ({time.monotonic() - started:.0f} s).")
    return 0


def command_env(_arguments: argparse.Namespace) -> int:
    """Print where the environments are, and nothing else on stdout; makes nothing."""
    backend = environment.backend_python()
    blenders = [environment.ready_python(blender.folder) for blender in BLENDERS]
    known = {
        "backend_python": str(backend) if backend else None,
        "blender_python": [str(python) for python in blenders if python],
    }
    if not backend or not known["blender_python"]:
        print("Something is not set up yet: python3 build.py setup", file=sys.stderr)
    print(json.dumps(known))
    return 0


# --- demo


def command_demo(arguments: argparse.Namespace) -> int:
    if arguments.rig and not arguments.rig.is_file():
        raise EnvironmentProblem(f"There is no rig file {arguments.rig}.")
    backend, blenders = set_up("one")
    command = [list(blenders.values())[-1], ROOT / "blender_addon" / "demo.py", "--prompt", arguments.prompt]
    for option in ("model", "seconds", "seed", "rig", "out"):
        value = getattr(arguments, option)
        if value is not None:
            command += [f"--{option}", value.resolve() if isinstance(value, Path) else value]
    with tempfile.TemporaryDirectory(prefix="momug-demo-", ignore_cleanup_errors=True) as user:
        return _run(command, _blender_variables(backend, user), cwd=ROOT)


def _blender_variables(backend: Path, user_folder: str) -> dict[str, str]:
    """Where the backend is, and a Blender user folder of its own: the artist's preferences stay untouched."""
    return {"MOMUG_BACKEND_PYTHON": str(backend), "BLENDER_USER_RESOURCES": user_folder}


def _run(command: list, variables: dict[str, str], cwd: Path, timeout: float | None = None) -> int:
    """Run a child whose output goes straight to the terminal; end it and all its children when time is up (124)."""
    child = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment.child_environment(), **variables},
        stdin=subprocess.DEVNULL,
        start_new_session=os.name != "nt",
    )
    try:
        return child.wait(timeout)
    except subprocess.TimeoutExpired:
        say(f"No end after {timeout:.0f} s: stopping {Path(str(command[0])).name} (process {child.pid})")
        return 124
    finally:  # interrupted, or told to stop
        end(child)


# --- test


def command_test(arguments: argparse.Namespace) -> int:
    backend, blenders = set_up()
    wanted = [suites.Suite("backend", "backend", backend)]
    wanted += [suites.Suite(f"Blender {blender.version}", "blender", python) for blender, python in blenders.items()]
    wanted += [suites.Suite("window", "window", backend)]
    if arguments.only == "scale":
        wanted = [suites.Suite("scale", "scale", _with_ray(backend))]
    variables = {"MOMUG_BACKEND_PYTHON": str(backend)}
    total = suites.run_all(wanted, _test_tools(backend), variables, say, arguments.only, arguments.pytest)
    if not (total.passed or total.failed):
        say("\nNo test ran.")
        total = total.plus(suites.Counts(failed=1))
    if not arguments.only:
        say("\nNot among them: tests on a Ray cluster, which take 80 MB more (python3 build.py test --only scale).")
    say(f"\n{total.line}")
    return 1 if total.failed else 0


def _test_tools(python: Path) -> Path:
    """Folder with pytest, laid over each environment for a test run: users' environments do not carry it."""
    requirements = REQUIREMENTS / "tools.txt"
    folder = paths.environment_folder("testtools", requirements.read_text(encoding="utf-8"))
    done = folder / "complete"
    with environment.set_up_lock(say):
        if not done.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            say("test tools: installing pytest")
            install = ["-m", "pip", "install", "--quiet", "--no-input", "--only-binary", ":all:", "--target", folder]
            if _run([python, *install, "-r", requirements], {}, ROOT, RUN_TIMEOUT) != 0:
                raise EnvironmentProblem("The test tools could not be installed.", "pip's own words are above.")
            done.write_text("", encoding="utf-8")
    return folder


def _with_ray(backend: Path) -> Path:
    """Python that sees the backend's environment and Ray: users' environments do not carry the extra."""
    extra = paths.REQUIREMENTS.with_name("requirements-scale.txt")
    folder = paths.environment_folder("scale", f"{backend.parents[1].name} {extra.read_text(encoding='utf-8')}")
    python, done = paths.environment_python(folder), folder / "complete"
    with environment.set_up_lock(say):
        if not done.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            say("scale: installing Ray, about 80 MB")
            made = _run([backend, "-m", "venv", folder], {}, ROOT, RUN_TIMEOUT) == 0
            if made:
                below, own = (next(place.glob("[lL]ib/**/site-packages")) for place in (backend.parents[1], folder))
                (own / "backend.pth").write_text(f"{below}\n", encoding="utf-8")
                install = ["-m", "pip", "install", "--quiet", "--no-input", "--only-binary", ":all:", "-r", extra]
                made = _run([python, *install], {}, ROOT, RUN_TIMEOUT) == 0
            if not made:
                raise EnvironmentProblem("Ray could not be installed.", "pip's own words are above.")
            done.write_text("", encoding="utf-8")
    return python


# --- bench


def command_bench(arguments: argparse.Namespace) -> int:
    backend, blenders = set_up("one")
    command = [list(blenders.values())[-1], ROOT / "tests" / "bench.py"]
    if arguments.json:
        command += ["--json", "-" if arguments.json == "-" else Path(arguments.json).resolve()]
    if arguments.only:
        command += ["--only", arguments.only]
    with tempfile.TemporaryDirectory(prefix="momug-bench-", ignore_cleanup_errors=True) as user:
        return _run(command, _blender_variables(backend, user), ROOT, BENCH_TIMEOUT)


# --- package

PACKED = (  # folder in the checkout, folder in the zip, endings; the add-on's folder is the zip's root
    ("blender_addon", "", (".py", ".toml", ".json", ".md", ".svg", ".png", ".txt")),
    ("backend", "backend", (".py", ".toml", ".json", ".md", ".txt")),
    ("checkpoints", "checkpoints", (".json", ".safetensors", ".md", ".toml")),
)
# files and folders that only serve development: the demo, and weights that only training and evaluation read
NOT_PACKED = ("blender_addon/demo.py", "checkpoints/evaluator/", "checkpoints/vq_vae/")


def command_package(_arguments: argparse.Namespace) -> int:
    manifest = (ROOT / "blender_addon" / "blender_manifest.toml").read_text(encoding="utf-8")
    version = re.search(r'^version\s*=\s*"([^"]+)"', manifest, re.MULTILINE)
    if not version:
        raise EnvironmentProblem("blender_manifest.toml has no version.")
    archive = ROOT / "dist" / f"momug-{version[1]}.zip"
    pack(ROOT, archive)
    say(f"{archive.relative_to(ROOT)}: {archive.stat().st_size / 1e6:.1f} MB")
    blenders = {blender: environment.ready_python(blender.folder) for blender in BLENDERS}
    if not any(blenders.values()):
        blenders = dict(set_up("one")[1])
    for blender, python in blenders.items():
        if python:
            validator = _validator(blender.folder)
            if _run([python, validator, "validate", archive], {}, ROOT, 300) != 0:
                raise EnvironmentProblem(f"Blender {blender.version} refuses the package; its own words are above.")
            say(f"Blender {blender.version} accepts the package.")
    return 0


def pack(root: Path, archive: Path) -> None:
    """Write the extension: the same files give the same bytes, on any machine and at any time."""
    files = {}
    for source, target, endings in PACKED:
        for file in (root / source).rglob("*"):
            inside = file.relative_to(root)
            if file.is_file() and file.suffix in endings and not inside.as_posix().startswith(NOT_PACKED):
                if any(part.startswith((".", "__pycache__")) for part in inside.parts):
                    continue
                files[(Path(target) / file.relative_to(root / source)).as_posix()] = file
    files["LICENSE"] = root / "LICENSE"
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(".part")
    with zipfile.ZipFile(part, "w") as target:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            packed = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            target.writestr(entry, files[name].read_bytes(), packed)
    os.replace(part, archive)


def _validator(folder: Path) -> Path:
    """Blender's own tool that checks extensions, inside the bpy package."""
    tool = "bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"
    for pattern in (f"lib/python*/site-packages/{tool}", f"Lib/site-packages/{tool}"):
        for file in folder.glob(pattern):
            return file
    raise EnvironmentProblem("This Blender module carries no extension validator.")


# --- wheels for a machine without internet


def command_wheels(arguments: argparse.Namespace) -> int:
    """Fill a folder with all that an installation needs, checked by SHA-256."""
    machine = arguments.machine or {"mac": "arm64"}.get(arguments.platform, "x86_64")
    target = platforms.Target(arguments.platform, machine, arguments.python)
    builds, _ = gpu.builds(target, [], "cpu")
    build = builds[0] if not arguments.cuda else gpu.cuda_build(target)
    if build is None:
        raise EnvironmentProblem(f"There is no PyTorch with CUDA for {target.label}.")
    settings = sources.pip_settings(Path(sys.executable), environment.child_environment())
    with environment.set_up_lock(say):
        made = setup.wheels(report, arguments.out.resolve(), target, build, settings)
    size = sum(file.stat().st_size for file in arguments.out.glob("*.whl"))
    say(f"{len(made.items)} wheels, {plan.in_words(size)}, for {target.label} in {arguments.out}")
    return 0


def command_lock(arguments: argparse.Namespace) -> int:
    """For developers: write backend/wheels.json anew after backend/requirements.txt was changed."""
    command = [sys.executable, REQUIREMENTS / "lock.py", arguments.uv]
    return _run([*command, arguments.wheels.resolve()] if arguments.wheels else command, {}, ROOT, RUN_TIMEOUT)


# --- the command line


def python_version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    if (int(major), int(minor)) not in BACKEND_PYTHONS:
        raise argparse.ArgumentTypeError("must be one of " + ", ".join(f"{a}.{b}" for a, b in BACKEND_PYTHONS))
    return int(major), int(minor)


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be a positive number of seconds")
    return value


def parser() -> argparse.ArgumentParser:
    door = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = door.add_subparsers(required=True, metavar="setup | demo | test | bench | env | package | wheels")
    setup = commands.add_parser("setup", help="make or repair the environments and the base model")
    setup.set_defaults(run=command_setup)
    demo = commands.add_parser("demo", help="generate, retarget and render one prompt in headless Blender")
    demo.add_argument("prompt", help="what should happen, in English")
    demo.add_argument("--model", choices=("momug", "llamo", "motiongpt"), help="which model answers (default: momug)")
    demo.add_argument("--seconds", type=positive, help="length of the clip (default: the model decides)")
    demo.add_argument("--seed", type=int, help="repeat a result, or draw another (default: 0)")
    demo.add_argument("--rig", type=Path, help="a .blend, .fbx, .glb or .bvh with an armature (default: our mannequin)")
    demo.add_argument("--out", type=Path, default=Path("out"), help="folder for the results (default: ./out)")
    demo.set_defaults(run=command_demo)
    test = commands.add_parser("test", help="run every test; arguments after -- go to pytest")
    folders = ("unit", "protocol", "backend", "blender", "gui", "scale")
    test.add_argument("--only", choices=folders, help="one folder of tests; scale, a Ray cluster, is run only so")
    test.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    test.set_defaults(run=command_test)
    bench = commands.add_parser("bench", help="measure the promised times on this computer")
    bench.add_argument("--json", nargs="?", const="-", metavar="FILE", help="the rows as JSON, there or on the screen")
    bench.add_argument("--only", choices=("backend", "blender"), help="only the rows of one side")
    bench.set_defaults(run=command_bench)
    commands.add_parser("env", help="print the environments' interpreters as JSON").set_defaults(run=command_env)
    commands.add_parser("package", help="build and validate the extension's zip").set_defaults(run=command_package)
    wheels = commands.add_parser("wheels", help="fill a folder for an installation on a machine without internet")
    wheels.add_argument("--out", type=Path, required=True, help="folder for the wheels")
    here = platforms.this_computer()
    wheels.add_argument("--platform", choices=("win", "mac", "linux"), default=here.system, help="default: this one")
    wheels.add_argument("--machine", choices=("x86_64", "arm64"), help="default: arm64 for mac, x86_64 otherwise")
    wheels.add_argument("--python", type=python_version, default=(3, 11), help="3.11 (default), 3.12 or 3.13")
    wheels.add_argument("--cuda", action="store_true", help="PyTorch with CUDA 13, for NVIDIA cards")
    wheels.set_defaults(run=command_wheels)
    lock = commands.add_parser("lock", help="for developers: write backend/wheels.json anew")
    lock.add_argument("--uv", default="uv", help="the program uv")
    lock.add_argument("--wheels", type=Path, help="folder with wheels that no general index has")
    lock.set_defaults(run=command_lock)
    return door


def main(words: list[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    try:
        return arguments.run(arguments)
    except EnvironmentProblem as problem:
        print(f"{problem.message}\n{problem.hint}".strip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to go on.", file=sys.stderr)
        return 130


def end_when_told() -> None:
    """Let SIGTERM end the children as well: they lead groups of their own, and nobody else knows them."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


if __name__ == "__main__":
    end_when_told()
    sys.exit(main())
