"""Pythons on this computer to make environments with, on Windows, macOS and Linux. Standard library only.

Every candidate is run, not believed: version managers put commands on PATH that refuse to start, and some systems put
a stub there that opens a shop (Windows) or offers developer tools (macOS). Stubs are known by where they lie and are
never started.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .environment import child_environment, no_window, paths
from .problems import NotOffered

BACKEND_PYTHONS = ((3, 11), (3, 12), (3, 13))


def find_python(versions: tuple[tuple[int, int], ...] = BACKEND_PYTHONS) -> Path:
    """The first working interpreter of one of ``versions``, in their order. Raises NotOffered that says where it
    looked."""
    refused: list[str] = []
    tried: set[str] = set()
    for version in versions:
        for candidate in candidates(version):
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
    raise NotOffered(
        f"Python {wanted} is needed and was not found; looked at {_looked()}.",
        ("Tried: " + "; ".join(refused) + ". " if refused else "")
        + "Let MoMug fetch one, or install one (python.org, your system's packages, or pyenv) and try again.",
        "no_python",
    )


def _looked() -> str:
    more = {
        "win32": "the py launcher, the registry, %LOCALAPPDATA%\\Programs",
        "darwin": "python.org's framework, Homebrew",
    }.get(sys.platform, "/usr/bin, /usr/local/bin")
    return f"this interpreter, PATH, pyenv's and uv's versions, {more}"


def candidates(version: tuple[int, int]) -> list[list[str]]:
    """Commands that may start that Python, the likeliest first."""
    text = f"{version[0]}.{version[1]}"
    found = []
    # a Python of Blender's own is only the last resort: it goes away with the next version of Blender
    own = [[sys.executable]] if sys.version_info[:2] == version else []
    if own and not of_blender(Path(sys.executable)):
        found += own
    suffix = ".exe" if sys.platform == "win32" else ""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for name in (f"python{text}", "python3", "python"):
            file = Path(folder) / (name + suffix)
            if folder and not is_stub(file) and file.is_file():
                found.append([str(file)])
    for folder, pattern in _known_places(text):
        found += [[str(file)] for file in sorted(folder.glob(pattern), reverse=True)]
    if sys.platform == "win32":
        found += [[path] for path in _registered(text)]
        if launcher := shutil.which("py"):
            found.append([launcher, f"-{text}"])
    return found + own


def _known_places(text: str) -> list[tuple[Path, str]]:
    """Folders where installers and version managers put Python ``text`` ("3.11"), with the pattern inside."""
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv")
    ours = paths.cache_folder() / "python"  # what uv brought for us
    places = [
        (ours, f"cpython-{text}*/bin/python{text}"),
        (ours, f"cpython-{text}*/python.exe"),
        (pyenv / "versions", f"{text}*/bin/python"),
    ]
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
        roaming = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
        number = text.replace(".", "")
        places += [
            (home / ".pyenv" / "pyenv-win" / "versions", f"{text}*/python.exe"),
            (roaming / "uv" / "python", f"cpython-{text}*/python.exe"),
            (local / "Programs" / "Python", f"Python{number}/python.exe"),
            (local / "Python", f"pythoncore-{text}*/python.exe"),  # the new install manager
        ]
        for variable in ("ProgramFiles", "SystemDrive"):
            if root := os.environ.get(variable):
                places.append((Path(root + os.sep), f"Python{number}/python.exe"))
        return places
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    places.append((data / "uv" / "python", f"cpython-{text}*/bin/python{text}"))
    if sys.platform == "darwin":
        # Blender started from the Finder sees none of these on PATH
        places += [
            (Path("/Library/Frameworks/Python.framework/Versions"), f"{text}/bin/python{text}"),
            (Path("/opt/homebrew/opt"), f"python@{text}/bin/python{text}"),
            (Path("/usr/local/opt"), f"python@{text}/bin/python{text}"),
            (Path("/opt/local/bin"), f"python{text}"),
        ]
    places += [(Path("/usr/local/bin"), f"python{text}"), (Path("/usr/bin"), f"python{text}")]
    return places


def is_stub(file: Path) -> bool:
    """Is this a command that only offers to install a Python? Starting it would open a window."""
    parts = [part.lower() for part in file.parts]
    if sys.platform == "win32":  # aliases of the Microsoft Store; a real one of them is found by the py launcher
        return "windowsapps" in parts
    if sys.platform == "darwin" and file.parent == Path("/usr/bin"):  # opens the dialog of the developer tools
        tools = ("/Library/Developer/CommandLineTools/usr/bin", "/Applications/Xcode.app/Contents/Developer/usr/bin")
        return not any(Path(folder, "python3").exists() for folder in tools)
    return False


def of_blender(python: Path) -> bool:
    """Does this interpreter belong to a Blender? It may be used, never written to, and goes with that Blender."""
    parts = [part.lower() for part in python.parts]
    return any(part.startswith("blender") for part in parts) or (
        len(parts) > 3 and parts[-2] == "bin" and parts[-3] == "python" and parts[-4][:1].isdigit()
    )


def _registered(text: str) -> list[str]:
    """Pythons that installers have written into Windows' registry (PEP 514)."""
    import winreg

    found = []
    for root in (winreg.HKEY_CURRENT_USER, winreg.HKEY_LOCAL_MACHINE):
        try:
            with winreg.OpenKey(root, rf"Software\Python\PythonCore\{text}\InstallPath") as key:
                try:
                    found.append(winreg.QueryValueEx(key, "ExecutablePath")[0])
                except OSError:  # older installers name only the folder
                    found.append(str(Path(winreg.QueryValue(key, None)) / "python.exe"))
        except OSError:
            continue  # not registered there
    return [path for path in found if Path(path).is_file() and not is_stub(Path(path))]


def _probe(candidate: list[str], version: tuple[int, int]) -> tuple[Path | None, str]:
    """Run a candidate. Returns its path, or None and why not ('' for merely another version)."""
    code = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable); print(sys.maxsize < 2**32); "
    code += "import ssl, venv, ensurepip"
    try:
        done = subprocess.run(
            [*candidate, "-c", code],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=30,
            env=child_environment(),
            **no_window(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, "does not start"
    lines = done.stdout.splitlines()
    if len(lines) < 2:
        return None, "does not start"
    if lines[0] != f"{version[0]}.{version[1]}":
        return None, ""
    if lines[2:] == ["True"]:
        return None, "is for 32 bits, and PyTorch needs 64"
    return (Path(lines[1]), "") if done.returncode == 0 else (None, "lacks venv, ensurepip or ssl")
