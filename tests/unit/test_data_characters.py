"""Clips of animated characters: names in words, loops, joined pieces, and the way through a Blender of its own."""

import json
import re
import sys
import zlib
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("scipy")

from motions import raise_hand, walk  # noqa: E402

import backend.__main__ as command_line  # noqa: E402
from backend.data import blender, build, characters, clean, clips, describe, extend, gates, grammar, inspect  # noqa: E402
from backend.data.measure import measure  # noqa: E402
from backend.errors import BackendError  # noqa: E402
from backend.motion import formats  # noqa: E402
from backend.motion.skeleton import JOINT_INDEX, Motion  # noqa: E402


def in_place(speed: float = 1.0) -> Motion:
    """One cycle of a stiff-legged gait on the spot whose standing foot slides back at ``speed``."""
    frames = 31
    time = np.arange(frames) / 30
    rotations = np.zeros((frames, 22, 4))
    rotations[..., 0] = 1
    # legs swing as triangles, half a cycle apart; the foot that goes forward is lifted by the knee
    for side, start in (("left", 0.0), ("right", 0.5)):
        phase = (time + start) % 1.0
        reach = 0.25 * speed
        along = np.where(phase < 0.5, reach - 4 * reach * phase, -reach + 4 * reach * (phase - 0.5))
        angle = np.arcsin(along / 0.85)
        bend = np.where(phase < 0.5, 0.0, 0.9 * np.sin(2 * np.pi * (phase - 0.5)))
        for joint, turn in ((f"{side}_hip", -angle - bend / 2), (f"{side}_knee", bend), (f"{side}_ankle", angle)):
            rotations[:, JOINT_INDEX[joint], 0] = np.cos(turn / 2)
            rotations[:, JOINT_INDEX[joint], 1] = np.sin(turn / 2)
    return characters.grounded(Motion(rotations, np.tile([0.0, 0.95, 0.0], (frames, 1))))


def test_the_table_of_names_is_sound():
    table = characters.table()
    for entry in table["names"]:
        groups = re.compile(entry["match"]).groups
        assert bool(entry.get("drop")) != bool(entry.get("phrases") or entry.get("travel") or entry.get("part")), entry
        assert all(f"{{{groups}}}" not in phrase for phrase in entry.get("phrases", []))
        assert entry.get("phrases") or not entry.get("alone")
    for entry in table["sequences"]:
        assert len(entry["clips"]) > 1 and entry["phrases"]
        assert all(re.fullmatch(r"\w+(:\d+)?", part) for part in entry["clips"])
    phrases = [p for entry in table["names"] + table["sequences"] for p in entry.get("phrases", [])]
    assert all(re.match(r"[a-z]+s\b", phrase) and not phrase.endswith(".") for phrase in phrases)


@pytest.mark.parametrize(
    ("name", "words"),
    [("Sit Chair Down", "sits down"), ("Fighting Left Jab", "left hand"), ("SITTING EXIT", "stands up")],
)
def test_names_become_sentences(name, words):
    assert any(words in phrase for phrase in characters.lookup(name)["phrases"])


def test_names_without_meaning_are_left_out():
    dropped = Counter()
    named = {"a": ("zzz", walk(3)), "b": ("Spawn Air", walk(3))}
    assert not list(characters.pieces(named, dropped))
    assert dropped == {"clip: a name that says nothing": 1, "clip: no ground under the figure": 1}


@pytest.mark.parametrize(
    ("phrase", "after_is"),
    [
        ("throws punches", "throwing punches"),
        ("creeps along", "creeping along"),
        ("slowly walks forward", "slowly walking forward"),
        ("kneels, fixes something and stands up", "kneeling, fixing something and standing up"),
        ("explains something with gestures", "explaining something with gestures"),
        ("reaches out and touches something", "reaching out and touching something"),
    ],
)
def test_verbs_not_nouns_get_ing(phrase, after_is):
    assert grammar.gerund(phrase) == after_is


def test_a_gait_in_place_gets_its_way_back():
    motion = in_place(1.0)
    assert measure(motion)["distance"] < 0.3
    moving = characters.travel(motion)
    way = moving.translation[-1] - moving.translation[0]
    assert way[2] == pytest.approx(1.0, rel=0.15) and abs(way[0]) < 0.02
    longer = extend.repeat_cycle(moving, (0, 30), 3)
    assert any("walks forward" in text for text in describe.captions(longer, [], [], 1))


def test_what_does_not_walk_gets_no_way():
    assert characters.travel(raise_hand("left")) is None
    dropped = Counter()
    assert not list(characters.pieces({"x": ("Walk Loop", raise_hand("left"))}, dropped))
    assert dropped["clip: a gait in place"] == 1


def test_loops_are_repeated_and_short_actions_are_led_in():
    still = raise_hand("left").slice(0, 40)
    named = {
        "mesh2motion_base_Idle_Loop": ("Idle Loop", still),
        "mesh2motion_addon_Head_Nod": ("Head Nod", still.slice(0, 27)),
        "mesh2motion_base_Interact": ("Interact", still.slice(0, 30)),
    }
    found = list(characters.pieces(named, Counter()))
    nods = [p for p in found if p.clip.endswith("Nod")]
    assert [p.motion.frames for p in nods] == [3 * 26 + 1, 5 * 26 + 1]
    assert all("nods" in p.texts for p in nods)
    (action,) = [p for p in found if p.clip.endswith("Interact")]
    assert action.motion.frames == characters.LEAD + 29 + characters.TAIL - 1


def test_pieces_join_without_a_step():
    first, second = walk(2.0, yaw_rate=40), walk(2.0)
    second.translation += np.array([3, 0.02, -2], dtype=np.float32)
    joined = extend.join(first, second)
    assert joined.frames == first.frames + second.frames - 1
    step = np.linalg.norm(np.diff(joined.joints(), axis=0), axis=-1)
    alone = np.linalg.norm(np.diff(first.joints(), axis=0), axis=-1)
    assert step.max() < 1.5 * alone.max()
    np.testing.assert_allclose(joined.rotations[: first.frames], first.rotations, atol=1e-5)


def test_the_lowest_part_touches_the_floor():
    sunk = walk(2.0)
    sunk.translation[:, 1] += np.linspace(-0.5, 0.8, sunk.frames)
    lowest = (characters.grounded(sunk).joints()[..., 1] - characters.RADII).min(1)
    np.testing.assert_allclose(lowest, 0, atol=1e-4)
    flown = characters.on_floor(sunk)
    np.testing.assert_allclose(np.diff(flown.translation[:, 1]), np.diff(sunk.translation[:, 1]), atol=1e-5)


def test_a_first_frame_of_rest_is_cut():
    motion = raise_hand("left")
    jumped = motion.slice(0, motion.frames)
    jumped.rotations[0, JOINT_INDEX["left_shoulder"]] = [1, 0, 0, 0]
    assert clean.without_rest_frame(jumped).frames == motion.frames - 1
    assert clean.without_rest_frame(motion) is motion


# The converter: a stand-in for the add-on's script, as the backend cannot import Blender

CONVERTER = """
import json, pathlib, shutil, sys
jobs = json.loads(pathlib.Path(sys.argv[sys.argv.index("--jobs") + 1]).read_text())["clips"]
print("Blender says hello")
with open({log!r}, "a") as log:
    for job in jobs:
        log.write(job["id"] + "\\n")
        if job["animation"] == "broken":
            print(json.dumps({{"id": job["id"], "error": "'x.glb' holds no animation called 'broken'."}}))
        else:
            shutil.copy({npz!r}, job["out"])
            print(json.dumps({{"id": job["id"], "frames": 60}}))
"""


@pytest.fixture
def converter(tmp_path, monkeypatch):
    """A folder with two GLB clips and their list, and a stand-in converter; what it is asked goes to ``asked.txt``."""
    monkeypatch.setenv("MOMUG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(blender.VARIABLE, raising=False)
    formats.write(tmp_path / "walk.npz", walk(3.0))
    script = tmp_path / "addon" / "convert.py"
    script.parent.mkdir()
    script.write_text(CONVERTER.format(log=str(tmp_path / "asked.txt"), npz=str(tmp_path / "walk.npz")))
    monkeypatch.setattr(blender, "script", lambda: script)
    blender._converter_hash.cache_clear()
    blender._file_hash.cache_clear()
    monkeypatch.setattr(gates, "gate", lambda motion: None)  # the feet of the test's walk slide
    source = tmp_path / "source"
    source.mkdir()
    (source / "set.glb").write_bytes(b"glTF stand-in")
    caption = {"text": "Idle Talking Loop", "source": "clip name"}
    rows = [
        {"id": name, "file": "set.glb", "format": "glb", "animation": name, "fps": 24, "quality": "ok",
         "shippable": True, "licence": "CC0", "captions": [caption]}
        for name in ("good", "broken")
    ]  # fmt: skip
    (source / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)))
    yield source
    blender._converter_hash.cache_clear()


def silent(line: str) -> None:
    """Progress that nobody reads."""


def test_glb_clips_come_in_through_blender_once(converter, tmp_path):
    first = build.build([converter], tmp_path / "out", progress=silent, blender_python=sys.executable)
    assert first["clips_used"] == 1
    assert first["unreadable"] == ["broken: 'x.glb' holds no animation called 'broken'."]
    rows = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    assert rows and all(row["clip"] == "good" and row["licence"] == "CC0" for row in rows)
    assert any("talks" in text for row in rows for text in row["captions"])
    build.build([converter], tmp_path / "out", progress=silent, blender_python=sys.executable)
    assert (tmp_path / "asked.txt").read_text().split() == ["good", "broken", "broken"], "what was done is kept"


def test_without_blender_they_are_left_out_with_the_reason(converter, tmp_path):
    formats.write(converter / "extra.npz", walk(3.0))
    with pytest.raises(BackendError, match="No usable motion"):
        build.build([converter], tmp_path / "out", progress=silent)
    with open(converter / "clips.jsonl", "a") as table:
        row = {"id": "npz", "file": "extra.npz", "format": "npz", "fps": 30, "quality": "ok", "shippable": True}
        table.write("\n" + json.dumps(row | {"captions": [{"text": "walk"}]}))
    statistics = build.build([converter], tmp_path / "out", progress=silent)
    assert statistics["dropped"]["clip: format glb needs a Blender Python"] == 2


def test_a_converter_that_fails_is_told_in_a_sentence(converter, tmp_path):
    with pytest.raises(BackendError, match="no Blender Python at"):
        blender.interpreter(tmp_path / "nothing")
    blender.script().write_text("raise SystemExit('no bpy here')")
    with pytest.raises(BackendError, match="no bpy here"):
        blender.convert([("good", converter / "set.glb", "good")], blender.Path(sys.executable), silent)


def test_what_was_converted_before_an_end_is_kept(converter, tmp_path, monkeypatch):
    jobs = [(name, converter / "set.glb", name) for name in ("one", "two")]
    working = blender.script().read_text()
    stops = working.replace(
        'if job["animation"] == "broken"', 'if job["id"] == "two":\n            sys.exit(3)\n        if 0'
    )
    blender.script().write_text(stops)
    done, failed = blender.convert(jobs, blender.Path(sys.executable), silent)
    assert list(done) == ["one"] and failed == {"two": "Blender ended before this clip."}
    blender.script().write_text(working)
    done, failed = blender.convert(jobs, blender.Path(sys.executable), silent)
    assert list(done) == ["one", "two"] and not failed
    assert (tmp_path / "asked.txt").read_text().split() == ["one", "two", "two"]


def test_blender_itself_can_convert(tmp_path):
    jobs = tmp_path / "jobs.json"
    started = blender.command(tmp_path / "blender", jobs)
    assert started[1:4] == ["--background", "--factory-startup", "--python"]
    assert started[-3:] == ["--", "--jobs", str(jobs)]
    assert blender.command(tmp_path / "python3", jobs)[1:] == [str(blender.script()), "--jobs", str(jobs)]
    assert blender.script().name == "convert.py"


def test_the_rate_of_the_list_reaches_the_reader(tmp_path, monkeypatch):
    asked = {}

    def read(path, **options):
        asked.update(options)
        return walk(3.0)

    monkeypatch.setattr(formats, "read", read)
    row = {"id": "a", "file": "a.amc", "format": "amc", "fps": 30, "quality": "ok", "shippable": True}
    build._read_clip(clips._from_row(tmp_path, row, "shippable"))
    assert asked == {"source_fps": 30.0}


def test_the_rate_can_be_told_on_the_command_line(monkeypatch, capsys):
    asked = {}

    def read(path, **options):
        asked.update(options)
        raise BackendError("bad_file", "far enough")

    monkeypatch.setattr(formats, "read", read)
    monkeypatch.setattr("backend.requests.available_model", lambda name, models: {})
    assert command_line.main(["caption", "a.amc", "--fps", "30"]) == 1 and asked == {"source_fps": 30.0}
    asked.clear()
    assert command_line.main(["caption", "a.amc"]) == 1 and asked == {}
    assert "far enough" in capsys.readouterr().err


def test_inspect_shows_windows(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gates, "gate", lambda motion: None)
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    formats.write(source / "walk.bvh", walk())
    build.build([source], out, progress=silent)
    assert command_line.main(["dataset", "inspect", str(out), "--count", "2", "--find", "walk"]) == 0
    said = capsys.readouterr().out
    assert "step by step:" in said and "quality gates" in said and "walks " in said
    assert said.startswith("recipe shippable\ntrain: ") and "walks forward" in said


def test_inspect_draws_windows(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gates, "gate", lambda motion: None)
    source, out, page, png = tmp_path / "in", tmp_path / "out", tmp_path / "page.html", tmp_path / "page.png"
    source.mkdir()
    formats.write(source / "walk.bvh", walk())
    build.build([source], out, progress=silent, more=False)
    told = ["dataset", "inspect", str(out), "--count", "2", "--kind", "real", "--page", str(page), "--png", str(png)]
    assert command_line.main(told) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<figure>") == text.count("<svg") == 2 and "a person walks forward" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", ""), "nothing comes from the network"
    data = png.read_bytes()
    assert data.startswith(b"\x89PNG") and zlib.crc32(data[12:29]) == int.from_bytes(data[29:33], "big")
    length = int.from_bytes(data[33:37], "big")
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    pixels = np.frombuffer(zlib.decompress(data[41 : 41 + length]), np.uint8).reshape(height, 1 + 3 * width)
    colours = pixels[:, 1:].reshape(-1, 3)
    for colour in (inspect.LEFT, inspect.RIGHT, inspect.BLACK):
        assert (colours == colour).all(1).sum() > 100
    assert command_line.main(["dataset", "inspect", str(out / "none")]) == 1
    assert "no data set" in capsys.readouterr().err


def test_recipes_have_one_name_each(tmp_path):
    with pytest.raises(BackendError, match="'shippable' or 'noncommercial'"):
        build.build([tmp_path], tmp_path / "out", recipe="all")
    row = {"id": "a", "file": "a.bvh", "format": "bvh", "quality": "ok", "shippable": False}
    assert clips._from_row(tmp_path, row, "shippable").skip == "licence does not allow it"
    assert clips._from_row(tmp_path, row, "noncommercial").skip == ""
