"""The web side: how the application is put together."""

import copy
import logging
import time
from functools import lru_cache, partial
from typing import Any

import flask
from flask import Flask, current_app, request
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature, SignatureExpired

from microblog import database, i18n, units
from microblog.commands import search as search_command
from microblog.commands import user
from microblog.config import Config
from microblog.models import indexing
from microblog.translator import Translator
from microblog.web import (
    account,
    admin,
    api,
    auth,
    cards,
    certificate,
    error_pages,
    feed_pages,
    first_run,
    health,
    hosts,
    housekeeping,
    jinja,
    last_seen,
    letters,
    machine,
    manifest,
    mastodon,
    messages,
    metrics,
    moderation,
    navigation,
    notifications,
    people,
    posts,
    search,
    security,
    site_looks,
)
from microblog.web.extensions import chosen_language, csrf, login


class Response(flask.Response):
    """Flask's, with what its older versions and extensions leave out."""

    # Redirects stay relative, as from Werkzeug 2.1 on: no Host header gets into them.
    autocorrect_location_header = False

    def set_cookie(self, key: str, *args: Any, **kwargs: Any) -> None:
        # Flask-Login 0.5 knows no SameSite. And browsers refuse a __Host- cookie that is not
        # Secure even when it comes to delete one, which Flask-Login forgets: without this,
        # nobody with a remember-me cookie could log out.
        kwargs["samesite"] = kwargs.get("samesite") or "Lax"
        if key.startswith("__Host-"):
            kwargs["secure"] = True
        super().set_cookie(key, *args, **kwargs)

    def get_wsgi_headers(self, environ: Any) -> Any:
        headers = super().get_wsgi_headers(environ)
        # Of a program's own address, as app://, Werkzeug would take the slashes: it is told as it was given.
        location = self.headers.get("Location", "")
        if location.isascii() and not location.startswith(("/", "http:", "https:")) and location:
            headers["Location"] = location
        return headers


# Seconds by which another machine's clock may be ahead of this one's: what it signs is good here, too.
_AHEAD = 2 * 3600


class _Signer:
    """Flask's, that reads a cookie once: the same one comes with each page, and what it says is signed.

    :param signer: an itsdangerous serializer with a time.
    """

    def __init__(self, signer: Any) -> None:
        self.dumps = signer.dumps
        # Of a kilobyte each. What is not well signed is an error, and not kept.
        self._read = lru_cache(maxsize=1024)(partial(signer.loads, return_timestamp=True))

    def loads(self, text: str, max_age: int) -> dict[str, Any]:
        try:
            data, signed_at = self._read(text)
        except (ValueError, OverflowError, OSError):
            # itsdangerous 2.0 stumbles over the year 16536, even of a wrong signature.
            raise BadSignature("signed at no time") from None
        if not -_AHEAD <= int(time.time()) - int(signed_at.timestamp()) <= max_age:
            raise SignatureExpired("too old, or from times to come")
        # Flask changes the list of what a visitor is to be told, in its place.
        return copy.deepcopy(data) if any(isinstance(value, list | dict) for value in data.values()) else data


class Sessions(SecureCookieSessionInterface):
    """Flask's, for what differs from one visitor to the next."""

    _signer: tuple[Any, Any] = (None, None)

    def get_signing_serializer(self, app: Flask) -> Any:
        # Made once: that takes longer than to read a session with it.
        key, signer = self._signer
        if signer is None or key != app.secret_key:
            signer = _Signer(super().get_signing_serializer(app))
            self._signer = app.secret_key, signer
        return signer

    def save_session(self, app: Flask, session: Any, response: Any) -> None:
        # Pictures and static files are the same for everybody: with Vary: Cookie, which newer
        # Flasks add to all that an extension has looked at the session for, nothing could keep them;
        # and what is kept for everybody must hold nobody's cookie.
        if response.cache_control.public:
            response.headers.pop("Set-Cookie", None)
        else:
            super().save_session(app, session, response)


class Request(flask.Request):
    """Flask's, that takes more where more is to be uploaded."""

    @property
    def max_content_length(self) -> int | None:
        return machine.UPLOADS.get(self.endpoint or "") or current_app.config["MAX_CONTENT_LENGTH"]

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        raise AttributeError("it is the application's to say")


class Application(Flask):
    """Flask's, with logs that hold no secrets, and patience with a database that is shared."""

    def preprocess_request(self, *args: Any) -> Any:
        """What comes before a view only reads."""
        return units.run(partial(super().preprocess_request, *args), twice=True)

    def dispatch_request(self, *args: Any) -> Any:
        """A view is a unit of work: it commits once, and what it does to the session comes after that."""
        view = self.view_functions.get(request.endpoint or "")
        twice = request.method in ("GET", "HEAD") or units.is_safe_twice(view)
        return units.run(partial(super().dispatch_request, *args), twice=twice)

    def log_exception(self, exc_info: Any) -> None:
        # The view's rule, not the address: that may be the secret, as a reset link's is.
        self.logger.error("%s %s failed", request.method, request.url_rule, exc_info=exc_info)


def build_app(config: Config) -> Flask:
    """The application with these settings; see :func:`microblog.create_app`."""
    app = Application("microblog")
    app.response_class = Response
    app.request_class = Request
    app.session_interface = Sessions()
    app.jinja_options = {**app.jinja_options, "trim_blocks": True, "lstrip_blocks": True}
    app.config.update(
        SECRET_KEY=config.secret_key,
        SITE_NAME=config.site_name,
        GRAVATAR=config.gravatar,
        TRANSLATES=bool(config.translator_key),
        # There is nothing to upload but short forms.
        MAX_CONTENT_LENGTH=64 * 1024,
    )
    # Errors go to stderr, which gunicorn and supervisor keep.
    app.logger.setLevel(logging.INFO)
    if config.trusted_proxies:
        app.wsgi_app = security.ProxiesOnly(app.wsgi_app, config)  # type: ignore[method-assign]

    database.init_app(app, config.database_url)
    indexing.init_app(app, config.elasticsearch_url)
    last_seen.init_app(app)
    housekeeping.init_app(app)
    security.init_app(app, config)
    api.init_app(app)
    hosts.init_app(app, config)
    site_looks.init_app(app, config)
    first_run.init_app(app, config)
    letters.init_app(app, config)
    # Flask-Login would look the visitor up for every template, the error page of a broken
    # database included; as a global, current_user asks only where it is used.
    login.init_app(app, add_context_processor=False)
    csrf.init_app(app)
    csrf.exempt(api.blueprint)
    csrf.exempt(mastodon.blueprint)
    i18n.init_app(app, chosen_language, site_looks.site_language)
    jinja.init_app(app)
    navigation.init_app(app)
    cards.init_app(app)
    feed_pages.init_app(app)
    app.extensions["microblog.translator"] = (
        Translator(config.translator_key, config.translator_region) if config.translator_key else None
    )

    app.register_blueprint(health.blueprint)
    if config.metrics_token:
        app.config["METRICS_TOKEN"] = config.metrics_token
        app.register_blueprint(metrics.blueprint)
    app.register_blueprint(auth.blueprint)
    app.register_blueprint(first_run.blueprint)
    app.register_blueprint(account.blueprint)
    app.register_blueprint(certificate.blueprint)
    app.register_blueprint(admin.blueprint)
    app.register_blueprint(machine.blueprint)
    machine.init_app(app)
    app.register_blueprint(api.blueprint)
    app.register_blueprint(mastodon.blueprint)
    app.register_blueprint(mastodon.oauth.page)
    app.register_blueprint(posts.blueprint)
    app.register_blueprint(people.blueprint)
    app.register_blueprint(notifications.blueprint)
    app.register_blueprint(messages.blueprint)
    app.register_blueprint(search.blueprint)
    app.register_blueprint(moderation.blueprint)
    app.register_blueprint(manifest.blueprint)
    error_pages.init_app(app)
    app.cli.add_command(user.group)
    app.cli.add_command(search_command.group)
    return app
