"""Providers of DNS through whom an authority is shown that a name is the site's (ACME's DNS-01).

For machines that nobody reaches on port 80: certbot puts a record into the name's zone, by one of the plugins
that the distribution has. What opens the provider's account is kept in a file of root's alone.
"""

import ipaddress
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from microblog.errors import HostError
from microblog.host.machine import layout, ledger
from microblog.host.site import secrets
from microblog.protocol import DNS_FIELDS

FOLDER = layout.ETC / "dns"
_COMMAND = "https"
_LONGEST = 64 * 1024
# What a provider's file has to say, as certbot's plugin for it reads it; all by the distribution's names, and
# not all in each: Debian 12 and Ubuntu 22.04 have those without a mark, Debian 13 those with a star.
PROVIDERS = {
    "cloudflare": "dns_cloudflare_api_token = TOKEN",  # *
    "desec": "dns_desec_token = TOKEN",  # * alone
    "digitalocean": "dns_digitalocean_token = TOKEN",
    "dnsimple": "dns_dnsimple_token = TOKEN",
    "gandi": "dns_gandi_api_key = KEY",
    "gehirn": "dns_gehirn_api_token = TOKEN, dns_gehirn_api_secret = SECRET",
    "google": "a service account's key, as JSON",  # *
    "infomaniak": "dns_infomaniak_token = TOKEN",  # * alone
    "linode": "dns_linode_key = KEY",
    "ovh": "dns_ovh_endpoint = ovh-eu, dns_ovh_application_key, _application_secret and _consumer_key",
    "rfc2136": "dns_rfc2136_server = ADDRESS, dns_rfc2136_name, _secret and _algorithm = HMAC-SHA256",  # *
    "route53": "",  # *
    "sakuracloud": "dns_sakuracloud_api_token = TOKEN, dns_sakuracloud_api_secret = SECRET",
}
# Above what was typed in a page: what root has given, pages leave alone.
_TYPED = "# Typed in the administrators' pages.\n"
# Addresses that mean this machine itself ("this network", RFC 1122).
_HERE = ipaddress.ip_network("0.0.0.0/8")
# Of these the plugin takes no file: it looks where all programs of that provider's do.
_OWN_PLACE = {"route53": "/root/.aws/credentials"}


@dataclass(frozen=True)
class Dns:
    """:ivar provider: one of :data:`PROVIDERS`.
    :ivar credentials: a file with what opens its account; None: the one that is kept.
    :ivar wait: seconds until a record is seen everywhere; None: as the plugin has it.
    :ivar told: what would be in that file, where somebody has typed it in a page.
    """

    provider: str
    credentials: Path | None = None
    wait: int | None = None
    told: str = field(default="", repr=False)

    def check(self) -> None:
        """:raises HostError: there is no such provider, or its file is not there, or open to others."""
        if self.provider not in PROVIDERS:
            raise HostError(
                f"there is no plugin for {self.provider!r}", f"one of: {', '.join(sorted(PROVIDERS))}"
            )
        place = _OWN_PLACE.get(self.provider)
        if place and self.credentials:
            raise HostError(
                f"{self.provider} takes no --credentials", f"put them into {place}, as its own tools do"
            )
        if self.credentials:
            read(self.credentials)
        elif not place and not self.told and not self.kept.exists():
            raise HostError(
                f"what opens the account at {self.provider} is not known",
                f"write it into a file ({PROVIDERS[self.provider]}), chmod 600 FILE, add --credentials FILE",
            )

    @property
    def package(self) -> str:
        return f"python3-certbot-dns-{self.provider}"

    @property
    def kept(self) -> Path:
        """Where what opens the account is."""
        return FOLDER / f"{self.provider}.{'json' if self.provider == 'google' else 'ini'}"

    def options(self) -> list[str]:
        """certbot's."""
        plugin = f"dns-{self.provider}"
        found = ["--authenticator", plugin]
        if self.provider not in _OWN_PLACE:
            found += [f"--{plugin}-credentials", str(self.kept)]
        if self.wait is not None:
            found += [f"--{plugin}-propagation-seconds", str(self.wait)]
        return found

    def without_secrets(self, text: str) -> str:
        """What certbot says: it tells what the provider has said, and some say what they were told."""
        fields = (line.partition(" = ") for line in self.told.splitlines())
        return secrets.without(text, [value for name, _, value in fields if secrets.named(name)], "***")

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep the file for as long as the site has its certificate; not, if that is not got."""
        if self.credentials is None and not self.told:
            yield
            return
        text = f"{_TYPED}{self.told}" if self.told else read(self.credentials or self.kept)
        FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = self.kept.read_text(encoding="utf-8") if self.kept.exists() else None
        ledger.write(_COMMAND, self.kept, text, 0o600)
        try:
            yield
        except BaseException:
            if before is None:
                ledger.forget(_COMMAND, self.kept)
                self.kept.unlink()
            else:
                # What renews the certificate that is there.
                ledger.write(_COMMAND, self.kept, before, 0o600)
            raise


def typed(provider: str, fields: Mapping[str, str], wait: int | None = None) -> Dns:
    """A provider with what a page was told of its account: each field is checked, and of one word.

    :raises HostError: it is not what this provider wants, or a place that a page has no business at.
    """
    wanted = DNS_FIELDS.get(provider)
    if wanted is None:
        raise HostError(f"{provider} is for the command line alone", "microblog https NAME --dns")
    if set(fields) != set(wanted) or not all(fields.values()):
        raise HostError(f"{provider} wants: {', '.join(wanted)}", "fill all of it in")
    if "server" in fields:
        _see_server(fields["server"], fields["port"])
        # Debian 12's plugin takes one in small letters for another one.
        fields = {**fields, "algorithm": fields["algorithm"].upper()}
    lines = (f"dns_{provider}_{name} = {fields[name]}\n" for name in wanted)
    return Dns(provider, wait=wait, told="".join(lines))


def _see_server(server: str, port: str) -> None:
    """certbot speaks to it as root: none of this machine's own programs, which trust whoever is here.

    :raises HostError: it is one, or none at all.
    """
    try:
        told = ipaddress.ip_address(server)
    except ValueError:
        raise HostError("the name server is told by its address", "as 192.0.2.53") from None
    address = getattr(told, "ipv4_mapped", None) or told
    local = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    if local or (address.version == 4 and address in _HERE):
        raise HostError(
            f"{server} is this machine, or a neighbour without an address of its own",
            "for those the command line: microblog https NAME --dns rfc2136 --credentials FILE",
        )
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise HostError(f"{port[:20]} is no port", "a name server's is 53")


def accounts() -> dict[str, str]:
    """What opens accounts at providers, by these; empty of what cannot be read."""
    found = {}
    for provider in PROVIDERS:
        path = Dns(provider).kept
        if path.exists():
            try:
                found[provider] = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                found[provider] = ""
    return found


def see_not_roots() -> None:
    """:raises HostError: root has given what opens an account, on the command line."""
    # What cannot be read may be root's, as what an earlier version has kept.
    if not all(text.startswith(_TYPED) for text in accounts().values()):
        raise HostError(
            "what opens the DNS was given on the command line, and is changed there alone",
            "sudo microblog https DOMAIN, with --dns or without; or --off",
        )


def forget(keep: Path | None = None) -> None:
    """Delete what opens accounts that nothing is asked of any more, and each copy of it.

    :param keep: the file of the one that renews the certificate.
    """
    for path in (Dns(provider).kept for provider in PROVIDERS):
        if path == keep:
            continue
        # First what would bring it back: what somebody has put there before us, or in ours' place.
        ledger.forget(_COMMAND, path)
        for copy in ledger.FOLDER.glob(f"*-{path.name}"):
            copy.unlink()
        path.unlink(missing_ok=True)
    if keep is None and FOLDER.is_dir() and not any(FOLDER.iterdir()):
        FOLDER.rmdir()


def read(path: Path) -> str:
    """What is in a file of secrets.

    :raises HostError: it is none, or others could read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, encoding="utf-8") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LONGEST:
                raise HostError(f"{path} is no file of settings", "name another")
            if status.st_mode & 0o077 or status.st_uid not in (0, os.getuid()):
                raise HostError(
                    f"{path} is open to others than root",
                    f"chown root {path} && chmod 600 {path}; then again",
                )
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(
            f"{path} cannot be read: {getattr(error, 'strerror', error)}", "name another"
        ) from None
