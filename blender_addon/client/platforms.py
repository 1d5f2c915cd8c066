"""Which built package suits which computer: the tags in a wheel's name (PEP 425, 600, 656). Standard library only."""

import platform
import re
import sys
from dataclasses import dataclass

SYSTEMS = {"win32": "win", "darwin": "mac", "linux": "linux"}
_MACHINES = {"amd64": "x86_64", "x64": "x86_64", "aarch64": "arm64"}
_OLD_MANYLINUX = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


@dataclass(frozen=True)
class Target:
    """A computer with a Python. ``system``: "win", "mac" or "linux"; ``machine``: "x86_64" or "arm64"; ``python``:
    (major, minor); ``newest``: the version of glibc or macOS, which bounds what runs there."""

    system: str
    machine: str
    python: tuple[int, int]
    newest: tuple[int, int] = (99, 99)

    @property
    def label(self) -> str:
        name = {"win": "Windows", "mac": "macOS", "linux": "Linux"}.get(self.system, self.system)
        return f"{name} {self.machine}, Python {self.python[0]}.{self.python[1]}"


def this_computer(python: tuple[int, int] | None = None, machine: str = "") -> Target:
    """This computer with a Python of that version for that ``machine`` (default: the one that runs)."""
    system = SYSTEMS.get(sys.platform, sys.platform)
    machine = (machine or platform.machine()).lower()
    newest = (99, 99)
    if system == "linux":
        library, version = platform.libc_ver()
        newest = _pair(version) if library == "glibc" else (0, 0)  # musl: no wheel of ours is made for it
    elif system == "mac":
        newest = _pair(platform.mac_ver()[0])
    return Target(system, _MACHINES.get(machine, machine), python or sys.version_info[:2], newest)


def path_limit() -> int | None:
    """How many letters a path may have; None where nobody has to care. Windows allows 259 until an administrator
    switches on long paths."""
    if sys.platform != "win32":
        return None
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            if winreg.QueryValueEx(key, "LongPathsEnabled")[0] == 1:
                return None
    except OSError:
        return 259  # a Windows that does not know the setting
    return 259


def _pair(version: str) -> tuple[int, int]:
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    return (*numbers, 0, 0)[:2] if numbers else (99, 99)


def normal(name: str) -> str:
    """A project's name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def split(filename: str) -> tuple[str, str] | None:
    """(normal name, version) of a wheel's file name; None when it is no wheel."""
    parts = filename[:-4].split("-")
    if not filename.endswith(".whl") or len(parts) not in (5, 6):
        return None
    return normal(parts[0]), parts[1]


def made_for(filename: str) -> Target | None:
    """The computer that a wheel with compiled code for one version of Python is made for; None for all others."""
    tags = "-".join(filename.removesuffix(".whl").split("-")[-3:])
    systems = r"(win|macosx|manylinux|linux)\w*?_(x86_64|amd64|arm64|aarch64|universal2)"
    found = re.fullmatch(rf"cp3(\d+)-cp3\1-{systems}(\.\S+)?", tags)
    if found is None:
        return None
    system = {"macosx": "mac", "manylinux": "linux"}.get(found[2], found[2])
    machine = {**_MACHINES, "universal2": "arm64"}.get(found[3], found[3])
    return Target(system, machine, (3, int(found[1])))


def rank(filename: str, target: Target) -> tuple[int, int, int] | None:
    """How well a wheel suits: the smaller the better, None when it does not."""
    if split(filename) is None:
        return None
    pythons, abis, platforms = filename[:-4].split("-")[-3:]
    ranks = [
        (by_python, *by_platform)
        for python in pythons.split(".")
        for abi in abis.split(".")
        for system in platforms.split(".")
        if (by_python := _python_rank(python, abi, target.python)) is not None
        and (by_platform := _platform_rank(system, target)) is not None
    ]
    return min(ranks, default=None)


def _python_rank(python: str, abi: str, wanted: tuple[int, int]) -> int | None:
    found = re.fullmatch(r"(cp|py)(\d)(\d*)", python)
    if not found or int(found[2]) != wanted[0]:
        return None
    minor = int(found[3]) if found[3] else 0
    if found[1] == "cp":
        if abi == "abi3":
            return 1 + wanted[1] - minor if minor <= wanted[1] else None
        if minor == wanted[1] and abi in (f"cp{wanted[0]}{wanted[1]}", "none"):
            return 0 if abi != "none" else 50
        return None
    return 100 + wanted[1] - minor if abi == "none" and minor <= wanted[1] else None


def _platform_rank(tag: str, target: Target) -> tuple[int, int] | None:
    if tag == "any":
        return (9, 0)
    machines = {"x86_64": ("x86_64", "amd64"), "arm64": ("arm64", "aarch64")}.get(target.machine, (target.machine,))
    if target.system == "win":
        return (0, 0) if tag.startswith("win") and tag[4:] in machines else None
    if target.system == "mac":
        found = re.fullmatch(r"macosx_(\d+)_(\d+)_(\w+)", tag)
        if not found or found[3] not in (*machines, "universal2"):
            return None
        version = (int(found[1]), int(found[2]))
    else:
        found = re.fullmatch(r"(manylinux_(\d+)_(\d+)|manylinux\d+|linux)_(\w+)", tag)
        if not found or found[4] not in machines:
            return None
        version = (int(found[2]), int(found[3])) if found[2] else _OLD_MANYLINUX.get(found[1], (2, 0))
    return (0, -100 * version[0] - version[1]) if version <= target.newest else None
