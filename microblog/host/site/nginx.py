"""nginx: the site's link, its names, where it passes visitors on; and whose place it takes.

What is in ``/run/microblog/nginx-*.conf`` is made by each setup: where to listen, names,
gunicorn's address, whether visitors go on to HTTPS and for how long browsers may insist on it. The
site in ``sites-available`` is the same on every machine.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

from microblog import ipv6, names, own_authority
from microblog.config import SOCKET, Config
from microblog.errors import HostError
from microblog.host.machine import files, layout, ledger, services
from microblog.host.site import listen

UNIT = "nginx.service"
_BINARY = Path("/usr/sbin/nginx")
AVAILABLE = Path("/etc/nginx/sites-available/microblog")
_SITES = Path("/etc/nginx/sites-enabled")
# The first server that nginx reads answers what no other claims. In the default site's place that
# is ours; beside other sites it stays theirs.
_FIRST, _LAST = _SITES / "microblog", _SITES / "zz-microblog"
_DEFAULT = _SITES / "default"
_WELCOME = Path("/etc/nginx/sites-available/default")
_WELCOME_ROOT = Path("/var/www/html")
_WELCOME_PAGE = "index.nginx-debian.html"
# Where versions before the ledger have put the default site's link.
_REPLACED = layout.ETC / "replaced-nginx-default"
# There while nginx runs with an older configuration or certificate than it is given.
_STALE = layout.RUN / "nginx-stale"
_NAMES = layout.RUN / "nginx-names.conf"
_APP = layout.RUN / "nginx-app.conf"
_REAL = layout.RUN / "nginx-real.conf"
_HTTP = layout.RUN / "nginx-http.conf"
_SECURE = layout.RUN / "nginx-secure.conf"
# Ports that are another program's; 'microblog setup --enable' forgets them.
_LEFT = layout.ETC / "nginx-left"
_COMMAND = "nginx"
# Servers of web sites, beside which ours is set up rather than in their place.
OTHER_SERVERS = frozenset(
    {
        *("apache2", "httpd", "lighttpd", "caddy", "haproxy", "traefik", "varnishd", "h2o", "openlitespeed"),
        *("litespeed", "openresty", "angie", "envoy", "hitch", "pound", "stunnel4", "sslh", "squid"),
        # Whatever is published from a container.
        *("docker-proxy", "rootlessport"),
    }
)
# A comment, or a text in quotes: either begins where a word does, and not within one.
_APART = re.compile(r"""(?<![^\s;{}])(?:#[^\n]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""", re.DOTALL)


def installed() -> bool:
    """Whether nginx is here, laid out as Debian's."""
    return _BINARY.exists() and _SITES.is_dir()


def mark_stale() -> None:
    """Note, before a change, that nginx has to read it: who is interrupted leaves that to the next."""
    layout.RUN.mkdir(mode=0o755, exist_ok=True)
    _STALE.touch()


def stale() -> bool:
    """Whether nginx has something to read, or to be started."""
    return _STALE.exists() or services.state(UNIT) != "active"


def links() -> list[Path]:
    """The links to the site, whatever they are called."""
    if not _SITES.is_dir():
        return []
    return [path for path in sorted(_SITES.iterdir()) if path.is_symlink() and path.resolve() == AVAILABLE]


def switched_off() -> bool:
    """Whether the site was enabled, and its administrator has taken the link away."""
    return not links() and any(ledger.noted(_COMMAND, path) for path in (_FIRST, _LAST))


def switch_on() -> None:
    """Have the next :func:`ensure` link the site again."""
    _LEFT.unlink(missing_ok=True)
    for path in (_FIRST, _LAST):
        ledger.forget(_COMMAND, path)


def ensure(config: Config) -> list[str]:
    """Enable the site once; afterwards it is the administrator's to disable or change.

    :return: what was done.
    :raises HostError: if nginx does not accept the configuration; everything is then as it was.
    """
    _take_over_earlier()
    others = _others()
    done = [*_write_listen(others)]
    # Nothing, where nginx accepted nothing before that.
    elsewhere = _claimed(others if any(others) else _others())
    included, lost = _included(config, elsewhere)
    names_text, names_news = included.pop(_NAMES)
    done += [news for path, (text, news) in included.items() if put(path, text)]
    if to_be_linked():
        done += _enable()
        # Among the others, it may have addresses of theirs.
        done += _write_listen(_others())
    if put(_NAMES, names_text):
        done.append(names_news)
    if lost:
        done.append(f"another site of nginx's has {', '.join(lost)} already: it keeps that")
    return done


def _included(config: Config, elsewhere: set[str]) -> tuple[dict[Path, tuple[str, str]], list[str]]:
    """What the site includes of this machine's.

    :param elsewhere: names of other sites.
    :return: for each file its text, and what to say where that is news; names that another site has.
    """
    wanted, lost = own_names(config, elsewhere)
    return {
        _APP: (_app(), f"nginx passes visitors on to {layout.app_address()}"),
        _REAL: (
            _real(config),
            f"nginx believes proxies in {', '.join(_balancers(config)) or 'no network'}",
        ),
        _HTTP: (
            _redirected(config),
            f"nginx {'sends visitors on to HTTPS' if config.https else 'serves by plain HTTP too'}",
        ),
        _SECURE: (_secure(), "nginx sends visitors on to the names that the certificate is for"),
        _NAMES: (
            f"server_name {' '.join(wanted)};\n" if wanted else "",
            f"nginx knows the site as {', '.join(wanted) or 'the only one'}",
        ),
    }, lost


def to_be_linked() -> bool:
    """Whether :func:`ensure` enables the site."""
    return not links() and not switched_off()


def plan(config: Config) -> list[str]:
    """What :func:`ensure` would do; nothing is changed."""
    found = []
    if to_be_linked():
        if os.path.lexists(_DEFAULT):
            whose = "nginx's default site" if is_welcome() else f"the site {_DEFAULT}"
            found.append(f"put {whose} aside" if _take_over() else f"leave {whose} in its place")
        found.append("enable nginx's site microblog")
    included, lost = _included(config, claimed())
    found += [f"see that {news}" for path, (text, news) in included.items() if _now(path) != text]
    return found + [f"leave {name} to another site of nginx's" for name in lost]


def _enable() -> list[str]:
    if not AVAILABLE.exists():
        raise HostError(
            f"{AVAILABLE} is gone",
            "apt-get install --reinstall -o Dpkg::Options::=--force-confmiss microblog",
        )
    mark_stale()
    done = []
    replaced = os.path.lexists(_DEFAULT) and _take_over()
    if replaced:
        whose = "nginx's default site" if is_welcome() else f"the site {_DEFAULT}"
        ledger.put_aside(_COMMAND, _DEFAULT)
        done.append(f"{whose} is put aside")
    others = [path for path in _SITES.iterdir() if not path.name.startswith(".")]
    link = _FIRST if replaced or not others else _LAST
    ledger.link(_COMMAND, link, AVAILABLE)
    test = services.run(str(_BINARY), "-t", "-q")
    if test.returncode:
        leave(lambda _: None)
        last = test.stdout.strip().splitlines()[:1] or ["nginx -t fails"]
        raise HostError(
            f"nginx does not accept the site: {last[0]}", "mend that (nginx -t); then: microblog setup"
        )
    done.append("nginx's site microblog is enabled")
    return done


def leave(say: Callable[[str], None]) -> None:
    """Take the site out of nginx, and give back the place that it took."""
    for path in (_FIRST, _LAST):
        ledger.forget(_COMMAND, path)
    for path in links():
        path.unlink()
    ledger.take_back(_COMMAND, say)


def apply() -> None:
    """Have a running nginx read its configuration, or start it, unless another web server is there.

    :raises HostError: if it will not.
    """
    state = services.state(UNIT)
    if state != "active":
        if neighbour():
            return
        try:
            services.start(UNIT)
        except HostError:
            for port in (80, 443):
                for other in services.holders(port) - {"nginx"}:
                    raise HostError(
                        f"nginx does not start: port {port} is taken by {other}",
                        f"stop {other} or give it another port; then: microblog setup",
                    ) from None
            raise
    elif services.control("reload", UNIT).returncode:
        raise HostError("nginx does not reload", f"nginx -t; {services.log_of(UNIT)}; then: microblog setup")
    _STALE.unlink(missing_ok=True)


def neighbour() -> str:
    """Another web server that has the web's port where the site would listen, nginx not running; empty if
    there is none. Who has 443 alone may stand in front of nginx."""
    if services.state(UNIT) == "active":
        return ""
    return _in_the_way(80, *_others())


def _in_the_way(port: int, before: str, later: str) -> str:
    """Another web server where the site would listen at a port; empty if there is none.

    :param before: and ``later``: the other sites' configuration, as :func:`_others` has it.
    """
    theirs = [(at, program) for at, program in services.places(port) if program in OTHER_SERVERS]
    if not theirs:
        return ""
    # Where the sites have addresses of their own, other addresses are no matter of theirs.
    wanted = listen.files(before, later, ipv6=True, version=()).values()
    own = {one.address for text in wanted for one in listen.read(text) if one.port == port}
    return next((program for at, program in theirs if at in own | listen.ALL or own & listen.ALL), "")


def stand_aside(program: str) -> str:
    """Leave the web's ports to another server, at the next boot too, where both would race for them.

    :return: a line that says how to serve beside it.
    """
    # An nginx with sites of somebody's, at other ports, is theirs to start.
    elsewhere = any(one.port not in (80, 443) for one in listen.read("".join(_others())))
    if services.booted() and not elsewhere:
        services.run("systemctl", "disable", UNIT)
    return (
        f"Port 80 is {program}'s, which keeps it: nginx is not started. Have {program} pass a name on to"
        f" {layout.app_address()} (docs/package.md, beside another web server)"
    )


def is_welcome() -> bool:
    """Whether the default site is nginx's own: its link, its file as the package has it, its page alone."""
    if not _DEFAULT.is_symlink() or _DEFAULT.resolve() != _WELCOME:
        return False
    shipped = services.run("dpkg-query", "--show", "--showformat", "${Conffiles}\n", "nginx-common").stdout
    match = re.search(rf"^ {re.escape(str(_WELCOME))} ([0-9a-f]{{32}})", shipped, re.MULTILINE)
    now = services.run("md5sum", str(_WELCOME)).stdout.split(" ")[0]
    if not match or match[1] != now:
        return False
    # Somebody's pages may be where that file points.
    return not _WELCOME_ROOT.is_dir() or {path.name for path in _WELCOME_ROOT.iterdir()} <= {_WELCOME_PAGE}


def claimed() -> set[str]:
    """The names of nginx's other sites, but of those that are at other ports alone: nobody is led from one
    to the other."""
    return _claimed(_others())


def _claimed(others: tuple[str, str]) -> set[str]:
    found: set[str] = set()
    for text in others:
        for listed in re.findall(r"(?<![\w$])server_name\s+([^;]*);", _at_our_ports(text)):
            found.update(word.strip("\"'").lower().removeprefix(".") for word in listed.split())
    # nginx puts the machine's own in its place.
    if "$hostname" in found:
        found.add(socket.gethostname().lower())
    return found - {"_", "", "$hostname"}


def _at_our_ports(text: str) -> str:
    """A configuration without the servers that are certain to listen at none of this site's ports."""
    kept, end = "", 0
    for begun in re.finditer(r"(?<![\w$])server\s*\{", text):
        if begun.start() < end:
            continue
        depth, place = 1, begun.end()
        while depth and (brace := re.compile("[{}]").search(text, place)):
            depth, place = depth + (1 if brace[0] == "{" else -1), brace.end()
        server = text[begun.start() : place]
        listed = re.findall(r"(?<![\w$])listen\s+([^\s;{}]+)", server)
        # What it includes may have it listen elsewhere, too.
        if not listed or re.search(r"(?<![\w$])include\s", server) or not all(map(_is_elsewhere, listed)):
            place = begun.start()
        kept += text[end : begun.start()]
        end = place
    return kept + text[end:]


def _is_elsewhere(listened: str) -> bool:
    port = re.fullmatch(r"(?:.*:)?(\d+)", listened)
    return listened.startswith("unix:") or (port is not None and int(port[1]) not in (80, 443))


def _others() -> tuple[str, str]:
    """nginx's configuration less this site's and comments: what it reads before the site, and what later."""
    said = services.run(str(_BINARY), "-T", "-q")
    before: list[str] = []
    later: list[str] = []
    found = before
    text = "" if said.returncode else said.stdout
    for section in re.split(r"(?m)^# configuration file ", text)[1:]:
        path, _, text = section.partition(":\n")
        if path in {str(link) for link in links()}:
            found = later
        elif not path.startswith(f"{layout.RUN}/"):
            found.append(_bare(text))
    return "".join(before), "".join(later)


def _bare(text: str) -> str:
    """Without comments, and without what in quotes looks like the end of a block or a directive."""
    return _APART.sub(lambda found: "" if found[0][0] == "#" else re.sub("[{};]", "_", found[0]), text)


def listens(others: tuple[str, str] | None = None, ports: "dict[int, str] | None" = None) -> dict[Path, str]:
    """Where the site is to listen: what it includes for that.

    :param others: the other sites' configuration, and
    :param ports: those that another program has, where they are known: to ask takes a while.
    """
    said = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", services.run(str(_BINARY), "-v").stdout)
    version = tuple(map(int, said.groups())) if said else ()
    # Read where it is not linked yet, it is the last; and if not, it is looked at again.
    before, later = others or _others()
    theirs = _left(before, later) if ports is None else ports
    found = listen.files(before, later, ipv6=ipv6.available(), version=version, left=theirs)
    # A site that was kept from an older version has those of IPv4 in itself.
    own = _now(AVAILABLE)
    return {
        layout.RUN / name: "" if "4" in name and re.search(r"(?m)^\s*listen\s+(80|443 ssl)", own) else text
        for name, text in found.items()
    }


def left() -> dict[int, str]:
    """The web's ports that another web server has, or had when somebody looked: at a boot it may come later
    than nginx, which would take its place, or find its own taken and serve nobody."""
    return _left(*_others())


def _left(before: str, later: str) -> dict[int, str]:
    known = {int(port): program for port, program in (line.split() for line in _now(_LEFT).splitlines())}
    found = {}
    for port in (80, 443):
        holders = services.holders(port)
        program = _in_the_way(port, before, later) if holders else known.get(port, "")
        if program and "nginx" not in holders and services.run("which", program).returncode == 0:
            found[port] = program
    return found


def _remember_left(others: tuple[str, str]) -> dict[int, str]:
    found = _left(*others)
    text = "".join(f"{port} {program}\n" for port, program in found.items())
    if text != _now(_LEFT):
        if text:
            files.write(_LEFT, text, 0o644)
        else:
            _LEFT.unlink()
    return found


def listens_as_others() -> bool:
    """Whether the site listens as it is to by now."""
    return all(_now(path) == text for path, text in listens().items())


def own_names(config: Config, elsewhere: set[str]) -> tuple[list[str], list[str]]:
    """The names under which nginx is to find the site.

    :param elsewhere: names of other sites.
    :return: those; names that visitors are told of and that another site has.
    """
    told = [name.rpartition(":")[0] if re.search(r"\]?:\d+$", name) else name for name in config.host_names]
    wanted = list(dict.fromkeys([*told, *names.machine_names()]))
    # Nothing else may get into nginx's configuration: a machine's name is anybody's word.
    wanted = [name for name in wanted if re.fullmatch(r"[a-z0-9.-]{1,253}|\[[0-9a-f:.]+\]", name)]
    return (
        [name for name in wanted if name not in elsewhere],
        [name for name in wanted if name in elsewhere and name in told],
    )


def passes_to() -> str:
    """Where a site that was kept from an older version looks for the application; empty for today's."""
    try:
        text = re.sub(r"(?m)#.*$", "", AVAILABLE.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    found = re.search(r"proxy_pass\s+http://([0-9.]+:\d+)\s*;", text)
    return found[1] if found and "$microblog_app" not in text else ""


def shown() -> dict[str, Path]:
    """Certificate and key that the site's file names, by the names of nginx's settings."""
    found = re.findall(
        r"(?<![\w$])(ssl_certificate|ssl_certificate_key)\s+([^\s;{}]+)\s*;", _bare(_now(AVAILABLE))
    )
    # The first of each, where there are some of several kinds.
    return {name: Path("/etc/nginx", path.strip("\"'")) for name, path in reversed(found)}


def _app() -> str:
    """For the map that says where the application is; nothing where that is the usual place."""
    address = layout.app_address()
    if address == f"unix:{SOCKET}":
        return ""
    return f'~. "{address}:";\n' if address.startswith("unix:") else f'~. "{address}";\n'


def _redirected(config: Config) -> str:
    """Whether who comes by plain HTTP is sent on, for the map that says so."""
    if not config.https:
        return "http 0;\n"
    # With a certificate of the machine's own authority, for this once: browsers would keep it, and there is
    # a way back.
    return "http 2;\n" if own_authority.read() else ""


def _secure() -> str:
    """Where to, for the map that says so: the name that they came by, or one that its authority certifies."""
    found = own_authority.read()
    if not found:
        return ""
    return "".join(f"{name} {name};\n" for name in found.names) + f"~. {found.names[0]};\n"


def _balancers(config: Config) -> list[str]:
    """The networks of proxies in front of nginx: those that are not this machine."""
    networks = [ipaddress.ip_network(network, strict=False) for network in config.proxy_networks]
    return [str(network) for network in networks if not network.network_address.is_loopback]


def _real(config: Config) -> str:
    """Whose word for a visitor's address counts (ngx_http_realip_module)."""
    trusted = "".join(f"set_real_ip_from {network};\n" for network in _balancers(config))
    return f"{trusted}real_ip_header X-Forwarded-For;\nreal_ip_recursive on;\n" if trusted else ""


def _take_over() -> bool:
    """Whether the administrator gave the default site's place away."""
    try:
        lines = layout.ANSWERS.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return False
    return ("NGINX_DEFAULT_SITE=replace" if is_welcome() else "NGINX_OWN_SITE=replace") in lines


def _take_over_earlier() -> None:
    """Note what versions before the ledger have done."""
    if os.path.lexists(_REPLACED):
        ledger.adopt_aside(_COMMAND, _DEFAULT, _REPLACED)
    for path in links():
        ledger.adopt(_COMMAND, path)


def put(path: Path, text: str) -> bool:
    """Write what nginx includes; nothing to include is no file. :return: whether that is news."""
    before = _now(path)
    if before == text:
        return False
    mark_stale()
    if text:
        files.write(path, text, 0o644)
    else:
        path.unlink()
    # /run is empty at each boot: then it is no news.
    return bool(before) or path in (_APP, _REAL)


def _now(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _write_listen(others: tuple[str, str]) -> list[str]:
    """Have nginx listen where there is anything to listen at: "listen [::]" without IPv6 stops nginx.

    In /run, because the next boot's kernel may be another.

    :return: what is news.
    """
    wanted = listens(others, _remember_left(others))
    before = "".join(map(_now, wanted))
    for path, text in wanted.items():
        put(path, text)
    now = "".join(map(_now, wanted))
    if before == now:
        return []
    # /run is empty at each boot: then it is no news.
    if not before:
        return [f"nginx listens on {'IPv6 too' if ipv6.available() else 'IPv4 alone'}"]
    return [f"nginx listens for the site as its other sites do: {' '.join(now.split())}"]
