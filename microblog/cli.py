"""The ``microblog`` command: what it does to a server, and Flask's own commands."""

import os
import sys
from typing import TYPE_CHECKING

import click

from microblog import beginning
from microblog.commands import card, machine, translate
from microblog.errors import HostError
from microblog.printable import LINES, visible

if TYPE_CHECKING:
    from flask import Flask


def main() -> None:
    """The entry point. Flask is imported only for Flask's commands: ``setup`` runs at every boot."""
    try:
        if sys.argv[1:2] and sys.argv[1] in server.commands:
            server(prog_name="microblog")
        else:
            _flask()
    except HostError as error:
        # A stranger's words may be in it, which a terminal would do.
        click.echo(f"microblog: {visible(error.message, LINES)}", err=True)
        if error.hint:
            click.echo(f"  {visible(error.hint, LINES)}", err=True)
        sys.exit(1)


@click.group()
def server() -> None:
    """Commands of the server itself."""


for _command in machine.COMMANDS:
    server.add_command(_command)
server.add_command(translate.group)
server.add_command(card.group, "card")


def _flask() -> None:
    """Flask's commands, and for ``--help`` ours beside them, as the application's user."""
    from microblog.config import Config
    from microblog.host.machine import layout, privileges

    asks_for_help = not sys.argv[1:] or "--help" in sys.argv[1:]
    # No file may appear that the site, which runs as that user, cannot use.
    if os.geteuid() == 0 and layout.user_exists():
        privileges.drop()
    if not asks_for_help:
        try:
            layout.env_file().stat()
        except PermissionError:
            raise HostError(f"{layout.env_file()} may not be read by this user", "run this as root") from None
        except FileNotFoundError:
            pass  # the environment may hold everything
        Config.load()
        # One of the first boot's own commands may be quicker than its setup.
        beginning.wait()

    from flask.cli import FlaskGroup

    group = FlaskGroup(
        name="microblog",
        help="Look after a Microblog server.",
        create_app=_create_app,
        add_version_option=False,
        load_dotenv=False,
    )
    for name, command in server.commands.items():
        group.add_command(command, name)
    group.main(prog_name="microblog")


def _create_app() -> "Flask":
    from flask.cli import NoAppException

    from microblog import create_app

    try:
        return create_app()
    except HostError as error:
        raise NoAppException(str(error)) from None
