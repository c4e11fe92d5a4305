"""Have a base at hand: from the cache, composed, or downloaded."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from builder.bases import absent, cached, compose, downloaded
from builder.bases.cached import CachedBase, from_cache, keep
from builder.core import cache, inputs, kept, paths
from builder.core.errors import BuildError
from builder.core.inputs import Inputs
from builder.core.progress import say, step
from builder.core.request import USUAL, Request
from builder.core.work import scratch
from builder.deb import package
from builder.defs.definition import (
    Base,
    ComposedBase,
    Image,
    load_base,
    load_base_for,
    must_be_downloaded,
)


def made_from(base: Base, include: Sequence[str] = (), asked: Request = USUAL) -> Inputs:
    """All that a base is made from."""
    values: dict[str, object] = {"base": dataclasses.asdict(base)}
    if isinstance(base, ComposedBase):
        values["besides"] = sorted(set(include) - set(base.packages))
        if asked.snapshot:
            values["snapshot"] = asked.snapshot
        files, code = compose.scripts(base), compose.code(base)
    else:
        files, code = [paths.DEFINITIONS / "bases" / downloaded.BAKE_TARGET], [downloaded]
    return inputs.of(values, [*files, Path(__file__)], [*code, cached])


def obtain(image: Image, deb: Path, asked: Request = USUAL) -> CachedBase:
    """The first of an image's bases that can be had.

    One that is composed has in it already what the package needs: installed here it takes a
    fraction of what it takes inside of an emulated machine.

    :param deb: the package that the image is for.
    :raises BuildError: none can be had, or the one insisted upon can't; or a package that was asked for is
        not in its archive: another base is no answer to a word that was mistyped.
    """
    include = [*image.packages, *package.dependencies(deb)]
    if asked.insist:
        return get(load_base_for(image, asked.insist), include, asked)
    failures = []
    for name in image.bases:
        try:
            got = get(load_base(name), include, asked)
        except BuildError as error:
            clear = absent.named(error, asked.packages, name)
            if clear is not error:
                raise clear from error
            failures.append(f"{name}: {error.message}")
            if len(image.bases) == 1:
                raise
            say(f"WARNING: the base {name} can't be had: {error.message}")
            continue
        if failures:
            say(f"WARNING: {image.name} is baked on {name} instead of {image.bases[0]}")
        return got
    raise BuildError(f"none of the bases of {image.name} can be had", "; ".join(failures))


def get(
    base: Base,
    include: Sequence[str] = (),
    asked: Request = USUAL,
    store: Path | None = None,
) -> CachedBase:
    """One base, from the cache where it is there and whole.

    :param include: packages that a composed base gets besides its own.
    :param store: where it is kept; the cache, if not given.
    :raises BuildError: it can't be made or downloaded.
    """
    if asked.given:
        must_be_downloaded(base)
    wanted = made_from(base, include, asked)
    store = store or paths.cache_dir() / "bases"
    with cache.lock(store / f"{base.name}.lock", f"preparing the base {base.name}"):
        directory = cached.directory_for(store, base.name, wanted)
        if not asked.fresh and not asked.given:
            found = from_cache(directory)
            if found:
                say(f"Base {base.name} is in the cache")
                return found
        _make(base, include, wanted, store, directory, asked)
        made = from_cache(directory)
        if made is None:
            raise BuildError(f"the base {base.name} changed while it was written", "Is the disk sound?")
        kept.forget(store)
        return made


def _make(
    base: Base, include: Sequence[str], wanted: Inputs, store: Path, directory: Path, asked: Request
) -> None:
    log = store / f"{base.name}.log"
    log.unlink(missing_ok=True)
    with scratch(store, log) as work:
        raw = work / "base.raw"
        source = None
        if isinstance(base, ComposedBase):
            compose.compose(base, include, raw, work, asked)
        else:
            source = downloaded.fetch(base, raw, work, asked.given)
        with step(f"Packing {base.name}", f"Packed {base.name}"):
            facts = CachedBase(
                directory=directory,
                name=base.name,
                architecture=base.architecture,
                user=base.user,
                digest=wanted.digest,
                sha256="",
                made="",
                source=source,
                hold=list(getattr(base, "hold", [])),
            )
            keep(raw, facts, wanted, work)
