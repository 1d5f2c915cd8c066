"""Shared by the tests of the installation."""

import pytest
from wheel_shop import Shop


@pytest.fixture
def shop(tmp_path):
    """An index of packages on this computer, empty as yet."""
    found = Shop(tmp_path / "shop")
    yield found
    found.close()
