"""The client against a fake backend that behaves, and against all the ways it can misbehave."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from waiting import PATIENCE, wait, wait_until

from blender_addon import client
from blender_addon.client import CANCELLED, DONE, FAILED, Session, protocol

WALK = {"model": "momug", "prompt": "a person walks", "seconds": 2.0, "seed": 5}


def kinds(session):
    return [event.kind for event in session.drain()]


def test_generate_returns_arrays_and_the_same_seed_the_same_motion(fake):
    session = fake()
    assert session.state == "stopped"
    first = wait(session.submit("generate", {**WALK, "variations": 2}))
    second = wait(session.submit("generate", WALK))
    assert first.state == second.state == DONE
    assert [motion["seed"] for motion in first.header["motions"]] == [5, 6]
    assert first.arrays["1/rotations"].shape == (60, 22, 4) and first.arrays["rest_offsets"].shape == (22, 3)
    np.testing.assert_array_equal(first.arrays["0/translation"], second.arrays["0/translation"])
    assert not np.array_equal(first.arrays["0/translation"], first.arrays["1/translation"])
    assert session.state == "ready"


def test_capabilities_are_there_before_any_request(fake):
    session = fake()
    assert session.wait_ready(PATIENCE)
    assert session.capabilities["models"][0]["name"] == "momug"
    assert session.state == "ready"


def test_caption_sends_arrays(fake):
    rotations = np.zeros((12, 22, 4), np.float32)
    rotations[..., 0] = 1
    arrays = {
        "rotations": rotations,
        "translation": np.zeros((12, 3)),
        "rest_offsets": np.asarray(protocol.REST_OFFSETS, np.float32),
    }
    job = wait(fake().submit("caption", {"model": "momug", "fps": 30.0}, arrays))
    assert job.state == DONE and "12 frames" in job.header["text"]


def test_progress_is_reported_and_events_do_not_pile_up(fake):
    session = fake(steps=50, delay=0.002)
    job = wait(session.submit("generate", WALK))
    assert (job.phase, job.step, job.total) == ("denoise", 50, 50)
    assert job.eta is None and job.elapsed > 0
    # nobody drained: one progress event stands for all
    assert kinds(session) == ["state", "state", "progress", "done"]
    assert session.drain() == []


def test_jobs_wait_for_each_other_in_order(fake):
    session = fake()
    jobs = [session.submit("generate", {**WALK, "seed": seed}) for seed in range(4)]
    for job in jobs:
        wait(job)
    done = [event.job for event in session.drain() if event.kind == "done"]
    assert done == jobs


def test_cancel_ends_the_running_job_and_the_next_one_works_in_the_same_process(fake):
    session = fake(steps=100_000, delay=0.01)
    job = session.submit("generate", WALK)
    waiting = session.submit("generate", WALK)
    wait_until(lambda: job.step > 2)
    assert job.state == "running" and job.eta > 0
    waiting.cancel()
    job.cancel()
    job.cancel()
    assert wait(job).state == wait(waiting).state == CANCELLED
    job.cancel()
    assert job.state == CANCELLED
    third = session.submit("generate", WALK)
    wait_until(lambda: third.step > 0)
    third.cancel()
    assert wait(third).state == CANCELLED
    assert kinds(session).count("restarted") == 0


def test_cancel_before_the_backend_is_up_is_immediate(fake):
    session = fake("no_hello")
    job = session.submit("generate", WALK)
    job.cancel()
    assert job.state == CANCELLED


def test_cancel_that_the_backend_ignores_ends_the_backend_and_spares_the_next_job(fake):
    session = fake("deaf", cancel_timeout=0.5)
    job = session.submit("generate", WALK)
    wait_until(lambda: job.step > 0)
    job.cancel()
    assert job.cancelling
    assert wait(job).state == CANCELLED
    assert session.state == "stopped"


BAD_MODES = {
    "garbage_start": ("garbage", "not an answer"),
    "garbage_job": ("garbage", "not an answer"),
    "huge": ("garbage", "not an answer"),
    "die_start": ("died", "exit code 3"),
    "die_job": ("died", "again after a restart"),
    "no_hello": ("no_hello", "did not answer"),
    "hang": ("hung", "no sign of life"),
    "other_version": ("version", "version 99.0"),
    "nan": ("bad_result", "not finite"),
    "shapes": ("bad_result", "wrong shape"),
    "error": ("checkpoint_missing", "checkpoint of MoMug"),
}


@pytest.mark.parametrize("mode", BAD_MODES)
def test_misbehaviour_is_one_sentence_and_the_next_request_works(fake, mode):
    code, words = BAD_MODES[mode]
    limits = {"hello_timeout": 1.0} if mode == "no_hello" else {}
    limits |= {"hang_timeout": 1.0, "heartbeat": 0.2} if mode == "hang" else {}
    session = fake(mode, **limits)
    job = wait(session.submit("generate", WALK))
    assert (job.state, job.code) == (FAILED, code)
    assert words in job.error and job.error.endswith(".") and "\n" not in job.error
    assert not job.arrays
    assert not [line for line in job.error.splitlines() if "Traceback" in line]
    if mode not in ("nan", "shapes", "error"):
        assert session.state == "failed" and session.failure.message
    session.env["MOMUG_FAKE_MODE"] = "ok"
    session.close()
    session.hello_timeout = 60.0
    assert wait(session.submit("generate", WALK)).state == DONE


def test_without_closing_a_request_after_a_failure_starts_a_new_process(fake):
    session = fake("die_start")
    assert wait(session.submit("generate", WALK)).state == FAILED
    session.env["MOMUG_FAKE_MODE"] = "ok"
    assert wait(session.submit("generate", WALK)).state == DONE


def test_a_backend_that_dies_once_is_restarted_and_the_job_is_done(fake):
    session = fake("die_once")
    job = wait(session.submit("generate", WALK))
    assert job.state == DONE and job.restarts == 1
    restart = next(event for event in session.drain() if event.kind == "restarted")
    assert "exit code 3" in restart.data["reason"]


def test_the_log_of_a_dead_backend_comes_with_the_error(fake):
    session = fake("die_job", restarts=0)
    job = wait(session.submit("generate", WALK))
    assert "told to die in a job" in job.details
    assert "told to die in a job" in session.log_tail()
    assert "told to die in a job" in session.log_file.read_text(encoding="utf-8")


def test_a_backend_that_dies_while_idle_is_started_by_the_next_request(fake):
    session = fake()
    wait(session.submit("generate", WALK))
    session._link.process.kill()
    wait_until(lambda: session.state == "stopped")
    assert wait(session.submit("generate", WALK)).state == DONE


def test_missing_program_is_one_sentence(tmp_path):
    session = Session([str(tmp_path / "no such python")], {}, tmp_path / "log")
    job = wait(session.submit("generate", WALK))
    assert job.state == FAILED and job.code == "start" and "could not be started" in job.error
    assert not session.wait_ready(PATIENCE)


def test_a_chatty_stderr_does_not_block(fake):
    session = fake("noisy")
    assert wait(session.submit("generate", WALK)).state == DONE
    wait_until(lambda: "noise 1999" in session.log_tail(3))


def test_a_backend_that_never_reads_cannot_block_the_caller(tmp_path, root):
    script = (
        f"import sys, time; sys.path.insert(0, {str(root)!r}); from backend import protocol\n"
        "hello = {'type': 'hello', 'id': 0, 'protocol': [1, 0], 'capabilities': {'models': []}}\n"
        "sys.stdout.buffer.write(b''.join(protocol.encode(hello))); sys.stdout.flush(); time.sleep(600)"
    )
    session = Session([sys.executable, "-c", script], None, tmp_path / "log", hang_timeout=1.0, restarts=0)
    assert session.wait_ready(PATIENCE)
    arrays = {"rotations": np.zeros((18000, 22, 4), np.float32)}
    jobs = [session.submit("caption", {"model": "momug"}, arrays) for _ in range(3)]
    assert [wait(job).code for job in jobs] == ["hung"] * 3
    session.close()


def test_a_slow_job_that_answers_pings_is_not_hung(fake):
    session = fake(steps=1, delay=4.0, hang_timeout=3.0, heartbeat=0.1, restarts=0)
    assert wait(session.submit("generate", WALK)).state == DONE


def test_close_cancels_jobs_ends_the_process_and_can_be_repeated(fake):
    session = fake(steps=100_000)
    job = session.submit("generate", WALK)
    wait_until(lambda: job.step > 0)
    process = session._link.process
    session.close()
    assert job.state == CANCELLED and session.state == "stopped"
    assert process.exit_code() is not None
    session.close()


def test_close_ends_a_backend_that_does_not_listen(fake):
    session = fake("hang", stop_timeout=0.5)
    assert session.wait_ready(PATIENCE)
    process = session._link.process
    session.close()
    assert process.exit_code() is not None


def test_close_without_waiting_ends_the_process_too(fake):
    session = fake()
    assert session.wait_ready(PATIENCE)
    process = session._link.process
    session.close(wait=False)
    assert process.wait(PATIENCE)


def test_a_request_that_cannot_be_sent_raises_and_leaves_no_job(fake):
    session = fake()
    with pytest.raises(protocol.ProtocolError):
        session.submit("generate", {"prompt": "x", "seconds": float("nan")})
    assert session.state == "stopped"


def test_many_threads_may_submit(fake):
    session = fake(steps=1, delay=0.0)
    jobs = []

    def submit():
        for seed in range(5):
            jobs.append(session.submit("generate", {**WALK, "seconds": 1.0, "seed": seed}))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [wait(job).state for job in jobs] == [DONE] * 20
    assert len({job.id for job in jobs}) == 20


def test_large_logs_are_put_aside(fake):
    session = fake()
    session.log_file.parent.mkdir(parents=True)
    session.log_file.write_bytes(b"old\n" * (1 << 19))
    assert wait(session.submit("generate", WALK)).state == DONE
    assert session.log_file.stat().st_size < 1 << 20
    assert session.log_file.with_name("backend.log.1").stat().st_size == 1 << 21


def test_environment_of_the_child_is_clean(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    monkeypatch.setenv("PYTHONHOME", "/somewhere/else")
    command, env = client.backend_command("/a path/python", "--device", "cpu")
    assert command == ["/a path/python", "-m", "backend", "serve", "--device", "cpu"]
    assert "somewhere" not in env["PYTHONPATH"] and "PYTHONHOME" not in env
    assert env["HF_HUB_OFFLINE"] == env["TRANSFORMERS_OFFLINE"] == env["PYTHONNOUSERSITE"] == env["PYTHONUTF8"] == "1"


def test_client_needs_neither_numpy_nor_blender_to_be_imported(root):
    script = "import blender_addon.client, sys; print(sorted({'numpy', 'bpy', 'torch'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
