"""Which build of PyTorch suits this computer: asked of the graphics driver, never of a table of cards.

Standard library only. CUDA 13 runs on drivers from 580 on and on cards from compute capability 7.5 on (NVIDIA's
release notes of CUDA 13.0); whoever has less gets the CPU build and is told why.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .platforms import Target

OLDEST_DRIVER = 580
OLDEST_CARD = 7.5
CPU, CUDA, DEFAULT = "cpu", "cuda", "default"
# PyTorch's own index carries the builds that the general one does not: CPU for Linux, CUDA for Windows
PYTORCH = {CPU: "https://download.pytorch.org/whl/cpu", CUDA: "https://download.pytorch.org/whl/cu130"}


class Card(NamedTuple):
    """An NVIDIA graphics card as its driver describes it; memory in bytes."""

    name: str
    driver: str
    capability: float
    memory: int

    @property
    def driver_number(self) -> int:
        found = re.match(r"\d+", self.driver)
        return int(found[0]) if found else 0


class Build(NamedTuple):
    """A build of PyTorch. ``index`` is an index of its own or "" for the usual one; ``suffix`` the version's local
    part that asks for it; ``cuda`` whether NVIDIA's packages come along from the usual index."""

    kind: str
    label: str
    index: str = ""
    suffix: str = ""
    cuda: bool = False


def cards(run: Callable[..., subprocess.CompletedProcess] = subprocess.run) -> list[Card]:
    """The NVIDIA cards that the driver's own tool lists; empty without a card, a driver or the tool."""
    tool = _tool()
    options = {"creationflags": subprocess.CREATE_NO_WINDOW} if os.name == "nt" else {}
    # drivers before 510 do not know compute_cap and refuse the whole question
    for capability in ("compute_cap", "index") if tool else ():
        command = [tool, f"--query-gpu=name,driver_version,{capability},memory.total", "--format=csv,noheader,nounits"]
        try:
            done = run(command, capture_output=True, text=True, errors="replace", timeout=20, **options)
        except (OSError, subprocess.TimeoutExpired):
            return []
        if done.returncode == 0:
            found = parse(done.stdout)
            return found if capability == "compute_cap" else [card._replace(capability=0.0) for card in found]
    return []


def _tool() -> str | None:
    if found := shutil.which("nvidia-smi"):
        return found
    for variable, inside in (
        ("SystemRoot", "System32/nvidia-smi.exe"),
        ("ProgramFiles", "NVIDIA Corporation/NVSMI/nvidia-smi.exe"),  # where old drivers put it
    ):
        root = os.environ.get(variable, "")
        if root and Path(root, inside).is_file():
            return str(Path(root, inside))
    return None


def parse(text: str) -> list[Card]:
    """The lines of nvidia-smi, less what is not a card."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.rsplit(",", 3)]
        if len(parts) == 4 and re.match(r"\d+\.", parts[1]):
            number = re.fullmatch(r"\d+(\.\d+)?", parts[2])
            memory = int(parts[3]) << 20 if parts[3].isdigit() else 0
            found.append(Card(parts[0], parts[1], float(parts[2]) if number else 0.0, memory))
    return found


def builds(target: Target, found: list[Card], device: str = "auto") -> tuple[list[Build], str]:
    """The builds to try, best first, and a sentence that says why; the last one needs no graphics card.

    ``device`` "cpu" asks for no CUDA. A build that does not import is followed by the next.
    """
    cuda, why = _cuda_fits(target, found, device)
    if target.system == "linux":
        general = Build(DEFAULT, "PyTorch with CUDA 13", cuda=True)
        cpu = Build(CPU, "PyTorch for the CPU", PYTORCH[CPU], "+cpu")
        return ([general, cpu] if cuda else [cpu, general]), why
    general = Build(DEFAULT, "PyTorch for the CPU" if target.system == "win" else "PyTorch for macOS")
    if target.system == "win" and cuda:
        return [Build(CUDA, "PyTorch with CUDA 13", PYTORCH[CUDA], "+cu130"), general], why
    return [general], why


def cuda_build(target: Target) -> Build | None:
    """The build for a computer with a new enough NVIDIA card, whatever this one has; None where there is none."""
    card = Card("", str(OLDEST_DRIVER), OLDEST_CARD, 0)
    build = builds(target, [card])[0][0]
    return build if build.cuda or build.kind == CUDA else None


def _cuda_fits(target: Target, found: list[Card], device: str) -> tuple[bool, str]:
    if target.system == "mac":
        return False, "On a Mac the model runs on the CPU."
    if device == "cpu":
        return False, "The CPU is chosen in the preferences."
    if target.machine != "x86_64" and target.system == "win":
        return False, "On Windows with ARM the model runs on the CPU."
    if not found:
        return False, "There is no NVIDIA card with a working driver: the model runs on the CPU."
    card = max(found, key=lambda one: one.capability)
    if card.driver_number < OLDEST_DRIVER:
        return False, (
            f"The driver of {card.name} is {card.driver}, and CUDA 13 needs {OLDEST_DRIVER} or newer: the model runs "
            "on the CPU. Update the driver and press Repair to use the card."
        )
    if card.capability < OLDEST_CARD:
        return False, f"{card.name} is too old for CUDA 13: the model runs on the CPU."
    return True, f"{card.name} with driver {card.driver}."
