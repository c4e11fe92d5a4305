"""Lightsail takes no images: a script that installs the package on its Ubuntu 22.04 when a server starts."""

from builder.bake import packer
from builder.core import cache
from builder.core.errors import BuildError
from builder.deb import package
from builder.ship.cloud import ScriptOnly


def script(url: str) -> str:
    """The launch script.

    :param url: where the user has put the package, https.
    :raises BuildError: it is no such address.
    """
    deb = package.build(False)
    if not url.startswith("https://") or any(sign in url for sign in "\"'$`\\ \n"):
        raise BuildError(
            "a new server must be able to fetch the package",
            f"Put {deb} on a web server and name its address: --url https://...",
        )
    return packer.render("lightsail.sh.j2", url=f"'{url}'", sha256=cache.sha256_file(deb), name=deb.name)


CLOUD = ScriptOnly(script)
