"""The nightly copy of all databases, and the way back from it: by the image's own scripts."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import galera
import machines
import pytest
from galera import Node
from test_health import asked
from test_restore import write
from told import swapped

from builder.core import paths

_FILES = paths.PACKER / "files/database/usr/local"
_NAMES = ("ada", "grace")


class Machine:
    """A node's machine, as its scripts see it.

    :ivar data: the folder of its data, and what is beside.
    """

    def __init__(self, node: Node, others: list[Node], folder: Path) -> None:
        self.node, self.nodes, self.folder = node, [*others, node], folder
        self.data = node.folder / "data"
        reached = (_FILES / "lib/fleet/reached").read_text()
        # Here the other one has another port, if all are one computer's.
        self._put("reached", swapped(reached, {"/4567": f"/{others[0].group}"}))
        self.gate = folder / "gate"
        socket = f"--user=root --socket={node.folder / 'socket'}"
        for name, wait, first, who in (
            ("mariadb", "", "--no-defaults", socket),
            (
                "mariabackup",
                f"while [ -e {self.gate} ]; do sleep 0.1; done\n",
                f"--defaults-file={node.folder / 'my.cnf'}",
                f"$([ $1 = --prepare ] || echo {socket})",
            ),
        ):
            self._put(name, f'#!/bin/sh\n{wait}exec {shutil.which(name)} {first} "$@" {who}\n')
        # What systemd does is done by the test.
        for name in ("systemctl", "galera_new_cluster"):
            ask = (
                f"echo {name} $1 > {folder}/ask; read -r said < {folder}/said; echo $said; [ $said = active ]"
            )
            self._put(name, f"#!/bin/sh\n{ask}\n")
        for name in ("ask", "said"):
            os.mkfifo(folder / name)

    def _put(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    @contextmanager
    def at_the_copy(self) -> Iterator[None]:
        """Within, what copies has begun, and gets no further."""
        self.gate.touch()
        try:
            yield
        finally:
            self.gate.unlink()

    def run(self, script: str, *words: object) -> "subprocess.CompletedProcess[str]":
        swaps: Mapping[str, str] = {
            "fleet-backup": {"/etc/fleet": str(self.node.told.folder), "/var/lib/fleet": str(self.folder)}
            | {"/var/backups/fleet": str(self.folder / "copies"), ":9200/": f":{self.nodes[0].health}/"},
            "fleet-restore": {"/etc/fleet": str(self.node.told.folder), "/var/lib/mysql": str(self.data)}
            | {"/usr/local/lib/fleet/reached": str(self.folder / "reached")},
        }[script]
        text = swapped((_FILES / "sbin" / script).read_text(), swaps)
        with self._systemd():
            return subprocess.run(
                self.node.place.command(["sh", "-c", text, script, *map(str, words)]),
                env={**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}
                | {"FLEET": str(self.node.told.folder)},
                check=False, capture_output=True, text=True,
            )  # fmt: skip

    @contextmanager
    def _systemd(self) -> Iterator[None]:
        def serve() -> None:
            while (asked := (self.folder / "ask").read_text().split()) != ["end"]:
                said = self._do(*asked)
                (self.folder / "said").write_text(f"{said}\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            (self.folder / "ask").write_text("end\n")
            thread.join()

    def _do(self, name: str, word: str = "") -> str:
        if name == "galera_new_cluster":
            self.node.start(self.nodes, new=True)
            try:
                galera.wait_until("it begins the cluster", self.node.is_synced)
            except AssertionError:
                return "failed"
        elif word == "stop":
            stop(self.node)
        elif word == "is-active":
            return "active" if self.node.process and self.node.process.poll() is None else "inactive"
        return "active"


def stop(node: Node) -> None:
    """In order, as systemd does."""
    assert node.process is not None
    node.process.terminate()
    node.process.wait()


def posts(node: Node) -> list[str]:
    return sorted(machines.posts(node))


@contextmanager
def _two(tmp_path: Path) -> Iterator[tuple[Node, Machine]]:
    """The first of two nodes, and the machine of the other one, which is the one that copies."""
    with galera.cluster(size=2) as (first, last):
        machines.prepare(first, _NAMES)
        yield first, Machine(last, [first], tmp_path)


@pytest.mark.thorough
def test_all_databases_are_restored_from_the_nightly_copy(tmp_path: Path) -> None:
    with _two(tmp_path) as (first, machine):
        last = machine.node
        write(first, "kept")
        done = machine.run("fleet-backup")
        assert done.returncode == 0, done.stderr
        (copy,) = (tmp_path / "copies").glob("*.xbstream.gz")
        assert not (tmp_path / "copies/.new").exists()
        write(first, "later")

        refused = machine.run("fleet-restore", copy)
        assert refused.returncode == 1
        assert "another database of this fleet runs" in refused.stderr
        assert posts(last) == ["kept", "later"]

        stop(first)
        half = tmp_path / "half.xbstream.gz"
        half.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
        refused = machine.run("fleet-restore", half)
        assert refused.returncode == 1
        assert "is not whole" in refused.stderr
        assert posts(last) == ["kept", "later"]
        before = last.status("wsrep_cluster_state_uuid")

        last.kill()
        last.forget()
        done = machine.run("fleet-restore", copy)
        assert done.returncode == 0, done.stderr
        assert "systemctl start mariadb" in done.stdout
        assert posts(last) == ["kept"]
        assert last.status("wsrep_cluster_state_uuid") != before
        # More than the other one had is written, and it is none the less given all anew.
        for number in range(9):
            write(last, f"new {number}")
        first.start(machine.nodes)
        galera.wait_until("the other one has joined", first.is_synced)
        assert posts(first) == posts(last) == ["kept", *(f"new {number}" for number in range(9))]

        refused = machine.run("fleet-restore", copy)
        assert refused.returncode == 1
        assert "from a restore before this one" in refused.stderr


@pytest.mark.thorough
def test_who_copies_serves_once_the_others_have_ended(tmp_path: Path) -> None:
    with _two(tmp_path) as (first, machine), ThreadPoolExecutor() as pool:
        last = machine.node

        def is_held() -> bool:
            return "it is held back" in asked(last)[1]

        with machine.at_the_copy():
            copied = pool.submit(machine.run, "fleet-backup")
            galera.wait_until("it is held back", is_held)
            stop(first)
            galera.wait_until("it serves while it copies", lambda: asked(last)[0] == 200)
            write(last, "kept")
        assert copied.result().returncode == 0, copied.result().stderr

        first.start(machine.nodes)
        galera.wait_until("the other one has joined", first.is_synced)
        with machine.at_the_copy():
            copied = pool.submit(machine.run, "fleet-backup")
            galera.wait_until("it is held back", is_held)
            # The power went: the last one may not go on by itself, and is told to.
            first.kill()
            galera.wait_until("it misses the other one", lambda: "non-Primary" in asked(last)[1])
            last.ask("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")
            galera.wait_until("it serves while it copies", lambda: asked(last)[0] == 200)
        assert copied.result().returncode == 0, copied.result().stderr
        assert len([*tmp_path.glob("copies/*.xbstream.gz")]) == 2


@pytest.mark.thorough
def test_a_node_that_waits_for_others_is_not_begun_anew(tmp_path: Path) -> None:
    """They may run, where a network is cut: nothing is taken away from it, and it goes on when they come."""
    with _two(tmp_path) as (first, machine):
        last = machine.node
        write(first, "kept")
        assert machine.run("fleet-backup").returncode == 0
        (copy,) = (tmp_path / "copies").glob("*.xbstream.gz")
        write(first, "later")
        first.kill()
        galera.wait_until("it misses the other one", lambda: "non-Primary" in asked(last)[1])

        refused = machine.run("fleet-restore", copy)
        assert refused.returncode == 1
        assert "this database waits for others" in refused.stderr
        first.start(machine.nodes)
        for node in machine.nodes:
            galera.wait_until("both go on", node.is_synced)
            assert posts(node) == ["kept", "later"]

        # Somebody is certain that it is the only one.
        first.kill()
        stop(last)
        done = machine.run("fleet-restore", copy)
        assert done.returncode == 0, done.stderr
        assert posts(last) == ["kept"]
