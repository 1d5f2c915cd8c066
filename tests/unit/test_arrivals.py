"""Frames of a live motion between arrival and keys: in order, and made anew from where a new prompt begins."""

import numpy as np
import pytest

from blender_addon import arrivals
from blender_addon.client import protocol
from blender_addon.client.incoming import Incoming, Piece
from blender_addon.retarget.live import Placer, joined


def piece(first: int, frames: int = 4, prompt: str = "walk", way: float = 0.0) -> Piece:
    """Frames whose place says their number, plus ``way``."""
    rotations = np.zeros((frames, 22, 4), np.float32)
    rotations[..., 0] = 1.0
    path = np.repeat((first + np.arange(frames) + way)[:, None], 3, 1).astype(np.float32)
    return Piece(first, 30.0, prompt, rotations, path, np.ones((frames, 4), np.float32), np.zeros((22, 3), np.float32))


def arrived(count: int = 5) -> arrivals.Arrivals:
    found = arrivals.Arrivals(Placer(None))
    for number in range(count):
        found.add(piece(4 * number), 0, "walk")
    return found


def path(found: arrivals.Arrivals) -> list:
    return joined(*found.motions).translation[:, 0].tolist()


def test_frames_come_in_order():
    found = arrived()
    assert path(found) == list(range(20)) and found.received == found.usable == 20 and len(found.queue) == 5
    assert found.prompts == [{"prompt": "walk", "first": 0}] and found.prompt_at(3, "") == "walk"


def test_what_has_no_keys_is_made_anew():
    found = arrived()
    found.queue.popleft(), found.queue.popleft()  # eight frames have keys
    found.keep = 8
    assert found.usable == 8, "what comes after them is not to be played"
    found.add(piece(8, prompt="run", way=0.5), 8, "run")
    assert path(found) == [*range(8), 8.5, 9.5, 10.5, 11.5]
    assert found.keep is None and found.received == found.usable == 12 and len(found.queue) == 1
    assert [(part["first"], part["prompt"]) for part in found.prompts] == [(0, "walk"), (8, "run")]


def test_it_may_begin_in_the_middle_of_a_piece():
    found = arrived()
    found.add(piece(10, prompt="run", way=0.5), 4, "run")
    assert path(found) == [*range(10), 10.5, 11.5, 12.5, 13.5]
    assert sum(motion.frames for motion in found.queue) == 14


def test_frames_that_have_keys_are_never_taken_back():
    """Two prompts in quick succession: the second answer reaches back behind keys that are laid by then."""
    found = arrived()
    for _ in range(4):
        found.queue.popleft()  # sixteen frames have keys
    for first in (8, 12, 16):
        found.add(piece(first, prompt="run", way=0.5), 16, "run")
    assert path(found) == [*range(16), 16.5, 17.5, 18.5, 19.5] and found.received == 20
    assert [(part["first"], part["prompt"]) for part in found.prompts] == [(0, "walk"), (16, "run")]


def test_the_window_leaves_two_seconds_to_spare():
    """Also when the next piece, of any size, is still to come."""
    assert (protocol.AHEAD - protocol.MAX_PIECE) / protocol.FPS >= 2.0


def test_the_end_speaks_of_the_frames_that_came_or_of_those_that_stay():
    came = Incoming(90)
    came.received = 40
    came.check_end({"frames": 40, "seed": 7})
    with pytest.raises(protocol.ProtocolError, match="sent 40 frames"):
        came.check_end({"frames": 28, "seed": 7})
    came.keep(24)  # a new prompt: the backend goes back, and is stopped before it sends anything anew
    came.check_end({"frames": 28, "seed": 7})
    with pytest.raises(protocol.ProtocolError, match="sent 40 frames"):
        came.check_end({"frames": 20, "seed": 7})
