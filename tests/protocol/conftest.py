"""Sessions with a backend of the test's choice, ended when the test is over."""

import os
import sys
from pathlib import Path

import pytest

from blender_addon.client import Session

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def sessions(tmp_path):
    """A function (script, environment variables, limits) -> Session."""
    opened = []

    def open_session(script: str, variables: dict | None = None, **limits) -> Session:
        env = {**os.environ, **(variables or {})}
        defaults = {"hello_timeout": 60.0, "stop_timeout": 5.0, **limits}
        log_file = tmp_path / "logs with spaces é" / "backend.log"
        opened.append(Session([sys.executable, str(TESTS / script)], env, log_file, **defaults))
        return opened[-1]

    yield open_session
    for session in opened:
        session.close()


@pytest.fixture
def fake(sessions, tmp_path):
    """A function (mode of the fake backend, limits) -> Session."""

    def open_fake(mode: str = "ok", steps: int = 4, delay: float = 0.01, **limits) -> Session:
        variables = {"MOMUG_FAKE_MODE": mode, "MOMUG_FAKE_STEPS": str(steps), "MOMUG_FAKE_DELAY": str(delay)}
        variables["MOMUG_FAKE_MARK"] = str(tmp_path / "mark")
        return sessions("fake_backend.py", variables, **limits)

    return open_fake


@pytest.fixture
def stub(sessions):
    """A function (environment variables, limits) -> Session with the real server and a stub model."""
    return lambda variables=None, **limits: sessions("protocol/stub_server.py", variables, **limits)
