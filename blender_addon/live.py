"""A motion on the rig while it is made: keys are laid as frames come, the timeline plays, and the end is a take.

While it runs the armature shows an action of its own, a take that waits for a decision; what the artist had is set
aside by the same means as for any result, and comes back bit for bit. Main thread only.
"""

import time
from dataclasses import replace

import bpy
import numpy as np

from . import ask, commit, runtime, service, targets
from .arrivals import Arrivals
from .client import CANCELLED, DONE, FAILED, protocol
from .retarget import CanonicalMotion
from .retarget import live as pieces
from .rig import RigError
from .scene import compat, keys, takes
from .service import Error, log
from .staging import Stage

BUFFER = 0.5  # seconds that must be there before the motion plays
REFILL = 2.0  # and after it ran out: a model that is slower than the clock then plays on for longer at a time
LAID = 1.0  # seconds of keys before the playhead; what has come beyond them waits

LOADING, BUFFERING, PLAYING, WAITING, ENDING = "loading", "buffering", "playing", "waiting", "ending"


class Live:
    """One stream on one armature; ``advance`` is called by the timer, or by a script that waits.

    fields: of the ``stream`` request. first: frame of the scene where the motion begins. play: move the scene's frame
    at the pace of the motion; without it every frame that comes is shown at once, and counts as played when
    :meth:`use` says so.
    """

    LOOK = 1 / 60  # seconds between two looks at the clock

    def __init__(self, armature, scene, fields: dict, options: takes.Options, first: int, only, play: bool):
        self.fields, self.options, self.first, self.only, self.play = fields, options, first, only, play
        self.task: runtime.Task | None = None
        self.target, self.scene_target = targets.Target(armature), targets.Target(scene)
        self.state = LOADING
        self.head = -1  # the last frame that was played, counted from ``first``
        self.laid = 0  # frames of the scene that have keys
        self.asked = fields["prompt"]  # the last sentence that was sent
        self.empties = 0  # how often the buffer ran out
        self.first_keys: float | None = None  # seconds from the request to the first keys on the rig
        self._frame_before = scene.frame_current
        self._stage = Stage(armature, scene, options, first, 0, only)
        self.fps = self._stage.fps
        self.arrived = Arrivals(pieces.Placer(self._stage.start))
        self._rig = self._retargeting()
        self._take = ""
        self._clock = 0.0
        self._over = False

    # --- what a panel shows

    @property
    def buffered(self) -> float:
        """Seconds that have come and were not played yet."""
        return max(0.0, self.arrived.usable / protocol.FPS - (self.head + 1) / self.fps)

    @property
    def rate(self) -> float:
        """Frames of the motion that came in each of the last seconds, 30 when the model keeps up."""
        return self.arrived.rate

    @property
    def prompt(self) -> str:
        """The sentence that the model follows in the frame that is played."""
        return self.arrived.prompt_at((self.head + 1) * protocol.FPS / self.fps, self.fields["prompt"])

    def words(self) -> str:
        """What happens now, for the panel."""
        if self.task is None or self.state == LOADING:
            return self.task.phase_text if self.task is not None else ""
        told = {
            BUFFERING: "Collecting the first frames",
            PLAYING: "Playing",
            WAITING: "Waiting for the model: the buffer is empty",
            ENDING: "Stopping",
        }
        return self.task.waits_for or told[self.state]

    # --- what a button does

    def steer(self, prompt: str) -> None:
        """From now on ``prompt``: what has keys stays, what was made ahead beyond them is made anew. Raises Error."""
        session = service.current()
        try:
            if session is None or self._over:
                raise Error("ending", "The motion is ending already, so the new prompt is not used.")
            keep = self._rig.received if self.play and self._rig.received else None
            session.steer(self.task.job, prompt, keep)
        except protocol.ProtocolError as error:
            raise Error("bad_prompt", str(error)) from error
        if self.task.job.refused:
            raise Error("ending", self.task.job.refused)
        self.asked, self.arrived.keep = protocol.clean_prompt(prompt), keep

    def stop(self) -> None:
        """No more frames; what was played stays as a take. Before the first one everything is as it was."""
        if self.head < 0:
            runtime.cancel(self.task, "Stopped before the first frame, so nothing has changed.")
            return
        self.state = ENDING
        session = service.current()
        if session is not None:
            session.stop(self.task.job)

    def use(self, frames: int) -> None:
        """So many frames of the scene, counted from the first, were used."""
        self.head = max(self.head, min(frames, self.laid) - 1)
        self._tell_played()

    # --- the timer

    def advance(self, busy: str = "") -> bool:
        """Take what has come, lay it, play on. False when the request is over and all of it was played.

        busy: why nothing may be touched now; then nothing is, and the model waits.
        """
        job = self.task.job
        now = job.state  # before what has come is taken: all of it is here when this says that it is over
        if self.task.dropped or now == CANCELLED:
            self._put_back()
            return not job.finished
        for piece in job.incoming.take():
            self.arrived.add(piece, self._rig.received, self.asked)
        if now == DONE or job.refused:
            self.arrived.keep = None  # nothing is made anew any more
        self.task.waits_for = busy
        if busy:
            self._clock = 0.0
            return True
        if now == FAILED:
            self._keep_after_failure()
            return False
        armature = self._armature()
        if armature is None:
            runtime.cancel(self.task, f"The armature '{self.target.name}' is gone, so the motion was ended.")
            return True
        self._lay(armature)
        if self.play and self.state != ENDING:
            self._play(now == DONE)
        if now != DONE:
            return True
        return self.state != ENDING and (bool(self.arrived.queue) or (self.play and self.head < self.laid - 1))

    def apply(self, header: dict, _arrays: dict) -> list:
        """The request has ended well: what was played becomes a take like any other. Returns its actions."""
        played = self.play or self.state == ENDING
        return self._settle(header, self.head + 1 if played else self.laid)

    def close(self) -> None:
        """It is ended from outside: what has come stays, unless it was cancelled."""
        if self._over or self.task is None or self.task.finished:
            return
        if self.task.dropped:
            self._put_back()
        else:
            self._keep_after_failure()

    # --- frames that come

    def _retargeting(self) -> pieces.Live:
        options = self.options
        return pieces.Live(
            self._stage.rig,
            self._stage.mapping,
            self.fps,
            hold_feet=options.foot_lock,
            clear_hands=options.clear_hands,
            ik_legs=options.ik_legs,
            ik_arms=options.ik_arms,
        )

    def _armature(self):
        """The armature; when the live take on it is gone (undo), its keys are laid anew."""
        armature = self.target.resolve()
        if armature is not None and self._take:
            found = commit.pending(armature)
            if found is None or found.take.id != self._take:
                log.info("the motion on '%s' was taken away while it was made, and is laid anew", armature.name)
                self._take, self.laid = "", 0
                self._rig = self._retargeting()
                self.arrived.again()
        return armature

    def _lay(self, armature) -> None:
        """Keys for what has come, as far as it is needed now."""
        everything = not self.play or self.state == ENDING
        arrived = self.arrived
        while arrived.queue and (everything or self.laid <= self.head + LAID * self.fps):
            if arrived.keep is not None and self._rig.received >= arrived.keep:
                return  # what comes next is about to be made anew
            animation = self._rig.add(arrived.queue.popleft())
            if animation is None:
                continue
            if not self._take:
                self._begin(armature, animation)
            else:
                found = commit.pending(armature)
                only = None if self.only is None else set(self.only)
                wanted = keys.channels(armature, animation, only)
                keys.append(armature, found.action, wanted, self.first + self.laid)
            self.laid += animation.frames
            if self.first_keys is None:
                self.first_keys = time.perf_counter() - self.task.started
                log.info("first keys after %.0f ms", 1000 * self.first_keys)
                self._show(0)

    def _begin(self, armature, animation) -> None:
        scene = self.scene_target.resolve() or bpy.context.scene
        options = replace(self.options, destination=takes.ACTION, reduce=False)
        recipe = {"prompt": self.fields["prompt"], "model": self.fields["model"], "seed": self.fields["seed"] or 0}
        made = commit.make(
            armature, scene, [self.arrived.motions[0]], [recipe], options, frame_start=self.first, only=self.only,
            placed=True, animation=animation,
        )  # fmt: skip
        self._take = takes.read(made[0])[-1].id

    # --- the clock

    def _play(self, complete: bool) -> None:
        now = time.monotonic()
        if self.state == LOADING and self.laid:
            self.state = BUFFERING
        if self.state in (BUFFERING, WAITING) or not self._clock:
            if not self.laid or not (complete or self.buffered >= self._enough()):
                return
            self.state, self._clock = PLAYING, now - (self.head + 1) / self.fps
        if self.state != PLAYING:
            return
        wanted = int((now - self._clock) * self.fps)
        if wanted >= self.laid:
            wanted = self.laid - 1
            if not complete and (self.arrived.keep is not None or not self.arrived.queue):
                self.state = WAITING
                self.empties += 1
        if wanted > self.head:
            self.head = wanted
            self._show(wanted)
            self._tell_played()

    def _enough(self) -> float:
        """Seconds to wait for before the motion plays on, no more than the model may be ahead."""
        room = (self.task.job.incoming.ahead - protocol.MAX_PIECE) / protocol.FPS
        return min(REFILL if self.state == WAITING else BUFFER, room)

    def _show(self, frame: int) -> None:
        scene = self.scene_target.resolve()
        if scene is None or not self.play:
            return
        for window in bpy.context.window_manager.windows:
            if window.screen.is_animation_playing:  # two clocks would run at double speed
                with bpy.context.temp_override(window=window):
                    bpy.ops.screen.animation_cancel(restore_frame=False)
        scene.frame_set(self.first + frame)

    def _tell_played(self) -> None:
        session = service.current()
        if session is not None and self.head >= 0:
            session.played(self.task.job, int((self.head + 1) * protocol.FPS / self.fps))

    # --- the end

    def _put_back(self) -> None:
        """The scene as it was."""
        if self._over:
            return
        self._over = True
        armature, scene = self.target.resolve(), self.scene_target.resolve()
        found = commit.pending(armature) if armature is not None and self._take else None
        if found is not None and found.take.id == self._take:
            commit.reject(armature)
        if scene is not None and self.play and self._take:
            scene.frame_set(self._frame_before)

    def _keep_after_failure(self) -> None:
        """What has come stays on the rig, as far as anything has."""
        armature = self._armature()
        if armature is None or not self.arrived.motions:
            self._over = True
            return
        self.state, self.arrived.keep = ENDING, None
        self._lay(armature)
        self.task.result = self._settle({"seed": self.fields["seed"] or 0, "warnings": []}, self.laid)
        self.task.kept = f"The {self.laid} frames that had come are on {armature.name}."

    def _settle(self, header: dict, count: int) -> list:
        """The first ``count`` frames of the scene as a take like any other; the shown pose stays exactly."""
        self._over = True
        armature, scene = self.target.resolve(), self.scene_target.resolve() or bpy.context.scene
        if armature is None:
            raise Error("gone", f"The armature '{self.target.name}' is gone, so its motion was not kept.")
        count = max(1, min(count, self.laid))
        whole = pieces.joined(*self.arrived.motions)
        at = (count - 1) * protocol.FPS / self.fps
        used = min(whole.frames, int(np.ceil(at - 1e-6) if self.fps > protocol.FPS else np.rint(at)) + 1)
        parts = (whole.rotations[:used], whole.translation[:used])
        whole = CanonicalMotion(*parts, whole.rest_offsets, whole.fps, whole.contacts[:used])
        heard = [part for part in self.arrived.prompts if part["first"] < used]
        recipe = ask.recipe(self._told(heard), header, whole, int(header["seed"]))
        recipe["streamed"] = heard
        seen = min(max(self.head, 0), count - 1)
        pins = [[seen, self._pose(armature, seen)]] if self.options.destination != takes.SPLICE else []
        commit.reject(armature)
        actions = self._make(armature, scene, whole, recipe, pins)
        last = takes.read(actions[0])[-1].last
        end = scene.frame_end
        if self.play:
            scene.frame_end = max(end, last)
            scene.frame_set(self.first + seen)
        told = f"'{actions[0].name}' is on {armature.name}, {count / self.fps:.1f} s"
        if scene.frame_end != end:
            told += f"; the timeline now ends at frame {scene.frame_end}"
        runtime.tell(" ".join([f"{told}.", *runtime.warnings_of(header)]))
        return actions

    def _told(self, heard: "list[dict]") -> dict:
        prompts = [part["prompt"] for part in heard] or [self.fields["prompt"]]
        return {**self.fields, "prompt": ", then ".join(prompts)}

    def _make(self, armature, scene, whole: CanonicalMotion, recipe: dict, pins: list) -> list:
        place = {"frame_start": self.first, "only": self.only, "placed": True, "pins": pins}
        try:
            return commit.make(armature, scene, [whole], [recipe], self.options, **place)
        except RigError as error:
            if self.options.destination == takes.ACTION:
                raise
            log.warning("the motion is kept as an action of its own: %s", error)
            options = replace(self.options, destination=takes.ACTION)
            return commit.make(armature, scene, [whole], [recipe], options, **place)

    def _pose(self, armature, frame: int) -> dict:
        """What the live keys show at a frame: data path -> values."""
        found = commit.pending(armature)
        values: dict[str, list[float]] = {}
        for curve in sorted(compat.fcurves(found.action, armature), key=lambda curve: curve.array_index):
            values.setdefault(curve.data_path, []).append(curve.evaluate(self.first + frame))
        return values


def why_not(model: str) -> str:
    """Why ``model`` cannot be watched while it works, one sentence; empty when it can, or that is not known yet."""
    info = service.model_info(model)
    if not info or info.get("streams"):
        return ""
    others = " or ".join(one.get("label") or one["name"] for one in service.models() if one.get("streams"))
    label = info.get("label") or model
    if others:
        return f"{label} cannot show a motion while it is made: choose {others} as the model"
    return f"{label} cannot show a motion while it is made"


def first_model() -> str:
    """The first model that can be watched while it works. Starts the backend and waits for it, when it has not told
    its models yet. Raises Error."""
    if not service.models():
        session = service.session()
        if not session.wait_ready(session.hello_timeout):
            failure = session.failure
            raise (
                Error(failure.code, failure.message, failure.hint, failure.details)
                if failure
                else Error("no_hello", "The backend did not answer in time.")
            )
        service.remember_capabilities()
    able = [one["name"] for one in service.models() if one.get("streams")]
    usable = [name for name in able if service.model_info(name).get("available", True)]
    if not able:
        raise Error("bad_request", "No model can show a motion while it is made.")
    return (usable or able)[0]


def active() -> "Live | None":
    """The stream that runs, or None."""
    task = runtime.active()
    return task.live if task is not None else None


def start(
    armature,
    prompt: str,
    *,
    frame_start: "int | None" = None,
    options: "takes.Options | None" = None,
    only: "list[str] | None" = None,
    ahead: float = protocol.AHEAD / protocol.FPS,
    scene=None,
    play: bool = True,
    undo_step: bool = False,
    **asked: object,
) -> Live:
    """Ask for a motion that is shown while it is made, and return at once. See ``api.stream``; asked: see
    ``ask.checked``. Raises Error."""
    runtime.check_idle()
    scene = scene or bpy.context.scene
    # where a motion goes round or stays in place is known at its end: the buttons of the result do that
    options = replace(options or takes.Options(), loop=False, in_place=False)
    seconds = asked.pop("seconds", None)
    fields = ask.checked(prompt, **asked)
    service.check_request(fields["model"], seconds, "stream_seconds")
    fields["seconds"] = None if seconds is None else float(seconds)
    del fields["variations"]
    problem = why_not(fields["model"])
    if problem:
        raise Error("bad_request", f"{problem}.")
    try:
        frames = round(protocol.check_number(ahead, "The seconds ahead", 1.0, 20.0) * protocol.FPS)
    except protocol.ProtocolError as error:
        raise Error("bad_request", str(error)) from error
    ask.require_map(armature)
    ask.require_room(armature, options)
    first = scene.frame_current if frame_start is None else int(frame_start)
    try:
        live = Live(armature, scene, fields, options, first, only, play)
    except RigError as error:
        raise Error("bad_armature", str(error)) from error
    undo = "MoMug: Stream" if undo_step else ""
    task = runtime.start(protocol.STREAM, {**fields, "ahead": frames}, None, live.apply, undo)
    live.task, task.live = task, live
    return live
