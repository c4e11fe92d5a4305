"""What all suites share: the switch for the long drills."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="add the long drills")
