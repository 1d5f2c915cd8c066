"""Motion files through the pipe: the real server reads and writes them without a model."""

import numpy as np
import pytest
from waiting import wait

from blender_addon.client import DONE, FAILED, protocol

pytest.importorskip("scipy")


def motion(frames=40):
    rotations = np.zeros((frames, 22, 4), np.float32)
    rotations[..., 0] = 1
    translation = np.zeros((frames, 3), np.float32)
    translation[:, 1], translation[:, 2] = protocol.REST_PELVIS_HEIGHT, np.arange(frames) / 30
    return {
        "rotations": rotations,
        "translation": translation,
        "rest_offsets": np.asarray(protocol.REST_OFFSETS, np.float32),
    }


def test_written_and_read(stub, tmp_path):
    session = stub()
    for name, body in (("a.npz", 22), ("a.bvh", 0), ("a.npy", 22)):
        path = str(tmp_path / name)
        job = wait(session.submit("write", {"path": path, "fps": 30.0}, motion()))
        assert job.state == DONE, job.error
        job = wait(session.submit("read", {"path": path, "fps": 24.0}))
        assert job.state == DONE, job.error
        frames = job.header["motions"][0]["frames"]
        assert job.header["motions"][0]["fps"] == 24.0 and 30 <= frames <= 33
        assert job.arrays["0/rotations"].shape == (frames, 22, 4) and len(job.header["body"]) == body
        if body:
            assert job.arrays["body/rotations"].shape == (frames, body, 4)
        assert job.arrays["0/translation"][-1, 2] > 1.1
    assert "loaded stub" not in session.log_tail(50)


def test_features_and_their_statistics(stub, tmp_path):
    session, path = stub(), str(tmp_path / "f.npy")
    assert wait(session.submit("write", {"path": path, "fps": 30.0, "features": True}, motion())).state == DONE
    features = np.load(path, allow_pickle=False)
    assert features.shape == (26, 263)
    for name, value in (("mean", features.mean(0)), ("std", features.std(0) + 1)):
        np.save(tmp_path / f"{name}.npy", value)
    np.save(path, (features - features.mean(0)) / (features.std(0) + 1))
    told = {"mean": str(tmp_path / "mean.npy"), "std": str(tmp_path / "std.npy")}
    job = wait(session.submit("read", {"path": path, "fps": 20.0, **told}))
    assert job.state == DONE and job.arrays["0/translation"][-1, 2] > 1.0


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("read", {"path": "a.npz", "fps": 30.0}, "whole path"),
        ("read", {"path": "", "fps": 30.0}, "no name"),
        ("read", {"path": "/nowhere/a.npz", "fps": 30.0}, "no such file"),
        ("read", {"path": "/nowhere/a.txt2", "fps": 30.0}, "cannot be read"),
        ("read", {"path": "/nowhere/a.npz", "fps": 0.0}, "frame rate"),
        ("read", {"path": "/nowhere/a.npz", "fps": 30.0, "up": "X"}, "Y or Z"),
        ("read", {"path": "/nowhere/a.bvh", "fps": 30.0, "mean": "/m.npy"}, "Mean and std"),
        ("write", {"path": "/nowhere/a.bvh", "fps": 30.0, "features": True}, "features"),
        ("write", {"path": "/nowhere/a.txt2", "fps": 30.0}, "cannot be written"),
        ("write", {"path": "/nowhere/deep/a.bvh", "fps": 30.0}, "could not be written"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(stub, kind, fields, words):
    job = wait(stub().submit(kind, fields, motion() if kind == "write" else None))
    assert job.state == FAILED and words in job.error and "\n" not in job.error
