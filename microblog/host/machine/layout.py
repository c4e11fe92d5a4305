"""Where things are on a server, and whose they are."""

import grp
import os
import pwd
from pathlib import Path

from dotenv import dotenv_values

from microblog import names
from microblog.config import SOCKET
from microblog.errors import HostError

USER = "microblog"

ETC = Path("/etc/microblog")
ENV_FILE = ETC / "microblog.env"
ANSWERS = ETC / "setup.conf"
# Settings answered to debconf, which setup takes over into the environment file.
ANSWERED = ETC / "answers"
TLS = ETC / "tls"
STATE = Path("/var/lib/microblog")
LOGS = Path("/var/log/microblog")
RUN = Path("/run/microblog")
# When the machine's secrets were made, in the boot in which they were: the web's ``nearby`` asks for it.
FIRST_BOOT = RUN / "first-boot"
# Root's alone: backups hold every secret of the site, and in a directory of the
# application's, a symbolic link could point root's pen at any file.
BACKUPS = Path("/var/backups/microblog")
# The unit that goes on with a setup whose database did not answer at the boot.
LATER = "microblog-setup-later"
# A restore that has only to be completed; an upgrade that has not ended yet.
RESTORING = BACKUPS / "restoring"
UPGRADING = BACKUPS / "upgrading.json"
SQLITE_FILE = STATE / "microblog.db"


def env_file() -> Path:
    """The environment file: what ``MICROBLOG_ENV_FILE`` names, else the package's."""
    return Path(os.environ.get("MICROBLOG_ENV_FILE") or ENV_FILE)


def app_address() -> str:
    """Where gunicorn answers nginx: ``unix:/PATH`` or ``HOST:PORT``, the first that ``BIND`` lists."""
    try:
        wanted = dotenv_values(env_file(), interpolate=False).get("BIND") or ""
    except (OSError, UnicodeDecodeError):
        wanted = ""
    first = (os.environ.get("BIND") or wanted).partition(",")[0].strip()
    if first.startswith("unix:/"):
        return first
    host, _, port = first.rpartition(":")
    if not (port.isascii() and port.isdigit()):
        return f"unix:{SOCKET}"
    # One that listens everywhere is asked at home.
    return f"{ {'0.0.0.0': '127.0.0.1', '': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"  # noqa: S104


def open_ports(bind: str) -> set[int]:
    """The TCP ports at which others than this machine's programs reach gunicorn itself.

    :param bind: as ``BIND`` has it.
    """
    found = (one.strip().rpartition(":") for one in bind.split(",") if not one.strip().startswith("unix:"))
    return {int(port) for host, _, port in found if port.isdigit() and not names.is_loopback(host)}


def user_ids() -> tuple[int, int]:
    """The application user's uid and gid.

    :raises HostError: if there is no such user.
    """
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        raise HostError(f"there is no user {USER}", "dpkg-reconfigure microblog makes it") from None
    return user.pw_uid, user.pw_gid


def make_directories() -> None:
    """Make those of the package's directories that are gone (a lost /var, a half restored backup)."""
    uid, gid = user_ids()
    # Root writes the logs: in a directory of the application's own, a symbolic
    # link could point root's pen at any file.
    adm = grp.getgrnam("adm").gr_gid
    owners = {ETC: (0, gid), STATE: (uid, gid), LOGS: (0, adm)}
    for path in missing_directories():
        path.mkdir(mode=0o750)
        os.chown(path, *owners[path])
    # The application makes its socket there, a web server enters; whoever else could, could take
    # the application's place while it does not run.
    RUN.mkdir(mode=0o755, exist_ok=True)
    SOCKET.parent.mkdir(mode=0o710, exist_ok=True)
    os.chown(SOCKET.parent, uid, _web_gid(gid))
    SOCKET.parent.chmod(0o710)


def missing_directories() -> list[Path]:
    """Those of the package's that are gone."""
    return [path for path in (ETC, STATE, LOGS) if not path.is_dir()]


def _web_gid(default: int) -> int:
    """The group of the web servers (Debian's www-data)."""
    try:
        return grp.getgrnam("www-data").gr_gid
    except KeyError:
        return default


def user_exists() -> bool:
    """Whether the package has made its user here."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True
