"""The shell by which an image's checks reach a machine, here on this one."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from builder.core import paths


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(paths.ROOT / "tests" / "images")
    from shell import RootShell

    for name, does in (("ssh", 'for last; do :; done; exec sh -c "$last"'), ("sudo", 'exec "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    shell = RootShell(SimpleNamespace(directory=Path("first"), ssh=["ssh", "ubuntu@127.0.0.1"]))
    yield shell
    shell.end()


def test_command_has_its_own_exit_code_and_output(shell):
    done = shell.run("printf 'no end of line'; echo 'a \"quoted\" one' >&2; exit 3")
    assert (done.rc, done.stdout, done.stderr) == (3, "no end of line", 'a "quoted" one\n')
    assert (shell.run("true").rc, shell.run("false").rc) == (0, 1)


def test_arguments_are_quoted_and_lines_are_kept(shell):
    assert shell.run("echo %s\necho světe", "it's $HOME").stdout == "it's $HOME\nsvěte\n"


def test_what_reads_its_stdin_does_not_eat_the_next_command(shell):
    assert shell.run("cat").stdout == ""
    assert shell.run("echo next").stdout == "next\n"


def test_commands_do_not_share_what_they_set(shell):
    shell.run("cd /usr; there=/nowhere; set -e")
    assert shell.run("pwd; echo $there").stdout == "/\n\n"


def test_after_a_reboot_it_logs_in_again(shell):
    first = shell.run("echo $PPID").stdout
    shell._process.kill()
    shell._process.wait()
    assert shell.run("echo $PPID").stdout != first


def test_a_machine_that_goes_away_is_no_answer(shell):
    with pytest.raises(RuntimeError, match="shell ended at"):
        shell.run("kill -9 $(sed -n 's/^PPid://p' /proc/$PPID/status) $PPID")
