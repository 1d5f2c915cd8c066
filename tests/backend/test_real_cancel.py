"""The real server with a small, random model: jobs that are cancelled at any moment, and models that come and go."""

import random
from collections import Counter
from pathlib import Path

from waiting import wait

from blender_addon.client import CANCELLED, DONE
from tests.backend.test_real_faults import WALK, ask, environment, linux, memory, serve, walk  # noqa: F401

JOBS, FIRST = 120, 40  # all, and those after which nothing new is expected to stay


@linux
def test_cancelled_at_random_moments(serve):  # noqa: F811
    """Each job ends as done or cancelled, in the same process, whose memory, files and threads stay as they are."""
    session, rng, ends, held = serve(), random.Random(20261123), Counter(), []
    assert ask(session).state == DONE
    process = session._link.process.pid

    def look() -> tuple[int, int, int]:
        folder = Path(f"/proc/{process}")
        return memory(process), len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir()))

    for number in range(JOBS):
        if number % 20 == 19:
            assert wait(session.submit("unload")).state == DONE
        if rng.random() < 0.3:
            job = session.submit("caption", {"model": "momug", "fps": 30.0}, walk(rng.choice([40, 80])))
        else:
            fields = {"seconds": rng.choice([1.0, 2.0, 4.0]), "variations": rng.choice([1, 4]), "seed": number}
            job = session.submit("generate", {**WALK, **fields})
        job.wait(rng.choice([0.0, rng.uniform(0.0, 0.05), rng.uniform(0.0, 0.5)]))
        job.cancel()
        assert wait(job).state in (DONE, CANCELLED), (number, job.state, job.error)
        ends[job.state] += 1
        if number == FIRST:
            assert ask(session).state == DONE
            held.append(look())
    assert ask(session).state == DONE
    held.append(look())
    print(dict(ends), held)
    assert ends[CANCELLED] > JOBS // 6 and ends[DONE] > 0, ends
    assert session._link.process.pid == process
    (bytes_before, *before), (bytes_after, *after) = held
    assert after == before and bytes_after - bytes_before < 16 << 20, held
