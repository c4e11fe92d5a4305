"""DigitalOcean: it fetches a custom image by its address, from a Space of the user's or from elsewhere.

https://docs.digitalocean.com/products/droplets/reference/api/images
"""

import os
from pathlib import Path
from typing import Any

from builder.core.errors import BuildError
from builder.ship import bucket, cloud, rest
from builder.ship.cloud import Order

API = "https://api.digitalocean.com/v2"
SPACES = "https://{}.digitaloceanspaces.com"
_TOKEN = "DIGITALOCEAN_TOKEN"  # noqa: S105 - a variable's name
_SPACES = ("SPACES_ACCESS_KEY_ID", "SPACES_SECRET_ACCESS_KEY")
_OVER = ("deleted", "retired")
_PAGE = 200


def _api(order: Order) -> rest.Api:
    return rest.Api(API, os.environ.get(_TOKEN, ""), _TOKEN, order.dry)


def _ready(order: Order) -> None:
    if not order.url:
        _store(order)


def _store(order: Order) -> Any:
    key, secret = (os.environ.get(name, "DRY" if order.dry else "") for name in _SPACES)
    if not ((order.bucket or order.ledger.get("bucket")) and key and secret):
        raise BuildError(
            "DigitalOcean fetches an image from an address: there is none to put it at",
            f"Name a Space with --bucket, its keys in {' and '.join(_SPACES)}; or put the file that"
            " --prepare makes on a web server, and name that with --url",
        )
    return bucket.client(
        "s3", order.region, endpoint_url=SPACES.format(order.region),
        aws_access_key_id=key, aws_secret_access_key=secret,
    )  # fmt: skip


def _publish(order: Order, file: Path) -> str:
    api, ledger = _api(order), order.ledger
    store = None if order.url else _store(order)
    known = ledger.get("image")
    if not known or api.call("GET", f"/images/{known}") is None:
        url = order.url or bucket.address(order, store, bucket.upload(order, store, file))
        made = cloud.make(order, lambda: _ask(api, order, url), lambda: _found(api, order))
        ledger.note(image=made["id"], asked=None)

    def ask() -> str:
        found = api.call("GET", f"/images/{ledger.get('image')}", example={"image": {"status": "available"}})
        now = (found or {}).get("image", {"status": "deleted"})
        if now["status"] in _OVER or now.get("error_message"):
            why = now.get("error_message") or now["status"]
            raise BuildError(f"DigitalOcean did not take the image: {why}", "See docs/publish.md")
        return "" if now["status"] == "available" else str(now["status"])

    cloud.wait("DigitalOcean has fetched the image", ask)
    if store:
        bucket.remove(order, store)
    return str(ledger.get("image"))


def _ask(api: rest.Api, order: Order, url: str) -> dict[str, Any]:
    made = api.call(
        "POST", "/images",
        {"name": order.name, "url": url, "region": order.region, "description": order.description,
         "distribution": order.base.partition("-")[0].capitalize(), "tags": ["microblog"]},
        {"image": {"id": "ID"}},
    )  # fmt: skip
    if made is None:
        raise BuildError("DigitalOcean has no custom images", "Is its API another by now?")
    image: dict[str, Any] = made["image"]
    return image


def _found(api: rest.Api, order: Order) -> dict[str, Any] | None:
    rows = api.listed(f"/images?private=true&page={{}}&per_page={_PAGE}", "images", _PAGE)
    return next((row for row in rows if row["name"] == order.name), None)


def _remove(order: Order) -> None:
    api, ledger = _api(order), order.ledger
    if ledger.get("asked"):
        found = _found(api, order)
        if found:
            ledger.note(image=found["id"], asked=None)
    if ledger.get("image"):
        api.call("DELETE", f"/images/{ledger.get('image')}")
        ledger.drop("image")
    if ledger.get("object"):
        bucket.remove(order, _store(order))


def _launch(image: str, region: str) -> list[str]:
    return [
        f"doctl compute droplet create blog --image {image} --region {region} --size s-1vcpu-1gb \\\n"
        f"  --ssh-keys YOUR_KEYS_FINGERPRINT --user-data-file {cloud.USER_DATA} --wait",
        f"POST {API}/droplets with name, region, size, image (a number), ssh_keys and user_data",
    ]


CLOUD = cloud.Cloud(
    credentials=(_TOKEN,),
    region="nyc3",
    ending=".img.gz",
    takes=("--bucket", "--url"),
    ready=_ready,
    publish=_publish,
    remove=_remove,
    launch=_launch,
    native=lambda: {"token": os.environ[_TOKEN]},
)
