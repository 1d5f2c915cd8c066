"""A Python for the model where this computer has none that fits: uv, a package of the index, brings one.

It lies in our cache and changes nothing else: no PATH, no registry, no other Python. Standard library only.
"""

import os
import shutil
import sys
import zipfile
from pathlib import Path

from . import gpu, plan, sources
from .environment import EnvironmentProblem, child_environment, log_file, no_window, paths
from .fetching import Report, bring
from .platforms import this_computer
from .problems import explain, from_error
from .running import run

VERSION = "3.11"


def fetch_python(runner: Path, report: Report) -> None:
    """Fetch uv with the index settings of ``runner``'s pip, and a Python with uv. Raises EnvironmentProblem."""
    log = log_file("setup-python")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    target = this_computer()
    items = [plan.item(entry, entry["name"], entry["version"], target) for entry in plan.table()["tools"]]
    made = plan.Plan(target, gpu.Build(gpu.DEFAULT, ""), "", items)
    places = sources.Sources(sources.pip_settings(runner, child_environment(), no_window()))
    try:
        wheel = bring(made, places, report, "uv")[0][1]
        tool = _unpack(wheel, paths.cache_folder() / "uv")
    except OSError as error:
        raise from_error(error, "Python for the model", paths.cache_folder(), log) from error
    report("python", text=f"Python {VERSION}: downloading with uv")
    command = [tool, "python", "install", VERSION, "--install-dir", paths.cache_folder() / "python", "--no-bin"]
    command += ["--no-registry", "--no-config"] if sys.platform == "win32" else ["--no-config"]
    code, output = run(command, log, UV_CACHE_DIR=str(paths.cache_folder() / "uv" / "cache"))
    if code != 0:
        problem = explain(output, "Python for the model", paths.cache_folder(), log)
        if problem.code == "no_network":  # it asks another server than the package index
            problem.message = "The server that it fetches Pythons from does not answer."
        raise EnvironmentProblem(
            f"No Python could be fetched with uv. {problem.message}",
            "Install Python 3.11, 3.12 or 3.13 yourself (python.org), and press Install again.",
            problem.code,
        )


def _unpack(wheel: Path, folder: Path) -> Path:
    """The uv program out of its wheel, and nothing else."""
    name = "uv.exe" if os.name == "nt" else "uv"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        member = next((entry for entry in archive.namelist() if entry.endswith(f".data/scripts/{name}")), None)
        if member is None:
            raise EnvironmentProblem(f"{wheel.name} does not hold the program uv.")
        with archive.open(member) as source, open(folder / name, "wb") as target:
            shutil.copyfileobj(source, target)
    (folder / name).chmod(0o755)
    return folder / name
