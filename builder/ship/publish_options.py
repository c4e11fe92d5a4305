"""Which options of ``publish`` mean something together: the others are refused, not ignored."""

from collections.abc import Mapping

from builder.core.errors import BuildError
from builder.defs import definition

# What each thing that can be asked for takes besides.
_TAKES = {
    "--native": ("--region", "--dry-run"),
    "--remove": ("--region", "--dry-run"),
    "--prepare": (),
}


def check(provider: str, options: Mapping[str, object], takes: tuple[str, ...], image: str) -> None:
    """See that a command line means something.

    :param options: by name, as ``--native``; what is empty was not given.
    :param takes: of ``--bucket`` and ``--url`` those that mean something to the provider.
    :param image: as it was named.
    :raises BuildError: two of them do not go together.
    """
    given = [name for name, value in options.items() if value]
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


def check_lightsail(options: Mapping[str, object], image: str) -> None:
    """As :func:`check`, for a launch script, which takes an address alone."""
    for name, value in options.items():
        # A script is shown, and no call is made, whether it is said or not.
        if value and name not in ("--url", "--dry-run"):
            raise BuildError(
                f"{name} means nothing for lightsail: it takes no images",
                "It takes --url, see docs/publish.md",
            )
    if image != "cloud":
        raise BuildError(
            f"lightsail takes no images: not {image} either", "It takes --url, see docs/publish.md"
        )
