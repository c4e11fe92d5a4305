"""no notification has a number that another one had"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
# The version before serves on what this makes, too.
expands = True


def upgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        return
    # SQLite gives the number of the last row again, once that is deleted, unless a table is made so: what
    # came next was then as good as read, and not mailed.
    with op.batch_alter_table(
        "notifications", recreate="always", table_kwargs={"sqlite_autoincrement": True}
    ):
        pass
    # Some were given before and are gone: up to one of them somebody has read, or was mailed.
    op.execute("DELETE FROM sqlite_sequence WHERE name = 'notifications'")
    op.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'notifications', coalesce(max(last), 0) FROM"
        " (SELECT max(id) AS last FROM notifications"
        " UNION ALL SELECT max(read_to) FROM preferences UNION ALL SELECT max(mailed_to) FROM preferences)"
    )


def downgrade() -> None:
    """The version before does with such a table as well."""
