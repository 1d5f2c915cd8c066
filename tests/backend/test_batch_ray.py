"""A real Ray cluster of several workers on this computer: some are killed in the middle, every job ends once."""

import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="Ray is an extra: backend/requirements-scale.txt")

sys.path.insert(0, str(Path(__file__).resolve().parent))
import batch_model  # noqa: E402

from backend.batch import on_ray, run  # noqa: E402
from backend.errors import BackendError  # noqa: E402
from backend.motion import formats  # noqa: E402


def states(folder: Path) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "job" in record:
            found.setdefault(record["job"], []).append(record)
    return found


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def agent_ports() -> dict[str, int]:
    """Ray gives its agents 15 s to say which port they took, which a busy computer may not keep: they are told."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    return dict(zip(names, free_ports(len(names)), strict=True))


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    """Four CPUs' worth of workers, whatever this computer has."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(Path(__file__).resolve().parent))
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_worker_niceness", "0")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 4, "include_dashboard": False, **agent_ports()}
    running = Cluster(initialize_head=True, head_node_args=head)
    yield running
    running.shutdown()
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


def test_results_go_to_a_url_and_no_more_is_under_way_than_workers_can_hold(tmp_path, go):
    rows = [{"name": f"a/n{i}", "prompt": "a person walks slowly", "seconds": 2} for i in range(14)]
    url, book = (tmp_path / "bucket").as_uri(), tmp_path / "book" / "manifest.jsonl"
    assert go(rows, workers=None, out=url, manifest=book).done == 14
    assert len(list((tmp_path / "bucket" / "a").glob("*.npz"))) == 14
    under_way = most = 0
    for line in book.read_text(encoding="utf-8").splitlines():
        state = json.loads(line).get("state")
        under_way += (state == "running") - (state == "done")
        most = max(most, under_way)
    assert 2 <= most <= 4 * on_ray.IN_FLIGHT * 2


def test_a_machine_that_leaves_and_one_that_joins_lose_no_job_and_double_none(tmp_path, cluster):
    """Three machines of one worker each beside the head, which holds none; one is taken away, another is added."""
    made = tmp_path / "made"
    made.mkdir()
    rows = [{"name": f"n{i}", "prompt": "a person walks slowly", "seconds": 2, "seed": i} for i in range(40)]
    (tmp_path / "jobs.json").write_text(json.dumps(rows), encoding="utf-8")
    machines, over = [cluster.add_node(num_cpus=8, **agent_ports()) for _ in range(2)], threading.Event()
    changed = []

    def change() -> None:
        while not over.wait(0.05):
            if len(list(made.glob("made-*"))) > 6:
                cluster.remove_node(machines[0], allow_graceful=False)
                machines[0] = cluster.add_node(num_cpus=8, **agent_ports())
                changed.append(True)
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
            cluster.remove_node(machine)
    assert changed and report.done == 40 and not report.failed, report.failed
    told = states(tmp_path / "out")
    assert len(told) == 40
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
