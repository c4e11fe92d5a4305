"""``microblog https``: a certificate of an authority's, through certbot; and back. Or one's own authority.

The authority asks for a file on port 80 (certbot's webroot), or for a record in the DNS (``dns``).

certbot keeps it in /etc/letsencrypt and renews it from a timer of its own. Each new one is
copied to where nginx reads, by the hook that :func:`enable` registers: so nginx's configuration
is the same with every kind of certificate.
"""

import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from microblog import names, own_authority
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.extras import dns as providers
from microblog.host.extras.dns import Dns
from microblog.host.machine import apt, layout, ledger, lock, privileges
from microblog.host.site import authority, certificate, envfile, hsts, nginx, supervisor

# Where nginx looks for an authority's questions (debian/nginx/microblog); root's alone to write.
WEBROOT = Path("/var/www/microblog-acme")
_LINEAGE = Path("/etc/letsencrypt/live/microblog")
_RENEWAL = Path("/etc/letsencrypt/renewal/microblog.conf")
_COMMAND = "https"
_REDIRECT = "https-redirect"
# Debian's; snap's, which certbot's makers recommend; pip's.
_CERTBOTS = ("/usr/bin/certbot", "/snap/bin/certbot", "/usr/local/bin/certbot", "/opt/certbot/bin/certbot")
_HOOK = "/usr/bin/microblog https --deploy"
# A host name as an authority certifies it (RFC 1123); a wildcard needs DNS, not a web root.
_DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])")


def enable(
    domains: tuple[str, ...],
    server: str,
    email: str,
    say: Callable[[str], None],
    dns: Dns | None = None,
    *,
    by_root: bool = True,
) -> None:
    """Get a certificate for the domains and have the site use it, and answer to them.

    :param server: an ACME directory's URL; empty for Let's Encrypt's.
    :param email: where the authority may write; empty for the first administrator, or nobody.
    :param dns: how records are put into the domains' zones; None: the authority looks at port 80.
    :param by_root: on the command line; a page puts nothing in the place of what root has given there.
    :raises HostError: the old certificate is then still in use.
    """
    told = [domain.strip().lower().rstrip(".") for domain in domains]
    domains = tuple(map(names.ascii_name, told))
    for domain in domains:
        if not _DOMAIN.fullmatch(domain):
            raise HostError(
                f"{domain!r} is no domain name", "write it as in: microblog https blog.example.org"
            )
    privileges.require_root("change the certificate", "sudo microblog https")
    if not nginx.installed():
        raise HostError("https needs nginx", "apt-get install nginx; then: microblog setup")
    certificate.see_shown()
    if _somebodys():
        raise HostError(
            "certbot has a certificate called microblog that is somebody's: it is not brought to this site",
            "get theirs anew under another --cert-name, then: certbot delete --cert-name microblog; if it is"
            f" for this site: certbot renew --cert-name microblog --force-renewal --deploy-hook '{_HOOK}'",
        )
    if not by_root:
        providers.see_not_roots()
    if dns:
        dns.check()
    # nginx reads what certbot writes for the authority.
    os.umask(0o022)
    # A second one would renew the first one's certificates, too, without its plugins.
    if not _certbot():
        apt.ensure(say, "certbot")
    if dns:
        if not apt.installed("certbot") or Path(_certbot()).resolve() != Path(_CERTBOTS[0]):
            raise HostError(
                f"{_certbot()} does not know the distribution's plugins",
                "take it away, and 'microblog https' installs the distribution's; or have it put its"
                " certificate microblog to the site by --deploy-hook 'microblog https --deploy'",
            )
        apt.ensure(say, dns.package)
    with lock.sole(say):
        ledger.settle()
        config = Config.load(layout.env_file())
        if not dns:
            ledger.run(_COMMAND, str(WEBROOT), ["mkdir", "-p", str(WEBROOT)], ["rm", "-rf", str(WEBROOT)])
            WEBROOT.chmod(0o755)
        way = dns.options() if dns else ["--authenticator", "webroot", "-w", str(WEBROOT)]
        email = email or next(iter(config.admins), "")
        say(f"Asking for a certificate for {', '.join(told)} ...")
        with dns.keeping() if dns else nullcontext():
            _ask(domains, way, server, email, dns)
        # What renewed the one before, of another provider's, or before the authority looked at port 80.
        providers.forget(keep=dns.kept if dns else None)
        _install()
        if hsts.resume():
            nginx.apply()
        known = [*domains, *(name for name in config.host_names if name not in domains)]
        at_home = not config.https or authority.CERTIFICATE.exists()
        if not config.https:
            # A Pi's site, by plain HTTP until now.
            ledger.lines(_COMMAND, layout.env_file(), {"HTTPS": "HTTPS=true"})
        if tuple(known) != config.host_names or not config.https:
            wanted = ",".join(known)
            if at_home:
                # The way back is to the name of the network at home, which these shut out.
                line = f"HOST_NAMES={envfile.quote(wanted)}"
                ledger.lines(_COMMAND, layout.env_file(), {"HOST_NAMES": line})
            else:
                envfile.change(layout.env_file(), {"HOST_NAMES": wanted})
            _serve_anew(say)
    say(f"https://{told[0]} has its certificate; certbot renews it")


def _somebodys() -> bool:
    """Whether certbot's certificate of our name is another site's: what is ours comes here by our hook."""
    return _LINEAGE.is_dir() and _RENEWAL.exists() and _HOOK not in _RENEWAL.read_text()


def _ask(domains: tuple[str, ...], way: list[str], server: str, email: str, dns: Dns | None) -> None:
    """Have certbot get its certificate ``microblog``."""
    done = ledger.run(
        _COMMAND,
        "certbot's certificate microblog",
        [
            *(_certbot(), "certonly", "--non-interactive", "--agree-tos", *way),
            *("--cert-name", "microblog", "--deploy-hook", _HOOK, "--renew-with-new-domains"),
            # One that was got otherwise would be renewed otherwise.
            "--keep-until-expiring" if _got_by(way[1]) else "--force-renewal",
            *([f"--email={email}"] if _reachable(email) else ["--register-unsafely-without-email"]),
            *(["--server", server] if server else []),
            *(part for domain in domains for part in ("-d", domain)),
        ],
        _delete(),
    )
    if done.returncode or not _LINEAGE.is_dir():
        raise HostError(
            f"no certificate: {_reason(dns.without_secrets(done.stdout) if dns else done.stdout)}",
            f"{_needed(domains[0], dns)}; the rest is in /var/log/letsencrypt",
        )


def deploy() -> None:
    """certbot's hook: have nginx use the newest certificate.

    :raises HostError: if there is none, or nginx does not take it.
    """
    privileges.require_root("change the certificate", "sudo microblog https")
    if not _LINEAGE.is_dir():
        raise HostError("certbot has no certificate for the site", "microblog https DOMAIN gets one")
    _install()


def disable(say: Callable[[str], None], *, now: bool = False, by_root: bool = True) -> None:
    """Go back to the certificate that was there before, or to one of the machine's own.

    Browsers that were told to insist on HTTPS would refuse it: they are told otherwise first.

    :param now: do not wait for those.
    :param by_root: as for :func:`enable`.
    :raises HostError: what opens the DNS would go, and is root's.
    """
    privileges.require_root("change the certificate", "sudo microblog https")
    with lock.sole(say):
        if own_authority.read():
            _forget_own(say)
            return
        if not by_root:
            providers.see_not_roots()
        days = hsts.days_to_wait()
        if days and not now:
            hsts.withdraw()
            nginx.apply()
            say(
                "Browsers of those who came lately insist on a certificate that they trust, for up to"
                f" {days} days. From now on each who comes is told to forget that."
            )
            say(f"In {days} days: microblog https --off again. At once, locking them out: --off --now")
            return
        if _LINEAGE.is_dir() and not _somebodys():
            ledger.run(_COMMAND, "certbot's certificate microblog", ["true"], _delete())
        nginx.mark_stale()
        if not ledger.entries(_COMMAND) or not _noted():
            # Of a version before the ledger, which kept nothing.
            certificate.CERTIFICATE.unlink(missing_ok=True)
        providers.forget()
        ledger.take_back(_COMMAND, say)
        if _LINEAGE.is_dir() and not _somebodys():
            raise HostError("certbot keeps its certificate microblog", "see /var/log/letsencrypt")
        hsts.forget()
        config = Config.load(layout.env_file())
        # The one that was there before stays, also where it is for fewer names; but for one of the machine's
        # own authority, which is for the names that the site has again.
        told = config.host_names if authority.CERTIFICATE.exists() else ()
        certificate.ensure(told, plain=not config.https)
        if not config.https:
            supervisor.restart()
        nginx.ensure(config)
        nginx.apply()
    say("The site has the certificate again that it had before; browsers warn of one of its own")


def own(say: Callable[[str], None]) -> None:
    """Have the site's certificate be of the machine's own authority, which devices can be told to trust.

    :raises HostError: another authority certifies its names.
    """
    privileges.require_root("change the certificate", "sudo microblog https --own")
    if not nginx.installed():
        raise HostError("https needs nginx", "apt-get install nginx; then: microblog setup")
    certificate.see_shown()
    with lock.sole(say):
        config = Config.load(layout.env_file())
        if not authority.wanted(config.host_names, plain=True):
            raise HostError(
                "the site has a name in the public DNS, or none of more than one word",
                "microblog https DOMAIN gets a certificate that all browsers trust",
            )
        if not certificate.ours():
            raise HostError("the certificate is another authority's", "first: microblog https --off")
        authority.ensure(config.host_names)
        certificate.ensure(config.host_names, plain=not config.https)
        nginx.ensure(config)
        nginx.apply()
    _tell_own(say)


def redirect(on: bool, say: Callable[[str], None]) -> None:
    """Send visitors who come by plain HTTP on to HTTPS, or do not, where the authority is the site's own.

    :raises HostError: it is not.
    """
    privileges.require_root("change the certificate", "sudo microblog https")
    with lock.sole(say):
        if not own_authority.read():
            raise HostError(
                "the site's certificate is not of an authority of its own",
                "microblog https --own makes one; with another's, visitors are sent to HTTPS anyway",
            )
        if Config.load(layout.env_file()).https != on:
            _switch(on, say)
    if on:
        say("Visitors are sent to HTTPS; everybody logs in anew. Back: microblog https --no-redirect")
    else:
        say("Visitors may come by plain HTTP; everybody logs in anew")


def _switch(on: bool, say: Callable[[str], None]) -> None:
    if on:
        ledger.lines(_REDIRECT, layout.env_file(), {"HTTPS": "HTTPS=true"})
    else:
        ledger.take_back(_REDIRECT, say)
        if Config.load(layout.env_file()).https:
            # It was so before, or somebody has written it since.
            envfile.change(layout.env_file(), {"HTTPS": "false"})
    _serve_anew(say)


def _serve_anew(say: Callable[[str], None]) -> None:
    """Have nginx and the application read what was changed."""
    nginx.ensure(Config.load(layout.env_file()))
    nginx.apply()
    supervisor.restart()
    supervisor.wait_for_answer(say)


def _forget_own(say: Callable[[str], None]) -> None:
    """Without it; where visitors come by plain HTTP, too, another is made."""
    if ledger.entries(_REDIRECT):
        _switch(False, say)
    config = Config.load(layout.env_file())
    authority.forget()
    certificate.ensure(config.host_names, plain=not config.https)
    nginx.ensure(config)
    nginx.apply()
    say("The site's own authority is forgotten: take it away from the devices that trust it")
    _tell_own(say)


def _tell_own(say: Callable[[str], None]) -> None:
    if found := own_authority.read():
        say(f"The site's own authority certifies {', '.join(found.names)}. Its SHA-256 fingerprint:")
        say(found.sha256)
        say(f"How devices come to trust it: http://{found.names[0]}/certificate")


def _needed(domain: str, dns: Dns | None) -> str:
    if dns:
        return f"{dns.provider} must let the account change records of {domain}"
    return f"port 80 of {domain} must lead to this machine, or see --dns"


def _got_by(authenticator: str) -> bool:
    """Whether certbot's certificate, if there is one, was got in this way."""
    try:
        text = _RENEWAL.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return bool(re.search(rf"(?m)^authenticator = {re.escape(authenticator)}$", text))


def _certbot() -> str:
    """The one that this machine has; empty for none."""
    return next((path for path in _CERTBOTS if os.access(path, os.X_OK)), "")


def _delete() -> list[str]:
    return [_certbot() or _CERTBOTS[0], "delete", "--non-interactive", "--cert-name", "microblog"]


def _noted() -> bool:
    return ledger.noted(_COMMAND, certificate.CERTIFICATE)


def _install() -> None:
    """Copy what certbot has to where nginx reads."""
    chain = (_LINEAGE / "fullchain.pem").read_text()
    key = (_LINEAGE / "privkey.pem").read_text()
    if certificate.CERTIFICATE.exists() and certificate.CERTIFICATE.read_text() == chain:
        return
    nginx.mark_stale()
    certificate.put(chain, key, _COMMAND)
    hsts.begin()
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
