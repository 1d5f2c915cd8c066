"""MotionGPT on a tiny base model with random weights: tokens, grammar, poses, streaming, captions, checkpoints."""

import json

import numpy as np
import pytest
import torch

from backend import models
from backend.codecs.causal_vae import CausalVAE, CausalVAEConfig, codec_hash, save_codec
from backend.codecs.vq_vae import VQVAE, VQVAEConfig, save_vq, vq_hash
from backend.errors import BackendError
from backend.language import base
from backend.models.interface import GenerateRequest
from backend.models.motiongpt import poses, sampling
from backend.models.motiongpt.checkpoint import WEIGHTS, save_checkpoint
from backend.models.motiongpt.config import MotionGPTConfig
from backend.models.motiongpt.model import load_checkpoint
from backend.models.motiongpt.network import MotionTokens, instruction, templates
from backend.models.motiongpt.text_half import WordCaches
from backend.models.plant import plant_feet
from backend.motion.contacts import foot_contacts
from backend.motion.skeleton import Motion
from backend.motion.target import Target, of_poses
from backend.training.dataset import load_tokens

CODES = 16
SIZES = {"text_width": 48, "head_width": 12, "first_layer": 1, "last_layer": 2, "lora_rank": 2, "finer_width": 8}


def quiet(phase, step, total):
    pass


def never():
    return False


def ask(model, prompt="a person walks forward", progress=quiet, cancelled=never, **fields):
    return model.generate(GenerateRequest(prompt, **({"seconds": 2.0, "seed": 7} | fields)), progress, cancelled)


def same(a, b):
    return a.frames == b.frames and np.array_equal(a.rotations, b.rotations)


def keyed(motion, frames) -> Target:
    target = Target.empty(motion.frames)
    target.rotations[:], target.translation[:] = motion.rotations, motion.translation
    target.joints[frames] = target.place[frames] = True
    return target


@pytest.fixture
def checkpoints(tiny_base, tmp_path, monkeypatch, shaken):
    """A folder of checkpoints: a small causal VAE, a VQ codec on it, and MotionGPT on both, all random."""
    folder = tmp_path / "checkpoints"
    for name in ("momug", "vq_vae", "motiongpt"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv("MOMUG_CHECKPOINTS", str(folder))
    torch.manual_seed(1)
    vae = shaken(CausalVAE(CausalVAEConfig(width=16, latent=8, blocks=1)), 0.02)
    save_codec(vae, folder / "momug")
    vq = VQVAE(VQVAEConfig(CODES, 6, 3, 8, 1, codec_hash(folder / "momug")), vae)
    for book in vq.books:
        book.codes.normal_()
    save_vq(vq, folder / "vq_vae")
    config = MotionGPTConfig(
        base=base.base_hash(), vq=vq_hash(folder / "vq_vae"), codes=CODES, levels=3, code_width=6, **SIZES
    )
    tokens = MotionTokens(config, base.load_language_model(), torch.stack([book.codes for book in vq.books]), 0.5)
    with torch.no_grad():
        for tensor in tokens.trainable().values():
            tensor.add_(0.05 * torch.randn_like(tensor))
    save_checkpoint(tokens, config, folder / "motiongpt")
    return folder


@pytest.fixture
def model(checkpoints):
    return load_checkpoint(checkpoints / "motiongpt", "cpu", "float32")


# --- tokens


def test_lora_that_is_added_to_the_layers_gives_the_same_numbers(checkpoints, model):
    """What training computes with LoRA beside transformers' layers is what serving computes with the sum in ours."""
    from backend import weights

    trained = MotionTokens(model.config, base.load_language_model(), model.tokens.books)
    stored = weights.load(checkpoints / "motiongpt" / WEIGHTS)
    with torch.no_grad():
        for name, tensor in trained.trainable().items():
            tensor.copy_(stored[name])
    states, mask = torch.randn(1, 4, 48), torch.ones(1, 4, dtype=torch.bool)
    x, positions = torch.randn(1, 3, 48), torch.arange(4, 7)[None]
    seen = torch.ones(1, 3, 7, dtype=torch.bool).tril(4)
    with torch.no_grad():
        found = []
        for tokens, cache in ((trained, trained_cache()), (model.tokens, model.text.new_cache())):
            found.append(tokens.run(x, positions, seen, tokens.read(states, mask).into(cache)))
    assert (found[0] - found[1]).abs().max() < 1e-4 < found[0].std()


def trained_cache():
    from transformers import DynamicCache

    return DynamicCache()


def test_entries_of_the_first_codes_of_a_token(model):
    codes = torch.randint(0, CODES, (2, 6))
    books = model.tokens.books
    step = [sum(books[level][codes[:, 3 * s + level]] for level in range(3)) for s in range(2)]
    assert torch.allclose(model.tokens.vectors(codes), torch.cat(step, -1), atol=1e-6)
    assert torch.allclose(model.tokens.vectors(codes[:, :1])[:, :6], books[0][codes[:, 0]])
    assert (model.tokens.vectors(codes[:, :3])[:, 6:] == 0).all()


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
def test_an_answer_is_as_long_as_asked_for(model, seconds):
    assert ask(model, seconds=seconds).motions[0].frames == round(30 * seconds)


def test_without_the_grammar_answers_of_random_weights_break_it(model):
    """So the grammar is what makes them valid, and not the model's goodwill."""
    request = model._ask("a person walks", 240, [], 1.0)
    free = model._answers(request, list(range(8)), quiet, never, constrained=False)
    kept = model._answers(request, list(range(8)), quiet, never)
    assert any(len(codes) != 60 for codes in free) and all(len(codes) == 60 for codes in kept)


def test_the_model_ends_a_motion_whose_length_nobody_says(model):
    lengths = {ask(model, seconds=None, seed=seed).motions[0].frames for seed in range(6)}
    assert all(30 <= frames <= 300 for frames in lengths) and len(lengths) > 1


def test_a_seed_gives_the_same_motion_alone_and_among_variations(model):
    one, many = ask(model, preset="fast"), ask(model, preset="fast", variations=3)
    assert same(one.motions[0], many.motions[0]) and not same(many.motions[0], many.motions[1])
    assert many.seeds == [7, 8, 9]


def test_guidance_listens_to_the_sentence(model):
    plain, strong = (ask(model, preset="fast", guidance_scale=scale).motions[0] for scale in (1.0, 6.0))
    assert not same(plain, strong)


def test_keys_and_values_that_are_kept_change_nothing(model):
    """The last token's logits with static buffers, and from scratch with everything at once."""
    request = model._ask("a person walks", 60, [(3, model.tokens.books[0][1])], 1.0)
    first = [tokens for tokens, _ in sampling.write(model.tokens, request, [5], 6, sampling.Settings(1.0, 0.9))]
    again = [tokens for tokens, _ in sampling.write(model.tokens, request, [5, 6], 12, sampling.Settings(1.0, 0.9))]
    assert [int(a[0]) for a in first] == [int(b[0]) for b in again[: len(first)]]


def test_draw_keeps_to_the_likeliest(model):
    scores = torch.tensor([[0.0, 5.0, 4.9, -3.0]])
    generator = torch.Generator().manual_seed(0)
    picks = {int(sampling.draw(scores, 1.0, 0.9, [generator])) for _ in range(40)}
    assert picks == {1, 2}
    assert int(sampling.draw(scores, 1.0, 1e-6, [generator])) == 1
    assert {int(sampling.draw(scores, 0.01, 1.0, [generator])) for _ in range(10)} == {1}


def test_sentences_follow_each_other(model):
    made = ask(model, seconds=None, timeline=[("a person walks", 2.0), ("someone sits", 1.5)])
    assert made.segments == [0, 64] and made.motions[0].frames == 112


def test_cancel_is_seen_between_two_tokens(model):
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(BackendError) as error:
        ask(model, seconds=8.0, cancelled=cancelled)
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
def test_what_it_cannot_do_is_said(model, fields, code):
    with pytest.raises(BackendError) as error:
        ask(model, **fields)
    assert error.value.code == code


# --- poses


def test_given_poses_are_met_exactly_with_feet_planted(model, motion):
    given = motion(90)
    frames = [0, 30, 89]
    made = ask(model, target=keyed(given, frames), seconds=None)
    met, before = made.motions[0], made.unpinned[0]
    assert met.frames == 90
    assert np.abs(met.joints()[frames] - given.joints()[frames]).max() < 1e-5
    assert np.abs(before.joints()[frames] - given.joints()[frames]).max() > 0.02  # it is the pin that meets them


def test_poses_and_their_times_change_what_is_made(model):
    codes = [
        torch.cat(
            model._answers(
                model._ask("a person walks", 60, [(step, 9 * model.tokens.books[0][k])], 1.0), [5], quiet, never
            )
        )
        for step, k in ((3, 1), (3, 2), (9, 1))
    ]
    assert not torch.equal(codes[0], codes[1]) and not torch.equal(codes[0], codes[2])


def test_two_poses_of_one_step_are_one_token_and_both_met(model, motion):
    given = motion(60)
    target = keyed(given, [20, 22])
    assert poses.key_frames(target, 8) == [20]
    made = ask(model, target=target, seconds=None).motions[0]
    assert np.abs(made.joints()[[20, 22]] - given.joints()[[20, 22]]).max() < 1e-5


def test_a_stretch_that_is_given_whole_counts_as_its_ends(motion):
    assert poses.key_frames(keyed(motion(90), list(range(20, 50))), 8) == [20, 49]


def test_more_poses_than_fit(model, motion):
    with pytest.raises(BackendError, match="given 9 poses; at most 8"):
        ask(model, target=keyed(motion(90), list(range(0, 90, 10))), seconds=None)


def test_paths_and_single_bones_are_for_another_model(model, motion):
    target = Target.empty(60)
    target.place[::10, [0, 2]] = True
    with pytest.raises(BackendError, match="whole poses only") as error:
        ask(model, target=target, seconds=None)
    assert "MoMug" in error.value.hint


def test_a_pose_that_the_codes_miss_is_told_with_how_far(model, motion, monkeypatch):
    given = motion(60)
    monkeypatch.setattr(poses, "FAR", 0.0)
    warnings = ask(model, target=keyed(given, [30]), seconds=None).warnings
    assert any("at 1.00 s" in w and "cm off" in w for w in warnings)
    monkeypatch.setattr(poses, "FAR", 100.0)
    assert not any("cm off" in w for w in ask(model, target=keyed(given, [30]), seconds=None).warnings)


def test_poses_outside_the_motion_and_two_at_one_time(motion):
    given = motion(2)
    target = of_poses([(0.0, given), (2.0, given)], 2.0)
    assert np.flatnonzero(target.joints.all(1)).tolist() == [0, 59] and not target.place[:, [0, 2]].any()
    for at in (-0.1, 2.1):
        with pytest.raises(BackendError, match="outside the motion of 2 s"):
            of_poses([(at, given)], 2.0)
    with pytest.raises(BackendError, match="Two poses are given at 1.01 s"):
        of_poses([(1.0, given), (1.01, given)], 2.0)


def test_poses_from_files_on_the_command_line(checkpoints, motion, tmp_path, capsys):
    from backend.__main__ import main
    from backend.motion import formats

    formats.write(tmp_path / "pose.npz", motion(5))
    asked = ["generate", "--model", "motiongpt", "--prompt", "walk", "--out", str(tmp_path / "out.npz"), "--seed", "1"]
    keys = ["--key", "0", str(tmp_path / "pose.npz"), "--key", "2", str(tmp_path / "pose.npz")]
    assert main([*asked, *keys, "--seconds", "2", "--device", "cpu"]) == 0
    made, given = formats.read(tmp_path / "out.npz"), formats.read(tmp_path / "pose.npz")
    turned = np.abs(np.sum(made.rotations[[0, -1]] * given.rotations[:1], -1))
    assert turned.min() > 1 - 1e-6
    assert main([*asked, *keys, "--seconds", "1"]) == 1
    assert "outside the motion" in capsys.readouterr().err


def test_poses_longer_than_a_motion_can_be(model, motion):
    with pytest.raises(BackendError) as error:
        ask(model, target=keyed(motion(330), [0]), seconds=None)
    assert error.value.code == "bad_duration"


def test_planted_feet_stay_and_fixed_frames_do_not_change(motion):
    still = motion(60, speed=0.0)
    places = still.translation[8:9].repeat(60, 0)
    places[:, 0] += 0.0015 * np.arange(60)  # 4.5 cm a second
    sliding = Motion(still.rotations[8:9].repeat(60, 0), places)
    sliding.contacts = foot_contacts(sliding.joints(), 30.0)
    contact = sliding.contacts[:, 0] > 0.5
    assert contact.sum() > 20
    planted = plant_feet(sliding)
    ankle = 7
    moved = [np.ptp(m.joints()[contact][:, ankle, 0]) for m in (sliding, planted)]
    assert moved[1] < 0.5 * moved[0]
    fixed = np.zeros(60, bool)
    fixed[[0, 30]] = True
    kept = plant_feet(sliding, fixed)
    assert np.array_equal(kept.rotations[fixed], sliding.rotations[fixed])


# --- streaming


class Watching:
    """Takes frames; says another sentence from frame ``change`` on and stops after ``stop``."""

    def __init__(self, change=10**9, stop=10**9):
        self.pieces, self.change, self.stop = [], change, stop

    @property
    def frames(self):
        return sum(piece.frames for piece in self.pieces)

    def emit(self, motion):
        self.pieces.append(motion)

    def prompt(self):
        return "a person walks" if self.frames < self.change else "someone sits"

    def stopped(self):
        return self.frames >= self.stop


def stream(model, watcher, seconds=3.0, cancelled=never):
    return model.stream(GenerateRequest("a person walks", seconds, seed=3), watcher, quiet, cancelled)


def test_a_stream_comes_in_pieces_of_one_world(model):
    watcher = Watching()
    made = stream(model, watcher).motions[0]
    assert made.frames == watcher.frames == 90 and max(piece.frames for piece in watcher.pieces) <= 16
    assert np.array_equal(np.concatenate([p.translation for p in watcher.pieces]), made.translation)
    step = np.linalg.norm(np.diff(made.translation, axis=0), axis=1)
    assert step[15::16].max() < 3 * np.percentile(step, 95) + 0.01  # no jump where pieces meet


def test_a_stream_shows_what_is_generated_whole(model):
    whole = ask(model, "a person walks", seconds=3.0, seed=3, preset="fast")
    made = stream(model, Watching()).motions[0]
    assert np.abs(made.translation - whole.motions[0].translation).max() < 1e-4  # planted feet do not move the pelvis


def test_another_sentence_holds_from_the_next_piece_on(model):
    made = stream(model, Watching(change=32))
    assert made.segments == [0, 32] and made.motions[0].frames == 90


def test_a_watcher_may_stop_and_a_long_stream_goes_on(model):
    watcher = Watching(stop=340)
    made = stream(model, watcher, seconds=20.0)
    assert 340 <= made.motions[0].frames < 340 + 17


def test_a_stream_is_cancelled(model):
    watcher = Watching()
    with pytest.raises(BackendError) as error:
        stream(model, watcher, cancelled=lambda: watcher.frames >= 32)
    assert error.value.code == "cancelled"


# --- captions


def test_words_one_by_one_are_words_at_once(model, motion):
    text, tokens = model.text, model.tokens
    codes = model.encode(motion(64))
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


def test_captions_are_words_and_depend_on_the_motion(model, motion):
    said = model.caption(motion(90), quiet, never)
    assert isinstance(said, str) and said == model.caption(motion(90), quiet, never)
    assert said != model.caption(motion(90, bend=1.5, speed=-2.0), quiet, never)


def test_a_motion_that_is_too_short_for_a_caption(model, motion):
    with pytest.raises(BackendError, match="too short"):
        model.caption(motion(20), quiet, never)


# --- files


def test_served_as_every_other_model(checkpoints):
    about = models.describe_one("motiongpt", checkpoints)
    assert about["available"] and about["streams"] and about["captions"]
    assert about["conditions"] == ["text", "timeline", "poses"]
    made = ask(models.load("motiongpt", "cpu", "float32", checkpoints), preset="fast")
    assert made.motions[0].frames == 60


def test_damaged_or_missing_files_are_told(checkpoints):
    folder = checkpoints / "motiongpt"
    whole = (folder / WEIGHTS).read_bytes()
    for content, code in ((whole[:-8] + b"12345678", "checkpoint_damaged"), (None, "checkpoint_missing")):
        (folder / WEIGHTS).unlink(missing_ok=True)
        if content:
            (folder / WEIGHTS).write_bytes(content)
        with pytest.raises(BackendError) as error:
            load_checkpoint(folder)
        assert error.value.code == code


def test_weights_of_other_sizes_are_refused(checkpoints):
    path = checkpoints / "motiongpt" / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | {"finer_width": 4}), encoding="utf-8")
    with pytest.raises(BackendError, match="do not fit") as error:
        load_checkpoint(path.parent)
    assert error.value.code == "checkpoint_damaged"


def test_the_codec_has_to_be_the_one_it_was_trained_with(checkpoints):
    (checkpoints / "vq_vae" / "vq.safetensors").unlink()
    with pytest.raises(BackendError, match="codec of motion codes") as error:
        load_checkpoint(checkpoints / "motiongpt")
    assert error.value.code == "checkpoint_missing"


def test_another_base_model_is_refused(checkpoints):
    path = checkpoints / "motiongpt" / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | {"base": "another"}), encoding="utf-8")
    with pytest.raises(BackendError) as error:
        load_checkpoint(path.parent)
    assert error.value.code == "base_mismatch"


def test_unknown_codes_in_a_file_of_tokens(tmp_path, model):
    from backend.data.encode import _write, _write_rows

    facts = {"codec": "a", "vq": "b", "codes": CODES, "levels": 3, "stride": 4, "fps": 30}
    arrays = {"starts": np.zeros(1, np.int32), "lengths": np.full(1, 2, np.int32)}
    _write(tmp_path / "val.tokens.safetensors", arrays | {"tokens": np.full((2, 3), CODES, np.int16)}, facts)
    _write_rows(tmp_path / "val.jsonl.gz", [{"captions": ["x"]}])
    with pytest.raises(BackendError, match=f"not all between 0 and {CODES - 1}"):
        load_tokens(tmp_path, "val")
    with pytest.raises(BackendError, match=f"no motion code {CODES}"):
        model.codec.decode(torch.full((1, 2, 3), CODES))
