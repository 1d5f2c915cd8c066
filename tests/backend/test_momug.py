"""MoMug as a whole, on a tiny base model with random weights: seeds, lengths, presets, cancelling, errors."""

import numpy as np
import pytest
import torch

from backend.errors import BackendError
from backend.models.interface import GenerateRequest
from backend.models.momug.model import FALLBACK_SECONDS, presets
from tests.backend.asking import ask, never, quiet, same


@pytest.mark.parametrize("rank, preset", [(0, "fast"), (4, "fast"), (4, "full")])
def test_seeds_decide(make_model, rank, preset):
    model = make_model(rank)
    a, b, other = (ask(model, seed=seed, preset=preset) for seed in (7, 7, 8))
    assert a.seeds == [7] and a.motions[0].frames == 60 and a.motions[0].fps == 30
    assert same(a.motions[0], b.motions[0])
    assert not same(a.motions[0], other.motions[0], 1e-3)
    norms = np.linalg.norm(a.motions[0].rotations, axis=-1)
    assert np.allclose(norms, 1, atol=1e-5)


@pytest.mark.parametrize("preset", ["fast", "full"])
def test_variations_are_the_following_seeds(make_model, preset):
    model = make_model(4)
    together = ask(model, seed=5, variations=3, preset=preset)
    assert together.seeds == [5, 6, 7] and len(together.motions) == 3
    alone = ask(model, seed=6, preset=preset)
    assert same(together.motions[1], alone.motions[0], 1e-3)
    assert not same(together.motions[0], together.motions[1], 1e-3)


def test_without_a_seed_the_one_used_is_told(make_model):
    model = make_model()
    free = ask(model, seed=None)
    assert 0 <= free.seeds[0] < 2**31
    assert same(ask(model, seed=free.seeds[0]).motions[0], free.motions[0])


def test_prompt_preset_guidance_and_steps_matter(make_model):
    model = make_model(4)
    plain = ask(model).motions[0]
    assert not same(ask(model, "someone sits down").motions[0], plain, 1e-3)
    assert not same(ask(model, preset="full").motions[0], plain, 1e-3)
    assert not same(ask(model, guidance_scale=6.0).motions[0], plain, 1e-3)
    assert not same(ask(model, steps=9).motions[0], plain, 1e-3)


def test_guidance_of_one_equals_no_guidance(make_model):
    """With scale 1 the unconditional half has no say: changing it changes nothing."""
    model = make_model()
    before = ask(model, guidance_scale=1.0).motions[0]
    with torch.no_grad():
        model.head.null_text.normal_()
    assert same(ask(model, guidance_scale=1.0).motions[0], before, 1e-4)
    with_guidance = ask(model, guidance_scale=3.0).motions[0]
    with torch.no_grad():
        model.head.null_text.normal_()
    assert not same(ask(model, guidance_scale=3.0).motions[0], with_guidance, 1e-4)


def test_an_empty_prompt_is_unconditional(make_model):
    result = ask(make_model(4), "", preset="full")
    assert np.isfinite(result.motions[0].rotations).all()


@pytest.mark.parametrize("seconds, frames", [(1.0, 30), (1.03, 31), (2.5, 75), (10.0, 300)])
def test_lengths(make_model, seconds, frames):
    assert ask(make_model(), seconds=seconds).motions[0].frames == frames


def test_a_length_is_chosen_when_none_is_given(make_model):
    stage1 = ask(make_model(), seconds=None)
    told = [[w for w in result.warnings if "length" in w] for result in (stage1, ask(make_model()))]
    assert stage1.motions[0].seconds == FALLBACK_SECONDS and [len(warnings) for warnings in told] == [1, 0]
    model = make_model(4)
    stage2 = ask(model, seconds=None, preset="full")
    assert not any("length" in w for w in stage2.warnings) and 1.0 <= stage2.motions[0].seconds <= 10.0
    # asking for that very length gives that very motion: the question has left no trace in the cache
    again = ask(model, seconds=stage2.motions[0].frames / 30, preset="full")
    assert same(stage2.motions[0], again.motions[0], 1e-4)


@pytest.mark.parametrize("seconds", [0.0, 0.99, 10.01, -3.0, float("nan"), float("inf")])
def test_bad_lengths(make_model, seconds):
    with pytest.raises(BackendError, match="between 1 and 10 seconds") as caught:
        ask(make_model(), seconds=seconds)
    assert caught.value.code == "bad_duration"


def test_bad_preset(make_model):
    for rank, wrong in ((0, "full"), (4, "ultra")):
        with pytest.raises(BackendError) as caught:
            ask(make_model(rank), preset=wrong)
        assert caught.value.code == "bad_request" and "fast" in caught.value.hint


def test_presets_offer_the_language_model_only_where_it_is(small):
    assert [p["name"] for p in presets(small())] == ["fast", "best"]
    assert [p["name"] for p in presets(small(lora_rank=4))] == ["fast", "best", "full"]


def test_progress(make_model):
    heard = []
    ask(make_model(), progress=lambda *a: heard.append(a), steps=5)
    assert heard[0][0] == "text" and heard[-1][0] == "decode"
    assert [h for h in heard if h[0] == "denoise"] == [("denoise", i, 5) for i in range(5)]


@pytest.mark.parametrize("rank, preset", [(0, "fast"), (4, "full")])
def test_cancelling_between_steps(make_model, rank, preset):
    heard = []
    model = make_model(rank)
    with pytest.raises(BackendError) as caught:
        ask(
            model,
            preset=preset,
            steps=9,
            progress=lambda phase, step, total: heard.append(phase),
            cancelled=lambda: heard.count("denoise") == 3,
        )
    assert caught.value.code == "cancelled" and caught.value.retryable
    assert heard.count("denoise") == 3 and "decode" not in heard
    assert same(ask(model, preset=preset).motions[0], ask(model, preset=preset).motions[0])  # it still works


def test_numbers_that_are_not_finite_become_an_error(make_model):
    model = make_model()
    with torch.no_grad():
        model.codec.std.fill_(float("nan"))
    with pytest.raises(BackendError) as caught:
        ask(model)
    assert caught.value.code == "internal" and "finite" in caught.value.message


def test_captions(make_model, motion):
    model, heard = make_model(4), []
    said = model.caption(motion(frames=60), lambda *a: heard.append(a), never)
    assert isinstance(said, str) and heard and all(h[0] == "caption" for h in heard)
    assert model.caption(motion(frames=60), quiet, never) == said
    assert model.encode(motion(frames=400)).shape == (75, 8)  # the model's window: ten seconds
    with pytest.raises(BackendError) as caught:
        model.caption(motion(frames=60), quiet, lambda: True)
    assert caught.value.code == "cancelled"


def test_captions_need_a_language_half_and_a_second_of_motion(make_model, motion):
    with pytest.raises(BackendError, match="cannot caption"):
        make_model().caption(motion(), quiet, never)
    with pytest.raises(BackendError, match="too short") as caught:
        make_model(4).caption(motion(frames=20), quiet, never)
    assert caught.value.code == "bad_motion"


@pytest.mark.parametrize("preset", ["fast", "best", "full"])
def test_sentences_together_are_what_they_are_alone(make_model, preset):
    model = make_model(4)
    asked = [("a person walks forward", 2.0, 7), ("a person jumps twice", 3.0, 8), ("someone waves", 1.5, 9)]
    requests = [GenerateRequest(p, seconds=s, seed=n, preset=preset) for p, s, n in asked]
    together = model.generate_batch(requests, quiet, never)
    for request, result in zip(requests, together, strict=True):
        alone = model.generate(request, quiet, never)
        assert result.seeds == alone.seeds and result.warnings == alone.warnings
        assert same(result.motions[0], alone.motions[0], 1e-3)
