"""The wheels of a plan, brought to this computer and verified. Standard library only."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import plan, sources
from .download import digest, fetch
from .environment import downloads_folder
from .platforms import Target
from .problems import EnvironmentProblem, NotOffered
from .sources import Found, Sources

Report = Callable[..., None]


def missing_wheels(folder: Path, names: list[str], target: Target) -> EnvironmentProblem:
    """The problem of a folder that lacks ``names`` for ``target``: incomplete, or made for another computer."""
    made_for = [one.label for one in sources.made_for(folder)]
    if made_for and target.label not in made_for:
        return EnvironmentProblem(
            f"The wheels in {folder} are for {' or '.join(made_for)}; this is {target.label}.",
            f"Make the folder again on a computer with internet: {_command(target)}.",
            "missing_wheels",
        )
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return EnvironmentProblem(
        f"Wheels are missing in {folder}: {shown}.",
        f"Make the folder again on a computer with internet: {_command(target)}.",
        "missing_wheels",
    )


def _command(target: Target) -> str:
    python = ".".join(map(str, target.python))
    where = f"--platform {target.system} --machine {target.machine} --python {python}"
    return f"python3 build.py wheels --out FOLDER {where}"


def bring(made: plan.Plan, places: Sources, report: Report, name: str) -> list[tuple[plan.Item, Path]]:
    """Every wheel of a plan on this computer, verified: where it lies already, or downloaded and resumable."""
    folder = downloads_folder()
    folder.mkdir(parents=True, exist_ok=True)
    report("locate", 0, len(made.items), text=f"{name}: looking for the packages ({len(made.items)})")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda item: _locate(item, made.target, places, folder), made.items))
    for item, wheel in zip(made.items, found, strict=True):
        if wheel is None:
            raise NotOffered(
                f"{item.name} {item.version} is not offered for {made.target.label}.",
                f"Looked at {', '.join(places.names())}.",
                "not_offered",
            )
    total = sum(wheel.size or item.size for item, wheel in zip(made.items, found, strict=True) if not wheel.path)
    if total:
        report("download", 0, total, text=f"{name}: downloading {plan.in_words(total)}")
    wheels, before = [], 0
    for item, wheel in zip(made.items, found, strict=True):
        wanted = item.sha256 if wheel.filename == item.filename else wheel.sha256
        if wheel.path:
            if wanted and digest(wheel.path) != wanted:
                if wheel.path.parent != folder:
                    raise EnvironmentProblem(
                        f"The file {wheel.path.name} is damaged, or another one (its SHA-256 differs).",
                        f"Copy it into {wheel.path.parent} again.",
                        "wrong_hash",
                    )
                wheel.path.unlink()
                return bring(made, places, report, name)
            wheels.append((item, wheel.path))
            continue
        size = wheel.size or item.size
        if size > 10_000_000:
            report("download", before, total, text=f"{name}: downloading {wheel.filename} ({plan.in_words(size)})")
        file = folder / wheel.filename

        def on_bytes(here: int, before: int = before, item: plan.Item = item) -> None:
            report("download", before + here, total, label=item.name)

        fetch(wheel.url, file, wanted, on_bytes, places.opener, timeout=places.settings.timeout)
        before += file.stat().st_size
        wheels.append((item, file))
    return wheels


def _locate(item: plan.Item, target: Target, places: Sources, folder: Path) -> Found | None:
    if item.filename and (folder / item.filename).is_file():
        return Found(item.filename, path=folder / item.filename, size=item.size, sha256=item.sha256)
    found = places.find(item.name, item.version, target)
    if found is None and item.index and places.settings.indexes:
        found = places.find(item.name, item.version, target, item.index)
    if found and not found.path and (folder / found.filename).is_file():
        return Found(found.filename, path=folder / found.filename, size=found.size, sha256=found.sha256)
    if found and not found.path and not found.size and not item.size:
        return dataclasses.replace(found, size=places.size(found))
    return found
