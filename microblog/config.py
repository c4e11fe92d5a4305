"""The settings, checked where they come in."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values

from microblog.errors import HostError

ENV_FILE = Path("/etc/microblog/microblog.env")
SECRET_KEY_MIN = 32

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


@dataclass(frozen=True)
class Config:
    """What the application needs to know about its machine.

    :ivar secret_key: signs sessions and tokens; the same on every machine that serves a site.
    :ivar database_url: ``sqlite:////absolute/path`` or ``mysql+pymysql://USER@HOST/NAME?...``.
    :ivar site_name: the name visitors see.
    :ivar trusted_proxies: how many reverse proxies stand in front, each adding to X-Forwarded-For
        and X-Forwarded-Proto. With 0 these headers are anybody's word, and are ignored.
    :ivar https: whether visitors come by HTTPS: cookies are then kept from plain HTTP.
    """

    secret_key: str = field(repr=False)
    database_url: str = field(repr=False)
    site_name: str = "Microblog"
    trusted_proxies: int = 0
    https: bool = False

    @classmethod
    def load(
        cls, env_file: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ
    ) -> "Config":
        """Read the env file; what the real environment sets wins.

        :param env_file: the file; when not given, what ``MICROBLOG_ENV_FILE`` names, or
            ``/etc/microblog/microblog.env``. One that does not exist counts as empty.
        :raises HostError: if the file cannot be read, or a setting is missing or wrong.
        """
        path = Path(env_file or environ.get("MICROBLOG_ENV_FILE") or ENV_FILE)
        return _Reader(path, environ).config()


class _Reader:
    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        try:
            # A dollar sign in a secret is a dollar sign.
            values = dotenv_values(path, interpolate=False)
        except PermissionError:
            raise HostError(f"{path} may not be read by this user", "run this as root") from None
        except (OSError, UnicodeDecodeError) as error:
            raise HostError(f"{path} cannot be read: {error}", "it must be a text file") from None
        self.values = {**{key: value or "" for key, value in values.items()}, **environ}

    def config(self) -> Config:
        proxies = self.count("TRUSTED_PROXIES", 0)
        return Config(
            secret_key=self.secret_key(),
            database_url=self.database_url(),
            site_name=self.site_name(),
            trusted_proxies=proxies,
            https=self.boolean("HTTPS", proxies > 0),
        )

    def get(self, key: str) -> str:
        return self.values.get(key, "").strip()

    def wrong(self, key: str, problem: str, remedy: str) -> HostError:
        return HostError(f"{key} {problem}", f"{remedy} in {self.path} or in the environment")

    def secret_key(self) -> str:
        value = self.get("SECRET_KEY")
        # No default: sessions signed with a key that others know are open to everyone.
        if not value:
            raise self.wrong("SECRET_KEY", "is not set", "put the output of `openssl rand -hex 32`")
        if len(value) < SECRET_KEY_MIN:
            raise self.wrong(
                "SECRET_KEY",
                f"has {len(value)} characters, fewer than {SECRET_KEY_MIN}",
                "put the output of `openssl rand -hex 32`",
            )
        return value

    def database_url(self) -> str:
        value = self.get("DATABASE_URL")
        example = "put DATABASE_URL=sqlite:////var/lib/microblog/microblog.db"
        if not value:
            raise self.wrong("DATABASE_URL", "is not set", example)
        try:
            url = urlsplit(value)
            url.port  # noqa: B018 - raises ValueError when it is no port
        except ValueError:
            raise self.wrong("DATABASE_URL", "is not a URL", example) from None
        # The value itself stays out of the messages: it may hold a password.
        if url.scheme == "sqlite":
            if url.netloc or not url.path.startswith("//"):
                raise self.wrong("DATABASE_URL", "names no absolute path", example)
        elif url.scheme == "mysql+pymysql":
            if not url.path.strip("/"):
                raise self.wrong("DATABASE_URL", "names no database", "write mysql+pymysql://USER@HOST/NAME")
        else:
            raise self.wrong("DATABASE_URL", "is neither sqlite: nor mysql+pymysql:", example)
        return value

    def site_name(self) -> str:
        value = self.get("SITE_NAME") or Config.site_name
        if len(value) > 40 or not value.isprintable():
            raise self.wrong("SITE_NAME", "is not a name of at most 40 characters", "put a short name")
        return value

    def count(self, key: str, default: int) -> int:
        value = self.get(key)
        if not value:
            return default
        if not (value.isascii() and value.isdigit() and int(value) <= 10):
            raise self.wrong(key, f"is {value!r}, not a number from 0 to 10", f"put {key}=1 behind one proxy")
        return int(value)

    def boolean(self, key: str, default: bool) -> bool:
        value = self.get(key).lower()
        if not value:
            return default
        if value not in _TRUE | _FALSE:
            raise self.wrong(key, f"is {value!r}, neither true nor false", f"put {key}=true or {key}=false")
        return value in _TRUE
