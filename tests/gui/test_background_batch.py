"""Tables of jobs in the installed Blender, without a window: both ways that the page about batches names."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.skipif(shutil.which("blender") is None, reason="no Blender is installed here"),
    pytest.mark.skipif(os.name == "nt", reason="stands in for the backend's Python with a shell script"),
]


@pytest.fixture
def blender(tmp_path):
    """``blender("--python", ...)`` in the background, with a backend that needs no model; what it said."""
    backend = tmp_path / "python"
    backend.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT / "tests" / "fake_backend.py"}"\n', encoding="utf-8")
    backend.chmod(0o755)
    beside = str(Path(shutil.which("blender")).parent)  # Debian's Blender takes the Python that PATH finds first
    env = os.environ | {
        "BLENDER_USER_RESOURCES": str(tmp_path / "user"),
        "MOMUG_BACKEND_PYTHON": str(backend),
        "PATH": beside + os.pathsep + os.environ.get("PATH", ""),
    }
    env.pop("PYTHONPATH", None)

    def run(*words: object) -> tuple[int, str]:
        command = ["blender", "--background", "--factory-startup", *map(str, words)]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=400)
        return done.returncode, done.stdout + done.stderr

    return run


def done(folder: Path) -> list[str]:
    found = map(json.loads, (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
    return sorted(record["job"] for record in found if record.get("state") == "done")


def test_a_table_by_script_and_by_expression_and_the_captions_of_what_came(tmp_path, blender):
    table, first, second = tmp_path / "jobs.csv", tmp_path / "first", tmp_path / "second"
    table.write_text("name,prompt,seconds,seed\nshots/walk,a person walks forward,2,7\nwrong,,2,7\n", encoding="utf-8")
    script = ROOT / "blender_addon" / "batch.py"
    words = ("--jobs", table, "--out", first, "--formats", "blend,fbx,npz")
    code, said = blender("--python", script, "--", *words)
    assert code == 3 and "1 done" in said and "wrong failed" in said, said
    assert sorted(path.name for path in (first / "shots").iterdir()) == ["walk.blend", "walk.fbx", "walk.npz"]
    assert done(first) == ["shots/walk"]

    words = ["--jobs", str(table), "--out", str(second), "--formats", "fbx"]
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from blender_addon import batch; batch.main({words!r})"
    code, said = blender(first / "shots" / "walk.blend", "--python-expr", code)  # the open file is the character
    assert "1 done" in said and (second / "shots" / "walk.fbx").is_file(), said
    assert done(second) == ["shots/walk"]

    captions = tmp_path / "captions.csv"
    code, said = blender("--python", script, "--", "caption-batch", first, "--out", captions)
    assert code == 0, said
    with open(captions, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["file"] for row in rows) == ["shots/walk.blend", "shots/walk.fbx"]
    assert all("walks forward" in row["caption"] for row in rows), rows
