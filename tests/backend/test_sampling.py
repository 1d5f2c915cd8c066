"""The mathematics of diffusion: schedule, DDIM, guidance, and the motion head's masks and first overfit."""

import pytest
import torch
import torch.nn.functional as F

from backend.models.momug.head import MotionHead
from backend.models.momug.sampling import add_noise, cosine_alpha_bar, ddim, guided, min_snr_weight

ALPHA_BAR = cosine_alpha_bar()


def test_schedule_falls_from_one_to_zero():
    assert ALPHA_BAR.shape == (1000,)
    assert (ALPHA_BAR.diff() < 0).all()
    assert ALPHA_BAR[0] > 0.999 and 0 < ALPHA_BAR[-1] < 1e-3


def test_weights_lie_between_the_noisiest_and_one():
    weights = min_snr_weight(ALPHA_BAR)
    assert weights.max() == 1 and weights.min() > 0
    assert (weights.diff() <= 1e-6).all()


def test_noise_keeps_unit_variance():
    x_t = add_noise(torch.randn(4, 500, 8), torch.randn(4, 500, 8), ALPHA_BAR[[10, 300, 600, 990]])
    assert torch.allclose(x_t.std(dim=(1, 2)), torch.ones(4), atol=0.05)


@pytest.mark.parametrize("steps", [1, 2, 10, 50])
def test_ddim_with_a_perfect_oracle_returns_the_clean_latents(steps):
    x0, noise = torch.randn(2, 6, 8).clamp(-3, 3), torch.randn(2, 6, 8)
    seen = []

    def oracle(x_t, t):
        # the deterministic path is the forward process with the very noise it started from
        if seen:
            assert torch.allclose(x_t, add_noise(x0, noise, ALPHA_BAR[[t, t]]), atol=0.06)
        seen.append(t)
        return x0

    counted = []
    found = ddim(oracle, noise, ALPHA_BAR, steps, on_step=counted.append)
    assert torch.allclose(found, x0)
    assert counted == list(range(steps)) and len(seen) == steps
    assert seen[0] == 999 and sorted(seen, reverse=True) == seen


def test_ddim_clips_predictions():
    found = ddim(lambda x_t, t: torch.full_like(x_t, 40.0), torch.randn(1, 3, 4), ALPHA_BAR, 5, clip=5.0)
    assert found.max() == 5


def test_guidance_of_one_is_the_conditional_prediction():
    conditional, unconditional = torch.randn(2, 3, 6, 8)
    assert torch.allclose(guided(conditional, unconditional, 1.0), conditional, atol=1e-6)
    assert torch.allclose(guided(conditional, unconditional, 0.0, rescale=0.0), unconditional)


def test_rescaled_guidance_keeps_the_conditional_spread():
    conditional, unconditional = torch.randn(2, 3, 60, 8)
    plain = guided(conditional, unconditional, 4.0, rescale=0.0)
    full = guided(conditional, unconditional, 4.0, rescale=1.0)
    assert (plain.std(dim=(1, 2)) > 2 * conditional.std(dim=(1, 2))).all()
    assert torch.allclose(full.std(dim=(1, 2)), conditional.std(dim=(1, 2)), rtol=1e-4)


@pytest.fixture
def inputs(small):
    """A head and arguments for three rows: full length, short motion, short text."""
    config = small()
    lengths = torch.tensor([9, 5, 9])
    mask = torch.ones(3, 6, dtype=torch.bool)
    mask[2, 3:] = False
    latents, words = torch.randn(3, 9, config.codec.latent), torch.randn(3, 6, config.text_width)
    return MotionHead(config).eval(), latents, torch.tensor([100, 500, 900]), lengths, words, mask


@torch.no_grad()
def test_head_predicts_zero_before_training(inputs):
    head, *rest = inputs
    assert torch.equal(head(*rest), head.out.bias.expand(3, 9, -1))


@torch.no_grad()
def test_padding_never_changes_valid_outputs(inputs, shaken):
    head, x_t, t, lengths, words, mask = inputs
    shaken(head)
    before = head(x_t, t, lengths, words, mask)
    x_other, words_other = x_t.clone(), words.clone()
    x_other[1, 5:] = 50.0
    words_other[2, 3:] = -50.0
    after = head(x_other, t, lengths, words_other, mask)
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[1, :5], before[1, :5])
    assert torch.equal(after[2], before[2])
    # and a row by itself, without any padding, says the same
    alone = head(x_t[1:2, :5], t[1:2], lengths[1:2], words[1:2], mask[1:2])
    assert torch.allclose(alone[0], before[1, :5], atol=1e-5)
    alone = head(x_t[2:], t[2:], lengths[2:], words[2:, :3], mask[2:, :3])
    assert torch.allclose(alone[0], before[2], atol=1e-5)


@torch.no_grad()
def test_text_time_and_length_are_heard(inputs, shaken):
    head, x_t, t, lengths, words, mask = inputs
    shaken(head)
    before = head(x_t, t, lengths, words, mask)
    for other in (
        head(x_t, t, lengths, words.flip(0), mask),
        head(x_t, t + 50, lengths, words, mask),
        head(x_t, t, lengths - 1, words, mask),
    ):
        assert (other[:, :4] - before[:, :4]).abs().max() > 1e-3


@torch.no_grad()
def test_a_row_without_text_is_unconditional(inputs, shaken):
    head, x_t, t, lengths, words, mask = inputs
    shaken(head)
    empty = torch.zeros_like(mask)
    a, b = head(x_t, t, lengths, words, empty), head(x_t, t, lengths, torch.randn_like(words), empty)
    assert torch.isfinite(a).all() and torch.equal(a, b)
    assert (a - head(x_t, t, lengths, words, mask)).abs().max() > 1e-3


@torch.no_grad()
def test_the_language_model_can_only_add(inputs, shaken):
    """The projection of the language model's states starts at zero: stage 2 begins exactly where stage 1 ended."""
    head, x_t, t, lengths, words, mask = inputs
    gate = {k: v.clone() for k, v in head.llm_in.state_dict().items()}
    shaken(head)
    states = torch.randn(3, 9, words.shape[-1])
    assert (head(x_t, t, lengths, words, mask, states) - head(x_t, t, lengths, words, mask)).abs().max() > 1e-3
    head.llm_in.load_state_dict(gate)
    assert torch.equal(head(x_t, t, lengths, words, mask, states), head(x_t, t, lengths, words, mask))


def test_one_batch_can_be_learned(small):
    """First of all checks: from x_t and the text the head rebuilds x0 with less than 5 % of its variance.

    Two motions, two texts. At t = 999 nothing of the motion is left in x_t: the text alone decides which one appears.
    """
    config = small()
    head = MotionHead(config)
    clean, words = torch.randn(2, 10, config.codec.latent), torch.randn(2, 4, config.text_width)
    clean = (clean - clean.mean()) / clean.std()
    optimiser = torch.optim.AdamW(head.parameters(), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, 160)
    count = 12
    rows = torch.arange(count) % 2
    x0, text = clean[rows], words[rows]
    lengths, mask = torch.full((count,), 10), torch.ones(count, 4, dtype=torch.bool)
    for _ in range(160):
        t = torch.randint(0, 1000, (count,))
        predicted = head(add_noise(x0, torch.randn_like(x0), ALPHA_BAR[t]), t, lengths, text, mask)
        loss = F.mse_loss(predicted, x0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    head.eval()
    variance = clean.var()
    distance = F.mse_loss(clean[0], clean[1])
    assert distance > variance  # the two motions are far apart, or the rest would say little
    with torch.no_grad():
        for level in (50, 300, 600, 999):
            t = torch.full((count,), level)
            x_t = add_noise(x0, torch.randn_like(x0), ALPHA_BAR[t])
            assert F.mse_loss(head(x_t, t, lengths, text, mask), x0) < 0.05 * variance, level
        swapped = head(torch.randn_like(x0), torch.full((count,), 999), lengths, words[1 - rows], mask)
        assert F.mse_loss(swapped, clean[1 - rows]) < 0.05 * variance
        assert F.mse_loss(swapped, x0) > 0.9 * distance
        made = ddim(
            lambda x, t: head(x, torch.full((count,), t), lengths, text, mask), torch.randn_like(x0), ALPHA_BAR, 8
        )
    assert F.mse_loss(made, x0) < 0.05 * variance


def test_training_attends_as_inference_does(small, shaken):
    """The CPU's training path is another kernel, not another model."""
    head = shaken(MotionHead(small()))
    x, t, lengths = torch.randn(2, 6, 8), torch.tensor([10, 700]), torch.tensor([6, 4])
    words, mask = torch.randn(2, 3, 48), torch.tensor([[True, True, True], [True, False, False]])
    with torch.no_grad():
        assert torch.allclose(
            head.train()(x, t, lengths, words, mask), head.eval()(x, t, lengths, words, mask), atol=1e-4
        )
