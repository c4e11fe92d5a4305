"""Tables beside the site's, in its own database: for who may make no second one.

A cluster's or a rented database's user often has the one database and no more. The restored tables stand in
it with a prefix that nobody else's have, are filled while the site goes on, and take the site's names by one
RENAME TABLE, which the server does wholly or not at all. The migrations make them: their statements get the
prefix on the way to the server.
"""

import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from microblog.errors import HostError
from microblog.host.database import rows, server
from microblog.host.database.staging import OnServer

if TYPE_CHECKING:
    import sqlalchemy as sa

_NEW, _OLD = rows.ASIDE
# A text between quotes, a name between backquotes, or a word.
_TOKENS = re.compile(
    r"'(?:[^'\\]|\\.|'')*'" r'|"(?:[^"\\]|\\.|"")*"' r"|`(?P<name>[^`]+)`|(?P<word>\b[A-Za-z_]\w*\b)"
)
# Names that are a database's, not a table's: MySQL's checks are, MariaDB's are not.
_REFERENCE = re.compile(
    r"\b(CONSTRAINT\s+`?)(?=\w+`?\s+FOREIGN\b)|\b(FOREIGN\s+KEY\s+`?)(?=\w)", re.IGNORECASE
)
_CHECK = re.compile(r"\b(CONSTRAINT\s+`?)(?=\w+`?\s+CHECK\b)", re.IGNORECASE)
_CONSTRAINT = re.compile(rf"^\s*CONSTRAINT `{_NEW}(?P<name>\w+)` (?P<what>.*?),?$", re.MULTILINE)
# A table that a migration makes, by what it says in its file.
_MADE = re.compile(r'\b(?:missing\.table|create_table)\(\s*"(\w+)"')


def prefixed(statement: str, names: Collection[str], *, checks: bool) -> str:
    """A statement about tables, told of those with the prefix.

    :param names: of all tables that it may be about.
    :param checks: whether the names of checks are the database's, too.
    """

    def one(match: "re.Match[str]") -> str:
        if (name := match["name"]) in names:
            return f"`{_NEW}{name}`"
        return f"{_NEW}{match['word']}" if match["word"] in names else match[0]

    text = _TOKENS.sub(one, statement)
    for pattern in (_REFERENCE, *([_CHECK] if checks else [])):
        text = pattern.sub(lambda match: f"{match[0]}{_NEW}", text)
    return text


def _prefixed_values(values: Any, names: Collection[str]) -> Any:
    if isinstance(values, dict):
        return {key: _prefixed_values(value, names) for key, value in values.items()}
    if isinstance(values, (tuple, list)):
        return type(values)(_prefixed_values(value, names) for value in values)
    return f"{_NEW}{values}" if isinstance(values, str) and values in names else values


def known_tables() -> set[str]:
    """All tables that a site has, or has had at any revision."""
    from microblog.database import db
    from microblog.host.database import schema

    made = {
        name for path in schema.migrations().glob("*.py") for name in _MADE.findall(path.read_text("utf-8"))
    }
    return {*made, *db.metadata.tables, rows.REVISIONS, rows.LEASE}


class Aside(OnServer):
    """As the user in DATABASE_URL, who needs no more rights than the site has."""

    prefix = _NEW

    def __init__(self, url: str, target: server.Target, say: Callable[[str], None]) -> None:
        super().__init__(target, say)
        self.url = url
        self._needs = (
            f"a restore makes tables beside the site's: GRANT ALL ON {target.name}.* TO {target.user}"
        )

    def attach(self, engine: "sa.engine.Engine") -> None:
        import sqlalchemy as sa

        names = known_tables()

        @sa.event.listens_for(engine, "before_cursor_execute", retval=True)
        def change(
            connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
        ) -> tuple[str, Any]:
            # SQLAlchemy 1.4 asks by such a value whether there is a table.
            if "information_schema." in statement.lower():
                parameters = _prefixed_values(parameters, names)
            return prefixed(statement, names, checks=not connection.dialect.is_mariadb), parameters

    def make(self, backup: str) -> bool:
        if self._begun(f"{_NEW}{rows.JOURNAL}", backup):
            return True
        self.discard()
        self._run(*rows.journal(_NEW, backup))
        return False

    def leftover(self) -> bool:
        return bool(self._there(_NEW))

    def live_tables(self) -> list[str]:
        return [name for name in self._tables(self.target.name) if not name.startswith(rows.ASIDE)]

    def swap(self, strays: list[str]) -> None:
        new = self._there(_NEW)
        if not new:
            return  # done before an interruption
        away = [name for name in self.live_tables() if name in {*new, *strays}]
        moves = [(name, f"{_OLD}{name}") for name in away] + [(f"{_NEW}{name}", name) for name in new]
        self._run("RENAME TABLE " + ", ".join(f"`{one}` TO `{other}`" for one, other in moves))

    def discard(self) -> None:
        left = {name for name in self._tables(self.target.name) if name.startswith(rows.ASIDE)}
        journal = f"{_NEW}{rows.JOURNAL}"
        if left and journal not in left:
            raise HostError(
                f"the table {min(left)} of the database {self.target.name} is somebody else's,"
                " and none of a restore's",
                "nothing was changed; a restore needs such names: rename or drop it",
            )
        if left:
            names = ", ".join(f"`{name}`" for name in sorted(left - {journal}))
            drops = [f"DROP TABLE IF EXISTS {names}"] if names else []
            # By the last one the others are known as a restore's.
            self._run("SET SESSION foreign_key_checks = 0", *drops, f"DROP TABLE IF EXISTS `{journal}`")
        for table in sorted(known_tables().intersection(self.live_tables())):
            self._name_constraints(table)

    def _name_constraints(self, table: str) -> None:
        """A later migration looks for them by their own names."""
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"SHOW CREATE TABLE `{table}`")
            found = list(_CONSTRAINT.finditer(cursor.fetchone()[1]))
        if found:
            changes = [
                part
                for match in found
                for part in (
                    f"DROP CONSTRAINT `{_NEW}{match['name']}`",
                    f"ADD CONSTRAINT `{match['name']}` {match['what']}",
                )
            ]
            # The rows were seen to be right: not to look again makes it a matter of a moment.
            self._run("SET SESSION foreign_key_checks = 0", f"ALTER TABLE `{table}` " + ", ".join(changes))

    def _there(self, prefix: str) -> list[str]:
        """The tables with a prefix, without it, and without what is noted of them."""
        names = [name for name in self._tables(self.target.name) if name.startswith(prefix)]
        return sorted({name.removeprefix(prefix) for name in names} - {rows.JOURNAL})
