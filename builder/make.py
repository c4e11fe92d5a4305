"""The main job: package, base, bake, boot and check, each skipped when its result is there."""

import dataclasses
import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.bake import bake, layer, method, packer, pool
from builder.bases import base
from builder.bases.cached import CachedBase
from builder.core import cache, inputs, paths
from builder.core.errors import BuildError
from builder.core.inputs import Inputs
from builder.core.progress import say
from builder.core.request import USUAL, Request
from builder.core.work import scratch
from builder.deb import package
from builder.defs import definition
from builder.disk import media
from builder.results import library, manifest, sbom
from builder.results.library import Result, log_directory
from builder.results.manifest import Manifest
from builder.vm import check as tests
from builder.vm.accelerator import choose


@dataclass(frozen=True)
class Attempt:
    """What became of one image."""

    name: str
    seconds: float
    result: Result | None
    """None if it was not baked."""
    error: BuildError | None = None
    """Why it is not good."""

    @property
    def failures(self) -> Sequence[tests.Failure]:
        """The checks that failed."""
        return failures(self.error)


def failures(error: BuildError | None) -> Sequence[tests.Failure]:
    """The checks that failed, of what keeps an image from being good."""
    return error.outcome.failures if isinstance(error, tests.ChecksFailed) else ()


def look_at(names: Sequence[str], asked: Request) -> None:
    """See that there are the packages that were asked for, as far as that is known before there is a base: of
    one that is composed. What a publisher's image installs from is written in it.

    :raises BuildError: one is not there.
    """
    for name in names if asked.packages else ():
        image = definition.load_image(name)
        wanted = definition.load_base_for(image, asked.insist or image.bases[0])
        if isinstance(wanted, definition.ComposedBase):
            pool.look_for(wanted, asked.packages, asked)


def attempt(name: str, asked: Request = USUAL) -> Attempt:
    """As :func:`produce`, but what goes wrong is part of the answer: other images are still to be made."""
    began = time.monotonic()
    result: Result | None = None
    error: BuildError | None = None
    try:
        result = produce(name, asked)
    except tests.ChecksFailed as failed:
        result, error = library.find(name), failed
    except BuildError as failed:
        error = failed
        say(f"{name} failed: {failed.message}")
    return Attempt(name, round(time.monotonic() - began, 1), result, error)


def produce(name: str, asked: Request = USUAL) -> Result:
    """Have a baked image, and unless told otherwise a checked one.

    :raises BuildError: a step fails; what earlier steps made stays, and the next run goes on from there.
    """
    image = definition.with_packages(method.require(name, asked.insist), asked.packages)
    packer.ready(paths.PACKER / f"{image.template}.pkr.hcl")
    paths.make_own(paths.OUT)
    with cache.lock(paths.OUT / f".{name}.lock", f"making the image {name}"):
        seconds: dict[str, float] = {}
        deb = _timed(seconds, "package", lambda: package.build(asked.fresh))
        chosen = _timed(seconds, "base", lambda: base.obtain(image, deb, asked))
        below = chosen

        @functools.cache
        def choice() -> str:
            if not method.load(image.method).emulates:
                return asked.accelerator
            return choose(asked.accelerator, below.architecture, lambda: below.kernel)

        chosen = _timed(seconds, "layer", lambda: layer.obtain(image, below, deb, choice, asked))
        # A base of another architecture than its like's has that in its name.
        system = chosen.name.removesuffix(f"-{chosen.architecture}")
        stem = f"microblog-{package.version()}-{name}-{system}-{chosen.architecture}"
        made_from = bake.made_from(image, chosen, deb, asked)
        target = paths.OUT / f"{stem}{method.load(image.method).suffix}"
        result = _existing(target, made_from) if not asked.fresh else None
        if result:
            say(f"{result.image.name} is up to date")
        else:
            result = _bake(target, made_from, image, chosen, deb, choice(), seconds, asked)
        if asked.checked and (asked.fresh or not tests.is_done(result.facts, asked.thorough)):
            result = check(result.image, asked)
        return result


def _timed(seconds: dict[str, float], phase: str, work: Any) -> Any:
    began = time.monotonic()
    done = work()
    seconds[phase] = round(time.monotonic() - began, 1)
    return done


def _existing(image: Path, made_from: Inputs) -> Result | None:
    facts = manifest.read(manifest.path_for(image))
    if facts is None or not facts.intact(paths.OUT):
        return None
    if facts.made_from != made_from.digest:
        inputs.explain(image.name, _inputs_beside(image), made_from)
        return None
    # A run that was killed had no time for these.
    return Result(image, manifest.path_for(image), manifest.write_sums(paths.OUT), facts)


def _inputs_beside(image: Path) -> Path:
    return image.with_name(f"{media.stem(image)}.{inputs.SUFFIX}")


def _bake(
    target: Path,
    made_from: Inputs,
    image: definition.Image,
    chosen: CachedBase,
    deb: Path,
    accelerator: str,
    seconds: dict[str, float],
    asked: Request,
) -> Result:
    log = log_directory(target) / "packer.log"
    with scratch(paths.OUT / "work", log) as work:
        baked = bake.bake(image, chosen, deb, accelerator, work, media.stem(target), asked)
        bill = target.with_name(f"{media.stem(target)}{sbom.SUFFIX}")
        facts = Manifest(
            target=image.name,
            description=image.description,
            version=package.version(),
            architecture=chosen.architecture,
            user=chosen.user,
            memory_mb=image.memory_mb,
            scheme=image.scheme,
            built=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            made_from=made_from.digest,
            base=_told(chosen),
            deb=manifest.files(deb)[0],
            packer=".".join(str(part) for part in packer.version(packer.find())),
            accelerator=accelerator if method.load(image.method).emulates else None,
            seconds={**seconds, **baked.phases},
            bake_s=baked.bake_seconds,
            packages=manifest.packages(baked.packages),
            sbom=bill.name,
            files=[],
        )
        # A manifest beside an image is a promise: the old one goes before the image changes.
        manifest.path_for(target).unlink(missing_ok=True)
        made = [file.replace(paths.OUT / file.name) for file in baked.files]
    made_from.write(_inputs_beside(target))
    sbom.write(facts, bill)
    whole = dataclasses.replace(facts, files=manifest.files(*made, bill))
    return Result(target, whole.write(target), manifest.write_sums(paths.OUT), whole)


def _told(chosen: CachedBase) -> manifest.Base:
    """A base as the manifest has it, and the layer on it where there is one."""
    itself = manifest.Made(chosen.sha256, chosen.made)
    below = manifest.Made(**chosen.layer_on) if chosen.layer_on else itself
    return manifest.Base(
        name=chosen.name,
        system=chosen.system,
        sha256=below.sha256,
        made=below.made,
        source=chosen.source or None,
        layer=itself if chosen.layer_on else None,
    )


def check(image: Path, asked: Request = USUAL) -> Result:
    """Boot an image, run its tests, and note in its manifest that they passed.

    :raises BuildError: a test fails.
    """
    found = library.find(str(image))
    log = log_directory(found.image)
    passed = tests.run(found.image, asked.accelerator, log, asked.thorough, asked.keep_failed)
    seconds = {**found.facts.seconds, "check": passed.seconds}
    facts = dataclasses.replace(found.facts, check=passed, seconds=seconds)
    facts.write(found.image)
    return Result(found.image, found.manifest, manifest.write_sums(found.image.parent), facts)
