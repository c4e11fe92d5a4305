"""What visitors see: asked for as they do, by the site's name through the web server."""

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from microblog import names, visit
from microblog.config import Config
from microblog.host.health import status as glance
from microblog.host.health.finding import Check, Finding, Plain
from microblog.host.machine import layout, services
from microblog.host.site import certificate, front, hsts, maintenance, nginx, supervisor

_LOG = Path("/var/log/nginx/microblog.access.log")
# How much of its end is read; of how many requests, and programs, one address is no accident.
_LOG_BYTES = 2**17
_REQUESTS, _AGENTS = 100, 5
# Where certbot keeps, and renews, the site's certificate ('microblog https').
_LINEAGE = Path("/etc/letsencrypt/live/microblog")
_CRON = (Path("/etc/crontab"), Path("/var/spool/cron/crontabs/root"), Path("/etc/cron.d"))


def _visitors(config: Config) -> Iterator[Finding]:
    """What they see, asked for as they do; why they do not is the other checks' business."""
    if maintenance.FLAG.exists() or not supervisor.answers() or nginx.switched_off():
        return
    sight = front.look(config)
    if sight is None and not layout.open_ports(config.bind):
        yield Finding(
            "visitors.nobody",
            "warning",
            "Nobody can see the site.",
            f"No web server is here, and the application listens at {layout.app_address()} alone.",
            "apt-get install nginx, or a BIND that others reach (docs/package.md); then: microblog setup",
        )
    if sight is None or sight.good:
        return
    seen, address = f"{sight.text()[0].upper()}{sight.text()[1:]}", layout.app_address()
    if program := nginx.neighbour():
        yield Finding(
            "visitors.neighbour",
            "warning",
            f"Visitors do not see the site: {program} has the web's ports.",
            f"{seen}.",
            f"have {program} pass a name on to {address} (docs/package.md, beside another web server)",
        )
        return
    yield Finding(
        "visitors.elsewhere",
        "error",
        "Visitors do not see the site.",
        f"{seen}, though the application answers at {address}.",
        "microblog setup has nginx follow HOST_NAMES and BIND; another site may have the name (nginx -T)",
    )


def _certificate() -> Iterator[Finding]:
    if not nginx.installed():
        return
    shown = certificate.shown()
    files = tuple(map(str, shown))
    if not certificate.pair(shown):
        yield Finding(
            "certificate.pair",
            "error",
            "Certificate and key do not belong together, or cannot be read.",
            f"{files[0]} and {files[1]} are read by nginx.",
            "put the right pair there, or remove both; then: microblog setup, and nginx -s reload",
        )
        return
    for days, what in ((0, "has expired"), (glance.CERTIFICATE_DAYS, "expires soon")):
        if services.run(
            "openssl", "x509", "-in", files[0], "-noout", "-checkend", str(days * 86400)
        ).returncode:
            yield Finding(
                "certificate.end",
                "error",
                f"The certificate {what}.",
                "Browsers refuse it, or will.",
                "certbot renew, where it is an authority's; then: microblog setup",
            )
            return


def _pages(config: Config) -> Iterator[Finding]:
    """That the site answers does not mean that it can be read."""
    if maintenance.FLAG.exists() or not supervisor.answers():
        return
    sight = front.look(config)
    if sight is None or not sight.good:
        return
    for path in ("/", "/static/microblog.css"):
        code = front.fetch(config, path)
        if not 200 <= code < 400:
            yield Finding(
                "visitors.page",
                "error",
                f"Visitors get an error in place of {path}.",
                f"The web server answers {code}.",
                f"see {layout.LOGS / 'gunicorn.log'} and /var/log/nginx/microblog.error.log",
            )


def _one_address(config: Config) -> Iterator[Finding]:
    """A balancer in front that nobody has named: to the site, all who come through it are one."""
    if not _LOG.is_file():
        return
    with _LOG.open("rb") as log:
        log.seek(max(0, _LOG.stat().st_size - _LOG_BYTES))
        lines = log.read().decode(errors="replace").splitlines()[1:]
    own = {"127.0.0.1", "::1", *names.machine_addresses()}
    # nginx's "combined": address - user [time] "request" status bytes "referer" "agent".
    found = [(line.split(" ")[0], line.split('"')[5]) for line in lines if line.count('"') >= 6]
    found = [(address, agent) for address, agent in found if address not in own]
    addresses, agents = {address for address, _ in found}, {agent for _, agent in found}
    if len(found) >= _REQUESTS and len(addresses) == 1 and len(agents) >= _AGENTS:
        yield Finding(
            "visitors.one_address",
            "note",
            f"The last {len(found)} visits all came from {min(addresses)}.",
            "If that is a balancer or a CDN, one who guesses passwords locks everybody out.",
            "name its network in PROXY_NETWORKS, then: microblog setup (docs/package.md, behind a balancer)",
        )


def _names(config: Config) -> Iterator[Finding]:
    """Where the site's name leads: whoever answers there is asked for what this site alone can say."""
    told = [name.partition(":")[0] for name in config.host_names if not name.startswith("[")]
    if not told or not names.is_public(told[0]) or not supervisor.answers():
        return
    own = set(names.machine_addresses())
    leads: set[str] = set()
    with contextlib.suppress(OSError):
        leads = {str(found[4][0]) for found in socket.getaddrinfo(told[0], 443, type=socket.SOCK_STREAM)}
    if not leads or any(address in own or names.is_loopback(address) for address in leads):
        return
    there = {
        address: visit.leads_here(told[0], address, config.secret_key, front.SECONDS)
        for address in sorted(leads)
    }
    if True in there.values():
        return
    if False in there.values():
        yield Finding(
            "names.elsewhere",
            "warning",
            f"The name {told[0]} leads to another site.",
            f"At {', '.join(there)} another answers, who does not know this site's key.",
            "change its DNS records, or HOST_NAMES",
        )
    # Behind a router that takes nobody from within to its own address outside, that is no news.
    elif any(names.is_global(address) for address in own) and config.proxy_networks == Config.proxy_networks:
        yield Finding(
            "names.unanswered",
            "note",
            f"Nobody answers at {told[0]}, as seen from here.",
            f"It leads to {', '.join(there)}; this machine has {', '.join(sorted(own))}.",
            "change its DNS records, or HOST_NAMES; a firewall, or a router, may keep this machine alone out",
        )


def _trust(config: Config) -> Iterator[Finding]:
    """Whether browsers take the certificate for this site's, and go on doing so."""
    if not (nginx.installed() and certificate.pair(certificate.shown())):
        return
    path = str(certificate.shown()[0])
    for name in config.host_names:
        bare = name.partition(":")[0]
        check = ("openssl", "x509", "-in", path, "-noout", "-checkhost", bare)
        if not name.startswith("[") and "does NOT match" in services.run(*check).stdout:
            yield Finding(
                "certificate.names",
                "warning",
                f"The certificate is not for {bare}.",
                "Browsers warn of the site under that name.",
                "microblog setup, where it is the machine's own; else: microblog https with all names",
            )
    if certificate.ours(certificate.shown()[0]):
        if days := hsts.days_to_wait():
            yield Finding(
                "certificate.insisted",
                "error",
                "Browsers that know the site refuse it.",
                f"They were told to insist on a trusted certificate, for {days} days yet; this is none.",
                "microblog https DOMAIN gets one again",
            )
    elif _LINEAGE.is_dir() and services.booted() and not _renewed():
        yield Finding(
            "certificate.timer",
            "warning",
            "Nobody renews the certificate.",
            "certbot.timer does not run.",
            "systemctl enable --now certbot.timer",
        )


def _renewed() -> bool:
    """Whether certbot comes by itself: by a timer of Debian's or snap's, or by somebody's cron."""
    if "active" in (services.state("certbot.timer"), services.state("snap.certbot.renew.timer")):
        return True
    for place in _CRON:
        # Debian's own there does nothing beside systemd.
        for path in place.glob("*") if place.is_dir() else [place]:
            if path.name == "certbot" or not path.is_file():
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            if re.search(r"(?m)^[^#\n]*\bcertbot\b.*\brenew\b", text):
                return True
    return False


PLAIN: tuple[Plain, ...] = (_certificate,)
CHECKS: tuple[Check, ...] = (_visitors, _pages, _one_address, _names, _trust)
