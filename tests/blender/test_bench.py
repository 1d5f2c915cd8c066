"""The measuring script runs without trained weights, and says what it left out and why. No time is asserted."""

import json
import os
import subprocess
import sys


def test_rows_and_reasons(root, tmp_path):
    env = os.environ | {
        "MOMUG_BACKEND_PYTHON": sys.executable,  # enough for hello, which needs no PyTorch
        "MOMUG_CHECKPOINTS": str(tmp_path / "none"),
        "BLENDER_USER_RESOURCES": str(tmp_path / "user"),
    }
    bench = [sys.executable, root / "tests" / "bench.py", "--json"]
    done = subprocess.run(
        [*bench, tmp_path / "made" / "rows.json"], env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "made" / "rows.json").read_text(encoding="utf-8"))
    alone = subprocess.run([*bench, "-", "--only", "backend"], env=env, capture_output=True, text=True, timeout=600)
    assert alone.returncode == 0, alone.stderr
    assert [row["what"] for row in json.loads(alone.stdout)] == [row["what"] for row in rows if row["value"] is None]
    measured = {row["what"]: row["value"] for row in rows if row["value"] is not None}
    assert len(measured) == 10 and min(measured.values()) > 0
    left_out = [row for row in rows if row["value"] is None]
    assert left_out and all("installed" in row["note"] for row in left_out)
    assert any("stream" in row["what"] for row in left_out)
    assert all(row["what"] in done.stdout for row in rows)
