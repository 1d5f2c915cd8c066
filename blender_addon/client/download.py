"""One file over HTTP: resumed where it stopped, checked by SHA-256, told byte by byte. Standard library only."""

import hashlib
import http.client
import logging
import os
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path

from .problems import EnvironmentProblem
from .sources import TIMEOUT, request

log = logging.getLogger(__name__)

BLOCK = 1 << 18
TRIES = 4
PAUSE = 1.5  # seconds before the second try; doubled for each further one
# what is worth another try: the line broke or the server was busy, not a refusal
_PASSING = (http.client.HTTPException, ConnectionError, TimeoutError)


def fetch(
    url: str,
    file: Path,
    sha256: str,
    on_bytes: Callable[[int], None],
    opener,
    pause: float = PAUSE,
    timeout: float = TIMEOUT,
) -> None:
    """Bring ``url`` to ``file``, whose SHA-256 must be ``sha256`` (not checked when that is empty).

    ``file`` with ".part" at its end keeps what has come so far, across calls and processes; ``on_bytes(n)`` tells how
    many bytes are there. A damaged file is fetched once more from its start. Raises EnvironmentProblem for a wrong
    SHA-256 and a file that another program holds, urllib.error.URLError and OSError for the rest. ``timeout``: seconds
    without a byte.
    """
    part = file.with_name(file.name + ".part")
    for attempt in (1, 2):
        _complete(url, part, on_bytes, opener, pause, timeout)
        found = digest(part)
        if not sha256 or found == sha256:
            _put(part, file, pause)
            return
        part.unlink()
        log.warning("%s has SHA-256 %s instead of %s (try %d)", file.name, found, sha256, attempt)
    raise EnvironmentProblem(
        f"The downloaded file {file.name} is not the expected one (its SHA-256 differs).",
        "It was fetched twice. A proxy or the package index serves another file; try another network, or install from "
        "a folder of wheels.",
        "wrong_hash",
    )


def _put(part: Path, file: Path, pause: float) -> None:
    """Give a complete file its name. On Windows a virus scanner may hold what was just written, for a moment or longer;
    elsewhere a refusal is final."""
    for attempt in range(TRIES):
        try:
            os.replace(part, file)
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) not in (5, 32):  # access denied, in use by another process
                raise
            log.info("%s is held by another program: %s", part.name, error)
            time.sleep(pause * 2**attempt)
    raise EnvironmentProblem(
        f"The downloaded file {file.name} cannot be renamed: another program holds it, often a virus scanner.",
        f"Allow the folder {file.parent} in the virus scanner, close other Blender windows, and press Install again: "
        "what was downloaded is kept.",
        "locked",
    )


def _complete(url: str, part: Path, on_bytes: Callable[[int], None], opener, pause: float, timeout: float) -> None:
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _continue(url, part, on_bytes, opener, timeout)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise
            problem: Exception = error
        except (*_PASSING, urllib.error.URLError) as error:
            problem = error
        gained = part.exists() and part.stat().st_size > before
        failures = 1 if gained else failures + 1  # a slow line that still brings something may break often
        if failures >= TRIES:
            raise problem
        log.info("%s: %s; going on", part.name, problem)
        time.sleep(pause * 2 ** (failures - 1))


def _continue(url: str, part: Path, on_bytes: Callable[[int], None], opener, timeout: float) -> None:
    """Read from where ``part`` ends to the end of the file. Raises http.client.IncompleteRead when the line breaks."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        answer = opener.open(request(url, **headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send: it was complete, or it is another file
            if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                return
            part.unlink()
            _continue(url, part, on_bytes, opener, timeout)
            return
        raise
    with answer:
        resumed = have and answer.status == 206 and _starts_at(answer.headers.get("Content-Range", "")) == have
        if not resumed:
            have = 0  # the server sends everything again
        length = answer.headers.get("Content-Length")
        with open(part, "ab" if resumed else "wb") as target:
            on_bytes(have)
            left = int(length) if length else None
            while block := answer.read(BLOCK):
                target.write(block)
                have += len(block)
                left = left - len(block) if left is not None else None
                on_bytes(have)
        if left:
            raise http.client.IncompleteRead(b"", left)


def _starts_at(content_range: str) -> int | None:
    start = content_range.removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else None


def digest(file: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    found = hashlib.sha256()
    with open(file, "rb") as source:
        while block := source.read(1 << 20):
            found.update(block)
    return found.hexdigest()
