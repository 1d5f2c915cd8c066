"""What a request asks for, in a model's own terms: a preset, a number of frames, and whether it still stands."""

from backend.errors import BackendError
from backend.models.interface import Cancelled
from backend.protocol import FPS


def preset(presets: list[dict], name: str) -> dict:
    """The preset called ``name``. Raises BackendError ``bad_request``."""
    found = {preset["name"]: preset for preset in presets}
    if name not in found:
        raise BackendError("bad_request", f"There is no preset called {name!r}.", f"Choose one of: {', '.join(found)}.")
    return found[name]


def stop_if(cancelled: Cancelled, what: str = "generation") -> None:
    """Raises BackendError ``cancelled`` when it is. To be asked every few tenths of a second."""
    if cancelled():
        raise BackendError("cancelled", f"The {what} was cancelled.", retryable=True)


def frames(seconds: float, least: float, most: float) -> int:
    """Frames of a length between ``least`` and ``most`` seconds. Raises BackendError ``bad_duration``."""
    if not least <= seconds <= most:
        raise BackendError(
            "bad_duration", f"The length must be between {least:g} and {most:g} seconds, not {seconds:g}."
        )
    return round(seconds * FPS)
