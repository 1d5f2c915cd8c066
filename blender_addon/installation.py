"""The model's programs on this computer, and the model in memory, as the panel shows them. Main thread only.

The installing itself is ``client.installer``'s; this file keeps the one installer, a timer that looks after it, and the
idle time after which the model's memory is given back.
"""

import contextlib
import time
from pathlib import Path
from typing import NamedTuple

import bpy

from . import preferences, properties, runtime, service
from .client import environment, installer, plan
from .scene import compat
from .service import log

TICK = 0.5  # seconds between two looks
VITALS_EVERY = 3.0  # seconds between two questions for memory
LOOK_EVERY = 2.0  # seconds that an answer of the disk stays good

NOT_INSTALLED, STOPPED, STARTING, READY, BUSY, FAILED = (
    "not_installed", "stopped", "starting", "ready", "busy", "failed",
)  # fmt: skip


class Shown(NamedTuple):
    """The model's state: a word, a sentence, for a failure what to do, and the last lines of its log."""

    code: str
    sentence: str
    hint: str = ""
    details: str = ""


_installer: "installer.Installer | None" = None
_looked: "tuple[float, bool]" = (-1e9, False)  # when the disk was asked, and whether the programs are there
_active_at = 0.0  # when the model was last used
_asked_at = 0.0
_was_busy = False


def the_installer() -> installer.Installer:
    """The one installer of this Blender."""
    global _installer
    if _installer is None:
        _installer = installer.Installer(service.log_folder() / "install.log")
    return _installer


def is_installed() -> bool:
    """Is there a Python for the model? The disk is asked every two seconds at most."""
    global _looked
    now = time.monotonic()
    if now - _looked[0] > LOOK_EVERY:
        _looked = (now, service.can_start())
    return _looked[1]


def look_again() -> None:
    """Forget what the disk said."""
    global _looked
    _looked = (-1e9, False)


def state() -> Shown:
    """What the model's programs do now."""
    session = service.current()
    current = session.state if session is not None else STOPPED
    if current == "failed" and session.failure is not None:
        failure = session.failure
        return Shown(FAILED, failure.message, failure.hint, failure.details)
    if current == STARTING:
        return Shown(STARTING, "The model's process is starting.")
    if current == BUSY:
        return Shown(BUSY, "The model is working.")
    if current == READY:
        loaded = session.vitals.get("model")
        return Shown(READY, f"{_label(loaded)} is loaded." if loaded else "The process runs; no model is loaded.")
    if not is_installed():
        if _installer is not None and _installer.state == installer.RUNNING and _installer.command == installer.INSTALL:
            return Shown(NOT_INSTALLED, "The model's programs are being installed.")
        return Shown(NOT_INSTALLED, "The model's programs are not installed.")
    return Shown(STOPPED, "Not in memory. It starts by itself when it is needed.")


def _label(name: str) -> str:
    return service.model_info(name).get("label") or name


def facts() -> "list[tuple[str, str]]":
    """What the running process told about itself: device, precision, memory."""
    session = service.current()
    vitals = session.vitals if session is not None and session.state in (READY, BUSY) else {}
    found = []
    if vitals.get("device"):
        found.append(("Device", {"cpu": "CPU"}.get(vitals["device"], str(vitals["device"]).upper())))
    if vitals.get("precision"):
        found.append(("Precision", str(vitals["precision"])))
    if isinstance(vitals.get("memory"), int):
        found.append(("Memory", plan.in_words(vitals["memory"])))
    if isinstance(vitals.get("card_memory"), int):
        found.append(("Graphics Memory", plan.in_words(vitals["card_memory"])))
    return found


def online() -> bool:
    """May Blender use the network? Versions before 4.2 have no such switch."""
    return bool(getattr(bpy.app, "online_access", True))


def offline_problem() -> str:
    """Why nothing can be downloaded, with the way out; empty when it can."""
    if online():
        return ""
    return (
        "Blender is not allowed to go online. Switch on Preferences > System > Network > Allow Online Access, or "
        "install from a folder of wheels."
    )


# --- what buttons do


def look() -> None:
    """Find out what an installation needs; the panel then shows it."""
    the_installer().look(preferences.value("device"), preferences.wheel_folder(), online())
    watch()


def start(command: str, fetch_python: bool = False) -> None:
    """Install, repair or remove. Raises Error with the reason when that cannot start."""
    worker = the_installer()
    folder = preferences.wheel_folder()
    if worker.busy:
        raise service.Error("busy", "An installation is running already.", "Wait for it, or cancel it.")
    if command != installer.REMOVE and folder is None and not online():
        raise service.Error("offline", offline_problem())
    made = worker.plan
    if made is not None and command == installer.INSTALL:
        problem = installer.wheel_folder_problem(made)
        if problem is not None:
            raise service.Error(problem.code, problem.message, problem.hint)
        if made.disk + plan.RESERVE > made.free:
            raise service.Error(
                "disk_full",
                f"There is too little disk space: {plan.in_words(made.disk)} are needed, "
                f"{plan.in_words(made.free)} are free.",
                "Free some space, or choose another cache folder in the preferences.",
            )
    runtime.shutdown(wait=False)  # a running model holds the files that change
    agreed = made.download if made is not None and not made.unknown else None
    worker.start(
        command,
        device=preferences.value("device"),
        folder=folder,
        agreed=agreed if command == installer.INSTALL else None,
        fetch_python=fetch_python,
    )
    watch()


def cancel() -> None:
    """Stop the installation; what was downloaded is kept."""
    the_installer().cancel()


def log_tail(lines: int = 5) -> str:
    """The last lines of the model's log."""
    session = service.current()
    return session.log_tail(lines) if session is not None else ""


def diagnostics() -> str:
    """What somebody who helps wants to know, without the name of the user's folder."""
    import platform

    shown = state()
    worker = the_installer()
    session = service.current()
    lines = [
        f"MoMug {_version()}, Blender {compat.VERSION}, {platform.platform()}",
        f"State: {shown.code}. {shown.sentence} {shown.hint}",
        *(f"{name}: {value}" for name, value in facts()),
        f"Settings: {preferences.in_words()}",
        f"Environment: {environment.backend_folder()}",
        f"Backend: {session.hello.get('backend_version', 'not started') if session else 'not started'}",
    ]
    if worker.problem is not None:
        lines.append(f"Installation: {worker.problem.code}. {worker.problem.message} {worker.problem.hint}")
    lines += ["Log of the model:", log_tail(40) or "(empty)", "Log of the installation:", _tail(worker.log_file)]
    return "\n".join(lines).replace(str(Path.home()), "~")


def _version() -> str:
    manifest = Path(__file__).with_name("blender_manifest.toml").read_text(encoding="utf-8")
    return next(line.split('"')[1] for line in manifest.splitlines() if line.startswith("version"))


def _tail(file: Path, lines: int = 20) -> str:
    try:
        return "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]) or "(empty)"
    except OSError:
        return "(none)"


# --- the timer


def watch() -> None:
    """Look after the installer and the model's idle time from now on."""
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=TICK, persistent=True)


def _tick() -> "float | None":
    """Blender drops a timer that raises without a word, so nothing may pass."""
    try:
        tend()
    except Exception:
        log.exception("looking after the model failed")
    return TICK


def tend(now: "float | None" = None) -> None:
    """One look: ask for memory, unload what idles, draw what changed."""
    global _asked_at, _active_at, _was_busy
    now = time.monotonic() if now is None else now
    session = service.current()
    if session is None or session.state != READY or runtime.active() is not None:
        _active_at = now
    if session is not None and session.state in (READY, BUSY) and now - _asked_at > VITALS_EVERY:
        _asked_at = now
        session.ask_vitals()
        _redraw()
    minutes = preferences.value("idle_minutes")
    if minutes and session is not None and session.state == READY and now - _active_at > minutes * 60:
        log.info("the model was idle for %d minutes", minutes)
        runtime.shutdown(wait=False)
        runtime.tell(f"The model was not used for {minutes} min, so its memory was given back.")
        _redraw()
    if service.models() and bpy.context.scene is not None:
        show_defaults(bpy.context.scene)
    worker = _installer
    busy = worker is not None and worker.busy
    if busy or _was_busy:
        if not busy:
            look_again()
            if told := outcome(worker):
                runtime.tell(told, section="backend")
        _redraw()
    _was_busy = busy


def show_defaults(scene) -> None:
    """Let the fields of a scene show what the preferences choose, once the model is known that has it."""
    settings = properties.get(scene)
    for name, preferred in (
        ("model", preferences.value("default_model")),
        ("preset", preferences.value("default_preset")),
    ):
        if not settings.is_property_set(name) and preferred != preferences.DEFAULTS[f"default_{name}"]:
            with contextlib.suppress(TypeError):  # not among the items: the model is not known yet, or lacks it
                setattr(settings, name, preferred)


def outcome(worker: installer.Installer) -> str:
    """How the last installation, repair or removal ended well or was cancelled; empty for all else."""
    if worker.state == installer.CANCELLED:
        return "The installation was cancelled. What was downloaded is kept for the next time."
    if worker.state != installer.DONE:
        return ""
    return {
        installer.INSTALL: "The model's programs are installed.",
        installer.REPAIR: "The model's programs were checked file by file and are whole.",
        installer.REMOVE: f"The model's programs were removed; {plan.in_words(worker.freed)} are free again.",
    }[worker.command]


def _redraw() -> None:
    runtime.redraw()
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()


def register():
    preferences.apply()
    watch()


def unregister():
    global _installer
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    if _installer is not None:
        _installer.shutdown()
    _installer = None
    look_again()
    preferences.restore()
