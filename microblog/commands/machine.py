"""The commands that look after the machine, from ``setup`` on; none of them needs Flask."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microblog.errors import HostError

if TYPE_CHECKING:
    from microblog.host.backups.places import Access, Place

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


def _say(text: str) -> None:
    try:
        click.echo(text)
    except OSError:
        # Whoever listened has gone (| head), or the terminal has; the work goes on.
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115


def _hush(_text: str) -> None:
    pass


@click.command()
@click.option("--boot", is_flag=True, help="Leave starting the services to systemd.")
@click.option("--enable", is_flag=True, help="Link the site again where its links were taken away.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--daily", is_flag=True, hidden=True, help="The timer's: what has its time.")
@click.option("--leave", is_flag=True, hidden=True, help="The package's prerm: give back what was taken.")
def setup(boot: bool, enable: bool, dry_run: bool, daily: bool, leave: bool) -> None:
    """Make what is missing on this machine, and start the site.

    That is environment file and secret key, database and its user, schema, certificate and the web
    server's configuration. It changes nothing that is there, takes changed settings over, and can be run at
    any time, and again after an interruption or an upgrade that has failed.

    Links in sites-enabled and supervisor's conf.d that were taken away stay away, until --enable.
    """
    from microblog.host import setup as work
    from microblog.host.machine import signals

    if dry_run:
        from microblog.host.plan import plan

        for line in plan():
            click.echo(line)
        return
    # In the middle of it the site may be away: it does not end with the terminal that it was begun in.
    signals.outlast(signal.SIGHUP)
    if leave:
        work.leave(_say)
    elif daily:
        work.daily(_say)
    else:
        work.setup(boot, _say, enable=enable)


@click.command()
@_json
@click.option(
    "--nagios", is_flag=True, help="One line, and Nagios' exit codes: 0, 1 warning, 2 critical, 3 unknown."
)
@click.option("--prometheus", is_flag=True, help="For node_exporter's textfile collector.")
@click.option("--failed", metavar="UNIT", hidden=True, help="OnFailure's: tell ADMINS.")
def status(as_json: bool, nagios: bool, prometheus: bool, failed: str) -> None:
    """Show what runs, on what, and for how long it can.

    On which database, whether visitors see the site, when the certificate ends, how much room the disk
    has, and the last backup. The exit code is for monitors: 1 where somebody should look.
    """
    from microblog.host.health import monitors
    from microblog.host.health.failed import tell
    from microblog.host.health.status import status as work

    if failed:
        tell(failed, _say)
        return
    if nagios:
        line, code = monitors.nagios(work)
        click.echo(line)
        sys.exit(code)
    facts = work()
    if prometheus:
        click.echo(monitors.prometheus(facts), nl=False)
        return
    ok = all(fact.ok for fact in facts.values())
    if as_json:
        told = {name: {"ok": fact.ok, "text": fact.text, **fact.values} for name, fact in facts.items()}
        click.echo(json.dumps({"ok": ok, **told}))
    else:
        for name, fact in facts.items():
            click.echo(f"{name + ':':<14}{fact.text}{'' if fact.ok else '  (!)'}")
    if not ok:
        sys.exit(1)


@click.command()
@click.option("--greeting", is_flag=True, hidden=True, help="SSH's: never an error, and soon done.")
def claim(greeting: bool) -> None:
    """Show the code by which a new site is claimed in the browser; nothing, once it has an owner.

    It is CLAIM_CODE in the environment file, and is made of the secret key unless it was set there. Whoever
    makes an account by 'microblog user add' has claimed the site, too.
    """
    from microblog.config import Config
    from microblog.host.database import claim as work
    from microblog.host.machine import layout

    found = work.greeting() if greeting else work.line(Config.load(layout.env_file()))
    if found:
        click.echo(found)


@click.command()
@_json
def doctor(as_json: bool) -> None:
    """Find what is wrong with this machine, say why, and what helps.

    It asks for the site as a visitor does, by its first name through the web server, and sees by the secret
    key that it is this site that answers. The exit code is 1 where something is wrong.
    """
    from microblog.host.health.doctor import doctor as work

    findings = work()
    if as_json:
        click.echo(json.dumps([vars(finding) for finding in findings]))
    else:
        for finding in findings:
            click.echo(f"{finding.what}\n  why:  {finding.why}\n  then: {finding.remedy}")
        if not findings:
            click.echo("Nothing is wrong that the doctor can see.")
    if any(finding.severity != "note" for finding in findings):
        sys.exit(1)


@click.command()
@click.option("--check", is_flag=True, help="Only fetch apt's lists, and say what there is.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done, by the lists that apt has.")
@click.option("--all", "everything", is_flag=True, help="All of the system's packages, too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--again", is_flag=True, help="Offer again what was taken back.")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(1),
    default=300,
    show_default=True,
    help="How long the new version may take to answer well.",
)
@click.option("--finish", is_flag=True, help="End one that was interrupted, either way.")
@click.option(
    "--automatic",
    type=click.Choice(["security", "all", "site", "none"]),
    help="What is updated by night, by itself: the distribution's security updates, the site, both, nothing.",
)
@click.option("--watch", is_flag=True, hidden=True, help="Before the system updates itself.")
@_json
def update(
    check: bool,
    dry_run: bool,
    everything: bool,
    yes: bool,
    again: bool,
    wait: float,
    finish: bool,
    automatic: str | None,
    watch: bool,
    as_json: bool,
) -> None:
    """Update the site from apt's repositories, and take that back where it does not go well.

    What will change is shown first. What is there is backed up, and kept; then the new version has to
    answer well, asked for as visitors do. Where it does not, version and data go back by themselves, and
    apt is not offered that version again. The exit code is 1 where it was taken back.

    A power cut, or a terminal that closes, stops nothing: it goes on by itself, or at the next boot.
    """
    from microblog.host.updates import automatic as nightly
    from microblog.host.updates import packages
    from microblog.host.updates import update as work

    say = _hush if as_json else _say
    if watch:
        work.watch(say, seconds=wait)
        return
    if finish:
        if not work.pending():
            _told({"result": "nothing to do"}, as_json)
            return
        _follow(say, as_json)
        return
    if automatic:
        nightly.switch(nightly.Automatic(automatic in ("security", "all"), automatic in ("site", "all")), say)
        return
    if again:
        packages.allow()
    plan = work.available(refresh=not dry_run, everything=everything)
    for line in plan.warnings:
        click.echo(f"microblog: {line}", err=True)
    if not as_json:
        for line in plan.lines():
            click.echo(line)
    if check or dry_run or not plan.changes:
        if as_json:
            click.echo(
                json.dumps({"result": "nothing to do", "changes": [vars(one) for one in plan.changes]})
            )
        return
    if not yes and not as_json and sys.stdin.isatty():
        click.confirm("Update?", default=True, abort=True, err=True)
    work.prepare(plan, say, seconds=wait)
    _follow(say, as_json)


def _follow(say: Callable[[str], None], as_json: bool) -> None:
    """Have an update go on by itself, whoever looks; and look."""
    from microblog.host.updates import update as work

    begun = work.begin()
    for line in work.follow():
        say(line)
    _told(work.ended(begun), as_json)


def _told(ended: dict[str, Any], as_json: bool) -> None:
    """How an update has ended."""
    from microblog.host.updates.update import see_good

    if as_json:
        click.echo(json.dumps(ended))
    try:
        see_good(ended)
    except HostError:
        if as_json:
            sys.exit(1)
        raise


@click.command()
@click.option(
    "--output", metavar="FILE", type=click.Path(path_type=Path), help="Write FILE, for root's eyes alone."
)
@click.option(
    "--to", "place", metavar="REPOSITORY", default="", help="From now on, send each backup there, too."
)
@click.option(
    "--sheet",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the recovery sheet, with the key, to print: FILE.html, or text.",
)
@click.option("--drill", is_flag=True, help="Restore the last backup beside the site, and compare.")
@click.option("--off", is_flag=True, help="Send backups nowhere else any more; what is there stays.")
@click.option("--daily", is_flag=True, hidden=True, help="The timer's: the last seven are kept.")
@_json
def backup(
    output: Path | None, place: str, sheet: Path | None, drill: bool, off: bool, daily: bool, as_json: bool
) -> None:
    """Write database, settings, secrets and certificate into one file.

    By default in /var/backups/microblog. A timer does it daily and keeps the last seven.

    With --to, each is also sent to a REPOSITORY elsewhere, encrypted: a folder (/FOLDER), a USB disk by its
    label (usb:LABEL), another machine by SSH (sftp:USER@HOST:/FOLDER, or sftp://USER@HOST:PORT//FOLDER), S3
    (s3:https://HOST/BUCKET) or what rclone knows (rclone:REMOTE:FOLDER). There stay the last of 7 days, 4
    weeks and 12 months. A key that is needed is asked for, or read from standard input.

    The timer tries the last backup every week, as --drill does; 'microblog status' tells how that went.
    """
    from microblog.host.backups import elsewhere, nightly
    from microblog.host.backups.backup import backup as work

    say = _hush if as_json else _say
    if sum(map(bool, (output, place, drill, off, daily))) > 1:
        raise click.UsageError("--output, --to, --drill and --off are said one at a time.")
    if off:
        _send_nowhere(say)
        return
    if place:
        _send_to(place, say)
    if sheet:
        from microblog.host.backups.sheet import write

        write(sheet, say)
        say(f"The recovery sheet is in {sheet}: print it, and delete the file")
        if not place:
            return
    if drill:
        from microblog.host.backups import drill as drills

        facts = drills.drill(say)
        if as_json:
            click.echo(json.dumps(facts))
        return
    if daily:
        path, manifest = nightly.nightly(say)
    else:
        path, manifest = work(output, "manual")
        if output is None:
            elsewhere.send(path, manifest, say)
    _print_backup(path, manifest, as_json)


def _send_to(place: str, say: Callable[[str], None]) -> None:
    from microblog.host.backups import elsewhere, restic
    from microblog.host.backups.sheet import text

    given = _secrets(place)
    try:
        now = elsewhere.choose(place, say, secrets=given)
    except restic.WrongKey as error:
        words = _asked("Key (nine words, from the recovery sheet)")
        if not words:
            raise error from None
        now = elsewhere.choose(place, say, secrets=given, words=words)
        elsewhere.seen()
    if now.shown:
        return
    if sys.stdout.isatty():
        say(f"\n{text(now.place, now.access.key)}")
        say("Print or copy this now; 'microblog backup --sheet FILE.html' makes a page of it.\n")
        elsewhere.seen()
    else:
        # A log is no place for it.
        say("Its key is needed to restore: 'microblog backup --sheet FILE.html' makes a page to print")


def _send_nowhere(say: Callable[[str], None]) -> None:
    from microblog.host.backups import elsewhere

    say("Backups stay on this machine" if elsewhere.off() else "Backups were sent nowhere else")


def _asked(what: str) -> str:
    """A secret: typed unseen, or a line of standard input; empty at its end."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, err=True))
    return sys.stdin.readline().strip()


def _secrets(address: str) -> dict[str, str]:
    """What a place needs besides the address: of the environment, or asked for."""
    from microblog.host.backups import elsewhere, places

    place = places.of(address)
    now = elsewhere.chosen()
    if now and now.place == place and not any(os.environ.get(name) for name in place.secrets):
        return {}
    return {name: os.environ.get(name) or _asked(name) for name in place.secrets}


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--from", "place", metavar="REPOSITORY", default="", help="Take the newest backup that was sent there."
)
@click.option("--list", "listed", is_flag=True, help="With --from: only list the backups that are there.")
@click.option("--snapshot", metavar="ID", default="", help="With --from: take this one of the list.")
@click.option("--check", is_flag=True, help="Read it to its end and see that it is whole; change nothing.")
@click.option("--force", is_flag=True, help="Go on where what is there cannot be backed up first.")
@_json
def restore(
    file: Path | None, place: str, listed: bool, snapshot: str, check: bool, force: bool, as_json: bool
) -> None:
    """Put a backup in the place of what is there, which is backed up first.

    It is a FILE, or comes from a REPOSITORY that 'microblog backup --to' has named; the nine words of its key
    are asked for, or read from standard input.

    It may come from another machine, another kind of database and an older version. Settings of the
    machine itself stay: its database (of either kind), proxies and workers.
    """
    if (file is None) == (not place) or (not place and (listed or snapshot)):
        raise click.UsageError("Name a FILE, or --from REPOSITORY.")
    say = _hush if as_json else _say
    if file is not None:
        _print_backup(file, _restore(file.absolute(), str(file.absolute()), say, check, force), as_json)
        return
    from microblog.host.backups import elsewhere

    where, access = _way_in(place)
    if listed:
        found = elsewhere.snapshots(where, access, say)
        if as_json:
            click.echo(json.dumps([vars(one) for one in found]))
        for one in () if as_json else found:
            click.echo(f"{one.id[:8]}  {one.made()}  {one.size / 2**20:8.1f} MiB  {one.host}")
        return
    with elsewhere.fetched(where, access, say, snapshot=snapshot) as (path, taken, _):
        name = f"{where.address}, {taken.made()}"
        _print_backup(path, _restore(path, name, say, check, force), as_json, name)


def _way_in(address: str) -> "tuple[Place, Access]":
    """A repository's place, and what opens it: known to this machine, or asked for."""
    from microblog.host.backups import elsewhere, key, places

    place = places.of(address)
    secrets = _secrets(address)
    now = elsewhere.chosen()
    if now and now.place == place:
        return place, places.Access(now.access.key, secrets or now.access.secrets)
    return place, places.Access(key.read(_asked("Key (nine words, from the recovery sheet)")), secrets)


def _restore(file: Path, name: str, say: Callable[[str], None], check: bool, force: bool) -> dict[str, Any]:
    from microblog.host.backups import restore as work
    from microblog.host.machine import signals
    from microblog.host.setup import setup as set_up

    if check:
        manifest = work.check(file)
    else:
        from microblog.host.updates import journal

        if not force:
            journal.see_none("nothing is restored", otherwise="; or go on all the same: restore --force")
        # A restore does not end with the terminal that it was begun in.
        signals.outlast(signal.SIGHUP)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        manifest = work.restore(file, say, force=force, name=name)
        # The pages say it themselves.
        say("All log-ins have ended, those of apps too: everybody logs in anew")
        say("Passwords, second factors, recovery codes and passkeys are those of the backup")
        say("Invitations, rights and accounts that were withdrawn or suspended since are good again")
        set_up(say=say)
    return manifest


@click.command("import")
@click.argument("source", default="")
@click.option("--replace", is_flag=True, help="Put it in the place of the accounts that are here.")
@click.option("--dry-run", is_flag=True, help="Only say what would be taken, and what would not.")
def import_(source: str, replace: bool, dry_run: bool) -> None:
    """Take accounts, followers and posts over from a deployment by hand of the Flask Mega-Tutorial.

    SOURCE is its folder, its .env, its DATABASE_URL or its app.db; found, if it is on this machine.
    Nothing of it is changed.
    """
    from microblog.host.handmade import take as work
    from microblog.host.handmade.found import in_the_way
    from microblog.host.machine import signals
    from microblog.host.setup import setup as set_up

    if dry_run:
        for line in work.look(source).lines():
            click.echo(line)
        return
    # As a restore, which it becomes.
    signals.outlast(signal.SIGHUP)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    taken = work.take(source, _say, replace=replace)
    if not in_the_way():
        set_up(say=_say)
    work.farewell(_say, taken, source)


def _print_backup(path: Path, manifest: dict[str, Any], as_json: bool, name: str = "") -> None:
    facts = {key: value for key, value in manifest.items() if key != "members"}
    facts.update(file=name or str(path), bytes=path.stat().st_size)
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(
            f"{name or path}: {sum(facts['rows'].values())} rows of {facts['database']},"
            f" {facts['bytes'] / 2**20:.1f} MiB, version {facts['version']}, {facts['created']}"
        )


@click.command()
@click.argument("domains", nargs=-1, metavar="[DOMAIN]...")
@click.option(
    "--server", metavar="URL", default="", help="Directory of another ACME service than Let's Encrypt."
)
@click.option("--email", default="", help="Where the authority may write; the first of ADMINS if not given.")
@click.option(
    "--dns",
    "provider",
    metavar="PROVIDER",
    default="",
    help="Show by a record in the DNS that DOMAIN is the site's, where port 80 does not lead here.",
)
@click.option(
    "--credentials",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --dns: what opens the account there; root's alone (0600). A copy is kept for renewals.",
)
@click.option(
    "--dns-wait", metavar="SECONDS", type=click.IntRange(0, 3600), help="With --dns: until records are seen."
)
@click.option("--off", is_flag=True, help="Go back to the certificate before, or one of the machine's own.")
@click.option("--now", is_flag=True, help="With --off: lock out browsers that insist on a trusted one.")
@click.option(
    "--own", is_flag=True, help="Have an authority of the machine's own, which devices are told to trust."
)
@click.option(
    "--redirect/--no-redirect",
    default=None,
    help="With one's own authority: send visitors from plain HTTP to HTTPS, or not.",
)
@click.option("--deploy", is_flag=True, hidden=True, help="certbot's hook.")
def https(
    domains: tuple[str, ...],
    server: str,
    email: str,
    provider: str,
    credentials: Path | None,
    dns_wait: int | None,
    off: bool,
    now: bool,
    own: bool,
    redirect: bool | None,
    deploy: bool,
) -> None:
    """Get a certificate for DOMAIN that browsers trust, and have it renewed.

    From Let's Encrypt, or another ACME service. --off first has browsers forget that they were told to
    insist on HTTPS (never with a certificate of the machine's own; with an authority's five minutes on the
    first day, then a day, a week, a year), and says when to call it again; or, with --now, does not wait.

    With --dns, the distribution's plugin of certbot for that PROVIDER is installed: cloudflare, desec,
    digitalocean, dnsimple, gandi, gehirn, google, infomaniak, linode, ovh, rfc2136, route53, sakuracloud,
    as far as the distribution has it (docs/https.md). So a machine behind a home router gets a certificate.

    At home, where nobody certifies a name such as microblog.local, the machine has an authority of its own
    (--own makes one where there is none); the site's page /certificate says how devices come to trust it.
    """
    from microblog.host.extras import https as work
    from microblog.host.extras.dns import Dns

    if deploy:
        work.deploy()
    elif sum((bool(domains), off, own, redirect is not None)) != 1:
        raise click.UsageError("Name a DOMAIN, or one of --off, --own, --redirect and --no-redirect.")
    elif off:
        work.disable(_say, now=now)
    elif own:
        work.own(_say)
    elif redirect is not None:
        work.redirect(redirect, _say)
    elif not provider and (credentials or dns_wait is not None):
        raise click.UsageError("--credentials and --dns-wait belong to --dns.")
    else:
        dns = Dns(provider, credentials, dns_wait) if provider else None
        work.enable(domains, server, email, _say, dns)


@click.command()
@click.option(
    "--domain", default="", help="After the @ of the sender; by default its old one, or the site's name."
)
@click.option("--relay", metavar="HOST[:PORT]", default="", help="Send through somebody's server (port 587).")
@click.option("--user", default="", help="The name there; the password is asked for, or read from a pipe.")
@click.option("--records", is_flag=True, help="Only print the DNS records.")
@click.option("--test", "recipient", metavar="ADDRESS", default=None, help="Only send a test to ADDRESS.")
@click.option("--force", is_flag=True, help="Change a mail server that somebody has set up.")
@click.option("--dry-run", is_flag=True, help="Only say what would be changed.")
@click.option("--off", is_flag=True, help="Give the mail server back as it was.")
def mail(
    domain: str,
    relay: str,
    user: str,
    records: bool,
    recipient: str | None,
    force: bool,
    dry_run: bool,
    off: bool,
) -> None:
    """Have the site send mail: directly, with signatures, or through a relay.

    Directly, it is signed (DKIM), and the SPF, DKIM and DMARC records to publish are printed. A relay's
    password is asked for, or read from standard input.

    A mail server that somebody has set up is not changed, and no other one replaced, without --force. Mail
    to the site's own domain goes where the relay, or the domain's MX, has its mailboxes. --test waits until
    another server has taken the message.
    """
    from microblog.host.extras import postfix as work

    if recipient is not None:
        click.echo(work.send_test(recipient))
        return
    if off:
        work.disable(_say)
        return
    if not records:
        through = None
        if relay:
            host, _, port = relay.partition(":")
            if port and not port.isdigit():
                raise click.UsageError(f"{relay} is no HOST:PORT.")
            password = ""
            if user:
                password = (
                    click.prompt("Password", hide_input=True, err=True) if sys.stdin.isatty() else input()
                )
            through = work.Relay(host, int(port or 587), user, password)
        if dry_run:
            for line in work.plan(domain, through):
                click.echo(line)
            return
        lines = work.set_up(domain, through, _say, force=force)
    else:
        lines = work.records(domain)
    if lines:
        click.echo("Publish these records, so that others believe your mail:")
    for line in lines:
        click.echo(f"  {line}")


@click.command()
@click.option("--check", is_flag=True, help="Only report; the exit code is 1 where something is missing.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--confirm", is_flag=True, help="From a new session: it stays as it is.")
@click.option("--no-confirm", is_flag=True, help="For scripts: it stays without being confirmed.")
@click.option("--undo", is_flag=True, help="Take back what this command has done.")
@click.option("--bake", is_flag=True, hidden=True, help="An image's: only write files.")
@_json
def harden(
    check: bool, dry_run: bool, confirm: bool, no_confirm: bool, undo: bool, bake: bool, as_json: bool
) -> None:
    """Close what a server on the internet should not have open.

    SSH by key alone and not for root, a firewall, security updates by themselves, fail2ban. sshd and sudo
    themselves are asked whether somebody can still come in and be root: it refuses where nobody could. Which
    open ports the firewall closes is said.

    It is undone after five minutes, unless you log in anew and run it with --confirm there; scripts say
    --no-confirm.
    """
    from microblog.host.extras import harden as work

    if bake:
        work.bake()
        return
    if undo:
        work.undo(_say)
        return
    if confirm:
        work.confirmed(_say)
        return
    if dry_run:
        for line in work.plan():
            click.echo(line)
        return
    if not check:
        work.harden(_hush if as_json else _say, confirm=not no_confirm)
    found = work.check()
    if as_json:
        click.echo(json.dumps(dict(found)))
    else:
        for what, in_place in found:
            click.echo(f"{'yes' if in_place else 'NO ':<5}{what}")
        for line in work.exceptions() if check else ():
            click.echo(f"     {line}")
    if not all(in_place for _, in_place in found):
        sys.exit(1)


@click.command()
@click.option("--job", is_flag=True, hidden=True, help="The unit of jobs: do what was asked for.")
def agent(job: bool) -> None:
    """Do what the administrators' pages ask for; systemd starts it, by its socket.

    It knows a table of fixed verbs, and answers the application's user alone. See docs/security.md.
    """
    from microblog.host.agent import serve as work

    if job:
        work.run_job()
    else:
        work.serve()


COMMANDS = (setup, status, claim, doctor, update, backup, restore, import_, https, mail, harden, agent)
