"""Recognise a deployment by hand: supervisor's program, nginx's site, the folder with its settings.

As the tutorial has it: a program ``microblog`` in /etc/supervisor/conf.d, a site in
/etc/nginx/sites-enabled, both leading to a folder with ``.env``, whose DATABASE_URL may be MySQL's,
or else ``app.db``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from dotenv import dotenv_values

from microblog.errors import HostError
from microblog.host.database import server
from microblog.host.site import nginx, supervisor

_SITES = Path("/etc/nginx/sites-enabled")
# How the tutorial calls the application, where supervisor has it run by gunicorn.
_APPLICATION = re.compile(r"\bmicroblog:app\b")
_SQLITE = "app.db"
_IN_THE_FOLDER = (Path(_SQLITE), Path("instance") / _SQLITE)


@dataclass(frozen=True)
class Deployment:
    """:ivar programs: supervisor's, each with its file.
    :ivar sites: nginx's files or links that lead to it.
    :ivar folder: where it lives; None where that is not known.
    """

    programs: tuple[tuple[str, Path], ...]
    sites: tuple[Path, ...]
    folder: Path | None

    def told(self) -> str:
        """What it is known by, in a few words."""
        paths = [*dict.fromkeys(path for _, path in self.programs), *self.sites, *filter(None, [self.folder])]
        return ", ".join(map(str, paths))

    def lines(self) -> list[str]:
        """What is said of it as long as it has our program's name."""
        return [
            f"A site deployed by hand has this one's place: {self.told()}",
            "Nothing of it was touched, and this site is not started beside it. 'microblog import' takes its"
            " accounts, followers and posts over, and says how it is retired",
        ]

    def retiring(self, again: str) -> list[str]:
        """The commands that put it out of service, each of which can be taken back.

        :param again: the one that takes over what was written until then.
        """
        lines = [f"supervisorctl stop {name}" for name, _ in self.programs]
        lines += [
            again,
            *(f"mv {path} {path}.retired" for path in dict.fromkeys(p for _, p in self.programs)),
        ]
        lines += [f"mv {path} /etc/nginx/{path.name}.retired" for path in self.sites]
        return [*lines, *(["supervisorctl update"] if self.programs else []), "microblog setup"]


def look() -> Deployment | None:
    """The deployment by hand on this machine, if there is one."""
    known = list(supervisor.other_programs())
    theirs = [
        options
        for name, _, options in known
        if name == supervisor.PROGRAM or _APPLICATION.search(options.get("command", ""))
    ]
    folders = [options["directory"] for options in theirs if options.get("directory")]
    folder = Path(folders[0]) if folders else next(_folders(), None)
    # With what works for it: a later chapter's tasks.
    programs = [
        (name, path)
        for name, path, options in known
        if options in theirs or (folder and options.get("directory") == str(folder))
    ]
    if not programs and folder is None:
        return None
    return Deployment(tuple(programs), tuple(_sites(folder)), folder)


def in_the_way() -> Deployment | None:
    """A deployment by hand whose program has our program's name: as long as it is there, ours cannot be."""
    return look() if supervisor.theirs() else None


def _folders() -> Iterator[Path]:
    for home in (*sorted(Path("/home").glob("*")), Path("/root")):
        folder = home / "microblog"
        if (folder / "microblog.py").is_file() and (folder / "app").is_dir():
            yield folder


def _sites(folder: Path | None) -> Iterator[Path]:
    ours = set(nginx.links())
    for path in sorted(_SITES.iterdir()) if _SITES.is_dir() else []:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if path in ours or not re.search(r"(?m)^\s*proxy_pass\b", text):
            continue
        if path.name.removesuffix(".conf") == "microblog" or (folder and f"{folder}/" in text):
            yield path


def source(told: str) -> str:
    """Where the old database is.

    :param told: a URL, a folder, an environment file or a SQLite file; empty: look for it.
    :return: SQLAlchemy's URL of it.
    :raises HostError: there is none.
    """
    if "://" in told:
        return _url(told, Path.cwd())
    if not told:
        deployment = look()
        if deployment is None or deployment.folder is None:
            raise HostError(
                "no deployment by hand was found on this machine",
                "name it: microblog import FOLDER, or its DATABASE_URL, or a copy of its app.db",
            )
        told = str(deployment.folder)
    path = Path(told).absolute()
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        raise HostError(f"{path} is not there", "name the old site's folder, its .env or its app.db")
    with path.open("rb") as file:
        if file.read(16) == b"SQLite format 3\0":
            return f"sqlite:///{path}"
    values = _settings(path)
    if not values.get("DATABASE_URL"):
        raise HostError(f"{path} names no DATABASE_URL", "name the old site's folder or its database")
    return _url(values["DATABASE_URL"], path.parent)


def _of_folder(folder: Path) -> str:
    env = folder / ".env"
    wanted = _settings(env).get("DATABASE_URL") if env.is_file() else None
    if wanted:
        return _url(wanted, folder)
    for name in _IN_THE_FOLDER:
        if (folder / name).is_file():
            return f"sqlite:///{folder / name}"
    raise HostError(
        f"{folder} has neither a .env that names a DATABASE_URL nor an app.db",
        "name its database: microblog import URL, or a copy of its app.db",
    )


def _settings(path: Path) -> dict[str, str]:
    try:
        return {name: value or "" for name, value in dotenv_values(path, interpolate=False).items()}
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(f"{path} cannot be read: {error}", "name the old site's database") from None


def _url(url: str, folder: Path) -> str:
    """As SQLAlchemy has it here: by the driver that is here, and from the root on."""
    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] in ("mysql", "mariadb"):
        # By the socket, where it is this machine's server: MySQL 8 takes a password by TCP only over TLS, or
        # with the help of a library that may not be here.
        if not re.search(r"(?:^|@)(?:localhost|127\.0\.0\.1)(?::3306)?/", rest) or "unix_socket=" in rest:
            return f"mysql+pymysql://{rest}"
        at = server.socket()
        socket = f"{'&' if '?' in rest else '?'}unix_socket={at}" if Path(at).exists() else ""
        return f"mysql+pymysql://{rest}{socket}"
    if scheme == "sqlite":
        # sqlite:///RELATIVE, to the old site's folder; sqlite:////ABSOLUTE.
        named = unquote(rest.removeprefix("/").partition("?")[0])
        places = [folder / named, folder / "instance" / named]
        path = next((place for place in places if place.is_file()), places[0])
        if not path.is_file():
            raise HostError(f"the old database {path} is not there", "name it: microblog import FILE")
        return f"sqlite:///{path}"
    raise HostError(
        f"the old database is {scheme}'s: only MySQL's, MariaDB's and SQLite's can be taken over",
        "copy it into one of these; its tables are user, post and followers",
    )
