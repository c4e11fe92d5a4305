"""Object stores that speak S3: put a file there for a cloud to fetch."""

from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
)
from botocore.parsers import ResponseParserError

from builder.core.errors import BuildError, Lost
from builder.core.progress import step
from builder.ship import cloud
from builder.ship.cloud import Order

FETCH_SECONDS = 6 * 3600
"""How long a signed address is valid."""


def client(service: str, region: str | None, **options: object) -> Any:
    """A client of one of AWS's services, or of one that speaks like it."""
    return boto3.client(service, region_name=region, **options)


def call(order: Order, made: Any, operation: str, example: dict[str, Any], **parameters: object) -> Any:
    """Make one call, or only show it.

    :raises BuildError: it is refused; :class:`Lost`: it may have been done all the same.
    """
    if order.dry:
        cloud.shown(f"{made.meta.service_model.service_name} {operation}", parameters)
        return example
    try:
        return getattr(made, operation)(**parameters)
    except (BotoCoreError, ClientError, ResponseParserError) as error:
        raise refusal(operation, error) from error


def refusal(operation: str, error: Exception) -> BuildError:
    """A provider's error as one line."""
    told = error.response.get("Error", {}) if isinstance(error, ClientError) else {}
    said = f"{told.get('Code')}: {told.get('Message')}" if told else str(error).partition("\n")[0]
    kind = Lost if _unknown_outcome(error) else BuildError
    return kind(f"{operation} was refused: {said}", "See docs/publish.md for what the account needs")


def _unknown_outcome(error: Exception) -> bool:
    if isinstance(error, ClientError):
        # boto3 has asked again by itself: what the first attempt made is in the way of the second.
        answer = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return answer >= 500 or error.response.get("Error", {}).get("Code") == "InvalidAMIName.Duplicate"
    never_sent = isinstance(error, EndpointConnectionError | ConnectTimeoutError)
    return isinstance(error, HTTPClientError | ResponseParserError) and not never_sent


def upload(order: Order, store: Any, file: Path) -> str:
    """Put a file into the user's bucket, unless it is there. Large ones go in parts, some at a time.

    :return: its name there, noted in the ledger.
    """
    name = file.name
    if order.ledger.get("uploaded") == name:
        return name
    if order.dry:
        cloud.shown(f"s3 upload_file {file.name} to {order.bucket}/{name}")
        return name
    order.ledger.note(object=name, bucket=order.bucket)
    size, sent = file.stat().st_size, 0
    with step(f"Uploading {file.name}", f"Uploaded {file.name}") as now:

        def progress(count: int) -> None:
            nonlocal sent
            sent += count
            now.update(f"{sent / 1e6:.0f} of {size / 1e6:.0f} MB", sent / size)

        try:
            store.upload_file(str(file), order.bucket, name, Callback=progress)
        except (Boto3Error, BotoCoreError, ClientError) as error:
            raise refusal("the upload", error) from error
    order.ledger.note(uploaded=name)
    return name


def remove(order: Order, store: Any) -> None:
    """Take it out of the bucket again."""
    name = order.ledger.get("object")
    if name or order.dry:
        bucket = order.ledger.get("bucket") or order.bucket
        call(order, store, "delete_object", {}, Bucket=bucket, Key=name or "OBJECT")
        order.ledger.note(object=None, uploaded=None, bucket=None)


def address(order: Order, store: Any, name: str) -> str:
    """An address to fetch it by, good for some hours, for whoever knows it."""
    if order.dry:
        return f"https://SIGNED/{name}"
    return str(
        store.generate_presigned_url(
            "get_object", Params={"Bucket": order.bucket, "Key": name}, ExpiresIn=FETCH_SECONDS
        )
    )
