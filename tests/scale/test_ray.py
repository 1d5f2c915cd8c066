"""A real Ray cluster of several workers on this computer: some are killed in the middle, every job ends once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="Ray is an extra: backend/requirements-scale.txt")

sys.path += [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "backend")]
import batch_model  # noqa: E402
from ray_machines import IMPORTED, Machine  # noqa: E402

from backend.batch import on_ray, run  # noqa: E402
from backend.errors import BackendError  # noqa: E402
from backend.motion import formats  # noqa: E402

WORKER = on_ray.Worker


def states(folder: Path) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "job" in record:
            found.setdefault(record["job"], []).append(record)
    return found


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    """A head with four CPUs' worth of workers, whatever this computer has."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", IMPORTED)
    patch.setenv("RAY_AUTH_MODE", "disabled")
    head = Machine(tmp_path_factory.mktemp("cluster") / "head.log", options=("--num-cpus=4",))
    yield head
    head.kill()
    patch.undo()


@pytest.fixture
def go(tmp_path, cluster):
    made = tmp_path / "made"
    made.mkdir()

    def run_it(rows: list[dict], workers: int | None = 3, out: str = "", **more):
        table = tmp_path / "jobs.json"
        table.write_text(json.dumps(rows), encoding="utf-8")
        settings = run.Settings(out or str(tmp_path / "out"), batch=2, load=batch_model.Loader(made))
        pool = on_ray.pool(cluster.address, workers, 1)
        return run.run(table, settings, say=lambda line: None, pool=pool, **more)

    return run_it


def test_workers_that_are_killed_lose_no_job_and_double_none(tmp_path, go):
    rows = [{"name": f"n{i}", "prompt": "a person walks slowly", "seconds": 2, "seed": i} for i in range(40)]
    made, killed, over = tmp_path / "made", [], threading.Event()

    def kill() -> None:
        """Ends two workers with SIGKILL, each when it has made something."""
        while len(killed) < 2 and not over.wait(0.02):
            for file in made.glob("made-*"):
                number = int(file.name.split("-")[3])
                if number not in killed:
                    killed.append(number)
                    os.kill(number, signal.SIGKILL)
                    break

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        report = go(rows)
    finally:
        over.set()
        killer.join()
    assert len(killed) == 2
    assert report.done == 40 and not report.failed, report.failed
    told = states(tmp_path / "out")
    assert len(told) == 40
    assert all([record["state"] for record in records].count("done") == 1 for records in told.values())
    assert all(records[-1]["state"] == "done" for records in told.values())
    assert any(record["state"] == "retry" for records in told.values() for record in records)
    out = tmp_path / "out"
    assert sorted(path.stem for path in out.glob("[!.]*.npz")) == sorted(row["name"] for row in rows)
    for row in rows[::7]:
        motion = formats.read(out / f"{row['name']}.npz")
        assert motion.frames == 60 and abs(motion.translation[0, 0] - row["seed"]) < 1e-5
    workers = {file.name.split("-")[3] for file in made.glob("made-*")}
    assert len(workers) >= 4, "three workers, and those that came after the killed ones"
    assert go(rows).earlier == 40


def test_a_job_that_kills_its_worker_is_given_up_and_the_rest_go_on(tmp_path, go):
    rows = [{"name": f"n{i}", "prompt": "a person walks", "seconds": 2} for i in range(6)]
    rows[3]["prompt"] = "a person always dies"
    rows[4]["prompt"] = "a person dies once"
    rows[5]["prompt"] = "the model refuses"
    report = go(rows, workers=2)
    assert report.done == 4 and set(report.failed) == {"n3", "n5"}
    assert f"Tried {on_ray.ATTEMPTS} times" in report.failed["n3"]
    assert [record["attempt"] for record in states(tmp_path / "out")["n3"] if record["state"] == "running"] == [1, 2, 3]


DRIVER = """
import sys
import batch_model
from backend.batch import on_ray, run
table, out, made, address = sys.argv[1:]
settings = run.Settings(out, batch=2, load=batch_model.Loader(made))
run.run(table, settings, pool=on_ray.pool(address, 3, 1))
"""


def test_a_run_whose_starting_process_is_killed_goes_on_where_it_was(tmp_path, go, cluster):
    """kill -9 of the one process that hands out and keeps the manifest; the same command again does the rest."""
    rows = [{"name": f"n{i}", "prompt": "a person walks slowly", "seconds": 2, "seed": i} for i in range(60)]
    table, out, made = tmp_path / "jobs.json", tmp_path / "out", tmp_path / "made"
    table.write_text(json.dumps(rows), encoding="utf-8")
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, table, out, made, cluster.address],
        env=os.environ | {"PYTHONPATH": IMPORTED},
    )
    try:
        end = time.monotonic() + 120
        while len(list(out.glob("[!.]*.npz"))) < 10 and driver.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        assert driver.poll() is None, "killed in the middle, not after its end"
    finally:
        driver.kill()
        driver.wait(60)
    before = [name for name, records in states(out).items() if records[-1]["state"] == "done"]
    assert 8 <= len(before) < 60
    report = go(rows)
    assert report.earlier == len(before) and report.done == 60 - len(before) and not report.failed
    told = states(out)
    assert all([record["state"] for record in records].count("done") == 1 for records in told.values())
    assert sorted(path.name for path in out.glob("*.npz")) == sorted(f"{row['name']}.npz" for row in rows)
    again = [file.name.split("-")[1] for file in made.glob("made-*")]
    assert all(again.count(name[1:]) == 1 for name in before), "what was done is not made again"
    assert len(again) <= 60 + 3 * 2 * on_ray.IN_FLIGHT, "only what was in hand is"


def test_results_go_to_a_url_and_no_more_is_under_way_than_workers_can_hold(tmp_path, go, monkeypatch):
    held = []

    class Tasks(dict):
        def __setitem__(self, task, batch):
            super().__setitem__(task, batch)
            held.append(len(self))

    monkeypatch.setattr(on_ray, "Worker", lambda *given: WORKER(*given, Tasks()))
    rows = [{"name": f"a/n{i}", "prompt": "a person walks slowly", "seconds": 2} for i in range(30)]
    url, book = (tmp_path / "bucket").as_uri(), tmp_path / "book" / "manifest.jsonl"
    assert go(rows, workers=None, out=url, manifest=book).done == 30
    assert len(list((tmp_path / "bucket" / "a").glob("*.npz"))) == 30
    assert len(held) == 15 and max(held) == on_ray.IN_FLIGHT, "batches that one worker had at a time"
    under_way = most = 0
    for line in book.read_text(encoding="utf-8").splitlines():
        state = json.loads(line).get("state")
        under_way += (state == "running") - (state == "done")
        most = max(most, under_way)
    assert 2 <= most <= 4 * 2, "four workers make two each"


def test_a_machine_that_leaves_and_one_that_joins_lose_no_job_and_double_none(tmp_path, cluster, monkeypatch):
    """Two machines of one worker each beside the head, which holds none; one loses its power, another is added."""
    made, count = tmp_path / "made", 120
    made.mkdir()
    monkeypatch.setattr(on_ray, "LOOK", 1.0)
    rows = [{"name": f"n{i}", "prompt": "a person walks slowly", "seconds": 2, "seed": i} for i in range(count)]
    (tmp_path / "jobs.json").write_text(json.dumps(rows), encoding="utf-8")
    eight = ("--num-cpus=8",)
    machines = [Machine(tmp_path / f"machine-{i}.log", cluster.address, options=eight) for i in range(2)]
    over, changed = threading.Event(), []

    def change() -> None:
        while not over.wait(0.05):
            if len(list(made.glob("made-*"))) > 6:
                machines[0].kill()
                changed.append(len(list(made.glob("made-*"))))
                machines.append(Machine(tmp_path / "machine-2.log", cluster.address, options=eight))
                return

    changer = threading.Thread(target=change)
    changer.start()
    settings = run.Settings(str(tmp_path / "out"), batch=2, load=batch_model.Loader(made))
    try:
        pool = on_ray.pool(cluster.address, None, 8)  # more CPUs than the head has
        report = run.run(tmp_path / "jobs.json", settings, say=lambda line: None, pool=pool)
    finally:
        over.set()
        changer.join()
        for machine in machines:
            machine.kill()
    assert changed and changed[0] < count and len(machines) == 3
    assert len({file.name.split("-")[3] for file in made.glob("made-*")}) == 3, "the machine that joined has worked too"
    assert report.done == count and not report.failed, report.failed
    told = states(tmp_path / "out")
    assert len(told) == count
    assert all([record["state"] for record in records].count("done") == 1 for records in told.values())
    assert sorted(path.stem for path in (tmp_path / "out").glob("[!.]*.npz")) == sorted(row["name"] for row in rows)


def test_no_cluster_is_one_sentence(tmp_path):
    table = tmp_path / "jobs.json"
    table.write_text(json.dumps([{"prompt": "a person walks"}]), encoding="utf-8")
    settings = run.Settings(str(tmp_path / "out"), load=batch_model.Loader(tmp_path))
    for address in ("127.0.0.1:1", "nowhere", "ray://127.0.0.1:1"):
        with pytest.raises(BackendError) as caught:
            run.run(table, settings, say=lambda line: None, pool=on_ray.pool(address))
        assert caught.value.message == f"There is no Ray cluster at {address}."


def test_a_cluster_that_asks_for_a_token_is_told_apart(monkeypatch):
    class AuthenticationError(Exception):
        pass

    def refuse(**_):
        try:
            raise RuntimeError("no GCS") from AuthenticationError("missing")
        except RuntimeError as error:
            raise ConnectionError("Failed to connect") from error

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(on_ray, "_reachable", lambda address: None)
    with pytest.raises(BackendError, match="asks for a token") as caught:
        on_ray.connect(ray, "10.0.0.5:6379")
    assert "RAY_AUTH_MODE=token" in caught.value.hint
