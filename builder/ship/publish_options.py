"""Which options of ``publish`` mean something together: the others are refused, not ignored."""

from collections.abc import Sequence

from builder.core.errors import BuildError
from builder.defs import definition

# What each thing that can be asked for takes besides.
_TAKES = {
    "--native": ("--region", "--dry-run"),
    "--remove": ("--region", "--dry-run"),
    "--prepare": (),
}


def check(provider: str, given: Sequence[str], takes: tuple[str, ...], image: str) -> None:
    """See that a command line means something.

    :param given: the options, by their names, as ``--native``.
    :param takes: of ``--bucket`` and ``--url`` those that mean something to the provider.
    :param image: as it was named.
    :raises BuildError: two of them do not go together.
    """
    for asked in given:
        if asked in _TAKES:
            for other in given:
                if other not in (asked, *_TAKES[asked]):
                    raise BuildError(f"{asked} and {other} mean nothing together", "Leave one of them out")
    if "--remove" in given:
        return
    for name in ("--bucket", "--url"):
        if name in given and name not in takes:
            raise BuildError(f"{provider} takes no {name}", "./build.py publish --help says who takes what")
    if {"--bucket", "--url"} <= set(given):
        raise BuildError("--bucket and --url mean nothing together", "The image is in one of them")
    if "--native" in given and image not in definition.names("images"):
        raise BuildError(
            f"--native bakes in the cloud itself: {image} is not what it makes",
            f"Name a definition: {', '.join(definition.names('images'))}",
        )


def check_script(provider: str, given: Sequence[str], image: str) -> None:
    """As :func:`check`, for a provider that takes an address alone, for its launch script."""
    for name in given:
        # A script is shown, and no call is made, whether it is said or not.
        if name not in ("--url", "--dry-run"):
            raise BuildError(
                f"{name} means nothing for {provider}: it takes no images",
                "It takes --url, see docs/publish.md",
            )
    if image != "cloud":
        raise BuildError(
            f"{provider} takes no images: not {image} either", "It takes --url, see docs/publish.md"
        )
