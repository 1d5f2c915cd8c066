"""build.py demo's script, from a prompt to five files, in a Blender of its own."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

NAMES = ("demo.blend", "demo.bvh", "demo.glb", "demo.npz", "demo.png")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in for the backend's Python is a shell script")


@pytest.fixture
def demo(root, tmp_path, fake_command):
    """``demo(*arguments, mode=...)``: run it with the fake backend; returns the finished process."""

    def run(*arguments, mode: str = "ok") -> subprocess.CompletedProcess:
        python = tmp_path / "backend python"
        python.write_text(f"#!/bin/sh\nexec {shlex.join(fake_command(mode))}\n", encoding="utf-8")
        python.chmod(0o755)
        return subprocess.run(
            [sys.executable, root / "blender_addon" / "demo.py", *map(str, arguments)],
            env={
                **os.environ,
                "MOMUG_BACKEND_PYTHON": str(python),
                "BLENDER_USER_RESOURCES": str(tmp_path / "user"),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def test_five_files_timings_and_a_caption(demo, tmp_path):
    out = tmp_path / "made here"
    done = demo("--prompt", "a person walks", "--seconds", "2", "--seed", "3", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in out.iterdir()) == sorted(NAMES)
    assert all((out / name).stat().st_size > 1000 for name in NAMES)
    assert (out / "demo.glb").read_bytes()[:4] == b"glTF" and (out / "demo.png").read_bytes()[1:4] == b"PNG"
    assert (out / "demo.bvh").read_text(encoding="utf-8").startswith("HIERARCHY")
    assert "Caption of the result: a person walks forward for" in done.stdout
    for phase in ("generate", "denoise", "apply", "contact sheet", "caption"):
        assert phase in done.stdout
    with np.load(out / "demo.npz", allow_pickle=False) as motion:
        assert abs(len(motion["trans"]) - 60) <= 1


def test_what_goes_wrong_is_one_sentence(demo, tmp_path):
    out = tmp_path / "out"
    for arguments, mode, words in (
        (["--prompt", "a walk"], "error", "The checkpoint of MoMug is not there."),
        (["--prompt", ""], "ok", "The prompt is empty"),
        (["--prompt", "a walk", "--rig", tmp_path / "nothing.fbx"], "ok", "nothing.fbx"),
    ):
        done = demo(*arguments, "--out", out, mode=mode)
        assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert not out.exists()


def test_the_demo_is_not_part_of_the_package(root):
    build = pytest.importorskip("build")
    assert "blender_addon/demo.py" in build.NOT_PACKED and Path(root / "blender_addon" / "demo.py").is_file()
