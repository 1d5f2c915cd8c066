"""The real server in a real process, with a stub in place of the model."""

import io
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE, wait, wait_until

from backend import server
from blender_addon.client import CANCELLED, DONE, FAILED, Session, backend_command, protocol

SCRIPT = Path(__file__).with_name("stub_server.py")


def generate(session, prompt="walk", **fields):
    return session.submit("generate", {"model": "stub", "prompt": prompt, **fields})


def motion(frames=40):
    rotations = np.zeros((frames, 22, 4), np.float32)
    rotations[..., 0] = 1
    return {
        "rotations": rotations,
        "translation": np.zeros((frames, 3), np.float32),
        "rest_offsets": np.asarray(protocol.REST_OFFSETS, np.float32),
    }


def test_generate_and_caption(stub):
    session = stub()
    job = wait(generate(session, seconds=3, seed=2**63 - 3, variations=3, steps=5, guidance_scale=2.5, preset="fast"))
    assert job.state == DONE, job.error
    assert [entry["seed"] for entry in job.header["motions"]] == [2**63 - 3, 2**63 - 2, 2**63 - 1]
    assert job.arrays["2/rotations"].shape == (90, 22, 4) and job.arrays["2/rotations"].dtype == np.float32
    assert job.header["warnings"] == ["The stub warns."] and set(job.header["timings"]) == {"load", "denoise"}
    assert job.header["prompt"] == "walk" and job.header["seconds"] == pytest.approx(3.0)
    caption = wait(session.submit("caption", {"model": "stub", "fps": 24.0}, motion()))
    assert caption.header["text"] == "40 frames at 24"


def test_null_fields_leave_the_choice_to_the_model(stub):
    fields = dict.fromkeys(("seconds", "seed", "steps", "guidance_scale", "preset", "variations"))
    job = wait(generate(stub(), **fields))
    assert job.state == DONE and job.arrays["0/rotations"].shape[0] == 60


def test_the_model_is_loaded_once_and_unload_frees_it(stub):
    session = stub()
    load = wait(session.submit("load", {"model": "stub"}))
    assert load.state == DONE and load.header["device"] == "stub"
    wait(generate(session))
    assert wait(session.submit("unload")).state == DONE
    wait(generate(session))
    assert "loaded stub for the 2. time" in session.log_tail(50)
    assert "for the 3. time" not in session.log_tail(50)


def test_preload_loads_without_a_request(stub):
    session = stub({"STUB_PRELOAD": "stub"})
    assert session.wait_ready(PATIENCE)
    wait_until(lambda: "loaded stub for the 1. time" in session.log_tail(50))


def test_a_failed_preload_leaves_a_working_backend(stub):
    session = stub({"STUB_PRELOAD": "broken"})
    assert wait(generate(session)).state == DONE


def test_idle_model_is_unloaded(stub):
    session = stub({"STUB_IDLE": "0.05"})
    wait(generate(session))
    wait_until(lambda: "unloading stub" in session.log_tail(50))
    assert wait(generate(session)).state == DONE


def test_prints_of_libraries_do_not_break_frames(stub):
    session = stub()
    assert wait(generate(session, "print a lot")).state == DONE
    assert "straight to the file descriptor" in session.log_tail(50)
    assert "a child of the backend talks" in session.log_tail(50)


def test_cancel_is_seen_between_two_steps(stub):
    session = stub(cancel_timeout=PATIENCE)
    job = generate(session, "endless")
    wait_until(lambda: job.phase == "denoise" and job.step > 1)
    pid = session._link.process.pid
    job.cancel()
    assert wait(job).state == CANCELLED
    assert wait(generate(session)).state == DONE
    assert session._link.process.pid == pid


def test_a_waiting_job_can_be_cancelled(stub):
    session = stub(cancel_timeout=PATIENCE)
    first, second = generate(session, "endless"), generate(session)
    wait_until(lambda: first.step > 1)
    second.cancel()
    first.cancel()
    assert wait(first).state == wait(second).state == CANCELLED


def test_a_model_that_ignores_cancel_is_ended_with_its_process(stub):
    session = stub(cancel_timeout=0.5)
    job = generate(session, "stubborn")
    wait_until(lambda: job.phase == "denoise")
    job.cancel()
    assert wait(job).state == CANCELLED
    assert wait(generate(session)).state == DONE


def test_progress_is_rate_limited_but_phases_and_last_steps_are_told(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(server.time, "monotonic", lambda: now[0])
    incoming, outgoing = os.pipe(), os.pipe()
    served = server.Server(server.InstalledModels(), (incoming[0], outgoing[1]))
    job = server.Job(1, lambda job: None)
    for step in range(1, 101):
        now[0] += server.PROGRESS_INTERVAL / 9.5
        served._progress(job, "denoise", step, 100)
    served._progress(job, "decode", 0, 1)
    served._output.close()
    with os.fdopen(outgoing[0], "rb") as stream:
        reader = protocol.FrameReader(stream)
        told = [(m.header["phase"], m.header["step"]) for m in iter(reader.read, None)]
    assert told[:3] == [("denoise", 1), ("denoise", 11), ("denoise", 21)]
    assert told[-2:] == [("denoise", 100), ("decode", 0)] and len(told) == 12
    served._input.close()
    os.close(incoming[1])


MODEL_FAILURES = {
    "raise": ("internal", "KeyError"),
    "memory": ("out_of_memory", "Memory"),
    "refuse": ("checkpoint_damaged", "damaged"),
    "nan": ("internal", "not finite"),
}


@pytest.mark.parametrize("prompt", MODEL_FAILURES)
def test_failures_of_the_model_are_one_sentence_and_the_next_request_works(stub, prompt):
    code, words = MODEL_FAILURES[prompt]
    session = stub()
    job = wait(generate(session, prompt))
    assert (job.state, job.code) == (FAILED, code) and words in job.error
    assert "a bug in the model" not in job.error
    if prompt == "raise":
        assert "Traceback" in session.log_tail(50) and "a bug in the model" in session.log_tail(50)
    assert wait(generate(session)).state == DONE


@pytest.mark.parametrize(
    ("name", "code"),
    [("nobody", "unknown_model"), (None, "unknown_model"), (3, "unknown_model"), ("absent", "checkpoint_missing"),
     ("broken", "base_mismatch")],
)  # fmt: skip
def test_unusable_models(stub, name, code):
    job = wait(stub().submit("generate", {"model": name, "prompt": "walk"}))
    assert (job.state, job.code) == (FAILED, code)


BAD_FIELDS = [
    ({"prompt": ""}, "bad_prompt"),
    ({"prompt": "x" * 10_000}, "bad_prompt"),
    ({"prompt": "a\0b"}, "bad_prompt"),
    ({"prompt": None}, "bad_prompt"),
    ({"seconds": -1}, "bad_duration"),
    ({"seconds": 0.5}, "bad_duration"),
    ({"seconds": 1e9}, "bad_duration"),
    ({"seconds": "5"}, "bad_duration"),
    ({"seed": -1}, "bad_request"),
    ({"seed": 2**63}, "bad_request"),
    ({"seed": 1.5}, "bad_request"),
    ({"seed": 2**63 - 1, "variations": 2}, "bad_request"),
    ({"steps": 0}, "bad_request"),
    ({"steps": 101}, "bad_request"),
    ({"guidance_scale": -0.1}, "bad_request"),
    ({"guidance_scale": 20.5}, "bad_request"),
    ({"variations": 0}, "bad_request"),
    ({"variations": 9}, "bad_request"),
    ({"preset": "nonsense"}, "bad_request"),
    ({"preset": ["fast"]}, "bad_request"),
]


def test_bad_fields_are_refused_before_the_model_is_loaded(stub):
    session = stub()
    for fields, code in BAD_FIELDS:
        job = wait(session.submit("generate", {"model": "stub", "prompt": "walk", **fields}))
        assert (job.state, job.code) == (FAILED, code), fields
        assert job.error.endswith(".") and "\n" not in job.error
    assert "loaded stub" not in session.log_tail(100)
    assert wait(generate(session)).state == DONE


def bad_motions():
    good = motion()
    nan = {**good, "translation": np.full((40, 3), math.nan, np.float32)}
    yield "nan", nan, 30.0
    yield "no arrays", {}, 30.0
    yield "no offsets", {name: good[name] for name in ("rotations", "translation")}, 30.0
    yield "integers", {**good, "rotations": np.ones((40, 22, 4), np.int64)}, 30.0
    yield "other frames", {**good, "translation": np.zeros((39, 3), np.float32)}, 30.0
    yield "other joints", {**good, "rotations": np.ones((40, 24, 4), np.float32)}, 30.0
    yield "empty", motion(0), 30.0
    yield "too long", motion(protocol.MAX_CAPTION_FRAMES + 1), 30.0
    yield "not unit", {**good, "rotations": np.zeros((40, 22, 4), np.float32)}, 30.0
    yield "huge", {**good, "translation": np.full((40, 3), 1e30, np.float32)}, 30.0
    yield "no frame rate", good, 0
    yield "frame rate is text", good, "30"


def test_bad_motions_are_refused(stub):
    session = stub()
    for name, arrays, fps in bad_motions():
        job = wait(session.submit("caption", {"model": "stub", "fps": fps}, arrays))
        assert (job.state, job.code) == (FAILED, "bad_motion"), name
    assert wait(session.submit("caption", {"model": "mute"}, motion())).code == "bad_request"
    assert wait(session.submit("caption", {"model": "stub"}, motion(1))).state == DONE


def test_too_many_requests_are_refused_and_unknown_ones_too(stub):
    session = stub(cancel_timeout=PATIENCE)
    first = generate(session, "endless")
    jobs = [generate(session) for _ in range(40)]
    refused = [job for job in jobs if job.wait(0) or job is jobs[-1]]
    assert wait(refused[-1]).code == "busy" and refused[-1].retryable
    first.cancel()
    assert {wait(job).state for job in jobs} == {DONE, FAILED}
    assert wait(session.submit("dance")).code == "bad_request"


def raw_server(**variables):
    env = {**os.environ, **variables}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, str(SCRIPT)], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=env)


def send(process, header, arrays=None):
    process.stdin.write(b"".join(protocol.encode(header, arrays)))
    process.stdin.flush()


def read_until(process, kind):
    reader = protocol.FrameReader(process.stdout)
    while (message := reader.read()) is not None:
        if message.type == kind:
            return message
    raise AssertionError(f"the server ended without {kind}")


@pytest.mark.parametrize("prompt", ["endless", "stubborn"])
def test_the_server_ends_when_stdin_closes_in_the_middle_of_a_job(prompt):
    with raw_server() as process:
        send(process, {"type": "generate", "id": 1, "model": "stub", "prompt": prompt})
        read_until(process, "progress")
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def test_a_bad_frame_is_answered_and_the_next_request_works():
    with raw_server() as process:
        bad = b'{"type":"ping","id":NaN}'
        process.stdin.write((4 + len(bad)).to_bytes(4, "big") + len(bad).to_bytes(4, "big") + bad)
        send(process, {"type": "ping", "id": 4})
        assert read_until(process, "error").header["code"] == "bad_request"
        assert read_until(process, "pong").id == 4
        send(process, {"type": "shutdown", "id": 5})
        assert read_until(process, "ack").id == 5
        assert process.wait(PATIENCE) == 0


def test_garbage_ends_the_server():
    with raw_server() as process:
        process.stdin.write(b"GET / HTTP/1.1\r\n\r\n")
        process.stdin.flush()
        assert read_until(process, "error").id == 0
        assert process.wait(PATIENCE) == 1


def test_ping_is_answered_in_the_middle_of_a_job():
    with raw_server() as process:
        send(process, {"type": "generate", "id": 1, "model": "stub", "prompt": "stubborn"})
        read_until(process, "progress")
        send(process, {"type": "ping", "id": 2})
        assert read_until(process, "pong").id == 2
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_server_ends_when_its_parent_is_killed(root, tmp_path):
    script = (
        f"import sys, time, pathlib; sys.path.insert(0, {str(root)!r})\n"
        "from blender_addon.client import Session\n"
        f"session = Session([sys.executable, {str(SCRIPT)!r}], None, pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "job = session.submit('generate', {'model': 'stub', 'prompt': 'stubborn'})\n"
        "while job.phase != 'denoise': time.sleep(0.01)\n"
        "print(session._link.process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.kill()

    def gone():
        try:
            return Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_until(gone)


def test_the_real_command_says_hello_without_torch_and_explains_missing_weights(tmp_path):
    command, env = backend_command(sys.executable)
    env["MOMUG_CHECKPOINTS"] = str(tmp_path / "none")
    session = Session(command, env, tmp_path / "log", cwd=tmp_path)
    assert session.wait_ready(PATIENCE), session.failure
    model = session.capabilities["models"][0]
    assert model["name"] == "momug" and model["available"] is False and model["reason"]
    job = wait(session.submit("generate", {"model": "momug", "prompt": "a person walks"}))
    assert job.code == "checkpoint_missing" and job.error.endswith(".")
    session.close()


def test_the_packaged_layout_finds_the_backend_inside_the_addon(root, tmp_path):
    package = tmp_path / "folder é" / "momug"
    for source, target in ((root / "blender_addon", package), (root / "backend", package / "backend")):
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import sys; from pathlib import Path; from momug import client\n"
        "command, env = client.backend_command(sys.executable)\n"
        "session = client.Session(command, env, Path('backend.log'))\n"
        "print(client.protocol.__name__, session.wait_ready(60), 'backend' in sys.modules); session.close()"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=package.parent, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["momug.backend.protocol", "True", "False"], result.stderr


def test_nothing_heavy_is_imported_before_hello(root):
    script = (
        "import sys, os\n"
        "from backend import server\n"
        "sent = []\n"
        "class Stop(Exception): pass\n"
        "def send(self, kind, *rest, **fields): sent.append(kind); raise Stop\n"
        "server.Server._send = send\n"
        "try: server.Server(server.InstalledModels(), (os.dup(0), os.dup(1))).serve()\n"
        "except Stop: pass\n"
        "print(sent, sorted({'torch', 'transformers', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    assert result.stdout.strip() == "['hello'] []", result.stderr


def test_encode_and_read_agree_with_the_pipe_limits():
    pieces = protocol.encode({"type": "result", "id": 1}, motion(300))
    message = protocol.read_message(io.BytesIO(b"".join(pieces)))
    assert np.asarray(message.arrays["rotations"]).shape == (300, 22, 4)
