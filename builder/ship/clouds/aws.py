"""AWS: a disk goes to S3, becomes a snapshot, and that a machine image (AMI).

https://docs.aws.amazon.com/vm-import/latest/userguide/vmimport-import-snapshot.html; the account needs
the role ``vmimport``, which docs/publish.md shows how to make.
"""

from pathlib import Path
from typing import Any

from builder.core.errors import BuildError
from builder.ship import bucket, cloud
from builder.ship.cloud import Order

_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}
_OVER = ("deleted", "deleting", "error", "cancelled")
_DISK = "/dev/sda1"


def _clients(order: Order) -> tuple[Any, Any]:
    # To show calls no credentials are needed; boto3 wants some all the same.
    keys = {"aws_access_key_id": "DRY", "aws_secret_access_key": "DRY"} if order.dry else {}
    return bucket.client("s3", order.region, **keys), bucket.client("ec2", order.region, **keys)


def _ready(order: Order) -> None:
    if not order.bucket:
        raise BuildError("AWS takes images from a bucket of S3", "Name one of yours with --bucket")


def _publish(order: Order, file: Path) -> str:
    store, ec2 = _clients(order)
    ledger = order.ledger
    if ledger.get("image"):
        return str(ledger.get("image"))
    if not ledger.get("snapshot"):
        if not ledger.get("task"):
            name = bucket.upload(order, store, file)
            task = cloud.make(order, lambda: _import(order, ec2, name), lambda: _task(order, ec2))
            ledger.note(task=task, asked=None)
        cloud.wait("AWS has made a snapshot of it", lambda: _ask(order, ec2))
        bucket.remove(order, store)
    image = cloud.make(order, lambda: _register(order, ec2), lambda: _image(order, ec2))
    ledger.note(image=image, asked=None)
    return image


def _import(order: Order, ec2: Any, name: str) -> str:
    begun = bucket.call(
        order, ec2, "import_snapshot", {"ImportTaskId": "import-snap-ID"},
        # boto3 asks again by itself: with one token that is one task.
        Description=order.name, ClientToken=order.name,
        DiskContainer={
            "Description": order.description, "Format": "VMDK",
            "UserBucket": {"S3Bucket": order.bucket, "S3Key": name},
        },
    )  # fmt: skip
    return str(begun["ImportTaskId"])


def _task(order: Order, ec2: Any) -> str | None:
    more: dict[str, str] = {}
    while True:
        told = bucket.call(order, ec2, "describe_import_snapshot_tasks", {}, **more)
        for task in told.get("ImportSnapshotTasks", []):
            if task.get("Description") == order.name:
                return str(task["ImportTaskId"])
        if not told.get("NextToken"):
            return None
        more = {"NextToken": told["NextToken"]}


def _register(order: Order, ec2: Any) -> str:
    made = bucket.call(
        order, ec2, "register_image", {"ImageId": "ami-ID"},
        Name=order.name, Description=order.description, Architecture=_ARCHITECTURES[order.architecture],
        RootDeviceName=_DISK, VirtualizationType="hvm", EnaSupport=True, ImdsSupport="v2.0",
        BlockDeviceMappings=[{
            "DeviceName": _DISK,
            "Ebs": {
                "SnapshotId": order.ledger.get("snapshot"), "VolumeType": "gp3", "DeleteOnTermination": True
            },
        }],
    )  # fmt: skip
    return str(made["ImageId"])


def _image(order: Order, ec2: Any) -> str | None:
    named = [{"Name": "name", "Values": [order.name]}]
    told = bucket.call(order, ec2, "describe_images", {"Images": []}, Owners=["self"], Filters=named)
    return next((str(image["ImageId"]) for image in told["Images"]), None)


def _adopt(order: Order, ec2: Any) -> None:
    """Note what was asked for and never told of, and the snapshot below an image that Packer made."""
    ledger = order.ledger
    if ledger.get("asked"):
        image, task = _image(order, ec2), _task(order, ec2)
        if image:
            ledger.note(image=image, asked=None)
        elif task:
            ledger.note(task=task, asked=None)
    if ledger.get("task") and not ledger.get("snapshot"):
        # An import that is over can't be cancelled: it has left a snapshot.
        told = bucket.call(
            order, ec2, "describe_import_snapshot_tasks", {}, ImportTaskIds=[ledger.get("task")]
        )
        for task in told.get("ImportSnapshotTasks", []):
            detail = task.get("SnapshotTaskDetail", {})
            if detail.get("Status") == "completed":
                ledger.note(snapshot=detail.get("SnapshotId"))
    if ledger.get("image") and not ledger.get("snapshot"):
        told = bucket.call(order, ec2, "describe_images", {"Images": []}, ImageIds=[ledger.get("image")])
        for one in told["Images"]:
            disks = [disk["Ebs"] for disk in one.get("BlockDeviceMappings", []) if "Ebs" in disk]
            ledger.note(snapshot=next((disk.get("SnapshotId") for disk in disks), None))


def _ask(order: Order, ec2: Any) -> str:
    told = bucket.call(
        order, ec2, "describe_import_snapshot_tasks",
        {"ImportSnapshotTasks": [{"SnapshotTaskDetail": {"Status": "completed", "SnapshotId": "snap-ID"}}]},
        ImportTaskIds=[order.ledger.get("task")],
    )  # fmt: skip
    detail = told["ImportSnapshotTasks"][0]["SnapshotTaskDetail"]
    if detail["Status"] in _OVER:
        why = detail.get("StatusMessage") or detail["Status"]
        raise BuildError(f"AWS did not take the disk: {why}", "See docs/publish.md for the role it needs")
    if detail["Status"] != "completed":
        return f"{detail['Status']} {detail.get('Progress', 0)} %"
    order.ledger.note(snapshot=detail["SnapshotId"])
    return ""


def _remove(order: Order) -> None:
    store, ec2 = _clients(order)
    _adopt(order, ec2)
    # A task whose snapshot is there is over: nothing to cancel.
    task = ("cancel_import_task", "ImportTaskId") if not order.ledger.get("snapshot") else None
    steps = {
        "image": ("deregister_image", "ImageId"),
        "snapshot": ("delete_snapshot", "SnapshotId"),
        "task": task,
    }
    for fact, how in steps.items():
        if order.ledger.get(fact) and how:
            bucket.call(order, ec2, how[0], {}, **{how[1]: order.ledger.get(fact)})
        order.ledger.drop(fact)
    if order.ledger.get("object"):
        bucket.remove(order, store)


def _launch(image: str, region: str) -> list[str]:
    return [
        f"aws ec2 run-instances --region {region} --image-id {image} --instance-type t3.micro \\\n"
        f"  --key-name YOUR_KEY --security-group-ids YOUR_GROUP --user-data file://{cloud.USER_DATA}",
        "ec2:RunInstances with ImageId, InstanceType, KeyName, SecurityGroupIds (22, 80 and 443 open)"
        " and UserData",
    ]


CLOUD = cloud.Cloud(
    credentials=_CREDENTIALS,
    region="us-east-1",
    ending=".vmdk",
    takes=("--bucket",),
    ready=_ready,
    publish=_publish,
    remove=_remove,
    launch=_launch,
    native=dict,
)
