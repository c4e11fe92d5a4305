"""Breaks the application in small ways, one at a time, and asks its tests whether they notice.

A mutation is one change of one place: a comparison turned, a ``not`` dropped, ``and`` for ``or``, a number
one off, a condition always or never true, a ``return`` of nothing, a statement or a guard left out. Of all
there are in microblog/, some are drawn by chance (by a seed, which is printed), and tried in a copy of the
checkout, on SQLite. The tests that run the line, as coverage.py saw it in a first run, have to fail.

What nobody notices is either no change to anybody (a cache that keeps more, a message to a log), or a test
that is missing. Outside of web/ and models/, only lines that tests without a machine run are changed.
"""

import ast
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.core import paths
from builder.core.progress import say, step

# What tests of the application read of the checkout.
_COPIED = (
    "build.py",
    "builder",
    "debian",
    "docs",
    "images",
    "microblog",
    "packer",
    "ruff.toml",
    "setup.cfg",
    "tests",
)
_TESTS = [
    "tests/app",
    *(
        f"tests/package/test_{name}.py"
        for name in ("backup_units", "doctor_units", "host_order", "host_units")
    ),
    "tests/package/test_ledger.py",
]
# They run the others once more, look at what code is called and not at what it does, or want the repository,
# for the version before.
_LEFT_OUT = ["tests/app/test_versions.py", "tests/app/test_expand.py"]
# They draw many texts each: asked when nobody else has noticed.
_LAST = ("test_properties", "test_server_properties", "test_crawl", "test_migrations")
_SKIPPED = ("migrations",)
# Of the rest, what a line does may show on a server alone, where the package's tests look.
_WHOLE = ("microblog/web/", "microblog/models/")

_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """One change. :ivar start: :ivar end: of the bytes of the file that ``text`` takes the place of."""

    file: str
    line: int
    start: int
    end: int
    old: str
    text: str

    def __str__(self) -> str:
        old, new = (" ".join(part.split()) for part in (self.old, self.text))
        return f"{self.file}:{self.line}: {_short(old)}  ->  {_short(new)}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


class _Finder(ast.NodeVisitor):
    """All the changes of one file."""

    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source = file, source
        self.found: list[Mutation] = []
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def _add(self, node: Any, text: str) -> None:
        start = self._lines[node.lineno - 1] + node.col_offset
        end = self._lines[node.end_lineno - 1] + node.end_col_offset
        old = self.source[start:end].decode()
        if old != text:
            self.found.append(Mutation(self.file, node.lineno, start, end, old, text))

    def _text(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.source.decode(), node) or ast.unparse(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) == 1 and type(node.ops[0]) in _TURNED:
            turned = ast.Compare(node.left, [_TURNED[type(node.ops[0])]()], node.comparators)
            self._add(node, f"({ast.unparse(turned)})")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._add(node, f"({ast.unparse(ast.BoolOp(other, node.values))})")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._add(node, f"({self._text(node.operand)})")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Add | ast.Sub):
            other: ast.operator = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            self._add(node, f"({ast.unparse(ast.BinOp(node.left, other, node.right))})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._add(node, str(not node.value))
        elif isinstance(node.value, int):
            self._add(node, f"({node.value + 1})")
            self._add(node, f"({node.value - 1})")

    def visit_If(self, node: ast.If) -> None:
        if self._text(node.test) == "TYPE_CHECKING":
            return
        self._add(node.test, "True")
        self._add(node.test, "False")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._add(node.test, "True")
        self._add(node.test, "False")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and self._text(node.value) != "None":
            self._add(node, "return None")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._add(node, "pass")

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._add(node, "pass")
            self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._add(node, "pass")
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for decorator in node.decorator_list:
            if self._text(decorator).endswith("_required"):
                # Any that changes nothing.
                self._add(decorator, "staticmethod")
        if not node.name.startswith("__repr"):
            for part in (node.args, *node.body, *node.decorator_list):
                self.visit(part)

    # What is said of types is not run.
    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        pass


def mutations(root: Path) -> list[Mutation]:
    """All there are, in the order of the files and of their text."""
    found = []
    for path in sorted((root / "microblog").rglob("*.py")):
        file = str(path.relative_to(root))
        if not any(part in _SKIPPED for part in Path(file).parts):
            finder = _Finder(file, path.read_bytes())
            finder.visit(ast.parse(finder.source))
            found += finder.found
    return found


def measure(count: int, seed: int, within: str = "microblog") -> dict[str, Any]:
    """Try some.

    :param count: how many.
    :param seed: which.
    :param within: files or folders, with commas, as ``microblog/web,microblog/models``.
    :return: ``seed``, ``noticed``, ``tried``, and ``mutations``: each one's place, change, whether it was
        noticed, and by how many tests it could have been.
    """
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="microblog-mutate-", dir=shared if os.access(shared, os.W_OK) else None
    ) as scratch:
        root = Path(scratch) / "checkout"
        _copy(root)
        with step("Running the tests as they are", "Ran the tests as they are") as now:
            runs = _coverage(root)
            # A change may make a loop endless: no part of the tests takes longer than all of them, counted.
            seconds = now.seconds
        chosen = _chosen(root, runs, count, seed, within)
        say(f"Seed {seed}: {len(chosen)} mutations")
        results = []
        for number, mutation in enumerate(chosen, 1):
            tests = runs.get((mutation.file, mutation.line), [])
            noticed = bool(tests) and _notice(root, mutation, tests, seconds)
            results.append({
                "file": mutation.file, "line": mutation.line, "old": mutation.old, "new": mutation.text,
                "noticed": noticed, "tests": len(tests),
            })  # fmt: skip
            say(f"{number}/{len(chosen)} {'noticed' if noticed else 'NOT NOTICED'}  {mutation}")
    noticed = sum(result["noticed"] for result in results)
    return {"seed": seed, "tried": len(results), "noticed": noticed, "mutations": results}


def table(figures: dict[str, Any]) -> str:
    """The figures as people read them."""
    lines = [
        f"{'noticed' if one['noticed'] else 'NOT NOTICED':<12} {one['file']}:{one['line']}  "
        f"{_short(' '.join(one['old'].split()))}  ->  {_short(one['new'])}"
        for one in figures["mutations"]
    ]
    return "\n".join([*lines, f"{figures['noticed']} of {figures['tried']} noticed (seed {figures['seed']})"])


def _copy(root: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "out", ".git")
    for name in _COPIED:
        if (paths.ROOT / name).is_dir():
            shutil.copytree(paths.ROOT / name, root / name, ignore=ignored)
        else:
            root.mkdir(exist_ok=True)
            shutil.copy(paths.ROOT / name, root / name)


def _chosen(
    root: Path, runs: dict[tuple[str, int], list[str]], count: int, seed: int, within: str
) -> list[Mutation]:
    there = [
        one
        for one in mutations(root)
        if any(one.file == part or one.file.startswith(f"{part.rstrip('/')}/") for part in within.split(","))
        and (one.file.startswith(_WHOLE) or (one.file, one.line) in runs)
    ]
    dice = random.Random(seed)  # noqa: S311 - chance, no secret
    return sorted(dice.sample(there, min(count, len(there))), key=lambda one: (one.file, one.start))


def _environment(root: Path) -> dict[str, str]:
    named = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    # No compiled files: two changes within a second, of the same length, look the same to Python.
    return {**named, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(root.parent)}


def _pytest(root: Path, *arguments: str) -> list[str]:
    return [
        "-m",
        "pytest",
        "-c",
        str(root / "setup.cfg"),
        f"--rootdir={root}",
        "-q",
        "-p",
        "no:cacheprovider",
        *arguments,
    ]


def _coverage(root: Path) -> dict[tuple[str, int], list[str]]:
    """Which tests run a line: those of a line that is run when its module is imported, all of the module."""
    import coverage

    settings = root / "coverage.ini"
    settings.write_text(
        f"[run]\nsource = {root / 'microblog'}\ndynamic_context = test_function\ncore = ctrace\n"
    )
    left_out = [f"--ignore={name}" for name in _LEFT_OUT]
    command = [
        sys.executable,
        "-m",
        "coverage",
        "run",
        f"--rcfile={settings}",
        *_pytest(root, *left_out, *_TESTS),
    ]
    done = subprocess.run(
        command, cwd=root, env=_environment(root), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"the tests fail as they are:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
    data = coverage.CoverageData(str(root / ".coverage"))
    data.read()
    found: dict[tuple[str, int], list[str]] = {}
    for path in data.measured_files():
        file = str(Path(path).relative_to(root))
        lines = {
            line: {node for context in contexts if (node := _node(root, context))}
            for line, contexts in data.contexts_by_lineno(path).items()
        }
        whole = set().union(*lines.values())
        for line, tests in lines.items():
            found[file, line] = sorted(tests or whole, key=lambda node: _order(file, node))
    return _spread(root, found)


def _spread(root: Path, found: dict[tuple[str, int], list[str]]) -> dict[tuple[str, int], list[str]]:
    """The lines of a statement of several belong to its first, coverage may name just one of them; and what a
    function keeps (a cache) shows in tests that did not run it themselves."""
    for path in (root / "microblog").rglob("*.py"):
        file = str(path.relative_to(root))
        whole = sorted({test for place, tests in found.items() if place[0] == file for test in tests})
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.stmt) and (file, node.lineno) in found:
                body = getattr(node, "body", None)
                end = body[0].lineno - 1 if body else node.end_lineno or node.lineno
                for line in range(node.lineno, end + 1):
                    found.setdefault((file, line), found[file, node.lineno])
            if isinstance(node, ast.FunctionDef) and any(
                "cache" in ast.unparse(one) for one in node.decorator_list
            ):
                for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                    if (file, line) in found:
                        found[file, line] = sorted(whole, key=lambda test: _order(file, test))
    return found


def _node(root: Path, context: str) -> str | None:
    """``test_web.test_home`` as pytest wants it; None for what is no test, as Flask's ``test_client``."""
    module, _, name = context.rpartition(".")
    stem = module.rpartition(".")[2]
    for folder in ("app", "package"):
        if (root / "tests" / folder / f"{stem}.py").exists() and name.startswith("test_"):
            return f"tests/{folder}/{stem}.py::{name}"
    return None


def _order(file: str, node: str) -> tuple[int, str]:
    """First the tests that are named as the module, then others, at last the long ones."""
    stem = Path(node.partition("::")[0]).stem
    if stem in _LAST:
        return 2, node
    return (0 if stem == f"test_{Path(file).stem}" else 1), node


def _notice(root: Path, mutation: Mutation, tests: list[str], seconds: float) -> bool:
    """Whether one of the tests fails with it."""
    path = root / mutation.file
    source = path.read_bytes()
    path.write_bytes(source[: mutation.start] + mutation.text.encode() + source[mutation.end :])
    try:
        return any(_fails(root, part, seconds) for part in _parts(tests))
    finally:
        path.write_bytes(source)


def _parts(tests: list[str]) -> Iterator[list[str]]:
    """A few first, which mostly do: an unlucky change is known in seconds."""
    yield tests[:40]
    if tests[40:]:
        yield tests[40:]


def _fails(root: Path, tests: list[str], seconds: float) -> bool:
    listed = root / "tests-to-run"
    listed.write_text("\n".join(tests))
    process = subprocess.Popen(
        [sys.executable, *_pytest(root, "-x", f"@{listed}")],
        cwd=root, env=_environment(root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        return process.wait(seconds) != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        # What a test has started, too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> None:
    count, seed, within, as_json = json.loads(sys.argv[1])
    figures = measure(count, seed, within)
    print(json.dumps(figures, indent=2) if as_json else table(figures))


if __name__ == "__main__":
    main()
