"""Style packs: which there are, and making one from captioned actions.

One timer looks after the training. Main thread only; nothing of it is saved with the scene.
"""

import atexit
import json
import re
import shutil
import time
import unicodedata
from pathlib import Path

import bpy

from . import runtime, service
from .client import environment
from .client.training import CANCELLED, DONE, RUNNING, StyleTraining
from .rig import RigError
from .scene import assets, capture, export
from .service import Error, log

TICK = 0.5
FEWEST_SECONDS = 1.0  # of motion in an action; the backend leaves out what is shorter
NONE = "NONE"

_training: "StyleTraining | None" = None
_starting = False
_outdated = False  # a backend runs that does not know the newest pack
_installed: "dict[str, dict]" = {}  # packs made since the backend was asked last


# --- which there are


def packs(model: str = "momug") -> "list[dict]":
    """The packs of a model, as far as the backend has told: {"name", "label", "licence", "commercial"}."""
    told = service.model_info(model).get("styles", [])
    found = {pack["name"]: pack for pack in told if isinstance(pack, dict) and isinstance(pack.get("name"), str)}
    return list((found | _installed).values())


def pack(name: str, model: str = "momug") -> dict:
    """One pack; empty when it is not known."""
    return next((one for one in packs(model) if one["name"] == name), {})


def asked() -> bool:
    """Has the backend said which packs there are?"""
    return bool(service.models())


def starting() -> bool:
    """Is the backend being asked for its packs?"""
    return _starting


def ask() -> None:
    """Start the backend, so that it says which packs there are; returns at once. Raises Error."""
    global _starting
    service.session().start()
    _starting = True
    _keep_ticking()


# --- making one


def training() -> "StyleTraining | None":
    """The training that runs, or None."""
    return _training


def pack_name(label: str) -> str:
    """The name of a pack for its label: small letters, digits and dashes, at most 32. Two labels rarely share one."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode("ascii").lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:32].strip("-")
    return name or "style-" + format(sum(ord(letter) * (i + 1) for i, letter in enumerate(label)) % 0xFFFF, "x")


def learnable(actions: list, armature=None) -> "list[tuple]":
    """(action, armature) of those that have a caption and an armature to be read with."""
    found = []
    for action in actions:
        owner = assets.armature_of(action, armature) if assets.caption_of(action) else None
        if owner is not None:
            found.append((action, owner))
    return found


def begin(actions: list, label: str, *, commercial: bool, steps: int, armature=None) -> StyleTraining:
    """Capture captioned ``actions``, write them down, and start the training; returns at once.

    label: what the pack is called. commercial: whether the motions may be used so. armature: reads actions that nobody
    uses. Raises Error.
    """
    global _training
    if _training is not None:
        raise Error("busy", "A style is being trained already.", "Wait for it, or cancel it.")
    label = " ".join(label.split())
    if not label:
        raise Error("bad_request", "Give the style a name first.")
    chosen = learnable(actions, armature)
    if not chosen:
        raise Error("bad_request", "None of the actions has a caption.", "Caption them first.")
    program, env = service.program()
    name = pack_name(label)
    folder = environment.paths.cache_folder().absolute() / "styles" / name  # the trainer has another current folder
    _write_source(folder / "source", chosen)
    shutil.rmtree(folder / "run", ignore_errors=True)
    (folder / "run").mkdir(parents=True)
    try:
        _training = StyleTraining(
            program,
            env,
            folder / "source",
            folder / "run",
            name,
            label=label,
            licence="the owner's" if commercial else "non-commercial",
            commercial=commercial,
            steps=steps,
            log_file=service.log_folder() / "style.log",
        )
    except OSError as error:
        raise Error("no_backend", "The trainer could not be started.", "See the log.", str(error)) from error
    atexit.register(cancel)
    log.info("training the style %s from %d actions", name, len(chosen))
    _keep_ticking()
    return _training


def _write_source(folder: Path, chosen: "list[tuple]") -> None:
    """The motions and their captions, as ``backend.data.own`` reads them."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        rows = []
        for number, (action, armature) in enumerate(chosen):
            motion = capture.capture(armature, action)
            file = f"{number:03}.npz"
            export.save_npz(motion, folder / file)
            rows.append({"file": file, "captions": [assets.caption_of(action)], "action": action.name})
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "captions.jsonl").write_text("".join(lines), encoding="utf-8")
    except RigError as error:
        raise Error("bad_motion", str(error)) from error
    except OSError as error:
        raise Error("bad_file", f"The motions could not be written: {error.strerror}.", "See the log.") from error


def cancel() -> None:
    """Stop the training. No pack is made."""
    if _training is not None:
        _training.cancel()


def wait(progress=None) -> dict:
    """Block until the training has ended; the pack. For scripts: timers do not fire while one runs. Raises Error."""
    current = _training
    if current is None:
        raise Error("bad_request", "No style is being trained.")
    seen = -1
    try:
        while current.poll() == RUNNING:
            if progress is not None and current.step != seen:
                seen = current.step
                progress("style", current.step, current.total)
            time.sleep(0.1)
    except BaseException:
        current.cancel()
        raise
    finally:
        step()
    if current.state != DONE:
        code = "cancelled" if current.state == CANCELLED else "style"
        raise Error(code, current.error or "Cancelled.", "See the log.", current.details)
    return pack(current.name)


def step() -> None:
    """Look after what runs: note what has ended."""
    global _training, _starting, _outdated
    if _starting:
        session = service.current()
        if session is None or session.state in ("stopped", "failed"):
            _starting = False
            failure = session.failure if session is not None else None
            if failure is not None:
                runtime.show_error(Error(failure.code, failure.message, failure.hint, failure.details), "style")
        else:
            service.remember_capabilities()
            _starting = session.state == "starting"
    if _training is not None and _training.poll() != RUNNING:
        ended, _training = _training, None
        atexit.unregister(cancel)
        _tell(ended)
    if _outdated and runtime.active() is None:
        service.shutdown(wait=False)  # it starts again with the next request, and then knows the pack
        _outdated = False


def _tell(ended: StyleTraining) -> None:
    global _outdated
    if ended.state == CANCELLED:
        runtime.tell("The training was cancelled. No style was made.", "style")
    elif ended.state != DONE:
        told = f"The style could not be trained. {ended.error}"
        runtime.show_error(Error("style", told, "See the log.", ended.details), "style")
    else:
        about = {"licence": ended.licence, "commercial": ended.commercial}
        _installed[ended.name] = {"name": ended.name, "label": ended.label, **about}
        _outdated = service.running()
        told = f"The style '{ended.label}' is ready."
        for note in ended.record.get("notes", [])[:1]:
            told += f" {note}"
        runtime.tell(told, "style")


def _keep_ticking() -> None:
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=TICK, persistent=True)


def _tick() -> "float | None":
    """The one timer. Nothing may pass: a timer that raises is dropped by Blender without a word."""
    global _training, _starting
    try:
        step()
    except Exception:
        log.exception("looking after the styles failed")
        cancel()
        _training, _starting = None, False
        runtime.show_error(Error("internal", "An error inside MoMug stopped the training.", "See the log."), "style")
    runtime.redraw()
    return TICK if _training is not None or _starting or _outdated else None


def forget() -> None:
    """The add-on goes: end what runs."""
    global _training, _starting, _outdated
    cancel()
    _training, _starting, _outdated = None, False, False
    _installed.clear()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
