"""The language model in the loop: text stays what it was, motion tokens see each other, captions can be learned."""

import copy

import pytest
import torch

from backend.errors import BackendError
from backend.language import base, text
from backend.models.momug.head import sinusoid
from backend.models.momug.language_loop import LanguageLoop

TEXTS = ["a person walks forward", "someone sits down, then waves"]
GOLDEN_TEXT = "a person walks 12 steps forward, then sits down."
GOLDEN_IDS = [81, 1055, 16028, 216, 33, 34, 3301, 3703, 28, 965, 16125, 1187, 30]


@pytest.fixture
def make_loop(language, small):
    """A loop on the tiny base; ``lora`` is the size of the noise on LoRA's weights (0: it does nothing yet)."""

    def make(lora: float = 0.0) -> LanguageLoop:
        model, tokenizer = language
        torch.manual_seed(3)
        loop = LanguageLoop(small(lora_rank=8, lora_alpha=8), copy.deepcopy(model), tokenizer).eval()
        with torch.no_grad():
            for name, tensor in loop.trainable().items():
                if "lora_" in name:
                    tensor.add_(lora * torch.randn_like(tensor))
        return loop

    return make


def prefix(loop: LanguageLoop):
    ids, mask = text.tokenise(loop.tokenizer, TEXTS)
    states, cache = loop.prefix(ids, mask)
    return ids, mask, states, cache


def motion_inputs(loop: LanguageLoop, count: int = 2):
    return torch.randn(count, 7, loop.motion_in.in_features), torch.tensor([40, 700]), torch.tensor([7, 4])


def test_tokens_are_padded_on_the_right_and_start_with_bos(language):
    _, tokenizer = language
    ids, mask = text.tokenise(tokenizer, [*TEXTS, ""], length=12)
    assert (ids[:, 0] == tokenizer.bos_token_id).all()
    assert mask[2].tolist() == [True] + [False] * (ids.shape[1] - 1)
    assert ids.shape[1] <= 12
    assert (mask[:, :-1] | ~mask[:, 1:]).all()  # no hole
    whole, valid = text.tokenise(tokenizer, TEXTS)
    assert [tokenizer.decode(row[kept][1:]) for row, kept in zip(whole, valid, strict=True)] == TEXTS


@torch.no_grad()
def test_padding_does_not_change_text_states(language):
    model, tokenizer = language
    together, cache = text.text_states(model, *text.tokenise(tokenizer, TEXTS))
    for row, sentence in enumerate(TEXTS):
        ids, mask = text.tokenise(tokenizer, [sentence])
        alone, _ = text.text_states(model, ids, mask)
        assert torch.allclose(together[row, : ids.shape[1]], alone[0], atol=1e-5)
    assert together.dtype == torch.float32 and cache.get_seq_length() == together.shape[1]


@torch.no_grad()
def test_trained_adapters_leave_text_untouched(make_loop, language):
    model, _ = language
    loop = make_loop(lora=0.5)
    ids, mask, states, cache = prefix(loop)
    wanted, wanted_cache = text.text_states(model, ids, mask)
    assert torch.equal(states, wanted)
    for mine, plain in zip(cache.layers, wanted_cache.layers, strict=True):
        assert torch.equal(mine.keys, plain.keys) and torch.equal(mine.values, plain.values)
    with loop.language.disable_adapter():
        logits = loop.language.get_base_model()(input_ids=ids, attention_mask=mask.long()).logits
    assert torch.equal(logits, model(input_ids=ids, attention_mask=mask.long()).logits)
    # ... and motion does hear them
    x_t, t, lengths = motion_inputs(loop)
    heard = loop.motion_states(x_t, t, lengths, cache, mask)
    with loop.language.disable_adapter():
        plain = loop.motion_states(x_t, t, lengths, prefix(loop)[3], mask)
    assert (heard - plain).abs().max() > 1e-2


@torch.no_grad()
def test_the_prefix_is_reused_by_every_step(make_loop):
    loop = make_loop(lora=0.5)
    _, mask, _, cache = prefix(loop)
    x_t, t, lengths = motion_inputs(loop)
    held = cache.get_seq_length()
    first = loop.motion_states(x_t, t, lengths, cache, mask)
    assert cache.get_seq_length() == held + 7 + 2
    cache.crop(-(7 + 2))
    loop.motion_states(x_t * 2, t, lengths, cache, mask)
    cache.crop(-(7 + 2))
    assert cache.get_seq_length() == held
    assert torch.allclose(loop.motion_states(x_t, t, lengths, cache, mask), first, atol=1e-6)
    fresh = loop.motion_states(x_t, t, lengths, prefix(loop)[3], mask)
    assert torch.allclose(fresh, first, atol=1e-6)


@torch.no_grad()
def test_cached_keys_equal_one_full_pass(make_loop):
    """Text and motion in a single pass: text causal, the motion block attended to in both directions."""
    loop = make_loop()
    ids, mask = text.tokenise(loop.tokenizer, TEXTS[:1])
    x_t, t, lengths = torch.randn(1, 7, loop.motion_in.in_features), torch.tensor([300]), torch.tensor([7])
    found = loop.motion_states(x_t, t, lengths, loop.prefix(ids, mask)[1], mask)

    model = loop.language.get_base_model()
    words = model.get_input_embeddings()(ids)
    clock = loop.clock(torch.cat([sinusoid(t, words.shape[-1]), sinusoid(lengths * 10, words.shape[-1])], -1))
    block = torch.cat([clock[:, None], loop.bom.expand(1, 1, -1), loop.motion_in(x_t)], 1)
    text_length, total = ids.shape[1], ids.shape[1] + 9
    attend = torch.ones(total, total, dtype=torch.bool).tril()
    attend[text_length:, text_length:] = True
    whole = model.model(
        inputs_embeds=torch.cat([words, block], 1),
        attention_mask=attend[None, None],
        position_ids=torch.arange(total)[None],
        use_cache=False,
    ).last_hidden_state
    assert torch.allclose(found, whole[:, text_length + 2 :], atol=1e-4)


@torch.no_grad()
def test_motion_tokens_see_both_ways_but_no_padding(make_loop):
    loop = make_loop(lora=0.2)
    _, mask, _, cache = prefix(loop)
    x_t, t, lengths = motion_inputs(loop)
    before = loop.motion_states(x_t, t, lengths, cache, mask)
    changed = x_t.clone()
    changed[0, -1] += 5.0  # the last latent of the full row
    changed[1, 4:] += 5.0  # padding of the short row
    cache.crop(-9)
    after = loop.motion_states(changed, t, lengths, cache, mask)
    assert (after[0, 0] - before[0, 0]).abs().max() > 1e-4
    assert torch.allclose(after[1, :4], before[1, :4], atol=1e-6)
    # a short row alone, unpadded in text and motion, says the same
    ids, one = text.tokenise(loop.tokenizer, TEXTS[1:])
    alone = loop.motion_states(x_t[1:, :4], t[1:], lengths[1:], loop.prefix(ids, one)[1], one)
    assert torch.allclose(alone[0], before[1, :4], atol=1e-5)


@torch.no_grad()
def test_lengths_are_scored_by_the_language_head(make_loop):
    loop = make_loop()
    _, mask, _, cache = prefix(loop)
    held = cache.get_seq_length()
    logits = loop.duration_logits(cache, mask)
    assert logits.shape == (2, 10) and torch.isfinite(logits).all()
    assert cache.get_seq_length() == held + 1
    ids, one = text.tokenise(loop.tokenizer, TEXTS[:1])
    assert torch.allclose(loop.duration_logits(loop.prefix(ids, one)[1], one)[0], logits[0], atol=1e-4)


def test_caption_loss_does_not_depend_on_the_rest_of_the_batch(make_loop):
    loop = make_loop(lora=0.2)
    latents, _, lengths = motion_inputs(loop)
    both = loop.caption_loss(latents, lengths, [TEXTS[0], TEXTS[0]])
    first = loop.caption_loss(latents[:1], lengths[:1], TEXTS[:1])
    second = loop.caption_loss(latents[1:, :4], lengths[1:], TEXTS[:1])
    assert both.item() == pytest.approx((first.item() + second.item()) / 2, rel=1e-4)


def test_captions_can_be_learned_with_the_text_half_frozen(make_loop):
    """Eighty steps on two motions: each gets its own sentence, and the base model has not moved."""
    loop = make_loop().train()
    frozen = {n: p.detach().clone() for n, p in loop.named_parameters() if n not in loop.trainable()}
    trained = list(loop.trainable().values())
    assert all(p.requires_grad for p in trained)
    latents, _, lengths = motion_inputs(loop)
    optimiser = torch.optim.AdamW(trained, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-2, 80)
    first = None
    for step in range(80):
        loss = loop.caption_loss(latents, lengths, TEXTS)
        optimiser.zero_grad()
        loss.backward()
        if step == 1:  # LoRA's second matrix starts at zero: its first one learns from the second step on
            # text sees the motion through its keys and values: of the last layer nothing else is in play
            heard = [p for n, p in loop.named_parameters() if "lora_" in n and ("layers.0." in n or "v_proj" in n)]
            assert len(heard) == 16 and all(p.grad.abs().sum() > 0 for p in heard)
        optimiser.step()
        schedule.step()
        first = first or loss.item()
    assert loss.item() < 0.1 * first
    loop.eval()
    assert loop.write_captions(latents[:1])[0][0] == TEXTS[0]
    assert loop.write_captions(latents[1:, :4])[0][0] == TEXTS[1]
    for name, parameter in loop.named_parameters():
        if name in frozen:
            assert torch.equal(parameter, frozen[name]), name


def test_several_captions_differ_and_the_first_is_the_greedy_one(make_loop):
    loop = make_loop(lora=0.5)
    latents = torch.randn(1, 5, loop.motion_in.in_features)
    (alone,) = loop.write_captions(latents, 1, longest=6)
    several = loop.write_captions(latents, 4, longest=6)  # none of them has ended by then
    assert several[0][0] == alone[0] and several[0][1] == pytest.approx(alone[1], rel=1e-3)
    assert len({sentence for sentence, _ in several}) > 1
    assert all(likelihood < 0 for _, likelihood in several)
    assert loop.write_captions(latents, 4, longest=6) == several
    begun = loop.write_captions(latents, 4, longest=12, beginnings=[" a person walks", " a person"])
    assert begun[2][0].startswith("a person walks") and begun[3][0].startswith("a person")
    assert begun[0][0].startswith(alone[0]) and all(likelihood < 0 for _, likelihood in begun)


def test_a_caption_never_repeats_three_words_and_ends(make_loop):
    loop = make_loop(lora=0.5)
    counted = []
    ((said, _),) = loop.write_captions(torch.randn(1, 5, loop.motion_in.in_features), 1, counted.append, longest=30)
    assert isinstance(said, str) and counted == list(range(len(counted))) and len(counted) <= 30

    def stop(index):
        if index == 2:
            raise BackendError("cancelled", "The caption was cancelled.")

    with pytest.raises(BackendError, match="cancelled"):
        loop.write_captions(torch.randn(1, 5, loop.motion_in.in_features), 4, stop)


def test_real_tokens(real_base):
    tokenizer = base.load_tokenizer(real_base)
    assert tokenizer(GOLDEN_TEXT, add_special_tokens=False)["input_ids"] == GOLDEN_IDS
    ids, mask = text.tokenise(tokenizer, [GOLDEN_TEXT])
    assert ids[0].tolist() == [1, *GOLDEN_IDS] and mask.all()
    letters = [tokenizer(letter, add_special_tokens=False)["input_ids"] for letter in "ABCDEFGHIJ"]
    assert all(len(x) == 1 for x in letters) and len({x[0] for x in letters}) == 10


@torch.no_grad()
def test_real_model_keeps_its_language(real_base, small):
    """SmolLM2 with trained-looking adapters: text states and next words are the plain model's, bit by bit."""
    model, tokenizer = base.load_language_model(real_base), base.load_tokenizer(real_base)
    ids, mask = text.tokenise(tokenizer, [GOLDEN_TEXT, "a person"])
    wanted, _ = text.text_states(model, ids, mask)
    wanted_logits = model(input_ids=ids, attention_mask=mask.long()).logits
    assert wanted.shape == (2, 14, 576)
    loop = LanguageLoop(small(text_width=576, lora_rank=4), model, tokenizer).eval()
    for name, tensor in loop.trainable().items():
        if "lora_" in name:
            tensor.add_(0.05 * torch.randn_like(tensor))
    states, cache = loop.prefix(ids, mask)
    assert torch.equal(states, wanted)
    with loop.language.disable_adapter():
        assert torch.equal(model(input_ids=ids, attention_mask=mask.long()).logits, wanted_logits)
    x_t, t, lengths = motion_inputs(loop)
    first = loop.motion_states(x_t, t, lengths, cache, mask)
    cache.crop(-9)
    reused = loop.motion_states(x_t, t, lengths, cache, mask)
    assert torch.allclose(first, reused, atol=1e-4)
