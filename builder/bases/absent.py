"""A package that was asked for and that an archive does not have, said in a line of its own."""

import re
from collections.abc import Sequence

from builder.core.errors import BuildError

# What apt says of a name that it does not know, and of one that others only depend on.
_SAID = re.compile(r"E: (?:Unable to locate package|Package) '?([^\s']+)")


def named(error: BuildError, packages: Sequence[str], base: str) -> BuildError:
    """What to raise instead of an error of apt's, or of what calls it; the same one if it says anything else.

    :param packages: those that were asked for.
    :param base: the name of the base that they were to be installed on.
    """
    found = _SAID.search(error.message)
    if not found or found[1] not in packages:
        return error
    return BuildError(
        f"there is no package {found[1]} for {base}",
        "Is that its name? Where another base has it, say --base",
    )
