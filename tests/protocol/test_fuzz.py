"""20,000 frames that nobody should send, to the real server in a real process: it answers, stays, and does not grow."""

import json
import os
import random
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from blender_addon.client import protocol

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
