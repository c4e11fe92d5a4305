"""Until a new site is claimed, every visitor sees that it is new, and nothing else."""

from flask import Flask, current_app, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microblog import claiming
from microblog.config import Config
from microblog.models import claim
from microblog.web import hosts
from microblog.web.api import errors
from microblog.web.api.errors import Refused
from microblog.web.first_run import agent

_KEY = "microblog.claim"
_PROOF = "owner"
# What programs are told, in place of the page where it begins.
NEW = "This site is new: nobody has claimed it yet."


class _Claim:
    """:ivar code: empty where nobody has to claim the site.
    :ivar nearby: whether neighbours of a new machine may do without it.
    :ivar claimed: once somebody has, it stays so: nothing is asked any more.
    """

    def __init__(self, config: Config) -> None:
        self.code = config.claim_code
        self.nearby = config.claim_nearby
        self.claimed = not self.code
        # Visitors' addresses are those of the network only where this machine's own nginx tells them.
        self.one_proxy = config.trusted_proxies == 1 and config.proxy_networks == Config.proxy_networks


def init_app(app: Flask, config: Config) -> None:
    app.extensions[_KEY] = _Claim(config)

    @app.before_request
    def only_its_owner() -> ResponseReturnValue | None:
        # Whoever wants HTTPS first, before a password is typed, may have it.
        if (
            request.endpoint in hosts.NO_PAGES
            or request.blueprint in ("first_run", "certificate")
            or not is_new()
        ):
            return None
        if has_proof() and agent.is_below(request.path, "restore"):
            return None
        if errors.is_program():
            raise Refused(503, NEW)
        return redirect(url_for("first_run.welcome"))


def state() -> _Claim:
    found: _Claim = current_app.extensions[_KEY]
    return found


def is_new() -> bool:
    """Whether nobody has claimed this site yet."""
    here = state()
    if not here.claimed:
        here.claimed = not claim.is_new()
    return not here.claimed


def prove() -> None:
    """Let this browser go on: who sits at it is the owner."""
    session[_PROOF] = _proof()


def has_proof() -> bool:
    """Whether it may."""
    return bool(session.get(_PROOF) == _proof())


def may_restore() -> bool:
    """Whether this visitor may put a backup in the place of the site: the owner of a new one, with the code,
    or an administrator."""
    if is_new():
        return has_proof()
    return bool(current_user.is_authenticated and current_user.is_admin)


def _proof() -> str:
    """Worth nothing once there is another code."""
    return claiming.seal(str(current_app.secret_key), state().code)
