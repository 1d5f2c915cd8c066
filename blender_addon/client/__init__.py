"""The add-on's side of the pipe: start the backend, send requests, follow jobs. No bpy, no numpy until arrays arrive.

``protocol`` is found here once: inside the packaged extension it lies in the add-on itself, in a checkout beside it.
"""

import importlib
import sys
from pathlib import Path

_ADDON = Path(__file__).resolve().parents[1]
if (_ADDON / "backend" / "protocol.py").is_file():
    protocol = importlib.import_module(__name__.rsplit(".", 1)[0] + ".backend.protocol")
else:
    if str(_ADDON.parent) not in sys.path:
        sys.path.append(str(_ADDON.parent))
    from backend import protocol

from .jobs import CANCELLED, DONE, FAILED, QUEUED, RUNNING, Job  # noqa: E402
from .process import backend_command, child_environment  # noqa: E402
from .session import Event, Session  # noqa: E402

__all__ = [
    "CANCELLED",
    "DONE",
    "FAILED",
    "QUEUED",
    "RUNNING",
    "Event",
    "Job",
    "Session",
    "backend_command",
    "child_environment",
    "protocol",
]
