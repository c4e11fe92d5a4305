"""forms that have become posts"""

import sqlalchemy as sa
from alembic import op

from microblog import missing

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
# The version before serves on what this makes, too.
expands = True

TABLE_OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    if missing.table("sent_forms"):
        op.create_table(
            "sent_forms",
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("post_id", sa.BigInteger(), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.PrimaryKeyConstraint("digest", name=op.f("pk_sent_forms")),
            **TABLE_OPTIONS,
        )
    if missing.index("sent_forms", "ix_sent_forms_created_at"):
        op.create_index(op.f("ix_sent_forms_created_at"), "sent_forms", ["created_at"])


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS sent_forms")
