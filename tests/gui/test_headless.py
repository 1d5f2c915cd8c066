"""The examples of the guide in the installed Blender, without a window: ``blender --background``."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import docs_page
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if docs_page.blocks(page)]


@pytest.mark.skipif(shutil.which("blender") is None, reason="no Blender is installed here")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_run_in_background(tmp_path, page):
    fake = [sys.executable, str(ROOT / "tests" / "fake_backend.py")]
    settings = {"page": str(page), "root": str(ROOT), "backend": fake}
    script = str(ROOT / "tests" / "docs_page.py")
    command = ["blender", "--background", "--factory-startup", "--python", script, "--", json.dumps(settings)]
    env = os.environ | {"BLENDER_USER_RESOURCES": str(tmp_path / "user"), "PWD": str(tmp_path), "MOMUG_FAKE_LLAMO": "1"}
    env.pop("PYTHONPATH", None)
    beside = str(Path(shutil.which("blender")).parent)  # Debian's Blender takes the Python that PATH finds first
    env["PATH"] = beside + os.pathsep + env.get("PATH", "")
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert f"RAN {len(docs_page.blocks(page))}" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]
    assert list(tmp_path.glob("*.blend"))
