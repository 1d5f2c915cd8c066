"""Shared by all tests: what can run in this interpreter, and the folder of sample data beside the repository.

tests/unit and tests/protocol run in every environment, tests/backend only where PyTorch is, tests/blender only where
bpy is.
"""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDS = {"backend": "torch", "blender": "bpy"}

collect_ignore = [folder for folder, module in NEEDS.items() if importlib.util.find_spec(module) is None]


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than about ten seconds")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Captured motion and rigs that lie beside the repository where it is developed; the test is skipped elsewhere."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no sample data at {folder}")
    return folder
