"""The pipe between add-on and backend: messages, framing, version, and the skeleton that motions are carried on.

Standard library only: this is the single source for both sides.

A frame is: 4 bytes big-endian, the number of bytes that follow; 4 bytes big-endian, the length of the header; the
header, a JSON object in UTF-8; then the bytes of the arrays, one after another, little-endian, C order.
``header["arrays"]`` describes them: ``[{"name": ..., "dtype": ..., "shape": [...]}, ...]``. Every size is checked
before memory is taken.
"""

import json
import math
import re
import struct
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

VERSION = (1, 2)  # major.minor: another major is refused, a newer minor may bring fields that are ignored

MAX_FRAME = 256 << 20
MAX_HEADER = 1 << 20
MAX_DEPTH = 32
MAX_ARRAYS = 256
MAX_DIMENSIONS = 8
MAX_DIGITS = 20  # of one integer in a header: 2**63 has 19
MAX_NAME = 128

DTYPES = {"float16": 2, "float32": 4, "float64": 8, "uint8": 1, "int32": 4, "int64": 8}
TYPESTRS = {"float16": "<f2", "float32": "<f4", "float64": "<f8", "uint8": "|u1", "int32": "<i4", "int64": "<i8"}

# messages of the add-on
LOAD, GENERATE, STREAM, CAPTION, READ, WRITE, CANCEL, UNLOAD, PING, SHUTDOWN = (
    "load", "generate", "stream", "caption", "read", "write", "cancel", "unload", "ping", "shutdown",
)  # fmt: skip
STEER, STOP, PLAYED = "steer", "stop", "played"  # to a stream that runs, their "target": see backend.streaming
REQUESTS = (LOAD, GENERATE, STREAM, CAPTION, READ, WRITE, CANCEL, UNLOAD, PING, SHUTDOWN, STEER, STOP, PLAYED)
# messages of the backend
HELLO, ACK, PONG, PROGRESS, PARTIAL, RESULT, ERROR = (
    "hello", "ack", "pong", "progress", "partial", "result", "error",
)  # fmt: skip
REPLIES = (HELLO, ACK, PONG, PROGRESS, PARTIAL, RESULT, ERROR)

# what a request may ask for; the length of a motion is bounded by each model's min_seconds and max_seconds
MAX_PROMPT = 2000
MAX_VARIATIONS = 8
MAX_STEPS = 100
MAX_GUIDANCE = 20.0
MAX_SEED = 2**63 - 1
MAX_CAPTION_FRAMES = 18000  # ten minutes at 30 fps
MAX_FILE_FRAMES = 36000  # of a motion file that is read or written
MAX_FPS = 1000.0
MAX_PIECE = 16  # frames of one partial
MAX_STREAM_FRAMES = 18000  # ten minutes
# frames that a stream may be ahead of what was played, unless the request says otherwise: two seconds to spare also
# when the next piece, of MAX_PIECE frames, is still to come
AHEAD = 90
MIN_AHEAD, MAX_AHEAD = 2 * MAX_PIECE, 600

FPS = 30

# 22 joints in SMPL order
JOINTS = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)

# what SMPL-X has beyond these, in its order
_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
SMPLX_JOINTS = (
    *JOINTS, "jaw", "left_eye", "right_eye",
    *(f"{side}_{finger}{n}" for side in ("left", "right") for finger in _FINGERS for n in (1, 2, 3)),
)  # fmt: skip

# T-pose, metres, Y up, facing +Z, left is +X; each joint's offset from its parent. A plain adult of our own, 1.75 m.
REST_OFFSETS = (
    (0.0, 0.0, 0.0),
    (0.09, -0.08, 0.0),
    (-0.09, -0.08, 0.0),
    (0.0, 0.11, 0.0),
    (0.0, -0.41, 0.0),
    (0.0, -0.41, 0.0),
    (0.0, 0.13, 0.0),
    (0.0, -0.41, 0.0),
    (0.0, -0.41, 0.0),
    (0.0, 0.06, 0.0),
    (0.0, -0.06, 0.13),
    (0.0, -0.06, 0.13),
    (0.0, 0.20, -0.01),
    (0.06, 0.13, -0.01),
    (-0.06, 0.13, -0.01),
    (0.0, 0.10, 0.02),
    (0.12, 0.02, 0.0),
    (-0.12, 0.02, 0.0),
    (0.27, 0.0, 0.0),
    (-0.27, 0.0, 0.0),
    (0.25, 0.0, 0.0),
    (-0.25, 0.0, 0.0),
)
# SMPL's zero pose, from which rotations in SMPL-X and AMASS files are counted, as world turns (wxyz) of the T-pose's
# left limbs (right ones mirror them, the rest of the body is not turned), and where SMPL-X has its pelvis then
SMPL_ZERO_POSE = {
    "hip": (0.998451, -0.002585, 0.0, 0.055584),
    "knee": (0.998899, 0.042413, 0.0, -0.020028),
    "ankle": (0.987797, 0.044919, 0.148518, -0.0135),
    "foot": (0.987797, 0.044919, 0.148518, -0.0135),
    "shoulder": (0.998226, 0.0, 0.052047, -0.028915),
    "elbow": (0.999739, 0.0, 0.013098, 0.018712),
    "wrist": (0.999739, 0.0, 0.013098, 0.018712),
}
SMPL_PELVIS = (0.003, -0.351, 0.012)
# Height of the pelvis when the rest pose stands with the balls of the feet at y = 0
REST_PELVIS_HEIGHT = 0.96


class ProtocolError(Exception):
    """A frame or a field that breaks the rules; its text is one plain sentence.

    ``recoverable`` is true when the broken frame was read to its end, so that the next frame can be read.
    """

    def __init__(self, message: str, recoverable: bool = False):
        super().__init__(message)
        self.recoverable = recoverable


class Array(NamedTuple):
    """An array as it crosses the pipe. ``numpy.asarray(array)`` gives a view of it, without a copy."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | bytearray

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": TYPESTRS[self.dtype], "data": self.data, "version": 3}


class Message(NamedTuple):
    """One frame: the header's fields (without the description of the arrays) and the arrays by name."""

    header: dict[str, Any]
    arrays: dict[str, Array]

    @property
    def type(self) -> str:
        return self.header["type"]

    @property
    def id(self) -> int:
        return self.header["id"]


def encode(header: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> list[bytes]:
    """The pieces of one frame, to be written one after another.

    ``header`` needs ``type`` and ``id``; the values of ``arrays`` are :class:`Array` or anything with numpy's
    ``__array_interface__``. Raises :class:`ProtocolError` when the other side would refuse the frame.
    """
    described, pieces = [], []
    for name, value in (arrays or {}).items():
        array = value if isinstance(value, Array) else _from_interface(name, value)
        described.append({"name": name, "dtype": array.dtype, "shape": list(array.shape)})
        pieces.append(bytes(array.data))
    fields = {**header, "arrays": described}
    try:
        text = json.dumps(fields, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"The message cannot be written as JSON: {error}.") from error
    total = 4 + len(text) + sum(map(len, pieces))
    _check_lengths(total, len(text))
    message, sizes = _parse_header(text)
    for (name, _, _), size, piece in zip(message[1], sizes, pieces, strict=True):
        if size != len(piece):
            raise ProtocolError(f"The array {name!r} has {len(piece)} bytes where its shape needs {size}.")
    return [struct.pack(">II", total, len(text)) + text, *pieces]


def _from_interface(name: str, value: Any) -> Array:
    interface = getattr(value, "__array_interface__", None)
    if interface is None:
        raise ProtocolError(f"The value of {name!r} is not an array.")
    dtype = next((d for d, typestr in TYPESTRS.items() if typestr == interface["typestr"]), None)
    if dtype is None:
        raise ProtocolError(f"The array {name!r} has numbers of the type {interface['typestr']}, which cannot be sent.")
    shape = tuple(int(n) for n in interface["shape"])
    # tobytes gives C order whatever the strides are
    return Array(dtype, shape, memoryview(value).tobytes())


class FrameReader:
    """Reads frames from a binary stream (``read(n)`` may return less than n bytes, and b"" at its end)."""

    def __init__(self, stream: BinaryIO):
        self.stream = stream

    def read(self) -> Message | None:
        """The next message, or None when the stream ended between two frames.

        Raises :class:`ProtocolError`: with ``recoverable`` set the stream stands at the next frame, otherwise the
        stream is of no more use.
        """
        prefix = self._exactly(8, may_end=True)
        if prefix is None:
            return None
        total, header_length = struct.unpack(">II", prefix)
        _check_lengths(total, header_length)
        text = self._exactly(header_length)
        left = total - 4 - header_length
        try:
            (header, described), sizes = _parse_header(bytes(text))
            if sum(sizes) != left:
                raise ProtocolError(f"The arrays need {sum(sizes)} bytes, but the frame holds {left}.")
        except ProtocolError as error:
            self._skip(left)
            error.recoverable = True
            raise
        arrays = {}
        for (name, dtype, shape), size in zip(described, sizes, strict=True):
            arrays[name] = Array(dtype, shape, self._exactly(size))
        return Message(header, arrays)

    def _exactly(self, count: int, may_end: bool = False) -> bytearray | None:
        # grown as bytes arrive, so that a frame that only claims to be large costs nothing
        data = bytearray()
        while len(data) < count:
            piece = self.stream.read(min(count - len(data), 1 << 20))
            if not piece:
                if may_end and not data:
                    return None
                raise ProtocolError("The stream ended in the middle of a frame.")
            data += piece
        return data

    def _skip(self, count: int) -> None:
        while count > 0:
            piece = self.stream.read(min(count, 1 << 20))
            if not piece:
                raise ProtocolError("The stream ended in the middle of a frame.")
            count -= len(piece)


def read_message(stream: BinaryIO) -> Message | None:
    """One message from ``stream``: see :meth:`FrameReader.read`."""
    return FrameReader(stream).read()


def check_version(version: Any) -> None:
    """Raises :class:`ProtocolError` unless ``version`` ([major, minor]) can be spoken with."""
    if not (isinstance(version, (list, tuple)) and len(version) == 2 and all(_is_integer(n) for n in version)):
        raise ProtocolError("The other side does not say which version of the protocol it speaks.")
    if version[0] != VERSION[0]:
        raise ProtocolError(
            f"The other side speaks version {version[0]}.{version[1]} of the protocol, "
            f"this side version {VERSION[0]}.{VERSION[1]}; install the same version of both."
        )


def _check_lengths(total: int, header_length: int) -> None:
    if total > MAX_FRAME:
        raise ProtocolError(f"A frame of {total} bytes is larger than the limit of {MAX_FRAME}.")
    if header_length > MAX_HEADER:
        raise ProtocolError(f"A header of {header_length} bytes is larger than the limit of {MAX_HEADER}.")
    if header_length < 2 or 4 + header_length > total:
        raise ProtocolError("The lengths at the start of the frame do not fit together.")


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)  # the end is optional, so that no search starts twice
_BRACKET = re.compile(r"[\[{}\]]")


def _check_depth(text: str) -> None:
    # before json sees it: its own guard is the interpreter's recursion limit
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket.group() in "[{" else -1
        if depth > MAX_DEPTH:
            raise ProtocolError(f"The header is nested deeper than {MAX_DEPTH} levels.")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ProtocolError("The header holds an integer with too many digits.")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits) if len(digits) <= 64 else math.inf
    if not math.isfinite(value):
        raise ProtocolError("The header holds a number that is too large.")
    return value


def _constant(name: str) -> float:
    raise ProtocolError(f"The header holds {name}, which is not a number.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ProtocolError("The header names the same field twice.")
    return result


def _parse_header(text: bytes) -> tuple[tuple[dict[str, Any], list[tuple[str, str, tuple[int, ...]]]], list[int]]:
    try:
        decoded = text.decode("utf-8")
        _check_depth(decoded)
        header = json.loads(
            decoded,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ProtocolError("The header is not JSON in UTF-8.") from error
    if not isinstance(header, dict):
        raise ProtocolError("The header is not a JSON object.")
    if not isinstance(header.get("type"), str):
        raise ProtocolError("The message does not say its type.")
    if not _is_integer(header.get("id")) or not 0 <= header["id"] <= MAX_SEED:
        raise ProtocolError("The message has no valid id.")
    entries = header.pop("arrays", None)
    if entries is None:
        entries = []
    if not isinstance(entries, list) or len(entries) > MAX_ARRAYS:
        raise ProtocolError("The description of the arrays is not a list of a reasonable length.")
    described, sizes, names = [], [], set()
    for entry in entries:
        name, dtype, shape, size = _parse_array(entry)
        if name in names:
            raise ProtocolError(f"Two arrays have the name {name!r}.")
        names.add(name)
        described.append((name, dtype, shape))
        sizes.append(size)
    return (header, described), sizes


def _parse_array(entry: Any) -> tuple[str, str, tuple[int, ...], int]:
    if not isinstance(entry, dict):
        raise ProtocolError("The description of an array is not a JSON object.")
    name, dtype, shape = entry.get("name"), entry.get("dtype"), entry.get("shape")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise ProtocolError("An array has no valid name.")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ProtocolError(f"The array {name!r} has numbers of an unknown type.")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise ProtocolError(f"The array {name!r} has no valid shape.")
    if not all(_is_integer(length) and 0 <= length <= MAX_FRAME for length in shape):
        raise ProtocolError(f"The array {name!r} has no valid shape.")
    # a dimension of zero must not hide others that no array library can count
    if DTYPES[dtype] * math.prod(max(length, 1) for length in shape) > MAX_FRAME:
        raise ProtocolError(f"The array {name!r} is larger than a frame may be.")
    return name, dtype, tuple(shape), DTYPES[dtype] * math.prod(shape)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def clean_prompt(text: Any, optional: bool = False) -> str:
    """The prompt on one line in Unicode NFC; raises :class:`ProtocolError` with a sentence for the artist.

    optional: none at all ("") is possible, because given poses say enough.
    """
    if not isinstance(text, str):
        raise ProtocolError("The prompt is not text.")
    if len(text) > MAX_PROMPT:
        raise ProtocolError(f"The prompt has {len(text)} characters; at most {MAX_PROMPT} are possible.")
    cleaned = " ".join(unicodedata.normalize("NFC", text).split())
    if optional and not cleaned:
        return ""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in cleaned):
        raise ProtocolError("The prompt contains control characters.")
    if not any(unicodedata.category(character)[0] in "LN" for character in cleaned):
        raise ProtocolError("The prompt is empty: describe the motion in a few words.")
    return cleaned


def check_number(value: Any, name: str, low: float, high: float, integer: bool = False) -> float | int:
    """``value`` as a number in [low, high]; raises :class:`ProtocolError` that names it as ``name``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProtocolError(f"{name} is not a number.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ProtocolError(f"{name} is not a finite number.")
    if integer and value != int(value):
        raise ProtocolError(f"{name} is not a whole number.")
    if not low <= value <= high:
        raise ProtocolError(f"{name} must be between {low:g} and {high:g}.")
    return int(value) if integer else float(value)


if sys.byteorder != "little":
    raise ImportError("MoMug sends little-endian arrays without conversion and needs a little-endian computer.")
