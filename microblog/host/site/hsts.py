"""How long browsers may insist on HTTPS (HSTS, RFC 6797): never with a certificate that nobody knows.

A browser that was told to insist refuses every other certificate for that long, and asks nobody. So it
is short when an authority's certificate is new, and grows with it.
"""

import time

from microblog.host.machine import files, layout
from microblog.host.site import certificate, nginx

# Its time is since when the site has a certificate that browsers trust. In it, while they are told to
# forget, for how many days they were told to insist.
_SINCE = layout.TLS / "trusted"
_INCLUDED = layout.RUN / "nginx-hsts.conf"
_DAY = 86400
# After so many seconds, browsers are told so many.
_STEPS = ((0, 5 * 60), (_DAY, _DAY), (8 * _DAY, 7 * _DAY), (38 * _DAY, 365 * _DAY))


def begin() -> None:
    """The site has an authority's certificate from now on; where it has one already, a renewed one, nothing
    changes: what was withdrawn stays so, or nobody would ever have waited long enough.
    """
    if not _SINCE.exists():
        files.write(_SINCE, "", 0o644)
    write()


def resume() -> bool:
    """The certificate is wanted again. :return: whether browsers are told something else than before."""
    if _withdrawn():
        files.write(_SINCE, "", 0o644)
    return write()


def withdraw() -> None:
    """Tell each who comes to forget what they were told."""
    if not _withdrawn():
        files.write(_SINCE, str(days_to_wait()), 0o644)
    write()


def forget() -> None:
    """There is no such certificate any more."""
    _SINCE.unlink(missing_ok=True)
    write()


def seconds(age: float) -> int:
    """What browsers are told. :param age: for how long the site has had its certificate, in seconds."""
    return max(told for after, told in _STEPS if age >= after)


def days_to_wait() -> int:
    """For how many days yet somebody may insist; 0 where that is over in minutes."""
    if not _SINCE.exists():
        # Versions before told everybody a year, whatever the certificate.
        return 0 if certificate.ours() else _STEPS[-1][1] // _DAY
    if _withdrawn():
        return max(0, int(_SINCE.read_text()) - int(_age() // _DAY))
    return seconds(_age()) // _DAY


def write() -> bool:
    """Have nginx say it. :return: whether that is something else than before."""
    text = ""
    if _SINCE.exists() and not certificate.ours():
        told = 0 if _withdrawn() else seconds(_age())
        text = f'https "max-age={told}";\n'
    return nginx.put(_INCLUDED, text)


def _withdrawn() -> bool:
    return _SINCE.exists() and bool(_SINCE.read_text())


def _age() -> float:
    return max(0.0, time.time() - _SINCE.stat().st_mtime)
