"""What a visitor sees: the site asked for by its own name, at the web's own ports of this machine."""

import http.client
import socket
from contextlib import suppress
from dataclasses import dataclass

from microblog import names, own_authority, visit
from microblog.config import Config
from microblog.host.site import nginx

SECONDS = 10


@dataclass(frozen=True)
class Sight:
    """:ivar url: what was asked for.
    :ivar code: the status of the answer; 0 where nobody answers.
    :ivar ours: whether this site has given it.
    """

    url: str
    code: int
    ours: bool

    @property
    def good(self) -> bool:
        return self.ours and self.code == http.client.OK

    def text(self) -> str:
        """In a few words."""
        if not self.code:
            return f"nobody answers at {self.url}"
        return f"{self.url} answers {self.code}{'' if self.ours else ', and it is not this site that does'}"


def look(config: Config) -> "Sight | None":
    """Ask as a visitor does.

    :return: None where no web server stands in front of the application.
    """
    if not nginx.installed() and not nginx.neighbour():
        return None
    name, address = first_name(config), _address()
    sights = [sight for scheme in visit.PORTS if (sight := _look(scheme, address, name, config))]
    # Who types a name comes by plain HTTP first.
    bad = [sight for sight in sights if not sight.good]
    return [*bad, *sights, Sight(f"https://{name}/", 0, False)][0]


def answers() -> bool:
    """Whether the site answers this machine's own visitors: for those, too, who may not read its key."""
    for scheme in visit.PORTS:
        with (
            suppress(OSError, http.client.HTTPException),
            visit.connect(scheme, "127.0.0.1", "localhost", SECONDS) as opened,
        ):
            return visit.request(opened, "localhost", "/readyz").status == http.client.OK
    return False


def fetch(config: Config, path: str) -> int:
    """The status of the answer to a page, over HTTPS where that is served; 0 where nobody answers."""
    name, address = first_name(config), _address()
    for scheme in visit.PORTS:
        with (
            suppress(OSError, http.client.HTTPException),
            visit.connect(scheme, address, name, SECONDS) as opened,
        ):
            return visit.request(opened, name, path).status
    return 0


def first_name(config: Config) -> str:
    """The first that visitors are told of, else the machine's."""
    told = [name for name in config.host_names if not name.startswith("[")]
    return (told[0].partition(":")[0] if told else "") or (names.machine_names() or ["localhost"])[0]


def _address() -> str:
    """As somebody from outside comes in: another site may have an address of its own."""
    return next((one for one in names.machine_addresses() if ":" not in one), "127.0.0.1")


def _look(scheme: str, address: str, name: str, config: Config) -> "Sight | None":
    """:return: None where nobody listens."""
    url = f"{scheme}://{name}/"
    try:
        with visit.connect(scheme, address, name, SECONDS) as opened:
            return _ask(opened, name, url, config)
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException):
        return Sight(url, 0, False)


def _ask(opened: socket.socket, name: str, url: str, config: Config) -> Sight:
    response, ours = visit.ask(opened, name, "/readyz", config.secret_key)
    # The way from HTTP to HTTPS is nginx's own.
    known = own_authority.read()
    secure = tuple(f"https://{one}/readyz" for one in (name, *(known.names if known else ())))
    if (response.headers.get("Location") or "").startswith(secure):
        return Sight(url, http.client.OK, True)
    return Sight(url, response.status, ours)
