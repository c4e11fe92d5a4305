"""What a visitor sees: the site asked for by its own name, at the web's own ports of this machine."""

import http.client
import secrets
import socket
import ssl
from dataclasses import dataclass

from microblog import names, proof
from microblog.config import Config
from microblog.host.site import nginx

_SECONDS = 10
_PORTS = {"https": 443, "http": 80}


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
    if not nginx.installed():
        return None
    told = [name for name in config.host_names if not name.startswith("[")]
    name = (told[0].partition(":")[0] if told else "") or (names.machine_names() or ["localhost"])[0]
    # As somebody from outside comes in: another site may have an address of its own.
    address = next((one for one in names.machine_addresses() if ":" not in one), "127.0.0.1")
    sights = [sight for scheme in _PORTS if (sight := _look(scheme, address, name, config))]
    # Who types a name comes by plain HTTP first.
    bad = [sight for sight in sights if not sight.good]
    return [*bad, *sights, Sight(f"https://{name}/", 0, False)][0]


def answers() -> bool:
    """Whether the site answers this machine's own visitors: for those, too, who may not read its key."""
    for scheme in _PORTS:
        try:
            with socket.create_connection(("127.0.0.1", _PORTS[scheme]), timeout=_SECONDS) as plain:
                opened = _context().wrap_socket(plain) if scheme == "https" else plain
                connection = http.client.HTTPConnection("localhost")
                connection.sock = opened
                connection.request("GET", "/healthz", headers={"Connection": "close"})
                return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            continue
    return False


def _look(scheme: str, address: str, name: str, config: Config) -> "Sight | None":
    """:return: None where nobody listens."""
    url = f"{scheme}://{name}/"
    try:
        with socket.create_connection((address, _PORTS[scheme]), timeout=_SECONDS) as plain:
            if scheme == "https":
                with _context().wrap_socket(plain, server_hostname=name) as wrapped:
                    return _ask(wrapped, name, url, config)
            return _ask(plain, name, url, config)
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException):
        return Sight(url, 0, False)


def _context() -> ssl.SSLContext:
    """Who answers is proven otherwise; whether browsers like the certificate is another question."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _ask(opened: socket.socket, name: str, url: str, config: Config) -> Sight:
    connection = http.client.HTTPConnection(name)
    connection.sock = opened
    question = secrets.token_hex(16)
    connection.request("GET", "/healthz", headers={"Connection": "close", proof.HEADER: question})
    response = connection.getresponse()
    ours = proof.holds(config.secret_key, question, response.headers.get(proof.HEADER, ""))
    # The way from HTTP to HTTPS is nginx's own.
    if (response.headers.get("Location") or "").startswith(f"https://{name}/healthz"):
        return Sight(url, http.client.OK, True)
    return Sight(url, response.status, ours)
