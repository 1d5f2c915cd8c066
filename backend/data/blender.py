"""Clips that only Blender reads (GLB, FBX): converted by the add-on's own capture code in a Blender of its own.

The backend knows no Blender: it starts ``convert.py`` of the add-on, which lies beside it, with the interpreter it is
told, and reads the npz files that come out. These stay in the user's cache, under the hash of file, animation and
converter, so that the next build is fast.
"""

import hashlib
import json
import logging
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

from backend import paths
from backend.errors import BackendError

FORMATS = {"glb", "gltf", "fbx"}
VARIABLE = "MOMUG_BLENDER_PYTHON"
MINUTES = 60
log = logging.getLogger(__name__)


def interpreter(told: str | Path | None = None) -> Path | None:
    """The Python with ``bpy``, or the Blender, that converts clips: as told, else by the environment variable.

    Raises BackendError('bad_request') when it is told but not there.
    """
    named = told or os.environ.get(VARIABLE)
    if not named:
        return None
    path = Path(named).expanduser()
    if not path.is_file():
        raise BackendError("bad_request", f"There is no Blender Python at {path}.")
    return path


def script() -> Path:
    """The add-on's converter: in ``blender_addon`` of a checkout, beside ``backend`` in the packaged extension."""
    root = paths.BACKEND_FOLDER.parent
    found = [path for path in (root / "blender_addon" / "convert.py", root / "convert.py") if path.is_file()]
    if not found:
        raise BackendError("bad_request", "The add-on that reads GLB and FBX clips is not beside the backend.")
    return found[0]


def command(python: Path, jobs: Path) -> list[str]:
    """What runs the converter: a Python, or Blender itself by its name."""
    if python.stem.lower().startswith("blender"):
        start = [str(python), "--background", "--factory-startup", "--python", str(script()), "--"]
    else:
        start = [str(python), str(script())]
    return [*start, "--jobs", str(jobs)]


def convert(
    clips: list[tuple[str, Path, str | None]], python: Path, progress: Callable[[str], None] = print
) -> tuple[dict[str, Path], dict[str, str]]:
    """Clips (id, file, animation or None) as npz files: ({id: npz}, {id: why there is none}).

    What the cache holds is not converted again. Raises BackendError when the converter cannot be started.
    """
    folder = paths.cache_folder() / "converted"
    folder.mkdir(parents=True, exist_ok=True)
    done: dict[str, Path] = {}
    failed: dict[str, str] = {}
    jobs = []
    for name, file, animation in clips:
        try:
            out = folder / f"{_key(file, animation)}.npz"
        except OSError as error:
            failed[name] = f"{file.name}: {error.strerror}."
            continue
        done[name] = out
        if not out.is_file():
            jobs.append({"id": name, "file": str(file), "animation": animation, "out": str(out)})
    if jobs:
        progress(f"{len(jobs)} clips go through Blender")
        answers = _run(jobs, python, progress)
        for job in jobs:
            if "error" in (answer := answers.get(job["id"], {"error": "Blender ended before this clip."})):
                failed[job["id"]] = answer["error"]
                done.pop(job["id"], None)
    return done, failed


def _run(jobs: list[dict], python: Path, progress: Callable[[str], None]) -> dict[str, dict]:
    """What the converter answers for each job. Every clip is in the cache as soon as it is done."""
    answers: dict[str, dict] = {}
    with tempfile.TemporaryDirectory(prefix="momug-") as folder:
        # written whole or not at all: the cache must never hold half a file
        parts = {job["id"]: Path(folder) / f"{i}.npz" for i, job in enumerate(jobs)}
        targets = {job["id"]: Path(job["out"]) for job in jobs}
        table, said = Path(folder) / "jobs.json", Path(folder) / "stderr.txt"
        table.write_text(json.dumps({"clips": [j | {"out": str(parts[j["id"]])} for j in jobs]}), encoding="utf-8")
        try:
            with open(said, "w", encoding="utf-8") as errors:
                run = subprocess.Popen(
                    command(python, table), stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8",
                    errors="replace", stdin=subprocess.DEVNULL,
                )  # fmt: skip
        except OSError as error:
            raise BackendError("bad_request", f"{python} could not convert the clips ({error}).") from error
        limit = threading.Timer(60 * MINUTES, run.kill)
        limit.start()
        try:
            for line in run.stdout or ():
                if line.startswith("{"):  # Blender's own words may stand between
                    answer = json.loads(line)
                    answers[answer["id"]] = answer
                    if "frames" in answer:
                        _move(parts[answer["id"]], targets[answer["id"]])
                    if len(answers) % 50 == 0:
                        progress(f"through Blender: {len(answers)}/{len(jobs)}")
            run.wait()
        finally:
            limit.cancel()
            if run.poll() is None:  # this build was interrupted
                run.kill()
                run.wait()
        words = said.read_text(encoding="utf-8", errors="replace")
        if run.returncode or not answers:
            log.warning("The converter ended with code %d: %s", run.returncode, words.strip()[-2000:])
        if not answers:
            raise BackendError("bad_request", f"{python} could not convert the clips: {_last_line(words)}.")
    return answers


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1].rstrip(".")


def _move(source: Path, target: Path) -> None:
    # the temporary folder may lie on another disk, so the rename that makes the file appear happens in the cache
    part = target.with_suffix(".part")
    part.write_bytes(source.read_bytes())
    part.replace(target)


def _key(file: Path, animation: str | None) -> str:
    text = f"{_file_hash(file)} {animation!r} {_converter_hash()}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@cache
def _file_hash(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@cache
def _converter_hash() -> str:
    """Hash of the code that a converted clip depends on."""
    folder = script().parent
    found = [script(), *(p for part in ("rig", "retarget", "scene") for p in sorted((folder / part).rglob("*")))]
    digest = hashlib.sha256()
    for path in found:
        if path.suffix in (".py", ".json"):
            digest.update(path.read_bytes())
    return digest.hexdigest()
