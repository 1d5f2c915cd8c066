"""Streams: the real server in a real process, a model without torch, and the add-on's client."""

import os
import threading
import time

import numpy as np
import pytest
from waiting import PATIENCE, wait, wait_until

from backend.errors import BackendError
from backend.motion.skeleton import Motion
from backend.streaming import Stream
from blender_addon.client import CANCELLED, DONE, FAILED, protocol


def stream(session, prompt="walk", **fields):
    return session.submit("stream", {"model": "stub", "prompt": prompt, **fields})


def play(session, job, until=lambda pieces: False, at_once=True):
    """Take and play what comes until the job is over or ``until`` says so; the pieces."""
    pieces, end = [], time.monotonic() + PATIENCE
    while not until(pieces):
        job.incoming.wait(0.02)
        new = job.incoming.take()
        pieces += new
        if new and at_once:
            session.played(job, pieces[-1].first + pieces[-1].frames)
        if not new and job.finished and not job.incoming.take():
            break
        assert time.monotonic() < end, "the stream does not end"
    return pieces


def frames(pieces):
    return sum(piece.frames for piece in pieces)


def test_a_stream_comes_in_pieces_in_order_and_complete(stub):
    session = stub()
    job = stream(session, "walk on", seconds=5, seed=3)
    pieces = play(session, job)
    assert job.state == DONE, job.error
    path = np.concatenate([piece.translation for piece in pieces])
    assert path[:, 2] == pytest.approx(np.arange(150) / 30) and (path[:, 0] == 2).all()
    assert all(4 <= piece.frames <= protocol.MAX_PIECE for piece in pieces[:-1])
    assert pieces[0].rotations.shape == (8, 22, 4) and pieces[0].contacts.shape == (8, 4)
    assert np.allclose(pieces[0].rest_offsets, protocol.REST_OFFSETS) and pieces[0].fps == 30.0
    assert job.header["frames"] == 150 and job.header["seed"] == 3
    assert job.header["prompts"] == [{"first": 0, "prompt": "walk on"}]
    assert job.header["warnings"] == ["The stub warns."]
    assert {"load", "stream", "waited", "tokens"} <= set(job.header["timings"])


def test_what_a_model_makes_at_once_is_cut_into_pieces(stub):
    session = stub()
    job = stream(session, "large pieces", seconds=4)
    assert [piece.frames for piece in play(session, job)] == [16, 16, 8] * 3


def test_the_model_waits_for_who_watches(stub):
    session = stub()
    job = stream(session, "walk", ahead=40)
    wait_until(lambda: job.incoming.received == 40)
    time.sleep(0.3)
    assert job.incoming.received == 40, "more was sent than there was room for"
    session.played(job, 10)
    wait_until(lambda: job.incoming.received == 48)
    session.played(job, 5)  # an older number makes no room
    time.sleep(0.2)
    assert job.incoming.received == 48
    session.stop(job)
    assert wait(job).state == DONE and job.header["frames"] == 48


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads the memory of a process from /proc")
def test_a_slow_watcher_costs_no_memory(stub):
    def memory():
        with open(f"/proc/{session._link.process.pid}/status", encoding="utf-8") as file:
            return int(file.read().partition("VmRSS:")[2].split()[0]) * 1024

    session = stub()
    job = stream(session, "walk")
    wait_until(lambda: job.incoming.received > protocol.AHEAD - 8)
    held = memory()
    pieces = 0
    for played in range(0, 6000, 40):
        session.played(job, played)
        wait_until(lambda: job.incoming.received > played + 40)  # noqa: B023
        pieces = max(pieces, len(job.incoming.take()))
        assert len(session._events) <= 5
    assert memory() - held < 4 << 20 and pieces <= protocol.AHEAD / 4
    job.cancel()
    assert wait(job).state == CANCELLED


def test_a_new_prompt_is_followed(stub):
    session = stub()
    job = stream(session, "walk")
    pieces = play(session, job, lambda pieces: frames(pieces) > 50)
    session.steer(job, "now  turn\nleft")
    pieces += play(session, job, lambda more: more and more[-1].prompt == "now turn left")
    session.stop(job)
    pieces += play(session, job)
    assert job.state == DONE and not job.refused
    first = next(piece.first for piece in pieces if piece.prompt == "now turn left")
    assert job.header["prompts"] == [{"first": 0, "prompt": "walk"}, {"first": first, "prompt": "now turn left"}]
    path = np.concatenate([piece.translation for piece in pieces])
    assert (path[:first, 0] == 1).all() and (path[first:, 0] == 3).all()
    assert path[:, 2] == pytest.approx(np.arange(job.header["frames"]) / 30), (
        "the new part is not where the old one ends"
    )


def test_a_new_prompt_in_place_of_what_was_not_played(stub):
    """The model, which waits because it is far ahead, goes back to the frames that stay."""
    session = stub()
    job = stream(session, "walk")
    wait_until(lambda: job.incoming.received > protocol.AHEAD - 8)
    session.played(job, 10)
    session.steer(job, "now turn left", keep=20)
    wait_until(lambda: any(piece.prompt == "now turn left" for piece in job.incoming._pieces))
    pieces = job.incoming.take()
    at = next(index for index, piece in enumerate(pieces) if piece.prompt == "now turn left")
    assert frames(pieces[:at]) == pieces[at].first == 24  # the first that the model can go back to
    session.steer(job, "run", keep=32)  # of what was taken already
    wait_until(lambda: any(piece.prompt == "run" for piece in job.incoming._pieces))
    later = next(piece for piece in job.incoming.take() if piece.prompt == "run")
    assert later.first == 32
    session.stop(job)
    assert wait(job).state == DONE, job.error
    told = [(0, "walk"), (24, "now turn left"), (32, "run")]
    assert [(part["first"], part["prompt"]) for part in job.header["prompts"]] == told
    path = np.concatenate([piece.translation for piece in pieces])[:32]
    assert (path[:24, 0] == 1).all() and (path[24:, 0] == 3).all() and path[:, 2] == pytest.approx(np.arange(32) / 30)


def test_nothing_that_was_played_is_made_anew(stub):
    session = stub()
    job = stream(session, "walk")
    wait_until(lambda: job.incoming.received >= 40)
    session.played(job, 40)
    session.steer(job, "run", keep=10)
    wait_until(lambda: job.refused)
    assert "40 frames have been played" in job.refused
    received = job.incoming.received
    session.played(job, received)
    wait_until(lambda: job.incoming.received > received)  # it goes on as it was
    job.cancel()
    assert wait(job).state == CANCELLED


def test_a_prompt_that_is_none_is_refused_and_the_stream_goes_on(stub):
    session = stub()
    job = stream(session, "walk")
    play(session, job, lambda pieces: pieces)
    with pytest.raises(protocol.ProtocolError, match="empty"):
        session.steer(job, "  ")
    received = job.incoming.received
    session.played(job, received)
    wait_until(lambda: job.incoming.received > received)
    session.stop(job)
    assert wait(job).state == DONE


def test_a_prompt_before_the_model_is_there_is_the_first_one(stub):
    session = stub()
    job = stream(session, "walk")
    session.steer(job, "run fast now")
    pieces = play(session, job, lambda pieces: pieces)
    assert pieces[0].prompt == "run fast now"
    job.cancel()
    assert wait(job).state == CANCELLED


def test_a_prompt_while_the_motion_ends_is_refused_in_a_sentence(stub):
    session = stub()
    job = stream(session, "walk")
    play(session, job, lambda pieces: pieces)
    session.stop(job)
    session.steer(job, "turn left")
    assert "ending already" in job.refused
    assert wait(job).state == DONE
    session.close()
    session.steer(job, "turn left")
    assert "ending already" in job.refused


def test_the_server_refuses_a_prompt_for_what_is_over(stub):
    session = stub()
    job = stream(session, "walk", seconds=1)
    play(session, job)
    assert job.state == DONE
    heard = []
    receive = session._receive
    session._link._on_message = lambda link, message: (heard.append(message), receive(link, message))
    for number, kind in enumerate(("played", "steer", "stop")):
        fields = {"type": kind, "id": 900 + number, "target": job.id, "prompt": "run", "frames": 3}
        session._link.send(protocol.encode(fields))
    wait_until(lambda: len(heard) == 2)
    assert {message.header["code"] for message in heard} == {"ending"}
    assert all(message.header["message"].endswith(".") for message in heard)


def test_stop_in_the_middle_of_loading_ends_the_job(stub):
    session = stub()
    job = session.submit("stream", {"model": "lazy", "prompt": "walk"})
    wait_until(lambda: job.phase == "load")
    session.stop(job)
    assert wait(job).state == CANCELLED and job.incoming.received == 0
    assert wait(session.submit("generate", {"model": "stub", "prompt": "walk"})).state == DONE


def test_cancel_is_seen_while_the_model_waits_for_room(stub):
    session = stub()
    job = stream(session, "walk")
    wait_until(lambda: job.incoming.received >= protocol.AHEAD - 8)
    pid = session._link.process.pid
    job.cancel()
    assert wait(job).state == CANCELLED
    assert wait(stream(session, "walk", seconds=1)).state == DONE and session._link.process.pid == pid


def test_a_model_that_ignores_stop_is_ended_and_its_frames_stay(stub):
    session = stub(cancel_timeout=0.5)
    job = stream(session, "stubborn and slow", ahead=600)
    pieces = play(session, job, lambda pieces: frames(pieces) >= 16)
    session.stop(job)
    pieces += play(session, job)
    assert job.state == FAILED and job.code == "no_stop" and frames(pieces) >= 16


@pytest.mark.parametrize(("prompt", "words"), [("die now", "stopped unexpectedly"), ("refuse", "damaged")])
def test_what_arrived_before_a_failure_stays(stub, prompt, words):
    session = stub()
    job = stream(session, prompt)
    pieces = play(session, job)
    assert job.state == FAILED and words in job.error and frames(pieces) == 24
    assert job.restarts == 0, "a stream that has begun cannot go on in another process"
    assert wait(session.submit("generate", {"model": "stub", "prompt": "walk"})).state == DONE


def test_numbers_that_are_not_finite_end_the_stream(stub):
    session = stub()
    job = stream(session, "walk")
    play(session, job, lambda pieces: pieces)
    session.steer(job, "nan")
    play(session, job)
    assert job.state == FAILED and "not finite" in job.error and job.incoming.received > 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "mute"}, "cannot show its motion"),
        ({"variations": 2}, "no variations"),
        ({"loop": True}, "no loop"),
        ({"timeline": [{"prompt": "walk", "seconds": 2}]}, "no timeline"),
        ({"ahead": 3}, "frames ahead"),
        ({"ahead": 10**6}, "frames ahead"),
        ({"seconds": 601.0}, "duration"),
        ({"prompt": "..."}, "empty"),
    ],
)
def test_what_cannot_be_streamed_is_said_in_a_sentence(stub, fields, words):
    job = wait(stream(stub(), **{"prompt": "walk", **fields}))
    assert job.state == FAILED and words in job.error and job.error.endswith(".") and not job.begun


@pytest.mark.parametrize("mode", ["skips", "floods", "nan", "shapes"])
def test_a_backend_that_breaks_the_rules_is_ended(fake, mode):
    session = fake(f"stream_{mode}")
    job = wait(stream(session, "walk", model="momug"))
    assert job.state == FAILED and job.code == "garbage"
    assert job.incoming.received <= protocol.AHEAD


# --- one stream by itself, without a process


def piece(frames=8):
    rotations = np.zeros((frames, 22, 4))
    rotations[..., 0] = 1
    return Motion(rotations, np.zeros((frames, 3)))


def test_nobody_watches_any_more(monkeypatch):
    monkeypatch.setattr("backend.streaming.PATIENCE", 0.2)
    watched = Stream("walk", 32, lambda fields, arrays: None, lambda: False)
    with pytest.raises(BackendError, match="Nobody has watched") as caught:
        for _ in range(10):
            watched.emit(piece())
    assert caught.value.code == "abandoned" and watched.sent == 32


def test_whoever_plays_frames_before_the_sender_goes_on_is_heard():
    """Otherwise the one waits for frames and the other for room, for ever."""
    watched = Stream("walk", 16, lambda fields, arrays: watched.note_played(fields["first"] + fields["frames"]), bool)
    for _ in range(20):
        watched.emit(piece())
    assert watched.sent == watched.played == 160


def test_cancel_and_stop_wake_a_model_that_waits():
    for act in ("stop", "cancel"):
        cancelled = threading.Event()
        watched = Stream("walk", 32, lambda fields, arrays: None, cancelled.is_set)
        for _ in range(4):
            watched.emit(piece())
        threading.Timer(0.05, watched.stop if act == "stop" else cancelled.set).start()
        if act == "stop":
            watched.emit(piece())
            assert watched.stopped() and watched.sent == 32
        else:
            with pytest.raises(BackendError, match="cancelled"):
                watched.emit(piece())


def test_a_stream_ends_at_its_longest(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_STREAM_FRAMES", 20)
    watched = Stream("walk", 600, lambda fields, arrays: None, lambda: False)
    for _ in range(3):
        watched.emit(piece())
    assert watched.sent == 16 and watched.stopped() and watched.full


def test_prompts_are_noted_when_the_model_hears_them():
    watched = Stream("walk", 600, lambda fields, arrays: None, lambda: False)
    assert watched.prompt() == "walk"
    watched.steer("run")
    assert watched.prompt() == "run"
    watched.emit(piece())
    assert watched.prompt() == "run"
    watched.steer("jump")
    assert watched.prompt() == "jump"
    assert watched.prompts == [(0, "run"), (8, "jump")]
    with pytest.raises(BackendError, match="Only 8 frames"):
        watched.note_played(9)
    watched.end()
    with pytest.raises(BackendError, match="ending already"):
        watched.steer("sit")
