"""Addresses, and what MICROBLOG_MIRRORS has instead of their beginnings. Standard library alone."""

import os

from builder.core.errors import BuildError


def mirrored(url: str) -> str:
    """An address, on the mirror that MICROBLOG_MIRRORS has for it: ``FROM=TO FROM=TO ...``, beginnings."""
    for pair in os.environ.get("MICROBLOG_MIRRORS", "").split():
        beginning, sign, instead = pair.partition("=")
        if not sign or not instead:
            raise BuildError(
                f"MICROBLOG_MIRRORS has {pair!r}",
                "Write FROM=TO, both the beginnings of addresses, as https://here=https://there",
            )
        if url.startswith(beginning):
            return instead + url.removeprefix(beginning)
    return url
