"""What all suites share: their switches."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="add the long drills")
    parser.addoption(
        "--everywhere",
        action="store_true",
        help="the application's tests on every database, and with every set of libraries",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--thorough"):
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


@pytest.fixture
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether the long drills are wanted."""
    return bool(request.config.getoption("--thorough"))
