"""What must be there before anything else: the Python packages, and the apt packages of a verb.

Only the standard library is imported here: this runs before there is anything else.
"""

import configparser
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from builder import cache, paths
from builder.errors import BuildError
from builder.progress import step

# The apt packages that each verb needs, beside python3. One that a distribution
# does not have (Packer) is left to the step that needs it, which says how to get it.
_VENV = ("python3-venv",)
_DEB = (
    "dpkg-dev",
    "debhelper",
    "dh-python",
    "python3-all",
    "python3-setuptools",
    "po-debconf",
    "fakeroot",
    "git",
)
_MACHINE = (
    "qemu-system-x86",
    "qemu-system-arm",
    "qemu-utils",
    "openssh-client",
    "mtools",
    "dosfstools",
    "zstd",
)
_BAKE = (
    *_DEB, *_MACHINE, "packer", "mmdebstrap", "uidmap", "debian-archive-keyring", "apt-utils",
    "e2fsprogs", "fdisk", "gdisk", "qemu-user-static", "arch-test", "gnupg", "xz-utils",
)  # fmt: skip
# The application's libraries, as the package has them.
_APPLICATION = (
    "gunicorn", "python3-dotenv", "python3-flask", "python3-flask-login", "python3-flask-migrate",
    "python3-flask-sqlalchemy", "python3-flaskext.wtf", "python3-langdetect", "python3-pymysql",
)  # fmt: skip
APT_PACKAGES: dict[str, tuple[str, ...]] = {
    "deb": _DEB,
    "repo": (*_DEB, "reprepro", "gnupg"),
    "images": _BAKE,
    "boot": _MACHINE,
    "vagrant": ("qemu-utils", "mtools", "dosfstools"),
    "verify": ("gnupg",),
    "publish": (*_DEB, "qemu-utils", "packer"),
    "flash": ("bmap-tools", "zstd", "mtools", "fdisk", "e2fsprogs"),
    "check": (*_MACHINE, "e2fsprogs", "fdisk", "ovmf"),
    "test": (
        *_BAKE,
        "mariadb-server",
        "chromium",
        "npm",
        "lintian",
        "piuparts",
        "reprepro",
        "reprotest",
        "testssl.sh",
        "iproute2",
        "systemd-container",
        "ovmf",
        "bmap-tools",
        "minisign",
        "vagrant",
        "wrk",
    ),
    "bench": (*_BAKE, *_APPLICATION, "mariadb-server", "wrk"),
}
# Or does under another name: npm comes with some packages of Node.js.
_MAY_BE_MISSING = frozenset({"packer", "npm", "vagrant"})

# The extras of setup.cfg that each verb needs.
EXTRAS: dict[str, tuple[str, ...]] = {
    "publish": ("build", "publish"),
    "test": ("build", "publish", "test"),
    "bench": ("build", "test"),
}
_DEFAULT_EXTRAS = ("build",)
_OLDEST_PYTHON = (3, 10)


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
    verb = next((argument for argument in arguments if not argument.startswith("-")), "")
    asks = "--help" in arguments or verb not in APT_PACKAGES
    if not asks:
        _install_apt(APT_PACKAGES[verb])
    extras = EXTRAS.get(verb, _DEFAULT_EXTRAS) if not asks else _DEFAULT_EXTRAS
    if _inside_one_with(extras):
        return
    python = _environment(extras) / "bin" / "python"
    os.execv(python, [str(python), str(paths.ROOT / "build.py"), *arguments])  # noqa: S606


def _inside_one_with(extras: tuple[str, ...]) -> bool:
    """Whether this process runs in an environment that has these extras, and maybe more."""
    here = Path(sys.prefix).resolve()
    return any(
        set(extras) <= set(those) and here == _place(those).resolve()
        for those in (_DEFAULT_EXTRAS, *EXTRAS.values())
    )


def _missing(packages: tuple[str, ...]) -> list[str]:
    asked = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *packages],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    installed = {line.split()[0] for line in asked.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def _can_be_had(package: str) -> bool:
    policy = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False)
    return "Candidate:" in policy.stdout and "Candidate: (none)" not in policy.stdout


def _install_apt(packages: tuple[str, ...]) -> None:
    if shutil.which("dpkg-query") is None:
        raise BuildError("this is no Debian or Ubuntu: there is no dpkg", "Run build.py on one of those")
    missing = [
        package
        for package in _missing(packages)
        if not (package in _MAY_BE_MISSING and (shutil.which(package) or not _can_be_had(package)))
    ]
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        raise BuildError(f"packages are missing: {' '.join(missing)}", f"Run: sudo {' '.join(command)}")
    with step(f"Installing {len(missing)} packages of the distribution", f"Installed {' '.join(missing)}"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        for attempt in (["apt-get", "update"], command):
            done = subprocess.run(attempt, capture_output=True, text=True, env=environment, check=False)
            if done.returncode != 0:
                said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
                raise BuildError(
                    f"{' '.join(attempt[:2])} failed: {''.join(said)}", f"Run: {' '.join(command)}"
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


def _environment(extras: tuple[str, ...]) -> Path:
    """A virtual environment with the extras, made if it is not there."""
    wanted = requirements(extras)
    environment = _place(extras)
    # Made under its own name, which its scripts hold; whole when this is there.
    whole = environment / "whole"
    with cache.lock(environment.with_suffix(".lock"), "installing Python packages"):
        if not whole.exists():
            if os.geteuid() == 0 and sys.base_prefix == "/usr":
                _install_apt(_VENV)
            with step("Installing Python packages", f"Installed {len(wanted)} Python packages"):
                _make(environment, wanted)
            whole.touch()
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
                "Run: sudo apt-get install python3-venv; is the Python package index reachable?",
            )
