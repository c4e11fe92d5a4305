"""A disk that is full: at setup, at an upgrade. One clear line, nothing lost, and on when there is room."""

import shutil
from collections.abc import Callable, Iterator

import pytest
from nspawn import Kept, Machine, wait_until
from sites import ENV, FORGET, SQLITE, fill, in_maintenance, look, tables
from variants import ADD, HEAD, Versions, migration

ROOM_KIB = 4 * 2**20


@pytest.fixture
def small(installed: Kept, new_machine: Callable[..., Machine]) -> Iterator[Machine]:
    """A server with a disk of its own, whose size a test sets."""
    machine = new_machine(installed.layers, disk_mib=ROOM_KIB // 1024)
    wait_until("the site answers", machine.answers)
    yield machine
    machine.destroy()
    machine.delete()


def is_one_line(machine: Machine, said: str) -> None:
    """Assert that a command has failed with a line for what is wrong and one for the way out."""
    assert machine.code == 1, said
    *_, line, way_out = said.splitlines()
    assert line.startswith("microblog: "), said
    assert "No space left" in line or "is full" in line or "MiB free" in line, said
    assert way_out.startswith("  "), said
    assert "Traceback" not in said


@pytest.mark.parametrize("url", ["", SQLITE], ids=["mariadb", "sqlite"])
def test_setup_on_a_full_disk_goes_on_when_there_is_room(small: Machine, url: str) -> None:
    small.run("sh", "-c", FORGET)
    if url:
        (small.root / ENV[1:]).write_text(f"DATABASE_URL={url}\n")
    # Each gets a step further.
    for kib in (0, 40, 200):
        small.leave_free(kib)
        is_one_line(small, small.run("microblog", "setup", check=False))
        assert small.get("https://localhost/readyz").status != 200
    small.leave_free(ROOM_KIB)
    small.run("microblog", "setup")
    assert small.answers()
    assert small.run("microblog", "setup") == "Nothing was missing\n"


def test_an_upgrade_on_a_full_disk_loses_nothing(small: Machine, versions: Versions) -> None:
    fill(small, "alice", 20)
    before = look(small)
    deb = versions("9.1", migration("9001", HEAD, ADD))
    shutil.copyfile(deb, small.root / "root/new.deb")

    def unpack() -> str:
        return small.run(
            "dpkg", "-i", "/root/new.deb", check=False, env={"DEBIAN_FRONTEND": "noninteractive"}
        )

    # Not even dpkg has room.
    small.leave_free(100)
    said = unpack()
    assert small.code != 0
    assert "No space left on device" in said
    assert look(small) == before

    # The files have, the backup has not.
    small.leave_free(20 * 1024)
    said = unpack()
    assert small.code != 0
    assert said.count("microblog: the upgrade was not begun: ") == 1, said
    assert "MiB are needed" in said
    assert "Traceback" not in said
    assert in_maintenance(small)
    assert look(small) == before
    is_one_line(small, small.run("microblog", "setup", check=False))

    small.leave_free(ROOM_KIB)
    small.run("dpkg", "--configure", "--pending", env={"DEBIAN_FRONTEND": "noninteractive"})
    assert small.answers()
    assert "extra" in tables(small)
    assert look(small) == before
