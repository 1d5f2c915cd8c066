"""A motion that goes to the add-on while it is made.

The add-on sends ``stream`` (the fields of ``generate``, and ``ahead``) and gets ``partial`` messages: ``first``, the
number of the first frame, ``frames``, ``fps``, ``prompt``, the sentence that the model follows in them, and arrays
``rotations`` (n,22,4), ``translation`` (n,3), ``contacts`` (n,4) and ``rest_offsets`` (22,3), n at most
``protocol.MAX_PIECE``, all in one world frame. Meanwhile it may send, with the id of the stream as ``target``:

- ``played``, with ``frames``: how many frames it has used. At most ``ahead`` frames more than that are sent; then the
  model waits, so that neither side ever holds more than these.
- ``steer``, with ``prompt``: the sentence that holds from the model's next look on. With ``keep`` as well, a number of
  frames: those stay, and what was sent beyond them is made anew. The next ``partial`` then begins (``first``) there, or
  a few frames later where the model can go back to; an add-on forgets what it has from that frame on.
- ``stop``: end here. The ``result`` says how many ``frames`` were sent, and which sentence held from which frame on
  (``prompts``); it brings no arrays, because all have been sent.
- ``cancel``, as for any request.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backend import protocol
from backend.errors import BackendError

log = logging.getLogger(__name__)

PATIENCE = 600.0  # seconds that a full stream waits for somebody who plays no more
LOOK = 0.05  # seconds between two looks at cancel while it waits


class Stream:
    """One running stream: a ``models.interface.Watcher`` for the model's thread, steered by the reading thread.

    send: called with (header fields, arrays) of each partial. ahead: see above. cancelled: as for ``generate``.
    """

    def __init__(
        self,
        prompt: str,
        ahead: int,
        send: Callable[[dict[str, Any], dict[str, Any]], None],
        cancelled: Callable[[], bool],
    ):
        self.ahead = ahead
        self.sent = 0
        self.played = 0
        self.prompts: list[tuple[int, str]] = []  # (first frame, sentence) as the model heard them
        self.waited = 0.0  # seconds that the model waited for the add-on
        self.full = False  # it was ended because it is as long as a stream may be
        self._prompt = prompt
        self._keep: int | None = None  # frames that stay, until the model has gone back
        self._stop = self._ended = False
        self._send, self._cancelled = send, cancelled
        self._changed = threading.Condition()

    # --- the model's thread

    def emit(self, motion) -> None:
        """The next frames (``Motion``), sent in pieces as the add-on has room; returns early once it has stopped.
        Raises BackendError ``cancelled``, or ``abandoned`` when nobody played for ``PATIENCE`` seconds."""
        from backend import requests

        if self.sent + motion.frames > protocol.MAX_STREAM_FRAMES:
            self.full = True
            self.stop()
        arrays = requests.partial_arrays(motion)
        sentence = self.prompts[-1][1] if self.prompts else self._prompt
        for start in range(0, motion.frames, protocol.MAX_PIECE):
            piece = {name: array[start : start + protocol.MAX_PIECE] for name, array in arrays.items()}
            frames = len(piece["translation"])
            if not self._wait_for_room(frames, may_drop=start == 0):
                return
            fields = {"first": self.sent, "frames": frames, "fps": float(motion.fps), "prompt": sentence}
            self.sent += frames  # before they go: whoever is quick has played them before this thread goes on
            self._send(fields, {**piece, "rest_offsets": requests.float_array(motion.rest_offsets)})

    def prompt(self) -> str:
        """The sentence that holds from here on."""
        with self._changed:
            if not self.prompts or self.prompts[-1][1] != self._prompt:
                if self.prompts and self.prompts[-1][0] == self.sent:
                    self.prompts.pop()  # steered again before a frame was made of it
                self.prompts.append((self.sent, self._prompt))
            return self._prompt

    def back_to(self, starts: Sequence[int]) -> int | None:
        """Where the model goes on, of the frames ``starts`` that it can go back to; None: where it is."""
        with self._changed:
            keep, self._keep = self._keep, None
            at = min((start for start in starts if keep is not None and keep <= start <= self.sent), default=None)
            if at is not None:
                self.sent = at
                self.prompts = [(first, prompt) for first, prompt in self.prompts if first < at]
            return at

    def stopped(self) -> bool:
        """Nobody wants more frames."""
        return self._stop

    def _wait_for_room(self, frames: int, may_drop: bool) -> bool:
        """False when the frames are not wanted any more: it was stopped, or is to go back behind them."""
        began = time.monotonic()
        with self._changed:
            played = self.played
            since = began
            while not self._stop and self.sent + frames > self.played + self.ahead:
                if may_drop and self._keep is not None:
                    return False
                self._raise_if_cancelled()
                self._changed.wait(LOOK)
                if self.played != played:
                    played, since = self.played, time.monotonic()
                if time.monotonic() - since > PATIENCE:
                    told = f"Nobody has watched the motion for {PATIENCE / 60:g} minutes, so it was ended."
                    raise BackendError("abandoned", told)
            self.waited += time.monotonic() - began
            self._raise_if_cancelled()
            return not self._stop

    def _raise_if_cancelled(self) -> None:
        if self._cancelled():
            raise BackendError("cancelled", "The job was cancelled.", retryable=True)

    # --- the reading thread

    def steer(self, prompt: str, keep: int | None = None) -> None:
        """Another sentence from now on, or from frame ``keep`` on. Raises BackendError when the motion ends already."""
        with self._changed:
            if self._stop or self._ended or self._cancelled():
                raise BackendError("ending", "The motion is ending already, so the new prompt is not used.")
            if keep is not None and not self.played <= keep <= self.sent:
                told = f"{self.played} frames have been played and {self.sent} sent, so it cannot go on from {keep}."
                raise BackendError("bad_request", told)
            self._prompt, self._keep = prompt, keep
            self._changed.notify_all()

    def stop(self) -> None:
        """No more frames."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()

    def note_played(self, frames: int) -> None:
        """The add-on has used so many frames; a smaller number than before changes nothing."""
        with self._changed:
            if frames > self.sent:
                raise BackendError("bad_request", f"Only {self.sent} frames have been sent, not {frames}.")
            self.played = max(self.played, frames)
            self._changed.notify_all()

    def end(self) -> None:
        """The model has returned."""
        with self._changed:
            self._ended = True


def make(model: Any, request: Any, stream: Stream, progress: Callable, cancelled: Callable) -> dict[str, Any]:
    """Let ``model`` make the motion of ``request`` into ``stream``; the fields of the result. Raises BackendError."""
    if not hasattr(model, "stream"):
        raise BackendError("bad_request", "This model cannot stream motion.", "Choose another model, or Generate.")
    started = time.monotonic()
    try:
        result = None if stream.stopped() else model.stream(request, stream, progress, cancelled)
    finally:
        stream.end()
    stream._raise_if_cancelled()
    if stream.sent == 0:
        raise BackendError("cancelled", "The motion was stopped before its first frame.", retryable=True)
    seconds = time.monotonic() - started
    stream.prompts = stream.prompts or [(0, request.prompt)]
    log.info("streamed %d frames in %.1f s, %.1f s of it waiting", stream.sent, seconds, stream.waited)
    warnings = list(result.warnings)
    if stream.full:
        warnings.append(f"A motion ends after {protocol.MAX_STREAM_FRAMES / protocol.FPS / 60:g} minutes.")
    return {
        "frames": stream.sent,
        "seed": int(result.seeds[0]),
        "prompts": [{"first": first, "prompt": sentence} for first, sentence in stream.prompts],
        "warnings": warnings,
        "timings": {**result.timings, "stream": seconds, "waited": stream.waited},
    }


def message(kind: str, fields: Mapping[str, Any], stream: Stream) -> None:
    """A ``played``, ``steer`` or ``stop`` message for ``stream``. Raises BackendError."""
    from backend import requests

    if kind == protocol.STOP:
        stream.stop()
    elif kind == protocol.STEER:
        keep = fields.get("keep")
        stream.steer(requests.prompt(fields.get("prompt")), None if keep is None else requests.frame_count(keep))
    else:
        stream.note_played(requests.frame_count(fields.get("frames")))
