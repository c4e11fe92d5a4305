"""Whom a page's buttons are about. Their addresses have names, and the name of an account that is deleted may
be the next one's: so they have its number, too, which never is."""

from flask import request

FIELD = "account"


def is_meant(number: int) -> bool:
    """Whether a request is about the account with this number, as far as it says which one it is about."""
    return request.values.get(FIELD, str(number)) == str(number)
