"""20,000 frames that nobody should send, to the real server in a real process: it answers, stays, and does not grow.
And 20,000 replies to the add-on's side."""

import io
import json
import os
import random
import struct
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

from blender_addon.client import Session, protocol
from blender_addon.client.jobs import FINISHED, RUNNING, Job

SCRIPT = Path(__file__).with_name("stub_server.py")
FRAMES = 20_000
WORDS = [None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**64, 0.5, -1e308, 1e-320, "", "walk", "\0", "é🚶\u202e",
         "x" * 3000, [], {}, [[]], {"a": {}}, [None] * 50, "generate", "stub", "fast"]  # fmt: skip
KINDS = ["generate", "caption", "load", "unload", "cancel", "ping", "hello", "result", "", "sudo", "x" * 500]
FIELDS = ["model", "prompt", "seconds", "seed", "steps", "guidance_scale", "preset", "variations", "timeline", "loop",
          "style", "style_weight", "fps", "target", "path", "arrays", "id", "type", "future", "é"]  # fmt: skip
ARRAYS = ["rotations", "translation", "rest_offsets", "target/rotations", "target/joints", "x", ""]


def frame(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">II", 4 + len(header) + len(body), len(header)) + header + body


def fuzzed(rng: random.Random, number: int) -> bytes:
    """A frame whose lengths are honest, so that the next one can be read, and whose content is not."""
    header = {"type": rng.choice(KINDS), "id": number}
    header |= {rng.choice(FIELDS): rng.choice(WORDS) for _ in range(rng.randrange(5))}
    if header.get("path") is not None:  # no test reads or writes files by chance
        header["path"] = rng.choice([None, 3, "", "nothing here.bvh", "\0"])
    body = b""
    if rng.random() < 0.5:
        shapes = [[rng.choice([0, 1, 2, 3, 4, 22, -1, 2**28, 1.5, "3"]) for _ in range(rng.randrange(4))] for _ in "12"]
        header["arrays"] = [
            {"name": rng.choice(ARRAYS), "dtype": rng.choice([*protocol.DTYPES, "object", ">f4", 3]), "shape": shape}
            for shape in shapes
        ]
        body = rng.randbytes(rng.choice([0, 4, 12, 264, 352, 1000]))
    text = json.dumps(header).encode()
    if rng.random() < 0.4:
        data = bytearray(text)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            if rng.random() < 0.5:
                data[at] = rng.randrange(256)
            else:
                data[at:at] = rng.choice([b"[", b"{", b'"', b"\\", b"9" * 30, b"NaN", b"null", rng.randbytes(3)])
        text = bytes(data)
    return frame(text, body)


def memory(pid: int) -> int:
    """Bytes that a process holds now."""
    return int(Path(f"/proc/{pid}/status").read_text(encoding="utf-8").partition("VmRSS:")[2].split()[0]) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory of a process from /proc")
def test_twenty_thousand_frames(tmp_path, root):
    with open(tmp_path / "stderr", "wb") as said:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
    replies, pongs, changed = {"error": 0}, set(), threading.Condition()

    def listen() -> None:
        reader = protocol.FrameReader(process.stdout)
        for message in iter(reader.read, None):
            with changed:
                replies[message.type] = replies.get(message.type, 0) + 1
                if message.type == protocol.PONG:
                    pongs.add(message.id)
                changed.notify_all()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    rng = random.Random(20261123)
    held = []
    try:
        for number in range(1, FRAMES + 1):
            process.stdin.write(fuzzed(rng, number))
            if number % 2000 == 0:
                # the server has seen everything before this when it answers; fuzzed pings have other numbers
                process.stdin.write(b"".join(protocol.encode({"type": "ping", "id": 10**6 + number})))
                process.stdin.flush()
                with changed:
                    answered = changed.wait_for(lambda: 10**6 + number in pongs, 300)  # noqa: B023
                assert answered, (number, process.poll(), replies)
                held.append(memory(process.pid))
        assert process.poll() is None
        assert replies["error"] > FRAMES / 3, replies
        # numpy and the request code are in by the first look; after it nothing may pile up
        assert held[-1] - held[0] < 16 << 20, held
        process.stdin.close()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    said = (tmp_path / "stderr").read_text(encoding="utf-8", errors="replace")
    assert "Traceback" not in said, said[said.index("Traceback") :][:3000]


REPLIES = ["result", "result", "partial", "partial", "progress", "error", "ack", "pong", "hello", "generate", ""]
TOLD = ["motions", "frames", "first", "fps", "seed", "body", "text", "prompt", "phase", "step", "total", "code", "id",
        "message", "hint", "retryable", "capabilities", "warnings", "timings", "segments", "arrays"]  # fmt: skip
GOOD = {"motions": [{"frames": 2, "fps": 30.0, "seed": 1}], "frames": 2, "first": 0, "fps": 30.0, "seed": 1}
GOOD |= {"text": "a", "prompt": "a walk", "phase": "denoise", "step": 1, "total": 2}
CARRIED = {"rotations": [2, 22, 4], "translation": [2, 3], "contacts": [2, 4], "rest_offsets": [22, 3]}


def reply(rng: random.Random) -> bytes:
    """Something like an answer, with a few things wrong."""
    header = {"type": rng.choice(REPLIES), "id": 1, **GOOD}
    prefix = "" if header["type"] == "partial" else "0/"
    shapes = {name if name == "rest_offsets" else prefix + name: shape for name, shape in CARRIED.items()}
    for _ in range(rng.randrange(3)):
        header[rng.choice(TOLD)] = rng.choice(WORDS)
    for _ in range(rng.randrange(2)):
        shapes[rng.choice([*shapes, "x"])] = [rng.choice([0, 1, 2, 3, 4, 22]) for _ in range(rng.randrange(4))]
    if rng.random() < 0.7:
        kinds = [(name, "float32" if rng.random() < 0.95 else rng.choice(list(protocol.DTYPES))) for name in shapes]
        header["arrays"] = [{"name": name, "dtype": kind, "shape": shapes[name]} for name, kind in kinds]
        body = b""
        for name, kind in kinds:
            size = protocol.DTYPES[kind]
            for length in shapes[name]:
                size *= length
            body += struct.pack("<f", rng.choice([1.0, 0.5])) * (size // 4) + b"\0" * (size % 4)
        if rng.random() < 0.2:
            body = rng.randbytes(len(body))
    else:
        body = b""
    return frame(json.dumps(header).encode(), body)


def test_twenty_thousand_replies():
    pytest.importorskip("numpy")
    session, rng, ends = Session(["nothing"]), random.Random(20261123), {}
    link = SimpleNamespace(ready=True, send=lambda pieces: None, failure=None)
    session._link = link
    held = []
    for number in range(FRAMES):
        if number in (1000, FRAMES - 1):
            tracemalloc.start()
        job = Job(1, rng.choice(["generate", "caption", "read", "stream", "load"]), {}, [], session.cancel)
        session._jobs = {1: job}
        link.ready = rng.random() > 0.02
        try:
            for message in iter(protocol.FrameReader(io.BytesIO(reply(rng) + reply(rng))).read, None):
                session._receive(link, message)
        except protocol.ProtocolError as error:
            assert str(error).endswith("."), error
            ends["refused"] = ends.get("refused", 0) + 1
        assert job.state in (*FINISHED, RUNNING, "queued")
        ends[job.state] = ends.get(job.state, 0) + 1
        session.drain()
        if number in (1000, FRAMES - 1):
            held.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert min(ends.get(state, 0) for state in ("done", "failed", "running", "refused")) > FRAMES / 100, ends
    assert max(held) < 1 << 20 and not session._events and not session._steers
    session._jobs, session._link = {}, None
