"""Where things are on a server, and whose they are."""

import grp
import os
import pwd
from pathlib import Path

from dotenv import dotenv_values

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
# Root's alone: backups hold every secret of the site, and in a directory of the
# application's, a symbolic link could point root's pen at any file.
BACKUPS = Path("/var/backups/microblog")
# A restore that has only to be completed; an upgrade that has not ended yet.
RESTORING = BACKUPS / "restoring"
UPGRADING = BACKUPS / "upgrading.json"
SQLITE_FILE = STATE / "microblog.db"


def env_file() -> Path:
    """The environment file: what ``MICROBLOG_ENV_FILE`` names, else the package's."""
    return Path(os.environ.get("MICROBLOG_ENV_FILE") or ENV_FILE)


def app_address() -> tuple[str, int]:
    """Where gunicorn answers: the first address that ``BIND`` lists, else port 8000 of this machine alone."""
    try:
        wanted = dotenv_values(env_file(), interpolate=False).get("BIND") or ""
    except (OSError, UnicodeDecodeError):
        wanted = ""
    host, _, port = wanted.partition(",")[0].strip().rpartition(":")
    if not (port.isascii() and port.isdigit()):
        return "127.0.0.1", 8000
    # One that listens everywhere is asked at home.
    host = host.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host), int(port)  # noqa: S104


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
    for path, owner, group in ((ETC, 0, gid), (STATE, uid, gid), (LOGS, 0, adm)):
        if not path.is_dir():
            path.mkdir(mode=0o750)
            os.chown(path, owner, group)


def user_exists() -> bool:
    """Whether the package has made its user here."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True
