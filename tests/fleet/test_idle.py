"""What a machine that is frozen had begun is ended by the database: nobody else waits for it."""

from fleets import Fleet
from galera import DATABASE
from test_fleet import settle

from microblog.host.database import rows


def test_rows_that_a_frozen_machine_was_at_are_let_go(fleet: Fleet, url: str) -> None:
    """Also where it has only locked them."""
    settle(fleet)
    node = fleet.nodes[0]
    writes = "UPDATE users SET about = 'frozen' WHERE id = %s"
    locks = "SELECT id FROM users WHERE id = %s FOR UPDATE"
    numbers = [row[0] for row in node.ask(f"SELECT id FROM {DATABASE}.users ORDER BY id LIMIT 2")]  # noqa: S608
    first, second, other = (node.connect() for _ in range(3))
    with first, second, other:
        for connection, statement, number in ((first, writes, numbers[0]), (second, locks, numbers[1])):
            connection.select_db(DATABASE)
            connection.begin()
            with connection.cursor() as cursor:
                cursor.execute(statement, [number])
        other.select_db(DATABASE)
        with other.cursor() as cursor:
            # It waits for 50 seconds, and then it is an error.
            for number in numbers:
                assert cursor.execute("UPDATE users SET about = 'goes on' WHERE id = %s", [number]) == 1
    # A backup and a restore may compute for as long as they like.
    with rows.connection(url, snapshot=True) as opened:
        kept = opened.exec_driver_sql("SELECT @@idle_transaction_timeout, @@global.idle_transaction_timeout")
        assert tuple(kept.one()) == (0, 5)
