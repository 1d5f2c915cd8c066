"""Rows of ``bench.py`` that ask the real backend over the pipe: starts, motions, streams, captions, memory."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 1800.0
PROMPT, SEED = "a person walks forward", 1
READY, CAPTION, MEMORY = 3.0, 1.5, 1200.0  # the targets on two cores: seconds, and MB
CLIP = {"momug": 2.0, "motiongpt": 3.0}  # seconds for ten
STREAM = {"llamo": (0.5, 45.0)}  # seconds until the first frame, frames a second; others just have to keep up


class Backend:
    """A session, and what its process used of the processor and of memory."""

    def __init__(self, python: Path, log: Path, times: int = 2):
        from blender_addon.client import Session, backend_command

        command, env = backend_command(python)
        limits = {"hello_timeout": PATIENCE, "hang_timeout": PATIENCE, "cancel_timeout": PATIENCE}
        self.session, self.times = Session(command, env, log, **limits), times

    def start(self) -> float:
        began = time.perf_counter()
        if not self.session.wait_ready(PATIENCE):
            raise RuntimeError(self.session.failure.message if self.session.failure else "no answer in time")
        return time.perf_counter() - began

    def done(self, kind: str, fields: dict | None = None, arrays: dict | None = None):
        job = self.session.submit(kind, fields, arrays)
        if not job.wait(PATIENCE) or job.state != "done":
            raise RuntimeError(job.error or "no answer in time")
        return job

    def timed(self, kind: str, fields: dict, arrays: dict | None = None):
        """(job, wall seconds, processor seconds or None) of the fastest of several."""
        found = []
        for _ in range(self.times):
            began, worked = time.perf_counter(), self.worked()
            job = self.done(kind, fields, arrays)
            spent = None if worked is None else self.worked() - worked
            found.append((time.perf_counter() - began, spent, job))
        wall, spent, job = min(found, key=lambda one: one[0])
        return job, wall, spent

    @property
    def pid(self) -> int:
        return self.session._link.process.pid

    def worked(self) -> float | None:
        """Processor seconds of the process so far; None where the system does not say."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> dict[str, float]:
        """MB that the process holds (VmRSS), held at most (VmHWM), and of it what it alone holds (RssAnon)."""
        try:
            text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return {}
        lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        return {name: int(lines[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM", "RssAnon")}


def forget_files(folders: list[Path]) -> None:
    """Ask the system to drop the files in these folders from memory; what somebody uses stays."""
    for folder in folders:
        for path in folder.rglob("*") if hasattr(os, "posix_fadvise") else ():
            if path.is_file() and path.stat().st_size > 1 << 16:
                descriptor = os.open(path, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)


def of_processor(spent: float | None) -> str:
    return "" if spent is None else f"{spent:.2f} s of the processor"


def rows(table, python: Path, log: Path, times: int = 2) -> None:
    """Everything that is asked over the pipe, ``times`` times, for every model that is installed."""
    backend = Backend(python, log, times)
    try:
        backend.start()
        known = backend.session.capabilities["models"]
        for model in known:
            if not model["available"]:
                table.add(f"{model['name']}: load, generate, caption, stream", None, None, model["reason"])
        usable = [model for model in known if model["available"]]
        for number, model in enumerate(usable):
            try:
                _starts(table, backend, python, model, cold=number == 0)
                _motions(table, backend, model)
                _stream(table, backend, model)
            except RuntimeError as error:  # the other models are asked all the same
                table.add(f"{model['name']}: what is missing of it", None, None, str(error))
        if not any(model.get("streams") for model in usable):
            table.add("stream: frames a second, first frame", None, None, "no model that streams is installed")
    except RuntimeError as error:
        table.add("backend", None, None, str(error))
    finally:
        backend.session.close()
    for model in usable if "usable" in locals() else ():
        _limits(table, python, model["name"], times)


def _starts(table, backend: Backend, python: Path, model: dict, cold: bool) -> None:
    from blender_addon.client import environment

    name = model["name"]
    if cold:
        backend.session.close()
        site = [
            python.parent.parent / "lib",
            environment.paths.base_model_folder(),
            environment.paths.checkpoints_folder(),
        ]
        forget_files(site)
        began = time.perf_counter()
        backend.start()
        backend.done("load", {"model": name})
        note = "files dropped from memory first, as far as nobody uses them"
        table.add(f"{name}: cold start until the model is loaded", time.perf_counter() - began, None, note)
    found = []
    for _ in range(backend.times):
        backend.session.close()
        began = time.perf_counter()
        hello = backend.start()
        backend.done("load", {"model": name})
        found.append((time.perf_counter() - began, hello, backend.worked()))
    ready, hello, spent = min(found, key=lambda one: one[0])
    if cold:
        table.add("backend: warm start until it says hello", hello)
    limit = READY if name == "momug" else None
    table.add(f"{name}: warm start until the model is loaded", ready, limit, of_processor(spent))


def _motions(table, backend: Backend, model: dict) -> None:
    name = model["name"]
    ask = {"model": name, "prompt": PROMPT, "seed": SEED}

    def measure(what: str, limit: float | None = None, **fields):
        job, wall, spent = backend.timed("generate", {**ask, **fields})
        phases = ", ".join(f"{phase} {s:.2f}" for phase, s in job.header["timings"].items() if phase != "load")
        table.add(f"{name}: {what}", wall, limit, f"{phases}; {of_processor(spent)}")
        return job

    backend.done("generate", {**ask, "seconds": 2.0})  # the first one fills caches of the model
    default = model.get("default_preset") or ""
    for preset in model["presets"]:
        limit = CLIP.get(name) if preset["name"] == default else None
        star = " (default)" if preset["name"] == default else ""
        made = measure(f"10 s, {preset['name']}{star}", limit, seconds=10.0, preset=preset["name"])
    quick = {"preset": model["presets"][0]["name"]} if model["presets"] else {}
    for seconds in (2.0, 5.0):
        measure(f"{seconds:g} s, {quick.get('preset', '')}", seconds=seconds, **quick)
    for steps in (5, 20) if name == "momug" else ():
        measure(f"10 s, fast, {steps} steps", seconds=10.0, steps=steps, **quick)
    for variations in (4, 8):
        measure(
            f"10 s, {quick.get('preset', '')}, {variations} variations", seconds=10.0, variations=variations, **quick
        )
    held = backend.memory()
    if model.get("captions"):
        arrays = {key: made.arrays[f"0/{key}"] for key in ("rotations", "translation")}
        arrays["rest_offsets"] = made.arrays["rest_offsets"]
        job, wall, spent = backend.timed("caption", {"model": name, "fps": 30.0}, arrays)
        limit = CAPTION if name == "momug" else None
        table.add(f"{name}: caption of 10 s", wall, limit, f"{job.header['text']!r}; {of_processor(spent)}")
        held = backend.memory()
    if held:
        note = f"now {held['VmRSS']:.0f}, of which {held['RssAnon']:.0f} are its own and not files that are shared"
        limit = MEMORY if name == "momug" else None
        table.add(f"{name}: most memory of the backend", held["VmHWM"], limit, note, unit="MB")


def _stream(table, backend: Backend, model: dict) -> None:
    name = model["name"]
    if not model.get("streams"):
        return
    job, came = None, []
    for _ in range(2):  # the first one fills caches of the model
        began, worked, came = time.perf_counter(), backend.worked(), []
        job = backend.session.submit("stream", {"model": name, "prompt": PROMPT, "seconds": 10.0, "seed": SEED})
        while not job.finished:
            if time.perf_counter() - began > PATIENCE:
                raise RuntimeError("the stream did not end")
            if job.incoming.wait(0.05):
                came.append(time.perf_counter() - began)
                job.incoming.take()
                backend.session.played(job, job.incoming.received)
        if job.state != "done":
            raise RuntimeError(job.error)
        wall, spent = time.perf_counter() - began, None if worked is None else backend.worked() - worked
    first, rate = STREAM.get(name, (1.0, 30.0))
    table.add(f"{name}: first frame of a stream", came[0], first)
    spans = sorted(1000 * (after - before) for before, after in zip(came[:-1], came[1:], strict=True))
    pieces = f"a piece in {spans[len(spans) // 2]:.0f} ms (p50), {spans[len(spans) * 99 // 100]:.0f} (p99)"
    note = f"10 s in {wall:.2f} s; {pieces}; {of_processor(spent)}"
    table.add(f"{name}: frames a second of a stream", job.incoming.received / wall, rate, note, unit="fps")


def _limits(table, python: Path, name: str, times: int) -> None:
    from blender_addon.client import backend_command

    _, env = backend_command(python)
    command = [python, str(Path(__file__).with_name("bench_limits.py")), "--model", name, "--times", str(times)]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        table.add(f"{name}: against the limits of the processor", None, None, f"no end after {PATIENCE:.0f} s")
        return
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        table.add(f"{name}: against the limits of the processor", None, None, lines[-1])
        return
    for found in json.loads(done.stdout.splitlines()[-1]):
        table.add(found["what"], found["value"], found["limit"], found["note"], unit=found["unit"])


if __name__ == "__main__":
    sys.exit("This is a part of bench.py: python3 build.py bench")
