"""What a result is made from: hashed to know whether it is still good, kept beside it for people to read.

The code counts that the step's modules import, directly or not (:func:`builder.core.needs.closure`), so
that nobody keeps a list of it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from builder.core import cache, needs, paths, progress

SUFFIX = "inputs.json"
_MISSING = object()


@dataclass(frozen=True)
class Inputs:
    """Values, and files by their names."""

    values: dict[str, Any]
    """What can be written as JSON."""
    files: dict[str, str] = field(default_factory=dict)
    """Name -> SHA-256, and whether it can be run."""

    @property
    def digest(self) -> str:
        """A hash of all of it, in hexadecimal."""
        return hashlib.sha256(json.dumps(vars(self), sort_keys=True).encode()).hexdigest()

    def write(self, path: Path) -> None:
        """Write it for people, and for :func:`explain`."""
        cache.write_json(path, vars(self))


def of(
    values: Mapping[str, Any], files: Iterable[Path] = (), code: Iterable[ModuleType | Path] = ()
) -> Inputs:
    """The inputs of a step.

    :param files: files and directories (whole trees, less byte code) whose names and contents count.
    :param code: the modules that do it; what they import counts, too.
    """
    modules = [Path(str(one.__file__)) if isinstance(one, ModuleType) else one for one in code]
    noted = {}
    for named in [*files, *needs.closure(modules, folders=False)]:
        for path in sorted(named.rglob("*")) if named.is_dir() else [named]:
            if path.is_file() and "__pycache__" not in path.parts:
                run = " (a program)" if path.stat().st_mode & 0o111 else ""
                noted[_name(path, named)] = cache.sha256_file(path) + run
    # As JSON has it: tuples are lists.
    return Inputs(json.loads(json.dumps(dict(values))), dict(sorted(noted.items())))


def _name(path: Path, named: Path) -> str:
    top = paths.ROOT if path.is_relative_to(paths.ROOT) else named.parent
    return path.relative_to(top).as_posix()


def changed(earlier: Path, now: Inputs) -> list[str]:
    """The names of what is another than it was; none where that can't be told.

    :param earlier: a file that :meth:`Inputs.write` wrote.
    """
    try:
        before = json.loads(earlier.read_text())
        old, new = ({**_flat(one["values"]), **one["files"]} for one in (before, vars(now)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return sorted(name for name in old | new if old.get(name, _MISSING) != new.get(name, _MISSING))


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of what a value has in it, as ``image.memory_mb``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": one for inner, one in _flat(value).items()}
        else:
            found[name] = value
    return found


def explain(what: str, earlier: Path | None, now: Inputs) -> None:
    """With ``--debug``, say which inputs of a result changed since it was made."""
    names = changed(earlier, now) if earlier else []
    if names:
        progress.detail(f"{what} is not up to date. Changed: {', '.join(names)}")
