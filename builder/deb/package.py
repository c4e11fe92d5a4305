"""The Debian package: a staged copy of the tree, stdeb, dpkg-buildpackage."""

import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from builder.core import cache, inputs, paths
from builder.core.command import output, program
from builder.core.errors import BuildError
from builder.core.inputs import Inputs
from builder.core.needs import File, Package, Program
from builder.core.paths import DIST, ROOT
from builder.core.progress import say, step
from builder.deb import assets, translations

# Everything that goes into the package.
_INPUTS = ("setup.cfg", "LICENSE", "microblog", "debian")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.mo", "vendor")
# Debian's own Python and tools, whatever stands before them in the caller's PATH:
# only Debian's setuptools knows where Debian keeps its modules.
_PYTHON = File("/usr/bin/python3", "python3")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# The date inside the package where git knows none: 2026-01-01.
_FALLBACK_EPOCH = 1767225600
_LOG = "microblog.build.log"
_ROOM = 100 << 20
# What dpkg-checkbuilddeps asks for by name is in the tree's Build-Depends, or essential to all builds.
_BUILD_PACKAGE = Program("dpkg-buildpackage", "dpkg-dev")
NEEDS = (
    _BUILD_PACKAGE,
    Package("build-essential"),
    Package("debhelper"),
    Package("dh-python"),
    Package("po-debconf"),
    Package("python3-all"),
    Package("python3-setuptools"),
    # Not needed to be root.
    Program("fakeroot", "fakeroot"),
    # The last commit's date.
    Program("git", "git"),
    _PYTHON,
)


def version() -> str:
    """The version in setup.cfg, as Debian writes it."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return setup["metadata"]["version"]


def dependencies(deb: Path) -> list[str]:
    """The names of the packages that a .deb depends on; of alternatives the first."""
    depends = output([program("dpkg-deb", "dpkg"), "--field", deb, "Depends"])
    # python3-flask (>= 2.0.1), python3:any, debconf (>= 0.5) | debconf-2.0: deb-control(5), Depends.
    return sorted({re.split(r"[\s(:|]", clause.strip())[0] for clause in depends.split(",")} - {""})


def made_from() -> Inputs:
    """All that goes into the package, and the code that builds it."""
    return inputs.of({}, _input_files(), [Path(__file__)])


def build(fresh: bool = False) -> Path:
    """Build the package, unless it is there already for the same inputs.

    The same inputs at the same commit make the same file, bit by bit.

    :param fresh: build in any case.
    :return: ``dist/microblog_<version>_all.deb``.
    :raises BuildError: if a tool is missing or a step fails; the log stays in ``dist/``.
    """
    result = DIST / f"microblog_{version()}_all.deb"
    wanted = made_from()
    paths.make_own(DIST)
    with cache.lock(DIST / ".microblog.lock", "building the package"):
        record = _record(result)
        # The digest, and the checksum of what was made: a copy of it may have been cut short.
        whole = result.is_file() and record.is_file()
        if whole and not fresh and record.read_text() == f"{wanted.digest} {cache.sha256_file(result)}":
            say(f"{result.name} is up to date")
        else:
            inputs.explain(result.name, _inputs_beside(result), wanted)
            _make(result, wanted)
    return result


def _record(result: Path) -> Path:
    return result.with_name(f".{result.name}.digests")


def _inputs_beside(result: Path) -> Path:
    return result.with_name(f".{result.name}.{inputs.SUFFIX}")


def _make(result: Path, wanted: Inputs) -> None:
    cache.need_space(DIST, _ROOM, "building the package", "Free some space there")
    cache.need_space(
        Path(tempfile.gettempdir()), _ROOM, "building the package", "Name another: export TMPDIR=DIR"
    )
    with (
        step("Building the package", f"Built {result.name}"),
        tempfile.TemporaryDirectory(prefix="microblog-deb-") as scratch,
    ):
        built = _build_in(Path(scratch))
        # Copied beside its final name first: a rename is all or nothing.
        partial = DIST / f".{result.name}.partial"
        shutil.copyfile(built, partial)
        _record(result).unlink(missing_ok=True)
        partial.replace(result)
        wanted.write(_inputs_beside(result))
        cache.write_text(_record(result), f"{wanted.digest} {cache.sha256_file(result)}")


def _build_in(scratch: Path) -> Path:
    """Stage, debianize and build below ``scratch``.

    :return: the .deb there.
    """
    tree = scratch / "microblog"
    _stage(tree)
    environment = {
        "PATH": _PATH,
        "HOME": str(scratch),
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(_epoch()),
        # Tests are run on the tree, and on machines that have the package.
        "DEB_BUILD_OPTIONS": "nocheck",
    }
    log = DIST / _LOG
    with log.open("wb") as output:
        _run(
            [str(_PYTHON.path), "setup.py", "--command-packages=stdeb.command", "debianize"],
            tree,
            # stdeb alone, not what else lives beside it.
            {**environment, "PYTHONPATH": str(_stdeb(scratch))},
            output.fileno(),
        )
        _finish(tree / "debian")
        _run(
            [_BUILD_PACKAGE.path, "--build=binary", "--unsigned-source", "--unsigned-changes"],
            tree,
            environment,
            output.fileno(),
        )
    return scratch / f"microblog_{version()}_all.deb"


def _input_files() -> Iterator[Path]:
    for name in _INPUTS:
        path = ROOT / name
        if path.is_dir():
            for folder, folders, files in os.walk(path):
                folders[:] = sorted(set(folders) - _LEFT_OUT(folder, folders))
                for file in sorted(set(files) - _LEFT_OUT(folder, files)):
                    yield Path(folder, file)
        elif path.exists():
            yield path


def _stage(tree: Path) -> None:
    """Copy what the package is made of, with fresh times, and what a build adds to it."""
    tree.mkdir()
    for name in ("setup.cfg", "LICENSE"):
        shutil.copyfile(ROOT / name, tree / name)
    for name in ("microblog", "debian"):
        shutil.copytree(ROOT / name, tree / name, ignore=_LEFT_OUT, copy_function=shutil.copy)
    # The long description in debian/control is plain text, README.md is not.
    shutil.copyfile(ROOT / "debian" / "description.txt", tree / "README.md")
    assets.install(tree / "microblog" / "static")
    translations.compile_all(tree / "microblog" / "translations")
    (tree / "setup.py").write_text("from setuptools import setup\n\nsetup()\n")
    # setuptools before 62 reads no "**" in package_data; this it has always read.
    (tree / "MANIFEST.in").write_text("graft microblog\nglobal-exclude *.py[co]\n")


def _stdeb(scratch: Path) -> Path:
    """A directory to import stdeb from, and nothing else."""
    spec = importlib.util.find_spec("stdeb")
    if spec is None or spec.origin is None:
        raise BuildError("stdeb is not installed", "run this through ./build.py, which installs it")
    path = scratch / "python"
    path.mkdir()
    (path / "stdeb").symlink_to(Path(spec.origin).parent)
    return path


def _finish(debian: Path) -> None:
    """Mend what stdeb writes and has no setting for."""
    # A native package: our versions are the package's, without a revision.
    changelog = debian / "changelog"
    changelog.write_text(changelog.read_text().replace(f"({version()}-1)", f"({version()})", 1))
    (debian / "source" / "format").write_text("3.0 (native)\n")
    control = debian / "control"
    text = control.read_text().replace("\nHomepage: None\n", "\n", 1)
    control.write_text(
        text.replace("\nStandards-Version:", "\nRules-Requires-Root: no\nStandards-Version:", 1)
    )
    with (debian / "rules").open("a") as rules:
        rules.write("\ninclude debian/overrides.mk\n")


def _epoch() -> int:
    """The time of the last commit to what goes into the package, in seconds."""
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "log", "-1", "--format=%ct", "--", *_INPUTS,
               "builder/deb"]  # fmt: skip
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        answer = ""
    return int(answer) if answer else _FALLBACK_EPOCH


def _run(command: list[str], cwd: Path, environment: dict[str, str], output: int) -> None:
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
    )
    if done.returncode:
        name = next(word for word in reversed(command) if not word.startswith("-"))
        raise BuildError(f"{name} failed (exit code {done.returncode})", f"The whole log: {DIST / _LOG}")
