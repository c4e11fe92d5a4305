"""A downloaded base with all in it that an image needs but the package itself.

A publisher's image lacks the database server, the web server and Python's libraries; to install them is
most of a bake. They are baked into a layer, by the image's own method and template, which is kept: a
change of the application alone is then baked onto that. (A composed base has them in it already.)
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from builder.bake import bake, method, pool
from builder.bases import cached
from builder.bases.cached import CachedBase, from_cache, keep
from builder.core import cache, inputs, kept, paths
from builder.core.errors import BuildError
from builder.core.progress import say, step
from builder.core.request import USUAL, Request
from builder.core.work import scratch
from builder.deb import package
from builder.defs.definition import Image

_SCRIPTS = ["prepare.sh", "install.sh", "clean.sh"]


def obtain(
    image: Image, base: CachedBase, deb: Path, accelerator: Callable[[], str], asked: Request = USUAL
) -> CachedBase:
    """The layer of an image on a base: from the cache, or baked. A base that is composed is its own.

    It goes by the base's checksum, and by the versions that the archive has of what is needed today.

    :param deb: the package; only what it depends on gets into the layer.
    :param accelerator: chooses ``kvm`` or ``tcg``.
    :raises BuildError: the archive can't be reached, or a step of the bake fails.
    """
    if base.source is None:
        return base
    wanted = [*image.packages, *package.dependencies(deb)]
    below = dataclasses.replace(image, packages=sorted(set(wanted)), provision=_SCRIPTS)
    store = paths.cache_dir() / "layers"
    store.mkdir(parents=True, exist_ok=True)
    name = f"{base.name}-{image.name}"
    log = store / f"{name}.log"
    with cache.lock(store / f"{name}.lock", f"baking what {image.name} needs"):
        files = pool.needed(base, None, below.packages, log.with_suffix(".pool.log"), asked)
        values = {
            "base": {"name": base.name, "digest": base.digest, "sha256": base.sha256},
            "method": below.method,
            "packages": {one.name: one.sha256 for one in files},
        }
        made_from = inputs.of(values, [*bake.sources(below), Path(__file__)], [*bake.code(below), cached])
        directory = cached.directory_for(store, name, made_from)
        found = None if asked.fresh else from_cache(directory)
        if found:
            say(f"What {image.name} needs is on {base.name} already, in the cache")
            return found
        with scratch(store, log) as work:
            log.unlink(missing_ok=True)
            bake.install(
                below, base, None, accelerator(), work, dataclasses.replace(asked, overlay=None, sources="")
            )
            with step(f"Packing what {image.name} needs", f"Packed what {image.name} needs"):
                raw, tools = work / "layer.raw", work.logging(".tools.log")
                method.load(image.method).flatten(tools, raw)
                facts = dataclasses.replace(
                    base,
                    directory=directory,
                    digest=made_from.digest,
                    layer_on={"sha256": base.sha256, "made": base.made},
                )
                keep(raw, facts, made_from, tools)
        made = from_cache(directory)
        if made is None:
            raise BuildError(f"{directory} changed while it was written", "Is the disk sound?")
        kept.forget(store)
        return made
