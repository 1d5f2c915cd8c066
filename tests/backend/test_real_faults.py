"""The real server with a real (small, random) model, and what may go wrong on its pipe, its disk and in the files it is
given. After each there is one sentence, and the same session answers the next request. Weights made by an enemy and
processes killed in other phases: ``test_faults``."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE, wait, wait_until

from backend import protocol
from backend.language import base
from backend.models.momug.model import save_checkpoint
from blender_addon.client import DONE, FAILED, Session
from tests.backend.test_llamo import make_llamo, saved  # noqa: F401

TINY = "from backend.language import text; text.TEXT_LAYERS = (1, 2); from backend import server; "
SERVE = TINY + "server.main()"
# libraries that talk to stdout all the time, by Python and past it
CHATTY = """
import os, threading
claim = server.claim_pipes
def talk():
    while True:
        print("noise " * 100, flush=True)
        os.write(1, b"\\0\\0\\0\\5straight to the descriptor")
        threading.Event().wait(0.001)
def claim_pipes():
    pipes = claim()
    threading.Thread(target=talk, daemon=True).start()
    return pipes
server.claim_pipes = claim_pipes
"""
# something that writes into the protocol's own pipe, in the first process that has a job
GARBAGE = """
import os
work, claim = server.Server._generate_job, server.claim_pipes
def claim_pipes():
    global pipes
    pipes = claim()
    return pipes
def broken(self, *arguments):
    if not os.path.exists(os.environ["MARK"]):
        open(os.environ["MARK"], "w").close()
        os.write(pipes[1], b"Traceback (most recent call last): oh no" * 10)
    return work(self, *arguments)
server.claim_pipes, server.Server._generate_job = claim_pipes, broken
"""
WALK = {"model": "momug", "prompt": "a person walks", "seconds": 1.0, "seed": 1}
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and memory of another process")


@pytest.fixture
def environment(make_model, tiny_base, tmp_path, root):
    save_checkpoint(make_model(lora_rank=2), tmp_path / "checkpoints" / "momug")
    return os.environ | {
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": "1",
        "MOMUG_CHECKPOINTS": str(tmp_path / "checkpoints"),
        "MOMUG_BASE_MODEL": str(tiny_base),
        "MARK": str(tmp_path / "mark"),
    }


@pytest.fixture
def serve(environment, tmp_path):
    """``serve(code before the start, log, limits)``: a session with the backend."""
    opened = []

    def open_session(before: str = "", log: "Path | None" = None, **limits) -> Session:
        code = TINY + "\n" + before + "\nserver.main()"
        limits = {"hang_timeout": PATIENCE, "hello_timeout": PATIENCE, **limits}
        opened.append(Session([sys.executable, "-c", code], environment, log or tmp_path / "backend.log", **limits))
        return opened[-1]

    yield open_session
    for session in opened:
        session.close()


def walk(frames: int = 40) -> dict:
    rotations = np.zeros((frames, 22, 4), np.float32)
    rotations[..., 0] = 1
    place = np.zeros((frames, 3), np.float32)
    place[:, 1], place[:, 2] = 0.96, np.arange(frames) / 30
    return {
        "rotations": rotations,
        "translation": place,
        "rest_offsets": np.asarray(protocol.REST_OFFSETS, np.float32),
    }


def ask(session: Session, **fields):
    return wait(session.submit("generate", {**WALK, **fields}))


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text(encoding="utf-8").partition("VmRSS:")[2].split()[0]) * 1024


def frame(header: "dict | bytes", body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack(">II", 4 + len(text) + len(body), len(text)) + text + body


def caption(dtype: str = "float32", shape: "list | None" = None, body: bytes = b"\0" * 64) -> bytes:
    entry = {"name": "rotations", "dtype": dtype, "shape": [4, 4] if shape is None else shape}
    return frame({"type": "caption", "id": 7, "model": "momug", "arrays": [entry]}, body)


# what can be read to its end: the next frame is answered
RECOVERABLE = {
    "not JSON": frame(b"{generate}"),
    "not UTF-8": frame(b'{"type":"ping","id":1,"x":"\xff"}'),
    "NaN": frame(b'{"type":"generate","id":1,"seconds":NaN}'),
    "a number of a hundred thousand digits": frame(b'{"type":"ping","id":1,"x":' + b"9" * 100_000 + b"}"),
    "nested lists": frame(b'{"type":"ping","id":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a million escapes": frame(b'{"type":"' + b'\\"' * 500_000),
    "a header of a megabyte": frame(b'{"type":"ping","id":1,"x":"' + b"a" * ((1 << 20) - 40) + b"}"),
    "three hundred arrays": frame({"type": "caption", "id": 1, "arrays": [{}] * 300}),
    "objects": caption("object"),
    "big-endian": caption(">f4"),
    "negative shape": caption(shape=[-4, -4]),
    "a shape that overflows": caption(shape=[2**28, 2**28, 2**28]),
    "more bytes than the shape": caption(body=b"\0" * 100),
    "fewer bytes than the shape": caption(body=b"\0" * 20),
    "integers for rotations": caption("int64", [4, 2]),
    "nothing": caption(shape=[0, 22, 4], body=b""),
}
# after which nobody can say where the next frame begins
FATAL = {
    "a frame above the limit": struct.pack(">II", protocol.MAX_FRAME + 1, 10) + b"{}",
    "a header above the limit": struct.pack(">II", protocol.MAX_FRAME, protocol.MAX_HEADER + 1) + b"{}",
    "a header longer than the frame": struct.pack(">II", 20, 17) + b" " * 17,
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "a cut prefix": b"\0\0\0",
    "a cut header": frame({"type": "ping", "id": 1})[:-3],
    "a cut array": caption()[:-3],
    "one that only claims to be large": struct.pack(">II", protocol.MAX_FRAME, 60) + b" " * 60,
}


@linux
def test_frames_that_nobody_should_send(environment, tmp_path):
    with open(tmp_path / "stderr", "wb") as said:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": said}
        process = subprocess.Popen([sys.executable, "-c", SERVE], env=environment, cwd=tmp_path, **pipes)
        reader = protocol.FrameReader(process.stdout)

        def answer(number: int) -> protocol.Message:
            while message := reader.read():
                if message.id == number and message.type in ("result", "error"):
                    return message
            raise AssertionError((tmp_path / "stderr").read_text(errors="replace"))

        def generate(number: int) -> None:
            process.stdin.write(frame({"type": "generate", "id": number, **WALK}))
            process.stdin.flush()
            assert answer(number).type == "result"

        try:
            generate(100)
            before = memory(process.pid)
            for number, (name, bad) in enumerate(RECOVERABLE.items()):
                process.stdin.write(bad)
                process.stdin.flush()
                error = answer(7 if b'"id": 7' in bad and name in ("integers for rotations", "nothing") else 0)
                assert error.type == "error" and error.header["message"].endswith("."), name
                if number % 5 == 4:
                    generate(101 + number)
            generate(200)
            assert memory(process.pid) - before < 64 << 20
            process.stdin.close()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.mark.parametrize("name", FATAL)
def test_frames_after_which_the_conversation_is_over(environment, tmp_path, name):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", SERVE], env=environment, cwd=tmp_path, **pipes)
    out, said = process.communicate(FATAL[name], PATIENCE)
    assert process.returncode in (0, 1) and b"Traceback" not in said, said.decode(errors="replace")
    kinds = []
    stream = protocol.FrameReader(io.BytesIO(out))
    while message := stream.read():
        kinds.append(message.type)
    assert kinds[0] == "hello" and kinds[1:] in ([], ["error"])


def test_arrays_of_the_wrong_kind(serve):
    session = serve()
    good = walk()
    assert wait(session.submit("caption", {"model": "momug", "fps": 30.0}, good)).state == DONE
    infinite, endless, not_turns = (good["rotations"].copy() for _ in range(3))
    infinite[3, 2, 1], endless[0, 0, 0], not_turns[5] = np.nan, np.inf, 0
    bad = [
        {"rotations": infinite}, {"rotations": endless}, {"rotations": not_turns}, {"rotations": good["rotations"][:3]},
        {"rotations": good["rotations"].astype(np.int32)}, {"rotations": good["rotations"].reshape(-1, 4)},
        {"translation": np.full((40, 3), 1e30)}, {"translation": np.zeros((40, 4), np.float32)},
        {"rest_offsets": np.zeros((21, 3), np.float32)}, {"rotations": np.zeros((0, 22, 4), np.float32)},
        {"rotations": np.zeros((protocol.MAX_CAPTION_FRAMES + 1, 22, 4), np.float16)},
    ]  # fmt: skip
    for change in bad:
        job = wait(session.submit("caption", {"model": "momug", "fps": 30.0}, {**good, **change}))
        assert (job.state, job.code) == (FAILED, "bad_motion") and job.error.endswith("."), (change, job.error)
    masks = {"target/joints": np.ones((40, 22), np.uint8), "target/place": np.ones((40, 3), np.uint8)}
    target = {"target/rotations": good["rotations"], "target/translation": good["translation"], **masks}
    for change in (
        {"target/rotations": infinite}, {"target/rotations": not_turns}, {"target/place": np.ones((39, 3), np.uint8)},
        {"target/joints": np.full((40, 22), 3, np.uint8)}, {"target/joints": np.ones((40, 22), np.float32)},
        {"target/translation": np.full((40, 3), np.nan, np.float32)},
    ):  # fmt: skip
        job = wait(session.submit("generate", {**WALK, "seconds": None}, {**target, **change}))
        assert (job.state, job.code) == (FAILED, "bad_motion") and job.error.endswith("."), (change, job.error)
    assert ask(session).state == DONE


# --- files that mean harm


def npy_header(text: str) -> bytes:
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def bombs(folder: Path) -> list[Path]:
    head = "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 3 Zrotation Xrotation Yrotation\n"
    leaf = "End Site\n{\nOFFSET 0 1 0\n}\n}\n"
    asf = ":root\norder TX TY TZ RX RY RZ\naxis XYZ\n:bonedata\n"
    bone = "begin\nname b{0}\ndirection 0 -1 0\nlength 2\naxis 0 0 0 XYZ\ndof rx ry rz\nend\n"
    texts = {
        "frames.bvh": head + leaf + "MOTION\nFrames: 1000000000\nFrame Time: 0.03\n1 2 3\n",
        "nested.bvh": "ROOT a\n{\nOFFSET 0 0 0\n" + "JOINT x\n{\nOFFSET 0 1 0\n" * 100_000,
        "one line.bvh": head + "CHANNELS " + "9" * 5_000_000,
        "deep.asf": asf + "".join(bone.format(n) for n in range(20_000)) + ":hierarchy\nbegin\nroot b0\n"
        + "".join(f"b{n} b{n + 1}\n" for n in range(19_999)) + "end\n",
        "circle.asf": asf + bone.format(0) + bone.format(1) + ":hierarchy\nbegin\nb0 b1\nb1 b0\nend\n",
        "deep.amc": "1\nroot 0 0 0 0 0 0\n", "circle.amc": "1\nroot 0 0 0 0 0 0\n",
        "no skeleton.amc": "1\nroot 0 0 0 0 0 0\n" * 1000,
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    array = "{{'descr': '<f4', 'fortran_order': False, 'shape': {0}, }}"
    (folder / "huge.npy").write_bytes(npy_header(array.format("(10000000000, 22, 3)")) + b"\0" * 1000)
    (folder / "overflow.npy").write_bytes(npy_header(array.format("(4611686018427387904, 4, 22, 3)")) + b"\0" * 1000)
    (folder / "negative.npy").write_bytes(npy_header(array.format("(-1, 22, 3)")) + b"\0" * 1000)
    (folder / "brackets.npy").write_bytes(npy_header("(" * 9000) + b"\0" * 100)
    (folder / "code.npy").write_bytes(npy_header("__import__('os').system('true')") + b"\0" * 100)
    np.save(folder / "pickle.npy", np.array([{"a": print}], dtype=object), allow_pickle=True)
    np.savez(folder / "pickle.npz", poses=np.array([None] * 5), trans=np.zeros((5, 3)), allow_pickle=True)
    with zipfile.ZipFile(folder / "zeros.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("poses.npy", "trans.npy"):
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(npy_header(array.format("(268435456,)")))
                for _ in range(1024):
                    file.write(bytes(1 << 20))
    with zipfile.ZipFile(folder / "many.npz", "w") as archive:
        for number in range(5000):
            archive.writestr(f"{number}.npy", npy_header(array.format("(1,)")) + b"\0" * 4)
    return sorted(path for path in folder.iterdir() if path.suffix != ".asf")


@linux
def test_files_that_mean_harm(serve, tmp_path):
    folder = tmp_path / "bombs"
    folder.mkdir()
    session = serve()
    assert ask(session).state == DONE
    files, process = bombs(folder), session._link.process.pid
    before = memory(process)
    for file in files:
        job = wait(session.submit("read", {"path": str(file), "fps": 30.0}))
        assert (job.state, job.code) == (FAILED, "bad_file"), (file.name, job.state, job.code, job.error)
        assert file.stem in job.error and "\n" not in job.error and len(job.error) < 300, job.error
    assert memory(process) - before < 200 << 20
    assert ask(session).state == DONE and session._link.process.pid == process


def test_a_base_model_that_is_damaged_or_another_one(serve, tiny_base, tmp_path):
    weights, config = tiny_base / "model.safetensors", tmp_path / "checkpoints" / "momug" / "config.json"
    (tiny_base / base.DONE).write_text(json.dumps({"gguf_sha256": "1" * 64, "sha256": base.sha256_file(weights)}))
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base": "1" * 64}))
    session, whole = serve(), weights.read_bytes()
    assert ask(session).state == DONE
    flipped = bytearray(whole)
    flipped[-100] ^= 1
    for bad in (bytes(flipped), whole[:-1000], b"", whole[:8] + b"x" * 100):
        wait(session.submit("unload"))
        weights.write_bytes(bad)
        job = ask(session)
        assert (job.state, job.code) == (FAILED, "base_missing") and "damaged" in job.error and job.hint, job.error
    weights.write_bytes(whole)
    assert ask(session).state == DONE


# --- the pipe and the disk


def test_libraries_that_print_all_the_time(serve):
    session = serve(CHATTY)
    for _ in range(3):
        assert ask(session).state == DONE
    assert wait(session.submit("caption", {"model": "momug", "fps": 30.0}, walk())).state == DONE
    assert "noise" in session.log_tail(5)


def test_garbage_in_the_pipe_itself(serve):
    session = serve(GARBAGE)
    job = ask(session)
    assert job.state == FAILED and "not an answer" in job.error and job.hint
    assert ask(session).state == DONE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_log_on_a_full_disk(serve):
    session = serve(log=Path("/dev/full"))
    assert ask(session).state == DONE
    assert ask(session, prompt="").state == FAILED
    assert ask(session).state == DONE


def write(session: Session, path: Path, frames: int = 2000):
    return session.submit("write", {"path": str(path), "fps": 30.0}, walk(frames))


@linux
@pytest.mark.parametrize("kind", [".bvh", ".npz", ".npy"])
def test_a_disk_that_fills_up(serve, tmp_path, kind):
    import resource

    session, folder = serve(), tmp_path / "out"
    folder.mkdir()
    path = folder / f"a{kind}"
    path.write_text("what was there")
    assert session.wait_ready(PATIENCE)
    process = session._link.process.pid
    _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (4096, hard))
    job = wait(write(session, path))
    assert (job.state, job.code) == (FAILED, "bad_file") and job.error.endswith(".") and "None" not in job.error
    assert path.read_text() == "what was there" and list(folder.iterdir()) == [path]
    resource.prlimit(process, resource.RLIMIT_FSIZE, (hard, hard))
    assert wait(write(session, path)).state == DONE and path.stat().st_size > 4096
    assert session._link.process.pid == process


@linux
def test_killed_while_it_writes(serve, tmp_path):
    session, folder = serve(), tmp_path / "out"
    folder.mkdir()
    path = folder / "a.npz"
    path.write_text("what was there")

    def killed(job) -> None:
        wait_until(lambda: job.phase == "write" or job.finished)
        wait_until(lambda: len(list(folder.iterdir())) > 1 or job.finished)
        assert not job.finished and path.read_text() == "what was there"
        os.kill(session._link.process.pid, signal.SIGKILL)

    job = write(session, path, protocol.MAX_FILE_FRAMES)
    killed(job)
    wait_until(lambda: job.restarts)
    killed(job)
    assert wait(job).state == FAILED and "again after a restart" in job.error
    assert path.read_text() == "what was there"  # half a file never takes its place
    job = write(session, path, protocol.MAX_FILE_FRAMES)
    killed(job)
    assert wait(job).state == DONE and job.restarts == 1
    with np.load(path, allow_pickle=False) as arrays:
        assert len(arrays["poses"]) == protocol.MAX_FILE_FRAMES


def test_killed_while_it_streams(saved, environment, tmp_path):  # noqa: F811
    environment["MOMUG_CHECKPOINTS"] = str(saved[0].parent)
    limits = {"hang_timeout": PATIENCE, "hello_timeout": PATIENCE}
    session = Session([sys.executable, "-c", SERVE], environment, tmp_path / "stream.log", **limits)
    try:
        fields = {"model": "llamo", "prompt": "a person walks", "seconds": 60.0, "seed": 1}
        job = session.submit("stream", fields)  # nobody plays it, so it waits when it is ahead
        wait_until(lambda: job.begun or job.finished)
        assert job.begun, job.error
        os.kill(session._link.process.pid, signal.SIGKILL)
        assert wait(job).state == FAILED and "stopped unexpectedly" in job.error and job.restarts == 0
        frames = sum(piece.frames for piece in job.incoming.take())
        assert frames == job.incoming.received > 0  # what had come is still there
        job = session.submit("stream", {**fields, "seconds": 1.0})
        assert wait(job).state == DONE and job.incoming.received == 30, job.error
    finally:
        session.close()
