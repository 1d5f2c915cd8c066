"""Pythons of a wanted version on this computer, to make environments with. Standard library only."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .environment import NotOffered, child_environment


def find_python(versions: tuple[tuple[int, int], ...]) -> Path:
    """The first working interpreter of one of ``versions``, in their order. Each candidate is run, not believed:
    version managers put commands on PATH that refuse to start. Raises NotOffered that says where it looked."""
    refused: list[str] = []
    tried: set[str] = set()
    for version in versions:
        for candidate in _candidates(version):
            key = f"{version} {candidate}"
            if key in tried:
                continue
            tried.add(key)
            path, reason = _probe(candidate, version)
            if path:
                return path
            if reason:
                refused.append(f"{' '.join(candidate)} ({reason})")
    wanted = " or ".join(f"{major}.{minor}" for major, minor in versions)
    looked = "this interpreter, PATH, pyenv's and uv's versions" + (", the py launcher" if os.name == "nt" else "")
    raise NotOffered(
        f"Python {wanted} is needed and was not found; looked at {looked}.",
        ("Tried: " + "; ".join(refused) + ". " if refused else "")
        + "Install one of them (python.org, your system's packages, or pyenv) and run this again.",
    )


def _candidates(version: tuple[int, int]) -> list[list[str]]:
    text = f"{version[0]}.{version[1]}"
    found = [[sys.executable]] if sys.version_info[:2] == version else []
    suffix = ".exe" if os.name == "nt" else ""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for name in (f"python{text}", "python3", "python"):
            file = Path(folder) / (name + suffix)
            if folder and file.is_file():
                found.append([str(file)])
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv")
    uv = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "uv" / "python"
    windows = Path(os.environ.get("LOCALAPPDATA") or home) / "Programs" / "Python"
    patterns = (
        (pyenv / "versions", f"{text}*/bin/python"),
        (pyenv / "pyenv-win" / "versions", f"{text}*/python.exe"),
        (uv, f"cpython-{text}*/bin/python{text}"),
        (windows, f"Python{text.replace('.', '')}/python.exe"),
        (Path("/Library/Frameworks/Python.framework/Versions"), f"{text}/bin/python{text}"),
    )
    for folder, pattern in patterns:
        found += [[str(file)] for file in sorted(folder.glob(pattern), reverse=True)]
    if os.name == "nt" and shutil.which("py"):
        found.append(["py", f"-{text}"])
    return found


def _probe(candidate: list[str], version: tuple[int, int]) -> tuple[Path | None, str]:
    """Run a candidate. Returns its path, or None and why not ('' for merely another version)."""
    code = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable); import ssl, venv, ensurepip"
    try:
        done = subprocess.run(
            [*candidate, "-c", code], capture_output=True, text=True, timeout=30, env=child_environment()
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, "does not start"
    lines = done.stdout.splitlines()
    if len(lines) < 2:
        return None, "does not start"
    if lines[0] != f"{version[0]}.{version[1]}":
        return None, ""
    return (Path(lines[1]), "") if done.returncode == 0 else (None, "lacks venv, ensurepip or ssl")
