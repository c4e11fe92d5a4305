"""The local database server: a database, and a user who reaches nothing else.

MariaDB and MySQL both let the system's root in over their socket, and a user of
theirs in when the system user of the same name knocks: no password exists
(https://mariadb.com/kb/en/authentication-plugin-unix-socket/,
https://dev.mysql.com/doc/refman/8.0/en/socket-pluggable-authentication.html).
"""

import inspect
import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microblog.errors import HostError
from microblog.host.machine import layout, privileges, services

_SOCKET = "/run/mysqld/mysqld.sock"
_SERVERS = (Path("/usr/sbin/mariadbd"), Path("/usr/sbin/mysqld"))
_UNITS = ("mariadb.service", "mysql.service")
# A server that recovers after a power cut, on a slow disk, takes minutes.
WAIT_SECONDS = 600
# Client errors: no socket yet, connection refused or lost (PyMySQL, constants/CR.py);
# server errors: starting up, shutting down.
_NOT_YET = {2002, 2003, 2006, 2013, 1053, 1040}
# There is no such database, or no such table.
NOTHING_THERE = (1049, 1146)
# Where Alembic keeps the schema's revision.
REVISIONS = "alembic_version"
# What a migration makes before that.
_LEASE = "migration_lease"
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
# Of PyMySQL's options, those that a target has fields for, or that are always the same.
_ASKED = {"host", "port", "user", "password", "passwd", "database", "db", "unix_socket", "charset"}
# By these it takes no notice of what SQLAlchemy makes of ssl_ca and its like.
_CHECKING = {"ssl_verify_cert", "ssl_verify_identity"}
_FORGETTING = {*_CHECKING, "ssl_disabled"}
# All that this system believes (ca-certificates).
_SYSTEMS = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Target:
    """What a ``mysql+pymysql:`` URL says.

    :ivar socket: the server's socket on this machine; empty for a server reached by TCP.
    :ivar port: TCP port.
    :ivar options: PyMySQL's, for what else the URL says: TLS above all.
    """

    host: str
    port: int
    user: str
    password: str
    name: str
    socket: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, url: str) -> "Target | None":
        """What SQLAlchemy makes of it for PyMySQL: the application connects with the same.

        :return: None for another kind of database.
        """
        if not url.startswith("mysql+pymysql:"):
            return None
        from sqlalchemy.engine import make_url

        parsed = make_url(url)
        try:
            _, found = parsed.get_dialect()().create_connect_args(parsed)
        except ValueError:
            raise HostError(
                "DATABASE_URL has an option, behind its ?, with a value that is none of its kind",
                "mend it there; then: microblog setup",
            ) from None
        return cls(
            host=parsed.host or "localhost",
            port=parsed.port or 3306,
            user=parsed.username or "",
            password=str(parsed.password or ""),
            name=parsed.database or "",
            socket=found.get("unix_socket", ""),
            options={name: value for name, value in found.items() if name not in _ASKED},
        )

    @property
    def tls_files(self) -> list[str]:
        """The files that it takes for TLS: an authority's certificate, one's own and its key."""
        found: dict[str, Any] = self.options.get("ssl") or {}
        return [str(found[name]) for name in ("ca", "cert", "key") if found.get(name)]

    @property
    def ours(self) -> bool:
        """Whether it is setup's to make: on this machine's socket, with this package's user."""
        return bool(self.socket) and self.user == layout.USER and not self.password


def renamed(url: str, name: str) -> str:
    """The URL of another database of the same server's."""
    from sqlalchemy.engine import make_url

    # str() would hide the password.
    return str(make_url(url).set(database=name).render_as_string(hide_password=False))


def configured(name: str, usual: str, *groups: str) -> str:
    """An option of this machine's server, or of its clients, as its files have it (my_print_defaults(1)).

    :param usual: where they do not have it.
    """
    found = usual
    for line in services.run("my_print_defaults", *groups).stdout.splitlines():
        option, _, value = line.partition("=")
        if option.lstrip("-").replace("_", "-") == name and value:
            found = value
    return found


def data() -> Path:
    """Where this machine's server has its data; often on a disk of their own."""
    return Path(configured("datadir", "/var/lib/mysql", "mysqld", "server", "mariadb", "mariadbd"))


def socket() -> str:
    """Where this machine's programs find its server."""
    return configured("socket", _SOCKET, "client", "client-server", "client-mariadb")


def server_installed() -> bool:
    """Whether a MySQL or MariaDB server is installed here."""
    return any(path.exists() for path in _SERVERS)


def default_url() -> str:
    """The database of a machine whose administrator named none."""
    if server_installed():
        return f"mysql+pymysql://{layout.USER}@localhost/{layout.USER}?unix_socket={socket()}"
    return f"sqlite:///{layout.SQLITE_FILE}"


def connect(
    target: Target,
    say: Callable[[str], None],
    *,
    as_root: bool,
    wait_seconds: float = WAIT_SECONDS,
) -> Any:
    """Connect, and wait for a server that is starting.

    :param as_root: as the database's root, over the socket, and to no database.
    :param wait_seconds: how long to wait.
    :return: a PyMySQL connection.
    :raises HostError: if the server does not come, or does not let us in.
    """
    import pymysql

    _see_options(target)
    where = target.socket or f"{target.host}:{target.port}"
    options: dict[str, Any] = {"charset": "utf8mb4", "connect_timeout": 10, **target.options}
    if target.socket:
        options["unix_socket"] = target.socket
    else:
        options.update(host=target.host, port=target.port)
    if as_root:
        options["user"] = "root"
    else:
        options.update(user=target.user, password=target.password, database=target.name)
    for path in target.tls_files:
        _see_readable(path)
    deadline = time.monotonic() + wait_seconds
    waiting = False
    while True:
        try:
            connection = pymysql.connect(**options)
            if connection.ssl and not connection._secure:
                # PyMySQL would go on in the clear.
                connection.close()
                raise HostError(
                    f"the database server at {where} offers no TLS, which DATABASE_URL asks for",
                    "turn it on there; then: microblog setup",
                )
            return connection
        except (pymysql.err.OperationalError, pymysql.err.InternalError) as error:
            number, text = error.args[0], str(error.args[-1])
            cause = getattr(error, "original_exception", None)
            if isinstance(cause, ssl.SSLError):
                raise HostError(
                    f"the database server at {where} is not who DATABASE_URL says:"
                    f" {getattr(cause, 'verify_message', '') or cause.reason}",
                    "let ssl_ca there name the certificate of its own authority; then: microblog setup",
                ) from None
            if number not in _NOT_YET:
                raise HostError(
                    f"the database server at {where} refuses: {text}", _remedy(target, as_root)
                ) from None
            if time.monotonic() > deadline or (target.socket and _down()):
                raise HostError(
                    f"no database server answers at {where}",
                    _why_down()
                    if target.socket
                    else "check DATABASE_URL and the network; then: microblog setup",
                ) from None
        except ssl.SSLError:
            raise HostError(
                f"{' or '.join(target.tls_files)}, which DATABASE_URL names for TLS, has no certificate",
                "put one there, as PEM (-----BEGIN CERTIFICATE-----); then: microblog setup",
            ) from None
        except RuntimeError as error:
            # PyMySQL's, of a password of MySQL 8's that goes by TCP without TLS.
            raise HostError(
                f"the database server at {where} cannot be logged in to: {error}",
                "apt-get install python3-cryptography; then try again",
            ) from None
        if not waiting:
            say(f"Waiting for the database server at {where} ...")
            waiting = True
        time.sleep(0.5)


def _see_options(target: Target) -> None:
    """:raises HostError: an option that PyMySQL does not know, or by which it would forget others."""
    from pymysql.connections import Connection

    known = inspect.signature(Connection.__init__).parameters
    strange = [name for name in target.options if name not in known]
    if not isinstance(target.options.get("ssl", {}), dict):
        strange.append("ssl")
    if strange:
        raise HostError(
            f"DATABASE_URL has an option that is not known: {min(strange)}",
            "take it out there; TLS is asked for by ?ssl_ca=FILE; then: microblog setup",
        )
    tls: dict[str, Any] = target.options.get("ssl") or {}
    # What a library makes of these alone is a secret that is told to whoever answers.
    if (asked := (_CHECKING & set(target.options)) | set(tls)) and not {"ca", "capath"} & set(tls):
        name = min(f"ssl_{word.removeprefix('ssl_')}" for word in asked)
        raise HostError(
            f"{name} in DATABASE_URL asks for TLS, but nothing there says whose certificate is right",
            f"{'put ssl_ca=FILE in its place' if name in _CHECKING else 'add ssl_ca=FILE'}, the certificate"
            f" of its authority; for a public one, {_SYSTEMS}; then: microblog setup",
        )
    if target.options.get("ssl") and (more := _FORGETTING & set(target.options)):
        raise HostError(
            f"with {min(more)} in DATABASE_URL, the other options for TLS would not count",
            f"take {min(more)} out there: with ssl_ca the server's certificate and name are checked;"
            " then: microblog setup",
        )


def _see_readable(path: str) -> None:
    """:raises HostError: a file that is not there, or not for the application to read."""
    if not Path(path).is_file():
        raise HostError(
            f"{path}, which DATABASE_URL names for TLS, is not there", "put it there; then: microblog setup"
        )
    if os.geteuid() == 0 and not privileges.call(lambda: str(len(Path(path).read_bytes())))[0]:
        raise HostError(
            f"the user {layout.USER} cannot read {path}, which DATABASE_URL names for TLS",
            f"put it into {layout.ETC} with mode 644; then: microblog setup",
        )


def _remedy(target: Target, as_root: bool) -> str:
    if as_root:
        return (
            f"make a database and a user for {target.name} by hand and name them in DATABASE_URL, "
            "or let root in over the socket; then: microblog setup"
        )
    if not target.socket and not target.tls_files:
        # MariaDB says no more than that it denies access.
        return "check DATABASE_URL; if it asks for TLS, add ?ssl_ca=FILE there; then: microblog setup"
    return "check DATABASE_URL; then: microblog setup"


def _why_down() -> str:
    if services.booted():
        return "systemctl status mariadb mysql says why; then: microblog setup"
    return "service mariadb start (or mysql); then: microblog setup"


def _down() -> bool:
    """Whether no local server runs or is about to, as far as is known."""
    states = {services.state(unit) for unit in _UNITS}
    # Without systemd, the server's init script has one name of the two.
    return bool(states & {"inactive", "failed"}) and states <= {"inactive", "failed", "unknown"}


def tables(connection: Any, name: str) -> list[str]:
    """The tables of a database; none where there is no such database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (name,))
        return sorted({str(row[0]) for row in cursor.fetchall()} - {_LEASE})


def refuse_strangers(where: str, found: "set[str] | list[str]") -> None:
    """See that a database is empty or one of Alembic's.

    :param found: its tables.
    :raises HostError: it is somebody else's.
    """
    if not found or REVISIONS in found:
        return
    some = ", ".join(sorted(found)[:3])
    raise HostError(
        f"{where} is somebody else's: it has {len(found)} tables ({some} ...), none of them Microblog's",
        "nothing was changed; name another database in DATABASE_URL; then: microblog setup",
    )


def _refuse_other_user(cursor: Any, target: Target) -> None:
    """See that a user of our name is one that the socket lets in."""
    cursor.execute("SELECT plugin FROM mysql.user WHERE user = %s AND host = 'localhost'", (target.user,))
    row = cursor.fetchone()
    if row and str(row[0]) not in ("unix_socket", "auth_socket"):
        raise HostError(
            f"the database server has a user {target.user} of somebody else's, with a password",
            "nothing was changed; name a database and a user in DATABASE_URL, or drop this user",
        )


def ensure(connection: Any, target: Target) -> list[str]:
    """Make the database and its user where they are missing.

    :param connection: as the database's root.
    :return: what was made.
    :raises HostError: if the database's name cannot be used, or what is there is somebody else's.
    """
    name = target.name
    if not _NAME.fullmatch(name):
        raise HostError(f"{name!r} is no name for a database", "use letters, digits and _ in DATABASE_URL")
    made = []
    refuse_strangers(f"the database {name}", tables(connection, name))
    with connection.cursor() as cursor:
        _refuse_other_user(cursor, target)
        cursor.execute("SELECT VERSION()")
        mariadb = "mariadb" in str(cursor.fetchone()[0]).lower()
        cursor.execute("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", (name,))
        if not cursor.fetchone():
            cursor.execute(
                f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            )
            made.append(f"database {name}")
        cursor.execute("SELECT 1 FROM mysql.user WHERE user = %s AND host = 'localhost'", (target.user,))
        if not cursor.fetchone():
            how = "IDENTIFIED VIA unix_socket" if mariadb else "IDENTIFIED WITH auth_socket"
            cursor.execute(f"CREATE USER IF NOT EXISTS '{target.user}'@'localhost' {how}")
            made.append(f"database user {target.user}")
        # In a grant, _ would stand for any character.
        pattern = name.replace("_", "\\_")
        cursor.execute(
            "SELECT 1 FROM mysql.db WHERE user = %s AND host = 'localhost' AND db IN (%s, %s)",
            (target.user, name, pattern),
        )
        if not cursor.fetchone():
            cursor.execute(f"GRANT ALL PRIVILEGES ON `{pattern}`.* TO '{target.user}'@'localhost'")
            made.append(f"grant on {name} alone")
    return made


def revisions(connection: Any, target: Target) -> set[str]:
    """The revisions the schema is at; none for an empty database."""
    import pymysql

    with connection.cursor() as cursor:
        try:
            cursor.execute(f"SELECT version_num FROM `{target.name}`.alembic_version")  # noqa: S608
        except pymysql.err.MySQLError as error:
            if error.args[0] in NOTHING_THERE:
                return set()
            raise
        return {str(row[0]) for row in cursor.fetchall()}
