"""A transaction that another node's commit undid, while its own machine said nothing."""

import galera
import sqlalchemy as sa
from fleets import Fleet
from galera import DATABASE, Node
from test_fleet import settle

from microblog import mysql


def about(node: Node, number: int) -> str:
    ((text,),) = node.ask(f"SELECT about FROM {DATABASE}.users WHERE id = {number}")  # noqa: S608
    return str(text)


def test_what_is_undone_already_can_be_rolled_back(fleet: Fleet) -> None:
    """By whoever changed nothing in the end; and the next one begins a transaction of their own."""
    settle(fleet)
    here, there = fleet.nodes[:2]
    ((number,),) = here.ask(f"SELECT MAX(id) FROM {DATABASE}.users")  # noqa: S608
    engine = sa.create_engine(here.url(), pool_size=1)
    mysql.prepare(engine)
    with engine.connect() as connection:
        connection.execute(sa.text(f"SELECT id FROM users WHERE id = {number} FOR UPDATE"))  # noqa: S608
        there.ask(f"UPDATE {DATABASE}.users SET about = 'there' WHERE id = {number}")  # noqa: S608
        galera.wait_until("it is here", lambda: about(here, number) == "there")
        connection.rollback()
    with engine.connect() as connection:
        connection.execute(sa.text(f"UPDATE users SET about = 'not to be' WHERE id = {number}"))  # noqa: S608
        assert about(there, number) == "there"
        connection.rollback()
    assert about(here, number) == "there"
    engine.dispose()
