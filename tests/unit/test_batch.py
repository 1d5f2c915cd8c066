"""Tables of jobs, the manifest, and batches of jobs through a model that needs no weights."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("scipy")

from backend.batch import captions, jobs, manifest, run  # noqa: E402
from backend.batch.jobs import JobsError  # noqa: E402
from backend.errors import BackendError  # noqa: E402
from backend.models.interface import GenerateRequest  # noqa: E402
from backend.motion import formats  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "backend"))
import batch_model  # noqa: E402


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def states(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in lines(folder / "manifest.jsonl"):
        if "job" in record:
            found.setdefault(record["job"], []).append(record["state"])
    return found


def table(folder: Path, *rows: dict, name: str = "jobs.json") -> Path:
    file = folder / name
    file.write_text(json.dumps(list(rows)), encoding="utf-8")
    return file


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    return folder


@pytest.fixture
def go(tmp_path, made):
    """``go(table, **settings)``: a run into ``tmp_path/out``; returns its report."""

    def run_it(file: Path, **more):
        settings = run.Settings(str(tmp_path / "out"), load=batch_model.Loader(made), **more)
        return run.run(file, settings, say=lambda line: None)

    return run_it


# --- tables


def test_the_same_jobs_from_every_kind_of_table(tmp_path):
    (tmp_path / "poses.npz").write_bytes(b"")
    parts = [{"prompt": "a person walks", "seconds": 2}, {"prompt": "sits down", "seconds": None}]
    rows = [
        {"name": "shots/010/walk", "prompt": "a person  walks", "seconds": 2.5, "seed": 7, "steps": 10},
        {"name": "two parts", "timeline": parts, "conditions": {"loop": True, "style": "proud", "style_weight": 0.5}},
        {"prompt": "a person sits", "target": "poses.npz", "rig": None, "options": {"in_place": True}},
    ]
    cells = json.dumps(parts).replace('"', '""')
    (tmp_path / "jobs.csv").write_text(
        "\ufeffName,prompt,seconds,seed,steps,timeline,loop,style,style_weight,target,options\r\n"
        "shots/010/walk,a person  walks,2.5,7,10,,,,,,\r\n"
        f'two parts,,,,,"{cells}",yes,proud,0.5,,\r\n'
        '\r\n,a person sits,auto,,,,,,,poses.npz,"{""in_place"": true}"\r\n',
        encoding="utf-8",
    )
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    read = [jobs.read(table(tmp_path, *rows))]
    read += [jobs.read(tmp_path / "jobs.csv"), jobs.read(tmp_path / "jobs.jsonl")]
    assert read[0] == read[1] == read[2]
    walk, two, third = read[0]
    assert not any(job.problem for job in read[0])
    assert walk.request == {"prompt": "a person walks", "seconds": 2.5, "seed": 7, "steps": 10}
    assert two.request["timeline"] == parts and two.request["loop"] is True and two.request["style"] == "proud"
    assert third.name == "job-000003" and third.target == str(tmp_path / "poses.npz")
    assert third.options == {"in_place": True}


def test_given_poses_need_no_prompt(tmp_path):
    (tmp_path / "poses.npz").write_bytes(b"")
    alone, nothing = jobs.read(table(tmp_path, {"target": "poses.npz"}, {"prompt": " "}))
    assert alone.request["prompt"] == "" and not alone.problem and alone.request["seed"] >= 0
    assert "prompt is empty" in nothing.problem


def test_seeds_that_are_not_given_are_the_same_every_time_and_differ(tmp_path):
    rows = [{"name": f"n{i}", "prompt": "a person walks"} for i in range(50)]
    first, again = jobs.read(table(tmp_path, *rows)), jobs.read(table(tmp_path, *reversed(rows)))
    seeds = {job.name: job.request["seed"] for job in first}
    assert seeds == {job.name: job.request["seed"] for job in again}
    assert len(set(seeds.values())) == 50 and all(0 <= seed < 2**31 for seed in seeds.values())


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ""}, {"prompt": "a\0b"}, {"prompt": "a\x1b[31mb"}, {"prompt": "walks" * 1000}, {"prompt": 5},
        {"prompt": "a", "sedes": 3}, {"prompt": "a", "seed": 1.5}, {"prompt": "a", "seed": "many"},
        {"prompt": "a", "seconds": True}, {"prompt": "a", "seconds": "1e999"}, {"prompt": "a", "seconds": []},
        {"prompt": "a", "loop": "perhaps"}, {"prompt": "a", "target": "nothing.npz"}, {"prompt": "a", "rig": "\0"},
        {"prompt": "a", "timeline": "[[[["}, {"timeline": {}}, {"prompt": "a", "conditions": 3},
        {"prompt": "a", "name": "../out"}, {"prompt": "a", "name": "/etc/passwd"}, {"prompt": "a", "name": "a/../../b"},
        {"prompt": "a", "name": "con"}, {"prompt": "a", "name": "a\nb"}, {"prompt": "a", "name": "x" * 201},
        {"prompt": "a", "name": "C:\\x"}, {"prompt": "a", "name": "a."}, {"prompt": "a", "name": ".hidden"},
        {"prompt": "a", "name": "a\ud800b"}, {"prompt": "a", "name": "é" * 101}, 3, None, [],
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_a_problem_in_one_sentence(tmp_path, row):
    good = {"name": "good", "prompt": "a person walks"}
    bad, fine = jobs.read(table(tmp_path, row, good))
    assert bad.problem.endswith(".") and "\n" not in bad.problem and len(bad.problem) < 300
    assert not fine.problem


def test_names_that_only_some_file_systems_tell_apart_are_taken_once(tmp_path):
    rows = [{"name": name, "prompt": "walks"} for name in ("Walk", "walk", "caf\u00e9", "cafe\u0301", "other")]
    problems = [bool(job.problem) for job in jobs.read(table(tmp_path, *rows))]
    assert problems == [False, True, False, True, False]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", ""), ("a.json", "{"), ("a.json", "[" * 100_000), ("a.json", '{"jobs": 3}'), ("a.json", "[]"),
        ("a.json", '[{"seconds": NaN}]'), ("a.csv", ""), ("a.csv", 'name,prompt\n"a'), ("a.txt", "walk"),
        ("b.json", None), ("a.csv", "prompt\n" + "x" * 200_000), ("a.jsonl", ""),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read_is_one_sentence(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(JobsError) as caught:
        jobs.read(tmp_path / name)
    assert str(caught.value).endswith(".") and name in str(caught.value) and "\n" not in str(caught.value)


# --- the manifest


def test_a_line_that_was_cut_off_is_passed_over(tmp_path):
    file = tmp_path / "manifest.jsonl"
    with manifest.Manifest(file) as book:
        book.add({"job": "a", "state": "done", "input": "1"}, {"job": "b", "state": "done", "input": "2"})
    file.write_bytes(file.read_bytes()[:-9])
    with manifest.Manifest(file) as book:
        assert book.is_done("a", "1") and not book.is_done("b", "2") and not book.is_done("a", "2")
        book.add({"job": "c", "state": "done", "input": "3"})
    with manifest.Manifest(file) as book:
        assert book.is_done("a", "1") and book.is_done("c", "3")


def test_two_runs_into_one_folder_do_not_mix(tmp_path):
    with manifest.Manifest(tmp_path / "manifest.jsonl"):
        code = "import sys; from backend.batch.manifest import *; from pathlib import Path; Manifest(Path(sys.argv[1]))"
        command = [sys.executable, "-c", code, str(tmp_path / "manifest.jsonl")]
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=120)
        assert done.returncode == 1 and "Busy: Another run is writing" in done.stderr
    with manifest.Manifest(tmp_path / "manifest.jsonl"):
        pass


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    file = tmp_path / "a.npz"
    file.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), manifest.replacing(file) as part:
        part.write_bytes(b"half")
        raise ZeroDivisionError
    assert file.read_bytes() == b"before" and list(tmp_path.iterdir()) == [file]
    with manifest.replacing(file) as part:
        part.write_bytes(b"after")
        assert file.read_bytes() == b"before" and part.suffix == ".npz"
    assert file.read_bytes() == b"after" and list(tmp_path.iterdir()) == [file]


# --- runs


def test_a_bad_job_is_reported_and_the_rest_go_on(tmp_path, go, made):
    rows = [
        {"name": "walk", "prompt": "a person walks", "seconds": 2, "seed": 1},
        {"name": "empty", "prompt": ""},
        {"name": "refused", "prompt": "the model refuses", "seconds": 2},
        {"name": "broken", "prompt": "the model breaks", "seconds": 2},
        {"name": "long", "prompt": "walks", "seconds": 99},
        {"name": "unknown", "prompt": "walks", "model": "nobody"},
        {"name": "run", "prompt": "a person runs 🏃 يجري", "seconds": 2, "seed": 4},
    ]
    report = go(table(tmp_path, *rows))
    assert report.done == 2 and set(report.failed) == {"empty", "refused", "broken", "long", "unknown"}
    assert all(text.endswith(".") for text in report.failed.values())
    told = states(tmp_path / "out")
    assert told["walk"] == told["run"] == ["running", "done"] and told["refused"] == ["running", "failed"]
    for name, seed in (("walk", 1), ("run", 4)):
        motion = formats.read(tmp_path / "out" / f"{name}.npz")
        assert motion.frames == 60 and abs(motion.translation[0, 0] - seed) < 1e-5
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "manifest.jsonl", "manifest.jsonl.lock", "run.npz", "walk.npz",
    ]  # fmt: skip
    done = next(record for record in lines(tmp_path / "out" / "manifest.jsonl") if record.get("state") == "done")
    (output,) = done["outputs"]
    file = tmp_path / "out" / output["file"]
    assert output["sha256"] == jobs.file_hash(str(file)) and output["bytes"] == file.stat().st_size
    assert len(done["input"]) == 64 and {"generate", "write"} <= set(done["seconds"])


def test_a_batch_that_fails_as_a_whole_is_made_one_by_one(tmp_path, go, made):
    rows = [{"name": f"n{i}", "prompt": "too much" if i == 2 else "a walk", "seconds": 2} for i in range(4)]
    assert go(table(tmp_path, *rows)).done == 4
    assert len(list(made.glob("made-*-1"))) == 4


def test_how_far_it_is_is_told_every_few_seconds(tmp_path, made, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    file, said = table(tmp_path, *({"name": f"n{i}", "prompt": "walks", "seconds": 2} for i in range(9))), []
    settings = run.Settings(str(tmp_path / "out"), batch=2, load=batch_model.Loader(made))
    assert run.run(file, settings, say=said.append).done == 9
    left = [
        re.search(r"^(\d+) done, 0 were done already, 0 failed; .* jobs/s; about (\d+) s left$", line) for line in said
    ]
    done, seconds = zip(*(map(int, found.groups()) for found in left), strict=True)
    assert len(said) >= 3 and sorted(done) == list(done) and seconds[-1] < seconds[0], said


def test_batches_hold_what_can_go_together_with_similar_lengths(tmp_path):
    def ask(prompt="walks", **fields):
        return GenerateRequest(prompt, **{"seed": 1, **fields})

    wanted = [ask(seconds=s) for s in (2, 9, 2.5, 8, 1, 7, 2.2)]
    wanted += [ask(seconds=2, steps=5), ask(seconds=2, steps=5), ask(seconds=2, loop=True), ask(), ask("runs")]
    wanted += [ask(timeline=[("a", 1.0), ("b", 1.0)]), ask(seconds=2, seed=None)]
    waiting = [(jobs.Job(str(i), "momug"), request) for i, request in enumerate(wanted)]
    batches = [sorted(int(job.name) for job in batch) for batch in run.plan(waiting, 3)]
    assert sorted(batches) == sorted([[4], [0, 2, 6], [1, 3, 5], [7, 8], [9], [10, 11], [12], [13]])
    assert all(len(batch) == 1 for batch in run.plan(waiting, 1))


def test_a_second_run_does_only_what_is_missing_or_has_changed(tmp_path, go, made):
    rows = [{"name": f"n{i}", "prompt": "a person walks", "seconds": 2} for i in range(6)]
    assert go(table(tmp_path, *rows)).done == 6
    assert go(table(tmp_path, *rows)).earlier == 6
    (tmp_path / "out" / "n2.npz").unlink()
    (tmp_path / "out" / "n3.npz").write_bytes(b"cut off")
    rows[4]["seed"] = 5
    report = go(table(tmp_path, *rows, {"name": "new", "prompt": "a person walks"}))
    assert (report.done, report.earlier) == (4, 3)
    assert len(list(made.glob("made-*"))) == 10
    assert go(table(tmp_path, *rows), suffix=".bvh").done == 6, "another format is another output"


RUN = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
import batch_model
from backend.batch import run
load = batch_model.Loader(Path({made!r}))
print(run.run(Path({table!r}), run.Settings({out!r}, batch=2, load=load)), flush=True)
"""
BOOK = {"manifest.jsonl", "manifest.jsonl.lock"}


def program(made: Path, file: Path, out: Path) -> str:
    """What a Python runs to do the table ``file``."""
    root = Path(__file__).resolve().parents[2]
    return RUN.format(
        root=str(root), tests=str(root / "tests" / "backend"), made=str(made), table=str(file), out=str(out)
    )


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path, go, made, by):
    rows = [{"name": f"n{i}", "prompt": "a person walks slowly", "seconds": 2, "seed": i} for i in range(24)]
    file, out = table(tmp_path, *rows), tmp_path / "out"
    code = program(made, file, out)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while len(list(out.glob("n*.npz"))) < 5:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        process.send_signal(by)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    (out / ".momug-0123.npz").write_bytes(b"what a killed writer leaves")
    known = {job for job, told in states(out).items() if told[-1] == "done"}
    assert 5 <= len(known) + 2 and len(known) < 24
    report = go(file)
    assert report.earlier == len(known) and report.done == 24 - len(known) and not report.failed
    assert all(told.count("done") == 1 for told in states(out).values()) and len(states(out)) == 24
    assert {path.name for path in out.iterdir()} == {f"n{i}.npz" for i in range(24)} | BOOK
    times = [path.name.split("-")[1] for path in made.glob("made-*")]
    again = {seed for seed in times if times.count(seed) > 1}
    assert len(set(times)) == 24 and len(again) <= 2, "no more than the batch that was in hand is made twice"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_half_a_file_of_a_killed_writer_is_taken_away(tmp_path, go, made):
    file, out = table(tmp_path, {"name": "walk", "prompt": "a person walks"}), tmp_path / "out"
    dies = "(part.write_bytes(b'half'), os.kill(os.getpid(), signal.SIGKILL))"
    patch = f"import os, signal\nfrom backend.motion import formats\nformats.WRITERS['.npz'] = lambda part, _: {dies}\n"
    code = program(made, file, out).replace("load =", patch + "load =")
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == -signal.SIGKILL
    (half,) = {path.name for path in out.iterdir()} - BOOK
    assert half != "walk.npz"
    (out / ".hidden.npz").write_bytes(b"somebody's own")
    assert go(file).done == 1
    assert {path.name for path in out.iterdir()} == {"walk.npz", ".hidden.npz"} | BOOK


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of POSIX")
def test_a_full_disk_ends_the_run_with_a_sentence_and_no_half_file(tmp_path, go, made):
    rows = [{"name": f"n{i}", "prompt": "a person walks", "seconds": 10, "seed": i} for i in range(3)]
    file, out = table(tmp_path, *rows), tmp_path / "out"
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\n" + program(made, file, out)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "n0.npz could not be written: File too large." in done.stderr
    assert not list(out.glob("n*")) and not list(out.glob(".momug-*"))
    assert all(told == ["running"] for told in states(out).values())
    assert go(file).done == 3


def refuses_to_write(command: list[str]) -> list[str]:
    """The command without the powers by which root writes into read-only folders."""
    if os.geteuid() != 0:
        return command
    if shutil.which("setpriv") is None:
        pytest.skip("root writes everywhere here")
    return ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *command]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_read_only_folder_is_told_in_a_sentence(tmp_path, go, made):
    file = table(tmp_path, {"name": "deep/n0", "prompt": "a person walks", "seconds": 2})
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    code = program(made, file, out)
    for folder, words in ((out / "deep", "deep/n0.npz could not be written: Permission denied."), (out, "Permission")):
        folder.chmod(0o555)
        try:
            command = refuses_to_write([sys.executable, "-c", code])
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        finally:
            folder.chmod(0o755)
        assert done.returncode == 1 and words in done.stderr, done.stderr
        assert not list(out.rglob("*.npz"))
        for left in out.glob("manifest*"):
            left.unlink()
    assert go(file).done == 1


@pytest.mark.parametrize("name", ["with spaces", 'it\'s "quoted"', "🚶 走る", "deep/" * 30 + "folder with a long name"])
def test_odd_paths(tmp_path, made, name):
    if os.name == "nt" and set(name) & jobs.FORBIDDEN:
        pytest.skip("Windows has no such names")
    out = tmp_path / name
    settings = run.Settings(str(out), load=batch_model.Loader(made))
    long = "/".join(["a long folder name that goes on " + "x" * 60] * 3) + "/the motion"
    rows = [{"name": "日本 🚶's walk", "prompt": "a person walks"}, {"name": long, "prompt": "walks"}]
    assert run.run(table(tmp_path, *rows), settings, say=lambda line: None).done == 2
    assert (out / "日本 🚶's walk.npz").is_file() and len(str(out / long)) > 260 and (out / f"{long}.npz").is_file()


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_url_that_fsspec_knows(tmp_path, made, kind):
    fsspec = pytest.importorskip("fsspec")
    url = (tmp_path / "bucket").as_uri() if kind == "file" else f"memory://{tmp_path.name}/bucket"
    file = table(tmp_path, *({"name": f"a/n{i}", "prompt": "walks", "seconds": 2} for i in range(3)))
    settings = run.Settings(url, load=batch_model.Loader(made))
    with pytest.raises(BackendError, match="--manifest"):
        run.run(file, settings, say=lambda line: None)
    for count in ((3, 0), (0, 3)):
        report = run.run(file, settings, manifest=tmp_path / "m.jsonl", say=lambda line: None)
        assert (report.done, report.earlier) == count
    system, folder = fsspec.core.url_to_fs(url)
    assert sorted(Path(name).name for name in system.ls(f"{folder}/a", False)) == ["n0.npz", "n1.npz", "n2.npz"]
    system.get_file(f"{folder}/a/n0.npz", str(tmp_path / "back.npz"))
    assert formats.read(tmp_path / "back.npz").frames == 60


# --- captions


def test_captions_of_a_folder_go_on_and_follow_changes(tmp_path):
    folder = tmp_path / "clips"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.bvh", "deep/b é.bvh", "bad.bvh", "other.txt"):
        (folder / name).write_text(name)
    described = []

    def describe(path: Path) -> list[dict]:
        described.append(path.name)
        if path.name == "bad.bvh":
            raise captions.Refused("It is bad.")
        return [{"animation": path.stem, "seconds": 1.5, "caption": f'a "person" walks, {path.stem}'}]

    def go(out: Path, weights: str = "1"):
        return captions.run(folder, out, [".bvh"], describe, weights, lambda line: None)

    out = tmp_path / "captions.jsonl"
    assert go(out) == (2, 0, {"bad.bvh": "It is bad."})
    assert lines(out) == [
        {"file": "a.bvh", "animation": "a", "seconds": 1.5, "caption": 'a "person" walks, a'},
        {"file": "deep/b é.bvh", "animation": "b é", "seconds": 1.5, "caption": 'a "person" walks, b é'},
    ]
    described.clear()
    (folder / "a.bvh").write_text("changed")
    assert go(out)[:2] == (1, 1) and described == ["a.bvh", "bad.bvh"]
    assert go(out, "other weights")[:2] == (2, 0)
    table = tmp_path / "captions.csv"
    assert go(table)[0] == 2
    assert table.read_text(encoding="utf-8").splitlines()[1] == 'a.bvh,,a,1.5,"a ""person"" walks, a"'
    for where, to in ((tmp_path / "none", out), (tmp_path, out.with_suffix(".txt")), (tmp_path / "made", out)):
        (tmp_path / "made").mkdir(exist_ok=True)
        with pytest.raises(captions.Refused):
            captions.run(where, to, [".bvh"], describe)
