"""What runs right now: one task at a time, its progress, its end. Main thread only; never saved with the scene.

Buttons start a task and leave; a timer drains the session's queue and puts the result into the scene. Scripts start
the same task and call :func:`wait`, because timers do not fire while a script runs.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import bpy

from . import results, service, targets
from .client import CANCELLED, DONE, QUEUED, protocol
from .rig import RigError
from .service import Error, log

TICK = 0.1  # seconds between two looks at the queue

PHASES = {
    "load": "Loading the model",
    "text": "Reading the prompt",
    "duration": "Choosing the length",
    "denoise": "Making the motion",
    "stream": "Making the motion",
    "again": "Trying once more in other words",
    "meet": "Meeting what is given",
    "decode": "Smoothing the motion",
    "caption": "Reading the motion",
    "read": "Reading the file",
    "write": "Writing the file",
}


@dataclass
class Status:
    """The last thing worth telling: one sentence, for a failure with a hint."""

    message: str = ""
    hint: str = ""
    failed: bool = False
    section: str = "prompt"  # which part of the sidebar says it: the one that was pressed


class Task:
    """One request on its way, and what to do with the answer."""

    def __init__(self, job, apply: "Callable[[dict, dict], object]", undo_message: str = ""):
        self.job = job
        self.apply = apply
        self.undo_message = undo_message
        self.dropped = ""  # why the result is not wanted any more
        self.waits_for = ""  # why a finished result is not applied yet
        self.live = None  # what shows a stream while it is made: a ``live.Live``
        self.kept = ""  # what of it stays after a failure, in a sentence
        self.finished = False
        self.result = None
        self.error: Error | None = None
        self.started = time.perf_counter()

    @property
    def fraction(self) -> float:
        """How much of the present phase is done, 0 to 1."""
        return min(1.0, self.job.step / self.job.total) if self.job.total > 0 else 0.0

    @property
    def phase_text(self) -> str:
        """What happens now, for the progress bar."""
        if self.waits_for:
            return self.waits_for
        if self.dropped or self.job.cancelling:
            return "Stopping"
        if self.job.state == QUEUED:
            if self.job.sent:
                return "Waiting for the model"
            return "Starting the model again" if self.job.restarts else "Starting the model"
        phase = PHASES.get(self.job.phase) or self.job.phase.replace("_", " ").capitalize() or "Working"
        return f"{phase} {self.job.step}/{self.job.total}" if self.job.total > 1 else phase

    @property
    def remaining(self) -> float | None:
        """Seconds that the present phase still takes, as far as that is known."""
        return None if self.waits_for or self.dropped or self.job.cancelling else self.job.eta


_task: "Task | None" = None
_next: "deque[Callable[[], Task]]" = deque()  # what was asked for together with the task and is not sent yet
_answered: "list[Task]" = []  # what was asked for together with the task and is answered, but not applied yet
_status = Status()
_section = "prompt"
_drawn = 0.0
last_timings: "dict[str, float]" = {}
last_warnings: "list[str]" = []


def active() -> "Task | None":
    """The task that runs, or None."""
    return _task


def status() -> Status:
    """What the panel says under the button."""
    return _status


def asked_in(section: str) -> None:
    """From now on it is this part of the sidebar that tells what comes of it: the one whose button was pressed."""
    global _section
    _section = section


def show_error(error: Error, section: str = "") -> None:
    """Tell the artist in the panel, and the whole story in the log. section: see :func:`asked_in`."""
    global _status
    service.open_log()
    log.error("%s: %s %s\n%s", error.code, error.message, error.hint, error.details)
    _status = Status(error.message, error.hint, True, section or _section)


def tell(message: str, section: str = "") -> None:
    """Say in the panel what happened; an empty message clears it. section: see :func:`asked_in`."""
    global _status
    _status = Status(message, section=section or _section)


def check_idle() -> None:
    """Raises Error while another task runs."""
    if _task is not None:
        raise Error("busy", "MoMug is still working on the last request.", "Wait for it, or cancel it.")


def start(kind: str, fields: dict, arrays: dict | None, apply, undo_message: str = "") -> Task:
    """Send a request and follow it. ``apply(header, arrays)`` runs on the main thread when the answer is here, and what
    it returns is the task's result; ``undo_message`` makes that one undo step. Raises Error when nothing can be sent.
    """
    global _task
    check_idle()
    session = service.session()
    try:
        job = session.submit(kind, fields, arrays)
    except protocol.ProtocolError as error:
        raise Error("bad_request", str(error)) from error
    log.info("%s %s", kind, fields)
    tell("")
    _task = Task(job, apply, undo_message)
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=TICK, persistent=True)
    return _task


def start_together(starters: "list[Callable[[], Task]]") -> Task:
    """Start several tasks, one after the other; the first one. Their answers are applied when all are here, as one undo
    step: it was one wish of the artist. Raises Error when that cannot be."""
    check_idle()
    _next.clear()
    task = starters[0]()
    _next.extend(starters[1:])
    return task


def turn() -> "tuple[int, int]":
    """(which of the tasks that were asked for together runs, how many they are)."""
    return (1, 1) if _task is None else (len(_answered) + 1, len(_answered) + 1 + len(_next))


# --- what comes back


def _tick() -> float | None:
    """The one timer. A timer that raises is dropped by Blender without a word, so nothing may pass."""
    try:
        pump(patient=True)
        _redraw_now_and_then()
    except Exception:
        log.exception("the timer failed")
        _abandon("An error inside MoMug stopped the request.")
    if _task is None:
        return None
    return TICK if _task.live is None else _task.live.LOOK


def pump(patient: bool = False) -> None:
    """Drain the session's queue and apply a finished result. ``patient``: not while the artist is in the middle of
    something that a change or an undo step would break."""
    global _task
    task, session = _task, service.current()
    if session is not None:
        for event in session.drain():
            if event.kind == "restarted":
                log.warning("the backend was restarted: %s", event.data.get("reason"))
        service.remember_capabilities()
    if task is not None and task.live is not None and task.live.advance(_hold_back() if patient else ""):
        return
    if task is None or not task.job.finished:
        return
    if patient and not task.dropped and (task.job.state == DONE or _answered) and not _next:
        task.waits_for = _hold_back()
        if task.waits_for:
            return
    _task = None
    _conclude(task)


def _hold_back() -> str:
    if bpy.context.mode not in ("OBJECT", "POSE"):
        return "Ready: go back to Object or Pose Mode"
    for window in bpy.context.window_manager.windows:
        for operator in getattr(window, "modal_operators", ()):
            if operator.bl_idname.startswith("TRANSFORM_OT_"):
                return "Ready: finish the transform"
    return ""


def warnings_of(header: dict) -> list[str]:
    """What the model says about its result, in whole sentences."""
    found = header.get("warnings")
    return [warning for warning in found if isinstance(warning, str)] if isinstance(found, list) else []


def _conclude(task: Task) -> None:
    """Apply the answer of ``task``, or keep it until what was asked for together with it is answered too."""
    error = _refusal(task)
    if error is None:
        _answered.append(task)
    if error is None and _next:
        try:
            _next.popleft()()
            return
        except Error as refused:
            error = refused
    _next.clear()
    ready = [*_answered]
    _answered.clear()
    last_warnings.clear()
    for one in ready:
        if error is not None and error.code == "cancelled":
            one.error, one.finished = error, True
        else:
            _apply(one)
            error = error or one.error
    if not task.finished:
        task.error, task.finished = error, True
    done = [one for one in ready if one.error is None]
    if done and task.undo_message:
        push_undo(task.undo_message)
    if error is None and len(done) > 1:
        tell(" ".join([f"{len(done)} armatures have a new motion.", *dict.fromkeys(last_warnings)]))
    elif error is not None and error.code == "cancelled":
        log.info("%s", error.message)
        tell(error.message)
    elif error is not None:
        show_error(error)


def _refusal(task: Task) -> "Error | None":
    """Why there is nothing to apply."""
    if task.dropped or task.job.state == CANCELLED:
        return Error("cancelled", task.dropped or "Cancelled.")
    if task.job.state != DONE:
        sentences = f"{task.job.error} {task.kept}".strip()
        return Error(task.job.code or "internal", sentences, task.job.hint, task.job.details)
    return None


def _apply(task: Task) -> None:
    """Put the answer into the scene."""
    global last_timings
    job, begun = task.job, time.perf_counter()
    last_warnings.extend(warnings_of(job.header))
    for warning in warnings_of(job.header):
        log.warning("%s", warning)
    try:
        task.result = task.apply(job.header, job.arrays)
    except Error as error:
        task.error = error
    except RigError as error:
        task.error = Error("bad_armature", str(error))
    except Exception as error:
        log.exception("the result could not be applied")
        task.error = Error("internal", "The result could not be put into the scene.", "See the log.", repr(error))
    task.finished = True
    timings = job.header.get("timings")
    phases = {str(k): v for k, v in timings.items() if isinstance(v, (int, float))} if isinstance(timings, dict) else {}
    last_timings = {**phases, "request": begun - task.started, "apply": time.perf_counter() - begun}


def push_undo(message: str) -> None:
    """One undo step for what was just applied."""
    windows = bpy.context.window_manager.windows
    try:
        with bpy.context.temp_override(window=bpy.context.window or (windows[0] if windows else None)):
            bpy.ops.ed.undo_push(message=message)
    except (RuntimeError, TypeError):
        log.exception("no undo step could be made")


def wait(task: Task, progress: "Callable[[str, int, int], None] | None" = None):
    """Block until ``task`` has ended; its result, or Error. Cancels the task when interrupted."""
    told = None
    try:
        while not task.finished:
            (_task or task).job.wait(0.02)
            now = (task.job.phase, task.job.step, task.job.total)
            if progress is not None and task.job.total > 0 and now != told:
                told = now
                progress(*now)
            pump()
    except BaseException:
        cancel(task)
        _end_early(task, Error("cancelled", "Interrupted."))
        raise
    if task.error is not None:
        raise task.error
    return task.result


def cancel(task: "Task | None" = None, reason: str = "Cancelled.") -> None:
    """Stop the task (the active one when None). Its result is not applied, even when it is already here."""
    task = _task if task is None or task in _answered else task
    if task is not None and not task.finished:
        task.dropped = reason
        task.job.cancel()


def _abandon(message: str) -> None:
    """Forget the active task without waiting for the backend."""
    if _task is not None:
        _task.job.cancel()
        error = Error("abandoned", message)
        _end_early(_task, error)
        show_error(error)


def _end_early(task: Task, error: Error) -> None:
    """The task is over whatever the backend still answers; a late answer is dropped."""
    global _task
    together = [task, *_answered] if _task is None else [task, _task, *_answered]
    if _task is task or task in _answered:
        _task = None
    for one in together:
        if not one.finished:
            if one.live is not None:
                _close_live(one)
            one.error, one.finished = error, True
    _next.clear()
    _answered.clear()


def _close_live(task: Task) -> None:
    try:
        task.live.close()
    except Exception:
        log.exception("what had come of the motion could not be kept")


def shutdown(wait: bool = True) -> None:
    """End the backend; ``wait`` until it has ended. A running task is cancelled."""
    service.shutdown(wait)
    if _task is not None:
        error = Error("cancelled", "The model was unloaded before it had answered.")
        task = _task
        _end_early(task, error)
        tell(f"{error.message} {task.kept}".strip())


def configure(**choices) -> None:
    """See ``service.configure``; a running task is cancelled."""
    shutdown()
    service.configure(**choices)


def backend_running() -> bool:
    """Is there a backend process?"""
    return service.running()


# --- Blender's side


def _redraw_now_and_then() -> None:
    """The timer looks more often than a sidebar has to be drawn."""
    global _drawn
    now = time.monotonic()
    if _task is None or now - _drawn >= TICK:
        _drawn = now
        redraw()


def redraw() -> None:
    """Let the sidebars of all 3D views draw again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions if area.type == "VIEW_3D" else ():
                if region.type == "UI":
                    region.tag_redraw()


@bpy.app.handlers.persistent
def _file_opens(*_arguments) -> None:
    """What was asked for belongs to the file that closes. The backend stays warm; it ends with Blender."""
    targets.next_file()
    results.forget_maps()
    if _task is not None:
        _abandon("Another file was opened, so the result was dropped.")
    else:
        tell("")


def register():
    bpy.app.handlers.load_pre.append(_file_opens)


def unregister():
    if _file_opens in bpy.app.handlers.load_pre:
        bpy.app.handlers.load_pre.remove(_file_opens)
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    shutdown()
    tell("")
    service.close_log()
