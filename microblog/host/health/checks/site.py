"""The site itself: its settings, program, database, and nginx."""

import difflib
from collections.abc import Iterator

from dotenv import dotenv_values

from microblog.config import Config, known_settings
from microblog.errors import HostError
from microblog.host.database import kinds, schema
from microblog.host.health.finding import Check, Finding, Plain
from microblog.host.machine import layout, services
from microblog.host.site import envfile, maintenance, nginx, supervisor

_DATABASE_SECONDS = 5


def _settings() -> Iterator[Finding]:
    """Names that nobody reads are mistakes of the pen."""
    path, known = layout.env_file(), known_settings()
    values = dotenv_values(path, interpolate=False) if path.exists() else {}
    try:
        envfile.see_whole(path, path.read_text(encoding="utf-8") if path.exists() else "", values)
    except HostError as error:
        yield Finding(
            "settings.unclosed", "error", "A line of the settings is lost.", f"{error.message}.", error.hint
        )
    for name in sorted(set(values) - known):
        close = difflib.get_close_matches(name.upper(), known, n=1)
        yield Finding(
            "settings.unknown",
            "warning",
            f"There is no setting {name}.",
            f"It is in {path} and nobody reads it.",
            f"is it {close[0]}?" if close else "take the line away",
        )


def _maintenance() -> Iterator[Finding]:
    if maintenance.FLAG.exists():
        yield Finding(
            "maintenance",
            "error",
            "Visitors see the maintenance page.",
            "An upgrade or a restore is under way, or has failed.",
            "microblog setup",
        )


def _database(config: Config) -> Iterator[Finding]:
    try:
        present = kinds.of(config.database_url).revisions(lambda _: None, wait_seconds=_DATABASE_SECONDS)
    except HostError as error:
        yield Finding(
            "database.down", "error", "The site cannot use its database.", error.message, error.hint
        )
        return
    if present != schema.known(schema.migrations())[1]:
        yield Finding(
            "database.schema",
            "error",
            "The database's schema is not this version's.",
            f"It is at {' '.join(sorted(present)) or 'none'}; an upgrade may have been interrupted.",
            "microblog setup",
        )


def _application() -> Iterator[Finding]:
    if maintenance.FLAG.exists() or supervisor.answers(supervisor.PATIENCE) or supervisor.switched_off():
        return
    if supervisor.impostor():
        yield Finding(
            "application.impostor",
            "error",
            f"Another program answers at {layout.app_address()}, in the application's place.",
            "It does not know the site's key: log-ins may go to it. (Or the key was changed since.)",
            "stop it, or take BIND out of the settings; then: microblog setup",
        )
        return
    state = supervisor.program_state()
    yield Finding(
        "application.down",
        "error",
        "The application does not answer.",
        f"supervisor calls it {state}.",
        f"see {layout.LOGS / 'gunicorn.log'}; then: microblog setup",
    )


def _nginx() -> Iterator[Finding]:
    if not nginx.installed():
        return
    done = services.run("nginx", "-t", "-q")
    if done.returncode:
        first = (done.stdout.strip().splitlines() or ["it does not say why"])[0]
        yield Finding(
            "nginx.refuses",
            "error",
            "nginx does not accept its configuration.",
            first,
            "mend that; then: microblog setup",
        )
    elif nginx.switched_off() or supervisor.switched_off():
        yield Finding(
            "site.off",
            "warning",
            "The site is switched off.",
            "Its link in sites-enabled, or supervisor's conf.d, was taken away.",
            "microblog setup --enable links it again; apt remove microblog retires it",
        )
    elif not nginx.links():
        yield Finding(
            "nginx.unlinked",
            "error",
            "nginx does not know the site.",
            "It was never linked into /etc/nginx/sites-enabled.",
            "microblog setup",
        )
    elif not nginx.listens_as_others():
        yield Finding(
            "nginx.listens",
            "error",
            "The site does not listen as nginx's other sites do.",
            "They have changed since; at its next start nginx may find its ports taken, and serve nobody.",
            "microblog setup",
        )


def _by_hand() -> Iterator[Finding]:
    if path := supervisor.theirs():
        yield Finding(
            "site.by_hand",
            "error",
            "Somebody else's program has this site's name.",
            f"supervisor has it from {path}; nothing of it was touched, and this site is not started.",
            "microblog import takes a deployment by hand over; else rename it; then: microblog setup",
        )


def _program() -> Iterator[Finding]:
    """It may answer, and still not be what it should."""
    processes, state = supervisor.running(), supervisor.program_state()
    if processes and state not in ("RUNNING", "STARTING", "STOPPING"):
        yield Finding(
            "application.unsupervised",
            "warning",
            "The application runs, and supervisor does not know it.",
            f"supervisor calls it {state}; its first process is {min(processes)}.",
            "supervisorctl status microblog must answer; kill the process, then: microblog setup",
        )
    if processes and supervisor.renewed():
        yield Finding(
            "application.older",
            "warning",
            "The application runs with what an upgrade has replaced.",
            "It was not started again since; security updates do not count yet.",
            "microblog setup",
        )


def _proxies(config: Config) -> Iterator[Finding]:
    """nginx is one proxy, and tells one address: with another number, nobody's is believed."""
    if nginx.installed() and nginx.links() and config.trusted_proxies != 1:
        yield Finding(
            "proxies.count",
            "error",
            "All visitors count as one.",
            f"TRUSTED_PROXIES is {config.trusted_proxies}, and nginx stands in front:"
            " one who guesses passwords locks everybody out.",
            f"put TRUSTED_PROXIES=1 into {layout.env_file()}; then: microblog setup",
        )


PLAIN: tuple[Plain, ...] = (_settings, _maintenance, _by_hand, _application, _program, _nginx)
CHECKS: tuple[Check, ...] = (_database, _proxies)
