"""What is asked for when images are made, looked at before anything is installed or made for it.

Nothing but the standard library is needed here: this is for a machine on which nothing is installed yet.
"""

from collections.abc import Sequence
from pathlib import Path

from builder.bake import method, overlay
from builder.bases import snapshot
from builder.core.errors import BuildError
from builder.deb import repository
from builder.defs import definition


def look_at(
    names: Sequence[str],
    *,
    base: str | None = None,
    base_file: Path | None = None,
    laid: Path | None = None,
    packages: Sequence[str] = (),
    url: str | None = None,
    key: Path | None = None,
    day: str = "",
) -> str:
    """See that images can be made as they are wished for.

    :param names: of the images.
    :param laid: the directory of ``--overlay``.
    :param url: of ``--repository``; ``key`` is its public key's file.
    :param day: of ``--snapshot``.
    :return: what tells the machines of the repository; empty where there is none.
    :raises BuildError: they can't; the message names the option.
    """
    if bool(url) != bool(key):
        raise BuildError("--repository and --key go together", "A repository is believed by its key alone")
    if base_file and not base:
        raise BuildError("--base-file needs --base", f"There are: {', '.join(definition.downloaded())}")
    # Before the first of them takes its time.
    for name in names:
        image = definition.with_packages(definition.load_image(name), packages)
        wanted = definition.load_base_for(image, base) if base else None
        if wanted and base_file:
            definition.must_be_downloaded(wanted)
    if base_file and not base_file.is_file():
        raise BuildError(f"there is no file {base_file}", "Name the publisher's image, as it was downloaded")
    if laid:
        overlay.require(laid)
    if day:
        snapshot.moment(day)
    if len(names) == 1:
        method.require(names[0])
    return repository.known_by(url, key) if url and key else ""
