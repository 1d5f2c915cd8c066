"""The frames of a stream between the thread that reads them and whoever plays them; bounded, because what was not
played is not sent (see ``backend.streaming``)."""

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from . import protocol

if TYPE_CHECKING:
    import numpy as np


class Piece(NamedTuple):
    """Consecutive frames of a stream, canonical. first: number of the first. prompt: the sentence that holds in them.

    rotations (n,22,4), translation (n,3), contacts (n,4), rest_offsets (22,3), float32, as in ``CanonicalMotion``.
    """

    first: int
    fps: float
    prompt: str
    rotations: "np.ndarray"
    translation: "np.ndarray"
    contacts: "np.ndarray"
    rest_offsets: "np.ndarray"

    @property
    def frames(self) -> int:
        return len(self.rotations)


class Incoming:
    """``add`` on the reading thread, ``take`` and ``played`` anywhere. ahead: frames that may come before they were
    played."""

    def __init__(self, ahead: int):
        self.ahead = ahead
        self.received = self.played = 0
        self._keep: int | None = None  # frames that stay, while others may be sent anew
        self._pieces: deque[Piece] = deque()
        self._arrived = threading.Condition()

    def add(self, message: protocol.Message) -> None:
        """A ``partial``. Raises protocol.ProtocolError when it is not the next piece of this stream."""
        piece = _piece(message)
        with self._arrived:
            last = piece.first + piece.frames
            if self._keep is not None and self._keep <= piece.first < self.received:
                self._forget(piece.first)
            if piece.first != self.received or last > protocol.MAX_STREAM_FRAMES:
                raise protocol.ProtocolError("The backend sent frames that do not follow the last ones.")
            if last > self.played + self.ahead:
                raise protocol.ProtocolError("The backend sent more frames than there is room for.")
            self.received = last
            self._pieces.append(piece)
            self._arrived.notify_all()

    def keep(self, frames: "int | None") -> None:
        """The backend may go back once, and send anew what comes after so many frames; None: it may not."""
        with self._arrived:
            self._keep = frames

    def _forget(self, first: int) -> None:
        """What was not taken yet is gone from frame ``first`` on; who took it sees by the next piece."""
        self._keep = None
        self.received = first
        self._pieces = deque(shortened(piece, first) for piece in self._pieces if piece.first < first)

    def take(self) -> list[Piece]:
        """What has arrived since the last call. A piece that begins before the end of the last one takes the place of
        what was there."""
        with self._arrived:
            pieces = list(self._pieces)
            self._pieces.clear()
            return pieces

    def note_played(self, frames: int) -> bool:
        """So many frames were used; False when that was known."""
        with self._arrived:
            frames = min(frames, self.received)
            if frames <= self.played:
                return False
            self.played = frames
            return True

    def wait(self, timeout: float) -> bool:
        """Block until something can be taken; False when ``timeout`` seconds were not enough."""
        with self._arrived:
            return self._arrived.wait_for(lambda: bool(self._pieces), timeout)

    def check_end(self, header: dict[str, Any]) -> None:
        """Does the ``result`` speak of the frames that came, or of those that stay where the backend had gone back and
        was stopped before it sent anything anew? Raises protocol.ProtocolError."""
        frames = protocol.check_number(header.get("frames"), "The number of frames", 1, self.received, integer=True)
        protocol.check_number(header.get("seed"), "The seed", 0, protocol.MAX_SEED, integer=True)
        gone_back = self._keep is not None and self._keep <= frames
        if frames != self.received and not gone_back:
            raise protocol.ProtocolError(f"The backend sent {self.received} frames and says that it was {frames}.")


def shortened(piece: Piece, end: int) -> Piece:
    """``piece`` without its frames from number ``end`` on."""
    count = min(piece.frames, end - piece.first)
    arrays = {name: getattr(piece, name)[:count] for name in ("rotations", "translation", "contacts")}
    return piece._replace(**arrays)


def _piece(message: protocol.Message) -> Piece:
    import numpy as np  # not at the top: build.py reads this package with a Python that has no numpy

    header = message.header
    frames = protocol.check_number(header.get("frames"), "The number of frames", 1, protocol.MAX_PIECE, integer=True)
    most = protocol.MAX_STREAM_FRAMES
    first = protocol.check_number(header.get("first"), "The number of the first frame", 0, most, integer=True)
    fps = protocol.check_number(header.get("fps"), "The frame rate", 1.0, protocol.MAX_FPS)
    if not isinstance(header.get("prompt"), str):
        raise protocol.ProtocolError("The backend sent frames without their prompt.")
    shapes = {
        "rotations": (frames, 22, 4),
        "translation": (frames, 3),
        "contacts": (frames, 4),
        "rest_offsets": (22, 3),
    }
    arrays = {name: np.asarray(array) for name, array in message.arrays.items()}
    for name, shape in shapes.items():
        array = arrays.get(name)
        if array is None or array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise protocol.ProtocolError("The backend sent frames that are incomplete or not finite.")
    if (np.linalg.norm(arrays["rotations"], axis=-1) < 0.5).any():
        raise protocol.ProtocolError("The backend sent frames with rotations that are not rotations.")
    return Piece(first, fps, header["prompt"], *(arrays[name] for name in shapes))
