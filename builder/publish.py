"""Bring a baked image into the user's account with a cloud, from where servers are started."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path

from builder import cache, definition, library, native, paths, vmdk
from builder.clouds.cloud import USER_DATA, Cloud, Ledger, Order
from builder.command import program, run
from builder.errors import BuildError
from builder.progress import say, step

CLOUDS = ("digitalocean", "linode", "aws")


def _gzip(image: Path, to: Path, work: Path, log: Path) -> None:
    raw = work / "disk.img"
    run([program("qemu-img", "qemu-utils"), "convert", "-O", "raw", image, raw], log)
    run([program("gzip", "gzip"), "--no-name", raw], log)
    raw.with_name(f"{raw.name}.gz").replace(to)


def _vmdk(image: Path, to: Path, work: Path, log: Path) -> None:
    vmdk.write(image, work / "disk.vmdk", log)
    (work / "disk.vmdk").replace(to)


_PREPARE: dict[str, Callable[[Path, Path, Path, Path], None]] = {".img.gz": _gzip, ".vmdk": _vmdk}


def _load(name: str) -> Cloud:
    # boto3 is slow to import: only the cloud that is wanted is loaded.
    cloud: Cloud = importlib.import_module(f"builder.clouds.{name}").CLOUD
    return cloud


def prepare(image: library.Result, ending: str) -> Path:
    """The image in the form that a cloud takes, kept in the cache for the next time."""
    store = paths.cache_dir() / "published"
    stem = image.image.name.partition(".qcow2")[0]
    to = store / f"{stem}-{image.facts['files'][0]['sha256'][:16]}{ending}"
    if not to.exists():
        store.mkdir(exist_ok=True)
        for other in store.glob(f"{stem}-*{ending}"):
            other.unlink()
        with cache.scratch(store) as work, step(f"Making {to.name}", f"Made {to.name}"):
            _PREPARE[ending](image.image, to, work, library.log_directory(image.image) / "publish.log")
    return to


def _order(cloud: Cloud, provider: str, name: str, region: str, bucket: str, url: str, dry: bool) -> Order:
    image = library.find(name)
    if definition.load_image(image.facts["target"]).method != "machine":
        raise BuildError(
            f"{image.image.name} is an SD card, which no cloud starts", "Publish the image cloud"
        )
    region = region or cloud.region
    stem = image.image.name.partition(".qcow2")[0]
    key = image.facts["files"][0]["sha256"][:16]
    # Shown calls are as those of a first time, and leave nothing behind.
    path = paths.OUT / "published" / f"{stem}-{key}.{provider}.{region}{'.dry' if dry else ''}.json"
    return Order(image, region, bucket, url, dry, Ledger(path))


def run_cloud(
    provider: str,
    name: str,
    *,
    region: str = "",
    bucket: str = "",
    url: str = "",
    dry: bool = False,
    remove: bool = False,
    only_prepare: bool = False,
) -> list[str]:
    """Publish an image.

    An interrupted run is gone on with by the next one; after an error all that was made in the
    account is removed again.

    :param name: of the image, or its file.
    :param region: the cloud's; its usual one if empty.
    :param bucket: the user's, where the cloud fetches images from one.
    :param url: where the user has put the file, instead of a bucket.
    :param dry: show each call.
    :param remove: take back what an earlier run made.
    :param only_prepare: stop when the file is made.
    :return: lines to print: the snapshot's id, then how a server is started from it.
    :raises BuildError: a credential is missing, or the cloud refuses.
    """
    cloud = _load(provider)
    order = _order(cloud, provider, name, region, bucket, url, dry)
    missing = [variable for variable in cloud.credentials if not os.environ.get(variable)]
    if missing and not dry and not only_prepare:
        raise BuildError(
            f"{' and '.join(missing)} must be in the environment",
            "Make a token in the provider's control panel; docs/publish.md says which",
        )
    if remove:
        if not order.ledger:
            raise BuildError("nothing was published from here that could be removed", "Is it the same image?")
        _take_back(cloud, order)
        return []
    file = prepare(order.image, cloud.ending)
    if only_prepare:
        return [str(file)]
    if order.ledger:
        say(f"Going on where an earlier run stopped ({order.ledger.path.name})")
    try:
        made = cloud.publish(order, file)
    except BuildError as error:
        if order.ledger and not dry:
            _clean_up(cloud, order, error)
        raise
    finally:
        if dry:
            order.ledger.forget()
    return [made, "", *_how_to_launch(cloud, made, order.region)]


def run_native(provider: str, region: str = "", dry: bool = False) -> list[str]:
    """Let Packer's own builder for a cloud make the snapshot there, on the cloud's Ubuntu 22.04.

    :return: as :func:`run_cloud`.
    """
    cloud = _load(provider)
    missing = [variable for variable in cloud.credentials if not os.environ.get(variable)]
    if missing and not dry:
        raise BuildError(f"{' and '.join(missing)} must be in the environment", "See docs/publish.md")
    region = region or cloud.region
    made = native.build(provider, region, {} if dry else cloud.native(), dry)
    return [made, "", *_how_to_launch(cloud, made, region)]


def _how_to_launch(cloud: Cloud, made: str, region: str) -> list[str]:
    command, call = cloud.launch(made, region)
    return [
        f"A server from it, with domain, administrator, key and database as in {USER_DATA}:",
        command,
        f"or, as a call: {call}",
    ]


def _take_back(cloud: Cloud, order: Order) -> None:
    with step("Removing what was made in the account", "Removed what was made in the account"):
        cloud.remove(order)
    order.ledger.forget()


def _clean_up(cloud: Cloud, order: Order, error: BuildError) -> None:
    try:
        _take_back(cloud, order)
    except BuildError as another:
        say(f"WARNING: something may be left in the account: {another.message}")
        error.hint = "Run it again to go on, or with --remove to take back what is there"
