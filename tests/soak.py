"""``python -m tests.soak``: hundreds of mixed jobs through one backend; do memory and handles stay flat?

Not a test: with the real model 500 jobs take from ten minutes on. It prints a line every 25 jobs and at the end the
slopes, and returns 1 when something went wrong or grew. Needs the backend's interpreter and Linux.
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
WARM = 0.3  # of the jobs, before memory counts: caches fill and every path has been taken
MEMORY_SLOPE, HANDLE_SLOPE = 0.10, 0.02  # MiB and handles a job


def measure(pid: int) -> tuple[float, int]:
    """(MiB, handles) that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    held = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    return held, len(list(Path(f"/proc/{pid}/fd").iterdir()))


def a_job(rng: random.Random, steps: int = 10) -> tuple[str, dict, dict]:
    """Kind, fields and arrays of one request, which denoises in 2 to ``steps`` steps."""
    fields = {"model": "momug"}
    kind = rng.choices(("generate", "variations", "timeline", "loop", "caption", "bad"), (40, 10, 10, 5, 25, 10))[0]
    if kind == "caption":
        frames = rng.randrange(30, 300)
        rotations = np.zeros((frames, 22, 4), np.float32)
        rotations[..., 0] = 1
        place = np.zeros((frames, 3), np.float32)
        place[:, 1:] = [0.9, 0]
        place[:, 2] = np.arange(frames) * 0.04
        offsets = np.asarray(protocol.REST_OFFSETS, np.float32)
        return kind, {**fields, "fps": 30.0}, {"rotations": rotations, "translation": place, "rest_offsets": offsets}
    fields |= {
        "prompt": rng.choice(PROMPTS),
        "seconds": rng.choice([None, 1.5, 3.0, round(rng.uniform(1.0, 10.0), 2)]),
        "seed": rng.randrange(2**31),
        "preset": rng.choices(("fast", "best", "full"), (80, 15, 5))[0],
        "steps": rng.randrange(2, steps + 1),
    }
    if kind == "variations":
        fields["variations"] = rng.randrange(2, 5)
    elif kind == "timeline":
        fields["timeline"] = [{"prompt": prompt, "seconds": 2.0} for prompt in rng.sample(PROMPTS, 2)]
    elif kind == "loop":
        fields |= {"loop": True, "seconds": 2.0}
    elif kind == "bad":
        fields |= rng.choice(BAD)
    return kind, fields, {}


def soak(python: str, jobs: int, seed: int, log: Path, steps: int, cycle: int, blocks: int) -> dict:
    """Run the jobs, unloading after every ``cycle`` of them; a record of what happened."""
    rng, ends, samples, wrong, unloads = random.Random(seed), Counter(), [], [], []
    command, env = backend_command(python)
    if blocks:
        command = [python, str(Path(__file__).with_name("soak_backend.py")), str(blocks)]
    session = Session(command, env, log, hang_timeout=600.0, cancel_timeout=300.0)
    try:
        if not session.wait_ready(300):
            raise SystemExit(f"The backend did not start: {session.failure}")
        process = session._link.process.pid
        began = time.monotonic()
        for number in range(1, jobs + 1):
            kind, fields, arrays = a_job(rng, steps)
            job = session.submit("caption" if kind == "caption" else "generate", fields, arrays)
            cancelled = rng.random() < 0.15
            if cancelled:
                job.wait(rng.expovariate(0.5))
                job.cancel()
            if not job.wait(900):
                raise SystemExit(f"Job {number} ({kind}) did not end.")
            expected = {FAILED} if kind == "bad" else {DONE}
            if job.state not in expected | ({CANCELLED} if cancelled else set()):
                wrong.append(f"{number} {kind}: {job.state} {job.error}")
            ends[f"{kind} {job.state}"] += 1
            samples.append((number, *measure(process)))
            if number % cycle == 0:
                before, _ = measure(process)
                session.submit("unload").wait(300)
                unloads.append((round(before), round(measure(process)[0])))
                session.submit("load", {"model": "momug"}).wait(600)
            if number % 25 == 0:
                told = f"{number}: {samples[-1][1]:.0f} MiB, {samples[-1][2]} handles, {time.monotonic() - began:.0f} s"
                print(told, flush=True)
        same = session._link is not None and session._link.process.pid == process
    finally:
        session.close()
    warm = np.array(samples[int(WARM * len(samples)) :], dtype=float)
    memory, handles = (float(np.polyfit(warm[:, 0], warm[:, column], 1)[0]) for column in (1, 2))
    return {
        "jobs": jobs, "ends": dict(sorted(ends.items())), "wrong": wrong, "one process": same,
        "MiB": [round(samples[0][1]), round(max(s[1] for s in samples)), round(samples[-1][1])],
        "handles": [samples[0][2], samples[-1][2]], "MiB a job": round(memory, 4), "handles a job": round(handles, 4),
        "MiB before and after unload": unloads, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=10, help="most denoising steps of a job: fewer make it shorter")
    parser.add_argument("--blocks", type=int, default=0, help="of the language model; 0 keeps all of them")
    parser.add_argument("--cycle", type=int, default=50, help="jobs between two unloads")
    parser.add_argument("--python", default=sys.executable, help="the backend's interpreter (default: this one)")
    parser.add_argument("--log", type=Path, default=Path("soak.log"))
    options = parser.parse_args()
    record = soak(options.python, options.jobs, options.seed, options.log, options.steps, options.cycle, options.blocks)
    print(json.dumps(record, indent=1))
    flat = record["MiB a job"] < MEMORY_SLOPE and record["handles a job"] < HANDLE_SLOPE
    return 0 if flat and not record["wrong"] and record["one process"] else 1


if __name__ == "__main__":
    sys.exit(main())
