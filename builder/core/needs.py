"""What a verb needs of the distribution, read out of the code that uses it.

A need is declared where it is used, by a literal, and nowhere else:

    program("mke2fs", "e2fsprogs")               a program that is run
    Program("qemu-system-x86_64", "qemu-system-x86")
    File("/usr/share/ovmf/OVMF.fd", "ovmf")      a file that is read
    Package("build-essential")                   what only another program looks at
    Folder("tests/images")                       tests that are run, with all that they need
    Folder("builder/bake/methods")               modules of which one is found by its name

A verb of build.py needs what the modules need that its function imports, what those import, and so
on. Nothing but the standard library is imported here, and no module is run to be read: this is for
a machine on which nothing is installed yet.
"""

import ast
import functools
import importlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from builder.core import paths
from builder.core.errors import BuildError
from builder.core.progress import say, step

_CHECKOUT = Path(__file__).resolve().parent.parent.parent
_SEARCHED = ("/usr/sbin", "/sbin")
LISTS = Path("/var/lib/apt/lists")
"""What apt knows of the distribution's packages: empty on a new machine."""
# What apt-get says of its locks. On a new machine the system's own upgrades hold them for a while.
_LOCKED = ("E: Unable to lock ", "E: Unable to acquire the dpkg frontend lock", "E: Could not get lock ")
_PATIENCE_SECONDS = 900.0
_LOOK_AGAIN_SECONDS = 2.0
# What it wants where a power cut ended it.
_UNFINISHED = "dpkg --configure -a"


@dataclass(frozen=True)
class Program:
    """A program that is run, and the package that has it."""

    name: str
    package: str
    optional: bool = False
    """Some distributions have no such package: who needs it says what then."""

    @property
    def found(self) -> str | None:
        """Its full path, also where a user's PATH leaves out sbin."""
        return shutil.which(self.name, path=os.pathsep.join([os.environ.get("PATH", ""), *_SEARCHED]))

    @property
    def path(self) -> str:
        """Its full path.

        :raises BuildError: it is not installed; the hint names the package.
        """
        found = self.found
        if found is None:
            raise BuildError(f"{self.name} is not installed", f"apt-get install {self.package}")
        return found


@dataclass(frozen=True)
class File:
    """A file that is read, and the package that has it."""

    name: str
    package: str
    optional: bool = False

    @property
    def found(self) -> str | None:
        """Its path, if it is there."""
        return self.name if Path(self.name).exists() else None

    @property
    def path(self) -> Path:
        """Its path.

        :raises BuildError: it is not there; the hint names the package.
        """
        if not self.found:
            raise BuildError(f"{self.name} is not there", f"apt-get install {self.package}")
        return Path(self.name)


@dataclass(frozen=True)
class Package:
    """A package that another program asks for by its name."""

    name: str
    optional: bool = False

    @property
    def package(self) -> str:
        """Its name, as the other needs have it."""
        return self.name

    @property
    def found(self) -> str | None:
        """Its name if it is installed, or if something is that provides it (deb-control(5), Provides)."""
        return self.name if self.name in _installed() else None


@dataclass(frozen=True)
class Folder:
    """A folder of tests that is run, or of modules that are looked for.

    :ivar name: below the checkout.
    :ivar module: the one of it that is run; all, where it is empty.
    """

    name: str
    module: str = ""

    @property
    def path(self) -> Path:
        """Where it is."""
        return paths.ROOT / self.name

    @property
    def names(self) -> list[str]:
        """The names of its modules."""
        return sorted(file.stem for file in self.path.glob("[a-z]*.py"))

    def load(self, name: str) -> ModuleType:
        """One of its modules."""
        return importlib.import_module(".".join((*Path(self.name).parts, name)))


Need = Program | File | Package
_KINDS = {"program": Program, "Program": Program, "File": File, "Package": Package, "Folder": Folder}


def of_verb(verb: str, word: str = "") -> list[Need]:
    """What a verb of build.py needs; nothing where there is no such verb.

    A verb is a function there, decorated as a command. What stands before it is imported for all of
    them, and is not for one of them to need.

    :param word: what follows it. What VERB_WORD there imports is needed with that word alone.
    """
    tree = ast.parse((_CHECKOUT / "build.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if verb not in functions or not functions[verb].decorator_list:
        return []
    found = [functions[name] for name in (verb, f"{verb}_{word}") if name in functions]
    return _needs([file for node in found for file in _imported(node, _CHECKOUT)])


def of_folder(name: str) -> list[Need]:
    """What the tests of a folder need: the code that they call, and what they run themselves."""
    return _needs(_files(name))


def closure(files: Iterable[Path], folders: bool = True) -> list[Path]:
    """The files of this checkout that these import, directly or not, and themselves; sorted.

    :param folders: follow what is in a :class:`Folder` that they name, too.
    """
    seen: set[Path] = set()
    left = list(files)
    while left:
        file = left.pop()
        if file not in seen:
            seen.add(file)
            left += _reached(file, folders)
    return sorted(seen)


def _needs(files: Iterable[Path]) -> list[Need]:
    found = {
        need: None for file in closure(files) for need in _declared(file) if not isinstance(need, Folder)
    }
    return sorted(found, key=lambda need: (need.package, need.name))


@functools.cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


@functools.cache
def _reached(file: Path, folders: bool) -> tuple[Path, ...]:
    named = [need for need in _declared(file) if folders and isinstance(need, Folder)]
    return (*_imported(_tree(file), file.parent), *(path for need in named for path in _run(need)))


def _run(folder: Folder) -> list[Path]:
    """The files of a folder that are run."""
    return [folder.path / f"{folder.module}.py"] if folder.module else _files(folder.name)


def _files(folder: str) -> list[Path]:
    """The Python files of a folder, and what pytest loads before them if they are tests."""
    here = _CHECKOUT / folder
    above = [parent / "conftest.py" for parent in here.parents if parent.is_relative_to(_CHECKOUT)]
    return [*here.rglob("*.py"), *(path for path in above if path.is_file())]


def _imported(node: ast.AST, directory: Path) -> list[Path]:
    """The files that import statements below a node name: of this checkout, or beside the importer."""
    names = []
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            names += [alias.name for alias in found.names]
        elif isinstance(found, ast.ImportFrom) and found.module:
            names += [found.module, *(f"{found.module}.{alias.name}" for alias in found.names)]
    places = (_CHECKOUT, directory, _CHECKOUT / "tests")
    return [
        path
        for name in names
        for place in places
        for path in (place.joinpath(*name.split(".")).with_suffix(".py"),)
        if path.is_file()
    ]


@functools.cache
def _declared(file: Path) -> tuple[Need | Folder, ...]:
    """The needs that a file declares: calls with literal arguments."""
    if file == Path(__file__).resolve():
        return ()
    return tuple(_calls(_tree(file)))


def _calls(tree: ast.Module) -> Iterator[Need | Folder]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        kind = _KINDS.get(getattr(node.func, "id", getattr(node.func, "attr", "")))
        given = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        named = {k.arg: k.value.value for k in node.keywords if k.arg and isinstance(k.value, ast.Constant)}
        literal = len(given) == len(node.args) and len(named) == len(node.keywords)
        if kind and given and literal and all(isinstance(one, str) for one in given):
            yield kind(*given, **named)


@functools.cache
def _installed() -> frozenset[str]:
    """The names of the installed packages, and of what they provide."""
    if shutil.which("dpkg-query") is None:
        return frozenset()
    asked = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}, ${Provides}\n"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [
        line.removeprefix("installed ") for line in asked.stdout.splitlines() if line[:10] == "installed "
    ]
    # mail-transport-agent, default-mta (= 1.0)
    return frozenset(item.split()[0] for line in lines for item in line.split(",") if item.strip())


def missing(needs: Iterable[Need]) -> list[Need]:
    """Those of the needs that are not there."""
    return [need for need in needs if not need.found]


def have(needs: Iterable[Need]) -> None:
    """Install what is missing of these needs.

    :raises BuildError: this is not root: the hint is the command to run; or something can't be installed.
    """
    wanted = missing(needs)
    must = sorted({need.package for need in wanted if not need.optional})
    may = sorted({need.package for need in wanted if need.optional} - {*must})
    if shutil.which("apt-get") is None:
        if must:
            raise BuildError(
                f"missing: {' '.join(need.name for need in wanted if not need.optional)}",
                "Install them as this system does: there is no apt-get. All verbs run on Debian and Ubuntu",
            )
        return
    if not must and not any(_can_be_had(package) for package in may):
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *must, *map(_if_there_is, may)]
    if os.geteuid() != 0:
        raise BuildError(f"packages are missing: {' '.join([*must, *may])}", _as_root(command))
    count = len(must) + len(may)
    what = f"{count} package{'s' if count > 1 else ''} of the distribution"
    with step(f"Installing {what}", lambda: f"Installed {_now_there(wanted)}"):
        _install(command)
    _installed.cache_clear()
    for need in missing(need for need in wanted if not need.optional):
        raise BuildError(
            f"{need.name} is not there, although the package {need.package} is installed",
            "Is it another distribution's? Known to work: Debian 12 and 13, Ubuntu 22.04 and newer",
        )


def _now_there(wanted: Iterable[Need]) -> str:
    """The packages of needs that are there by now."""
    _installed.cache_clear()
    return " ".join(sorted({need.package for need in wanted if need.found}))


def _if_there_is(package: str) -> str:
    """What apt installs if it can be had, and else passes over: apt-patterns(7)."""
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    # On Debian 13 packer is a name without a package: apt ends there, unless such are left out.
    return f"?architecture({architecture})?exact-name({package})?not(?virtual)"


def _as_root(command: list[str]) -> str:
    """The hint that has root run apt, to be copied as it is into a shell."""
    sudo = "sudo " if shutil.which("sudo") else ""
    line = f"{sudo}apt-get update && {sudo}{shlex.join(command)}"
    return f"Run: {line}" if sudo else f"Run as root: {line}"


def may_be_had(package: str) -> bool:
    """Whether the distribution may have a package. A new machine has no lists yet: root fetches them."""
    if shutil.which("apt-get") is None:
        return False
    if not any(LISTS.glob("*_Packages*")):
        if os.geteuid() != 0:
            return True
        _apt(["apt-get", "update"])
    return _can_be_had(package)


def _can_be_had(package: str) -> bool:
    """Whether the distribution has a package of that name, as far as its lists were fetched."""
    policy = subprocess.run(
        ["apt-cache", "policy", package],
        capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"}, check=False,
    )  # fmt: skip
    return "Candidate:" in policy.stdout and "Candidate: (none)" not in policy.stdout


def _install(command: list[str]) -> None:
    """Fetch the lists, then run an ``apt-get install``."""
    # A new machine has no lists, and an old one's name versions that are gone.
    told = _apt(["apt-get", "update"])
    try:
        _apt(command)
    except BuildError as error:
        # It ends well where nothing could be fetched.
        unfetched = _first(told, "W: Failed to fetch ")
        if not unfetched:
            raise
        raise BuildError(
            f"{error.message} ({unfetched})",
            "Is the network there, and apt's proxy the right one? To try: apt-get update",
        ) from error


def _apt(command: list[str]) -> str:
    """Run apt-get to its end, after that of any other. Returns what it printed.

    :raises BuildError: it fails.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    waits = False
    while True:
        code, said = _ended(command)
        if code == 0:
            return said
        if not any(words in said for words in _LOCKED) or time.monotonic() > end:
            break
        if not waits:
            say("Waiting for another program that installs packages")
            waits = True
        time.sleep(_LOOK_AGAIN_SECONDS)
    reason = _first(said, "E: ") or "".join(said.strip().splitlines()[-1:])
    hint = _UNFINISHED if _UNFINISHED in said else shlex.join(command)
    raise BuildError(f"{' '.join(command[:2])} failed: {reason}", f"Run: {hint}")


def _ended(command: list[str]) -> tuple[int, str]:
    """The exit code of a program, and what it printed.

    Who interrupts waits until it has ended: dpkg, stopped half-way, refuses all that comes after. It is in a
    session of its own and prints to a file, so that it goes on whatever becomes of this process.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, env=environment,
            start_new_session=True,
        )  # fmt: skip
        try:
            process.wait()
        except BaseException:
            say("Waiting for apt to end: what is half installed can't be gone on with")
            # It ends at once while it fetches, and takes no notice once dpkg runs.
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
        printed.seek(0)
        return process.returncode, printed.read().decode(errors="replace")


def _first(text: str, mark: str) -> str:
    """The first line that begins so; empty if there is none."""
    return next((line.strip() for line in text.splitlines() if line.startswith(mark)), "")
