"""Linode (Akamai): upload a gzipped raw disk to an image of one's own.

https://techdocs.akamai.com/linode-api/reference/post-upload-image: at most 5 GB packed and 6 GB unpacked.
"""

import os
from pathlib import Path
from typing import Any

from builder.core.errors import BuildError
from builder.ship import cloud, rest
from builder.ship.cloud import Order

API = "https://api.linode.com/v4"
_TOKEN = "LINODE_TOKEN"  # noqa: S105 - a variable's name
_LARGEST = 6 << 30
_LARGEST_PACKED = 5 << 30
_PAGE = 500


def _api(order: Order) -> rest.Api:
    return rest.Api(API, os.environ.get(_TOKEN, ""), _TOKEN, order.dry)


def _publish(order: Order, file: Path) -> str:
    if order.disk_bytes > _LARGEST or file.stat().st_size > _LARGEST_PACKED:
        raise BuildError(
            "Linode takes images of 6 GB at most, 5 GB packed", "Make the base's disk_size smaller"
        )
    api, ledger = _api(order), order.ledger
    known = ledger.get("image")
    found = api.call("GET", f"/images/{known}") if known else None
    if found is None:
        made = cloud.make(order, lambda: _ask(api, order), lambda: _found(api, order))
        if not made["upload_to"]:
            # Where to upload to was in the answer that was lost.
            api.call("DELETE", f"/images/{made['image']['id']}")
            made = cloud.make(order, lambda: _ask(api, order), lambda: None)
        found = made["image"]
        ledger.note(image=found["id"], upload_to=made["upload_to"], asked=None)
    if found["status"] == "pending_upload":
        rest.put(ledger.get("upload_to"), file, order.dry)

    def ask() -> str:
        now = api.call("GET", f"/images/{ledger.get('image')}", example={"status": "available"})
        if now is None:
            raise BuildError("Linode has given up the image", "Did it take the file? See its event log")
        return "" if now["status"] == "available" else str(now["status"])

    cloud.wait("Linode has taken in the image", ask)
    return str(ledger.get("image"))


def _ask(api: rest.Api, order: Order) -> dict[str, Any]:
    made = api.call(
        "POST", "/images/upload",
        {"label": order.name, "description": order.description, "region": order.region, "cloud_init": True},
        {"image": {"id": "private/ID", "status": "pending_upload"}, "upload_to": "https://UPLOAD"},
    )  # fmt: skip
    if made is None:
        raise BuildError("Linode has no image upload", "Is its API another by now?")
    return made


def _found(api: rest.Api, order: Order) -> dict[str, Any] | None:
    """As :func:`_ask` returns it, but for the address."""
    rows = api.listed(f"/images?page={{}}&page_size={_PAGE}", "data", _PAGE)
    found = next((row for row in rows if row["label"] == order.name), None)
    return {"image": found, "upload_to": ""} if found else None


def _remove(order: Order) -> None:
    api, ledger = _api(order), order.ledger
    if ledger.get("asked"):
        found = _found(api, order)
        if found:
            ledger.note(image=found["image"]["id"], asked=None)
    if ledger.get("image"):
        api.call("DELETE", f"/images/{ledger.get('image')}")
        ledger.drop("image")


def _launch(image: str, region: str) -> list[str]:
    return [
        f"linode-cli linodes create --image {image} --region {region} --type g6-nanode-1 --label blog \\\n"
        f'  --authorized_keys "$(cat ~/.ssh/id_ed25519.pub)" --root_pass "$(openssl rand -base64 24)" \\\n'
        f'  --metadata.user_data "$(base64 -w0 {cloud.USER_DATA})"',
        f"POST {API}/linode/instances with image, region, type, root_pass, authorized_keys and"
        " metadata.user_data (base64)",
    ]


CLOUD = cloud.Cloud(
    credentials=(_TOKEN,),
    region="us-east",
    ending=".img.gz",
    takes=(),
    ready=lambda order: None,
    publish=_publish,
    remove=_remove,
    launch=_launch,
    native=lambda: {"token": os.environ[_TOKEN]},
)
