"""People as who calls may see them: what :mod:`microblog.models.audience` says, or the answer that there is
nobody."""

from collections.abc import Iterable

from flask import abort

from microblog.models import audience
from microblog.models.people import PersonRow, people, person


def somebody(number: int) -> PersonRow:
    """The account with this number, if it is there for them."""
    return visible(person(number))


def visible(row: PersonRow | None) -> PersonRow:
    if row is None or audience.strangers([row.id]):
        abort(404)
    return row


def some(numbers: Iterable[int], kept: bool = False) -> list[PersonRow]:
    """Of these accounts, those that are there for them, in this order.

    :param kept: with those whom they keep away themselves, also where these are not there for them.
    """
    wanted = list(dict.fromkeys(numbers))
    there = people(wanted)
    strangers = audience.strangers(there, kept)
    return [there[number] for number in wanted if number in there and number not in strangers]
