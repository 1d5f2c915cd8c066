"""The real server with a model that needs no torch. Run as a script by test_server.py; the prompt says what happens."""

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from backend import server  # noqa: E402
from backend.errors import BackendError  # noqa: E402

CAPABILITIES = {
    "label": "Stub",
    "fps": 30.0,
    "joints": 22,
    "min_seconds": 1.0,
    "max_seconds": 10.0,
    "default_steps": 10,
    "conditions": [],
    "presets": [{"name": "fast", "steps": 5}],
    "available": True,
    "reason": "",
    "captions": True,
}


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


class StubModel:
    device = "stub"

    def generate(self, request, progress, cancelled):
        import numpy as np

        from backend.models.interface import GenerateResult
        from backend.motion.skeleton import Motion

        prompt = request.prompt
        if "print" in prompt:
            print("a library talks to stdout " * 1000, flush=True)
            os.write(1, b"\0\0\0\5straight to the file descriptor")
            command = [sys.executable, "-c", "print('a child of the backend talks'); import sys; sys.stdin.read()"]
            subprocess.run(command, check=True)
        if "raise" in prompt:
            raise KeyError("a bug in the model")
        if "memory" in prompt:
            raise OutOfMemoryError("CUDA out of memory")
        if "refuse" in prompt:
            raise BackendError("checkpoint_damaged", "The weights are damaged.", "Install them again.")
        while "stubborn" in prompt:
            progress("denoise", 1, 1000)
            time.sleep(0.05)
        steps = 1_000_000 if "endless" in prompt else request.steps or 10
        for step in range(steps):
            if cancelled():
                raise BackendError("cancelled", "The job was cancelled.", retryable=True)
            progress("denoise", step + 1, steps)
            if "endless" in prompt:
                time.sleep(0.002)
        frames = round((request.seconds or 2.0) * 30)
        seeds = [(request.seed or 0) + index for index in range(request.variations)]
        rotations = np.zeros((frames, 22, 4))
        rotations[..., 0] = 1
        if "nan" in prompt:
            rotations[0, 0, 0] = np.nan
        motions = [Motion(rotations, np.full((frames, 3), seed % 100)) for seed in seeds]
        return GenerateResult(motions, seeds, {"denoise": 0.5}, ["The stub warns."])

    def stream(self, request, watcher, progress, cancelled):
        """Eight frames at a time; the x of the path is the number of words of the prompt that held, z counts."""
        import numpy as np

        from backend.models.interface import GenerateResult
        from backend.motion.skeleton import Motion

        made, size = 0, 40 if "large" in request.prompt else 8
        wanted = round(request.seconds * 30) if request.seconds else 10**9
        while made < wanted and ("stubborn" in request.prompt or not watcher.stopped()):
            if cancelled():
                raise BackendError("cancelled", "The job was cancelled.", retryable=True)
            if "slow" in request.prompt:
                time.sleep(0.05)
            back = watcher.back_to([*range(0, made, size), made])
            made = made if back is None else back
            sentence = watcher.prompt()
            frames = min(size, wanted - made)
            rotations = np.zeros((frames, 22, 4))
            rotations[..., 0] = np.nan if "nan" in sentence else 1
            count = made + np.arange(frames)
            path = np.stack([np.full(frames, len(sentence.split())), np.ones(frames), count / 30], -1)
            watcher.emit(Motion(rotations, path, contacts=np.ones((frames, 4))))
            made += frames
            progress("stream", made, wanted)
            if "die" in sentence and made >= 24:
                os._exit(9)
            if "refuse" in sentence and made >= 24:
                raise BackendError("checkpoint_damaged", "The weights are damaged.", "Install them again.")
        return GenerateResult([], [request.seed or 0], {"tokens": 0.5}, ["The stub warns."])

    def caption(self, motion, progress, cancelled):
        return f"{motion.frames} frames at {motion.fps:g}"


class StubModels:
    loaded = 0

    def describe(self):
        return [
            {"name": "stub", **CAPABILITIES, "streams": True, "stream_seconds": 600.0},
            {"name": "broken", **CAPABILITIES},
            {"name": "absent", **CAPABILITIES, "available": False, "reason": "Its weights are not installed."},
            {"name": "mute", **CAPABILITIES, "captions": False},
            {"name": "lazy", **CAPABILITIES, "streams": True},
        ]

    def load(self, name):
        if name == "broken":
            raise BackendError("base_mismatch", "The weights belong to another language model.")
        if name == "lazy":
            time.sleep(1.0)
        StubModels.loaded += 1
        print(f"loaded {name} for the {StubModels.loaded}. time", file=sys.stderr, flush=True)
        return StubModel()


if __name__ == "__main__":
    preload = os.environ.get("STUB_PRELOAD")
    idle = float(os.environ["STUB_IDLE"]) if "STUB_IDLE" in os.environ else None
    server.main(StubModels(), preload=preload, idle_unload=idle)
