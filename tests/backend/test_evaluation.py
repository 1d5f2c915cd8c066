"""The evaluator and the report on a small data set made of procedural motions."""

import json
import sys

import numpy as np
import pytest
import torch

from backend import models
from backend.errors import BackendError
from backend.evaluation import captioning, checks, corruptions, drawing, page, proof, report
from backend.evaluation.evaluator import Evaluator, EvaluatorConfig, kinematics, load_evaluator, save_evaluator, seen
from backend.evaluation.prompts import FRESH, QUICK
from backend.evaluation.retargeted import on_second_body
from backend.evaluation.training import EvaluatorTask, contrast
from backend.models.interface import GenerateResult
from backend.motion import features
from backend.motion.quality import metrics as quality
from backend.motion.skeleton import JOINT_INDEX as J
from backend.training.run import read_recipe
from backend.training.trainer import Schedule, fit

KINDS = {
    "a person walks forward": {"speed": 1.2, "turn": 0.0},
    "a person walks backward": {"speed": -0.8, "turn": 0.0},
    "a person runs forward": {"speed": 3.2, "turn": 0.0},
    "a person walks forward and turns left": {"speed": 0.9, "turn": 2.0},
    "a person walks forward and turns right": {"speed": 0.9, "turn": -2.0},
    "a person bends forward": {"speed": 0.0, "turn": 0.0, "bend": 1.2},
}
TINY = {"width": 32, "layers": 1, "heads": 2, "text_width": 32, "text_layers": 1, "embedding": 16, "dropout": 0.0}


def write_split(folder, split: str, made: list) -> None:
    lengths = np.array([m.frames for _, m in made])
    np.savez(
        folder / f"{split}.npz",
        rotations=np.concatenate([m.rotations for _, m in made]).astype(np.float32),
        translation=np.concatenate([m.translation for _, m in made]).astype(np.float32),
        contacts=np.concatenate([m.contacts for _, m in made]).astype(np.float32),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
    )
    rows = [
        {"id": f"{split}{i}", "captions": [text, text.replace("a person", "someone")]}
        for i, (text, _) in enumerate(made)
    ]
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory, motion):
    """A built data set of six kinds of motion: 48 for training, 12 for validation, 12 to test."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2), ("test", 2)):
        made = []
        for text, fields in KINDS.items():
            for _ in range(count):
                changed = {k: v * random.uniform(0.9, 1.1) for k, v in fields.items()}
                made.append((text, motion(frames=int(random.integers(64, 120)), phase=random.uniform(0, 6), **changed)))
        write_split(folder, split, made)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A tiny evaluator trained for a few seconds; the folder of its checkpoint."""
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("run")
    recipe = {"batch": 16, "least_count": 1, "model": TINY, "schedule": {"seed": 0}}
    task = EvaluatorTask(recipe, data, "cpu")
    schedule = Schedule(learning_rate=3e-3, steps=120, warmup=5, validate_every=40, ema=0.8)
    record = fit(task, schedule, out, False, None)
    assert record["validation"]["R@1"] > 0.6
    return out / "best"


def test_kinematics_see_a_standing_foot_and_the_way(motion):
    made = motion(frames=60, speed=1.0, turn=1.0)
    window = torch.from_numpy(features.encode(made)).double()
    found = kinematics(window).numpy()
    joints = made.joints().astype(np.float64)
    yaw = features.heading(made.rotations[:, 0].astype(np.float64))
    velocity = np.diff(joints, axis=0) * 30
    cosine, sine = np.cos(-yaw[1:])[:, None], np.sin(-yaw[1:])[:, None]
    expected = np.stack([velocity[..., 0] * cosine + velocity[..., 2] * sine, velocity[..., 1],
                         velocity[..., 2] * cosine - velocity[..., 0] * sine], -1)  # fmt: skip
    assert np.abs(found[1:, 66:132].reshape(-1, 22, 3) - expected).max() < 2e-3
    assert np.abs(found[:, 132] - 1.0 / (59 / 30)).max() < 1e-3
    place = found[:, :66].reshape(-1, 22, 3)
    assert np.abs(place[:, 0, [0, 2]]).max() == 0 and np.allclose(place[:, 0, 1], made.translation[:, 1], atol=1e-5)


def test_padding_does_not_matter(motion):
    model = Evaluator(EvaluatorConfig(vocabulary=["walk"], **TINY)).eval()
    windows = [features.encode(motion(frames=n)) for n in (50, 119)]
    together = model.embed_features(windows)
    alone = np.concatenate([model.embed_features([w]) for w in windows])
    assert np.allclose(together, alone, atol=1e-5) and np.allclose(np.linalg.norm(together, axis=1), 1)
    assert len(seen(np.tile(windows[1], (4, 1)))) == 320


def test_same_meaning_is_no_negative():
    similarity = torch.tensor([[5.0, 9.0], [0.0, 5.0]])
    assert contrast(similarity, torch.zeros(2, 2, dtype=torch.bool)) > 1.5
    same = torch.tensor([[True, True], [False, True]])
    assert contrast(similarity, same) < 0.02


def test_a_trained_evaluator_ranks_motions_it_never_saw(data, trained):
    record = proof.prove(data, "test", trained)
    rows = {(row["name"], row["amount"]): row for row in record["rows"]}
    real = rows["real", 0]
    assert real["R@1"] > 0.6 and real["frechet"] == pytest.approx(0, abs=1e-9)
    for name in ("wrong caption", "mean pose", "time reversal"):
        assert rows[name, 1]["R@1"] < real["R@1"] and rows[name, 1]["matching"] > real["matching"]
    slides = [rows["foot slide, m/s", amount]["frechet"] for amount in proof.SLIDE]
    assert slides[0] < slides[2] < slides[4]
    assert rows["jitter, degrees", 8.0]["frechet"] > rows["jitter, degrees", 1.0]["frechet"]
    text = proof.text_table(record)
    assert record["sha256"][:12] in text and "jitter 8 degrees" in text and "chance" in text
    drawn = page.proof_page(record, text)
    assert drawn.startswith("<!doctype html>") and drawn.count("<svg") == 4
    json.dumps(record, allow_nan=False)


def test_damaged_or_missing_weights_are_told(trained, tmp_path):
    with pytest.raises(BackendError) as error:
        load_evaluator(tmp_path)
    assert error.value.code == "checkpoint_missing"
    save_evaluator(load_evaluator(trained), tmp_path, {})
    assert load_evaluator(tmp_path).sha256 == json.loads((tmp_path / "config.json").read_text())["sha256"]
    with open(tmp_path / "evaluator.safetensors", "ab") as file:
        file.write(b"x")
    with pytest.raises(BackendError) as error:
        load_evaluator(tmp_path)
    assert error.value.code == "checkpoint_damaged"


def test_corruptions_do_what_they_say(motion):
    made = motion(frames=90, speed=1.0, turn=0.0)
    assert quality(corruptions.jitter(made, 4.0))["jerk"] > 5 * quality(made)["jerk"]
    slid = corruptions.slide(made, 0.5)
    moved = np.linalg.norm((slid.translation - made.translation)[-1])
    assert moved == pytest.approx(0.5 * 89 / 30, rel=1e-4)
    assert np.allclose(corruptions.reverse(made).translation[0], made.translation[-1])
    pose = corruptions.average_pose([made])
    still = corruptions.mean_pose(made, *pose)
    assert still.frames == 90 and np.ptp(still.joints(), axis=0).max() < 1e-5


def test_checks_on_windows_whose_captions_are_known(motion):
    kinds = KINDS | {"a man waves": {"speed": 0.0, "turn": 0.0}}
    texts = list(kinds)
    motions = [motion(frames=120, **kinds[t]) for t in texts]
    rows = {row["text"]: row for row in checks.table(motions, [[t] for t in texts])}
    walk = rows["a person walks forward"]
    assert (walk["windows"], walk["says"], walk["else"]) == (1, 1.0, 0.0)
    left = rows["a person walks forward and turns left"]
    assert (left["says"], left["mirrored"]) == (1.0, 0.0)
    assert rows["a person sits down"]["windows"] == 0 and rows["a person sits down"]["says"] is None
    assert checks.summary(list(rows.values()))["turn"]["mirrored"] == 0.0


class Actor:
    """A MotionModel that walks forward whatever it is asked, and says so."""

    device = "cpu"

    def __init__(self, make):
        self.make = make

    def generate(self, request, progress, cancelled):
        motions = [self.make(round(request.seconds * 30)) for _ in range(request.variations)]
        return GenerateResult(motions, [request.seed + i for i in range(request.variations)])

    def caption(self, motion, progress, cancelled):
        return "a person walks forward"


class Same:
    """A codec that keeps everything."""

    encode = decode = staticmethod(lambda x: x)


@pytest.fixture
def evaluated(monkeypatch, motion, data, trained):
    """``evaluated(captions, codec)``: the report of the Actor with two seeds."""

    def run(captions: bool = False, codec: bool = True) -> tuple[dict, dict]:
        actor = Actor(lambda frames: motion(frames=frames, speed=1.2, turn=0.0))
        about = {"name": "momug", "available": True, "reason": "", "captions": True, "default_preset": "fast"}
        if codec:
            actor.codec = Same()
        monkeypatch.setattr(models, "load", lambda name, device: actor)
        monkeypatch.setattr(models, "describe", lambda: [about])
        return report.evaluate("momug", data, seeds=2, captions=captions, evaluator=trained, prompts=QUICK)

    return run


def test_the_record_of_an_evaluation(evaluated):
    record, drawn = evaluated()
    json.dumps(record, allow_nan=False)
    assert set(record) == {"schema", "made", "model", "preset", "split", "windows", "training_windows", "seeds",
                           "evaluator", "rows", "codec", "multimodality", "prompts", "fresh"}  # fmt: skip
    assert list(record["rows"]) == ["real", "codec", "momug", "retrieval", "random", "mean pose"]
    wanted = {"R@1", "R@2", "R@3", "all_R@1", "all_R@2", "all_R@3", "matching", "frechet", "frechet_bootstrap",
              "diversity", "nearest_training", "motion_skate_ratio", "motion_jerk", "motion_pops"}  # fmt: skip
    for row in record["rows"].values():
        assert wanted <= set(row) and set(row["R@1"]) == {"mean", "half"} and len(row["frechet_bootstrap"]) == 2
    real, walker = record["rows"]["real"], record["rows"]["momug"]
    assert real["R@1"]["mean"] > walker["R@1"]["mean"] and walker["frechet"]["mean"] > real["frechet"]["mean"]
    assert record["codec"]["mpjpe_mm"] < 1 and record["multimodality"] == pytest.approx(0, abs=1e-6)
    assert record["evaluator"]["sha256"] and record["prompts"]["rates"]["momug"]["passed_walk"]["mean"] == 1.0
    assert len(record["prompts"]["each"]) == len(QUICK) and set(drawn["ranks"]) == set(record["rows"])
    assert [row for row in record["rows"] if "after_jerk" in record["rows"][row]] == ["real", "codec", "momug"]
    assert len(record["fresh"]["each"]) == len(FRESH)
    text = report.text_table(record)
    assert "Not comparable with published" in text and "| mean pose |" in text and "retargeted: jerk" in text
    html = page.page(record, drawn)
    assert html.count('class="strip"') == 2 * len(QUICK) and "http" not in html and "<script" not in html


def test_motion_on_the_second_body(motion):
    walk = motion(frames=90, speed=1.2, turn=0.5)
    there = on_second_body(walk)
    assert there.frames == walk.frames and not np.allclose(there.rest_offsets, walk.rest_offsets, atol=0.01)
    bones = lambda m: np.diff(m.joints()[:, [J["left_shoulder"], J["left_elbow"], J["left_wrist"]]], axis=1)  # noqa: E731
    arms, wanted = bones(there), bones(walk)
    assert np.linalg.norm(arms, axis=-1) == pytest.approx(0.9 * np.linalg.norm(wanted, axis=-1), rel=1e-3)
    cosine = (arms * wanted).sum(-1) / np.linalg.norm(arms, axis=-1) / np.linalg.norm(wanted, axis=-1)
    assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 0.5
    # legs are 15 % longer and so is the way; the feet that touch slide far less, although these glide like a skater's
    way = [np.linalg.norm(m.translation[-1, [0, 2]] - m.translation[0, [0, 2]]) for m in (walk, there)]
    assert way[1] == pytest.approx(1.15 * way[0], rel=0.02)
    assert quality(there)["contact_speed"] < 0.5 * quality(walk)["contact_speed"]


def test_what_cannot_be_evaluated_is_told(data, trained):
    for name, seeds, word in (("nobody", 1, "nobody"), ("momug", 0, "seed")):
        with pytest.raises(BackendError, match=word):
            report.evaluate(name, data, seeds=seeds, evaluator=trained)


def test_captions_stand_beside_references(evaluated):
    pytest.importorskip("pycocoevalcap", reason="needs backend/requirements-evaluation.txt")
    record, drawn = evaluated(captions=True, codec=False)
    rows = record["captions"]["rows"]
    assert list(rows) == ["real", "model", "retrieval", "random", "most_common"] and "codec" not in record["rows"]
    # it always says the same: right for the kind that walks forward, an action of theirs for three more
    assert rows["model"]["different"] == 1 and rows["model"]["action_named"] == pytest.approx(4 / 6)
    assert rows["real"]["action_named"] == 1.0 and rows["retrieval"]["R@1"] > rows["model"]["R@1"]
    assert "BLEU-4" in report.text_table(record) and "the window's own caption" in page.page(record, drawn)


def test_missing_caption_libraries_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    monkeypatch.setitem(sys.modules, "nltk.translate.bleu_score", None)
    with pytest.raises(BackendError) as error:
        captioning.check_libraries()
    assert error.value.code == "bad_request" and "the package nltk," in error.value.message
    assert "requirements-evaluation.txt" in error.value.hint


def test_word_scores_of_known_sentences():
    pytest.importorskip("pycocoevalcap", reason="needs backend/requirements-evaluation.txt")
    perfect = captioning.word_scores(
        ["a man walks on", "he sits down now"], [["a man walks on"], ["He sits down now."]]
    )
    assert perfect["bleu4"] == pytest.approx(1) and perfect["rouge_l"] == 1 and perfect["cider"] == pytest.approx(10)
    half = captioning.word_scores(["a b c d"], [["a b x y"]])
    assert half["bleu1"] == pytest.approx(0.5) and half["rouge_l"] == pytest.approx(0.5)


def test_action_words_of_captions():
    found = captioning.action_scores(
        ["a man walks", "a man walks and jumps"], [["someone is walking"], ["a man jumps"]]
    )
    assert found == {"action_named": 1.0, "actions_right": 0.75}


def test_the_strip_shows_every_bone(motion):
    drawn = drawing.strip(motion(frames=60), "a <title>")
    assert drawn.count('<path d="M') >= 9 * 21 and "a &lt;title&gt;" in drawn


def test_the_recipe_is_complete():
    recipe = read_recipe("evaluator")
    config = EvaluatorConfig(vocabulary=["x"] * 1500, **recipe["model"])
    count = sum(p.numel() for p in Evaluator(config).parameters())
    assert recipe["task"] == "evaluator" and count < 2_000_000


@pytest.mark.parametrize("caption", ["a person walks forward", "a person sits down"])
def test_the_shipped_evaluator_prefers_the_right_motion(caption, motion):
    try:
        evaluator = load_evaluator()
    except BackendError as error:
        if error.code != "checkpoint_missing":
            raise
        pytest.skip("no evaluator is in the checkpoints folder")
    frames = 120
    down = motion(frames=frames, speed=0.0, turn=0.0)
    depth = np.clip(np.linspace(-0.5, 1.5, frames), 0, 1)
    half = np.radians(80 * depth / 2)
    for joints, sign in (((1, 2), -1.0), ((4, 5), 1.0)):
        for joint in joints:
            down.rotations[:, joint] = np.stack([np.cos(half), sign * np.sin(half), 0 * half, 0 * half], -1)
    down.translation[:, 1] = 0.94 - 0.42 * depth
    fixtures = {"a person walks forward": motion(frames=frames, speed=1.2, turn=0.0), "a person sits down": down}
    fit_of = evaluator.embed_motions(list(fixtures.values())) @ evaluator.embed_texts([caption]).T
    assert list(fixtures)[int(fit_of.argmax())] == caption


def test_a_rate_is_printed_with_its_interval():
    assert page.number({"mean": 0.5, "half": 0.012}, 100) == "50.0 ± 1.2" and page.number(None) == ""
    assert page.number(0.1234) == "0.123"
