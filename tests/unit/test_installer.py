"""The installation as the add-on runs it: a process of its own, fed by an index on this computer with tiny wheels."""

import importlib.util
import json
import os
import signal
import sys
import time

import pytest
from waiting import PATIENCE, wait_until
from wheel_shop import PACKAGES, TORCH, write_extension, write_wheel

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bpy") is not None, reason="the same everywhere and slow: runs once, without Blender"
)

SLOW = "gguf"  # the wheel that takes its time


@pytest.fixture
def momug(tmp_path, monkeypatch, shop):
    """The packaged extension's ``client.installer``, whose model needs six tiny packages and one of 3 MB."""
    wheels = []
    for name in PACKAGES:
        # a local version, so that PyTorch's own index is not asked
        version, code = ("1.0+cpu", TORCH) if name == "torch" else ("1.0", "")
        wheels.append(write_wheel(shop.folder, name, version, code, 3_000_000 if name == SLOW else 0))
    addon = write_extension(tmp_path / "extensions", wheels)
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    monkeypatch.setenv("MOMUG_CACHE", str(tmp_path / "cache of a user"))
    monkeypatch.setenv("MOMUG_BASE_MODEL", str(base))
    monkeypatch.setenv("PIP_INDEX_URL", shop.url)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "MOMUG_BACKEND_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.syspath_prepend(str(addon.parent))
    for name in [name for name in sys.modules if name == "momug" or name.startswith("momug.")]:
        monkeypatch.delitem(sys.modules, name)
    module = importlib.import_module("momug.client.installer")
    module.addon = addon
    # no driver, and no index of PyTorch's own
    monkeypatch.setattr(module.setup.gpu, "cards", lambda: [])
    yield module
    for name in [name for name in sys.modules if name == "momug" or name.startswith("momug.")]:
        sys.modules.pop(name)


@pytest.fixture
def worker(momug, tmp_path):
    made = momug.Installer(tmp_path / "logs" / "install.log")
    made.python = momug.Path(sys.executable)
    yield made
    made.shutdown()


def ended(worker):
    """The state in which it ended; making an environment takes minutes on a very busy machine."""
    deadline = time.monotonic() + 4 * PATIENCE
    while worker.busy:
        assert time.monotonic() < deadline, f"waited in vain in {worker.phase}"
        time.sleep(0.02)
    return worker.state


def written_into(addon) -> list[str]:
    known = {"__init__.py", "paths.py", "protocol.py", "requirements.txt", "wheels.json"}
    return [str(f.relative_to(addon)) for f in addon.rglob("*") if "__pycache__" in f.parts] + [
        f.name for f in (addon / "backend").iterdir() if f.name not in known and f.name != "__pycache__"
    ]


def test_plan_install_repair_and_remove(momug, worker, shop, tmp_path):
    environment = momug.environment
    before = written_into(momug.addon)
    worker.look()
    assert ended(worker) == momug.PLANNED
    assert shop.asked == [], "something was downloaded before anybody agreed"
    assert len(worker.plan.items) == len(PACKAGES) and worker.plan.download > 3_000_000
    assert any("Free:" in line for line in momug.summary(worker.plan))
    assert worker.plan.items[0].licence == "MIT"

    seen = set()
    worker.start(momug.INSTALL, agreed=worker.plan.download)
    while worker.busy:
        seen.add(worker.phase)
        assert 0.0 <= worker.fraction <= 1.0 and worker.phase_text
        time.sleep(0.002)
    assert worker.state == momug.DONE, worker.problem
    assert {"download", "install"} <= seen
    python = environment.backend_python()
    assert python is not None and environment.read_record(environment.backend_folder())["checked"]
    assert not list(environment.downloads_folder().glob("*")), "downloads were left behind"
    assert written_into(momug.addon) == before, "something was written into the add-on's folder"

    # nothing to do
    asked = len(shop.asked)
    worker.start(momug.INSTALL)
    assert ended(worker) == momug.DONE and len(shop.asked) == asked

    # one damaged file: one package comes again
    module = next(environment.backend_folder().rglob("peft.py"))
    module.write_text("damaged")
    worker.start(momug.REPAIR)
    assert ended(worker) == momug.DONE, worker.problem
    assert module.read_text().startswith("VERSION")
    assert [name.split("-")[0] for name, _ in shop.asked[asked:]] == ["peft"]

    size = environment.size_of(environment.backend_folder())
    worker.start(momug.REMOVE)
    assert ended(worker) == momug.DONE
    assert worker.freed == size > 3_000_000
    assert environment.backend_python() is None and not environment.backend_folder().exists()


def test_cancel_in_the_middle_then_the_download_goes_on(momug, worker, shop):
    shop.pause, shop.block = 0.05, 1 << 16
    worker.start(momug.INSTALL)
    wait_until(lambda: worker.phase == "download" and worker.done > 500_000)
    began = time.monotonic()
    worker.cancel()
    process = worker._process
    wait_until(lambda: process is None or process.exit_code() is not None)
    took = time.monotonic() - began
    assert ended(worker) == momug.CANCELLED
    assert momug.environment.backend_python() is None
    part = next(momug.environment.downloads_folder().glob(f"{SLOW}*.part"))
    have = part.stat().st_size
    assert 0 < have < 3_000_000
    assert took < 30, "the process did not end at once"

    shop.pause = 0.0
    shop.asked.clear()
    worker.start(momug.INSTALL)
    assert ended(worker) == momug.DONE, worker.problem
    assert (f"{SLOW}-1.0-py3-none-any.whl", f"bytes={have}-") in shop.asked, shop.asked
    assert momug.environment.backend_python() is not None


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_killed_in_the_middle_then_started_again(momug, worker, shop):
    shop.pause = 0.05
    worker.start(momug.INSTALL)
    wait_until(lambda: worker.phase == "download" and worker.done > 300_000)
    os.killpg(worker._process.pid, signal.SIGKILL)
    assert ended(worker) == momug.FAILED
    assert worker.problem.code == "died" and "kept" in worker.problem.hint
    assert momug.environment.backend_python() is None, "a half-made environment was taken for whole"
    shop.pause = 0.0
    worker.start(momug.INSTALL)
    assert ended(worker) == momug.DONE, worker.problem
    assert momug.environment.backend_python() is not None


def test_a_wrong_hash_is_told_and_nothing_is_installed(momug, worker, shop):
    shop.damaged[f"{SLOW}-1.0-py3-none-any.whl"] = 9
    worker.start(momug.INSTALL)
    assert ended(worker) == momug.FAILED
    assert worker.problem.code == "wrong_hash" and SLOW in worker.problem.message
    assert momug.environment.backend_python() is None


def test_no_network_is_told_with_the_way_out(momug, worker, shop, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    worker.start(momug.INSTALL)
    assert ended(worker) == momug.FAILED
    assert worker.problem.code == "no_network" and "folder of wheels" in worker.problem.hint


def test_an_index_that_is_out_of_order_is_told(momug, worker, shop):
    shop.closed = 503
    worker.start(momug.INSTALL)
    assert ended(worker) == momug.FAILED
    assert worker.problem.code == "server" and "(HTTP 503)" in worker.problem.message
    assert "Try again later" in worker.problem.hint


def test_a_proxy_that_refuses_is_told(momug, worker, shop, monkeypatch):
    shop.closed = 407
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.invalid/simple")
    monkeypatch.setenv("HTTPS_PROXY", shop.url.removesuffix("/simple"))
    worker.start(momug.INSTALL)
    assert ended(worker) == momug.FAILED
    assert worker.problem.code == "proxy" and "HTTPS_PROXY" in worker.problem.hint
    assert momug.environment.backend_python() is None


def test_a_folder_of_wheels_needs_no_network(momug, worker, shop, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    folder = shop.folder
    worker.look(folder=folder)
    assert ended(worker) == momug.PLANNED and not worker.plan.missing and worker.plan.download == 0
    worker.start(momug.INSTALL, folder=folder)
    assert ended(worker) == momug.DONE, worker.problem
    assert shop.asked == [] and len(list(folder.glob("*.whl"))) == len(PACKAGES)


def test_a_folder_with_another_build_of_pytorch_will_do(momug, worker, shop):
    for file in shop.folder.glob("torch-*"):
        file.unlink()
    write_wheel(shop.folder, "torch", "1.0", TORCH)
    worker.look(folder=shop.folder)
    assert ended(worker) == momug.PLANNED and not worker.plan.missing


def test_missing_wheels_are_named_before_anything_is_made(momug, worker, shop):
    (shop.folder / "peft-1.0-py3-none-any.whl").unlink()
    worker.look(folder=shop.folder)
    assert ended(worker) == momug.PLANNED
    problem = momug.wheel_folder_problem(worker.plan)
    assert problem.code == "missing_wheels" and "peft-1.0" in problem.message
    worker.start(momug.INSTALL, folder=shop.folder)
    assert ended(worker) == momug.FAILED and worker.problem.code == "missing_wheels"


def test_a_damaged_wheel_in_the_folder_is_named(momug, worker, shop):
    file = shop.folder / "peft-1.0-py3-none-any.whl"
    file.write_bytes(file.read_bytes() + b"x")
    worker.start(momug.INSTALL, folder=shop.folder)
    assert ended(worker) == momug.FAILED
    assert worker.problem.code == "wrong_hash" and "peft" in worker.problem.message


def test_a_full_disk_is_told_before_anything_is_downloaded(momug, worker, shop):
    table = momug.addon / "backend" / "wheels.json"
    known = json.loads(table.read_text())
    known["packages"][0]["grows"] = 1e12  # larger than any disk
    table.write_text(json.dumps(known))
    worker.start(momug.INSTALL)
    assert ended(worker) == momug.FAILED
    assert worker.problem.code == "disk_full" and "too little disk space" in worker.problem.message
    assert shop.asked == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_fills_up_meanwhile_is_told(momug, worker, shop):
    downloads = momug.environment.downloads_folder()
    downloads.mkdir(parents=True)
    (downloads / f"{SLOW}-1.0-py3-none-any.whl.part").symlink_to("/dev/full")
    worker.start(momug.INSTALL)
    assert ended(worker) == momug.FAILED
    assert worker.problem.code == "disk_full" and "became full" in worker.problem.message


@pytest.mark.skipif(os.name == "nt", reason="a path of POSIX")
def test_a_cache_that_cannot_be_written_is_told(momug, worker, tmp_path, monkeypatch):
    monkeypatch.setenv("MOMUG_CACHE", os.devnull + "/momug")
    worker.start(momug.INSTALL)
    assert ended(worker) == momug.FAILED
    assert "cannot be written" in worker.problem.message or "could not be installed" in worker.problem.message
    assert worker.problem.hint


def test_a_computer_without_python_is_told(momug, worker, monkeypatch):
    worker.python = None
    problems = importlib.import_module("momug.client.problems")

    def none(*_versions):
        raise problems.NotOffered("Python 3.11 is needed and was not found.", "Install one.", "no_python")

    monkeypatch.setattr(momug.setup, "find_python", none)
    worker.look()
    assert ended(worker) == momug.FAILED and worker.problem.code == "no_python"
