"""What runs right now: one task at a time, its progress, its end. Main thread only; never saved with the scene.

Buttons start a task and leave; a timer drains the session's queue and puts the result into the scene. Scripts start
the same task and call :func:`wait`, because timers do not fire while a script runs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import bpy

from . import results, service, targets
from .client import CANCELLED, DONE, QUEUED, protocol
from .results import caption_of, current_action, map_health
from .rig import RigError
from .scene import capture, keys
from .service import Error, log, log_folder, model_info, models

__all__ = [
    "Error",
    "Status",
    "Task",
    "active",
    "backend_running",
    "cancel",
    "caption_of",
    "current_action",
    "has_recipe",
    "log",
    "log_folder",
    "map_health",
    "model_info",
    "models",
    "pump",
    "show_error",
    "shutdown",
    "start_animate",
    "start_caption",
    "status",
    "wait",
    "why_not",
]

TICK = 0.1  # seconds between two looks at the queue
VERSION = "0.1.0"

PHASES = {
    "load": "Loading the model",
    "text": "Reading the prompt",
    "duration": "Choosing the length",
    "denoise": "Making the motion",
    "decode": "Smoothing the motion",
    "caption": "Reading the motion",
}


@dataclass
class Status:
    """The last thing worth telling: one sentence, for a failure with a hint."""

    message: str = ""
    hint: str = ""
    failed: bool = False


class Task:
    """One request on its way, and what to do with the answer."""

    def __init__(self, job, apply: "Callable[[dict, dict], object]", undo_message: str = ""):
        self.job = job
        self.apply = apply
        self.undo_message = undo_message
        self.dropped = ""  # why the result is not wanted any more
        self.waits_for = ""  # why a finished result is not applied yet
        self.finished = False
        self.result = None
        self.error: "Error | None" = None
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
            return "Starting the model again" if self.job.restarts else "Starting the model"
        phase = PHASES.get(self.job.phase) or self.job.phase.replace("_", " ").capitalize() or "Working"
        return f"{phase} {self.job.step}/{self.job.total}" if self.job.total > 1 else phase


_task: "Task | None" = None
_status = Status()
last_timings: "dict[str, float]" = {}


def active() -> "Task | None":
    """The task that runs, or None."""
    return _task


def status() -> Status:
    """What the panel says under the button."""
    return _status


def show_error(error: Error) -> None:
    """Tell the artist in the panel, and the whole story in the log."""
    global _status
    service.open_log()
    log.error("%s: %s %s\n%s", error.code, error.message, error.hint, error.details)
    _status = Status(error.message, error.hint, True)


def _tell(message: str) -> None:
    global _status
    _status = Status(message)


def why_not(armature) -> str:
    """Why nothing can be started for ``armature`` now, one sentence; empty when it can. For ``poll``."""
    if _task is not None:
        return "MoMug is still working on the last request."
    if armature is None:
        return "Select an armature, or add the mannequin."
    return map_health(armature).problem


# --- requests


def start_animate(
    armature,
    prompt: str,
    *,
    seconds: "float | None" = None,
    seed: "int | None" = None,
    model: str = "momug",
    preset: "str | None" = None,
    steps: "int | None" = None,
    guidance_scale: "float | None" = None,
    variations: int = 1,
    frame_start: "int | None" = None,
    scene=None,
    extend_timeline: bool = False,
    undo_step: bool = False,
) -> Task:
    """Ask for a motion and return at once; the result of the task is a list of actions. See ``api.animate``.

    Raises Error when the request cannot be made; the scene changes only when the answer has come.
    """
    _check_idle()
    scene = scene or bpy.context.scene
    try:
        prompt = protocol.clean_prompt(prompt)
        if seed is not None:
            seed = protocol.check_number(seed, "The seed", 0, protocol.MAX_SEED, integer=True)
        if steps is not None:
            steps = protocol.check_number(steps, "The number of steps", 1, protocol.MAX_STEPS, integer=True)
        if guidance_scale is not None:
            guidance_scale = protocol.check_number(guidance_scale, "The guidance", 0.0, protocol.MAX_GUIDANCE)
        variations = protocol.check_number(
            variations, "The number of variations", 1, protocol.MAX_VARIATIONS, integer=True
        )
    except protocol.ProtocolError as error:
        raise Error("bad_prompt" if "prompt" in str(error) else "bad_request", str(error)) from error
    service.check_request(model, seconds)
    _require_map(armature)
    request = {
        "model": model,
        "prompt": prompt,
        "seconds": None if seconds is None else float(seconds),
        "seed": seed,
        "steps": steps,
        "guidance_scale": guidance_scale,
        "preset": preset,
        "variations": variations,
    }
    target, scene_target = targets.Target(armature), targets.Target(scene)
    frame_start = scene.frame_current if frame_start is None else int(frame_start)

    def apply(header: dict, arrays: dict) -> list:
        rig = _resolve(target, f"The armature '{target.name}' is gone, so its motion was not applied.")
        where = scene_target.resolve() or bpy.context.scene
        motions = results.motions_of(header, arrays)
        recipes = [
            {
                "generator": f"MoMug {VERSION}",
                "prompt": prompt,
                "requested_seconds": request["seconds"],
                "seconds": round(motion.frames / motion.fps, 3),
                "seed": entry["seed"],
                "model": model,
                "steps": steps,
                "preset": preset,
                "guidance_scale": guidance_scale,
            }
            for motion, entry in zip(motions, header["motions"])
        ]
        end = where.frame_end
        actions = results.apply_motions(
            bpy.data, rig, where, motions, recipes, frame_start=frame_start, extend_timeline=extend_timeline
        )
        made = f"'{actions[0].name}' is on {rig.name}"
        if len(actions) > 1:
            made = f"{len(actions)} variations are made; the first is on {rig.name}"
        _tell(made + (f"; the timeline now ends at frame {where.frame_end}." if where.frame_end != end else "."))
        return actions

    return _start(protocol.GENERATE, request, None, apply, "MoMug: Generate" if undo_step else "")


def start_caption(
    armature,
    *,
    action=None,
    model: str = "momug",
    frame_range: "tuple[int, int] | None" = None,
    scene=None,
    undo_step: bool = False,
) -> Task:
    """Ask for the caption of an animation and return at once; the task's result is the text. See ``api.caption``."""
    _check_idle()
    service.check_request(model, None)
    _require_map(armature)
    action = action or current_action(armature)
    try:
        motion = capture.capture(armature, action, frame_range)
    except RigError as error:
        raise Error("bad_motion", str(error)) from error
    if motion.frames > protocol.MAX_CAPTION_FRAMES:
        minutes = protocol.MAX_CAPTION_FRAMES / motion.fps / 60
        raise Error("bad_motion", f"The animation is longer than the {minutes:.0f} minutes that can be described.")
    target = targets.Target(action) if action is not None else None

    def apply(header: dict, _arrays: dict) -> str:
        text = header["text"].strip()
        kept = target.resolve() if target is not None else None
        if kept is not None and kept.library is None:
            kept[results.CAPTION_KEY] = text
            _tell("")
        else:
            _tell(f"Caption, not stored because the action is gone or linked: {text}")
        return text

    arrays = {
        "rotations": motion.rotations,
        "translation": motion.translation,
        "rest_offsets": motion.rest_offsets,
    }
    fields = {"model": model, "fps": float(motion.fps)}
    return _start(protocol.CAPTION, fields, arrays, apply, "MoMug: Caption" if undo_step else "")


def _check_idle() -> None:
    if _task is not None:
        raise Error("busy", "MoMug is still working on the last request.", "Wait for it, or cancel it.")


def _require_map(armature) -> None:
    try:
        results.require_map(armature)
    except RigError as error:
        raise Error("bad_armature", str(error)) from error
    except ReferenceError as error:
        raise Error("bad_armature", "The armature no longer exists.") from error


def _resolve(target: targets.Target, message: str):
    found = target.resolve()
    if found is None:
        raise Error("gone", message)
    return found


def _start(kind: str, fields: dict, arrays, apply, undo_message: str) -> Task:
    global _task
    session = service.session()
    try:
        job = session.submit(kind, fields, arrays)
    except protocol.ProtocolError as error:
        raise Error("bad_request", str(error)) from error
    log.info("%s %s", kind, fields)
    _tell("")
    _task = Task(job, apply, undo_message)
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=TICK, persistent=True)
    return _task


# --- what comes back


def _tick() -> "float | None":
    """The one timer. A timer that raises is dropped by Blender without a word, so nothing may pass."""
    try:
        pump(patient=True)
        redraw()
    except Exception:
        log.exception("the timer failed")
        _abandon("An error inside MoMug stopped the request.")
    return TICK if _task is not None else None


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
    if task is None or not task.job.finished:
        return
    if patient and task.job.state == DONE and not task.dropped:
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


def _conclude(task: Task) -> None:
    global last_timings
    job = task.job
    answered = time.perf_counter()
    try:
        if task.dropped or job.state == CANCELLED:
            raise Error("cancelled", task.dropped or "Cancelled.")
        if job.state != DONE:
            raise Error(job.code or "internal", job.error, job.hint, job.details)
        for warning in job.header.get("warnings") or ():
            log.warning("%s", warning)
        task.result = task.apply(job.header, job.arrays)
        if task.undo_message:
            _push_undo(task.undo_message)
    except Error as error:
        task.error = error
    except RigError as error:
        task.error = Error("bad_armature", str(error))
    except Exception as error:
        log.exception("the result could not be applied")
        task.error = Error("internal", "The result could not be put into the scene.", "See the log.", repr(error))
    task.finished = True
    phases = {str(k): v for k, v in (job.header.get("timings") or {}).items() if isinstance(v, (int, float))}
    last_timings = {
        **phases,
        "request": answered - task.started,
        "apply": time.perf_counter() - answered,
    }
    if task.error is not None and task.error.code == "cancelled":
        log.info("%s", task.error.message)
        _tell(task.error.message)
    elif task.error is not None:
        show_error(task.error)


def _push_undo(message: str) -> None:
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
            task.job.wait(0.02)
            now = (task.job.phase, task.job.step, task.job.total)
            if progress is not None and task.job.total > 0 and now != told:
                told = now
                progress(*now)
            pump()
    except BaseException:
        cancel(task)
        raise
    if task.error is not None:
        raise task.error
    return task.result


def cancel(task: "Task | None" = None, reason: str = "Cancelled.") -> None:
    """Stop the task (the active one when None). Its result is not applied, even when it is already here."""
    task = task or _task
    if task is not None and not task.finished:
        task.dropped = reason
        task.job.cancel()


def _abandon(message: str) -> None:
    """Forget the active task without waiting for the backend."""
    global _task
    task, _task = _task, None
    if task is None:
        return
    task.job.cancel()
    task.error = Error("abandoned", message)
    task.finished = True
    show_error(task.error)


def shutdown() -> None:
    """End the backend. A running task is cancelled."""
    global _task
    service.shutdown()
    task, _task = _task, None
    if task is not None:
        task.error = Error("cancelled", "The model was unloaded before it had answered.")
        task.finished = True
        _tell(task.error.message)


def configure(**choices) -> None:
    """See ``service.configure``; a running task is cancelled."""
    shutdown()
    service.configure(**choices)


def backend_running() -> bool:
    """Is there a backend process?"""
    return service.running()


# --- what an action knows about itself


def recipe(action) -> dict:
    """How MoMug made ``action``: prompt, seconds, seed, model, steps ... Empty for other actions."""
    return keys.read_metadata(action) if action is not None else {}


def has_recipe(action) -> bool:
    """Was ``action`` made by MoMug?"""
    return bool(recipe(action).get("prompt"))


# --- Blender's side


def redraw() -> None:
    """Let the sidebars of all 3D views draw again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
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
        _tell("")


def register():
    bpy.app.handlers.load_pre.append(_file_opens)


def unregister():
    if _file_opens in bpy.app.handlers.load_pre:
        bpy.app.handlers.load_pre.remove(_file_opens)
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    shutdown()
    _tell("")
    service.close_log()
