"""with whom an account still counts that is on its way out, or in"""

import sqlalchemy as sa
from alembic import op

from microblog import missing

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
# The version before serves on what this makes, too.
expands = True

# When follows began is written into places of lists as microblog.models.follow does.
_IDS = 2**31


def upgrade() -> None:
    if missing.column("unfinished", "uncounted_to"):
        op.add_column("unfinished", sa.Column("uncounted_to", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    if not missing.column("unfinished", "uncounted_to"):
        _count_with_nobody()
        with op.batch_alter_table("unfinished") as table:
            table.drop_column("uncounted_to")


def _count_with_nobody() -> None:
    """As the version before has it of who is on their way."""
    bind = op.get_bind()
    sqlite = bind.dialect.name == "sqlite"
    seconds = "CAST(strftime('%s', created_at) AS INTEGER) - 1577836800"
    if not sqlite:
        seconds = "TIMESTAMPDIFF(SECOND, '2020-01-01 00:00:00', created_at)"
    for mine, other, column in (
        ("follower_id", "followed_id", "followers_count"),
        ("followed_id", "follower_id", "following_count"),
    ):
        # One account at a time: with each of them somebody may count.
        rows = bind.execute(
            sa.text("SELECT user_id, uncounted_to FROM unfinished WHERE uncounted_to IS NOT NULL")
        )
        for user_id, uncounted_to in rows.fetchall():
            bind.execute(
                sa.text(
                    f"UPDATE users SET {column} = {column} - 1 WHERE {column} > 0 AND id IN (SELECT {other}"  # noqa: S608
                    f" FROM follows WHERE {mine} = :user_id AND ({seconds}) * {_IDS} + {other} > :place)"
                ),
                {"user_id": user_id, "place": uncounted_to},
            )
    # In the same transaction: where it is cut short, nobody is counted off twice.
    bind.execute(sa.text("UPDATE unfinished SET uncounted_to = NULL"))
