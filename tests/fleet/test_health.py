"""What a database's machine says to balancers."""

import importlib.machinery
import os
import shutil
import subprocess
import types
import urllib.error
import urllib.request
from pathlib import Path

import galera
import pytest
from fleets import Fleet
from test_fleet import everywhere, settle
from test_restore import write

from builder.core import paths


def asked(node: galera.Node) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{node.place.address}:{node.health}/", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_node_says_whether_it_serves(fleet: Fleet) -> None:
    settle(fleet)
    node = fleet.nodes[2]
    assert asked(node) == (200, "it serves\n")
    node.ask("SET GLOBAL wsrep_desync = ON")
    try:
        code, said = asked(node)
        assert code == 503
        assert "it is held back" in said
    finally:
        node.ask("SET GLOBAL wsrep_desync = OFF")
    settle(fleet)


def test_a_full_disk_is_no_place_to_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("health")
    importlib.machinery.SourceFileLoader("health", str(galera.HEALTH)).exec_module(module)
    assert module.problem("/no/such/socket", "/", room=2**62) == "its disk is full"
    assert "No such file" in module.problem("/no/such/socket", "/", room=0)


def rejoin(node: galera.Node, folder: Path) -> str:
    """What the image's timer runs. :return: what it asks systemd for."""
    for name, text in {
        "mariadb": f'{shutil.which("mariadb")} --no-defaults "$@" --user=root --socket={node.folder}/socket',
        "systemctl": f'echo "$@" >> {folder}/asked',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    (folder / "asked").write_text("")
    script = paths.PACKER / "files/database/usr/local/lib/fleet/rejoin"
    path = f"{folder}:{os.environ['PATH']}"
    subprocess.run([script], env={**os.environ, "PATH": path}, check=True, capture_output=True)
    return (folder / "asked").read_text()


def test_a_node_that_differs_from_the_others_gets_all_anew(fleet: Fleet, tmp_path: Path) -> None:
    settle(fleet)
    first, *_, last = fleet.nodes
    write(first, "wanted")
    galera.wait_until("all have it", lambda: "wanted" in everywhere(fleet))
    assert rejoin(last, tmp_path) == ""
    with last.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION wsrep_on = OFF")
        cursor.execute(f"DELETE FROM {galera.DATABASE}.posts WHERE body = 'wanted'")  # noqa: S608
    first.ask(f"UPDATE {galera.DATABASE}.posts SET body = 'changed' WHERE body = 'wanted'")  # noqa: S608
    galera.wait_until("it is voted out", lambda: asked(last)[0] == 503)
    galera.wait_until("it asks to be started again", lambda: rejoin(last, tmp_path) != "")
    assert rejoin(last, tmp_path) == "--no-block try-restart mariadb.service\n"
    assert last.process
    last.process.terminate()
    last.process.wait()
    # It is down: somebody else's to say.
    assert rejoin(last, tmp_path) == ""
    last.start(fleet.nodes)
    settle(fleet)
    assert "changed" in everywhere(fleet)
