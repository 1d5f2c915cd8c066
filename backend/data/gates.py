"""Quality gates: what a window of motion must not do, for captured and augmented motion alike."""

from backend.motion.skeleton import Motion


def gate(motion: Motion) -> str | None:
    """Why a window is not good enough to learn from, or None."""
    raise NotImplementedError
