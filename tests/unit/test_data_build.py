"""The build of a data set: its stages, what they leave out, and the files that come out."""

import json
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("scipy")

from motions import raise_hand, turn, walk  # noqa: E402

from backend.data import (  # noqa: E402
    augment,
    build,
    clean,
    clips,
    cuts,
    duplicates,
    extend,
    rows,
    splits,
    store,
)
from backend.data.inspect import report  # noqa: E402
from backend.errors import BackendError  # noqa: E402
from backend.motion import formats  # noqa: E402
from backend.motion.skeleton import JOINT_INDEX  # noqa: E402


@pytest.fixture
def lenient(monkeypatch):
    """The walk of the tests has no knees to speak of, and its feet slide: let it through the gates."""
    monkeypatch.setattr(cuts.gates, "gate", lambda motion: None)


def folder_of_walks(folder, count=24):
    """Files of walks that differ in length, speed and turn, and in how the right arm swings."""
    folder.mkdir()
    for i in range(count):
        motion = walk(4 + i / 10, 1.0 + i / 50, yaw_rate=(i % 3 - 1) * 20)
        swing = 0.6 * np.sin((1 + 0.3 * i) * np.arange(motion.frames) / 30)
        motion.rotations[:, JOINT_INDEX["right_elbow"]] = turn(1, swing)
        formats.write(folder / f"walk {i}.bvh", motion)
    return folder


SNAKE = """HIERARCHY
ROOT a
{
 OFFSET 0 0 0
 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
 JOINT b
 {
  OFFSET 0 0 1
  CHANNELS 3 Zrotation Xrotation Yrotation
  End Site
  {
   OFFSET 0 0 1
  }
 }
}
MOTION
Frames: 2
Frame Time: 0.033333
0 0 0 0 0 0 0 0 0
0 0 0 0 0 0 0 0 0
"""


def run(source, out, **options):
    lines = []
    statistics = build.build([source], out, progress=lines.append, **options)
    return statistics, {s: [json.loads(x) for x in open(out / f"{s}.jsonl", encoding="utf-8")] for s in splits.SPLITS}


def test_build_writes_the_promised_layout(tmp_path, lenient):
    source, out = folder_of_walks(tmp_path / "in"), tmp_path / "out"
    lines = (source / "walk 0.bvh").read_text().splitlines()
    lines[-3] = "here the disk was full"
    (source / "broken.bvh").write_text("\n".join(lines))
    statistics, rows = run(source, out)
    assert statistics["clips_used"] == 24
    (problem,) = statistics["unreadable"]
    assert "broken.bvh" in problem and f"line {len(lines) - 2}" in problem
    clips_in = {}
    for split in splits.SPLITS:
        with np.load(out / f"{split}.npz", allow_pickle=False) as data:
            total = int(data["lengths"].sum())
            assert data["rotations"].shape == (total, 22, 4) and data["rotations"].dtype == np.float32
            assert data["translation"].shape == (total, 3) and data["contacts"].shape == (total, 4)
            assert data["contacts"].dtype == np.uint8 and data["starts"].dtype == np.int64
            assert len(rows[split]) == len(data["starts"]) == len(data["lengths"])
            first = data["translation"][data["starts"]]
            np.testing.assert_allclose(first[:, [0, 2]], 0, atol=1e-6)
        for row in rows[split]:
            for clip in row["sources"]:
                clips_in.setdefault(clip, set()).add(split)
            assert row["captions"] and row["phrases"] and row["labels"]["distance"] > 0 and row["weight"] == 1.0
            assert split == "train" or (not row["mirrored"] and row["kind"] == "real")
    assert all(len(where) == 1 for where in clips_in.values())
    assert all(rows.values()), "every split has windows"
    assert len({row["id"] for found in rows.values() for row in found}) == sum(map(len, rows.values()))
    assert "walks" in report(out, "train", 3)
    told = [json.loads(line) for line in open(out / "provenance.jsonl", encoding="utf-8")]
    assert [t["id"] for t in told] == [row["id"] for s in splits.SPLITS for row in rows[s]]
    assert all(t["clips"] and t["clips"][0]["repository"] == "in" and t["done"] for t in told)
    hours = [step["hours"] for step in statistics["steps"]]
    assert hours[-1] > hours[-2] > 0 and not (out / ".work").exists()


def test_an_interrupted_build_goes_on_and_gives_the_same(tmp_path, monkeypatch, lenient):
    source = folder_of_walks(tmp_path / "in", 8)
    run(source, tmp_path / "whole")
    read, seen = build._read_clip, []

    def until_the_fifth(clip):
        seen.append(clip.id)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return read(clip)

    monkeypatch.setattr(build, "_read_clip", until_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out")
    run(source, tmp_path / "out")
    assert len(seen) == 5 + 4, "what was read before is not read again"
    for name in ("train.npz", "val.npz", "train.jsonl", "val.jsonl", "provenance.jsonl", "splits.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_broken_table_and_unknown_skeletons_are_told_and_passed_over(tmp_path, lenient):
    source = folder_of_walks(tmp_path / "in", 3)
    known = {"format": "bvh", "fps": 30, "quality": "ok", "captions": [], "licence": "CC0", "source": "me/it"}
    lines = [json.dumps(known | {"id": f"w{i}", "file": f"walk {i}.bvh", "shippable": i < 2}) for i in range(3)]
    (source / "odd.bvh").write_text(SNAKE)
    odd = json.loads(lines[0]) | {"id": "odd", "file": "odd.bvh"}
    (source / "clips.jsonl").write_text("\n".join([lines[0], "{", *lines[1:], json.dumps(odd)]))
    statistics, rows = run(source, tmp_path / "out")
    assert statistics["clips_used"] == 2 and statistics["dropped"]["clip: licence does not allow it"] == 1
    table, skeleton = statistics["unreadable"]
    assert table.startswith("clips.jsonl, line 2:")
    assert skeleton.startswith("odd: ") and "odd.bvh" in skeleton and "joint" in skeleton
    assert {row["source"] for found in rows.values() for row in found} == {"me/it"}
    assert run(source, tmp_path / "all", recipe="noncommercial")[0]["clips_used"] == 3


def test_build_says_what_is_wrong(tmp_path):
    with pytest.raises(BackendError, match="not a folder"):
        build.build([tmp_path / "none"], tmp_path / "out")
    with pytest.raises(BackendError, match="No usable motion"):
        build.build([tmp_path], tmp_path / "out", progress=lambda line: None)
    with pytest.raises(BackendError, match="No window of the 5 clips can be used: .*gate: skate"):
        run(folder_of_walks(tmp_path / "in", 5), tmp_path / "out")
    with pytest.raises(BackendError, match="no recipe"):
        build.build([tmp_path], tmp_path / "out", recipe="secret")
    (tmp_path / "mine.json").write_text('{"clips": {"a": "training"}}')
    with pytest.raises(BackendError, match="no file of splits"):
        build.build([tmp_path], tmp_path / "out", splits_file=tmp_path / "mine.json")


def test_a_plain_folder_brings_its_own_captions(tmp_path):
    source = folder_of_walks(tmp_path / "in", 2)
    (source / "walk 1.txt").write_text("a person strolls along\n\na person promenades\n")
    (source / "readme.txt").write_text("not a motion")
    problems = []
    first, second = clips.find_clips([source], "shippable", problems)
    assert not problems and (first.id, second.id) == ("walk 0", "walk 1") and first.descriptions == ["walk 0"]
    second.seconds = 4.0
    most = cuts.Cut("x", second, walk(), 0, 110)
    assert cuts.sentences(most, False) == ["a person strolls along", "a person promenades"]
    most.stop = 70
    assert cuts.sentences(most, False) == [], "a sentence about the whole clip may be untrue of a part"


def test_animations_of_a_glb_file_are_found(tmp_path):
    text = json.dumps({"asset": {}, "animations": [{"name": "Walk"}, {"name": "Sit_Down"}]}).encode()
    (tmp_path / "figure.glb").write_bytes(
        b"glTF" + (2).to_bytes(4, "little") + (20 + len(text)).to_bytes(4, "little")
        + len(text).to_bytes(4, "little") + b"JSON" + text
    )  # fmt: skip
    (tmp_path / "broken.glb").write_bytes(b"glTF\x02")
    found = clips.find_clips([tmp_path], "shippable", [])
    assert [(c.id, c.animation) for c in found] == [
        ("broken", None), ("figure/Walk", "Walk"), ("figure/Sit_Down", "Sit_Down"),
    ]  # fmt: skip
    assert found[2].descriptions == ["Sit Down"]


def test_one_performance_stays_on_one_side():
    a = clips.Clip("cmu_06_02", None, "bvh", trial="06_02", subject="06")
    b = clips.Clip("cmu8_x", None, "txt117", trial="06_02", subject="06")
    assert splits.split_of(a) == splits.split_of(b)


# of 144 performers those whose first trial is for the test, and for validation
HELD_TEST = "03 05 13 21 27 30 31 39 40 45 47 49 52 55 57 58 65 82 93 111 116 120 136 137 141".split()
HELD_VAL = "02 11 29 46 64 69 80 83 84 88 90 94 106".split()


def test_the_rule_is_the_same_in_every_build():
    """A change would leak what was held out before."""
    by = {"test": [], "val": [], "train": []}
    for number in range(1, 145):
        clip = clips.Clip("x", None, "amc", trial=f"{number:02}_01", subject=f"{number:02}")
        by[splits.split_of(clip)].append(f"{number:02}")
    assert by["test"] == HELD_TEST and by["val"] == HELD_VAL


@pytest.mark.parametrize("recipe", clips.RECIPES)
def test_no_performance_and_no_unseen_performer_is_on_two_sides(shared, recipe):
    problems: list[str] = []
    found = [c for c in clips.find_clips([shared / "mocap"], recipe, problems) if not c.skip]
    assert not problems and len(found) > 500
    side, _ = splits.assign(found, [], {})
    where: dict[str, set] = {}
    for clip in found:
        where.setdefault("trial " + clip.trial, set()).add(side[clip.id])
    assert all(len(sides) == 1 for sides in where.values())
    assert side["cmu_06_02"] == side["cmu8_train_basketball_1"], "the table says that these are one trial"
    unseen = {c.subject for c in found if c.subject and splits._unit("performer " + c.subject) < splits.HELD_SUBJECTS}
    assert unseen == {"03", "05", "13", "27", "55"} and all(side[c.id] == "test" for c in found if c.subject in unseen)
    assert all(side[c.id] == "train" for c in found if c.name)


def test_copies_and_fixed_splits_decide_together():
    found = [clips.Clip(f"c{i}", None, "bvh", trial=f"t{i}") for i in range(40)]
    side, notes = splits.assign(found, [], {})
    assert set(side.values()) == set(splits.SPLITS) and not notes
    train = [id_ for id_, s in side.items() if s == "train"]
    held = next(id_ for id_, s in side.items() if s == "test")
    both, notes = splits.assign(found, [(train[0], held), (train[1], train[0])], {})
    assert both[train[0]] == both[train[1]] == "test" and train[0] in notes[0]
    # an earlier build decides: the new copy goes where the known clip is
    kept, _ = splits.assign(found, [(train[0], held)], {train[0]: "train"})
    assert kept[held] == "train"
    small, _ = splits.assign(found[:3], [], {})
    assert sorted(small.values()) == sorted(splits.SPLITS)


def test_splits_are_read_back(tmp_path, lenient):
    source = folder_of_walks(tmp_path / "in", 6)
    run(source, tmp_path / "a")
    first = splits.load(tmp_path / "a" / splits.FILE)
    changed = {id_: "val" if side == "train" else "train" for id_, side in first.items()}
    splits.save(tmp_path / "mine.json", changed)
    _, rows = run(source, tmp_path / "b", splits_file=tmp_path / "mine.json")
    assert splits.load(tmp_path / "b" / splits.FILE) == changed
    assert {row["clip"] for row in rows["val"]} == {id_ for id_, side in changed.items() if side == "val"}
    # a second build into the same folder keeps what is there, without being told
    run(source, tmp_path / "b")
    assert splits.load(tmp_path / "b" / splits.FILE) == changed


def test_copies_are_found_whatever_their_place_and_start():
    dance = walk(8, 1.0, 20)
    dance.rotations[:, JOINT_INDEX["left_shoulder"]] = raise_hand("left").rotations[:1, JOINT_INDEX["left_shoulder"]]
    time = np.arange(dance.frames) / 30
    swing = np.sin(1.3 * time + 0.4 * np.sin(0.7 * time))
    dance.rotations[:, JOINT_INDEX["right_elbow"]] = turn(1, 2 * swing)
    part = clean.place(dance.slice(45, 200))
    part.translation[:, 0] += 3
    motions = {"dance": dance, "part": part, "other": walk(8, 1.3), "mirror": clean.mirrored(dance)}
    (copy,) = duplicates.find(motions)
    assert (copy.first, copy.second, copy.offset, copy.whole) == ("dance", "part", -45, True)
    assert duplicates.redundant([copy], motions) == {"part": "dance"}
    assert duplicates.redundant([copy], motions, frozenset({"part"})) == {}


def test_idle_windows_are_capped():
    clip = clips.Clip("c", None, "bvh")
    still = walk(4, 0.0).slice(0, 1)
    stand = type(still)(np.repeat(still.rotations, 100, 0), np.repeat(still.translation, 100, 0))
    found = [cuts.Cut(f"busy {i}", clip, walk(), 0, 120) for i in range(38)]
    found += [cuts.Cut(f"idle {i}", clip, stand, 0, 100) for i in range(20)]
    gone = cuts.idle_beyond(found, 0.05)
    kept = [c.motion.frames for c in found if c.id not in gone]
    idle = sum(c.motion.frames for c in found if c.id.startswith("idle") and c.id not in gone)
    assert all(id_.startswith("idle") for id_ in gone) and 0 < idle <= 0.05 * sum(kept)


def augmented_pair():
    """Two windows of different clips as cuts and rows, and the clips by id."""
    known = {
        "a": clips.Clip("a", None, "bvh", licence="CC0", source="me/one", seconds=4.0),
        "k": clips.Clip("k", None, "bvh", licence="MIT", source="sketchpunklabs/kaykit_char", seconds=4.0),
    }
    first = cuts.Cut("a:0-120", known["a"], clean.place(walk(4)), 0, 120, clips=["a"])
    second = cuts.Cut("k:30-150", known["k"], clean.place(raise_hand("left")), 30, 150, clips=["k"])
    made = {first.id: first, second.id: second}
    return made, [rows.of_cut(cut, "train", False, known)[1] for cut in made.values()], known


def test_a_sequence_is_told_in_its_order_and_says_where_it_comes_from():
    made, sources, known = augmented_pair()
    motion = extend.join(walk(4), raise_hand("left"))
    parts = [augment.Part(0, 120, 0, 0, 120, phrases=["walks forward"]),
             augment.Part(120, 239, 1, 0, 119, phrases=["raises the left hand"])]  # fmt: skip
    whole = augment.Augmented(motion, "joined", sources, parts, {"cuts": [120]})
    _, row = rows.of_augmented(whole, 7, False, made, known)
    assert row["phrases"] == ["walks forward", "raises the left hand"] and row["kind"] == "joined"
    both = [t for t in row["captions"] if "walk" in t and "left" in t]
    assert len(both) >= 3 and all(
        t.index("walk") < t.index("left") for t in both if "after" not in t and "before" not in t
    )
    assert row["sources"] == ["a", "k"] and row["licence"] == "CC0; MIT" and 0 < row["weight"] < 1
    mirrored, other = rows.of_augmented(whole, 7, True, made, known)
    assert other["phrases"][1] == "raises the right hand" and other["id"] == row["id"] + "m"
    assert not any("left" in t for t in other["captions"])
    np.testing.assert_allclose(mirrored.translation[0, [0, 2]], 0, atol=1e-6)
    told = rows.provenance(other, known)
    assert [(c["clip"], c["frames"], c["licence"]) for c in told["clips"]] == [
        ("a", [0, 120], "CC0"),
        ("k", [30, 149], "MIT"),
    ]
    assert told["done"][-2:] == ["joined cuts=[120]", "mirrored"] and "provenance" not in other


def test_augmentation_is_added_to_the_training_split_only_and_kept(tmp_path, lenient, monkeypatch):
    calls = []

    def made_up(windows, seed, report, budget):
        calls.append(list(budget))
        if "speed" in budget:
            assert not any(w.row["mirrored"] for w in windows) and {w.row["split"] for w in windows} == {"train"}
            report.update({"speed: made": 3, "speed: skate": 2, "speed: passed": 1})
            part = augment.Part(0, windows[0].motion.frames, 0, 0, windows[0].motion.frames)
            yield augment.Augmented(windows[0].motion, "speed", [windows[0].row], [part], {"factor": 0.9})
        if "reversed" in budget and len(calls) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(build.augment, "augmented", made_up)
    source = folder_of_walks(tmp_path / "in", 4)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out")
    statistics, found = run(source, tmp_path / "out")
    assert calls == [["speed"], ["joined"], ["composed"], ["reversed"], ["reversed"]], "what was done is kept"
    added = [row for row in found["train"] if row["kind"] == "speed"]
    assert [row["mirrored"] for row in added] == [False, True] and len({row["id"] for row in added}) == 2
    assert all(row["kind"] != "speed" for split in ("val", "test") for row in found[split])
    assert statistics["gates"]["speed"] == {"made": 3, "passed": 1, "rate": 0.333, "failed": {"skate": 2}}
    assert run(source, tmp_path / "plain", more=False)[0]["splits"]["train"]["kinds"].keys() == {"real", "extended"}


def test_what_lies_between_broken_frames_is_used():
    motion = walk(10)
    motion.rotations[150, JOINT_INDEX["left_wrist"]] = [0, 1, 0, 0]
    assert clean.without_broken([(0, 300)], motion) == [(0, 149), (152, 300)]
    clip = clips.Clip("c", None, "bvh")
    found = list(cuts.windows(clip, motion, False, counts := Counter()))
    assert found and not [c for c in found if c.start < 151 < c.stop] and counts["frames: broken"] == 3


def test_half_done_work_is_kept_whole_or_not_at_all(tmp_path):
    work = store.Work(tmp_path / "work")

    def fails():
        raise OSError("disk")

    with pytest.raises(OSError):
        work.batch("key", fails)
    made = work.batch("key", lambda: ([walk()], {"n": 1}))
    again = work.batch("key", fails)
    assert again[1] == made[1] == {"n": 1}
    np.testing.assert_array_equal(again[0][0].rotations, made[0][0].rotations)
    work.clear()
    assert not (tmp_path / "work").exists()
