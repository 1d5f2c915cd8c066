"""One Blender window for all window tests, put back to an empty scene before each."""

import shlex
import sys

import pytest
from gui import window as windows

FAKE = windows.ROOT / "tests" / "fake_backend.py"


class Open:
    """The window that is open, if any: a test that failed may leave it in any state, so the next one gets another."""

    def __init__(self):
        self.context = self.window = None

    def get(self) -> windows.Window:
        if self.window is None:
            self.context = windows.opened()
            self.window = self.context.__enter__()
            self.window.open_sidebar()
        return self.window

    def close(self) -> None:
        if self.window is not None:
            self.window = None
            self.context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def opened():
    reason = windows.missing()
    if reason:
        pytest.skip(reason)
    held = Open()
    yield held
    held.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.passed = outcome.get_result().passed


@pytest.fixture
def window(opened, request):
    """The window with the sidebar open at the tab MoMug, an empty scene at 24 fps and the fake backend. Whatever a test
    does, Blender's console stays free of errors."""
    window = opened.get()
    window.fresh()
    backend(window)
    before = len(window.console())
    yield window
    told = window.console()[before:]
    if not getattr(request.node, "passed", False):
        opened.close()
    assert "Traceback" not in told, told


def backend(window: windows.Window, mode: str = "ok", steps: int = 4, delay: float = 0.02) -> None:
    """Let the window start the fake backend from now on; see tests/fake_backend.py."""
    command = [sys.executable, str(FAKE), "--mode", mode, "--steps", str(steps), "--delay", str(delay)]
    window.do(f"addon('preferences').get().backend_command = {shlex.join(command)!r}")


@pytest.fixture
def use_backend():
    """``use_backend(window, mode, steps, delay)``, see above."""
    return backend
