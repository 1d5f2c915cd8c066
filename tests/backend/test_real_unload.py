"""The shipped models in a process of their own: what they take of the memory comes back when they are unloaded."""

import sys
from pathlib import Path

import pytest

from backend import paths
from blender_addon.client import DONE, Session, backend_command

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory of a process from /proc"),
]
PATIENCE = 600.0
ASKED = {"prompt": "a person walks forward", "seconds": 2.0, "seed": 1, "preset": "fast"}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    if not (paths.base_model_folder() / "model.safetensors").is_file():
        pytest.skip("the base language model is not installed: run python3 build.py setup")
    command, env = backend_command(sys.executable)
    limits = {"hello_timeout": PATIENCE, "hang_timeout": PATIENCE, "cancel_timeout": PATIENCE}
    started = Session(command, env, tmp_path_factory.mktemp("unload") / "backend.log", **limits)
    assert started.wait_ready(PATIENCE), started.failure
    yield started
    started.close()


def held(session: Session) -> float:
    """MiB of the backend's process."""
    status = Path(f"/proc/{session._link.process.pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def after(session: Session, kind: str, **fields: object) -> float:
    """MiB when a request is done."""
    job = session.submit(kind, fields)
    assert job.wait(PATIENCE) and job.state == DONE, job.error
    return held(session)


def test_unloading_gives_memory_back_and_a_cycle_leaves_nothing(session):
    known = {found["name"]: found for found in session.capabilities["models"]}
    turns = [name for name in ("momug", "motiongpt", "llamo", "momug") if known[name]["available"]]
    if len(turns) < 2:
        pytest.skip("no trained weights are installed")
    cycles = [(after(session, "generate", model=name, **ASKED), after(session, "unload")) for name in turns]
    print("MiB loaded and unloaded:", list(zip(turns, cycles, strict=True)))
    weights = (paths.base_model_folder() / "model.safetensors").stat().st_size / (1 << 20)
    assert min(loaded - left for loaded, left in cycles) > 0.8 * weights, cycles
    # libraries, and the code that they make for new shapes, stay for the next one
    assert cycles[-1][1] - cycles[0][1] < 0.3 * weights, cycles
