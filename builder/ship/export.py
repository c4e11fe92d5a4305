"""Make a baked image's disk a file of another form, for a host that takes no qcow2."""

from pathlib import Path

from builder.core import cache, paths
from builder.core.errors import BuildError
from builder.core.progress import step
from builder.core.work import scratch
from builder.disk import format as formats
from builder.disk import media
from builder.results import library, manifest


def export(image: str, form: str, to: Path | None = None) -> list[Path]:
    """Write a file of a form, and its checksum beside it as sha256sum(1) reads it.

    :param image: a name or a path.
    :param form: a name of :mod:`builder.disk.format`'s.
    :param to: the directory; ``exported`` beside the images if not given.
    :return: both.
    :raises BuildError: there is no such image or form, no room, or the image itself would be written over.
    """
    wanted = formats.find(form)
    found = library.find(image)
    directory = paths.make_named(to, "--output") if to else paths.make_own(paths.OUT / "exported")
    made = directory / f"{media.stem(found.image)}{wanted.suffix}"
    if media.is_image(made.name) and made.exists() and manifest.path_for(made).exists():
        # Packed anew it is another file than its manifest, the list of sums and who signs that tell of.
        raise BuildError(f"{made} is the baked image itself", "Name another directory with --output")
    log = library.log_directory(found.image) / "export.log"
    with scratch(directory, log) as work, step(f"Making {made.name}", f"Made {made.name}"):
        raw, part = work / "disk.raw", work / f"made{wanted.suffix}"
        media.unpack(found.image, raw, work)
        # At the worst nothing of it is empty, and nothing can be packed.
        cache.need_space(directory, raw.stat().st_blocks * 512, f"making {made.name}", _MORE)
        wanted.pack(raw, part, work)
        sums = work / "sums"
        sums.write_text(f"{cache.sha256_file(part)}  {made.name}\n")
        listed = made.with_name(f"{made.name}.sha256")
        # Never the checksum of another file.
        listed.unlink(missing_ok=True)
        part.replace(made)
        sums.replace(listed)
    return [made, listed]


_MORE = "Free some space there, or name another directory with --output"
