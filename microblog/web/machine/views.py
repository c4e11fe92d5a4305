"""The machine's pages, and what their buttons ask of the agent."""

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.datastructures import MultiDict

from microblog import __version__, facts, own_authority, protocol
from microblog.errors import HostError
from microblog.i18n import _, _l
from microblog.models import site
from microblog.names import ascii_name
from microblog.web import letters, strip
from microblog.web.admin.views import administrators_only
from microblog.web.extensions import own_account
from microblog.web.first_run import agent, gate
from microblog.web.machine import confirm
from microblog.web.machine.findings import told
from microblog.web.machine.remedies import remedy

blueprint = Blueprint("machine", __name__, url_prefix="/machine")

# What the owner of a new site may do, who has its code and no account yet: put a backup in its place.
FOR_OWNERS = {
    *("machine.backups", "machine.upload", "machine.upload_begin", "machine.upload_piece"),
    *("machine.upload_discard", "machine.restore", "machine.restore_job", "machine.fetch"),
}

LOGS = {
    "application": _l("Application"),
    "web": _l("Web server's errors"),
    "setup": _l("Setup"),
    "backup": _l("Daily backup"),
    "job": _l("Jobs"),
    "agent": _l("Audit"),
}
VERBS = {
    "backup": _l("Back up"),
    "restore": _l("Restore"),
    "backup-to": _l("Send backups elsewhere"),
    "backups-there": _l("See the backups elsewhere"),
    "restore-from": _l("Restore from elsewhere"),
    "settings": _l("Change settings"),
    "https": _l("Get a certificate"),
    "https-dns": _l("Get a certificate by a record in the DNS"),
    "https-off": _l("Give the certificate up"),
    "https-own": _l("Certify the site's own name"),
    "https-redirect": _l("Send visitors to HTTPS, or not"),
    "drill": _l("Try the last backup"),
    "update": _l("Update"),
    "update-look": _l("Look for updates"),
    "update-automatic": _l("Update by itself"),
    "mail-direct": _l("Send mail directly"),
    "mail-relay": _l("Send mail through a relay"),
    "mail-off": _l("Give the mail server back"),
    "mail-test": _l("Send a test"),
    "setup": _l("Set up what is missing"),
    "restart": _l("Restart the site"),
    "reboot": _l("Reboot"),
    "poweroff": _l("Power off"),
}
# Buttons that need no more than to be pressed.
PLAIN = {
    *("backup", "drill", "setup", "restart", "reboot", "poweroff", "mail-off", "mail-direct"),
    *("update", "update-look", "https-own"),
}
# What opens an account at a provider of DNS, as their own pages call it.
ACCOUNT = {
    "api_token": _l("API token"),
    "token": _l("Token"),
    "key": _l("Key"),
    "api_key": _l("API key"),
    "api_secret": _l("API secret"),
    "endpoint": _l("Endpoint (as ovh-eu)"),
    "application_key": _l("Application key"),
    "application_secret": _l("Application secret"),
    "consumer_key": _l("Consumer key"),
    "server": _l("Address of the name server"),
    "port": _l("Port"),
    "name": _l("Name of the key"),
    "secret": _l("Its secret"),
    "algorithm": _l("Algorithm (as HMAC-SHA256)"),
}
# In seconds since 1970: all forms of a date can say it, of any zone.
_TIME_MAX = 2**32
KINDS = {
    "manual": _l("by hand"),
    "daily": _l("daily"),
    "upgrade": _l("before an upgrade"),
    "restore": _l("before a restore"),
    "update": _l("before an update"),
}


def init_app(app: Flask) -> None:
    app.extensions[agent.PAGES] = pages_of_others


def pages_of_others() -> dict[str, str]:
    """Where the first run leads to, as long as there is an agent."""
    if not protocol.SOCKET.exists():
        return {}
    backups = url_for("machine.backups")
    return {"restore": backups, "backups": url_for("machine.elsewhere"), "https": url_for("machine.name")}


@blueprint.before_request
def administrators_or_the_owner() -> ResponseReturnValue | None:
    if request.endpoint in FOR_OWNERS and gate.is_new():
        return None if gate.may_restore() else abort(403)
    return administrators_only()


@blueprint.before_request
def password_first() -> ResponseReturnValue | None:
    """Whatever changes something, or gives a file out, is POST; a piece is of an upload that was begun so."""
    if request.method != "POST" or request.endpoint in ("machine.upload_piece", "machine.look"):
        return None
    if gate.is_new():
        # Its owner has no password yet, and has proven to be it.
        return None
    return confirm.ask()


@blueprint.errorhandler(HostError)
def refused(error: HostError) -> ResponseReturnValue:
    """What the agent does not do, in its words."""
    if request.accept_mimetypes.best == "application/json":
        return {"error": error.message}, 409
    return page("trouble", error=error), 409


def ask(verb: str, data: bytes = b"", **given: Any) -> Any:
    by = current_user.username if current_user.is_authenticated else "the owner of a new site"
    return protocol.ask(verb, by, given, data)


def page(name: str, **shown: Any) -> str:
    """A page, with its tabs."""
    tabs = [
        ("machine.overview", _("Overview")),
        ("machine.backups", _("Backups")),
        ("machine.updates", _("Updates")),
        ("machine.name", _("Name and HTTPS")),
        ("machine.mail", _("Mail")),
        ("machine.log", _("Log")),
        ("machine.power", _("Restart")),
    ]
    more = {
        "tabs": tabs,
        "here": request.endpoint,
        "moment_of": moment_of,
        "sends": letters.mailer() is not None,
    }
    return render_template(f"machine/{name}.html", **more, **shown)


def moment_of(seconds: float) -> datetime:
    """A time in seconds since 1970 as pages have it: in UTC, without a zone; of one that no date can say, the
    nearest."""
    return datetime.fromtimestamp(min(max(seconds, 0), _TIME_MAX), timezone.utc).replace(tzinfo=None)


def begin(verb: str, **given: Any) -> ResponseReturnValue:
    """Ask for a job, and show how it goes."""
    ask(verb, **given)
    return redirect(url_for("machine.job"))


def without_agent(work: Callable[[], Any]) -> Any:
    """What the agent answers; None where there is none."""
    try:
        return work()
    except protocol.Away:
        return None


@blueprint.get("")
def overview() -> ResponseReturnValue:
    seen = strip.seen()
    here = protocol.SOCKET.exists()
    if seen is None and here:
        strip.look_later()
    known = seen["findings"] if seen else []
    findings = [{**one, "mend": remedy(one["id"]), "told": told(one)} for one in known]
    order = ["error", "warning", "note"]
    findings.sort(key=lambda one: order.index(one["severity"]) if one["severity"] in order else 0)
    return page(
        "overview",
        agent=here,
        seen=seen,
        findings=findings,
        machine=facts.look(),
        version=__version__,
        last=without_agent(lambda: ask("job")) if here else None,
        verbs=VERBS,
    )


@blueprint.post("/look")
def look() -> ResponseReturnValue:
    try:
        ask("look", fresh=True)
    except protocol.Away:
        # A slow machine takes its time; what it sees is kept.
        flash(_("The machine is being looked at ..."))
    return redirect(url_for("machine.overview"))


@blueprint.get("/job")
@blueprint.get("/backups/job", endpoint="restore_job")
def job() -> ResponseReturnValue:
    """How the job goes, or how it ended."""
    found = ask("job")
    if found is None:
        return redirect(url_for("machine.overview"))
    return page("job", job=found, verbs=VERBS)


@blueprint.post("/do/<verb>")
def do(verb: str) -> ResponseReturnValue:
    """A button that needs no more than to be pressed."""
    if verb not in PLAIN:
        abort(404)
    return begin(verb)


@blueprint.get("/backups")
def backups() -> ResponseReturnValue:
    if gate.is_new():
        return redirect(url_for("machine.upload"))
    listed = without_agent(lambda: ask("backups"))
    return page(
        "backups",
        agent=listed is not None,
        backups=listed,
        kinds=KINDS,
        upload=listed is not None and ask("upload"),
        state=listed is not None and ask("elsewhere"),
    )


@blueprint.post("/backups/download")
def download() -> ResponseReturnValue:
    name = request.form.get("name", "")
    stream = protocol.fetch("download", current_user.username, {"name": name})
    # What is wrong is known before the first byte. One that is not whole raises, and does not end as if it
    # were: the server breaks the connection off.
    next(stream)
    response = Response(stream, mimetype="application/gzip")
    # It is one of those that are listed: of plain letters.
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@blueprint.post("/backups/delete")
def delete_backup() -> ResponseReturnValue:
    ask("delete-backup", name=request.form.get("name", ""))
    flash(_("The backup is deleted."))
    return redirect(url_for("machine.backups"))


@blueprint.post("/backups/restore")
def restore() -> ResponseReturnValue:
    """One that is here, or the one that was uploaded; on a new site, that alone."""
    if not gate.is_new():
        return begin("restore", backup=request.form.get("name", ""))
    ask("restore", backup="")
    return redirect(url_for("machine.restore_job"))


@blueprint.route("/backups/upload", methods=["GET", "POST"])
def upload() -> ResponseReturnValue:
    """The page from which a backup is uploaded: by a script, piece by piece."""
    if request.method == "POST":
        return redirect(url_for("machine.upload"))
    return page("upload", upload=ask("upload"), piece=protocol.PIECE_MAX)


@blueprint.post("/backups/upload/begin")
def upload_begin() -> ResponseReturnValue:
    size = request.form.get("size", type=int) or 0
    answer: dict[str, Any] = ask("upload-begin", size=size, mark=request.form.get("mark", "")[:300])
    return answer


@blueprint.post("/backups/upload/piece")
def upload_piece() -> ResponseReturnValue:
    offset, size = request.args.get("offset", type=int), request.content_length or 0
    if offset is None or not size:
        abort(400)
    if size > protocol.PIECE_MAX:
        # Older versions of Werkzeug would read it all.
        abort(413)
    data = request.get_data(cache=False)
    answer: dict[str, Any] = ask("upload-piece", data, offset=offset, length=len(data))
    return answer


@blueprint.post("/backups/upload/discard")
def upload_discard() -> ResponseReturnValue:
    ask("upload-discard")
    flash(_("The uploaded file is deleted."))
    return redirect(url_for("machine.backups"))


@blueprint.route("/updates", methods=["GET", "POST"])
def updates() -> ResponseReturnValue:
    """What an update would change, and what is updated by night."""
    if request.method == "POST":
        return begin("update-automatic", what=request.form.get("what", ""))
    found = without_agent(lambda: ask("updates"))
    return page("updates", agent=found is not None, updates=found)


@blueprint.route("/name", methods=["GET", "POST"])
def name() -> ResponseReturnValue:
    """The site's name, its host names, its certificate."""
    form = request.form
    if "domains" in form:
        return begin("https", domains=_names(form["domains"]))
    if "off" in form:
        return begin("https-off", now=form["off"] == "now")
    if "redirect" in form:
        return _redirect(form["redirect"] == "yes")
    if "admins" in form:
        return begin("settings", values=_more(form))
    if request.method == "POST":
        values = {"SITE_NAME": form.get("site_name", "").strip()}
        if "host_names" in form:
            names = _names(form["host_names"])
            if names and request.host not in names and "sure" not in form:
                raise HostError(
                    _("%(name)s, by which you are here, is not among them.", name=request.host),
                    _("Add it, or you would be shut out."),
                )
            values["HOST_NAMES"] = ",".join(names)
        return begin("settings", values=values)
    configured = " ".join(current_app.extensions["microblog.hosts"].configured)
    own = own_authority.read()
    return page(
        "name",
        seen=strip.seen(),
        names=configured,
        agent=protocol.SOCKET.exists(),
        own=own,
        trusted=own is not None and site.is_trusted(own.mark),
        redirected=bool(current_app.config["SESSION_COOKIE_SECURE"]),
        providers=protocol.DNS_FIELDS,
    )


def _names(text: str) -> list[str]:
    """Names as browsers ask for them, of a field where somebody has written them as they are read."""
    return [ascii_name(name) for name in text.replace(",", " ").split()]


@blueprint.route("/name/dns/<provider>", methods=["GET", "POST"])
def dns(provider: str) -> ResponseReturnValue:
    """A certificate by a record in the DNS: what opens the account is passed on, and never shown."""
    if provider not in protocol.DNS_FIELDS:
        abort(404)
    wanted = protocol.DNS_FIELDS[provider]
    if request.method == "GET":
        here = protocol.SOCKET.exists()
        return page("dns", agent=here, provider=provider, fields=wanted, labels=ACCOUNT)
    form = request.form
    # Where it was not typed, the agent says what is wanted.
    fields = {name: typed for name in wanted if (typed := form.get(name, "").strip())}
    wait = form.get("wait", type=int)
    return begin(
        "https-dns",
        **{"domains": _names(form.get("domains", "")), "provider": provider, "fields": fields},
        **({} if wait is None else {"wait": wait}),
    )


@blueprint.get("/name/dns")
def choose_dns() -> ResponseReturnValue:
    return redirect(url_for("machine.dns", provider=request.args.get("provider", "")))


def _redirect(on: bool) -> ResponseReturnValue:
    """Send visitors to HTTPS, once there is a device that trusts it: the owner would shut everybody out."""
    own = own_authority.read()
    if on and not (own and site.is_trusted(own.mark)):
        raise HostError(
            _("No device was seen yet that trusts the site's certificate."),
            _("Open /certificate by http:// on a device that does; then try again."),
        )
    return begin("https-redirect", on=on)


def _more(form: MultiDict[str, str]) -> dict[str, str]:
    """Settings that are seldom changed; a key that is not given stays."""
    values = {
        "ADMINS": ",".join(form["admins"].replace(",", " ").split()),
        "GRAVATAR": "true" if "gravatar" in form else "false",
    }
    if key := form.get("translator_key", "").strip():
        values.update(MS_TRANSLATOR_KEY=key, MS_TRANSLATOR_REGION=form.get("translator_region", "").strip())
    return values


@blueprint.route("/mail", methods=["GET", "POST"])
def mail() -> ResponseReturnValue:
    form = request.form
    if "to" in form:
        return begin("mail-test", to=form["to"].strip())
    if "host" in form:
        return begin(
            "mail-relay",
            host=form["host"].strip().lower(),
            port=form.get("port", type=int) or 0,
            domain=ascii_name(form.get("domain", "")),
            user=form.get("user", "").strip(),
            password=form.get("password", ""),
        )
    if "domain" in form:
        return begin("mail-direct", domain=ascii_name(form["domain"]))
    records, here = None, protocol.SOCKET.exists()
    if here:
        try:
            records = ask("mail-records")
        except HostError:
            records = None  # none yet
    return page("mail", records=records, agent=here, to=own_account().email)


@blueprint.get("/log")
def log() -> ResponseReturnValue:
    which = request.args.get("log", "application")
    if which not in LOGS:
        abort(404)
    lines = without_agent(lambda: ask("log", log=which, lines=200))
    return page("log", logs=LOGS, which=which, lines=lines, agent=lines is not None)


@blueprint.get("/power")
def power() -> ResponseReturnValue:
    return page("power", agent=protocol.SOCKET.exists())
