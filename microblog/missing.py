"""What a migration still has to make.

SQLite undoes a migration that is cut short. MySQL cannot: each of its DDL statements is
committed by itself, so a migration that a power cut or a kill has ended leaves the tables it
had made by then, and is run again from its start. Each step therefore asks first::

    if missing.table("users"):
        op.create_table("users", ...)
"""

import sqlalchemy as sa
from alembic import context, op


def _inspector() -> sa.engine.reflection.Inspector:
    # A new one each time: an inspector remembers what it saw before the last step.
    return sa.inspect(op.get_bind())


def table(name: str) -> bool:
    """Whether the database has no such table. True as well where only SQL is printed (``--sql``)."""
    return context.is_offline_mode() or not _inspector().has_table(name)


def column(table_name: str, name: str) -> bool:
    """Whether the table has no such column."""
    return context.is_offline_mode() or all(
        found["name"] != name for found in _inspector().get_columns(table_name)
    )


def index(table_name: str, name: str) -> bool:
    """Whether the table has no such index."""
    return context.is_offline_mode() or all(
        found["name"] != name for found in _inspector().get_indexes(table_name)
    )


def check(table_name: str, name: str) -> bool:
    """Whether the table has no such check constraint."""
    return context.is_offline_mode() or all(
        found["name"] != name for found in _inspector().get_check_constraints(table_name)
    )
