"""Frames and requests that hypothesis thinks of, and makes smaller when one of them breaks something.

``test_fuzz`` throws 20,000 frames of its own at a process. Here each test has a few hundred, which takes seconds;
``MOMUG_FUZZ=20000`` in the environment asks for so many.
"""

import io
import json
import os
import struct
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir()) / "hypothesis"))  # not here
pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as some  # noqa: E402

from backend import protocol  # noqa: E402
from backend.errors import BackendError  # noqa: E402

MANY = settings(max_examples=int(os.environ.get("MOMUG_FUZZ", "300")), deadline=None, database=None)
PLAIN = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20)
VALUES = some.recursive(
    PLAIN, lambda x: some.lists(x, max_size=4) | some.dictionaries(some.text(max_size=8), x), max_leaves=8
)
SHAPES = some.lists(some.integers(-2, 2**40) | some.floats(), max_size=4)
ARRAYS = some.lists(
    some.fixed_dictionaries(
        {
            "name": some.text(max_size=8),
            "dtype": some.sampled_from([*protocol.DTYPES, "object", ">f4"]),
            "shape": SHAPES,
        }
    ),
    max_size=3,
)
HEADERS = some.fixed_dictionaries(
    {"type": some.sampled_from(["generate", "hello", "result", ""]) | PLAIN, "id": some.integers(0, 2**31) | PLAIN},
    optional={"arrays": ARRAYS | VALUES, "prompt": VALUES, "seconds": VALUES},
)
MODEL = {
    "name": "stub", "label": "Stub", "available": True, "conditions": ["text", "timeline", "poses", "loop"],
    "min_seconds": 1.0, "max_seconds": 10.0, "presets": [{"name": "fast"}], "styles": [], "default_steps": 10,
}  # fmt: skip
FIELDS = ("prompt", "seconds", "seed", "steps", "guidance_scale", "preset", "variations", "timeline", "loop", "style",
          "style_weight", "fps", "ahead")  # fmt: skip


def read_all(data: bytes) -> None:
    """All frames of ``data``: messages, the end, or a sentence; nothing else may happen."""
    reader = protocol.FrameReader(io.BytesIO(data))
    while True:
        try:
            message = reader.read()
        except protocol.ProtocolError as error:
            assert str(error)
            if not error.recoverable:
                return
            continue
        if message is None:
            return
        assert isinstance(message.type, str) and isinstance(message.id, int)


@MANY
@given(some.binary(max_size=300))
def test_bytes_that_are_no_frames(data):
    read_all(data)


@MANY
@given(HEADERS, some.binary(max_size=64), some.binary(max_size=8))
def test_frames_with_odd_headers_and_a_true_one_after_them(header, body, rest):
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    true = b"".join(bytes(piece) for piece in protocol.encode({"type": "ping", "id": 7}))
    read_all(struct.pack(">II", 4 + len(text) + len(body), len(text)) + text + body + true + rest)


@MANY
@given(some.dictionaries(some.sampled_from(FIELDS), VALUES, max_size=6))
def test_fields_of_requests(fields):
    requests = pytest.importorskip("backend.requests")
    try:
        made = requests.generate_request({"prompt": "a person walks", **fields}, MODEL, {})
    except BackendError as error:
        assert error.message and error.code
    else:
        assert made.prompt and (made.seconds is None or 1.0 <= made.seconds <= 10.0)
