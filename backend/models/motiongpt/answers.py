"""Codes of a motion that is watched: one answer after the other, each from where the last one ended."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from backend.codecs.causal_vae import STRIDE
from backend.models import asked, choosing
from backend.models.interface import Cancelled, GenerateRequest, Watcher
from backend.models.motiongpt import sampling
from backend.protocol import FPS

if TYPE_CHECKING:
    from backend.models.motiongpt.model import MotionGPT

PIECE = 4  # codec steps that are told at once: 16 frames


class Answers:
    """An answer ends with its sentence, by itself after ``min_seconds``, or when it is as long as one can be; the next
    goes on from its last token. wanted: frames of the whole motion, or None."""

    def __init__(self, model: "MotionGPT", request: GenerateRequest, wanted: int | None, seed: int, watcher: Watcher):
        self.model, self.request, self.seed, self.watcher = model, request, seed, watcher
        self.total = None if wanted is None else model._tokens(wanted)
        self.before: Tensor | None = None  # entries of the last token
        self.done = 0  # tokens of the whole motion
        self.begun = 0  # answers
        self.sentence, self.left, self.answer = "", 0, iter(())

    @property
    def state(self) -> tuple[Tensor | None, int]:
        """Where the motion stands; see :meth:`go_back`."""
        return self.before, self.done

    def go_back(self, state: tuple[Tensor | None, int]) -> None:
        """Let the next answer begin where the motion stood at ``state``."""
        self.before, self.done = state
        self.left = 0

    def piece(self, cancelled: Cancelled) -> tuple[str, Tensor]:
        """The sentence that holds and the next codes (n,levels), at most PIECE steps, fewer where an answer ends.
        Raises BackendError ``cancelled``."""
        config, found = self.model.config, []
        while sum(map(len, found)) < PIECE:
            sentence = self.watcher.prompt()
            if found and (sentence != self.sentence or not self.left or self.watcher.stopped()):
                break
            if sentence != self.sentence or not self.left:
                self._begin(sentence)
            asked.stop_if(cancelled)
            tokens, codes = next(self.answer)
            if int(tokens[0]) >= config.codes:
                self.left = 0
                continue
            self.before, self.done, self.left = self.model.tokens.vectors(codes[0]), self.done + 1, self.left - 1
            found.append(codes[0].view(-1, config.levels))
        return self.sentence, torch.cat(found)

    def _begin(self, sentence: str) -> None:
        model, request = self.model, self.request
        self.left = model.longest if self.total is None else min(self.total - self.done, model.longest)
        frames = None if self.total is None else self.left * STRIDE * model.config.patch
        ask = model._ask(sentence, frames, [], request.guidance_scale, self.before)
        seed = self.seed + self.begun * choosing.APART
        least = model._tokens(int(model.config.min_seconds * FPS))
        self.answer = sampling.write(model.tokens, ask, [seed], self.left, model._settings, least)
        self.sentence, self.begun = sentence, self.begun + 1
