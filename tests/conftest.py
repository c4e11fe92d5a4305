"""What all suites share: their switches, and the tables that drills print."""

import os
from collections.abc import Iterator

import pytest

from builder.core import surroundings

_TABLE = "table: "


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="add the long drills")
    parser.addoption(
        "--everywhere",
        action="store_true",
        help="the application's tests on every database, and with every set of libraries",
    )


def pytest_configure() -> None:
    # As build.py does.
    surroundings.settle()


@pytest.hookimpl(hookwrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    if not config.getoption("--thorough"):
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
    yield
    items[:] = long_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)))


def long_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Each worker begins with its part of the long tests: at the end the others would wait for one of them.

    :param workers: whose shares are stretches of the same length (pytest-xdist's ``--dist worksteal``).
    """
    # The longest are dealt first, one to each.
    longest = sorted((item for item in items if _minutes(item)), key=_minutes, reverse=True)
    others = [item for item in items if not _minutes(item)]
    shares, begun = [], 0
    for worker in range(workers):
        begins = longest[worker::workers]
        size = len(items) * (worker + 1) // workers - len(items) * worker // workers - len(begins)
        shares += [*begins, *others[begun : begun + max(size, 0)]]
        begun += max(size, 0)
    return shares + others[begun:]


def _minutes(item: pytest.Item) -> float:
    marker = item.get_closest_marker("minutes")
    return float(marker.args[0]) if marker else 0


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Rows that tests have recorded, as the tables that docs/ has.

    ``record_property("table: TITLE", {column: value})`` is a row.
    """
    tables: dict[str, list[dict[str, object]]] = {}
    for kind in ("passed", "failed"):
        for report in terminalreporter.getreports(kind):
            for name, row in report.user_properties:
                if name.startswith(_TABLE):
                    tables.setdefault(name.removeprefix(_TABLE), []).append(row)
    for title, rows in tables.items():
        terminalreporter.section(title)
        for cells in [[*rows[0]], ["---"] * len(rows[0]), *(row.values() for row in rows)]:
            terminalreporter.write_line(f"| {' | '.join(map(str, cells))} |")


@pytest.fixture
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether the long drills are wanted."""
    return bool(request.config.getoption("--thorough"))
