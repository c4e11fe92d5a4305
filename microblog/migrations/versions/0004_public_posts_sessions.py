"""numbers are not used again; posts that are to be found; log-ins; what a search engine lacks"""

import sqlalchemy as sa
from alembic import context, op

from microblog import missing
from microblog.models import words

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLE_OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_CHECKS = {
    "users": {"counts": "posts_count >= 0 AND followers_count >= 0 AND following_count >= 0"},
    "follows": {"not_oneself": "follower_id <> followed_id"},
}
_LISTS = {
    "ix_follows_followed_id_created_at_follower_id": ["followed_id", "created_at", "follower_id"],
    "ix_follows_follower_id_created_at_followed_id": ["follower_id", "created_at", "followed_id"],
}
_OLD_LIST = "ix_follows_followed_id_follower_id"
_OLD_FULLTEXT = "ft_posts_body"
_FULLTEXT = "ft_public_posts_words"
_CHUNK = 1000


def _sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def upgrade() -> None:
    _drop_search()
    _count()
    for table in ("users", "posts", "follows"):
        # SQLite gives the number of the last row again, once that is deleted, unless a table is made so.
        counted = {"recreate": "always", "table_kwargs": {"sqlite_autoincrement": True}}
        with op.batch_alter_table(table, **(counted if _sqlite() and table != "follows" else {})) as batch:
            if table == "users" and missing.column("users", "email_confirmed"):
                batch.add_column(
                    sa.Column("email_confirmed", sa.Boolean(), nullable=False, server_default=sa.text("1"))
                )
            for name, condition in _CHECKS.get(table, {}).items():
                if missing.check(table, f"ck_{table}_{name}"):
                    batch.create_check_constraint(op.f(f"ck_{table}_{name}"), sa.text(condition))
    for name, columns in _LISTS.items():
        if missing.index("follows", name):
            op.create_index(op.f(name), "follows", columns)
    if not missing.index("follows", _OLD_LIST):
        op.drop_index(op.f(_OLD_LIST), "follows")
    _sessions()
    _changes()
    _public_posts()


def _count() -> None:
    """The counts may have drifted, and from now on the suspended do not count with others."""
    op.execute("DELETE FROM follows WHERE follower_id = followed_id")
    op.execute(
        "UPDATE users SET posts_count = (SELECT count(*) FROM posts WHERE author_id = users.id),"
        " following_count = (SELECT count(*) FROM follows WHERE follower_id = users.id),"
        " followers_count = (SELECT count(*) FROM follows WHERE followed_id = users.id)"
    )
    if context.is_offline_mode():
        return
    suspended = op.get_bind().execute(sa.text("SELECT id FROM users WHERE suspended_at IS NOT NULL"))
    for (number,) in suspended.fetchall():
        for mine, theirs, column in (
            ("follower_id", "followed_id", "followers_count"),
            ("followed_id", "follower_id", "following_count"),
        ):
            op.execute(
                f"UPDATE users SET {column} = {column} - 1"  # noqa: S608 - constants and a number of ours
                f" WHERE id IN (SELECT {theirs} FROM follows WHERE {mine} = {int(number)})"
            )


def _sessions() -> None:
    if missing.table("sessions"):
        op.create_table(
            "sessions",
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("user_id", sa.Integer(), nullable=False),
            sa.Column("agent", sa.String(200), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.Column("last_used", sa.DateTime(), nullable=False),
            sa.Column("expires_at", sa.DateTime(), nullable=False),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f("fk_sessions_user_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
            **TABLE_OPTIONS,
        )
    for column in ("user_id", "expires_at"):
        if missing.index("sessions", f"ix_sessions_{column}"):
            op.create_index(op.f(f"ix_sessions_{column}"), "sessions", [column])


def _changes() -> None:
    if missing.table("search_changes"):
        op.create_table(
            "search_changes",
            sa.Column("id", _BIG, nullable=False),
            sa.Column("post_id", sa.BigInteger(), nullable=False),
            sa.Column("created_at", sa.DateTime(), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_search_changes")),
            **TABLE_OPTIONS,
        )
    if missing.table("search_index"):
        op.create_table(
            "search_index",
            sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("which", sa.String(64), nullable=False),
            sa.Column("filled_to", sa.BigInteger(), nullable=False),
            sa.Column("is_whole", sa.Boolean(), nullable=False),
            sa.Column("leased_until", sa.DateTime(), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_search_index")),
            **TABLE_OPTIONS,
        )


def _public_posts() -> None:
    if missing.table("public_posts"):
        op.create_table(
            "public_posts",
            sa.Column("post_id", _BIG, autoincrement=False, nullable=False),
            sa.Column("words", sa.Text(), nullable=False),
            sa.ForeignKeyConstraint(
                ["post_id"], ["posts.id"], name=op.f("fk_public_posts_post_id"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("post_id", name=op.f("pk_public_posts")),
            **TABLE_OPTIONS,
        )
    if not context.is_offline_mode():
        _fill(op.get_bind())
    if _sqlite():
        # External content: the words are not stored a second time
        # (https://www.sqlite.org/fts5.html#external_content_tables),
        # nor their places: nothing asks for phrases.
        op.execute(
            "CREATE VIRTUAL TABLE public_posts_fts USING fts5(words, content='public_posts',"
            " content_rowid='post_id', detail='none', columnsize=0, tokenize='ascii tokenchars _')"
        )
        gone = (
            "INSERT INTO public_posts_fts (public_posts_fts, rowid, words)"
            " VALUES ('delete', old.post_id, old.words);"
        )
        here = "INSERT INTO public_posts_fts (rowid, words) VALUES (new.post_id, new.words);"
        _trigger("public_posts", "insert", "INSERT", here)
        _trigger("public_posts", "delete", "DELETE", gone)
        _trigger("public_posts", "update", "UPDATE OF words", f"{gone} {here}")
        op.execute("INSERT INTO public_posts_fts (public_posts_fts) VALUES ('rebuild')")
    elif missing.index("public_posts", _FULLTEXT):
        # An index keeps what was set when it was made: here, that "the" and "www" are words too.
        op.execute("SET SESSION innodb_ft_enable_stopword = OFF")
        op.execute(f"CREATE FULLTEXT INDEX {_FULLTEXT} ON public_posts (words)")


def _trigger(table: str, name: str, when: str, what: str) -> None:
    op.execute(f"CREATE TRIGGER {table}_fts_{name} AFTER {when} ON {table} BEGIN {what} END")


def _fill(bind: sa.engine.Connection) -> None:
    """From where a migration that was cut short had come to."""
    last = bind.execute(sa.text("SELECT MAX(post_id) FROM public_posts")).scalar() or 0
    query = sa.text(
        "SELECT posts.id, posts.body FROM posts JOIN users ON users.id = posts.author_id"
        " WHERE posts.id > :last AND users.suspended_at IS NULL ORDER BY posts.id LIMIT :limit"
    )
    insert = sa.text("INSERT INTO public_posts (post_id, words) VALUES (:post_id, :words)")
    while rows := bind.execute(query, {"last": last, "limit": _CHUNK}).fetchall():
        bind.execute(insert, [{"post_id": number, "words": words.stored(body)} for number, body in rows])
        last = rows[-1][0]


def _drop_search() -> None:
    if _sqlite():
        for name in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER IF EXISTS posts_fts_{name}")
        op.execute("DROP TABLE IF EXISTS posts_fts")
    elif not missing.index("posts", _OLD_FULLTEXT):
        op.execute(f"DROP INDEX {_OLD_FULLTEXT} ON posts")


def _make_search() -> None:
    """As revision 0002 made it."""
    if _sqlite():
        op.execute(
            "CREATE VIRTUAL TABLE posts_fts USING fts5("
            "body, content='posts', content_rowid='id', tokenize='unicode61 remove_diacritics 2')"
        )
        gone = "INSERT INTO posts_fts (posts_fts, rowid, body) VALUES ('delete', old.id, old.body);"
        here = "INSERT INTO posts_fts (rowid, body) VALUES (new.id, new.body);"
        _trigger("posts", "insert", "INSERT", here)
        _trigger("posts", "delete", "DELETE", gone)
        _trigger("posts", "update", "UPDATE OF body", f"{gone} {here}")
        op.execute("INSERT INTO posts_fts (posts_fts) VALUES ('rebuild')")
    elif missing.index("posts", _OLD_FULLTEXT):
        # Else MariaDB's new index lacks what was written while there was none.
        op.execute("ALTER TABLE posts FORCE")
        op.execute("SET SESSION innodb_ft_enable_stopword = OFF")
        op.execute(f"CREATE FULLTEXT INDEX {_OLD_FULLTEXT} ON posts (body)")


def downgrade() -> None:
    if _sqlite():
        op.execute("DROP TABLE IF EXISTS public_posts_fts")
    for table in ("public_posts", "search_index", "search_changes", "sessions"):
        if not missing.table(table):
            op.drop_table(table)
    if missing.index("follows", _OLD_LIST):
        op.create_index(op.f(_OLD_LIST), "follows", ["followed_id", "follower_id"])
    for name in _LISTS:
        if not missing.index("follows", name):
            op.drop_index(op.f(name), "follows")
    for table, checks in _CHECKS.items():
        with op.batch_alter_table(table) as batch:
            for name in checks:
                if not missing.check(table, f"ck_{table}_{name}"):
                    batch.drop_constraint(op.f(f"ck_{table}_{name}"), type_="check")
            if table == "users" and not missing.column("users", "email_confirmed"):
                batch.drop_column("email_confirmed")
    _make_search()
