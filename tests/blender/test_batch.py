"""Tables of jobs onto characters and folders into captions, with a backend that needs no model."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bpy
import numpy as np
import pytest

from blender_addon import batch
from blender_addon.scene import mannequin


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def states(folder: Path) -> dict[str, list[str]]:
    """Every state that a job went through, by job."""
    found: dict[str, list[str]] = {}
    for record in lines(folder / "manifest.jsonl"):
        if "job" in record:
            found.setdefault(record["job"], []).append(record["state"])
    return found


def table(folder: Path, *rows: dict) -> Path:
    file = folder / "jobs.json"
    file.write_text(json.dumps(list(rows)), encoding="utf-8")
    return file


@pytest.fixture
def folder(tmp_path):
    """A folder with a name that is not plain."""
    path = tmp_path / 'it\'s a "shot" é 🚶'
    path.mkdir()
    return path


@pytest.fixture
def rig(addon, folder):
    """The mannequin as a .blend file of its own, at 24 fps, with a cube that belongs to the artist."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.context.scene.render.fps = 24
    mannequin.add()
    bpy.context.collection.objects.link(bpy.data.objects.new("artist's own", None))
    file = folder / "rig.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    return file


def test_every_format_of_every_job_and_a_bad_job_stops_nobody(fake, rig, folder):
    jobs = table(
        folder,
        {"name": "walk", "prompt": "a person walks", "seconds": 2, "seed": 3},
        {"name": "bad", "prompt": "\0"},
        {"name": "shots/010/two", "timeline": [{"prompt": "walks", "seconds": 2}, {"prompt": "sits", "seconds": 1}]},
        {"name": "other", "prompt": "walks", "rig": "nothing.fbx"},
        {"name": "still", "prompt": "a person walks", "seconds": 2, "options": {"in_place": True}},
        {"name": "odd", "prompt": "walks", "options": {"sideways": True}},
    )
    out = folder / "out"
    asked = ["--rig", str(rig), "--jobs", str(jobs), "--out", str(out), "--formats", "blend,fbx,glb,bvh,npz"]
    assert batch.main(asked) == batch.SOME_FAILED
    for name in ("walk", "shots/010/two", "still"):
        for kind in ("blend", "fbx", "glb", "bvh", "npz"):
            assert (out / f"{name}.{kind}").stat().st_size > 1000, (name, kind)
        assert states(out)[name] == ["running", "done"]
    assert not list(out.rglob(".momug-*"))
    for name in ("bad", "other", "odd"):
        assert states(out)[name][-1] == "failed"
        assert not list(out.glob(f"{name}.*"))
    done = next(r for r in lines(out / "manifest.jsonl") if r.get("job") == "walk" and r["state"] == "done")
    assert done["seed"] == 3 and len(done["outputs"]) == 5 and done["seconds"]["job"] > 0
    with np.load(out / "walk.npz", allow_pickle=False) as one, np.load(out / "still.npz", allow_pickle=False) as other:
        assert np.ptp(one["trans"][:, 2]) > 1.5 > 0.5 > np.ptp(other["trans"][:, 2])

    bpy.ops.wm.open_mainfile(filepath=str(out / "walk.blend"))
    armature = next(thing for thing in bpy.data.objects if thing.type == "ARMATURE")
    assert bpy.context.scene.render.fps == 24 and "artist's own" in bpy.data.objects
    assert [action.name for action in bpy.data.actions] == ["a person walks"]
    assert armature.animation_data.action.name == "a person walks"
    assert (bpy.context.scene.frame_start, bpy.context.scene.frame_end) == tuple(
        armature.animation_data.action.frame_range
    )


def test_a_second_run_does_only_what_is_missing_or_has_changed(fake, rig, folder, monkeypatch):
    monkeypatch.chdir(folder)
    rows = [{"name": name, "prompt": f"a person {name}s", "seconds": 1.0} for name in ("walk", "run", "jump")]
    table(folder, *rows)
    out = folder / "out"
    asked = ["--rig", rig.name, "--jobs", "jobs.json", "--out", "out", "--formats", "npz,blend"]
    assert batch.main(asked) == 0
    before = {file.name: file.stat().st_mtime_ns for file in out.glob("*.npz")}
    (out / "run.npz").unlink()
    rows[2]["seconds"] = 2.0
    table(folder, *rows)
    assert batch.main(asked) == 0
    after = {file.name: file.stat().st_mtime_ns for file in out.glob("*.npz")}
    assert set(after) == set(before)
    assert {name for name in after if after[name] != before[name]} == {"run.npz", "jump.npz"}
    assert states(out) == {"walk": ["running", "done"], "run": ["running", "done"] * 2, "jump": ["running", "done"] * 2}


def test_motions_are_taken_from_a_folder_when_told(fake, rig, folder):
    jobs = table(folder, {"name": "a/walk", "prompt": "a person walks", "seconds": 2})
    out = folder / "out"
    asked = ["--rig", str(rig), "--jobs", str(jobs), "--out", str(out), "--motions", str(folder / "motions")]
    assert batch.main(asked) == batch.SOME_FAILED
    (record,) = [record for record in lines(out / "manifest.jsonl") if "job" in record]
    assert record["state"] == "failed" and "There is no motion" in record["message"]


def test_given_poses_are_met(fake, rig, folder):
    frames = 60
    given = {"rotations": np.zeros((frames, 22, 4), np.float32), "translation": np.zeros((frames, 3), np.float32)}
    given |= {"joints": np.zeros((frames, 22), np.uint8), "place": np.zeros((frames, 3), np.uint8)}
    given["rotations"][..., 0] = 1
    given["translation"][-10:], given["place"][-10:] = (1.5, 0.9, 0.5), 1
    np.savez(folder / "given.npz", **given)
    (folder / "broken.npz").write_bytes(b"PK nothing")
    rows = [{"name": name, "prompt": "a person walks", "target": f"{name}.npz"} for name in ("given", "broken", "none")]
    out = folder / "out"
    asked = ["--rig", str(rig), "--jobs", str(table(folder, *rows)), "--out", str(out), "--formats", "npz"]
    assert batch.main(asked) == batch.SOME_FAILED
    with np.load(out / "given.npz", allow_pickle=False) as made:
        way = made["trans"][-1] - made["trans"][0]  # the walk begins at the origin
        assert len(made["trans"]) == 60 and way[[0, 2]] == pytest.approx([1.5, 0.5], abs=0.05)
    told = {r["job"]: r["message"] for r in lines(out / "manifest.jsonl") if r.get("state") == "failed"}
    assert told["broken"] == "'broken.npz' could not be read as given poses."
    assert told["none"] == "There is no file 'none.npz'."


def test_a_run_that_is_killed_goes_on_where_it_was(fake, fake_command, rig, folder):
    rows = [{"name": f"n{i}", "prompt": "a person walks", "seconds": 1.0, "seed": i} for i in range(5)]
    out = folder / "out"
    asked = ["--rig", str(rig), "--jobs", str(table(folder, *rows)), "--out", str(out), "--formats", "npz,bvh"]
    code = (
        "import json, sys; from blender_addon import batch; batch.load_addon(); from blender_addon import runtime; "
        "command, asked = map(json.loads, sys.argv[1:]); runtime.configure(command=command); batch.main(asked)"
    )
    command = [sys.executable, "-c", code, json.dumps(fake_command(delay=0.1)), json.dumps(asked)]
    env = os.environ | {"PYTHONPATH": str(Path(batch.__file__).resolve().parents[1])}
    with open(folder / "log", "wb") as log:
        child = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 300
    try:
        while "done" not in states(out).get("n1", []) if (out / "manifest.jsonl").exists() else True:
            assert child.poll() is None and time.monotonic() < deadline, (folder / "log").read_text(errors="replace")
            time.sleep(0.02)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(30)
    kept = {file.name: file.stat().st_mtime_ns for file in out.glob("n[01].*")}
    assert batch.main(asked) == 0
    found = states(out)
    assert all(found[row["name"]][-1] == "done" and found[row["name"]].count("done") == 1 for row in rows), found
    assert {file.name: file.stat().st_mtime_ns for file in out.glob("n[01].*")} == kept
    assert len(list(out.glob("*.npz"))) == len(list(out.glob("*.bvh"))) == 5 and not list(out.rglob(".momug-*"))


def test_a_run_that_cannot_go_on_says_why(fake, rig, folder, capsys):
    out = folder / "out"
    jobs = table(folder, {"name": "walk", "prompt": "a person walks"})
    for asked, words in (
        (["--jobs", str(folder / "none.csv"), "--out", str(out)], "none.csv"),
        (["--jobs", str(rig), "--out", str(out)], "no table of jobs"),
        (["--jobs", str(jobs), "--out", str(out), "--formats", "exe"], "formats"),
        (["--jobs", str(jobs), "--out", str(rig)], "could not be used"),
    ):
        assert batch.main(["--rig", str(rig), *asked]) == 1
        said = capsys.readouterr().err.strip()
        assert words in said and said.endswith(".") and "\n" not in said


def test_captions_of_a_folder(fake, rig, folder):
    clips = folder / "clips" / "deeper"
    jobs = table(folder, *({"name": name, "prompt": "a person walks", "seconds": 2} for name in ("one", "two")))
    asked = ["--rig", str(rig), "--jobs", str(jobs), "--out", str(clips), "--formats", "blend,bvh,fbx,glb"]
    assert batch.main(asked) == 0
    (clips / "broken.glb").write_bytes(b"glTF nothing")
    (clips / "broken.blend").write_bytes(b"BLENDER nothing")
    out = folder / "captions.csv"
    assert batch.main(["caption-batch", str(folder / "clips"), "--out", str(out)]) == batch.SOME_FAILED
    with open(out, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = sorted(row["file"] for row in rows)
    assert kinds == sorted(
        f"deeper/{name}.{kind}" for name in ("one", "two") for kind in ("blend", "bvh", "fbx", "glb")
    )
    assert all("a person walks forward" in row["caption"] and 1.8 < float(row["seconds"]) < 2.2 for row in rows), rows
    failed = [r["job"] for r in lines(folder / "captions.csv.manifest.jsonl") if r.get("state") == "failed"]
    assert failed == ["deeper/broken.blend", "deeper/broken.glb"]
    book = len(lines(folder / "captions.csv.manifest.jsonl"))
    assert batch.main(["caption-batch", str(folder / "clips"), "--out", str(out)]) == batch.SOME_FAILED
    news = lines(folder / "captions.csv.manifest.jsonl")[book:]
    assert {record["job"] for record in news if "job" in record} == {"deeper/broken.blend", "deeper/broken.glb"}
