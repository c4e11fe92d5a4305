"""The commands that look after the machine, from ``setup`` on; none of them needs Flask."""

import json
import sys
from pathlib import Path
from typing import Any

import click

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


def _say(text: str) -> None:
    click.echo(text)


def _hush(_text: str) -> None:
    pass


@click.command()
@click.option("--boot", is_flag=True, help="Leave starting the services to systemd.")
def setup(boot: bool) -> None:
    """Make what is missing on this machine, and start the site."""
    from microblog.host.setup import setup as work

    work(boot)


@click.command()
@_json
def status(as_json: bool) -> None:
    """Show what runs, on what, and for how long it can.

    The exit code is for monitors: 1 where somebody should look.
    """
    from microblog.host.status import status as work

    facts = work()
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
@_json
def doctor(as_json: bool) -> None:
    """Find what is wrong with this machine, say why, and what helps."""
    from microblog.host.doctor import doctor as work

    findings = work()
    if as_json:
        click.echo(json.dumps([vars(finding) for finding in findings]))
    else:
        for finding in findings:
            click.echo(f"{finding.what}\n  why:  {finding.why}\n  then: {finding.remedy}")
        if not findings:
            click.echo("Nothing is wrong that the doctor can see.")
    if findings:
        sys.exit(1)


@click.command()
@click.option(
    "--output", metavar="FILE", type=click.Path(path_type=Path), help="Write FILE, for root's eyes alone."
)
@click.option("--daily", is_flag=True, hidden=True, help="The timer's: the last seven are kept.")
@_json
def backup(output: Path | None, daily: bool, as_json: bool) -> None:
    """Write database, settings, secrets and certificate into one file."""
    from microblog.host.backup import backup as work

    path, manifest = work(output, "daily" if daily else "manual")
    _print_backup(path, manifest, as_json)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Read FILE to its end and see that it is whole; change nothing.")
@click.option("--force", is_flag=True, help="Go on where what is there cannot be backed up first.")
@_json
def restore(file: Path, check: bool, force: bool, as_json: bool) -> None:
    """Put a backup in the place of what is there.

    Settings of the machine itself stay: its database (of either kind), proxies and workers.
    """
    from microblog.host import restore as work
    from microblog.host.setup import setup as set_up

    if check:
        manifest = work.check(file)
    else:
        say = _hush if as_json else _say
        manifest = work.restore(file.absolute(), say, force=force)
        set_up(say=say)
    _print_backup(file, manifest, as_json)


def _print_backup(path: Path, manifest: dict[str, Any], as_json: bool) -> None:
    facts = {key: value for key, value in manifest.items() if key != "members"}
    facts.update(file=str(path), bytes=path.stat().st_size)
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(
            f"{path}: {sum(facts['rows'].values())} rows of {facts['database']},"
            f" {facts['bytes'] / 2**20:.1f} MiB, version {facts['version']}, {facts['created']}"
        )


COMMANDS = (setup, status, doctor, backup, restore)
