"""A stranger's machine: what the README says, on a system on which nothing was ever installed."""

import re
import subprocess

from conftest import USER

from builder import paths

BOOKWORM, TRIXIE = "bookworm", "trixie"
_DEB = "dist/microblog_0.1.0_all.deb"


def _readme_commands() -> list[str]:
    """The commands of the README's first indented block."""
    block = re.search(r"(?m)(^    \S.*\n)+", (paths.ROOT / "README.md").read_text())
    assert block is not None
    return [line.partition("#")[0].strip() for line in block[0].splitlines()]


def test_the_readme_begins_with_the_main_job_and_the_tests():
    assert _readme_commands() == ["./build.py images", "./build.py test"]


def test_asking_installs_nothing(bare):
    system = bare(BOOKWORM)
    before = system.installed
    for arguments, code in (
        (("images", "-h"), 0),
        (("--help",), 0),
        (("bench", "--help"), 0),
        (("imags",), 2),
    ):
        done = system.run("./build.py", *arguments)
        assert done.returncode == code, done.stderr
        assert "Installing" not in done.stderr
    assert "--base-file FILE" in system.run("./build.py", "images", "-h").stdout
    assert system.installed == before
    assert not [*(system.root / "root/.cache").rglob("venv*")]


def _succeeds(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_ordinary_user_runs_the_one_line_as_root_and_the_verb_works(bare):
    system = bare(BOOKWORM)
    system.add_user()
    refused = system.run("./build.py", "deb", user=USER)
    assert refused.returncode == 1
    said = refused.stderr.splitlines()
    assert len(said) == 2, refused.stderr
    assert said[0].startswith("build.py: packages are missing: build-essential ")
    label, _, command = said[1].strip().partition(": ")
    assert label == "Run as root"  # there is no sudo
    _succeeds(system.run("sh", "-c", command))
    assert _succeeds(system.run("./build.py", "deb", user=USER)).endswith(f"{_DEB}\n")
    # Root's run in the same checkout does not keep its owner from going on.
    checkout = f"/home/{USER}/microblog"
    _succeeds(system.run("sh", "-c", f"cd {checkout} && ./build.py deb --fresh"))
    assert _succeeds(system.run("./build.py", "deb", "--fresh", user=USER)).endswith(f"{_DEB}\n")
    # In root's own they get one clear line.
    refused = system.run("sh", "-c", f"chown -R root: {checkout}/dist && ./build.py deb --fresh", user="root")
    refused = system.run("./build.py", "deb", "--fresh", user=USER)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"build.py: {checkout}/dist can't be written to by {USER}: it belongs to root\n"
        f"  Run as root: chown -R {USER} {checkout}/dist\n",
    )


def test_the_package_on_the_newest_debian(bare):
    system = bare(TRIXIE)
    assert _succeeds(system.run("./build.py", "deb")).endswith(f"{_DEB}\n")
