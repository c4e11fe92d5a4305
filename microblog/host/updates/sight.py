"""Whether the site is well: asked for as visitors do, more than once."""

import http.client
import time

from microblog.config import Config
from microblog.errors import HostError
from microblog.host.machine import layout, services
from microblog.host.site import front, maintenance, nginx, supervisor

# A version that answers once and then breaks is not well.
_TIMES = 3
_PAUSE_SECONDS = 1.0
# Pages that are made from templates, with what the database says. While the site is new, the first leads to
# the second; once it is claimed, the second leads away.
_PAGES = ("/login", "/first-run")


def switched_off() -> bool:
    """Whether its administrator has taken the site away: nobody is to see it."""
    return supervisor.switched_off() or (nginx.installed() and nginx.switched_off())


def complaint() -> str:
    """What is wrong at this moment; empty where the site is well."""
    try:
        config = Config.load(layout.env_file())
    except HostError as error:
        return error.message
    if maintenance.FLAG.exists():
        return "visitors see the maintenance page"
    # A web server that runs on, and whose new version could not start.
    if nginx.installed() and not nginx.neighbour():
        tested = services.run("nginx", "-t", "-q")
        if tested.returncode:
            said = tested.stdout.strip().splitlines() or ["it does not say why"]
            return f"nginx would not start: {said[-1]}"
    sight = front.look(config)
    if sight is None:
        return "" if supervisor.answers() else "the application does not answer"
    if not sight.good:
        return sight.text()
    if not supervisor.answers():
        return "the application does not answer"
    codes = [front.fetch(config, page) for page in _PAGES]
    if http.client.OK not in codes:
        return f"visitors who want to log in are answered {codes[0] or 'nothing'}"
    return ""


def wait(seconds: float) -> str:
    """Wait until it is well, several times in a row.

    :param seconds: how long at most; it is asked once in any case.
    :return: what is wrong in the end; empty where it is well.
    """
    deadline, good = time.monotonic() + seconds, 0
    while True:
        found = complaint()
        good = 0 if found else good + 1
        if good == _TIMES:
            return ""
        if found and time.monotonic() > deadline:
            return found
        time.sleep(_PAUSE_SECONDS)
