"""``python -m tests.soak``: hundreds of mixed jobs through one backend; do memory and handles stay flat?

Not a test: with the real models 500 jobs take from a quarter of an hour on. After every 25 jobs the model is unloaded
and the next one is loaded. It prints a line every 25 jobs and at the end the slopes, and returns 1 when something went
wrong or grew. Needs the backend's interpreter and Linux.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from blender_addon.client import CANCELLED, DONE, FAILED, Session, backend_command, protocol

PROMPTS = ("a person walks forward", "a person runs in a circle", "someone sits down", "a person waves with both hands",
           "a person jumps 🦘", "شخص يمشي", "a person kicks with the left leg, then turns around")  # fmt: skip
BAD = ({"prompt": ""}, {"seconds": 1e9}, {"steps": 0}, {"preset": "none"}, {"model": "nobody"})
WARM = 0.4  # of the jobs, before memory counts: caches fill and every path has been taken
MEMORY_SLOPE, HANDLE_SLOPE = 0.10, 0.02  # MiB and handles a job


def measure(pid: int) -> tuple[float, int, int]:
    """(MiB, open files, threads) that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    held, threads = (int(status.partition(f"{name}:")[2].split()[0]) for name in ("VmRSS", "Threads"))
    return held / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir())), threads


def a_walk(frames: int) -> dict[str, np.ndarray]:
    """A figure in its rest pose that glides forward, as the arrays of a caption message."""
    rotations, place = np.zeros((frames, 22, 4), np.float32), np.zeros((frames, 3), np.float32)
    rotations[..., 0], place[:, 1], place[:, 2] = 1, 0.9, np.arange(frames) * 0.04
    return {
        "rotations": rotations,
        "translation": place,
        "rest_offsets": np.asarray(protocol.REST_OFFSETS, np.float32),
    }


def a_target(rng: random.Random) -> dict[str, np.ndarray]:
    """Given poses: the first frame and another one, as the arrays of a generate message."""
    walk = a_walk(rng.randrange(40, 120))
    joints = np.zeros(walk["rotations"].shape[:2], np.uint8)
    place = np.zeros(walk["translation"].shape, np.uint8)
    for frame in (0, rng.randrange(20, len(joints))):
        joints[frame], place[frame] = 1, 1
    given = {"rotations": walk["rotations"], "translation": walk["translation"], "joints": joints, "place": place}
    return {f"target/{name}": array for name, array in given.items()}


def a_job(rng: random.Random, model: dict, steps: int = 10) -> tuple[str, dict, dict]:
    """Kind, fields and arrays of one request that ``model`` (its capabilities) can answer."""
    kinds = {
        "generate": 35,
        "variations": 10,
        "timeline": 8,
        "loop": 5,
        "poses": 8,
        "caption": 20,
        "stream": 6,
        "bad": 8,
    }
    can = {*model["conditions"], "generate", "variations", "bad"}
    can |= {kind for kind, flag in (("caption", "captions"), ("stream", "streams")) if model.get(flag)}
    kind = rng.choices(*zip(*((kind, weight) for kind, weight in kinds.items() if kind in can), strict=True))[0]
    fields = {"model": model["name"]}
    if kind == "caption":
        return kind, {**fields, "fps": 30.0}, a_walk(rng.randrange(30, 300))
    presets = {preset["name"]: 5 for preset in model["presets"]} | {"fast": 80, "best": 15}
    fields |= {
        "prompt": rng.choice(PROMPTS),
        "seconds": rng.choice([None, 1.5, 3.0, round(rng.uniform(1.0, 10.0), 2)]),
        "seed": rng.randrange(2**31),
        "preset": rng.choices(*zip(*presets.items(), strict=True))[0],
    }
    if model["name"] == "momug":
        fields["steps"] = rng.randrange(2, steps + 1)
    if kind == "variations":
        fields["variations"] = rng.randrange(2, 5)
    elif kind == "timeline":
        fields["timeline"] = [{"prompt": prompt, "seconds": 2.0} for prompt in rng.sample(PROMPTS, 2)]
    elif kind == "loop":
        fields |= {"loop": True, "seconds": 2.0}
    elif kind == "poses":
        return kind, {**fields, "seconds": None}, a_target(rng)
    elif kind == "stream":
        fields["seconds"] = fields["seconds"] or 4.0
    elif kind == "bad":
        fields |= rng.choice(BAD)
    return kind, fields, {}


def finish(session: Session, job, patience: float = 900.0) -> bool:
    """Wait for the end of a job, and take the frames of a stream as they come; False when it does not end."""
    end = time.monotonic() + patience
    while not job.wait(0.1) and time.monotonic() < end:
        if job.incoming is not None and job.incoming.take():
            session.played(job, job.incoming.received)
    return job.finished


def slopes(samples: list[tuple]) -> list[float]:
    """How much (MiB, open files, threads) grow with each job, whatever each model holds by itself.

    samples: (number, model, MiB, open files, threads).
    """
    models = sorted({sample[1] for sample in samples})
    known = np.array([[sample[0], *(sample[1] == model for model in models)] for sample in samples], dtype=float)
    held = np.array([sample[2:] for sample in samples], dtype=float)
    return np.linalg.lstsq(known, held, rcond=None)[0][0].tolist()


def soak(python: str, jobs: int, seed: int, log: Path, steps: int, cycle: int, blocks: int, names: list[str]) -> dict:
    """Run the jobs, changing the model after every ``cycle`` of them; a record of what happened."""
    rng, ends, samples, wrong, unloads = random.Random(seed), Counter(), [], [], []
    command, env = backend_command(python)
    if blocks:
        command = [python, str(Path(__file__).with_name("soak_backend.py")), str(blocks)]
    session = Session(command, env, log, hang_timeout=600.0, cancel_timeout=300.0)
    try:
        if not session.wait_ready(300):
            raise SystemExit(f"The backend did not start: {session.failure}")
        known = {model["name"]: model for model in session.capabilities["models"] if model["available"]}
        turns = [known[name] for name in names if name in known]
        process = session._link.process.pid
        began = time.monotonic()
        for number in range(1, jobs + 1):
            model = turns[(number - 1) // cycle % len(turns)]
            kind, fields, arrays = a_job(rng, model, steps)
            asked = kind if kind in ("caption", "stream") else "generate"
            job = session.submit(asked, fields, arrays)
            cancelled = rng.random() < 0.15
            if cancelled:
                job.wait(rng.expovariate(0.5))
                job.cancel()
            if not finish(session, job):
                raise SystemExit(f"Job {number} ({kind}) did not end.")
            expected = {FAILED} if kind == "bad" else {DONE}
            if job.state not in expected | ({CANCELLED} if cancelled else set()):
                wrong.append(f"{number} {model['name']} {kind}: {job.state} {job.error}")
            ends[f"{model['name']} {kind} {job.state}"] += 1
            samples.append((number, model["name"], *measure(process)))
            if number % cycle == 0:
                before, *_ = measure(process)
                session.submit("unload").wait(300)
                unloads.append((model["name"], round(before), round(measure(process)[0])))
            if number % 25 == 0:
                held, files, threads = samples[-1][2:]
                told = f"{held:.0f} MiB, {files} files, {threads} threads, {time.monotonic() - began:.0f} s"
                print(f"{number}: {model['name']}, {told}, unloaded: {unloads[-1:]}", flush=True)
        same = session._link is not None and session._link.process.pid == process
    finally:
        session.close()
    memory, files, threads = slopes(samples[int(WARM * len(samples)) :])
    return {
        "jobs": jobs, "ends": dict(sorted(ends.items())), "wrong": wrong, "one process": same,
        "MiB, files, threads": {s[0]: [round(s[2]), s[3], s[4]] for s in samples if s[0] == 1 or s[0] % 100 == 0},
        "most MiB": round(max(s[2] for s in samples)), "slope over jobs": [int(WARM * jobs) + 1, jobs],
        "MiB a job": round(memory, 4), "files a job": round(files, 4), "threads a job": round(threads, 4),
        "MiB before and after unload": unloads, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=10, help="most denoising steps of a job: fewer make it shorter")
    parser.add_argument("--blocks", type=int, default=0, help="of the language model; 0 keeps all of them")
    parser.add_argument("--cycle", type=int, default=25, help="jobs between two unloads")
    parser.add_argument("--models", nargs="+", default=["momug", "motiongpt", "momug", "llamo"], help="in turn")
    parser.add_argument("--python", default=sys.executable, help="the backend's interpreter (default: this one)")
    parser.add_argument("--log", type=Path, default=Path("soak.log"))
    options = parser.parse_args()
    o = options
    record = soak(o.python, o.jobs, o.seed, o.log, o.steps, o.cycle, o.blocks, o.models)
    print(json.dumps(record, indent=1))
    flat = record["MiB a job"] < MEMORY_SLOPE and max(record["files a job"], record["threads a job"]) < HANDLE_SLOPE
    return 0 if flat and not record["wrong"] and record["one process"] else 1


if __name__ == "__main__":
    sys.exit(main())
