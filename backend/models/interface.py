"""What every motion system offers: generate from a sentence, caption a motion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from backend.motion.skeleton import Motion
from backend.motion.target import Target

Progress = Callable[[str, int, int], None]  # phase, step, total
Cancelled = Callable[[], bool]


@dataclass
class GenerateRequest:
    """A sentence and how to turn it into motion; ``None`` leaves the choice to the model.

    seconds: length; seed: of the first variation, the others count up; steps: denoising steps; preset: one of the
    model's presets; variations: how many motions. timeline: several (sentence, seconds or None) that become one
    continuous motion, instead of prompt and seconds; target: poses and places to meet, which also fixes the length;
    loop: the end leads into the beginning; style: the name of an installed pack, and how much of it, 0 to 1. The prompt
    may be empty where there is a target.
    """

    prompt: str
    seconds: float | None = None
    seed: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    preset: str | None = None
    variations: int = 1
    timeline: list[tuple[str, float | None]] = field(default_factory=list)
    target: Target | None = None
    loop: bool = False
    style: str | None = None
    style_weight: float = 1.0


def alike(request: GenerateRequest) -> tuple | None:
    """Requests with the same answer can go through a model together; None: this one has to go alone."""
    if request.timeline or request.target or request.loop or request.variations != 1 or request.seed is None:
        return None
    return (request.steps, request.preset, request.guidance_scale, request.style, request.style_weight)


@dataclass
class GenerateResult:
    """motions and the seed of each; timings in seconds by phase; warnings are whole sentences.

    segments: the first frame of each sentence of the timeline. unpinned: where poses or a loop were asked for, the
    same motions before what was given was met exactly (``motion.pin``), for measurements.
    """

    motions: list[Motion]
    seeds: list[int]
    timings: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    segments: list[int] = field(default_factory=lambda: [0])
    unpinned: list[Motion] = field(default_factory=list)


class Watcher(Protocol):
    """Who watches a motion while it is made: takes the frames, and may change its mind."""

    def emit(self, motion: Motion) -> None:
        """The next frames, in the same world frame as those before; waits while the watcher is too far behind.
        Raises BackendError ``cancelled``."""

    def prompt(self) -> str:
        """The sentence that holds from here on; it may differ from one call to the next."""

    def back_to(self, starts: Sequence[int]) -> int | None:
        """Asked before each piece: the frame to go on from, made anew from there, or None to go on as it is.

        starts: the first frames of pieces that the model can go back to, the next one (what comes now) among them. A
        piece that the watcher did not take is made anew by that.
        """

    def stopped(self) -> bool:
        """Nobody wants more frames: end, and answer with what was made."""


class MotionModel(Protocol):
    """A loaded system. The calls raise BackendError; ``cancelled`` is asked between two steps or tokens.

    A system may also have ``generate_batch(requests, progress, cancelled)``: one result for each of several requests
    that are ``alike``; and ``stream(request, watcher, progress, cancelled) -> GenerateResult``: one motion, handed to a
    :class:`Watcher` piece by piece while it is made (``streams`` in its capabilities). With ``request.seconds`` None a
    stream goes on until the watcher stops it.
    """

    def generate(self, request: GenerateRequest, progress: Progress, cancelled: Cancelled) -> GenerateResult: ...

    def caption(self, motion: Motion, progress: Progress, cancelled: Cancelled) -> str: ...
