"""``microblog status``: the site at a glance."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from microblog.config import Config
from microblog.host import certificate, layout, nginx, services, supervisor


def status() -> Iterator[tuple[str, str]]:
    """What runs, on what: pairs of a name and a state.

    :raises HostError: if the settings cannot be read.
    """
    config = Config.load(layout.env_file())
    yield "database", _database(config.database_url)
    yield "application", supervisor.program_state().lower()
    for unit in (supervisor.UNIT, nginx.UNIT):
        yield unit.partition(".")[0], services.state(unit)
    yield "certificate", _certificate()


def _database(url: str) -> str:
    """The database without its password."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return f"SQLite, {parts.path[1:]}"
    return f"MySQL, {parts.path.strip('/')} on {parts.hostname}"


def _certificate() -> str:
    if not certificate.CERTIFICATE.exists():
        return "none"
    done = services.run("openssl", "x509", "-in", str(certificate.CERTIFICATE), "-noout", "-enddate")
    return f"until {done.stdout.strip().partition('=')[2]}" if done.returncode == 0 else "unreadable"
