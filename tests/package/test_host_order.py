"""The folders of ``microblog/host`` stand in an order, and none reaches one above or beside it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.core import paths

HOST = paths.ROOT / "microblog/host"
# Those of one rank know nothing of each other.
RANKS = (
    ("machine",),
    ("site",),
    ("database",),
    ("backups",),
    ("updates",),
    ("extras", "health", "card", "handmade"),
    ("plan",),
    ("setup",),
    ("agent",),
)
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
# What it may see of the application outside: settings, models and what they need, nothing of the web.
OUTSIDE = {
    "",
    "beginning",
    "claiming",
    "config",
    "database",
    "errors",
    "host",
    "idle",
    "ipv6",
    "mailer",
    "models",
    "names",
    "own_authority",
    "printable",
    "proof",
    "protocol",
    "renewing",
    "revisions",
    "visit",
}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder(path: Path) -> str:
    return path.relative_to(HOST).parts[0].removesuffix(".py")


FILES = sorted(path for path in HOST.rglob("*.py") if path != HOST / "__init__.py")


def test_every_folder_has_its_rank() -> None:
    assert {folder(path) for path in FILES} == set(RANK)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOST)))
def test_no_folder_reaches_one_above_it(path: Path) -> None:
    own = folder(path)
    for name in imports(path):
        first, _, rest = name.partition(".")
        if first != "microblog":
            continue
        one = rest.partition(".")[0]
        module = paths.ROOT / "microblog" / one
        assert one in OUTSIDE or not (module.is_dir() or module.with_suffix(".py").exists()), name
        if rest.startswith("host."):
            other = rest.split(".")[1]
            assert other == own or RANK[other] < RANK[own], f"{path.relative_to(HOST)} imports {name}"


def test_a_purge_has_all_that_its_program_imports() -> None:
    """It runs when the package's files are gone, from a copy."""
    kept = (paths.ROOT / "debian/microblog.prerm").read_text(encoding="utf-8")
    wanted = ["microblog.host.machine.ledger"]
    for module in wanted:
        path = Path(*module.split(".")).with_suffix(".py")
        assert f"{path} " in kept
        for name in imports(paths.ROOT / path):
            if (paths.ROOT / Path(*name.split(".")).with_suffix(".py")).exists() and name not in wanted:
                wanted.append(name)
    assert len(wanted) > 2
