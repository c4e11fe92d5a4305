"""``microblog user``: accounts, from the server's command line."""

import json
import secrets
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click
import sqlalchemy as sa
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from microblog import units
from microblog.database import db, utc_text
from microblog.errors import HostError
from microblog.models import User, account, passkeys, second_factor, sessions, unfinished
from microblog.models.paging import pieces
from microblog.models.passwords import PASSWORD_MAX, PASSWORD_MIN, easy_to_guess
from microblog.models.site import looks
from microblog.models.user import RESERVED, USERNAME_MAX, USERNAME_MIN, is_email, is_username

if TYPE_CHECKING:
    from click.decorators import FC

_LISTED = (
    *("username", "email", "created_at", "last_seen", "is_admin", "is_moderator", "suspended_at"),
    "posts_count",
)

_MARKS = {"admin": "is_admin", "moderator": "is_moderator", "suspended": "suspended_at"}


class Group(AppGroup):
    """A group whose commands say in one line that the database does not answer."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (OperationalError, ProgrammingError) as error:
            raise HostError(f"the database does not work: {error.orig}", "microblog setup mends it") from None


group = Group("user", help="Look after accounts.")


def password_options(command: "FC") -> "FC":
    generate = click.option("--generate", is_flag=True, help="Make a password up, and print it.")
    stdin = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
    return generate(stdin(command))


@group.command()
@click.argument("name")
@click.argument("email")
@click.option("--admin", is_flag=True, help="May delete posts, suspend accounts and close registration.")
@password_options
def add(name: str, email: str, admin: bool, generate: bool, password_stdin: bool) -> None:
    """Make an account."""
    if not is_username(name):
        raise HostError(
            f"{name!r} is no username",
            f"{USERNAME_MIN} to {USERNAME_MAX} letters A to Z, digits and underscores",
        )
    if not is_email(email):
        raise HostError(f"{email!r} is no e-mail address", "write one like susan@example.org")
    if name.lower() in RESERVED:
        raise HostError(f"the name {name} is reserved", "it would seem to speak for the site")
    for text in (name, email):
        if User.find(text):
            raise HostError(f"{text} has an account already", "microblog user list shows all")
    password = _password((name, email), generate, password_stdin)

    def work() -> str:
        user = User(name, email, password)
        user.is_admin = admin
        db.session.add(user)
        return f"{name} has an account{' and is an administrator' if admin else ''}"

    try:
        _do(work, twice=False)
    except IntegrityError:
        db.session.rollback()
        raise HostError(f"{name} or {email} has an account since just now", "microblog user list") from None
    _show(password, generate)


@group.command()
@click.argument("name")
@password_options
def password(name: str, generate: bool, password_stdin: bool) -> None:
    """Set a new password; whoever is logged in with the old one is logged out."""
    user = _find(name)
    new = _password((user.username, user.email), generate, password_stdin)

    def work() -> str:
        user = _find(name)
        user.set_password(new)
        return f"{user.username} has a new password"

    _do(work)
    _show(new, generate)


@group.command("second-factor")
@click.argument("name")
@click.option("--off", is_flag=True, help="Log-ins with the password alone: for who has lost it.")
def second(name: str, off: bool) -> None:
    """Tell whether somebody has a second factor, or reset it."""
    user = _find(name)
    if off:

        def work() -> str:
            user = _find(name)
            had = second_factor.turn_off(user.id)
            # Who has the telephone may have more.
            sessions.end(user.id)
            return f"{user.username} {'has no second factor any more' if had else 'had no second factor'}"

        _do(work)
    elif second_factor.of(user.id) is None:
        click.echo(f"{user.username} has no second factor")
    else:
        number = len(passkeys.of(user.id))
        keys = f", {number} passkey{'s' if number > 1 else ''}" if number else ""
        click.echo(f"{user.username} has one{keys}, and {second_factor.codes_left(user.id)} recovery codes")


@group.command()
@click.argument("name")
@click.option("--moderator", is_flag=True, help="Not an administrator: one who sees to the peace alone.")
def promote(name: str, moderator: bool) -> None:
    """Make somebody an administrator."""

    def work() -> str:
        user = _find(name)
        if moderator:
            user.is_moderator = True
            return f"{user.username} is a moderator"
        user.is_admin = True
        return f"{user.username} is an administrator"

    _do(work)


@group.command()
@click.argument("name")
def demote(name: str) -> None:
    """Make an administrator, or a moderator, an ordinary user."""

    def work() -> str:
        user = _not_the_last(name)
        user.is_admin = user.is_moderator = False
        return f"{user.username} is no administrator, and no moderator"

    _do(work)


@group.command()
@click.argument("name")
def suspend(name: str) -> None:
    """Log somebody out and keep them out; their posts are shown on their own page alone."""

    def work() -> str:
        user = _not_the_last(name)
        account.suspend(user)
        return f"{user.username} is suspended"

    _do(work)


@group.command()
@click.argument("name")
def unsuspend(name: str) -> None:
    """Let somebody back in."""

    def work() -> str:
        user = _find(name)
        account.unsuspend(user)
        return f"{user.username} is not suspended"

    _do(work)


@group.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete an account with its posts. This cannot be undone."""
    user = _find(name)
    username = user.username
    if not yes:
        click.confirm(f"Delete {username} and {user.posts_count} posts?", abort=True)

    def work() -> str:
        account.delete_account(_not_the_last(username))
        return f"{username} is deleted"

    _do(work, twice=False)


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(as_json: bool) -> None:
    """List the accounts, oldest first."""
    for row in _all():
        if as_json:
            click.echo(json.dumps(row, default=utc_text))
        else:
            marks = [mark for mark, column in _MARKS.items() if row[column]]
            click.echo(f"{row['username']:<{USERNAME_MAX}} {row['email']} {' '.join(marks)}".rstrip())


def _all() -> Iterator[dict[str, Any]]:
    query = sa.select(User.id, *(getattr(User, name) for name in _LISTED)).where(unfinished.THERE)
    for rows in pieces(lambda part: db.session.execute(part).all(), query, User.id):
        for row in rows:
            yield {name: getattr(row, name) for name in _LISTED}


def _find(name: str) -> User:
    user = User.find(name)
    if user is None:
        raise HostError(f"nobody has the name or address {name!r}", "microblog user list shows all")
    return user


def _not_the_last(name: str) -> User:
    """An account that may cease to be an administrator's: another one is left."""
    user = _find(name)
    if account.is_last_admin(user):
        db.session.rollback()
        raise HostError(
            f"{name} is the last administrator", "let somebody else be one first: microblog user promote NAME"
        )
    return user


def _do(work: Callable[[], str], *, twice: bool = True) -> None:
    """Do something to an account, and say so.

    :param work: does it, and gives what is said then.
    :param twice: whether it may be done again though it was, or may have been, done.
    """

    def unit() -> str:
        message = work()
        db.session.commit()
        return message

    message = units.run(unit, twice=twice)
    unfinished.work_off()
    click.echo(message)


def _password(about: tuple[str, ...], generate: bool, from_stdin: bool) -> str:
    """A good password, from where the options say, or else asked for.

    :raises HostError: if it is too short, too long or too easy to guess.
    """
    if generate and from_stdin:
        raise HostError("--generate and --password-stdin exclude each other", "choose one")
    if generate:
        return secrets.token_urlsafe(12)
    if from_stdin:
        text = sys.stdin.read(PASSWORD_MAX + 3).removesuffix("\n").removesuffix("\r")
    else:
        text = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    if not PASSWORD_MIN <= len(text) <= PASSWORD_MAX:
        raise HostError(f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters", "choose another one")
    if easy_to_guess(text, current_app.config["SITE_NAME"], looks().name, *about):
        raise HostError("that password is too easy to guess", "three or four words make a good one")
    return text


def _show(password: str, generated: bool) -> None:
    if generated:
        click.echo(f"password: {password}")
