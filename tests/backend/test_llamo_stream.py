"""Motion that is watched while LLaMo makes it; latents and frames piece by piece are those of the whole."""

import threading
import time

import numpy as np
import pytest
import torch

from backend.codecs.causal_vae import CausalVAE, CausalVAEConfig
from backend.codecs.streaming import MotionStream, StreamingDecoder, join
from backend.errors import BackendError
from backend.models.interface import GenerateRequest
from backend.motion import features
from tests.backend.asking import Audience, never, quiet, same
from tests.backend.test_llamo import make_llamo  # noqa: F401

pytestmark = pytest.mark.usefixtures("tiny_base")


def watch(model, watcher, seconds=2.0, cancelled=never, **fields):
    request = GenerateRequest(watcher.prompt(), seconds=seconds, seed=7, preset="fast", **fields)
    return model.stream(request, watcher, quiet, cancelled)


@pytest.mark.parametrize("sizes", [[1] * 12, [5, 7], [1, 4, 1, 6], [12]])
def test_latents_piece_by_piece_are_decoded_exactly(shaken, sizes):
    """In double precision nothing but rounding of the last bits is left between the two orders of computing."""
    codec = shaken(CausalVAE(CausalVAEConfig(width=16, latent=8)), 0.1).eval()
    latents = torch.randn(2, 12, 8)
    whole = codec.decode(latents)
    decoder = StreamingDecoder(codec)
    pieces = torch.cat([decoder(piece) for piece in latents.split(sizes, 1)], 1)
    assert pieces.shape == whole.shape == (2, 48, 155)
    assert (pieces - whole).abs().max() < 2e-6 * whole.abs().max()


def test_the_shipped_codec_decodes_the_same_in_pieces(root):
    from backend.codecs.causal_vae import load_codec

    folder = root / "checkpoints" / "momug"
    if not (folder / "codec.safetensors").is_file():
        pytest.skip("no trained codec in checkpoints/momug")
    codec, latents = load_codec(folder), torch.randn(1, 40, 64)
    decoder = StreamingDecoder(codec)
    pieces = torch.cat([decoder(piece) for piece in latents.split(1, 1)], 1)
    assert (pieces - codec.decode(latents)).abs().max() < 1e-4


def test_frames_piece_by_piece_lie_on_one_path(motion):
    found = features.encode(motion(frames=120, turn=4.0))
    whole, lay = features.decode(found), MotionStream()
    pieces = [lay(found[start:stop]) for start, stop in ((0, 1), (1, 5), (5, 40), (40, 44), (44, 120))]
    assert [p.frames for p in pieces] == [1, 4, 35, 4, 76]
    assert same(join(pieces), whole, 1e-4) and np.array_equal(join(pieces).contacts, whole.contacts)


def test_a_stream_is_what_generate_makes(make_llamo):  # noqa: F811
    model, watcher = make_llamo(), Audience()
    result = watch(model, watcher, seconds=2.1)
    assert [p.frames for p in watcher.pieces] == [4] * 15 + [3]
    assert same(join(watcher.pieces), result.motions[0])
    request = GenerateRequest("a person walks forward", seconds=2.1, seed=7, preset="fast")
    assert same(result.motions[0], model.generate(request, quiet, never).motions[0], 1e-3)
    assert result.seeds == [7] and set(result.timings) == {"text", "generate", "decode", "wait"}


def test_the_sentence_changes_while_it_runs(make_llamo):  # noqa: F811
    model = make_llamo()
    plain = watch(model, Audience()).motions[0]
    changed = watch(model, Audience({0: "a person walks forward", 24: "someone sits down"}))
    assert changed.segments == [0, 24]
    assert same(changed.motions[0].slice(0, 24), plain.slice(0, 24), 1e-5)
    assert not same(changed.motions[0].slice(24, 60), plain.slice(24, 60), 1e-3)
    steps = np.linalg.norm(np.diff(changed.motions[0].translation, axis=0), axis=-1)
    assert steps[23] < 5 * np.median(steps) + 0.05  # no jump where the new sentence begins


def test_it_goes_back_and_goes_on_from_there(make_llamo):  # noqa: F811
    """What stays is untouched, what follows joins it, as if the frames in between had never been."""
    model = make_llamo()
    plain = watch(model, Audience()).motions[0]
    asked = []

    def back(starts):
        asked.append(starts)
        return 24 if len(asked) == 11 else None  # after 40 frames

    watcher = Audience()
    watcher.back_to = back
    result = watch(model, watcher)
    assert asked[10] == list(range(0, 44, 4)) and asked[11] == list(range(0, 32, 4))
    made = result.motions[0]
    assert made.frames == 60 and same(made.slice(0, 24), plain.slice(0, 24), 1e-5) and result.segments == [0]
    steps = np.linalg.norm(np.diff(made.translation, axis=0), axis=-1)
    assert steps[23] < 5 * np.median(steps) + 0.05
    told = [24, 40]  # frames that the watcher got before and after it
    assert same(join(watcher.pieces[: told[0] // 4] + watcher.pieces[told[1] // 4 :]), made)


def test_it_goes_on_until_it_is_stopped(make_llamo):  # noqa: F811
    model = make_llamo(window=12, recall=5)
    result = watch(model, Audience(stop_at=200), seconds=None)
    assert result.motions[0].frames == 200 and np.isfinite(result.motions[0].translation).all()


def test_cancelled_and_stopped_before_the_first_frame(make_llamo):  # noqa: F811
    model = make_llamo()
    for watcher, cancelled in ((Audience(), lambda: True), (Audience(stop_at=0), never)):
        with pytest.raises(BackendError) as caught:
            watch(model, watcher, cancelled=cancelled)
        assert caught.value.code == "cancelled" and not watcher.pieces


def test_cancelled_in_the_middle_keeps_what_was_handed_over(make_llamo):  # noqa: F811
    watcher = Audience()
    with pytest.raises(BackendError):
        watch(make_llamo(), watcher, cancelled=lambda: watcher.frames >= 12)
    assert watcher.frames == 12


def test_a_watcher_that_goes_away_ends_the_stream(make_llamo):  # noqa: F811
    def gone():
        raise BackendError("cancelled", "Nobody is watching.", retryable=True)

    with pytest.raises(BackendError) as caught:
        watch(make_llamo(), Audience(on_piece=gone))
    assert caught.value.message == "Nobody is watching."


def test_a_slow_watcher_holds_the_model_back(make_llamo, monkeypatch):  # noqa: F811
    """Nothing is made ahead of what the watcher takes: no queue grows."""
    model, gate, made = make_llamo(), threading.Semaphore(3), []
    plain = model.expert.flow.forward
    monkeypatch.setattr(model.expert.flow, "forward", lambda *a: made.append(1) or plain(*a))
    watcher = Audience(on_piece=gate.acquire)
    thread = threading.Thread(target=watch, args=(model, watcher), daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while watcher.frames < 16 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.1)
    assert len(watcher.pieces) == 4 and len(made) == 4 * model.config.steps
    for _ in range(30):
        gate.release()
    thread.join(60)
    assert not thread.is_alive() and watcher.frames == 60


def test_a_stream_computes_with_one_thread_and_gives_the_others_back(make_llamo):  # noqa: F811
    model, seen = make_llamo(), []
    torch.set_num_threads(2)
    audience = Audience(stop_at=8, on_piece=lambda: seen.append(torch.get_num_threads()))
    model.stream(GenerateRequest("a person walks forward"), audience, quiet, never)
    assert set(seen) == {1} and torch.get_num_threads() == 2
