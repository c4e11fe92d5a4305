"""``microblog https``: a certificate of an authority's, through certbot's webroot; and back.

certbot keeps it in /etc/letsencrypt and renews it from a timer of its own. Each new one is
copied to where nginx reads, by the hook that :func:`enable` registers: so nginx's configuration
is the same with every kind of certificate.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from microblog.config import Config
from microblog.errors import HostError
from microblog.host.machine import apt, files, layout, lock, services
from microblog.host.site import certificate, envfile, nginx, supervisor

# Where nginx looks for an authority's questions (debian/nginx/microblog); root's alone to write.
WEBROOT = Path("/var/www/microblog-acme")
_LINEAGE = Path("/etc/letsencrypt/live/microblog")
_HOOK = "/usr/bin/microblog https --deploy"
# A host name as an authority certifies it (RFC 1123); a wildcard needs DNS, not a web root.
_DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])")


def enable(domains: tuple[str, ...], server: str, email: str, say: Callable[[str], None]) -> None:
    """Get a certificate for the domains and have the site use it, and answer to them.

    :param server: an ACME directory's URL; empty for Let's Encrypt's.
    :param email: where the authority may write; empty for the first administrator, or nobody.
    :raises HostError: the old certificate is then still in use.
    """
    domains = tuple(domain.lower().rstrip(".") for domain in domains)
    for domain in domains:
        if not _DOMAIN.fullmatch(domain):
            raise HostError(
                f"{domain!r} is no domain name", "write it as in: microblog https blog.example.org"
            )
    _check_root()
    if not nginx.installed():
        raise HostError("https needs nginx", "apt-get install nginx; then: microblog setup")
    with lock.sole(say):
        config = Config.load(layout.env_file())
        apt.ensure(say, "certbot")
        WEBROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
        email = email or next(iter(config.admins), "")
        say(f"Asking for a certificate for {', '.join(domains)} ...")
        done = services.run(
            *("certbot", "certonly", "--non-interactive", "--agree-tos", "--webroot", "-w", str(WEBROOT)),
            *(
                "--cert-name",
                "microblog",
                "--deploy-hook",
                _HOOK,
                "--keep-until-expiring",
                "--renew-with-new-domains",
            ),
            *(["--email", email] if _reachable(email) else ["--register-unsafely-without-email"]),
            *(["--server", server] if server else []),
            *(part for domain in domains for part in ("-d", domain)),
        )
        if done.returncode or not _LINEAGE.is_dir():
            raise HostError(
                f"no certificate: {_reason(done.stdout)}",
                f"port 80 of {domains[0]} must lead to this machine; the rest is in /var/log/letsencrypt",
            )
        _install()
        names = [*domains, *(name for name in config.host_names if name not in domains)]
        if tuple(names) != config.host_names:
            envfile.change(layout.env_file(), {"HOST_NAMES": ",".join(names)})
            supervisor.restart()
            supervisor.wait_for_answer(say)
    say(f"https://{domains[0]} has its certificate; certbot renews it")


def deploy() -> None:
    """certbot's hook: have nginx use the newest certificate.

    :raises HostError: if there is none, or nginx does not take it.
    """
    _check_root()
    if not _LINEAGE.is_dir():
        raise HostError("certbot has no certificate for the site", "microblog https DOMAIN gets one")
    _install()


def disable(say: Callable[[str], None]) -> None:
    """Go back to a certificate of the machine's own."""
    _check_root()
    with lock.sole(say):
        if _LINEAGE.is_dir():
            done = services.run("certbot", "delete", "--non-interactive", "--cert-name", "microblog")
            if done.returncode:
                raise HostError(f"certbot keeps it: {_reason(done.stdout)}", "see /var/log/letsencrypt")
        certificate.CERTIFICATE.unlink(missing_ok=True)
        certificate.ensure()
        nginx.apply()
    say("The site has a certificate of its own again; browsers will warn")


def _install() -> None:
    """Copy what certbot has to where nginx reads."""
    chain = (_LINEAGE / "fullchain.pem").read_text()
    key = (_LINEAGE / "privkey.pem").read_text()
    if certificate.CERTIFICATE.exists() and certificate.CERTIFICATE.read_text() == chain:
        return
    nginx.mark_stale()
    # A key beside another key's certificate would stop nginx, were the power cut here;
    # with the key alone, setup makes a pair, and the next renewal brings this one back.
    certificate.CERTIFICATE.unlink(missing_ok=True)
    files.write(certificate.KEY, key, 0o600)
    files.write(certificate.CERTIFICATE, chain, 0o644)
    nginx.apply()


def _reachable(email: str) -> bool:
    """Whether an authority would take the address."""
    return "." in email.rpartition("@")[2]


def _reason(said: str) -> str:
    """The line of certbot's that says why."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    details = [line.partition(":")[2].strip() for line in lines if line.startswith(("Detail:", "Error:"))]
    # The last lines only point to its log.
    plain = [line for line in lines if "letsencrypt" not in line and "community.letsencrypt" not in line]
    return [*details, *plain[-1:], "certbot does not say why"][0][:300]


def _check_root() -> None:
    if os.geteuid() != 0:
        raise HostError("only root can change the certificate", "sudo microblog https")
