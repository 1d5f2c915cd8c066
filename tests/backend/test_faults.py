"""What may happen to a working backend: weights made by an enemy, processes killed in any phase, odd prompts. After
each there is one sentence, and the same session answers the next request."""

import json
import os
import shutil
import signal
import struct
import sys
import time
from pathlib import Path

import pytest
from waiting import PATIENCE, wait

from backend.language.base import sha256_file
from backend.models.momug.model import save_checkpoint
from blender_addon.client import DONE, FAILED, Session

# the tiny base model has two layers; otherwise this is ``python -m backend serve``
SERVE = "from backend.language import text; text.TEXT_LAYERS = (1, 2); from backend import server; server.main()"
WALK = {"model": "momug", "prompt": "a person walks", "seconds": 1.0, "seed": 1}


@pytest.fixture
def served(make_model, tiny_base, tmp_path, root):
    """(session, checkpoint folder) of a backend with a small random model, language half included."""
    checkpoint = tmp_path / "checkpoints with 'quotes' 🚶" / "momug"
    save_checkpoint(make_model(lora_rank=2), checkpoint)
    env = os.environ | {
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": "1",
        "MOMUG_CHECKPOINTS": str(checkpoint.parent),
        "MOMUG_BASE_MODEL": str(tiny_base),
    }
    session = Session(
        [sys.executable, "-c", SERVE], env, tmp_path / "backend.log", hang_timeout=PATIENCE, hello_timeout=PATIENCE
    )
    yield session, checkpoint
    session.close()


def ask(session: Session, **fields):
    return wait(session.submit("generate", {**WALK, **fields}))


def header(text: bytes, length: "int | None" = None, body: bytes = b"\0" * 64) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def tensor(**changes) -> bytes:
    entry = {"dtype": "F16", "shape": [4, 8], "data_offsets": [0, 64], **changes}
    return header(json.dumps({"out.weight": entry}).encode())


# files of the safetensors format by somebody who means harm
HOSTILE = {
    "empty": b"",
    "header longer than any memory": header(b"{}", 2**63 - 1),
    "header longer than the file": header(b"{}", 10_000),
    "not JSON": header(b"{out.weight: 1}"),
    "not UTF-8": header(b'{"\xff":1}'),
    "nested": header(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "offsets beyond the file": tensor(data_offsets=[0, 2**40], shape=[2**20, 2**19]),
    "offsets backwards": tensor(data_offsets=[64, 0]),
    "a shape that overflows": tensor(shape=[2**40, 2**40]),
    "a negative shape": tensor(shape=[-4, -8]),
    "unknown type": tensor(dtype="OBJECT"),
    "a hole": tensor(data_offsets=[8, 64], shape=[4, 7]),
    "a pickle": b"\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    "another model's": tensor(),
}


def memory(session: Session) -> int:
    """Bytes that the backend's process holds now; 0 where the system does not say."""
    try:
        text = Path(f"/proc/{session._link.process.pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def signed(checkpoint: Path) -> None:
    """Make the hashes in config.json true again: whoever changes weights can change those too."""
    values = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    values["sha256"] = {name: sha256_file(checkpoint / name) for name in values["sha256"]}
    (checkpoint / "config.json").write_text(json.dumps(values), encoding="utf-8")


def test_hostile_weights_are_damaged_weights(served):
    session, checkpoint = served
    assert ask(session).state == DONE
    process, before = session._link.process.pid, memory(session)
    kept = checkpoint.with_name("kept")
    shutil.copytree(checkpoint, kept)

    def check(name: str) -> None:
        signed(checkpoint)
        assert wait(session.submit("unload")).state == DONE
        job = ask(session)
        assert (job.state, job.code) == (FAILED, "checkpoint_damaged"), (name, job.code, job.error)
        assert job.error.endswith(".") and "\n" not in job.error and job.hint, name
        shutil.rmtree(checkpoint)
        shutil.copytree(kept, checkpoint)

    for number, (name, content) in enumerate(HOSTILE.items()):
        file = ("head", "codec", "language")[number % 3]
        (checkpoint / f"{file}.safetensors").write_bytes(content)
        check(f"{name}: {file}")
    for one, other in (("head", "codec"), ("language", "head")):
        shutil.copy(kept / f"{one}.safetensors", checkpoint / f"{other}.safetensors")
        check(f"{one} for {other}")
    job = ask(session)
    assert job.state == DONE, job.error
    assert session._link.process.pid == process, "it was restarted"
    assert memory(session) - before < 150 << 20


def test_odd_prompts(served):
    session, _checkpoint = served
    for prompt in ("🚶‍♀️💃🏽 走る", "شخص يمشي إلى الأمام", "\u202ea person walks\u202c", "<|im_end|>", "a" * 2000,
                   'a "person" \\n walks; DROP TABLE', "Z\u0351\u036b\u0343a\u0489l\u0489g\u0489o"):  # fmt: skip
        job = ask(session, prompt=prompt, steps=1)
        assert job.state == DONE, (prompt, job.error)
        assert job.arrays["0/rotations"].shape == (30, 22, 4)
    for prompt in ("a\0b", "a\x1b[2Jb", "\x7f", "\u200b\u200b", "   ", "💃", "a" * 2001):
        job = ask(session, prompt=prompt)
        assert (job.state, job.code) == (FAILED, "bad_prompt"), (prompt, job.state)
    assert ask(session).state == DONE


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_backend_that_is_killed_in_any_phase_is_started_again_and_the_job_is_done(served):
    session, _checkpoint = served
    killed = set()
    for phase, fields in (("load", {}), ("denoise", {"steps": 100, "preset": "full", "seconds": 10.0})):
        job = session.submit("generate", {**WALK, **fields})
        deadline = time.monotonic() + PATIENCE
        while job.phase != phase:
            assert time.monotonic() < deadline and job.state not in (DONE, FAILED), (phase, job.state, job.error)
            time.sleep(0.001)
        killed.add(session._link.process.pid)
        os.kill(session._link.process.pid, signal.SIGKILL)
        assert wait(job).state == DONE, job.error
        assert job.restarts == 1 and job.arrays["0/rotations"].shape[0] == 30 * fields.get("seconds", 1)
    assert len(killed) == 2 and session._link.process.pid not in killed
