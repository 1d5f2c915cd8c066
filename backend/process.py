"""This process: its pipes, its parent, its memory. Standard library only."""

import ctypes
import logging
import os
import signal
import sys
import threading

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1


def claim_pipes() -> tuple[int, int]:
    """(input, output) file descriptors that only the protocol knows; call it before anything else can print.

    File descriptor 1 then leads to stderr, so that a ``print`` in any library cannot break a frame, and 0 to nothing.
    """
    incoming, outgoing = os.dup(0), os.dup(1)  # not inherited by children of ours
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if sys.platform == "win32":
        import msvcrt

        for descriptor in (incoming, outgoing):
            msvcrt.setmode(descriptor, os.O_BINARY)
    return incoming, outgoing


def die_with_parent() -> None:
    """Linux: ask the kernel to end this process when its parent is gone."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        log.warning("prctl failed with error %d", ctypes.get_errno())
    if os.getppid() != parent:
        os._exit(0)


def end_with_stdin() -> None:
    """End this process, at once, when its standard input closes: whoever started it is gone then. On any system."""

    def watch() -> None:
        while os.read(0, 1024):
            continue
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def return_memory() -> None:
    """Linux with glibc: what was freed goes back to the system at once, instead of waiting for the next use."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def resident_memory() -> int | None:
    """Bytes of memory that this process holds; None where nobody can tell."""
    try:
        import psutil
    except ImportError:  # tests of the protocol run without the backend's packages
        return None
    return psutil.Process().memory_info().rss


def is_out_of_memory(error: Exception) -> bool:
    """Did this error come from a lack of memory?"""
    # torch's own error is named without importing torch; the CPU allocator raises a plain RuntimeError
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "not enough memory" in str(error).lower())
    )


def start_logging() -> None:
    """The log goes to stderr, which the add-on keeps in a file."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
