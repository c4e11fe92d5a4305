"""What may be said with a verb: every argument is checked, and what is not listed is refused."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from microblog.errors import HostError
from microblog.host.site.secrets import named
from microblog.printable import is_printable

Check = Callable[[Any], Any]
_MISSING = object()
# A name that the DNS has (RFC 1123), or one of a home network.
HOST = r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
MAILBOX = r"(?!-)[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?"


class Refused(HostError):
    """The request itself is wrong: nothing was done."""


@dataclass(frozen=True)
class Argument:
    """:ivar check: gives the value to use, or raises ValueError.
    :ivar default: where it is not given; without one it must be.
    :ivar secret: it is noted nowhere.
    """

    check: Check
    default: Any = _MISSING
    secret: bool = False


def checked(takes: Mapping[str, Argument], given: Any) -> dict[str, Any]:
    """The arguments as the verb has them.

    :raises Refused: naming the first that is wrong.
    """
    if not isinstance(given, dict):
        raise Refused("the arguments are no object")
    for name in given:
        if name not in takes:
            raise Refused(f"there is no argument {str(name)[:40]!r}")
    found = {}
    for name, argument in takes.items():
        if name not in given:
            if argument.default is _MISSING:
                raise Refused(f"the argument {name} is missing")
            found[name] = argument.default
            continue
        try:
            found[name] = argument.check(given[name])
        except ValueError as error:
            raise Refused(f"the argument {name} is refused: {error}") from None
    return found


def noted(takes: Mapping[str, Argument], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as they may be written down: of secret ones, at most their names."""

    def hidden(value: Any) -> Any:
        return sorted(value) if isinstance(value, dict) else "***" if value else value

    return {name: hidden(value) if takes[name].secret else value for name, value in given.items()}


def secrets(takes: Mapping[str, Argument], given: Mapping[str, Any]) -> list[str]:
    """What was typed that nobody may read again: no log, no page."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        if takes[name].secret:
            found.update(value if isinstance(value, dict) else {name: value})
    return [value for name, value in found.items() if named(name) and isinstance(value, str)]


def text(longest: int, pattern: str = "") -> Check:
    """One line of printable characters. :param pattern: what all of it must be, unless it is empty."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest:
            raise ValueError(f"it is no text of at most {longest} characters")
        if not is_printable(value):
            raise ValueError("it has characters that are no letters or signs")
        if value and pattern and not re.fullmatch(pattern, value):
            raise ValueError(
                f"it is not of the form {pattern}" if len(pattern) < 30 else "it is of another form"
            )
        return value

    return check


def needed(check: Check) -> Check:
    """Not empty."""

    def check_(value: Any) -> Any:
        if not (found := check(value)):
            raise ValueError("it is empty")
        return found

    return check_


def one_of(*values: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise ValueError(f"it is none of: {', '.join(values)}")
        return value

    return check


def number(least: int, most: int) -> Check:
    def check(value: Any) -> int:
        # In Python, true is a number.
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"it is no whole number from {least} to {most}")
        return value

    return check


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it is neither true nor false")
    return value


def several(check: Check, most: int) -> Check:
    """A list of at least one. :return: a tuple."""

    def check_(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not 0 < len(value) <= most:
            raise ValueError(f"it is no list of 1 to {most}")
        return tuple(check(one) for one in value)

    return check_


def values(checks: Mapping[str, Check]) -> Check:
    """An object with some of these names."""

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not value:
            raise ValueError("it is no object")
        for name in value:
            if name not in checks:
                raise ValueError(f"{str(name)[:40]!r} is none of: {', '.join(checks)}")
        return {name: checks[name](one) for name, one in value.items()}

    return check
