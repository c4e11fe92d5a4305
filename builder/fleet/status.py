"""How a fleet is: each machine is asked what its balancers ask it."""

import ssl
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from builder.core.command import program
from builder.core.errors import BuildError
from builder.fleet.authority import named
from builder.fleet.make import AUTHORITY
from builder.fleet.plan import Fleet, Machine

_SECONDS = 5
_HTTPS = 443
# certbot renews a certificate thirty days before its end, and its authority tells nobody where that fails.
_SOON = 14
_ASKED = {
    "database": "http://{}:9200/all",
    "app": "https://{}/readyz",
    "balancer": "http://{}/balancer",
}


@dataclass(frozen=True)
class Answer:
    """A machine's."""

    name: str
    kind: str
    address: str
    good: bool
    told: str
    """What it answered, or why there is no answer: one line."""


def ask(fleet: Fleet, folder: Path, through: str = "") -> list[Answer]:
    """Ask all of them, at once.

    :param folder: the fleet's, with its authority's certificate, by which applications are known.
    :param through: the machine from which to ask, as ssh(1) names it; this one if empty.
    :raises BuildError: the folder has no such certificate.
    """
    authority = folder / AUTHORITY
    if not authority.is_file():
        raise BuildError(f"{authority} is not there", "./build.py fleet make writes it")

    def one(machine: Machine) -> Answer:
        url = _ASKED[machine.kind].format(machine.address)
        good, told = _through(through, url) if through else _from_here(url, authority)
        if good and machine.kind == "balancer":
            wrong = _certificate(through, machine, fleet.site)
            good, told = not wrong, wrong or told
        return Answer(machine.name, machine.kind, machine.address, good, told)

    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(one, fleet.machines))


def has_begun(fleet: Fleet, answers: list[Answer]) -> bool:
    """Whether it is time to write down that the databases have run together."""
    databases = [one for one in answers if one.kind == "database"]
    return not fleet.begun and len(databases) > 1 and all(one.good for one in databases)


def table(answers: list[Answer]) -> str:
    """A line each."""
    return "\n".join(
        f"{'yes' if one.good else 'NO ':<4} {one.kind:<9} {one.name:<16} {one.address:<16} {one.told}"
        for one in answers
    )


def _from_here(url: str, authority: Path) -> tuple[bool, str]:
    context = ssl.create_default_context(cafile=authority)
    handler = urllib.request.HTTPSHandler(context=context)
    # Of the fleet's own network: no proxy knows the way.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)
    try:
        with opener.open(url, timeout=_SECONDS) as answer:
            return answer.status == 200, _first_line(answer.read(1000))
    except urllib.error.HTTPError as error:
        return False, f"{error.code}: {_first_line(error.read(1000))}"
    except urllib.error.URLError as error:
        return False, f"no answer: {getattr(error.reason, 'strerror', None) or error.reason}"
    except (OSError, ValueError) as error:
        return False, f"no answer: {error}"


def _certificate(through: str, machine: Machine, site: str) -> str:
    """What is wrong with the certificate that visitors are shown; empty where nothing is."""
    command = (
        f"timeout {_SECONDS} {program('openssl', 'openssl') if not through else 'openssl'} s_client"
        f" -connect {machine.address}:{_HTTPS} -servername {site} < /dev/null 2> /dev/null |"
        f" openssl x509 -noout -issuer -enddate -checkend {_SOON * 86400}"
    )
    done = subprocess.run(
        [*_ssh(through), command] if through else ["sh", "-c", command],
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    found = dict(line.partition("=")[::2] for line in done.stdout.decode(errors="replace").splitlines())
    if "notAfter" not in found:
        return "it shows visitors no certificate"
    if named(site) in found.get("issuer", ""):
        return (
            "its certificate is the fleet's own yet, of which browsers warn: journalctl -u fleet-certificate"
        )
    if done.returncode:
        return f"its certificate ends on {found['notAfter']}: journalctl -u certbot"
    return ""


def _ssh(host: str) -> list[str]:
    options = ("-o", "BatchMode=yes", "-o", f"ConnectTimeout={_SECONDS}")
    return [program("ssh", "openssh-client"), *options, host]


def _through(host: str, url: str) -> tuple[bool, str]:
    """By curl there, which every machine of the fleet has."""
    curl = f"curl -sS --noproxy '*' --cacert /etc/fleet/tls/ca.pem -m {_SECONDS} -w '\\n%{{http_code}}' {url}"
    done = subprocess.run(
        [*_ssh(host), curl], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )  # fmt: skip
    if done.returncode:
        return False, f"no answer: {_first_line(done.stderr) or f'exit {done.returncode}'}"
    body, _, code = done.stdout.rpartition(b"\n")
    good = code == b"200"
    return good, _first_line(body) if good else f"{code.decode()}: {_first_line(body)}"


def _first_line(body: bytes) -> str:
    """Of what another machine says, for a terminal."""
    text = body.decode(errors="replace").strip().partition("\n")[0][:100]
    return "".join(sign if sign.isprintable() else "?" for sign in text)
