"""The backend as this Blender uses it: what is started, where the logs lie, what the models can do."""

import atexit
import logging
import logging.handlers
import shlex
from pathlib import Path

import bpy

from . import preferences
from .client import Session, backend_command, environment, protocol

log = logging.getLogger(__package__)


class Error(Exception):
    """``message`` is one plain sentence, ``hint`` what to do about it, ``code`` a word for programs."""

    def __init__(self, code: str, message: str, hint: str = "", details: str = ""):
        super().__init__(message)
        self.code, self.message, self.hint, self.details = code, message, hint, details


_session: "Session | None" = None
_started_with: "list[str]" = []
_override: "dict[str, object]" = {}
_limits: "dict[str, float]" = {}
_models: "list[dict]" = []
_log_handler: logging.Handler | None = None


def configure(command=None, python=None, **limits: float) -> None:
    """Choose what is started from now on (see ``api.configure``); ``limits`` are time limits of ``Session``."""
    shutdown()
    _override.clear()
    _limits.clear()
    _limits.update(limits)
    _models.clear()
    if command is not None:
        _override["command"] = [str(part) for part in command]
    if python is not None:
        _override["python"] = str(python)


def session() -> Session:
    """The session, not necessarily started. Raises Error when there is nothing that could be started."""
    global _session, _started_with
    open_log()
    command, env = _command()
    if _session is not None and command != _started_with:
        shutdown(wait=False)
    if _session is None:
        _session = Session(command, env, log_folder() / "backend.log", **_limits)
        _started_with = command
        atexit.register(shutdown)
    return _session


def _command() -> "tuple[list[str], dict[str, str] | None]":
    chosen = preferences.get()
    if "command" in _override:
        return list(_override["command"]), None
    if chosen is not None and chosen.backend_command.strip():
        try:
            return shlex.split(chosen.backend_command), None
        except ValueError as error:
            raise Error("bad_command", f"The backend command in the preferences cannot be read: {error}.") from error
    asked = str(_override.get("python", "")) or (chosen.backend_python if chosen is not None else "")
    try:
        python = environment.backend_python(bpy.path.abspath(asked) if asked else "")
    except OSError as error:
        log.exception("looking for the backend's Python failed")
        raise Error("no_backend", f"The model's programs cannot be found: {error}.") from error
    if python is None:
        raise Error(
            "no_backend",
            "The Python that was chosen for the model does not exist." if asked else "The model is not installed yet.",
            "Choose another Python in the add-on's preferences, or leave that field empty."
            if asked
            else "Press Install in the Backend panel.",
        )
    options = [f"--{name}={preferences.value(name)}" for name in ("device", "precision")]
    return backend_command(python, *options)


def can_start() -> bool:
    """Is there something that could be started? Looks at the disk."""
    try:
        _command()
    except Error:
        return False
    return True


def program() -> "tuple[list[str], dict[str, str] | None]":
    """What runs the backend's other commands: what starts the server, without ``serve`` and what follows. Raises Error
    when there is nothing that could be started."""
    open_log()
    command, env = _command()
    if "serve" not in command:
        raise Error("bad_command", "The backend command in the preferences can only generate and caption.")
    return command[: command.index("serve")], env


def current() -> "Session | None":
    """The session when there is one; never makes one."""
    return _session


def prefetch(model: str) -> None:
    """Begin to load ``model`` when no backend runs yet. Silent when that cannot be: who asks for a motion is told."""
    if running() or not preferences.value("prefetch"):
        return
    try:
        session().submit(protocol.LOAD, {"model": model})
    except (Error, protocol.ProtocolError) as error:
        log.info("nothing is loaded ahead: %s", error)


def running() -> bool:
    """Is a backend process alive or starting?"""
    return _session is not None and _session.state in ("starting", "ready", "busy")


def shutdown(wait: bool = True) -> None:
    """End the backend's process, politely and then firmly; without ``wait`` a thread sees to that."""
    global _session
    ended, _session = _session, None
    if ended is not None:
        atexit.unregister(shutdown)
        ended.close(wait)


def remember_capabilities() -> None:
    """Keep what the last hello said about the models, also for when the backend does not run. Cheap."""
    capabilities = _session.capabilities if _session is not None else None
    listed = (capabilities or {}).get("models")
    if isinstance(listed, list):
        _models[:] = [model for model in listed if isinstance(model, dict) and isinstance(model.get("name"), str)]


def models() -> "list[dict]":
    """What the backend said about its models; empty before the first start."""
    return _models


def model_info(name: str) -> dict:
    """What the backend said about one model; empty when it is not known."""
    return next((model for model in _models if model["name"] == name), {})


def check_request(model: str, seconds: float | None, longest: str = "max_seconds") -> None:
    """Raises Error for what the backend would refuse, as far as that is known here already. longest: which limit of
    the model holds."""
    if seconds is not None:
        try:
            protocol.check_number(seconds, "The duration in seconds", 0.1, 600.0)
        except protocol.ProtocolError as error:
            raise Error("bad_duration", str(error)) from error
    if not _models:
        return
    info = model_info(model)
    if not info:
        names = ", ".join(known["name"] for known in _models)
        raise Error("unknown_model", f"There is no model '{model}'.", f"The backend knows: {names}.")
    if not info.get("available", True):
        return  # the backend is asked again: it may have been installed in the meantime
    label = info.get("label") or model
    low, high = info.get("min_seconds") or 0.0, info.get(longest) or info.get("max_seconds") or float("inf")
    if seconds is not None and not low <= seconds <= high:
        raise Error("bad_duration", f"{label} makes motions of {low:g} to {high:g} seconds, not {seconds:g}.")


def user_folder(name: str) -> Path:
    """A folder of the user for what outlives the add-on's own files: the extension's, or one beside the settings."""
    try:
        folder = bpy.utils.extension_path_user(preferences.ROOT_PACKAGE, path=name, create=True)
    except (AttributeError, ValueError):  # before 4.2, or not installed as an extension
        folder = bpy.utils.user_resource("CONFIG", path=f"momug/{name}", create=True)
    return Path(folder) if folder else environment.paths.cache_folder() / name


def log_folder() -> Path:
    """Where the logs of the add-on and of the backend lie."""
    return preferences.log_folder() or user_folder("logs")


def open_log() -> None:
    """Send the add-on's log to a file, once."""
    global _log_handler
    if _log_handler is not None:
        return
    try:
        folder = log_folder()
        folder.mkdir(parents=True, exist_ok=True)
        _log_handler = logging.handlers.RotatingFileHandler(
            folder / "addon.log", maxBytes=1 << 20, backupCount=2, encoding="utf-8", delay=True
        )
    except OSError as error:
        log.warning("no log file: %s", error)
        return
    _log_handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    log.addHandler(_log_handler)
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)


def close_log() -> None:
    global _log_handler
    if _log_handler is not None:
        log.removeHandler(_log_handler)
        _log_handler.close()
        _log_handler = None
