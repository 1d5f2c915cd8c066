"""A model for tests of batches that needs no weights: the prompt says what happens. Importable by workers."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.models.interface import GenerateResult
from backend.motion.skeleton import Motion

DESCRIBED = [
    {
        "name": "momug", "label": "Fake", "fps": 30.0, "joints": 22, "min_seconds": 1.0, "max_seconds": 10.0,
        "default_steps": 10, "conditions": ["text", "timeline", "poses", "loop"], "presets": [{"name": "fast"}],
        "available": True, "reason": "", "captions": True,
    }
]  # fmt: skip


class Model:
    """Notes in ``folder`` what was made how often, one empty file a time."""

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def generate(self, request, progress, cancelled):
        return self.generate_batch([request], progress, cancelled)[0]

    def generate_batch(self, requests, progress, cancelled):
        for request in requests:
            self._happens(request.prompt, len(requests))
        for request in requests:
            (self.folder / f"made-{request.seed}-{time.time_ns()}-{os.getpid()}-{len(requests)}").touch()
        return [GenerateResult([self._motion(request)], [request.seed], {"denoise": 0.01}) for request in requests]

    def _motion(self, request) -> Motion:
        frames = round((request.seconds or 2.0) * 30)
        rotations = np.zeros((frames, 22, 4))
        rotations[..., 0] = 1
        return Motion(rotations, np.full((frames, 3), request.seed % 97))

    def _happens(self, prompt: str, count: int) -> None:
        if "slowly" in prompt:
            time.sleep(0.15)
        if "refuses" in prompt:
            raise BackendError("internal", "The model refuses.")
        if "breaks" in prompt:
            raise KeyError("a bug")
        if "too much" in prompt and count > 1:
            raise MemoryError
        if "always dies" in prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        mark = self.folder / "died"
        if "dies once" in prompt and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Loader:
    """What ``Settings.load`` takes; ``described`` stands for the installed models."""

    described = DESCRIBED

    def __init__(self, folder: Path):
        self.folder = str(folder)

    def __call__(self, name: str, device: str, precision: str) -> Model:
        return Model(self.folder)
