"""Bring a baked image into the user's account with a cloud, from where servers are started."""

import os
from dataclasses import dataclass
from pathlib import Path

from builder.core import paths
from builder.core.errors import BuildError
from builder.core.progress import say, step
from builder.core.work import scratch
from builder.defs import definition
from builder.disk import media
from builder.disk.formats import raw_gz, vmdk
from builder.disk.formats.qcow2 import virtual_size
from builder.results import library
from builder.ship import publish_options, published
from builder.ship.cloud import USER_DATA, Cloud, Order, ScriptOnly, find

_FORMATS = {one.suffix: one for one in (raw_gz.FORMAT, vmdk.FORMAT)}


def load(name: str) -> Cloud:
    """A provider that takes images, by its name."""
    found = find(name)
    assert isinstance(found, Cloud)  # noqa: S101 - the others are answered before
    return found


@dataclass(frozen=True)
class Options:
    """What was asked for besides provider and image."""

    region: str = ""
    """The provider's; its usual one if empty."""
    bucket: str = ""
    """The user's, where the provider fetches images from one."""
    url: str = ""
    """Where the user has put the file, instead."""
    dry_run: bool = False
    """Show each call, make none."""
    native: bool = False
    prepare: bool = False
    remove: bool = False

    @property
    def given(self) -> list[str]:
        """The names of those that were given, as on the command line."""
        return [f"--{name.replace('_', '-')}" for name, value in vars(self).items() if value]


def run(provider: str, image: str, options: Options) -> list[str]:
    """Do what was asked for. Returns lines to print.

    :raises BuildError: the options mean nothing together; or as the one that is done.
    """
    found = checked(provider, image, options)
    if isinstance(found, ScriptOnly):
        return [found.script(options.url)]
    if options.remove:
        return run_remove(provider, image, options.region, options.dry_run)
    if options.prepare:
        return only_prepared(provider, image)
    return run_cloud(
        provider, image, region=options.region, bucket=options.bucket, url=options.url, dry=options.dry_run
    )


def checked(provider: str, image: str, options: Options) -> "Cloud | ScriptOnly":
    """The provider, of whom all that is asked for means something.

    :raises BuildError: it does not.
    """
    found = find(provider)
    if isinstance(found, ScriptOnly):
        publish_options.check_script(provider, options.given, image)
    else:
        publish_options.check(provider, options.given, found.takes, image)
    return found


def prepare(image: library.Result, ending: str) -> Path:
    """The image in the form that a cloud takes, kept in the cache for the next time."""
    store = paths.cache_dir() / "published"
    stem = image.image.name.partition(".qcow2")[0]
    to = store / f"{stem}-{image.facts.image.sha256[:16]}{ending}"
    if not to.exists():
        store.mkdir(exist_ok=True)
        for other in store.glob(f"{stem}-*{ending}"):
            other.unlink()
        log = library.log_directory(image.image) / "publish.log"
        with scratch(store, log) as work, step(f"Making {to.name}", f"Made {to.name}"):
            raw = work / "disk.img"
            media.unpack(image.image, raw, work)
            made = work / f"made{ending}"
            _FORMATS[ending].pack(raw, made, work)
            made.replace(to)
    return to


def _order(cloud: Cloud, provider: str, name: str, region: str, bucket: str, url: str, dry: bool) -> Order:
    image = library.find(name)
    facts = image.facts
    if definition.load_image(facts.target).method != "machine":
        raise BuildError(
            f"{image.image.name} is an SD card, which no cloud starts", "Publish the image cloud"
        )
    region = region or cloud.region
    stem = image.image.name.partition(".qcow2")[0]
    # Shown calls are as those of a first time, and leave nothing behind.
    ledger = published.ledger(f"{stem}-{facts.image.sha256[:16]}", provider, region, dry)
    called = ledger.get("name") or published.name(
        f"microblog-{facts.version}-{facts.target}-{facts.base.name}", facts.built
    )
    return Order(
        name=called,
        region=region,
        ledger=ledger,
        dry=dry,
        bucket=bucket,
        url=url,
        description=f"Microblog {facts.version} on {facts.base.name}",
        base=facts.base.name,
        architecture=facts.architecture,
        disk_bytes=virtual_size(image.image),
    )


def require(cloud: Cloud) -> None:
    """:raises BuildError: a credential is not in the environment."""
    missing = [variable for variable in cloud.credentials if not os.environ.get(variable)]
    if missing:
        raise BuildError(
            f"{' and '.join(missing)} must be in the environment",
            "Make a token in the provider's control panel; docs/publish.md says which",
        )


def only_prepared(provider: str, name: str) -> list[str]:
    """Make the file that a cloud takes, and no more. Returns its path, as a line to print."""
    return [str(prepare(library.find(name), load(provider).ending))]


def run_cloud(
    provider: str, name: str, *, region: str = "", bucket: str = "", url: str = "", dry: bool = False
) -> list[str]:
    """Publish an image.

    An interrupted run is gone on with by the next one; after an error all that was made in the
    account is removed again.

    :param name: of the image, or its file.
    :param region: the cloud's; its usual one if empty.
    :param bucket: the user's, where the cloud fetches images from one.
    :param url: where the user has put the file, instead of a bucket.
    :param dry: show each call.
    :return: lines to print: the snapshot's id, then how a server is started from it.
    :raises BuildError: a credential is missing, or the cloud refuses.
    """
    cloud = load(provider)
    order = _order(cloud, provider, name, region, bucket, url, dry)
    if not dry:
        require(cloud)
    cloud.ready(order)
    file = prepare(library.find(name), cloud.ending)
    if order.ledger:
        say(f"Going on where an earlier run stopped ({order.ledger.path.name})")
    order.ledger.note(name=order.name)
    try:
        made = cloud.publish(order, file)
    except BuildError as error:
        if not dry:
            _clean_up(cloud, order, error)
        raise
    finally:
        if dry:
            order.ledger.forget()
    return [made, "", *how_to_launch(cloud, made, order.region)]


def how_to_launch(cloud: Cloud, made: str, region: str) -> list[str]:
    """Lines that say how a server is started from a snapshot."""
    command, call = cloud.launch(made, region)
    return [
        f"A server from it, with domain, administrator, key and database as in {USER_DATA}:",
        command,
        f"or, as a call: {call}",
    ]


def run_remove(provider: str, which: str, region: str = "", dry: bool = False) -> list[str]:
    """Take back what was published from here, whatever was baked since, native snapshots too.

    :param which: an id, a name in the account, a definition's name, an image's file; or ``all``.
    :param region: only what is in this one; all if empty.
    :return: a line for each that was removed.
    :raises BuildError: there is nothing, or it does not say which of several.
    """
    cloud = load(provider)
    chosen = published.choose(provider, which, region)
    if not dry:
        require(cloud)
    lines = []
    for one in chosen:
        order = Order(one.called, one.region, one.ledger if not dry else one.copy(), dry)
        told = str(one)
        with step(f"Removing {told}", f"Removed {told}"):
            cloud.remove(order)
        order.ledger.forget()
        lines.append(f"{'would remove' if dry else 'removed'}: {told}")
    return lines


def _clean_up(cloud: Cloud, order: Order, error: BuildError) -> None:
    try:
        with step("Removing what was made in the account", "Removed what was made in the account"):
            cloud.remove(order)
    except BuildError as another:
        say(f"WARNING: something may be left in the account: {another.message}")
        error.hint = "Run it again to go on, or with --remove to take back what is there"
        return
    if order.ledger.get("asked"):
        # Nobody said whether it was made, and it is not there by now: it may still come.
        say(f"WARNING: {order.name} may come to be in the account yet")
        error.hint = "Run it again: it looks for that first; or --remove, in a while, to take it back"
    else:
        order.ledger.forget()
