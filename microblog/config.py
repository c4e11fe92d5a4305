"""The settings, checked where they come in."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values

from microblog import claiming, names
from microblog.errors import HostError
from microblog.printable import is_printable

ENV_FILE = Path("/etc/microblog/microblog.env")
# Where gunicorn answers nginx: in a folder that nobody else may enter, so that nobody else can answer.
SOCKET = Path("/run/microblog/socket/gunicorn.sock")
SECRET_KEY_MIN = 32

# A name or an address, IPv6 in brackets, and perhaps a port: what a Host header holds. Names have at
# most 253 characters, in labels of 63 (RFC 1035, 2.3.4).
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(
    rf"(?:(?=[^:]{{1,253}}(?::|\Z)){_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]{{2,45}}\])(?::[0-9]{{1,5}})?"
)
# root@localhost is one: a server has mailboxes of its own.
# No token that is tried out.
_TOKEN_MIN = 20
_MAILBOX = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?"
)

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


@dataclass(frozen=True)
class MailServer:
    """The SMTP server that takes the site's messages.

    :ivar tls: ``""``, ``"starttls"`` or ``"tls"`` (from the first byte on).
    """

    host: str
    port: int = 25
    username: str = ""
    password: str = field(default="", repr=False)
    tls: str = ""


@dataclass(frozen=True)
class Config:
    """What the application needs to know about its machine.

    :ivar secret_key: signs sessions and tokens; the same on every machine that serves a site.
    :ivar database_url: ``sqlite:////absolute/path`` or ``mysql+pymysql://USER@HOST/NAME?...``.
    :ivar site_name: the name visitors see.
    :ivar trusted_proxies: how many reverse proxies stand in front, each adding to X-Forwarded-For
        and X-Forwarded-Proto. With 0 these headers are anybody's word, and are ignored.
    :ivar proxy_networks: where those proxies are; from elsewhere the headers are ignored. A
        Unix socket's other end is always on this machine.
    :ivar https: whether visitors come by HTTPS: cookies are then kept from plain HTTP.
    :ivar host_names: the names visitors may use, the one for links in mails first, each with a
        port where it is not the usual one. Empty: this machine's own names and any address.
    :ivar mail: who sends mail; None: nobody, and what needs mail is not offered.
    :ivar mail_from: the sender's address; empty: noreply at the site's first name.
    :ivar admins: who gets mail about errors.
    :ivar gravatar: whether pictures come from gravatar.com, which thereby learns who reads what;
        else they are drawn from the name.
    :ivar translator_key: of Microsoft Translator; without one, posts are not translated.
    :ivar translator_region: the region of that subscription; empty for a global one.
    :ivar elasticsearch_url: where posts are searched, ``http[s]://[USER:PASSWORD@]HOST[:PORT][/INDEX]``;
        empty: in the database.
    :ivar claim_code: by which the owner of a new site proves to be it; empty: a new site is anybody's to
        register at.
    :ivar claim_nearby: whether, for an hour after a machine's first boot, visitors of its own home network
        need none.
    :ivar metrics_token: who has it may read ``/metrics``; empty: there is no such page.
    :ivar bind: where gunicorn listens, with commas; empty: the socket that nginx looks for.
    """

    secret_key: str = field(repr=False)
    database_url: str = field(repr=False)
    site_name: str = "Microblog"
    trusted_proxies: int = 0
    proxy_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    https: bool = False
    host_names: tuple[str, ...] = ()
    mail: MailServer | None = None
    mail_from: str = ""
    admins: tuple[str, ...] = ()
    gravatar: bool = False
    translator_key: str = field(default="", repr=False)
    translator_region: str = ""
    elasticsearch_url: str = field(default="", repr=False)
    bind: str = ""
    claim_code: str = field(default="", repr=False)
    claim_nearby: bool = False
    metrics_token: str = field(default="", repr=False)

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
            proxy_networks=self.networks("PROXY_NETWORKS", Config.proxy_networks),
            https=self.boolean("HTTPS", proxies > 0),
            host_names=self.several("HOST_NAMES", HOST_NAME, "host name", _as_asked),
            mail=self.mail_server(),
            mail_from=self.mailbox("MAIL_FROM"),
            admins=self.several("ADMINS", _MAILBOX, "e-mail address"),
            gravatar=self.boolean("GRAVATAR", False),
            translator_key=self.word("MS_TRANSLATOR_KEY"),
            translator_region=self.word("MS_TRANSLATOR_REGION"),
            elasticsearch_url=self.elasticsearch_url(),
            bind=self.get("BIND"),
            claim_code=self.claim_code(),
            claim_nearby=self.boolean("CLAIM_NEARBY", False),
            metrics_token=self.metrics_token(),
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
        if value.startswith("sqlite:"):
            if url.netloc or not url.path.startswith("//"):
                raise self.wrong("DATABASE_URL", "names no absolute path", example)
        elif value.startswith("mysql+pymysql://"):
            if url.netloc.count("@") > 1:
                raise self.wrong("DATABASE_URL", "has an @ in its user or password", "write that @ as %40")
            if not url.path.strip("/"):
                raise self.wrong("DATABASE_URL", "names no database", "write mysql+pymysql://USER@HOST/NAME")
        else:
            raise self.wrong("DATABASE_URL", "is neither sqlite: nor mysql+pymysql:", example)
        return value

    def site_name(self) -> str:
        value = self.get("SITE_NAME") or Config.site_name
        if len(value) > 40 or not is_printable(value):
            raise self.wrong("SITE_NAME", "is not a name of at most 40 characters", "put a short name")
        return value

    def claim_code(self) -> str:
        value = self.get("CLAIM_CODE")
        if not value or value.lower() == claiming.NONE:
            return ""
        code = claiming.normal(value)
        if not claiming.is_code(code):
            raise self.wrong(
                "CLAIM_CODE", "is no code of 8 letters A to Z", "put 8 letters, four different ones"
            )
        return code

    def word(self, key: str) -> str:
        """A value that goes into a header of HTTP."""
        value = self.get(key)
        if not re.fullmatch(r"[A-Za-z0-9._~+/=-]*", value):
            raise self.wrong(key, "holds characters that none has", "put it without quotes or spaces")
        return value

    def elasticsearch_url(self) -> str:
        value = self.get("ELASTICSEARCH_URL")
        # The value itself stays out of the messages: it may hold a password.
        wrong = self.wrong(
            "ELASTICSEARCH_URL",
            "is not the URL of a server",
            "put http://HOST:9200 or http://HOST:9200/INDEX",
        )
        try:
            url = urlsplit(value)
            url.port  # noqa: B018 - raises ValueError when it is no port
        except ValueError:
            raise wrong from None
        index = re.fullmatch(r"/?|/[a-z0-9][a-z0-9._-]*/?", url.path)
        if value and not (url.scheme in ("http", "https") and url.hostname and index and not url.query):
            raise wrong
        return value

    def metrics_token(self) -> str:
        value = self.word("METRICS_TOKEN")
        if value and len(value) < _TOKEN_MIN:
            raise self.wrong(
                "METRICS_TOKEN",
                f"has fewer than {_TOKEN_MIN} characters",
                "make one with: openssl rand -hex 20",
            )
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

    def several(
        self, key: str, pattern: re.Pattern[str], kind: str, meant: Callable[[str], str] = str
    ) -> tuple[str, ...]:
        """A list with commas, each item once, in lower case. :param meant: what an item stands for."""
        items = [meant(item.strip()) for item in self.get(key).lower().split(",")]
        for item in filter(None, items):
            if not pattern.fullmatch(item):
                raise self.wrong(key, f"has {item!r}, which is no {kind}", "separate them by commas")
        return tuple(dict.fromkeys(filter(None, items)))

    def networks(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        items = self.several(key, re.compile(r"[0-9A-Fa-f:.]+(?:/[0-9]+)?"), "network")
        for item in items:
            try:
                ipaddress.ip_network(item)
            except ValueError:
                raise self.wrong(key, f"has {item!r}, which is no network", "write 10.0.0.0/8") from None
        return items or default

    def mailbox(self, key: str) -> str:
        value = self.get(key)
        if value and not _MAILBOX.fullmatch(value):
            raise self.wrong(
                key, f"is {value!r}, which is no e-mail address", f"put {key}=noreply@example.org"
            )
        return value

    def mail_server(self) -> MailServer | None:
        host = self.get("MAIL_SERVER")
        if not host:
            return None
        if not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", host):
            raise self.wrong(
                "MAIL_SERVER", f"is {host!r}, which is no host name", "put MAIL_SERVER=localhost"
            )
        tls, ssl = self.boolean("MAIL_USE_TLS", False), self.boolean("MAIL_USE_SSL", False)
        if tls and ssl:
            raise self.wrong("MAIL_USE_TLS", "and MAIL_USE_SSL are both true", "choose one: SSL for port 465")
        username, password = self.get("MAIL_USERNAME"), self.get("MAIL_PASSWORD")
        if bool(username) != bool(password):
            raise self.wrong("MAIL_USERNAME", "and MAIL_PASSWORD belong together", "put both or neither")
        if username and not (tls or ssl or names.is_loopback(host)):
            raise self.wrong("MAIL_PASSWORD", "would cross the network in the clear", "put MAIL_USE_TLS=true")
        port = self.port("MAIL_PORT", 465 if ssl else 25)
        return MailServer(host, port, username, password, "tls" if ssl else "starttls" if tls else "")

    def port(self, key: str, default: int) -> int:
        value = self.get(key)
        if not value:
            return default
        if not (value.isascii() and value.isdigit() and len(value) <= 5 and 0 < int(value) < 65536):
            raise self.wrong(key, f"is {value!r}, which is no port", f"put {key}={default}")
        return int(value)


def _as_asked(name: str) -> str:
    """A host name, perhaps with a port, as browsers ask for it."""
    host, colon, port = name.rpartition(":") if re.search(r":[0-9]+$", name) else (name, "", "")
    # An address in brackets is none.
    return name if name.startswith("[") else names.ascii_name(host) + colon + port


@dataclass(frozen=True)
class Setting:
    """What is told of a setting.

    :ivar default: what holds where it is not set.
    """

    name: str
    meaning: str
    default: str = ""


SETTINGS = (
    Setting(
        "SECRET_KEY", "signs sessions; the same on all machines that share a database", "made on the machine"
    ),
    Setting(
        "DATABASE_URL",
        "`mysql+pymysql://USER:PASSWORD@HOST/NAME` or `sqlite:////path`; a server elsewhere works too, with"
        " TLS by `?ssl_ca=FILE`; in a password, write `@` as `%40`",
        "this machine's server, else SQLite",
    ),
    Setting("SITE_NAME", "shown on every page; at most 40 characters", "Microblog"),
    Setting(
        "HOST_NAMES",
        "the names visitors may use, with commas, the one for links in mails first; see"
        " [accounts](accounts.md#names)",
        "the machine's own names, any address",
    ),
    Setting(
        "CLAIM_CODE",
        "the 8 letters by which the owner of a new site proves to be it; `none`: whoever comes first may"
        " register, as anybody; see [the first minute](owner.md#the-first-minute)",
        "made of the secret key on the machine",
    ),
    Setting(
        "CLAIM_NEARBY",
        "`true`: for an hour after the machine's first boot, who visits it from the same home network needs"
        " no code",
        "false; the Pi's image has true",
    ),
    Setting("HTTPS", "whether visitors come over HTTPS: secure cookies", "yes behind a proxy"),
    Setting("TRUSTED_PROXIES", "how many reverse proxies stand before gunicorn; 1 with nginx", "0"),
    Setting(
        "PROXY_NETWORKS",
        "where proxies are whose word for a visitor's address and scheme counts; see"
        " [a balancer](package.md#behind-a-balancer-or-a-cdn)",
        "127.0.0.0/8,::1/128",
    ),
    Setting(
        "BIND",
        "gunicorn's addresses, with commas: `unix:/PATH`, `127.0.0.1:8001`; nginx follows the first. On a"
        " port, any program of the machine could answer in its place while it does not run, and is believed"
        " in what it says of a visitor's address",
        "a socket in `/run/microblog/socket`, which only root, the web servers' group (`www-data`) and the"
        " application may enter",
    ),
    Setting("WEB_CONCURRENCY", "gunicorn's workers", "by processors and memory"),
    Setting("WEB_THREADS", "threads of each worker", "4"),
    Setting(
        "DRAIN_SECONDS",
        "how long the application goes on serving once it is told to end, at most 30, while `/readyz` tells"
        " balancers so",
        "0: it ends at once",
    ),
    Setting("MAIL_SERVER", "who takes the site's mail; see [accounts](accounts.md#mail)", "no mail is sent"),
    Setting("MAIL_PORT", "its port", "25, or 465 with MAIL_USE_SSL"),
    Setting("MAIL_USERNAME", "the name there", "no log-in"),
    Setting("MAIL_PASSWORD", "the password there; over a network with TLS alone"),
    Setting("MAIL_USE_TLS", "`true`: STARTTLS", "false"),
    Setting("MAIL_USE_SSL", "`true`: TLS from the first byte on", "false"),
    Setting("MAIL_FROM", "the sender's address", "noreply at the site's first name"),
    Setting("ADMINS", "who gets mail about errors, with commas", "nobody"),
    Setting(
        "GRAVATAR", "`true`: pictures from gravatar.com, which thereby learns who reads what", "false: drawn"
    ),
    Setting("MS_TRANSLATOR_KEY", "Microsoft Translator's, for the Translate link", "no link"),
    Setting("MS_TRANSLATOR_REGION", "of that subscription", "a global one"),
    Setting(
        "METRICS_TOKEN",
        "who sends it (`Authorization: Bearer TOKEN`) may read `/metrics`, for Prometheus; 20 characters",
        "no such page",
    ),
    Setting(
        "ELASTICSEARCH_URL",
        "where posts are searched: `http[s]://[USER:PASSWORD@]HOST[:PORT][/INDEX]`",
        "in the database",
    ),
)


def known_settings() -> frozenset[str]:
    """The names of all settings."""
    return frozenset(setting.name for setting in SETTINGS)
