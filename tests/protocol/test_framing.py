"""Frames: what goes in comes out, and nothing malformed gets through or costs memory."""

import io
import json
import random
import struct

import numpy as np
import pytest

from backend import protocol


def frame(header, body=b"", total=None, header_length=None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    total = 4 + len(text) + len(body) if total is None else total
    return struct.pack(">II", total, len(text) if header_length is None else header_length) + text + body


def with_array(body=b"\0" * 8, **changes) -> bytes:
    entry = {"name": "x", "dtype": "float32", "shape": [2], **changes}
    return frame({"type": "result", "id": 1, "arrays": [entry]}, body)


def read(data: bytes):
    return protocol.read_message(io.BytesIO(data))


class Trickle(io.RawIOBase):
    """A stream that gives one to three bytes at a time, as a pipe may, and notes the largest request."""

    def __init__(self, data: bytes):
        self.data, self.at, self.largest = data, 0, 0

    def read(self, count=-1):
        self.largest = max(self.largest, count)
        piece = self.data[self.at : self.at + min(count, 1 + self.at % 3)]
        self.at += len(piece)
        return piece


@pytest.mark.parametrize("dtype", protocol.DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 22, 4), (5,), (3, 22, 4)])
def test_arrays_round_trip(dtype, shape):
    values = (np.arange(np.prod(shape), dtype=np.int64) % 100).astype(dtype).reshape(shape)
    message = read(b"".join(protocol.encode({"type": "result", "id": 3}, {"0/values": values})))
    result = np.asarray(message.arrays["0/values"])
    assert result.dtype == values.dtype and result.shape == shape
    np.testing.assert_array_equal(result, values)


def test_strided_arrays_are_sent_in_c_order():
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)[::2]
    message = read(b"".join(protocol.encode({"type": "result", "id": 3}, {"x": values})))
    np.testing.assert_array_equal(np.asarray(message.arrays["x"]), values)


def test_header_round_trips_with_unknown_fields_and_any_text():
    header = {"type": "generate", "id": 2**63 - 1, "prompt": 'Füße "[{\\ 走る 🚶', "future": {"a": [1, None, -2.5e-3]}}
    message = read(b"".join(protocol.encode(header)))
    assert message.header == header and message.type == "generate" and message.id == 2**63 - 1
    assert message.arrays == {}


def test_frames_follow_each_other_on_a_stream_that_trickles():
    frames = [protocol.encode({"type": "pong", "id": n}, {"x": np.full(n, n, np.float32)}) for n in range(5)]
    reader = protocol.FrameReader(Trickle(b"".join(b"".join(pieces) for pieces in frames)))
    for n in range(5):
        message = reader.read()
        assert message.id == n and np.asarray(message.arrays["x"]).tolist() == [n] * n
    assert reader.read() is None


BAD_FRAMES = {
    "length above the limit": struct.pack(">II", protocol.MAX_FRAME + 1, 10) + b"{}",
    "header above the limit": struct.pack(">II", protocol.MAX_FRAME, protocol.MAX_HEADER + 1) + b"{}",
    "header longer than the frame": struct.pack(">II", 20, 17) + b" " * 17,
    "no header": struct.pack(">II", 4, 0),
    "shorter than its own length field": struct.pack(">II", 0, 2) + b"{}",
    "text": b"Loading model...\n",
    "truncated prefix": b"\0\0\0",
    "truncated header": frame({"type": "ping", "id": 1})[:-3],
    "truncated array": with_array()[:-3],
    "not UTF-8": frame(b'{"type":"ping","id":1,"x":"\xff"}'),
    "not JSON": frame(b"{type: ping}"),
    "a list": frame([1, 2]),
    "no type": frame({"id": 1}),
    "type is no text": frame({"type": 3, "id": 1}),
    "no id": frame({"type": "ping"}),
    "negative id": frame({"type": "ping", "id": -1}),
    "true as id": frame({"type": "ping", "id": True}),
    "fraction as id": frame({"type": "ping", "id": 1.5}),
    "NaN": frame(b'{"type":"ping","id":1,"x":NaN}'),
    "Infinity": frame(b'{"type":"ping","id":1,"x":-Infinity}'),
    "a float that overflows": frame(b'{"type":"ping","id":1,"x":1e999}'),
    "a huge integer": frame(b'{"type":"ping","id":1,"x":' + b"9" * 100_000 + b"}"),
    "a field twice": frame(b'{"type":"ping","id":1,"id":2}'),
    "nested lists": frame(b'{"type":"ping","id":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "nested objects": frame(b'{"type":"ping","id":1,"x":' + b'{"a":' * 1000 + b"1" + b"}" * 1001),
    "an endless string of escapes": frame(b'{"type":"' + b'\\"' * 500_000),
    "arrays is no list": frame({"type": "result", "id": 1, "arrays": {}}),
    "too many arrays": frame({"type": "result", "id": 1, "arrays": [{}] * 300}),
    "array is no object": frame({"type": "result", "id": 1, "arrays": [3]}),
    "array without a name": with_array(name=""),
    "array with a number as name": with_array(name=3),
    "unknown dtype": with_array(dtype="object"),
    "dtype of numpy": with_array(dtype="<f4"),
    "dtype is a list": with_array(dtype=["float32"]),
    "big-endian": with_array(dtype=">f4"),
    "negative dimension": with_array(shape=[-2]),
    "two negative dimensions": with_array(shape=[-1, -2]),
    "fraction as dimension": with_array(shape=[2.0]),
    "true as dimension": with_array(shape=[True, 2]),
    "shape is a number": with_array(shape=2),
    "too many dimensions": with_array(shape=[1] * 9),
    "product overflows 64 bits": with_array(shape=[2**28, 2**28, 2**28, 2**20]),
    "a zero hides an overflow": with_array(b"", shape=[2**28, 2**28, 2**8, 0]),
    "more bytes than the shape": with_array(b"\0" * 12),
    "fewer bytes than the shape": with_array(b"\0" * 4),
    "duplicate names": frame(
        {"type": "result", "id": 1, "arrays": [{"name": "x", "dtype": "uint8", "shape": [1]}] * 2}, b"\0\0"
    ),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frame_is_refused_with_a_sentence(name):
    with pytest.raises(protocol.ProtocolError) as caught:
        read(BAD_FRAMES[name])
    assert str(caught.value).endswith(".") and len(str(caught.value)) < 300


def test_a_bad_header_does_not_lose_the_next_frame():
    bad = with_array(b"\0" * 12)
    reader = protocol.FrameReader(io.BytesIO(bad + frame({"type": "ping", "id": 5})))
    with pytest.raises(protocol.ProtocolError) as caught:
        reader.read()
    assert caught.value.recoverable
    assert reader.read().id == 5


def test_a_frame_that_only_claims_to_be_large_costs_no_memory():
    count = protocol.MAX_FRAME - 1024
    entry = {"name": "x", "dtype": "uint8", "shape": [count]}
    text = json.dumps({"type": "result", "id": 1, "arrays": [entry]}).encode()
    stream = Trickle(struct.pack(">II", 4 + len(text) + count, len(text)) + text + b"abc")
    with pytest.raises(protocol.ProtocolError, match="middle"):
        protocol.read_message(stream)
    assert stream.largest <= 1 << 20


@pytest.mark.parametrize(
    ("header", "arrays"),
    [
        ({"type": "x"}, {}),
        ({"type": "x", "id": 1, "value": float("nan")}, {}),
        ({"type": "x", "id": 1, "value": object()}, {}),
        ({"type": "x", "id": 1}, {"a": [1, 2, 3]}),
        ({"type": "x", "id": 1}, {"a": np.array(["text"])}),
        ({"type": "x", "id": 1}, {"a": np.zeros(3, ">f4")}),
        ({"type": "x", "id": 1}, {"a": np.array([None])}),
        ({"type": "x", "id": 1}, {"": np.zeros(3)}),
        ({"type": "x", "id": 1}, {"a": protocol.Array("float32", (3,), b"\0")}),
        ({"type": "x", "id": 1, "text": "a" * protocol.MAX_HEADER}, {}),
    ],
)
def test_encode_refuses_what_the_other_side_would_refuse(header, arrays):
    with pytest.raises(protocol.ProtocolError):
        protocol.encode(header, arrays)


def test_random_and_mutated_bytes_never_break_the_reader():
    rng = random.Random(20260101)
    arrays = {"0/rotations": np.ones((2, 22, 4), np.float32), "rest_offsets": np.zeros((22, 3), np.float32)}
    good = b"".join(protocol.encode({"type": "result", "id": 9, "motions": [{"seed": 1}], "text": "é"}, arrays))
    outcomes = {"message": 0, "refused": 0, "ended": 0}
    for attempt in range(6000):
        data = bytearray(good)
        if attempt % 3 == 0:
            data = bytearray(rng.randbytes(rng.randrange(0, 64)))
        else:
            limit = len(good) if attempt % 3 == 1 else 200  # the second kind hits prefix and header
            for _ in range(rng.randrange(1, 6)):
                choice, at = rng.random(), rng.randrange(min(limit, len(data)))
                if choice < 0.5:
                    data[at] = rng.randrange(256)
                elif choice < 0.7:
                    del data[at + 1 : at + rng.randrange(2, 9)]
                elif choice < 0.9:
                    data[at:at] = rng.choice([b"[", b"{", b'"', b"\\", b"9", b"-", b"e9", b"null", rng.randbytes(3)])
                else:
                    del data[at + 8 :]
        try:
            message = read(bytes(data))
        except protocol.ProtocolError:
            outcomes["refused"] += 1
            continue
        if message is None:
            outcomes["ended"] += 1
            continue
        outcomes["message"] += 1
        for array in message.arrays.values():
            assert np.asarray(array).nbytes == len(array.data)
    assert outcomes["message"] > 100 and outcomes["refused"] > 1000, outcomes


def test_version_of_the_same_major_is_accepted():
    protocol.check_version([protocol.VERSION[0], protocol.VERSION[1] + 7])


@pytest.mark.parametrize("version", [[2, 0], [0, 9], None, "1.0", [1], [1, 0, 0], [True, 0], [1, "0"]])
def test_other_version_is_refused(version):
    with pytest.raises(protocol.ProtocolError):
        protocol.check_version(version)


def test_prompt_becomes_one_clean_line():
    assert protocol.clean_prompt("  a person\twalks\n\nforward ") == "a person walks forward"
    assert protocol.clean_prompt("Fu\u0308ße") == "Füße"
    assert protocol.clean_prompt("x" * protocol.MAX_PROMPT) == "x" * protocol.MAX_PROMPT


@pytest.mark.parametrize("text", ["", " \n\t ", "...", None, 5, ["a"], "a\0b", "a\x1b[31mb", "a\ud800", "x" * 10_000])
def test_bad_prompt_is_refused(text):
    with pytest.raises(protocol.ProtocolError):
        protocol.clean_prompt(text)


@pytest.mark.parametrize(
    ("value", "integer"),
    [(-1, False), (11, False), (float("nan"), False), (float("inf"), False), ("5", False), (True, False), (None, False),
     (2.5, True), (10**400, True), (-(10**400), True), ([1], True)],
)  # fmt: skip
def test_bad_number_is_refused(value, integer):
    with pytest.raises(protocol.ProtocolError, match="^The length"):
        protocol.check_number(value, "The length", 0, 10, integer)


def test_skeleton_is_a_tree_in_order():
    assert len(protocol.JOINTS) == len(protocol.PARENTS) == len(protocol.REST_OFFSETS) == 22
    assert protocol.PARENTS[0] == -1
    assert all(0 <= parent < joint for joint, parent in enumerate(protocol.PARENTS) if joint)
