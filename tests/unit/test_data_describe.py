"""What is said about motion: right words for made-up performances, nothing that the numbers deny, sound English."""

import json
import re
from collections import Counter

import acting
import numpy as np
import pytest
from motions import jump, walk

from backend.data import describe
from backend.data.claims import check, contradicts
from backend.data.grammar import VERBS, base, gerund, ing, plain, sentence, sequence, swap_sides
from backend.data.measure import measure
from backend.data.wording import without_side
from backend.motion.skeleton import MIRROR, Motion


def sideways(speed: float) -> Motion:
    """A walk whose body faces +Z while it goes along +X (to its left)."""
    motion = walk(4.0, abs(speed))
    along = motion.translation[:, 2].copy()
    motion.translation[:, 0], motion.translation[:, 2] = along * np.sign(speed), 0
    return motion


def mirror(motion: Motion) -> Motion:
    """The motion with left and right exchanged."""
    rotations = motion.rotations[:, list(MIRROR)] * np.array([1, 1, -1, -1], dtype=np.float32)
    return Motion(rotations, motion.translation * np.array([-1, 1, 1], dtype=np.float32))


# name: (motion, a pattern that a caption must have, a pattern that no caption may have)
ACTS = {
    "stand": (acting.stand(), r"stands (still|idle)", r"walk|turn|left|right|jump"),
    "walk": (walk(), r"walks forward", r"left|right|run|back|jump|slow"),
    "steps": (walk(), r"eight steps", r"(nine|seven|two) steps"),
    "slow": (walk(speed=0.6), r"slowly", r"quick|brisk|fast|run"),
    "run": (walk(speed=3.5), r"runs", r"walk|slow|jump"),
    "left": (walk(yaw_rate=24), r"(turns|turn to the|curve to the) left", r"right"),
    "quarter": (walk(yaw_rate=23), r"quarter turn|90 degrees|curve|turn", r"circle|around|180"),
    "circle": (walk(seconds=6.0, yaw_rate=-60), r"in a (full )?circle", r"left|a counterclockwise"),
    "backward": (walk(speed=-1.0), r"walks backward", r"forward|left|right"),
    "sideways": (sideways(1.0), r"to the left", r"right|forward|backward"),
    "spin": (acting.turn_on_the_spot(360), r"full circle|spins", r"right|walk"),
    "turn": (acting.turn_on_the_spot(-90), r"90 degrees|quarter turn", r"left|around|walk"),
    "turn around": (acting.turn_on_the_spot(180), r"turns around", r"right|quarter"),
    "jump": (acting.jumps(1), r"jumps", r"forward|twice|run|walk"),
    "jumps": (acting.jumps(3), r"jumps .*three times", r"twice|forward|hop"),
    "jumps forward": (acting.jumps(2, 0.7), r"jumps forward twice", r"three|walk|backward"),
    "high jump": (jump(), r"jumps high|centimeters high", r"forward|twice"),
    "squat": (acting.squats(1), r"squats down", r"sit|three|kneel"),
    "squats": (acting.squats(3), r"three squats|squats .*three times", r"sits|twice"),
    "sit": (acting.sit_down(), r"sits down|takes a seat", r"squat|kneel|lies|jump"),
    "stand up": (acting.stand_up(), r"stands up", r"sits down|jump"),
    "bow": (acting.bow(), r"bends (forward|over|down)", r"squat|sit|walk"),
    "kick": (acting.kicks("right"), r"kicks .*right|right kick", r"left|punch|jump"),
    "kicks": (acting.kicks("left", 2), r"kicks twice", r"right|three"),
    "wave": (acting.wave("right"), r"waves .*right", r"left|punch|clap"),
    "raise": (acting.raise_arm("left"), r"raises the left (hand|arm)", r"right|wave"),
    "raise and lower": (acting.raise_arm("right", False), r"raises the right hand and lowers it again", r"left|wave"),
    "clap": (acting.claps(4), r"claps four times", r"wave|punch|five"),
    "punch": (acting.punches("left", 3), r"punches (three times )?with the left hand", r"right|kick|wave"),
    "walk and squat": (acting.joined(walk(3.0), acting.squats(1)), r"walks.*(then|before|after).*squat", "jump|sit"),
}  # fmt: skip


def said(motion: Motion, seeds: int = 4) -> list[str]:
    return [text for seed in range(seeds) for text in describe.captions(motion, [], [], seed)]


@pytest.mark.parametrize("name", ACTS)
def test_right_words(name):
    motion, wanted, unwanted = ACTS[name]
    found = said(motion)
    assert any(re.search(wanted, text) for text in found), found
    assert not [text for text in found if re.search(unwanted, text)]


@pytest.mark.parametrize("name", ACTS)
def test_mirrored_motion_swaps_sides(name):
    motion, wanted, unwanted = ACTS[name]
    found = said(mirror(motion))
    assert any(re.search(swap_sides(wanted), text) for text in found), found
    assert not [text for text in found if re.search(swap_sides(unwanted), text)]


@pytest.mark.parametrize("name", ACTS)
def test_nothing_said_is_denied(name):
    motion, _, _ = ACTS[name]
    m = measure(motion)
    claims = [claim for text in said(motion, 6) for claim in check(text, m)]
    assert claims and not [c for c in claims if c.holds is False]
    assert np.mean([c.holds is True for c in claims]) > 0.9
    assert all(not contradicts(phrase, m) for phrase in describe.phrases(motion, [], 3))


@pytest.mark.parametrize("name", ACTS)
def test_captions_differ_and_repeat_by_seed(name):
    motion, _, _ = ACTS[name]
    first = describe.captions(motion, [], [], 5)
    assert first == describe.captions(motion, [], [], 5)
    assert 6 <= len(first) <= 9 and len(set(first)) == len(first)
    assert describe.phrases(motion, [], 5) == describe.phrases(motion, [], 5)
    assert any(text.split()[0] in ("a", "the", "someone") for text in first)
    assert any(re.match(r"\w+ing\b", text) for text in first), "a label"
    assert any(text.split()[0] in {base(v) for v in VERBS} | {"slowly"} for text in first), "a prompt"


FALSE = [
    ("walk", "a person walks backward"),
    ("walk", "a person walks sideways to the left"),
    ("walk", "a person runs fast"),
    ("walk", "a person walks forward slowly"),
    ("walk", "a person walks forward and turns left"),
    ("walk", "a person takes three steps forward"),
    ("walk", "a person jumps forward"),
    ("walk", "a person sits down"),
    ("walk", "a person stands still"),
    ("walk", "a person kicks with the left foot"),
    ("walk", "a person claps the hands"),
    ("walk", "a person walks about 2 meters forward"),
    ("walk", "a person raises the right hand"),
    ("backward", "a person walks forward"),
    ("slow", "a person walks briskly"),
    ("run", "a person walks forward"),
    ("left", "a person walks and turns right"),
    ("left", "a person walks forward and turns left by about 180 degrees"),
    ("circle", "a person walks in a counterclockwise circle"),
    ("circle", "a person walks and makes a quarter turn to the right"),
    ("turn", "a person turns left"),
    ("turn", "a person turns around"),
    ("turn around", "a person makes a quarter turn to the left"),
    ("jump", "a person jumps twice"),
    ("jumps", "a person jumps four times"),
    ("jumps", "a person jumps forward three times"),
    ("squats", "a person does five squats"),
    ("squat", "a person lies down on the floor"),
    ("stand", "a person squats down"),
    ("stand", "a person walks forward"),
    ("stand", "a person bends down"),
    ("stand", "a person waves with both hands"),
    ("kick", "a person kicks with the left foot"),
    ("kicks", "a person kicks with the left foot three times"),
    ("wave", "a person waves with the left hand"),
    ("raise", "a person raises the right hand"),
    ("raise", "a person raises both hands"),
    ("clap", "a person claps seven times"),
    ("punch", "a person punches with the right hand"),
    ("punch", "a person punches five times with the left hand"),
    ("walk and squat", "a person squats down and then walks forward"),
    ("sideways", "a person steps sideways to the right"),
]


@pytest.mark.parametrize(("name", "text"), FALSE)
def test_false_sentences_are_caught(name, text):
    assert contradicts(text, measure(ACTS[name][0]))


SIDED = ("left", "circle", "sideways", "turn", "kick", "kicks", "wave", "raise", "raise and lower", "punch")


@pytest.mark.parametrize("name", SIDED)
def test_swapped_sides_are_caught(name):
    motion, _, _ = ACTS[name]
    m = measure(motion)
    sided = [text for text in said(motion, 6) if re.search(r"\b(left|right)\b", text)]
    assert sided and all(contradicts(swap_sides(text), m) for text in sided)


def test_wrong_counts_are_caught():
    caught = []
    for name in ("steps", "jumps", "jumps forward", "squats", "kicks", "clap", "punch"):
        m = measure(ACTS[name][0])
        for text in said(ACTS[name][0], 6):
            wrong = re.sub(r"\b(twice|three times)\b", "six times", text)
            wrong = re.sub(r"\bfour times\b", "twice", re.sub(r"\beight\b", "three", wrong))
            wrong = re.sub(r"\bthree squats\b", "six squats", wrong)
            if wrong != text:
                caught.append(contradicts(wrong, m))
    assert len(caught) > 20 and all(caught)


# English


@pytest.mark.parametrize(
    ("verb", "plain_form", "ing_form"),
    [
        ("goes", "go", "going"), ("carries", "carry", "carrying"), ("lies", "lie", "lying"), ("sits", "sit", "sitting"),
        ("punches", "punch", "punching"), ("raises", "raise", "raising"), ("boxes", "box", "boxing"),
        ("crouches", "crouch", "crouching"), ("dances", "dance", "dancing"), ("does", "do", "doing"),
        ("practises", "practise", "practising"), ("veers", "veer", "veering"), ("passes", "pass", "passing"),
        ("reaches", "reach", "reaching"), ("drops", "drop", "dropping"), ("sees", "see", "seeing"),
    ],
)  # fmt: skip
def test_verb_forms(verb, plain_form, ing_form):
    assert (base(verb), ing(verb)) == (plain_form, ing_form)


def test_phrases_change_form():
    assert (
        gerund("slowly walks forward, then boxes and lies down") == "slowly walking forward, then boxing and lying down"
    )
    assert plain("raises the left and the right arm and waves") == "raise the left and the right arm and wave"
    assert gerund("jumps with arms and legs apart") == "jumping with arms and legs apart"
    assert sentence("a", "open  hand is is up up.") == "an open hand is up"
    assert sequence(["walks", "turns left", "sits"], 4) == "walks and then turns left, before sitting"
    assert swap_sides("turns left, then right, anti-clockwise") == "turns right, then left, clockwise"


def faults(text: str) -> list[str]:
    """What is wrong with the English of a caption."""
    found = []
    if re.search(r"\b(\w+) \1\b|\bis is\b|  |\ba [aeiou](?!ne\b|s\b)|,,| ,|\.$|[{}]", text):
        found.append("words")
    subject = re.match(r"(?:a|the) (?:person|man|woman|figure) |someone ", text)
    if subject:
        rest = text[subject.end() :].removeprefix("first ").replace(",", "").split()
        word = rest[1] if rest[0].endswith("ly") else rest[0]
        if word == "is":
            following = rest[rest.index("is") + 1 :]
            verb = following[1] if following[0].endswith("ly") else following[0]
            if not verb.endswith("ing") and verb not in ("on", "down", "upside"):
                found.append("is without -ing")
        elif not word.endswith("s"):
            found.append("agreement")
    return found


def test_english_of_all_captions():
    texts = {text for motion, _, _ in ACTS.values() for text in said(motion, 5)}
    assert len(texts) > 300
    assert not [(text, faults(text)) for text in texts if faults(text)]


def test_english_of_the_tables():
    from backend.data import activities

    for entry in activities.table()["activities"]:
        for phrase in entry["phrases"]:
            text = phrase.format(up_side="left", kick_side="left", punch_side="left")
            assert not faults("a person " + text), text
            assert not faults("a person is " + gerund(text)), text
            assert not plain(text).split()[0].endswith(("oes", "ies")), text


# several motions at once or one after the other


def test_joined_captions_keep_the_order():
    parts = [describe.phrases(walk(), [], 1), describe.phrases(acting.squats(1), [], 1), ["waves with the left hand"]]
    found = describe.joined_captions(parts, 7)
    assert found == describe.joined_captions(parts, 7) and 6 <= len(set(found)) == len(found)
    for text in found:
        places = [re.search(words, text) for words in (r"walk", r"squat", r"wav")]
        assert all(places) and [p.start() for p in places] == sorted(p.start() for p in places), text
        assert not faults(text), text
    assert describe.joined_captions([["acts like a bear"], ["imitates a bear"]], 1)[0] == "a person acts like a bear"
    m = measure(acting.joined(walk(3.0), acting.squats(1)))
    said_right = describe.joined_captions([["walks forward"], ["squats down"]], 3)
    said_wrong = describe.joined_captions([["squats down"], ["walks forward"]], 3)
    assert not any(contradicts(text, m) for text in said_right)
    assert all(contradicts(text, m) for text in said_wrong)


def test_composed_captions_say_both():
    found = describe.composed_captions(["walks forward"], ["waves with the right hand"], 2)
    assert 6 <= len(set(found)) == len(found)
    assert all("walk" in text and re.search(r"wav\w+ with the right hand", text) for text in found)
    assert not [text for text in found if faults(text)]
    arms, legs = acting.wave("right"), walk(4.0)
    both = Motion(legs.rotations.copy(), legs.translation)
    upper = [j for j in range(22) if j not in (0, 1, 2, 4, 5, 7, 8, 10, 11)]
    both.rotations[:, upper] = arms.rotations[: legs.frames, upper]
    m = measure(both)
    assert not any(contradicts(text, m) for text in found)
    assert all(contradicts(swap_sides(text), m) for text in found)
    assert any(re.search("wav", text) and re.search("walk", text) for text in said(both))


# what is known besides the motion


def test_a_description_adds_what_the_numbers_allow():
    assert not any(
        "jack" in text or "soccer" in text
        for text in describe.captions(acting.stand(), ["jumping jacks, soccer"], [], 1)
    )
    found = describe.captions(walk(), ["walk, elderly style"], [], 1)
    assert any("old person" in text or "elderly" in text for text in found)
    named = describe.captions(acting.wave("left"), [], [], 1, named=["greets someone", "says hello"])
    assert any("greets someone" in text for text in named) and any("left" in text for text in named)
    only = describe.captions(acting.stand(), [], [], 1, named=["meditates", "sits cross-legged"], alone=True)
    assert len(only) >= 6 and not any("stand" in text for text in only)


def test_what_people_wrote_stays_in_unless_denied():
    human = ["A person strolls along the road.", "a person turns right", "someone jumps over a puddle"]
    found = describe.captions(walk(yaw_rate=24), [], human, 1)
    assert "a person strolls along the road" in found
    assert not any("right" in text or "puddle" in text for text in found)


def test_vocabulary_counts_windows():
    rows = [
        {"captions": ["a person walks forward", "walk and turn left", "walking"], "labels": {"seconds": 3600.0}},
        {"captions": ["a person takes four steps", "someone is walking"], "labels": {"seconds": 1800.0}},
        {"captions": ["a person makes a left turn"], "labels": {"seconds": 60.0}},
    ]
    assert describe.vocabulary(rows) == [("walks", 2, 1.5), ("turns", 1, 1.0)]


def test_measurements_are_plain_numbers():
    for motion, _, _ in ACTS.values():
        m = measure(motion)
        assert json.loads(json.dumps(m)) == m
        assert all(0 <= e["start"] <= e["stop"] <= m["frames"] for e in m["events"])


@pytest.mark.parametrize("frames", [1, 2, 5, 12])
def test_very_short_motion(frames):
    motion = walk().slice(0, frames)
    assert len(describe.captions(motion, [], [], 1)) >= 6 and describe.phrases(motion, [], 1)


# captured motion


def test_real_windows_are_not_denied(shared):
    pytest.importorskip("scipy")
    from backend.data import clean
    from backend.motion import formats

    folder = shared / "mocap"
    rows = [json.loads(line) for line in (folder / "clips.jsonl").read_text(encoding="utf-8").splitlines()]
    usable = [
        r for r in rows if r["format"] == "amc" and r["quality"] == "ok" and r["frames"] > 90 and r.get("skeleton")
    ]
    verdicts, kinds = Counter(), Counter()
    for row in usable[:: max(1, len(usable) // 16)][:16]:
        options = {"skeleton": folder / row["skeleton"]} | ({"source_fps": row["fps"]} if row.get("fps") else {})
        motion = formats.read(folder / row["file"], **options)
        window = clean.place(motion.slice(0, min(180, motion.frames)))
        descriptions = [c["text"] for c in row["captions"] if not c["source"].startswith("HumanML3D")]
        for one in (window, clean.mirrored(window)):
            m = measure(one)
            texts = describe.captions(one, descriptions, [], 1, m)
            assert len(texts) >= 6 and not [(t, faults(t)) for t in texts if faults(t)]
            for text in texts:
                for claim in check(text, m):
                    verdicts[claim.holds] += 1
                    kinds[claim.kind] += 1
    assert verdicts[False] == 0 and len(kinds) > 6
    assert verdicts[True] / sum(verdicts.values()) > 0.9


@pytest.mark.parametrize(
    ("caption", "plain"),
    [
        ("a person waves with the left hand", "a person waves"),
        ("raise the right arm and wave", "raise an arm and wave"),
        ("a man does a left kick, then turns left", "a man does a kick, then turns left"),
        ("someone walks to the right", "someone walks to the right"),
        ("a person raises both hands", "a person raises both hands"),
    ],
)
def test_caption_without_side_keeps_the_way_and_loses_the_hand(caption, plain):
    assert without_side(caption) == plain
