"""How a pool of workers hands out batches, with a Ray made of plain objects: who starts, who dies, who is let go."""

import json
import socket
from types import SimpleNamespace

import pytest

pytest.importorskip("scipy")
from backend.batch import on_ray, run  # noqa: E402
from backend.batch.jobs import Job  # noqa: E402


class Lost(Exception):
    """RayError of this Ray."""


class TaskError(Lost):
    cause = None


class Actor:
    """Takes part in the work when a machine has ``room`` for it; ``dies`` at its first batch."""

    def __init__(self, ray, dies: bool, room: bool):
        self.ray, self.dies, self.room, self.killed, self.ended = ray, dies, room, False, 0
        self.make = SimpleNamespace(remote=lambda jobs: self._task(jobs))
        self.__ray_ready__ = SimpleNamespace(remote=lambda: ("ready", self, len(ray.made)))

    def _task(self, jobs):
        assert self.room and not self.killed, "work was given to one that no machine has taken"
        self.ray.given += 1
        self.ray.tasks.append(("batch", self, self.ray.given, tuple(job.name for job in jobs)))
        self.ray.most = max(self.ray.most, sum(task[1] is self for task in self.ray.tasks) - self.ended)
        return self.ray.tasks[-1]


class Ray:
    exceptions = SimpleNamespace(RayError=Lost, RayTaskError=TaskError)

    def __init__(self, *actors: "tuple[bool, bool]", room: int):
        self.plan, self.room, self.made, self.given = list(actors), room, [], 0
        self.tasks, self.most = [], 0  # all that were handed out; how many one worker had at most
        self.resources, self.shares = {}, []  # of the cluster, and what each worker asks for of them

    def cluster_resources(self):
        return self.resources or {"CPU": float(self.room)}

    def remote(self, **share):
        self.shares.append(share)

        def make(kind):
            def start(settings):
                self.made.append(Actor(self, *(self.plan.pop(0) if self.plan else (False, True))))
                return self.made[-1]

            return SimpleNamespace(remote=start)

        return make

    def wait(self, tasks, timeout):
        return [task for task in tasks if task[1].room][:1], []

    def get(self, task, timeout=None):
        if task[0] == "ready":
            return None
        if task[1].dies or self._gone(task):
            task[1].dies = True
            raise Lost("died")
        task[1].ended += 1
        return [{"job": name, "state": "done"} for name in task[3]]

    def kill(self, actor):
        actor.killed = True

    def _gone(self, task):
        """Whether what this task's worker was given, up to it, held the job that ends workers."""
        return any("killer" in given[3] for given in self.tasks if given[1] is task[1] and given[2] <= task[2])


@pytest.mark.parametrize(
    ("actors", "room"),
    [
        ([(False, True)], 1),
        ([(True, True), (False, True)], 2),  # one dies with what it had
        ([(False, True), (False, False)], 2),  # the machine of one has left before it started
        ([(True, True), (False, False), (False, True)], 2),
    ],
)
def test_every_job_ends_once_whoever_dies_or_never_starts(actors, room, tmp_path):
    ray = Ray(*actors, room=room)
    batches = [[Job(f"n{2 * i}"), Job(f"n{2 * i + 1}")] for i in range(6)]
    pool = on_ray._Pool(ray, run.Settings(str(tmp_path)), None, 1)
    told = [record for records in pool.make(batches) for record in records]
    done = [record["job"] for record in told if record["state"] == "done"]
    assert sorted(done) == sorted(job.name for batch in batches for job in batch), json.dumps(told)
    assert not pool.workers and all(actor.killed for actor in ray.made if not actor.dies), "machines are given back"


def test_what_a_lost_worker_had_finished_is_taken_and_not_made_again(tmp_path):
    class Late(Ray):
        """The first worker makes one batch and dies of the second, which is heard of first."""

        def wait(self, tasks, timeout):
            return [tasks[0] if tasks[0][0] == "ready" else tasks[-1]], []

        def get(self, task, timeout=None):
            if task[0] == "batch" and task[2] == 2:
                raise Lost("died")
            return super().get(task)

    batches = [[Job("n0"), Job("n1")], [Job("n2"), Job("n3")]]
    pool = on_ray._Pool(Late(room=1), run.Settings(str(tmp_path)), None, 1)
    told = [record for records in pool.make(batches) for record in records]
    tries = {name: [r["state"] for r in told if r["job"] == name] for name in ("n0", "n1", "n2", "n3")}
    assert tries["n0"] == tries["n1"] == ["running", "done"]
    assert tries["n2"] == tries["n3"] == ["running", "retry", "running", "done"]


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("room", [1, 2, 3])
def test_a_job_that_ends_its_workers_is_told_of_once_a_try_wherever_it_stands(place, room, tmp_path):
    """Behind another batch at the same worker it has not been tried: that hand-out counts for nothing."""
    names = [f"n{i}" for i in range(10)]
    names.insert(2 * place, "killer")
    ray = Ray(room=room)
    batches = [[Job(name) for name in names[start : start + 2]] for start in range(0, len(names), 2)]
    pool = on_ray._Pool(ray, run.Settings(str(tmp_path)), None, 1)
    told = [record for records in pool.make(batches) for record in records]
    tries = [(record["state"], record.get("attempt")) for record in told if record["job"] == "killer"]
    again = [("running", 1), ("retry", 1), ("running", 2), ("retry", 2), ("running", 3), ("failed", 3)]
    assert tries == again
    for name in set(names) - {"killer"}:
        states = [record["state"] for record in told if record["job"] == name]
        assert states[-1] == "done" and states.count("done") == 1
        assert states.count("running") == states.count("retry") + 1 <= 2, "only who was in its batch is made again"
    assert sum(actor.dies for actor in ray.made) == on_ray.ATTEMPTS
    assert ray.most <= on_ray.IN_FLIGHT


@pytest.mark.parametrize(
    ("resources", "device", "workers", "cpus", "share", "count"),
    [
        ({"CPU": 16.0}, "auto", None, 4, {"num_cpus": 4}, 4),
        ({"CPU": 64.0, "GPU": 3.0}, "auto", None, 4, {"num_gpus": 1}, 3),  # one a GPU, whatever the CPUs
        ({"CPU": 8.0, "GPU": 3.0}, "cpu", None, 4, {"num_cpus": 4}, 2),
        ({"CPU": 0.0}, "auto", None, 4, {"num_cpus": 4}, 1),  # the one that an autoscaler brings a machine for
        ({"CPU": 8.0}, "auto", 7, 4, {"num_cpus": 4}, 7),  # so many were asked for
        ({"CPU": 999.0}, "auto", None, 1, {"num_cpus": 1}, 10),  # no more than there are batches
    ],
)
def test_one_worker_a_graphics_card_or_some_of_each_computer(resources, device, workers, cpus, share, count, tmp_path):
    ray = Ray(room=1)
    ray.resources = resources
    pool = on_ray._Pool(ray, run.Settings(str(tmp_path), device=device), workers, cpus)
    told = [record for records in pool.make([[Job(f"n{i}")] for i in range(10)]) for record in records]
    assert sum(record["state"] == "done" for record in told) == 10
    assert len(ray.made) == count
    repeats = {"max_restarts": 0, "max_task_retries": 0}
    assert ray.shares == [{**share, **repeats}] * count


@pytest.mark.parametrize("note", ["none", "gone", "there"])
def test_a_cluster_that_was_ended_without_a_word_is_not_waited_for(note, tmp_path, monkeypatch):
    """Its address stays noted, and Ray would try for a quarter of an hour."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    asked = []
    ray = SimpleNamespace(init=lambda address, **_: asked.append(address), exceptions=SimpleNamespace(RayError=Lost))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if note == "gone":
            server.close()
        if note != "none":
            (tmp_path / "ray").mkdir()
            (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{port}")
        on_ray.connect(ray, "auto")
    assert asked == ["local" if note == "gone" else "auto"]
