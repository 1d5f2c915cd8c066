"""LLaMo on a tiny base model with random weights: the mixture, its memory, generation, captions, checkpoints."""

import json

import numpy as np
import pytest
import torch

from backend import models
from backend.codecs.causal_vae import CausalVAE, CausalVAEConfig, save_codec
from backend.errors import BackendError
from backend.language import base, text
from backend.models.interface import GenerateRequest
from backend.models.llamo.expert import MotionExpert
from backend.models.llamo.model import LLaMo, load_checkpoint, new_config, save_checkpoint
from backend.models.llamo.rollout import Context, Rollout
from backend.models.llamo.sampling import euler, guided, mix, next_latents
from backend.models.llamo.text_half import read_after, text_keys
from tests.backend.asking import ask, asks_again, never, quiet, same

LATENT = 8


@pytest.fixture
def make_llamo(language, shaken):
    """``make_llamo(**sizes)``: a whole LLaMo with random weights on the tiny base model."""

    def make(**values) -> LLaMo:
        model, tokenizer = language
        torch.manual_seed(1)
        codec = shaken(CausalVAE(CausalVAEConfig(width=16, latent=LATENT, blocks=1)), 0.02).requires_grad_(False).eval()
        sizes = {"width": 16, "feed": 24, "flow_width": 32, "flow_layers": 2, "steps": 3, "tries": 2}
        config = new_config(codec, "0123456789abcdef", model, sizes | values)
        expert = shaken(MotionExpert(config, 1e5), 0.1).requires_grad_(False).eval()
        return LLaMo(config, codec, expert, model, tokenizer)

    return make


# --- the language stays what it was


def test_text_without_motion_is_byte_identical(make_llamo):
    """Before, while and after motion is made: the logits of plain text are those of the base model, to the last bit."""
    model = make_llamo()
    fresh = base.load_language_model()
    ids, mask = text.tokenise(model.tokenizer, ["a person walks forward", "someone sits"])
    wanted = fresh(input_ids=ids, attention_mask=mask.long()).logits
    ask(model, seconds=1.0)
    model.language_model.train()  # nothing in it depends on the mode
    assert torch.equal(model.language_model(input_ids=ids, attention_mask=mask.long()).logits, wanted)
    empty = torch.zeros(model.config.layers, 2, 2, model.config.kv_heads, 0, model.config.head_width)
    none = torch.zeros(2, 0)
    logits, _ = read_after(model.language_model, ids, empty, none, torch.zeros(2, dtype=torch.long))
    assert torch.equal(logits[mask], wanted[mask])


def test_the_real_base_model_speaks_as_before(real_base):
    """With the mixture built around it and motion made, the installed model's logits are the same bytes."""
    language_model, tokenizer = base.load_language_model(dtype=torch.bfloat16), base.load_tokenizer()
    ids, mask = text.tokenise(tokenizer, ["The capital of France is"])
    with torch.no_grad():
        wanted = language_model(input_ids=ids).logits
    codec = CausalVAE(CausalVAEConfig(width=16, latent=LATENT, blocks=1)).requires_grad_(False).eval()
    config = new_config(codec, "", language_model, {"width": 16, "feed": 16, "flow_width": 32, "steps": 2})
    model = LLaMo(config, codec, MotionExpert(config, 1e5).requires_grad_(False).eval(), language_model, tokenizer)
    assert (config.layers, config.heads, config.kv_heads, config.head_width) == (30, 9, 3, 64)
    ask(model, seconds=1.0, preset="fast")
    with torch.no_grad():
        assert torch.equal(language_model(input_ids=ids).logits, wanted)
        empty = torch.zeros(30, 2, 1, 3, 0, 64, dtype=torch.bfloat16)
        logits, _ = read_after(language_model, ids, empty, torch.zeros(1, 0), torch.zeros(1, dtype=torch.long))
    assert torch.equal(logits, wanted.float())


def test_text_after_motion_reads_the_motion(make_llamo, motion):
    model = make_llamo()
    ids = model.tokenizer(" a person", add_special_tokens=False, return_tensors="pt")["input_ids"]
    told = []
    for turn in (0.0, 2.0):
        latents = model.encode(motion(turn=turn))[None]
        length = torch.tensor([latents.shape[1]])
        past, weight = model.motion_context(latents, length)
        told.append(read_after(model.language_model, ids, past, weight, length + 3)[0])
    assert (told[0] - told[1]).abs().max() > 1e-3


# --- the mixture


def test_what_the_first_tries_miss_is_asked_for_again(make_llamo, monkeypatch):
    asks_again(make_llamo(tries=4), monkeypatch)


def test_attention_is_causal_and_piecewise_reading_is_the_same(make_llamo):
    model = make_llamo()
    expert, latents = model.expert, torch.randn(2, 9, LATENT)
    keys, seen = model.sentence_keys(["a person walks forward"])
    whole, _ = expert(expert.tokens(latents), keys, seen, seen.sum(1))
    changed = latents.clone()
    changed[:, 6:] += 1
    other, _ = expert(expert.tokens(changed), keys, seen, seen.sum(1))
    assert torch.allclose(whole[:, :7], other[:, :7], atol=1e-5) and not torch.allclose(whole[:, 7:], other[:, 7:])
    context = Context(expert, keys, seen, 12)
    pieces = [context.read(expert.tokens(latents[:, :4]))]
    pieces += [context.read(expert.motion_in(latents[:, i : i + 1])) for i in range(4, 9)]
    assert torch.allclose(torch.cat(pieces, 1), whole, atol=1e-4)


def test_a_padded_sentence_changes_nothing(make_llamo):
    """Rows of one batch do not see how long the sentences of the others are."""
    model = make_llamo()
    latents = torch.randn(1, 5, LATENT)
    alone, mask = model.sentence_keys(["someone sits"])
    wanted, _ = model.expert(model.expert.tokens(latents), alone[:, :, :1], mask[:1], mask[:1].sum(1))
    together, mask = model.sentence_keys(["someone sits", "a person jumps up and turns left, then waves"])
    found, _ = model.expert(model.expert.tokens(latents), together[:, :, :1], mask[:1], mask[:1].sum(1))
    assert torch.allclose(wanted, found, atol=1e-4)


def test_eom_stands_behind_each_motion(make_llamo):
    expert = make_llamo().expert
    x = expert.tokens(torch.randn(2, 6, LATENT), torch.tensor([3, 6]))
    assert x.shape == (2, 8, 16)
    assert torch.equal(x[0, 4], expert.eom) and torch.equal(x[1, 7], expert.eom)
    assert torch.equal(x[:, 0], expert.bom.expand(2, -1))


# --- flow matching


def test_euler_follows_a_straight_flow_exactly():
    eps, z = torch.randn(4, LATENT), torch.randn(4, LATENT)
    for steps in (1, 3, 10):
        assert torch.allclose(euler(lambda x_t, t: z - eps, eps, steps), z, atol=1e-5)
    half = mix(eps, z, torch.full((4,), 0.5))
    assert torch.allclose(half, (eps + z) / 2)


def test_guidance_on_velocities():
    a, b = torch.randn(2, 3, LATENT)
    assert torch.equal(guided(a, b, 0.0), b)
    assert torch.allclose(guided(a, b, 1.0), a, atol=1e-6)

    def flow(x_t, t, states):  # each row flows towards its state
        return (states - x_t) / (1 - t[:, None])

    noise, states = torch.randn(3, LATENT), torch.cat([a, b])
    assert torch.allclose(next_latents(flow, states, noise, 1.0, 5), a, atol=1e-4)
    assert torch.allclose(next_latents(flow, states, noise, 0.0, 5), b, atol=1e-4)


def test_memory_is_bounded_and_the_state_is_that_of_the_last_latents(make_llamo):
    """After the window is full, a motion goes on from its last latents alone, in the same memory."""
    model = make_llamo(window=12, recall=5)
    rollout = Rollout(model.config, model.expert, model.sentence_keys, ["a person walks forward"], [3])
    size, longest = rollout.context.past.shape, 0
    for _ in range(60):
        rollout.next()
        assert rollout.context.past.shape == size
        longest = max(longest, rollout.history.shape[1])
    assert longest < 12
    context = Context(model.expert, rollout.keys, rollout.seen, 13)
    states = context.read(model.expert.tokens(rollout.history).repeat(2, 1, 1))[:, -1]
    assert torch.allclose(states, rollout.state, atol=1e-4)


# --- generation


@pytest.mark.parametrize("preset", ["fast", "best"])
def test_seeds_decide(make_llamo, preset):
    model = make_llamo()
    a, b, other = (ask(model, seed=seed, preset=preset) for seed in (7, 7, 8))
    assert a.seeds == [7] and a.motions[0].frames == 60 and a.motions[0].fps == 30
    assert same(a.motions[0], b.motions[0]) and not same(a.motions[0], other.motions[0], 1e-3)
    assert np.allclose(np.linalg.norm(a.motions[0].rotations, axis=-1), 1, atol=1e-5)


def test_variations_are_the_following_seeds(make_llamo):
    model = make_llamo()
    together = ask(model, seed=5, variations=3)
    assert together.seeds == [5, 6, 7]
    assert same(together.motions[1], ask(model, seed=6).motions[0], 1e-3)


def test_prompt_guidance_and_steps_matter(make_llamo):
    model = make_llamo()
    plain = ask(model).motions[0]
    assert not same(ask(model, "someone sits down").motions[0], plain, 1e-3)
    assert not same(ask(model, guidance_scale=8.0).motions[0], plain, 1e-3)
    assert not same(ask(model, steps=9).motions[0], plain, 1e-3)


def test_the_exit_head_ends_a_motion_of_no_given_length(make_llamo):
    model = make_llamo()
    lengths = []
    for bias in (-100.0, 100.0):
        with torch.no_grad():
            model.expert.exit[2].bias.fill_(bias)
        lengths.append(ask(model, seconds=None).motions[0].frames)
    assert lengths == [300, 32]  # never: ten seconds; at once: the shortest, one second in whole latents


def test_a_timeline_is_one_motion(make_llamo):
    model = make_llamo()
    result = ask(model, timeline=[("a person walks forward", 2.0), ("someone sits down", 1.5)])
    assert result.segments == [0, 60] and result.motions[0].frames == 60 + 45
    assert same(result.motions[0].slice(0, 60), ask(model).motions[0], 1e-3)


def test_a_batch_is_what_each_would_be_alone(make_llamo):
    model = make_llamo()
    asked = [
        GenerateRequest("a person walks forward", 2.0, seed=3),
        GenerateRequest("someone sits down, then waves", 1.2, seed=4),
    ]
    together = model.generate_batch(asked, quiet, never)
    for request, result in zip(asked, together, strict=True):
        alone = model.generate(request, quiet, never)
        assert result.seeds == alone.seeds and same(result.motions[0], alone.motions[0], 1e-3)


def test_cancelled_between_two_latents(make_llamo):
    model, steps = make_llamo(), []
    with pytest.raises(BackendError) as caught:
        ask(model, progress=lambda phase, step, total: steps.append(step), cancelled=lambda: len(steps) >= 3)
    assert caught.value.code == "cancelled" and steps[-1] == 3


@pytest.mark.parametrize("fields, code", [({"seconds": 0.2}, "bad_duration"), ({"preset": "x"}, "bad_request")])
def test_bad_requests(make_llamo, fields, code):
    with pytest.raises(BackendError) as caught:
        ask(make_llamo(), **fields)
    assert caught.value.code == code


def test_captions(make_llamo, motion):
    model, seen = make_llamo(), []
    said = model.caption(motion(frames=90), lambda phase, step, total: seen.append(phase), never)
    assert isinstance(said, str) and set(seen) == {"caption"}
    assert said == model.caption(motion(frames=90), quiet, never)
    with pytest.raises(BackendError) as caught:
        model.caption(motion(frames=90), quiet, lambda: True)
    assert caught.value.code == "cancelled"
    with pytest.raises(BackendError) as caught:
        model.caption(motion(frames=12), quiet, never)
    assert caught.value.code == "bad_motion"


# --- checkpoints


@pytest.fixture
def saved(make_llamo, tmp_path, shaken):
    """(folder of a saved LLaMo, the model): its codec lies beside it, in a folder of another system."""
    from backend.codecs.causal_vae import codec_hash

    model = make_llamo()
    (tmp_path / "ck" / "momug").mkdir(parents=True)
    save_codec(model.codec, tmp_path / "ck" / "momug")
    model.config.codec_hash = codec_hash(tmp_path / "ck" / "momug")
    save_checkpoint(model, tmp_path / "ck" / "llamo")
    return tmp_path / "ck" / "llamo", model


def test_saved_and_loaded(saved):
    folder, model = saved
    assert not (folder / "codec.safetensors").exists()
    loaded = load_checkpoint(folder, "cpu", "float32")
    for name, tensor in model.expert.state_dict().items():
        assert (loaded.expert.state_dict()[name] - tensor).abs().max() <= 0.01 * tensor.abs().max() + 1e-6, name
    assert ask(loaded).motions[0].frames == 60
    record = models.describe_one("llamo", folder.parent)
    assert record["available"] and record["streams"] and record["captions"] and record["stream_seconds"] >= 300
    assert [p["name"] for p in record["presets"]] == ["fast", "best"] and "timeline" in record["conditions"]
    assert type(models.load("llamo", "cpu", "float32", folder.parent)).__name__ == "LLaMo"


def test_not_installed(tmp_path):
    record = models.describe_one("llamo", tmp_path)
    assert not record["available"] and "LLaMo" in record["reason"]


@pytest.mark.parametrize("harm, code", [
    (lambda f: (f / "config.json").unlink(), "checkpoint_missing"),
    (lambda f: (f / "config.json").write_text("{"), "checkpoint_damaged"),
    (lambda f: (f / "motion.safetensors").unlink(), "checkpoint_missing"),
    (lambda f: (f / "motion.safetensors").write_bytes(b"x" * 99), "checkpoint_damaged"),
    (lambda f: (f.parent / "momug" / "codec.safetensors").unlink(), "checkpoint_missing"),
])  # fmt: skip
def test_damaged_checkpoints(saved, harm, code, monkeypatch):
    folder, _ = saved
    monkeypatch.setenv("MOMUG_CHECKPOINTS", str(folder.parent))
    harm(folder)
    with pytest.raises(BackendError) as caught:
        load_checkpoint(folder, "cpu", "float32")
    assert caught.value.code == code


def test_another_base_is_refused(saved):
    folder, _ = saved
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"base": "0" * 64}))
    with pytest.raises(BackendError) as caught:
        load_checkpoint(folder, "cpu", "float32")
    assert caught.value.code == "base_mismatch"


def test_text_keys_hold_what_the_model_computes(language):
    model, tokenizer = language
    ids, mask = text.tokenise(tokenizer, ["a person walks forward", "someone sits"])
    keys = text_keys(model, ids, mask)
    assert keys.shape == (2, 2, 2, 2, ids.shape[1], 12) and not keys.requires_grad
    alone = text_keys(model, ids[1:, : mask[1].sum()], mask[1:, : mask[1].sum()])
    assert torch.allclose(keys[:, :, 1:, :, : mask[1].sum()], alone, atol=1e-5)
