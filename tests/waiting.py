"""Waiting for other processes, as long as a busy machine may need."""

import time

PATIENCE = 300.0  # seconds; only a hang takes that long


def wait(job):
    """The job, once it has ended."""
    assert job.wait(PATIENCE), f"{job} did not end"
    return job


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
