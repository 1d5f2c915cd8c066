"""What the tests of every system ask a model with, how they compare its answers, and somebody who watches a stream."""

import numpy as np

from backend.models import again, choosing
from backend.models.interface import GenerateRequest, GenerateResult
from backend.motion.skeleton import Motion


def quiet(phase: str, step: int, total: int) -> None:
    """Progress that nobody looks at."""


def never() -> bool:
    """Nobody cancels."""
    return False


def ask(model, prompt: str = "a person walks forward", progress=quiet, cancelled=never, **fields) -> GenerateResult:
    """Two seconds from seed 7 unless ``fields`` say something else."""
    return model.generate(GenerateRequest(prompt, **({"seconds": 2.0, "seed": 7} | fields)), progress, cancelled)


def same(a: Motion, b: Motion, tolerance: float = 0.0) -> bool:
    return (
        a.frames == b.frames
        and np.abs(a.rotations - b.rotations).max() <= tolerance
        and np.abs(a.translation - b.translation).max() <= tolerance
    )


def asks_again(model, monkeypatch) -> None:
    """Where all first tries miss something, ``best`` asks for one action at a time."""
    phases, plans, improve = set(), [], again.improve

    def heard(sentences, seeds, tried, make, score):
        improve(sentences, seeds, tried, lambda words, *rest: plans.append(words) or make(words, *rest), score)

    monkeypatch.setattr(again, "improve", heard)
    monkeypatch.setattr(choosing, "lacking", lambda sentence, motions, score: ["jump"] if len(motions) < 8 else [])
    prompt, tries = "a person jumps, then sits down", next(p["tries"] for p in model.presets if p["name"] == "best")
    result = ask(model, prompt, lambda phase, step, total: phases.add(phase), preset="best")
    wanted = ["a person jumps", "a person sits down"]
    assert tries == 4 and plans == [wanted] and "again" in phases
    assert len(result.motions) == 1 and result.motions[0].frames == 60 and result.seeds == [7]


class Audience:
    """A watcher in a list. ``says``: {frames so far: sentence}; ``stop_at``: frames after which it has seen enough."""

    def __init__(self, says=None, stop_at=10**9, on_piece=lambda: None):
        self.says, self.stop_at, self.on_piece = says or {0: "a person walks forward"}, stop_at, on_piece
        self.pieces = []

    @property
    def frames(self):
        return sum(piece.frames for piece in self.pieces)

    def emit(self, motion):
        self.pieces.append(motion)
        self.on_piece()

    def prompt(self):
        return self.says[max(at for at in self.says if at <= self.frames)]

    def back_to(self, starts):
        return None

    def stopped(self):
        return self.frames >= self.stop_at
