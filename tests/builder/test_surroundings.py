"""build.py where its user's surroundings are not what its makers have."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.core import paths, surroundings


@pytest.fixture
def my_checkout(checkout, tmp_path):
    """A checkout and a cache in folders with a space in their names."""
    # The Python environment is not what is tested here: take the one that is there.
    cache = tmp_path / "my cache"
    cache.mkdir()
    for environment in Path(sys.prefix).parent.glob("venv-*"):
        (cache / environment.name).symlink_to(environment)
    return checkout


@pytest.fixture
def data_home():
    """A short name: the socket of gpg-agent in it has a path of 107 characters at most."""
    home = Path(subprocess.check_output(["mktemp", "-d", "/tmp/my data.XXXXXX"], text=True).strip())
    yield home
    subprocess.run(["gpgconf", "--homedir", home / "microblog/gnupg", "--kill", "all"], check=False)
    # The agent may still be removing its sockets.
    subprocess.run(["rm", "-rf", home], check=True)


def test_a_repository_made_in_odd_surroundings_is_for_everybody(my_checkout, data_home, tmp_path):
    """No home, no such locale, a day ahead, files for oneself alone, and spaces in every path."""
    temporary = tmp_path / "my files"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, my_checkout / "build.py", "repo", "--output", tmp_path / "my site"],
        env={
            "PATH": os.environ["PATH"],
            "LC_ALL": "ru_RU.UTF-8",
            "TZ": "Pacific/Kiritimati",
            "TMPDIR": str(temporary),
            "MICROBLOG_CACHE": str(tmp_path / "my cache"),
            "XDG_DATA_HOME": str(data_home),
        },
        umask=0o077, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = [*(tmp_path / "my site").rglob("*"), *(my_checkout / "dist").glob("*.deb")]
    for suffix in (".deb", ".asc", ".sources"):
        assert any(path.suffix == suffix for path in made), suffix
    private = [path for path in made if path.is_dir() and path.stat().st_mode & 0o005 != 0o005]
    private += [path for path in made if path.is_file() and not path.stat().st_mode & 0o004]
    assert private == []
    # The key is nobody else's.
    assert (data_home / "microblog/gnupg").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("given", "completed"),
    [
        ("/usr/local/bin:/usr/bin:/bin", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
        ("/my bin:/usr/sbin:/bin", "/my bin:/usr/sbin:/bin:/sbin"),
        (None, f"{os.defpath}:/usr/sbin:/sbin"),
    ],
)
def test_a_users_path_is_completed_after_what_is_in_it(monkeypatch, given, completed):
    monkeypatch.delenv("PATH")
    if given:
        monkeypatch.setenv("PATH", given)
    surroundings.settle()
    assert os.environ["PATH"] == completed


@pytest.mark.parametrize("name", ["HOME", "PYTHONPATH", "PYTHONHOME"])
def test_what_is_empty_or_another_pythons_is_left_out(monkeypatch, name):
    monkeypatch.setenv(name, "" if name == "HOME" else "/another/python")
    surroundings.settle()
    assert name not in os.environ


_CLOSED = """
import subprocess, sys
from builder.core import paths, surroundings
from builder.core.progress import say
surroundings.settle()
with open(sys.argv[1], "w") as first:
    say("something")
    print("something")
    sys.stdin.read()
    subprocess.run(["sh", "-c", "echo something; echo something >&2"], check=True)
    first.write("mine")
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_what_is_said_goes_into_no_file_where_a_stream_is_closed(tmp_path, closed):
    out = tmp_path / "out"
    script = f'exec "$0" -c "$1" "$2" {closed}'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, _CLOSED, out],
        cwd=paths.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, out.read_text()) == (0, "mine"), done.stderr
