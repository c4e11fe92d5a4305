"""Run a benchmark: a module under tests/bench/ whose measure() gives figures and table() their table."""

import importlib.util
import json
from pathlib import Path

from builder.core.errors import BuildError
from builder.core.needs import Folder

_FOLDER = Folder("tests/bench")


def find(name: str) -> Path:
    """A benchmark's module.

    :raises BuildError: there is no such benchmark.
    """
    known = _FOLDER.names
    if name not in known:
        raise BuildError(f"there is no benchmark {name!r}", f"There are: {', '.join(known)}")
    return _FOLDER.path / f"{name}.py"


def run(name: str, as_json: bool) -> str:
    """Measure, and return the figures as a table or as JSON.

    :raises BuildError: there is no such benchmark, or what it measures fails.
    """
    spec = importlib.util.spec_from_file_location(f"bench_{name}", find(name))
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    figures = module.measure()
    return json.dumps(figures, indent=2) if as_json else str(module.table(figures))
