"""What it is worth to keep counts and presence in rows of their own, and not in the account's: how many
commits meet another node's, with and without. And what the account's row is good for."""

import random
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import galera
import machines
import pymysql
import pytest
from fleets import NAMES
from galera import DATABASE, Node
from machines import Machine
from people import Visitor

SESSIONS, TURNS = 24, 20
_HIDDEN = re.compile(r'name="(csrf_token|once)"[^>]*value="([^"]*)"')

# Presence is written once a minute, while people write some twenty times as often here as they would.
_OFTEN = ("microblog/models/account.py", "timedelta(minutes=1)", "timedelta(seconds=3)")
_POST = """    db.session.execute(
        sa.update(users)
        .where(users.c.id == author_id)
        .values(posts_count=changed(users.c.posts_count, change))
    )
"""
_FOLLOW = """            db.session.execute(
                sa.update(User)
                .where(User.id == user_id)
                .values({column: changed(column, change)})
                .execution_options(synchronize_session=False)
            )
"""
_SEEN = (
    "        connection.execute(sa.update(users).where(users.c.id == user_id, stale).values(last_seen=now))\n"
)
_LOCK = "rows.with_for_update()"
_TABLES = (
    "CREATE TABLE own_counts (user_id INT PRIMARY KEY, posts_count INT NOT NULL DEFAULT 0,"
    " followers_count INT NOT NULL DEFAULT 0, following_count INT NOT NULL DEFAULT 0)",
    "CREATE TABLE own_presence (user_id INT PRIMARY KEY, last_seen DATETIME)",
    "INSERT INTO own_counts (user_id) SELECT id FROM users",
    "INSERT INTO own_presence (user_id) SELECT id FROM users",
)


def _elsewhere(statement: str, values: str, indent: int) -> str:
    return " " * indent + f'db.session.execute(sa.text("{statement}"), {values})\n'


# As they would be: what is changed by several is locked only as a foreign key does.
OWN_ROWS = (
    (
        "microblog/models/post.py",
        _POST,
        _elsewhere(
            "UPDATE own_counts SET posts_count = posts_count + :change WHERE user_id = :number",
            '{"change": change, "number": author_id}',
            4,
        ),
    ),
    (
        "microblog/models/follow.py",
        _FOLLOW,
        " " * 12 + "name = column.key\n" + " " * 12 + "db.session.execute(sa.text("
        'f"UPDATE own_counts SET {name} = {name} + :change WHERE user_id = :number"), '
        '{"change": change, "number": user_id})\n',
    ),
    (
        "microblog/models/account.py",
        _SEEN,
        "        connection.execute("
        'sa.text("UPDATE own_presence SET last_seen = :now WHERE user_id = :number"),'
        ' {"now": now, "number": user_id})\n',
    ),
    ("microblog/models/user.py", _LOCK, "rows.with_for_update(read=True)"),
)
# The least that there can be: nothing is counted, nobody is noted.
NOTHING = (
    ("microblog/models/post.py", _POST, ""),
    ("microblog/models/follow.py", _FOLLOW, " " * 12 + "pass\n"),
    ("microblog/models/account.py", _SEEN, ""),
    ("microblog/models/user.py", _LOCK, "rows.with_for_update(read=True)"),
)
WAYS = {
    "both in the account's row": (),
    "presence in a row of its own": OWN_ROWS[2:3],
    "both in rows of their own": OWN_ROWS,
    "not kept at all": NOTHING,
}


class Counts(NamedTuple):
    """Of all nodes.

    :ivar commits: that were made; ``undone``: for another node's sake.
    :ivar waits: for a row that another one at the same node had; ``waited``: in milliseconds.
    :ivar errors: that people met.
    """

    commits: int
    undone: int
    waits: int
    waited: int
    errors: int = 0


def counts(nodes: list[Node]) -> Counts:
    def of(name: str) -> int:
        return sum(int(node.status(name)) for node in nodes)

    undone = of("wsrep_local_cert_failures") + of("wsrep_local_bf_aborts")
    waits, waited = of("Innodb_row_lock_waits"), of("Innodb_row_lock_time")
    return Counts(of("wsrep_local_commits"), undone, waits, waited)


class Person:
    """One who writes, follows and leaves, and logs in again, always the same way."""

    def __init__(self, addresses: list[str], name: str, others: list[str], seed: int) -> None:
        self.name, self._visitor, self._turn = name, Visitor(addresses), seed
        self._random, self._others, self._followed = random.Random(seed), others, set[str]()  # noqa: S311
        self.failed: list[Any] = []
        self._visitor.log_in(name)

    def turn(self) -> None:
        self._turn += 1
        page = self._visitor.ask(self._turn, "GET", "/")
        form = dict(_HIDDEN.findall(page.text))
        chance = self._random.random()
        if chance < 0.5 or not self._others:
            path, form["body"] = "/", f"{self.name} {self._turn}"
        else:
            # Each is liked by fewer than the one before.
            whom = next((one for one in self._others if self._random.random() < 0.3), self._others[-1])
            what = "unfollow" if whom in self._followed else "follow"
            self._followed ^= {whom}
            path = f"/user/{whom}/{what}"
        answer = self._visitor.ask(self._turn, "POST", path, form)
        if page.status != 200 or answer.status != 302:
            self.failed.append((page.status, answer.status, path))
        if chance > 0.95:
            self._visitor.cookies.pop("session", None)
            self._visitor.log_in(self.name)


def measure(nodes: list[Node], apps: list[Machine], names: list[str], liked: list[str]) -> Counts:
    """A day of theirs, in short. :return: what it made of commits and conflicts."""
    addresses = [app.address for app in apps]
    people = [
        Person(addresses, name, [one for one in liked if one != name], number)
        for number, name in enumerate(names)
    ]

    def day(person: Person) -> None:
        for _ in range(TURNS):
            person.turn()

    before = counts(nodes)
    threads = [threading.Thread(target=day, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = counts(nodes)
    errors = sum(len(person.failed) for person in people)
    made = Counts(*(later - sooner for sooner, later in zip(before, after, strict=True)))
    return made._replace(errors=errors)


@pytest.mark.thorough
def test_how_many_commits_meet(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """With each machine writing to a node of its own, and with one node that is written to."""
    names = list(NAMES)
    with galera.cluster() as nodes:
        machines.prepare(nodes[0], names)
        for statement in _TABLES:
            with nodes[0].connect() as connection, connection.cursor() as cursor:
                connection.select_db(DATABASE)
                cursor.execute(statement)
        for number, (way, changes) in enumerate(WAYS.items()):
            root = machines.changed(tmp_path / str(number), _OFTEN, *changes)
            for spread in (True, False):
                apps = [Machine(tmp_path, nodes[count if spread else 0].url(), root) for count in range(3)]
                try:
                    for app in apps:
                        app.start()
                    for liked, all_of in (("those whom many like", True), ("one person", False)):
                        who = [names.pop() for _ in range(SESSIONS)]
                        made = measure(nodes, apps, who, who if all_of else who[:1])
                        record_property(
                            "table: conflicts",
                            {
                                "counts and presence": way,
                                "written to": "each machine's own node" if spread else "one node",
                                "followed": liked,
                                "commits": made.commits,
                                "undone for 1,000": round(1000 * made.undone / made.commits, 1),
                                "waits for 1,000": round(1000 * made.waits / made.commits, 1),
                                "waited for each (ms)": round(made.waited / made.commits, 2),
                                "errors": made.errors,
                            },
                        )
                finally:
                    for app in apps:
                        app.kill()


@pytest.mark.thorough
@pytest.mark.parametrize("counted", [True, False], ids=["counted in the account's row", "not counted"])
def test_who_is_suspended_meanwhile_has_written_nothing(counted: bool) -> None:
    """Two nodes: a post at one, its author's suspension at the other. A row that is locked is locked at one
    node; that one has changed what the other refers to is what the cluster sees."""
    name = NAMES[0]
    with galera.cluster(size=2) as nodes:
        machines.prepare(nodes[0], [name])
        here, there = (node.connect() for node in nodes)
        for connection in (here, there):
            connection.select_db(DATABASE)
            connection.autocommit(False)
        with here, there, here.cursor() as writes, there.cursor() as suspends:
            writes.execute("SELECT id FROM users WHERE name_key = %s FOR UPDATE", [name])
            ((number,),) = writes.fetchall()
            if counted:
                writes.execute("UPDATE users SET posts_count = posts_count + 1 WHERE id = %s", [number])
            writes.execute(
                "INSERT INTO posts (author_id, body, created_at) VALUES (%s, 'a', UTC_TIMESTAMP())", [number]
            )
            suspends.execute("SELECT id FROM users WHERE id = %s FOR UPDATE", [number])
            suspends.execute("UPDATE users SET suspended_at = UTC_TIMESTAMP() WHERE id = %s", [number])
            there.commit()
            with pytest.raises(pymysql.err.OperationalError, match="1213"):
                here.commit()
