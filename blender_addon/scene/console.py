"""Blender's renderer and exporters talk on the terminal; scripts that print results need it for themselves."""

import logging
import os
import sys
import tempfile
from contextlib import contextmanager

import bpy

log = logging.getLogger(__name__)


@contextmanager
def quiet():
    """Send what Blender writes to the terminal to the log instead (level DEBUG), in background mode only."""
    if not bpy.app.background:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as heard:
        kept = os.dup(1), os.dup(2)
        try:
            os.dup2(heard.fileno(), 1)
            os.dup2(heard.fileno(), 2)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for fd, copy in enumerate(kept, start=1):
                os.dup2(copy, fd)
                os.close(copy)
            heard.seek(0)
            said = heard.read().decode("utf-8", "replace").strip()
    if said:
        log.debug("%s", said)
