"""A Ray cluster without workers of its own: its autoscaler brings machines for the jobs and gives them back."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="Ray is an extra: backend/requirements-scale.txt")

sys.path += [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "backend")]
import batch_model  # noqa: E402
from ray_machines import IMPORTED, Machine, free_ports  # noqa: E402

from backend.batch import on_ray, run  # noqa: E402

HEAD_ID = "f" * 51 + "00000"  # which Ray's provider of pretended machines calls the head
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
MOST, IDLE = 3, 0.1  # machines, and minutes without work after which one is given back
JOBS = 240  # each of 0.15 s: longer than a machine needs to come
KIND = {"resources": {"CPU": 2, "object_store_memory": 1 << 28}, "node_config": {}, "min_workers": 0}
HEAD = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
HEAD_VARIABLES = {
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID, "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}  # fmt: skip
LISTS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
CLUSTER = {
    "cluster_name": "test", "head_node_type": "ray.head.default",
    "provider": {"type": "external", "module": PROVIDER, "launch_multiple": True, "head_node_id": HEAD_ID},
    "max_workers": MOST, "idle_timeout_minutes": IDLE, "upscaling_speed": 1.0, "auth": {}, "docker": {},
    "available_node_types": {"ray.head.default": HEAD, "cpu": {**KIND, "max_workers": MOST}},
    **{f"{name}_commands": [] for name in LISTS}, "file_mounts": {}, "cluster_synced_files": [],
    "file_mounts_sync_continuously": False, "rsync_exclude": [], "rsync_filter": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address of a head that computes nothing; its machines are processes here, as in Ray's own tests."""
    folder = tmp_path_factory.mktemp("cluster")
    here = f"127.0.0.1:{free_ports(1)[0]}"
    asked = CLUSTER | {"provider": {**CLUSTER["provider"], "gcs_address": here}}
    (folder / "cluster.yaml").write_text(json.dumps(asked), encoding="utf-8")
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", IMPORTED)
    patch.setenv("RAY_AUTH_MODE", "disabled")
    head = Machine(
        folder / "head.log",
        port=here.rpartition(":")[2],
        options=("--num-cpus=0", f"--autoscaling-config={folder / 'cluster.yaml'}"),
        variables=HEAD_VARIABLES,
    )
    yield head.address
    head.kill()
    patch.undo()


class Watch:
    """How many machines there are beside the head, noted whenever it changes: (seconds, machines)."""

    def __init__(self):
        self.seen, self.over, self.began = [(0.0, 0)], threading.Event(), time.monotonic()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        while not self.over.wait(0.5):
            if not ray.is_initialized():
                continue
            count = sum(node["Alive"] for node in ray.nodes()) - 1
            if count != self.seen[-1][1]:
                self.seen.append((round(time.monotonic() - self.began, 1), count))

    def stop(self) -> list[tuple[float, int]]:
        self.over.set()
        self.thread.join()
        return self.seen


def test_machines_come_with_the_jobs_and_go_with_them(tmp_path, cluster):
    made = tmp_path / "made"
    made.mkdir()
    rows = [{"name": f"n{i}", "prompt": "a person walks slowly", "seconds": 2, "seed": i} for i in range(JOBS)]
    (tmp_path / "jobs.json").write_text(json.dumps(rows), encoding="utf-8")
    settings = run.Settings(str(tmp_path / "out"), batch=2, load=batch_model.Loader(made))

    def pool(settings, batches):
        on_ray.connect(ray, cluster)  # and stay, to see what becomes of the machines afterwards
        yield from on_ray._Pool(ray, settings, MOST, 2).make(batches)

    def expire(*_):
        raise TimeoutError(f"the autoscaler was not quick enough: {watch.seen}")

    watch = Watch()
    patience = signal.signal(signal.SIGALRM, expire)
    signal.alarm(400)
    try:
        report = run.run(tmp_path / "jobs.json", settings, say=lambda line: None, pool=pool)
        ended, end = round(time.monotonic() - watch.began, 1), time.monotonic() + 180
        while watch.seen[-1][1] and time.monotonic() < end:
            time.sleep(0.5)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, patience)
        seen = watch.stop()
        ray.shutdown()
    print(f"machines: {seen}, jobs ended after {ended} s")
    assert report.done == JOBS and not report.failed
    assert sorted(path.stem for path in (tmp_path / "out").glob("[!.]*.npz")) == sorted(row["name"] for row in rows)
    workers = {file.name.split("-")[3] for file in made.glob("made-*")}
    assert max(count for _, count in seen) >= 2 and len(workers) >= 2, "it grew"
    assert max(count for _, count in seen) <= MOST and seen[-1][1] == 0, "it shrank"
    assert len(list(made.glob("made-*"))) == JOBS and os.getpid() not in map(int, workers)
