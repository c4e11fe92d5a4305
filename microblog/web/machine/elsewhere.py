"""The pages that say where backups go, show the recovery sheet, and fetch a backup from elsewhere."""

import ipaddress
import time
from typing import Any
from urllib.parse import urlsplit

from flask import flash, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from microblog.errors import HostError
from microblog.i18n import _
from microblog.web.first_run import gate
from microblog.web.machine.views import ask, begin, blueprint, page, without_agent

# A page waits so long by itself; then it is asked once more.
_LOOK_SECONDS = 5
# What was typed last, but for secrets: who has to try again need not type it again.
_LAST = "place"
_FIELDS = {
    "sftp": ("host", "port", "user", "folder"),
    "s3": ("service", "bucket", "folder"),
    "usb": ("label",),
}
_KEPT = {
    "kind",
    "words",
    "go_on",
    "access_key",
    "secret",
    *(name for names in _FIELDS.values() for name in names),
}


@blueprint.route("/backups/elsewhere", methods=["GET", "POST"])
def elsewhere() -> ResponseReturnValue:
    """Where backups go besides this machine."""
    if request.method == "POST":
        return begin("backup-to", **_place(request.form))
    return _shown("elsewhere")


@blueprint.post("/backups/elsewhere/off")
def elsewhere_off() -> ResponseReturnValue:
    ask("backup-off")
    flash(_("Backups stay on this machine."))
    return redirect(url_for("machine.backups"))


@blueprint.route("/backups/sheet", methods=["GET", "POST"])
def sheet() -> ResponseReturnValue:
    """The recovery sheet, as long as nobody has said to have it."""
    if request.method == "GET":
        # The way back from the password's page, say.
        return redirect(url_for("machine.elsewhere"))
    if "kept" in request.form:
        ask("sheet-kept")
        flash(_("The recovery sheet is not shown again. Keep it where the machine is not."))
        return redirect(url_for("machine.backups"))
    return page("sheet", **ask("sheet"))


@blueprint.route("/backups/from", methods=["GET", "POST"])
def fetch() -> ResponseReturnValue:
    """A backup that is elsewhere, in the place of what is here; on a new site, too."""
    form = request.form
    if request.method == "GET":
        return _shown("fetch")
    if "list" in form:
        return _choose(ask("backups-there", **_place(form))["id"])
    if "looked" in form:
        return _choose(form["looked"])
    which = {"snapshot": form["snapshot"]} if "snapshot" in form else {}
    answer = begin("restore-from", **_place(form), go_on="go_on" in form, **which)
    return redirect(url_for("machine.restore_job")) if gate.is_new() else answer


def _choose(looked: str) -> str:
    """Which of several, when the agent has seen what is there. What was typed is passed on by the page, and
    kept nowhere else: the key among it.

    :param looked: the job that sees.
    """
    end = time.monotonic() + _LOOK_SECONDS
    while (found := ask("job")) and found["state"] == "running" and time.monotonic() < end:
        time.sleep(0.3)
    if not found or (found["id"], found["verb"]) != (looked, "backups-there"):
        raise HostError(_("Something else was done meanwhile."), _("Begin anew."))
    kept = [(name, value) for name, value in request.form.items() if name in _KEPT]
    return page("choose", job=found, kept=kept)


def _shown(name: str) -> str:
    state = without_agent(lambda: ask("elsewhere"))
    return page(name, agent=state is not None, state=state, last=session.get(_LAST, {}))


def _place(form: MultiDict[str, str]) -> dict[str, Any]:
    """A form's fields as the agent has them.

    :raises HostError: what is typed is no place.
    """
    kind = form.get("kind", "")
    typed = {name: form.get(name, "").strip() for name in _FIELDS.get(kind, ())}
    session[_LAST] = {"kind": kind, **{name: value[:200] for name, value in typed.items()}}
    fields: dict[str, Any] = {
        **{"kind": kind, "words": " ".join(form.get("words", "").split())},
        **{name: typed[name] for name in ("user", "bucket", "label") if name in typed},
        **({"folder": typed["folder"].rstrip("/")} if "folder" in typed else {}),
    }
    if kind == "sftp":
        fields.update(host=_bracketed(typed["host"].lower()), port=_port(typed["port"] or "22"))
    elif kind == "s3":
        fields.update(access_key=form.get("access_key", "").strip(), secret=form.get("secret", "").strip())
        fields.update(_service(typed["service"]))
    return fields


def _bracketed(host: str) -> str:
    """A host as addresses have it: one of IPv6 in brackets, in which it may have been typed."""
    try:
        return f"[{ipaddress.IPv6Address(host)}]"
    except ValueError:
        return host


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536:
        return int(text)
    raise HostError(_("This is no port."), _("It is a number from 1 to 65535; SSH has 22."))


def _service(text: str) -> dict[str, Any]:
    """The address of a service of S3's kind."""
    text = _bracketed(text)
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        port = parts.port or 0
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise HostError(
            _("This is no address of a service."), _("One is https://s3.eu-central-1.amazonaws.com, say.")
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return {"host": host, "port": port, "plain": parts.scheme == "http"}
