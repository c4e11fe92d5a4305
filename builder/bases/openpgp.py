"""What gpg says of a signature, in its status lines (GnuPG's doc/DETAILS)."""

# The words that refuse a signature, the most telling first.
_REFUSALS = {
    "BADSIG": "it is not what the publisher signed",
    "REVKEYSIG": "it is signed with a key that its owner revoked",
    "EXPKEYSIG": "it is signed with a key that has expired",
    "EXPSIG": "its signature has expired",
    "NO_PUBKEY": "it is signed with another key",
    "ERRSIG": "its signature can't be checked",
}


def judge(said: str) -> tuple[set[str], set[str]]:
    """Read gpg's status lines.

    :return: the fingerprints by which there is a good signature, and the status words that refuse one.
    """
    # A file may have several signatures, NEWSIG begins each. VALIDSIG names the key that signed and,
    # last, the one that it belongs to; an expired or a revoked key has it too, but no GOODSIG.
    good: set[str] = set()
    refusals: set[str] = set()
    for block in said.split("[GNUPG:] NEWSIG"):
        lines = [line.split()[1:] for line in block.splitlines() if line.startswith("[GNUPG:] ")]
        words = {line[0] for line in lines}
        refusals |= words & set(_REFUSALS)
        if "GOODSIG" in words and not words & set(_REFUSALS):
            good |= {name for line in lines if line[0] == "VALIDSIG" for name in (line[1], line[-1])}
    return good, refusals


def reason(refusals: set[str]) -> str:
    """Why a signature is refused, in words."""
    return next(
        (why for word, why in _REFUSALS.items() if word in refusals), "its signature is none by that key"
    )
