"""The images that were baked: where they are, and whether they are what their manifests say."""

from dataclasses import dataclass
from pathlib import Path

from builder.core import paths
from builder.core.errors import BuildError
from builder.defs import definition
from builder.disk import media
from builder.results import manifest
from builder.results.manifest import Manifest


@dataclass(frozen=True)
class Result:
    """An image that is there."""

    image: Path
    manifest: Path
    sums: Path
    facts: Manifest
    """What the manifest says."""


def log_directory(image: Path) -> Path:
    """Where the logs of an image's making and checking are; made if missing."""
    directory = paths.OUT / "logs" / media.stem(image)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def place(image: str) -> Path:
    """Where a baked image is, by its path or by its definition's name (then the newest).

    :raises BuildError: there is none.
    """
    path = Path(image)
    if media.is_image(image):
        if not path.is_file():
            raise BuildError(f"there is no {path}", "Bake one with: ./build.py images")
        return path
    definition.load_image(image)
    baked = {
        file: facts
        for file in paths.OUT.glob(f"*{manifest.SUFFIX}")
        if (facts := manifest.read(file)) and facts.target == image
    }
    if not baked:
        raise BuildError(f"the image {image} is not baked yet", f"Bake it with: ./build.py images {image}")
    newest = max(baked, key=lambda found: found.stat().st_mtime)
    return newest.with_name(baked[newest].image.name)


def find(image: str) -> Result:
    """A baked image, named as for :func:`place`.

    :raises BuildError: there is none, or it is not what its manifest says.
    """
    path = place(image)
    facts = manifest.load(manifest.path_for(path))
    if not facts.intact(path.parent):
        raise BuildError(
            f"{path} is not the file that its manifest tells of",
            "Bake it anew with: ./build.py images --fresh",
        )
    return Result(path, manifest.path_for(path), path.parent / manifest.SUMS, facts)
