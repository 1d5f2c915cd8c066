"""Many animations, one caption after the other: what was chosen, what is still to do, and what became of it.

One timer begins the next when the model is free. All that were made are kept with their animations at the end, as one
undo step: it was one wish of the artist. Main thread only; nothing of it is saved with the scene.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import bpy

from . import ask, results, runtime, service, targets
from .scene import assets, capture
from .service import Error, log

TICK = 0.2
SCOPES = ACTIVE, TICKED, STRIPS, OBJECTS, RANGE = "ACTIVE", "TICKED", "STRIPS", "OBJECTS", "RANGE"
# what is wrong with one animation; anything else is wrong with all of them
_OF_ONE = ("bad_motion", "bad_armature", "gone")


@dataclass
class Item:
    """One animation to describe: ``action`` (None: whatever moves the armature) over ``frames`` (None: all of it)."""

    armature: targets.Target
    action: "targets.Target | None"
    frames: "tuple[int, int] | None" = None
    name: str = ""


@dataclass
class Queue:
    """What is to be done, and what was done: ``failed`` holds (name, sentence)."""

    waiting: deque = field(default_factory=deque)
    current: "Item | None" = None
    done: int = 0
    failed: list = field(default_factory=list)
    model: str = "momug"
    task: "runtime.Task | None" = None
    stopped: bool = False
    made: "list[Callable[[], None]]" = field(default_factory=list)  # each keeps a caption with its animation

    @property
    def total(self) -> int:
        return self.done + len(self.failed) + len(self.waiting) + (self.current is not None)

    @property
    def number(self) -> int:
        """Which one it is at, from 1."""
        return self.done + len(self.failed) + 1

    @property
    def fraction(self) -> float:
        """How much is done, 0 to 1."""
        part = self.task.fraction if self.task is not None else 0.0
        return min(1.0, (self.done + len(self.failed) + part) / max(self.total, 1))


_queue: "Queue | None" = None


def running() -> "Queue | None":
    """The queue that is being worked on, or None."""
    return _queue


# --- what to describe


def item(
    armature: bpy.types.Object,
    action: "bpy.types.Action | None" = None,
    frames: "tuple[int, int] | None" = None,
) -> Item:
    """One animation of ``armature``: its active action when ``action`` is None, over ``frames`` (None: all of it)."""
    action = action or capture.active_action(armature)
    name = action.name if action is not None else armature.name
    if frames is not None:
        name += f" {frames[0]}-{frames[1]}"
    return Item(targets.Target(armature), targets.Target(action) if action is not None else None, frames, name)


def of_action(action: bpy.types.Action, preferred: "bpy.types.Object | None" = None) -> Item:
    """An action, read with the armature that uses it or whose bones it moves. Raises Error when there is none."""
    armature = assets.armature_of(action, preferred)
    if armature is None:
        raise Error(
            "bad_request",
            f"No armature uses the action '{action.name}'.",
            "Pass the armature it was made for as well.",
        )
    return item(armature, action)


def of_strip(strip: bpy.types.NlaStrip, armature: "bpy.types.Object | None" = None) -> Item:
    """The part of its action that an NLA strip plays. Raises Error for a strip without an action."""
    if strip.action is None:
        raise Error("bad_request", f"The strip '{strip.name}' plays no action.")
    armature = armature if armature is not None else strip.id_data
    found = item(armature, strip.action, _frames_of(strip))
    found.name = strip.name
    return found


def _frames_of(strip: bpy.types.NlaStrip) -> "tuple[int, int] | None":
    """The frames of the action that a strip plays; None when it plays the whole action."""
    part = capture.frame_span(None, (strip.action_frame_start, strip.action_frame_end))
    return None if part == capture.frame_span(strip.action) else part


def gather(scope: str, armature, selected: Iterable, frames: "tuple[int, int]") -> list:
    """The items of a scope; empty when nothing is chosen. For panels and polls too, so it reads no motion.

    armature: the chosen one. selected: the selected objects. frames: first and last of the scope RANGE.
    """
    armatures = _armatures(selected)
    if scope == TICKED:
        ticked = [action for action in bpy.data.actions if action.momug_ticked and action.library is None]
        owners = [(assets.armature_of(action, armature), action) for action in ticked]
        return [item(owner, action) for owner, action in owners if owner is not None]
    if scope == STRIPS:
        if armature is not None and armature not in armatures:
            armatures.append(armature)
        chosen = []
        for one in armatures:
            for track in one.animation_data.nla_tracks if one.animation_data is not None else ():
                chosen += [of_strip(strip, one) for strip in track.strips if strip.select and strip.action is not None]
        return chosen
    if scope == OBJECTS:
        return [item(one) for one in armatures if _moves(one)]
    if armature is None or not _moves(armature):
        return []
    return [item(armature, frames=frames if scope == RANGE else None)]


def _armatures(selected: Iterable) -> list:
    found = []
    for thing in selected:
        one = thing if thing.type == "ARMATURE" else thing.find_armature()
        if one is not None and one not in found:
            found.append(one)
    return found


def _moves(armature) -> bool:
    data = armature.animation_data
    return data is not None and (data.action is not None or any(track.strips for track in data.nla_tracks))


def nothing_chosen(scope: str) -> str:
    """What to do when :func:`gather` finds nothing, a sentence."""
    return {
        TICKED: "Tick actions in the list below that fit the armature",
        STRIPS: "Select NLA strips of the armature in the Nonlinear Animation editor",
        OBJECTS: "Select armatures that are animated",
    }.get(scope, "The armature has no action to describe")


# --- doing it


def begin(items: list, model: str) -> Queue:
    """Describe ``items`` one after the other, and return at once. Raises Error when the model cannot be asked."""
    global _queue
    if _queue is not None:
        raise Error("busy", "Captions are still being made.", "Wait for them, or cancel them.")
    runtime.check_idle()
    service.session()  # says so when there is nothing that could be started
    _queue = Queue(deque(items), model=model)
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=0.0, persistent=True)
    return _queue


def cancel() -> None:
    """No more captions; the one that is being made is stopped. What was made stays."""
    if _queue is not None:
        _queue.waiting.clear()
        _queue.stopped = True
        if _queue.task is not None:
            runtime.cancel(_queue.task)


def _tick() -> "float | None":
    """The timer of the queue. Nothing may pass: a timer that raises is dropped by Blender without a word."""
    global _queue
    try:
        step()
    except Exception:
        log.exception("the queue of captions failed")
        runtime.show_error(Error("internal", "An error inside MoMug stopped the captions.", "See the log."))
        _queue = None
    runtime.redraw()
    return TICK if _queue is not None else None


def step() -> None:
    """Look after the queue: note what has ended, begin the next."""
    global _queue
    queue = _queue
    if queue is None:
        return
    task = queue.task
    if task is not None:
        if not task.finished:
            return
        _ended(queue, task)
    while queue.waiting and runtime.active() is None and queue.task is None:
        queue.current = queue.waiting.popleft()
        try:
            queue.task = _ask(queue.current, queue)
        except Error as error:
            _failed(queue, error)
    if not queue.waiting and queue.task is None:
        _queue = None
        _keep(queue)
        _tell(queue)


def _keep(queue: Queue) -> None:
    for keep in queue.made:
        keep()
    if queue.made:
        runtime.push_undo("MoMug: Caption")


def _ask(wanted: Item, queue: Queue) -> runtime.Task:
    armature = wanted.armature.resolve()
    action = wanted.action.resolve() if wanted.action is not None else None
    if armature is None or (wanted.action is not None and action is None):
        raise Error("gone", "It is gone.")
    return ask.start_caption(armature, action=action, model=queue.model, frame_range=wanted.frames, later=queue.made)


def _ended(queue: Queue, task: runtime.Task) -> None:
    queue.task = None
    if task.error is None:
        queue.done += 1
        queue.current = None
    elif task.error.code in ("cancelled", "abandoned"):
        queue.stopped, queue.current = True, None
        queue.waiting.clear()
        if task.error.code == "abandoned":  # another file is open by now
            queue.made.clear()
            queue.done = 0
    else:
        _failed(queue, task.error)


def _failed(queue: Queue, error: Error) -> None:
    queue.failed.append((queue.current.name, error.message))
    queue.current = None
    log.warning("no caption of %s: %s", queue.failed[-1][0], error)
    if error.code not in _OF_ONE:
        queue.waiting.clear()
        queue.stopped = True
        runtime.show_error(error)


def _tell(queue: Queue) -> None:
    total = queue.done + len(queue.failed)
    if runtime.status().failed and queue.stopped:
        return  # the reason is shown already
    if queue.stopped:
        runtime.tell(f"Cancelled. Captions made: {queue.done}.")
    elif queue.failed:
        name, why = queue.failed[0]
        runtime.show_error(
            Error("partly", f"Without a caption: {len(queue.failed)} of {total}." + f" '{name}': {why}", "See the log.")
        )
    elif total > 1:
        runtime.tell(f"{total} captions were made.")


def caption_shown(context_armature) -> str:
    """The caption of what the armature does now: of its active action, or its own."""
    action = results.current_action(context_armature)
    return assets.caption_of(action if action is not None else context_armature)


def forget() -> None:
    """Another file is being opened, or the add-on goes: what was asked for belongs to the past."""
    global _queue
    _queue = None
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
