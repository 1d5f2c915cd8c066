"""MotionGPT on a tiny base model with random weights: tokens, grammar, answers, captions."""

import pytest
import torch

from backend.errors import BackendError
from backend.language import base
from backend.models.motiongpt import sampling
from backend.models.motiongpt.checkpoint import WEIGHTS
from backend.models.motiongpt.config import MotionGPTConfig
from backend.models.motiongpt.network import MotionTokens, instruction, templates
from backend.models.motiongpt.text_half import WordCaches
from tests.backend.asking import ask, never, quiet, same
from tests.backend.small_motiongpt import CODES, SIZES

# --- tokens


def test_lora_that_is_added_to_the_layers_gives_the_same_numbers(motiongpt_folder, motiongpt):
    """What training computes with LoRA beside transformers' layers is what serving computes with the sum in ours."""
    from backend import weights

    trained = MotionTokens(motiongpt.config, base.load_language_model(), motiongpt.tokens.books)
    stored = weights.load(motiongpt_folder / "motiongpt" / WEIGHTS)
    with torch.no_grad():
        for name, tensor in trained.trainable().items():
            tensor.copy_(stored[name])
    states, mask = torch.randn(1, 4, 48), torch.ones(1, 4, dtype=torch.bool)
    x, positions = torch.randn(1, 3, 48), torch.arange(4, 7)[None]
    seen = torch.ones(1, 3, 7, dtype=torch.bool).tril(4)
    with torch.no_grad():
        found = []
        for tokens, cache in ((trained, trained_cache()), (motiongpt.tokens, motiongpt.text.new_cache())):
            found.append(tokens.run(x, positions, seen, tokens.read(states, mask).into(cache)))
    assert (found[0] - found[1]).abs().max() < 1e-4 < found[0].std()


def trained_cache():
    from transformers import DynamicCache

    return DynamicCache()


def test_entries_of_the_first_codes_of_a_token(motiongpt):
    codes = torch.randint(0, CODES, (2, 6))
    books = motiongpt.tokens.books
    step = [sum(books[level][codes[:, 3 * s + level]] for level in range(3)) for s in range(2)]
    assert torch.allclose(motiongpt.tokens.vectors(codes), torch.cat(step, -1), atol=1e-6)
    assert torch.allclose(motiongpt.tokens.vectors(codes[:, :1])[:, :6], books[0][codes[:, 0]])
    assert (motiongpt.tokens.vectors(codes[:, :3])[:, 6:] == 0).all()


def test_codes_that_look_alike_begin_alike(language):
    books = torch.randn(3, CODES, 6)
    books[0, 1] = books[0, 0] + 0.01
    tokens = MotionTokens(MotionGPTConfig(codes=CODES, levels=3, code_width=6, **SIZES), language[0], books)
    rows = tokens.head.weight[:CODES]
    assert (rows[0] - rows[1]).norm() < 0.1 * (rows[0] - rows[2]).norm()


def test_every_kind_of_request_has_its_words():
    told = {instruction(text, keys) for text in ("a person walks", "") for keys in (False, True)}
    assert len(told) == 4 <= len(templates()["tokens"])


# --- answers


def test_the_grammar_leaves_as_many_codes_as_asked_for_and_then_the_end():
    grammar, scores = sampling.AnswerGrammar(CODES, 3), torch.zeros(2, CODES + 3)
    for written in range(3):
        assert grammar(written, scores).isfinite().nonzero()[:, 1].unique().tolist() == list(range(CODES))
    assert grammar(3, scores).isfinite().nonzero()[:, 1].unique().tolist() == [CODES]
    open_ended = sampling.AnswerGrammar(CODES, sampling.OPEN, least=2)
    assert not open_ended(1, scores)[:, CODES:].isfinite().any()
    assert (
        open_ended(2, scores)[:, CODES].isfinite().all() and not open_ended(2, scores)[:, CODES + 1 :].isfinite().any()
    )


@pytest.mark.parametrize("seconds", [1.0, 2.03, 10.0])
def test_an_answer_is_as_long_as_asked_for(motiongpt, seconds):
    assert ask(motiongpt, seconds=seconds).motions[0].frames == round(30 * seconds)


def test_without_the_grammar_answers_of_random_weights_break_it(motiongpt):
    """So the grammar is what makes them valid, and not the model's goodwill."""
    request = motiongpt._ask("a person walks", 240, [], 1.0)
    free = motiongpt._answers(request, list(range(8)), quiet, never, constrained=False)
    kept = motiongpt._answers(request, list(range(8)), quiet, never)
    assert any(len(codes) != 60 for codes in free) and all(len(codes) == 60 for codes in kept)


def test_the_model_ends_a_motion_whose_length_nobody_says(motiongpt):
    lengths = {ask(motiongpt, seconds=None, seed=seed).motions[0].frames for seed in range(6)}
    assert all(30 <= frames <= 300 for frames in lengths) and len(lengths) > 1


def test_a_seed_gives_the_same_motion_alone_and_among_variations(motiongpt):
    one, many = ask(motiongpt, preset="fast"), ask(motiongpt, preset="fast", variations=3)
    assert same(one.motions[0], many.motions[0]) and not same(many.motions[0], many.motions[1])
    assert many.seeds == [7, 8, 9]


def test_guidance_listens_to_the_sentence(motiongpt):
    plain, strong = (ask(motiongpt, preset="fast", guidance_scale=scale).motions[0] for scale in (1.0, 6.0))
    assert not same(plain, strong)


def test_keys_and_values_that_are_kept_change_nothing(motiongpt):
    """The last token's logits with static buffers, and from scratch with everything at once."""
    request = motiongpt._ask("a person walks", 60, [(3, motiongpt.tokens.books[0][1])], 1.0)
    first = [tokens for tokens, _ in sampling.write(motiongpt.tokens, request, [5], 6, sampling.Settings(1.0, 0.9))]
    again = [tokens for tokens, _ in sampling.write(motiongpt.tokens, request, [5, 6], 12, sampling.Settings(1.0, 0.9))]
    assert [int(a[0]) for a in first] == [int(b[0]) for b in again[: len(first)]]


def test_draw_keeps_to_the_likeliest(motiongpt):
    scores = torch.tensor([[0.0, 5.0, 4.9, -3.0]])
    generator = torch.Generator().manual_seed(0)
    picks = {int(sampling.draw(scores, 1.0, 0.9, [generator])) for _ in range(40)}
    assert picks == {1, 2}
    assert int(sampling.draw(scores, 1.0, 1e-6, [generator])) == 1
    assert {int(sampling.draw(scores, 0.01, 1.0, [generator])) for _ in range(10)} == {1}


def test_sentences_follow_each_other(motiongpt):
    made = ask(motiongpt, seconds=None, timeline=[("a person walks", 2.0), ("someone sits", 1.5)])
    assert made.segments == [0, 64] and made.motions[0].frames == 112


def test_cancel_is_seen_between_two_tokens(motiongpt):
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(BackendError) as error:
        ask(motiongpt, seconds=8.0, cancelled=cancelled)
    assert error.value.code == "cancelled" and len(asked) == 4


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"seconds": 0.5}, "bad_duration"),
        ({"seconds": 11.0}, "bad_duration"),
        ({"preset": "slow"}, "bad_request"),
        ({"loop": True}, "bad_request"),
    ],
)
def test_what_it_cannot_do_is_said(motiongpt, fields, code):
    with pytest.raises(BackendError) as error:
        ask(motiongpt, **fields)
    assert error.value.code == code


# --- captions


def test_words_one_by_one_are_words_at_once(motiongpt, motion):
    text, tokens = motiongpt.text, motiongpt.tokens
    codes = motiongpt.encode(motion(64))
    vectors = tokens.vectors(codes.reshape(-1, 6))[None]
    prompt = templates()["tokens"]["caption"]
    ids = torch.tensor([text.ids("Caption: a person walks", begin=False)])

    def seen():
        return text.see(tokens, text.before_motion(prompt, 1), vectors, torch.tensor([vectors.shape[1]]))

    with torch.no_grad():
        at_once = text.say(tokens, ids, seen(), text.ids(prompt))[0]
        look, caches, before, found = seen(), WordCaches(text), text.ids(prompt), []
        for i in range(ids.shape[1]):
            found.append(text.say(tokens, ids[:, i : i + 1], look, before, caches)[0, -1])
            look, before = look.after(1), []
    assert (torch.stack(found) - at_once).abs().max() < 1e-4


def test_captions_are_words_and_depend_on_the_motion(motiongpt, motion):
    said = motiongpt.caption(motion(90), quiet, never)
    assert isinstance(said, str) and said == motiongpt.caption(motion(90), quiet, never)
    assert said != motiongpt.caption(motion(90, bend=1.5, speed=-2.0), quiet, never)


def test_a_motion_that_is_too_short_for_a_caption(motiongpt, motion):
    with pytest.raises(BackendError, match="too short"):
        motiongpt.caption(motion(20), quiet, never)
