"""What can go wrong while the model's programs are installed: each cause, in a sentence, with the way out.

Standard library only. ``explain`` reads what pip, venv, the system or our own downloads said, and finds the cause.
"""

import re
from typing import NamedTuple

# what Blender's Python module loads on Debian, rendering included
SYSTEM_PACKAGES = "libxi6 libxkbcommon0 libxrender1 libxfixes3 libsm6 libgl1 libegl1 libgl1-mesa-dri"


class EnvironmentProblem(Exception):
    """Set-up cannot go on. ``message`` is one plain sentence, ``hint`` says what the user can do about it, ``code``
    is a word for programs."""

    def __init__(self, message: str, hint: str = "", code: str = "failed"):
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


class NotOffered(EnvironmentProblem):
    """This computer cannot have that environment: no such Python, or no such package for it."""


class Cause(NamedTuple):
    """``signs`` is a regular expression; ``{what}``, ``{folder}``, ``{log}`` and its named groups go into the words."""

    code: str
    signs: str
    message: str
    hint: str


# The first that fits is told, so what explains more stands above what follows from it.
CAUSES = (
    Cause(
        "disk_full",
        r"No space left on device|Errno 28\b|not enough space|WinError 112\b|Disk quota exceeded",
        "The disk became full while the {what} was being installed.",
        "Free some space on the disk of {folder}, or choose another cache folder, and press Install again: what was "
        "downloaded is kept.",
    ),
    Cause(
        "virus_scanner",
        r"WinError 225\b|contains a virus",
        "The virus scanner removed a file of the {what} while it was being installed.",
        "Allow the folder {folder} in the virus scanner, then press Repair.",
    ),
    Cause(
        "locked",
        r"WinError 32\b|being used by another process|WinError 1224\b",
        "A file of the {what} is held by another program, often a virus scanner or a second Blender.",
        "Close other Blender windows, allow the folder {folder} in the virus scanner, and try again.",
    ),
    Cause(
        "path_too_long",
        r"WinError 206\b|File name too long|filename or extension is too long|Errno 36\b|Windows Long Path support",
        "The folder's name is too long for this system.",
        "Choose a cache folder with a short name, such as C:\\momug, in the preferences.",
    ),
    Cause(
        "proxy",
        r"ProxyError|Tunnel connection failed|\b407\b|Proxy Authentication Required",
        "The proxy between this computer and the internet refused the download.",
        "Ask for the proxy's address, set it as HTTPS_PROXY (http://name:password@host:port) before Blender starts, or "
        "install from a folder of wheels.",
    ),
    Cause(
        "ssl",
        r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError|certificate verify failed|WRONG_VERSION_NUMBER",
        "The secure connection to the package index could not be trusted.",
        "Check this computer's date. If a company's proxy or virus scanner reads secure connections, name its "
        "certificate file in PIP_CERT before Blender starts, or install from a folder of wheels.",
    ),
    Cause(
        "no_network",
        r"NewConnectionError|Name or service not known|name resolution|getaddrinfo failed|nodename nor servname|"
        r"ConnectTimeout|Read timed out|timed out|Connection refused|Network is unreachable|No route to host|"
        r"Connection reset|WinError 100(51|60|61|65)\b|RemoteDisconnected|IncompleteRead|URLError",
        "The packages of the {what} could not be downloaded: the package index does not answer.",
        "Check the internet connection and the proxy settings, and press Install again: what was downloaded is kept. "
        "Without internet, install from a folder of wheels.",
    ),
    Cause(
        "server",
        r"HTTP Error (?P<status>[45]\d\d)|HTTPError: (?P<status2>[45]\d\d)",
        "The package index refused a file of the {what} (HTTP {status}).",
        "Try again later; if pip on this computer uses an index of its own, ask who runs it. Details are in {log}.",
    ),
    Cause(
        "not_offered",
        r"No matching distribution found for (?P<package>[^\s(]+)",
        "{package} is not offered for this Python and computer.",
        "Details are in {log}.",
    ),
    Cause(
        "permission",
        r"Permission denied|Errno 13\b|WinError 5\b|Access is denied|Read-only file system|Errno 30\b",
        "The {what} could not be installed: writing was refused.",
        "The folder {folder} must be yours to write; choose another cache folder in the preferences. Details: {log}.",
    ),
    Cause(
        "vc_redist",
        r"DLL load failed|WinError 126\b|WinError 1114\b|VCRUNTIME140|MSVCP140|Error loading .*\.dll",
        "PyTorch is installed, but Windows cannot load it: the Microsoft Visual C++ runtime is missing or too old.",
        "Install 'Microsoft Visual C++ Redistributable 2015-2022 (x64)' from Microsoft, then press Repair.",
    ),
    Cause(
        "system_library",
        r"(?P<library>\S+\.so[.\d]*): cannot open shared object file",
        "The {what} is installed, but the system library {library} is missing.",
        f"On Debian or Ubuntu: sudo apt-get install {SYSTEM_PACKAGES}; then run set-up again.",
    ),
    Cause(
        "no_memory",
        r"MemoryError|Cannot allocate memory|Errno 12\b|WinError 1455\b",
        "Memory ran out while the {what} was being installed.",
        "Close other programs and press Install again.",
    ),
    Cause(
        "no_venv",
        r"ensurepip|No module named '?venv",
        "This Python cannot make environments: its venv or ensurepip module is missing.",
        "On Debian or Ubuntu: sudo apt-get install python3-venv.",
    ),
)


def cause_of(text: str) -> "tuple[Cause, dict[str, str]] | None":
    """The cause that ``text`` shows, with what its expression caught; None when no known one does."""
    for cause in CAUSES:
        found = re.search(cause.signs, text)
        if found:
            groups = {name.rstrip("2"): value for name, value in found.groupdict().items() if value}
            return cause, groups
    return None


def explain(text: str, what: str, folder: object, log: object) -> EnvironmentProblem:
    """The problem that the output ``text`` of a failed step means. ``what`` was being installed into ``folder``."""
    found = cause_of(text)
    if found is None:
        return EnvironmentProblem(f"The {what} could not be installed.", f"Details are in {log}.")
    cause, groups = found
    words = {"what": what, "folder": folder, "log": log, **groups}
    kind = NotOffered if cause.code == "not_offered" else EnvironmentProblem
    return kind(cause.message.format(**words), cause.hint.format(**words), cause.code)


def from_error(error: BaseException, what: str, folder: object, log: object) -> EnvironmentProblem:
    """The same for an error that was raised here: its type, number and words are what is read."""
    if isinstance(error, EnvironmentProblem):
        return error
    return explain(f"{type(error).__name__}: {error} {error.__cause__ or ''}", what, folder, log)
