"""The application's tests once more, on SQLite, with other libraries: the oldest that it is held
to, and the distributions' own. The environments are made once, and cached."""

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from database_servers import SOURCES

from builder.core.cache import scratch
from builder.core.paths import ROOT, cache_dir

OLDEST = Path(__file__).with_name("oldest.txt")
# What the tests need besides; their own versions are of no interest.
TOOLS = ["aiosmtpd==1.4.6", "click==8.1.8", "hypothesis==6.148.8", "pytest==9.0.2", "setuptools==80.9.0"]
PACKAGES = (
    "gunicorn,python3-flask,python3-flask-login,python3-flask-migrate,python3-flask-sqlalchemy,"
    "python3-flaskext.wtf,python3-pymysql,python3-dotenv,python3-langdetect,python3-fido2,"
    "python3-aiosmtpd,python3-babel,python3-hypothesis,python3-mastodon,python3-pytest,python3-setuptools,git,openssl"
)
# What a run reads of the checkout.
TESTS = ("tests/app", *(f"tests/{file.name}" for file in ROOT.glob("tests/*.py")))
NEEDED = ("builder", "microblog", *TESTS, "setup.cfg")
COMMAND = [
    *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"),
    *("-m", "not once", "tests/app"),
]


pytestmark = pytest.mark.minutes(3)


@pytest.fixture(autouse=True)
def everywhere(request):
    if not request.config.getoption("everywhere"):
        pytest.skip("only with --everywhere")


def made_once(name, key, make):
    """The directory of this name in the cache, made by ``make(partial)`` unless it is there."""
    path = cache_dir() / f"{name}-{hashlib.sha256(repr(key).encode()).hexdigest()[:12]}"
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (path / "whole").exists():
            shutil.rmtree(path, ignore_errors=True)
            make(path)
            (path / "whole").touch()
    return path


def run_tests(command, cwd=None, **variables):
    # Not what this run, and its parallel ones, are told.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment.update(PYTHONPATH=".", LC_ALL="C.UTF-8", PYTHONDONTWRITEBYTECODE="1", **variables)
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 400


def test_the_oldest_libraries():
    base = getattr(sys, "_base_executable", sys.executable)

    def make(path):
        subprocess.run([base, "-m", "venv", path], check=True)
        install = [path / "bin/python", "-m", "pip", "install", "--quiet", "-r", OLDEST, *TOOLS]
        subprocess.run(install, check=True)

    environment = made_once("venv-oldest", [OLDEST.read_text(), TOOLS, sys.version], make)
    run_tests([environment / "bin/python", *COMMAND], cwd=ROOT)


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_the_distributions_own(release):
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("needs root and mmdebstrap")

    def make(path):
        # This machine's own mirrors, for the release wanted.
        sources = re.sub(r"\b(bookworm|trixie)\b", release, SOURCES.read_text()) if SOURCES.exists() else None
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", release, path]
        subprocess.run([*command, *(["-"] if sources else [])], input=sources, text=True, check=True)

    base = made_once(f"app-{release}", PACKAGES, make)
    # Links, on the same disk: nothing in there is changed, only added to.
    with scratch(cache_dir()) as work:
        root = work / "root"
        subprocess.run(["cp", "--archive", "--link", base, root], check=True)
        for name in NEEDED:
            (root / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, root / "checkout" / name)
        inside = f"cd /checkout && exec python3 {shlex.join(COMMAND)}"
        # Temporary files in memory, for as long as this runs.
        command = f"mount -t tmpfs tmpfs {root}/tmp && exec chroot {root} sh -c {shlex.quote(inside)}"
        run_tests(["unshare", "--mount", "sh", "-c", command], TMPDIR="/tmp")
