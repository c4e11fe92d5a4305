"""nginx: the site's link, the default site's place, addresses of both kinds."""

import os
import socket
from pathlib import Path

from microblog.errors import HostError
from microblog.host.machine import files, layout, services

UNIT = "nginx.service"
_BINARY = Path("/usr/sbin/nginx")
_AVAILABLE = Path("/etc/nginx/sites-available/microblog")
_ENABLED = Path("/etc/nginx/sites-enabled/microblog")
_DEFAULT = Path("/etc/nginx/sites-enabled/default")
# The default site's link, put aside; the package's prerm puts it back.
_REPLACED = layout.ETC / "replaced-nginx-default"
# There while nginx runs with an older configuration or certificate than it is given.
_STALE = layout.RUN / "nginx-stale"
_LISTEN = {
    layout.RUN / "nginx-plain6.conf": "listen [::]:80;\n",
    layout.RUN / "nginx-tls6.conf": "listen [::]:443 ssl http2;\n",
}


def installed() -> bool:
    """Whether nginx is here, laid out as Debian's."""
    return _BINARY.exists() and _ENABLED.parent.is_dir()


def mark_stale() -> None:
    """Note, before a change, that nginx has to read it: who is interrupted leaves that to the next."""
    layout.RUN.mkdir(mode=0o755, exist_ok=True)
    _STALE.touch()


def stale() -> bool:
    """Whether nginx has something to read, or to be started."""
    return _STALE.exists() or services.state(UNIT) != "active"


def enabled() -> bool:
    """Whether the site is linked."""
    return os.path.lexists(_ENABLED)


def ensure() -> list[str]:
    """Enable the site once; afterwards it is the administrator's to disable or change.

    :return: what was done.
    :raises HostError: if nginx does not accept the configuration; everything is then as it was.
    """
    done = []
    if _write_listen():
        done.append("nginx listens on IPv6 too" if _ipv6() else "nginx listens on IPv4 alone")
    if os.path.lexists(_ENABLED):
        return done
    if not _AVAILABLE.exists():
        raise HostError(
            f"{_AVAILABLE} is gone",
            "apt-get install --reinstall -o Dpkg::Options::=--force-confmiss microblog",
        )
    mark_stale()
    replaced = _take_over() and os.path.lexists(_DEFAULT)
    if replaced:
        files.replace(_DEFAULT, _REPLACED)
    files.link(_ENABLED, _AVAILABLE)
    test = services.run(str(_BINARY), "-t", "-q")
    if test.returncode:
        _ENABLED.unlink()
        if replaced:
            files.replace(_REPLACED, _DEFAULT)
        last = test.stdout.strip().splitlines()[:1] or ["nginx -t fails"]
        raise HostError(
            f"nginx does not accept the site: {last[0]}", "mend that (nginx -t); then: microblog setup"
        )
    if replaced:
        done.append("nginx's default site is put aside")
    done.append("nginx's site microblog is enabled")
    return done


def apply() -> None:
    """Have a running nginx read its configuration, or start it.

    :raises HostError: if it will not.
    """
    state = services.state(UNIT)
    if state != "active":
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


def _take_over() -> bool:
    """Whether the administrator gave nginx's default site's place away."""
    try:
        lines = layout.ANSWERS.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return False
    return "NGINX_DEFAULT_SITE=replace" in lines


def _write_listen() -> bool:
    """Have nginx listen on IPv6 where there is any: without, "listen [::]" stops nginx.

    In /run, because the next boot's kernel may be another.

    :return: whether anything changed.
    """
    changed = False
    for path, text in _LISTEN.items():
        if not _ipv6():
            if path.exists():
                mark_stale()
                path.unlink()
                changed = True
        elif not path.exists():
            mark_stale()
            files.write(path, text, 0o644)
            changed = True
    return changed


def _ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True
