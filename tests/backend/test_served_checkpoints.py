"""Checkpoints that cannot be used, asked for through the pipe as the add-on does it: one sentence, the details in the
log, and the same process answers the next request once the files are right again."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE, wait

from backend.models.momug.model import save_checkpoint
from blender_addon.client import DONE, FAILED, Session

# the tiny base model has two layers; otherwise this is ``python -m backend serve``
SERVE = "from backend.language import text; text.TEXT_LAYERS = (1, 2); from backend import server; server.main()"
WALK = {"model": "momug", "prompt": "a person walks", "seconds": 1.0, "seed": 1}


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def other_base(checkpoint: Path, _base: Path) -> None:
    values = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    values["base"] = "0" * 64
    (checkpoint / "config.json").write_text(json.dumps(values), encoding="utf-8")


DAMAGES = {
    "wrong hash": (lambda checkpoint, _base: flip_a_byte(checkpoint / "head.safetensors"), "checkpoint_damaged"),
    "missing file": (lambda checkpoint, _base: (checkpoint / "codec.safetensors").unlink(), "checkpoint_missing"),
    "other base": (other_base, "base_mismatch"),
    "no base": (lambda _checkpoint, base: shutil.rmtree(base), "base_missing"),
}


@pytest.fixture
def served(make_model, tiny_base, tmp_path, root):
    """(session, checkpoint folder, base model folder) of a backend with a small random model."""
    checkpoint = tmp_path / "checkpoints" / "momug"
    save_checkpoint(make_model(), checkpoint)
    env = os.environ | {
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": "1",
        "MOMUG_CHECKPOINTS": str(checkpoint.parent),
        "MOMUG_BASE_MODEL": str(tiny_base),
    }
    session = Session([sys.executable, "-c", SERVE], env, tmp_path / "backend.log", hang_timeout=PATIENCE)
    yield session, checkpoint, tiny_base
    session.close()


def ask(session: Session):
    return wait(session.submit("generate", WALK))


def test_one_sentence_and_the_next_request_works(served):
    session, checkpoint, base = served
    assert session.wait_ready(PATIENCE), session.failure
    process = session._link.process.pid
    for name, (damage, code) in DAMAGES.items():
        kept = checkpoint.parent.parent / "kept"
        shutil.copytree(checkpoint, kept / "checkpoint")
        shutil.copytree(base, kept / "base")
        damage(checkpoint, base)
        job = ask(session)
        assert (job.state, job.code) == (FAILED, code), (name, job.error)
        assert job.error.endswith(".") and "\n" not in job.error and job.hint, name
        assert job.error in session.log_tail(20), name
        for wrong, right in ((checkpoint, kept / "checkpoint"), (base, kept / "base")):
            shutil.rmtree(wrong, ignore_errors=True)
            shutil.move(right, wrong)
        shutil.rmtree(kept)
    job = ask(session)
    assert job.state == DONE, job.error
    assert job.arrays["0/rotations"].shape == (30, 22, 4)
    assert session._link.process.pid == process, "it was restarted"


def test_weights_that_are_installed_while_the_backend_runs(served):
    session, checkpoint, _base = served
    elsewhere = checkpoint.with_name("not yet here")
    checkpoint.rename(elsewhere)
    job = ask(session)
    assert (job.state, job.code) == (FAILED, "checkpoint_missing")
    assert not session.capabilities["models"][0]["available"]
    elsewhere.rename(checkpoint)
    job = ask(session)
    assert job.state == DONE, job.error
    known = session.capabilities["models"][0]
    assert known["available"] and known["presets"]
