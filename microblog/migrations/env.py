"""How Alembic runs the migrations; `flask db` loads it with an application at hand."""

from logging.config import fileConfig

from alembic import context

from microblog import models  # noqa: F401 - so that the metadata knows every table
from microblog.database import db, is_modelled, sole_migration

if context.config.config_file_name:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

SQLITE = db.engine.dialect.name == "sqlite"
OPTIONS = {
    "target_metadata": db.metadata,
    "compare_type": True,
    "include_object": is_modelled,
    # SQLite can alter little in place: tables are copied there.
    "render_as_batch": SQLITE,
}
if SQLITE:
    # It can undo DDL; sole_migration sees to it.
    OPTIONS["transactional_ddl"] = True

if context.is_offline_mode():
    context.configure(dialect_name=db.engine.dialect.name, literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()
else:
    with db.engine.connect() as connection, sole_migration(connection):
        context.configure(connection=connection, **OPTIONS)
        with context.begin_transaction():
            context.run_migrations()
