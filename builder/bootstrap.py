"""What must be there before anything else: the Python packages, and the distribution's that a verb needs.

Only the standard library is imported here: this runs before there is anything else.
"""

import configparser
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from builder.bake import packer_release
from builder.core import cache, needs, paths, usage
from builder.core.errors import BuildError
from builder.core.needs import Package
from builder.core.progress import step
from builder.deb import repository
from builder.dev import suites
from builder.ship import packages

# The extras of setup.cfg that each verb needs, or a verb with a word.
EXTRAS: dict[str, tuple[str, ...]] = {
    "publish": ("build", "publish"),
    "repo": ("build", "publish"),
    "test": ("build", "publish", "test"),
    "bench": ("build", "test"),
    "fleet try": ("build", "test"),
}
_DEFAULT_EXTRAS = ("build",)
_OLDEST_PYTHON = (3, 10)
# The verbs whose first word is an image that is there.
_OF_AN_IMAGE = ("boot", "check", "flash", "vagrant", "export")
_WHOLE = "whole"
# What an environment takes, in bytes: 120 to 160 MB, and the tests' 690.
_ROOM = {False: 1 << 28, True: 1 << 30}
# Debian's own Python comes without what a virtual environment begins with.
_VENV = [Package("python3-venv")] if sys.base_prefix == "/usr" and shutil.which("dpkg-query") else []


def prepare(arguments: list[str]) -> None:
    """Install what the command line needs, then go on in build.py's own environment.

    Does not return where the environment is not this process's: it is replaced.

    :param arguments: of build.py, without its name.
    :raises BuildError: something can't be installed.
    """
    if sys.version_info < _OLDEST_PYTHON:
        raise BuildError(
            f"Python {sys.version.split()[0]} is too old",
            "Use 3.10 or newer: Debian 12, Ubuntu 22.04 or later",
        )
    words = [argument for argument in arguments if not argument.startswith("-")]
    verb = words[0] if words else ""
    of_verb = usage.given(verb, arguments) if verb in usage.verbs() else []
    word = of_verb[0] if of_verb else ""
    extras = EXTRAS.get(verb) or EXTRAS.get(f"{verb} {word}", _DEFAULT_EXTRAS)
    asks = not {"-h", "--help"}.isdisjoint(arguments)
    mistake = usage.wrong(verb, arguments) if verb in usage.verbs() else f"there is no verb {verb!r}"
    if asks or mistake:
        # Who only asks, or mistypes, gets an answer, and nothing is installed for it.
        extras = _DEFAULT_EXTRAS
        if not _whole(_place(extras)):
            if not asks and verb:
                print(f"build.py: {mistake}\n", file=sys.stderr)
            print(usage.text(verb), file=sys.stdout if asks else sys.stderr)
            sys.exit(0 if asks else 2)
        wanted = []
    else:
        _look_at(verb, arguments)
        wanted = packer_release.settle(needs.of_verb(verb, word), arguments)
        if needs.missing(wanted) or not (_inside_one_with(extras) or _whole(_place(extras))):
            _look_for(verb, arguments)
    if not _whole(_place(extras)):
        wanted += _VENV
    if verb == "test" and not asks and not mistake:
        # There may be no such suite. Root installs for a suite when it begins: so each is run with what it
        # says itself that it needs.
        of_suites = suites.needs_of(usage.given(verb, arguments))
        if os.geteuid() != 0:
            wanted += of_suites
    needs.have(wanted)
    if _inside_one_with(extras):
        return
    python = _environment(extras) / "bin" / "python"
    os.execv(python, [str(python), str(paths.ROOT / "build.py"), *arguments])  # noqa: S606


def _look_at(verb: str, arguments: list[str]) -> None:
    """Say of what can't be made, or says nothing, that it is so, before anything is installed for it.

    :raises BuildError: as the verb itself would have it.
    """
    usage.refuse_what_says_nothing(verb, arguments)

    def last(option: str) -> str | None:
        return next(reversed(usage.values(verb, arguments, option)), None)

    if verb == "repo":
        repository.look_at(last("--url"))
        packages.look_at(last("--to"))
    if verb != "images":
        return
    try:
        from builder.bake import wishes
        from builder.defs import definition
    except ModuleNotFoundError:
        # Python 3.10 has nothing yet to read a definition with.
        return

    def file(option: str) -> Path | None:
        named = last(option)
        return Path(named) if named else None

    wishes.look_at(
        usage.given(verb, arguments) or definition.usual(),
        base=last("--base"),
        base_file=file("--base-file"),
        laid=file("--overlay"),
        packages=usage.values(verb, arguments, "--package"),
        url=last("--repository"),
        key=file("--key"),
        day=last("--snapshot") or "",
    )


def _look_for(verb: str, arguments: list[str]) -> None:
    """See that what a verb is to work on is there: where it is not, nothing is installed for it.

    :raises BuildError: as the verb itself would have it.
    """
    try:
        from builder.dev import benchmarks
        from builder.disk import format as formats
        from builder.results import library
    except ModuleNotFoundError:
        return
    words = usage.given(verb, arguments)
    if not {*usage.values(verb, arguments, "--format")} <= {*formats.names()}:
        # A mistake, which the verb itself tells, with those that there are.
        return
    if verb in _OF_AN_IMAGE:
        library.place(words[0] if words else "cloud")
    elif verb == "bench":
        benchmarks.find(words[0])


def _inside_one_with(extras: tuple[str, ...]) -> bool:
    """Whether this process runs in an environment that has these extras, and maybe more."""
    here = Path(sys.prefix).resolve()
    return any(
        set(extras) <= set(those) and here == _place(those).resolve()
        for those in (_DEFAULT_EXTRAS, *EXTRAS.values())
    )


def requirements(extras: tuple[str, ...]) -> list[str]:
    """The pinned requirements of setup.cfg's extras."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(paths.ROOT / "setup.cfg", encoding="utf-8")
    wanted = []
    for extra in extras:
        lines = setup["options.extras_require"][extra].splitlines()
        wanted += [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return wanted


def _place(extras: tuple[str, ...]) -> Path:
    """Where the environment with the extras is, or will be: one for each set of versions, in the cache."""
    wanted = requirements(extras)
    digest = hashlib.sha256("\n".join([sys.version, sys.base_prefix, *wanted]).encode()).hexdigest()[:12]
    return paths.cache_dir() / f"venv-{'-'.join(extras)}-{digest}"


def _whole(environment: Path) -> bool:
    """Whether an environment was made to its end."""
    return (environment / _WHOLE).exists()


def _environment(extras: tuple[str, ...]) -> Path:
    """A virtual environment with the extras, made if it is not there."""
    wanted = requirements(extras)
    environment = _place(extras)
    # Made under its own name, which its scripts hold.
    with cache.lock(environment.with_suffix(".lock"), "installing Python packages"):
        if not _whole(environment):
            cache.need_space(environment.parent, _ROOM["test" in extras], "installing Python packages")
            with step("Installing Python packages", f"Installed {len(wanted)} Python packages"):
                _make(environment, wanted)
            (environment / _WHOLE).touch()
    return environment


def _make(environment: Path, wanted: list[str]) -> None:
    shutil.rmtree(environment, ignore_errors=True)
    base_python = getattr(sys, "_base_executable", sys.executable)
    pip = [
        str(environment / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    for command in ([base_python, "-m", "venv", str(environment)], [*pip, *wanted]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise BuildError(
                f"the Python environment can't be made: {''.join(said)}",
                "Is the Python package index reachable?",
            )
