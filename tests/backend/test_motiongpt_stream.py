"""Motion that is watched while MotionGPT makes it."""

import numpy as np
import pytest
import torch

from backend.codecs.streaming import join
from backend.errors import BackendError
from backend.models.interface import GenerateRequest
from tests.backend.asking import Audience, ask, never, quiet, same


def stream(motiongpt, watcher, seconds=3.0, cancelled=never):
    return motiongpt.stream(GenerateRequest(watcher.prompt(), seconds, seed=3), watcher, quiet, cancelled)


def test_a_stream_comes_in_pieces_of_one_world(motiongpt):
    watcher = Audience()
    made = stream(motiongpt, watcher).motions[0]
    assert made.frames == watcher.frames == 90 and max(piece.frames for piece in watcher.pieces) <= 16
    assert np.array_equal(np.concatenate([p.translation for p in watcher.pieces]), made.translation)
    step = np.linalg.norm(np.diff(made.translation, axis=0), axis=1)
    assert step[15::16].max() < 3 * np.percentile(step, 95) + 0.01  # no jump where pieces meet


def test_a_stream_shows_what_is_generated_whole(motiongpt):
    whole = ask(motiongpt, seconds=3.0, seed=3, preset="fast")
    made = stream(motiongpt, Audience()).motions[0]
    assert np.abs(made.translation - whole.motions[0].translation).max() < 1e-4  # planted feet do not move the pelvis


def test_another_sentence_holds_from_the_next_piece_on(motiongpt):
    made = stream(motiongpt, Audience({0: "a person walks", 32: "someone sits"}))
    assert made.segments == [0, 32] and made.motions[0].frames == 90


def test_a_watcher_may_stop_and_a_long_stream_goes_on(motiongpt):
    watcher = Audience(stop_at=340)
    made = stream(motiongpt, watcher, seconds=20.0)
    assert 340 <= made.motions[0].frames < 340 + 17


def test_it_goes_back_and_goes_on_from_there(motiongpt):
    plain = stream(motiongpt, Audience()).motions[0]
    asked = []

    def back(starts):
        asked.append(starts)
        return 32 if len(asked) == 5 else None  # after 64 frames

    watcher = Audience()
    watcher.back_to = back
    made = stream(motiongpt, watcher).motions[0]
    assert asked[4] == [0, 16, 32, 48, 64] and asked[5][-1] == 48
    assert made.frames == 90 and same(made.slice(0, 32), plain.slice(0, 32), 1e-5)
    assert not same(made.slice(32, 90), plain.slice(32, 90), 1e-3)
    assert same(join(watcher.pieces[:2] + watcher.pieces[4:]), made)


def test_a_stream_of_no_length_goes_on_beyond_every_answer(motiongpt):
    with torch.no_grad():  # answers end as soon as they may, after a second
        motiongpt.tokens.head.bias[motiongpt.config.codes] = 50.0
    watcher = Audience(stop_at=200)
    made = stream(motiongpt, watcher, seconds=None).motions[0]
    assert 200 <= made.frames <= 216 and max(piece.frames for piece in watcher.pieces) <= 16


def test_a_stream_is_cancelled(motiongpt):
    watcher = Audience()
    with pytest.raises(BackendError) as error:
        stream(motiongpt, watcher, cancelled=lambda: watcher.frames >= 32)
    assert error.value.code == "cancelled"
