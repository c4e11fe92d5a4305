"""How long a transaction may be silent before its database ends it.

In a fleet that is a few seconds: a machine that is frozen, or cut off, keeps the rows that it was at from the
others, and its database does not see it go (packer/files/database).
"""


def allowed(seconds: int) -> str:
    """A statement for who computes between its own. :param seconds: 0: as long as it likes."""
    names = (
        "idle_transaction_timeout",
        "idle_write_transaction_timeout",
        "idle_readonly_transaction_timeout",
    )
    # MySQL, which has none of them, reads past it.
    those = "".join(f", {name} = {seconds}" for name in names)
    return f"SET SESSION sql_mode = @@sql_mode /*M!100300 {those} */"
