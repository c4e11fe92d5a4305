"""What all suites share: their switches, and the tables that drills print."""

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--thorough"):
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


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
