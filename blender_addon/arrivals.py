"""The frames of a stream between their arrival and their keys: placed, in order, and taken back while a new prompt has
them made anew."""

import time
from collections import deque

import numpy as np

from .client.incoming import Piece
from .retarget import CanonicalMotion, given
from .retarget.live import Placer

RATE = 2.0  # seconds over which frames are counted
LEAST = 0.5  # seconds: pieces may come in one go


class Arrivals:
    """motions: all pieces; queue: those of them that have no keys yet; prompts: [{"prompt", "first"}], the sentence
    that holds from a frame on. Frames are the model's.

    keep: while a new prompt is on its way, how many frames stay; what is beyond them is about to be made anew.
    """

    def __init__(self, place: Placer):
        self.motions: list[CanonicalMotion] = []
        self.queue: deque[CanonicalMotion] = deque()
        self.prompts: list[dict] = []
        self.received = 0
        self.keep: int | None = None
        self._place = place
        self._counted: deque[tuple[float, int]] = deque()

    @property
    def usable(self) -> int:
        """Frames that can be played."""
        return self.received if self.keep is None else min(self.received, self.keep)

    @property
    def rate(self) -> float:
        """Frames that came in each of the last seconds."""
        if len(self._counted) < 2:
            return 0.0
        (since, before), (_, count) = self._counted[0], self._counted[-1]
        return (count - before) / max(time.monotonic() - since, LEAST)

    def prompt_at(self, frame: float, first: str) -> str:
        """The sentence that holds in a frame; ``first`` before any has come."""
        held = [part["prompt"] for part in self.prompts if part["first"] <= frame]
        return held[-1] if held else first

    def add(self, piece: Piece, keyed: int, asked: str) -> None:
        """The next frames, or others in place of those that came. keyed: frames that have keys and stay; asked: the
        sentence that was asked for last."""
        if piece.first < self.received:
            self._forget(max(piece.first, keyed))
        if piece.prompt == asked:
            self.keep = None
        late = self.received - piece.first  # frames of it whose keys are there already
        if late >= piece.frames:
            return
        motion = CanonicalMotion(
            piece.rotations, piece.translation, piece.rest_offsets, piece.fps, np.clip(piece.contacts, 0.0, 1.0)
        )
        motion = given.part(self._place(motion), late, motion.frames)
        if not self.prompts or self.prompts[-1]["prompt"] != piece.prompt:
            self.prompts.append({"prompt": piece.prompt, "first": self.received})
        self.motions.append(motion)
        self.queue.append(motion)
        self.received += motion.frames
        now = time.monotonic()
        self._counted.append((now, self.received))
        while now - self._counted[0][0] > RATE and len(self._counted) > 2:
            self._counted.popleft()

    def again(self) -> None:
        """All keys are gone: everything waits for them once more."""
        self.queue = deque(self.motions)

    def _forget(self, first: int) -> None:
        """What came from frame ``first`` on, none of which has keys, is made anew."""
        while self.received > first:
            last = self.motions.pop()
            self.queue.pop()
            self.received -= last.frames
            if self.received < first:
                last = given.part(last, 0, first - self.received)
                self.motions.append(last)
                self.queue.append(last)
                self.received = first
        self.prompts = [part for part in self.prompts if part["first"] < first]
        self._counted.clear()
