"""A restore into a cluster, whose user has one database and may make no other; a node dies meanwhile."""

import io

import galera
import machines
import pytest
from fleets import Fleet
from galera import Node
from test_fleet import everywhere, settle

from microblog.config import Config
from microblog.host.backups import archive, restore
from microblog.host.database import aside, kinds, rows, server
from microblog.host.machine import privileges


def backup(url: str) -> tuple[io.BytesIO, dict[str, object]]:
    file, counts = io.BytesIO(), {}
    writer = archive.Writer(file)
    with rows.connection(url, snapshot=True) as opened:
        revision = opened.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        for table in rows.tables(opened):
            for number, (chunk, count) in enumerate(rows.dump(opened, table)):
                writer.add(f"database/{table.name}/{number:06}.jsonl", chunk)
                counts[table.name] = counts.get(table.name, 0) + count
    facts = {"version": "0", "created": "now", "revisions": [revision], "rows": counts}
    return file, writer.close(facts)


def as_ourselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the application's user does on a machine is done by who runs this."""
    monkeypatch.setattr(privileges, "ask", lambda _what, work, hear=None: work())
    monkeypatch.setattr(privileges, "call", lambda work, hear=None: (True, work()))
    monkeypatch.setattr(privileges, "tell", lambda _text: None)


def write(node: Node, body: str) -> None:
    """A post of somebody's: which numbers there are depends on the place in the cluster of who gave them."""
    node.ask(
        f"INSERT INTO {galera.DATABASE}.posts (author_id, body, created_at)"  # noqa: S608
        f" SELECT MIN(id), '{body}', now() FROM {galera.DATABASE}.users"
    )


def test_a_backup_is_restored_while_the_site_goes_on_and_a_node_dies(
    fleet: Fleet, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(fleet)
    node = fleet.nodes[2]
    write(node, "kept")
    before = everywhere(fleet)
    file, manifest = backup(url)
    write(node, "later")
    keep, killed = rows.Loader.keep, []

    def kept(loader: rows.Loader, pieces: int) -> None:
        keep(loader, pieces)
        if not killed and "users" in loader.counts:
            killed.append(pieces)
            fleet.nodes[0].kill()

    monkeypatch.setattr(rows.Loader, "keep", kept)
    as_ourselves(monkeypatch)
    beside = restore._stage(file, manifest, Config(machines.SECRET_KEY, url), lambda _: None)
    assert killed
    assert isinstance(beside, aside.Aside)
    # The site is what it was meanwhile.
    assert fleet.answers()
    assert "later" in machines.posts(fleet.nodes[1])
    beside.swap([])
    # As after an interruption.
    beside = kinds.of(url).beside(lambda _: None)
    assert not beside.leftover()
    beside.discard()
    fleet.nodes[0].start(fleet.nodes)
    settle(fleet)
    assert everywhere(fleet) == before
    found = [server.tables(node.connect(), galera.DATABASE) for node in fleet.nodes]
    assert not [name for names in found for name in names if name.startswith(rows.ASIDE)]
