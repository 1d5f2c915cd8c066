"""uv brings a Python where none is found: fetched from the index, verified, and used for our folder alone."""

import json
import os
import sys
import zipfile
from pathlib import Path

import pytest
from wheel_shop import sha256

from blender_addon.client import bring_python, environment, interpreters
from blender_addon.client.environment import EnvironmentProblem

pytestmark = pytest.mark.skipif(os.name == "nt", reason="stands in for uv with a shell script")

BRINGS = """#!/bin/sh
# uv python install VERSION --install-dir FOLDER ...
mkdir -p "$5/cpython-$3.99-linux/bin"
cp "$0" "$5/uv-was-here"
ln -s {python} "$5/cpython-$3.99-linux/bin/python$3"
echo "$@" > "$5/words"
"""
FAILS = """#!/bin/sh
echo "error: Failed to download https://example.org: dns error: failed to lookup address: Name or service not known" >&2
exit 2
"""


@pytest.fixture
def uv(shop, tmp_path, monkeypatch):
    """``uv(script)``: the index serves a package uv with that program, and the table knows it."""

    def serve(script: str) -> Path:
        shop.folder.mkdir(parents=True, exist_ok=True)
        wheel = shop.folder / "uv-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("uv-1.0.data/scripts/uv", script)
            archive.writestr("uv/__init__.py", "raise RuntimeError('never imported')")
        entry = {"name": "uv", "version": "1.0", "licence": "MIT", "grows": 2.0}
        entry["wheels"] = [[wheel.name, wheel.stat().st_size, sha256(wheel)]]
        table = tmp_path / "wheels.json"
        table.write_text(json.dumps({"packages": [], "base": [], "tools": [entry]}))
        monkeypatch.setattr(environment.paths, "WHEELS", table)
        return wheel

    monkeypatch.setenv("MOMUG_CACHE", str(tmp_path / "cache of a user"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", shop.url)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    return serve


def silent(*_words, **_named) -> None:
    return None


def test_uv_brings_a_python_into_our_cache(uv, tmp_path, monkeypatch):
    uv(BRINGS.format(python=sys.executable))
    bring_python.fetch_python(Path(sys.executable), silent)
    folder = tmp_path / "cache of a user" / "python"
    words = (folder / "words").read_text().split(" ")
    assert words[:3] == ["python", "install", bring_python.VERSION] and "--no-bin" in words
    places = [places for places, _ in interpreters._known_places(bring_python.VERSION)]
    assert places[0] == folder, "what was brought is not looked for first"
    found = list(folder.glob(f"cpython-{bring_python.VERSION}*/bin/python{bring_python.VERSION}"))
    assert len(found) == 1
    assert not list(environment.downloads_folder().glob("*.part"))


def test_uv_that_cannot_is_told_with_the_way_out(uv):
    uv(FAILS)
    with pytest.raises(EnvironmentProblem, match="No Python could be fetched with uv") as caught:
        bring_python.fetch_python(Path(sys.executable), silent)
    assert caught.value.code == "no_network" and "python.org" in caught.value.hint
    assert "package index" not in caught.value.message, "uv asks another server"


def test_another_file_in_place_of_uv_is_never_run(uv, tmp_path):
    wheel = uv(FAILS)
    wheel.write_bytes(wheel.read_bytes() + b"something else")
    with pytest.raises(EnvironmentProblem, match="not the expected one"):
        bring_python.fetch_python(Path(sys.executable), silent)
    assert not (tmp_path / "cache of a user" / "uv").exists()
