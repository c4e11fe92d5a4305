"""Publishing: AWS against moto, the others against doubles of their published APIs on loopback."""

import dataclasses
import gzip
import hashlib
import http.server
import json
import re
import subprocess
import threading
from pathlib import Path

import boto3
import pytest
import requests
import yaml
from click.testing import CliRunner
from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response
from moto.server import ThreadedMotoServer

import build
from builder.bake import packer
from builder.core import paths
from builder.core.errors import BuildError
from builder.deb import package
from builder.defs import definition
from builder.results import manifest
from builder.ship import cloud, native, publish, published, rest
from builder.ship.clouds import digitalocean, lightsail, linode

TOKEN = "a-token-that-nobody-prints"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(cloud, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(cloud, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(rest, "PAUSE_SECONDS", 0.0)


class Double(http.server.ThreadingHTTPServer):
    """Images of an account. ``faults``: answers given first, by method; ``words``: statuses, in turn."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.calls, self.images, self.faults, self.words, self.uploaded = [], {}, {}, [], b""
        self.loses = False

    def late(self, name):
        """What was asked for and refused, or so it seemed, is made after all."""
        number, status = ("private/99", "pending_upload") if self.name == "linode" else (99, "NEW")
        made = {"label": name, "name": name, "status": status, "error_message": ""}
        self.images[str(number)] = {"id": number, **made}


class _Handler(http.server.BaseHTTPRequestHandler):
    def _any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls.append((self.command, self.path))
        if self.path.startswith("/upload/"):
            # As an object store: the length is known before, and the token is not for it.
            assert "Content-Length" in self.headers
            assert "Authorization" not in self.headers
            code = self.server.faults.get("UPLOAD", []).pop(0) if self.server.faults.get("UPLOAD") else 200
            if code == 200:
                self.server.uploaded = body
                for image in self.server.images.values():
                    image["status"] = "pending"
            return self._answer(code, {})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, self.refusal("Invalid Token"))
        faults = self.server.faults.get(self.command, [])
        if faults:
            return self._answer(faults.pop(0), self.refusal("no"), {"Retry-After": "0"})
        return self.account(json.loads(body) if body else None)

    do_GET = do_POST = do_PUT = do_DELETE = _any

    def _answer(self, code, body, headers=None):
        text = json.dumps(body).encode() if code != 204 else b""
        self.send_response(code)
        for name, value in {"Content-Length": str(len(text)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass

    def _one(self):
        """The image that the path names, a step nearer to being there; None if there is none."""
        number = self.path.removeprefix("/images/")
        image = self.server.images.get(number)
        if image and self.command == "DELETE":
            del self.server.images[number]
        elif image and self.server.words and image["status"] not in ("pending_upload",):
            word = self.server.words[0] if len(self.server.words) == 1 else self.server.words.pop(0)
            image |= word if isinstance(word, dict) else {"status": word}
        return image

    def _lost(self):
        """Made, but its answer does not come."""
        if self.server.loses:
            self.server.loses = False
            return self._answer(504, {})
        return None

    def _list(self, name):
        rows = list(self.server.images.values())
        return self._answer(200, {name: rows, "data": rows, "page": 1, "pages": 1, "results": len(rows)})


class _Linode(_Handler):
    """https://techdocs.akamai.com/linode-api/reference/post-upload-image"""

    def refusal(self, why):
        return {"errors": [{"reason": why, "field": "label"}]}

    def account(self, body):
        if (self.command, self.path) == ("POST", "/images/upload"):
            if not re.fullmatch(r"[\w. -]{1,50}", body["label"]) or not body["region"]:
                return self._answer(400, self.refusal("bad"))
            number = f"private/{len(self.server.images) + 1}"
            image = {"id": number, "status": "pending_upload", "label": body["label"]}
            self.server.images[number] = image
            if self.server.loses:
                return self._lost()
            return self._answer(200, {"image": image, "upload_to": f"{self.server.url}/upload/{number}"})
        if self.path.startswith("/images?"):
            return self._list("data")
        image = self._one()
        return self._answer(200, image) if image else self._answer(404, self.refusal("Not found"))


class _DigitalOcean(_Handler):
    """https://docs.digitalocean.com/products/droplets/reference/api/images"""

    def refusal(self, why):
        return {"id": "refused", "message": why}

    def account(self, body):
        if (self.command, self.path) == ("POST", "/images"):
            if body["distribution"] not in ("Debian", "Ubuntu"):
                return self._answer(422, self.refusal("distribution"))
            number = str(7 + len(self.server.images))
            self.server.images[number] = {
                "id": int(number), "status": "NEW", "error_message": "",
                "name": body["name"], "url": body["url"],
            }  # fmt: skip
            if self.server.loses:
                return self._lost()
            return self._answer(202, {"image": self.server.images[number]})
        if self.path.startswith("/images?"):
            assert "private=true" in self.path
            return self._list("images")
        image = self._one()
        if not image:
            return self._answer(404, self.refusal("not found"))
        return self._answer(204, {}) if self.command == "DELETE" else self._answer(200, {"image": image})


def _running(handler):
    double = type("Running", (Double,), {"handler": handler})()
    threading.Thread(target=double.serve_forever, daemon=True).start()
    return double


@pytest.fixture(params=["linode", "digitalocean"])
def service(request, baked, monkeypatch):
    """One of the two, with a way to publish to it."""
    module = {"linode": linode, "digitalocean": digitalocean}[request.param]
    double = _running({"linode": _Linode, "digitalocean": _DigitalOcean}[request.param])
    monkeypatch.setattr(module, "API", double.url)
    monkeypatch.setenv(f"{request.param.upper()}_TOKEN", TOKEN)
    double.name = request.param
    double.words = ["pending", "available"]
    double.remove = lambda which="cloud", **options: publish.run_remove(request.param, which, **options)
    double.publish = lambda **options: publish.run_cloud(
        request.param,
        "cloud",
        **({"url": "https://x.example/i"} if request.param == "digitalocean" else {}) | options,
    )
    yield double
    double.shutdown()
    double.server_close()


def _ledgers():
    return list((paths.OUT / "published").glob("*"))


def _name_noted():
    (ledger,) = _ledgers()
    return json.loads(ledger.read_text())["name"]


def test_is_published_and_told_how_to_launch(service, baked, capfd):
    number, _, *how = service.publish()
    assert number in service.images
    assert any(number in line and cloud.USER_DATA in line for line in how)
    if service.name == "linode":
        assert gzip.decompress(service.uploaded) == baked
    said = capfd.readouterr()
    assert TOKEN not in said.out + said.err


def test_a_second_time_nothing_is_made_again(service):
    first = service.publish()
    service.calls.clear()
    assert service.publish() == first
    assert {method for method, _ in service.calls} == {"GET"}


def test_is_taken_back(service):
    service.publish()
    service.remove()
    assert service.images == {}
    assert _ledgers() == []
    with pytest.raises(BuildError, match="nothing was published"):
        service.remove()


def test_a_dry_run_calls_nobody_and_needs_no_token(service, monkeypatch, capfd):
    monkeypatch.delenv(f"{service.name.upper()}_TOKEN")
    service.publish(dry=True)
    assert service.calls == []
    assert _ledgers() == []
    said = capfd.readouterr().err
    assert re.search(r"would call: POST \S+/images\S* \{.*microblog-0.1.0-cloud", said)
    assert "would call: GET" in said


def test_a_wrong_token_is_one_clear_line(service, monkeypatch):
    monkeypatch.setenv(f"{service.name.upper()}_TOKEN", "another")
    with pytest.raises(BuildError, match=r"does not accept the token in .*_TOKEN: ") as error:
        service.publish()
    assert "another" not in str(error.value)
    assert _ledgers() == []


def test_no_token_is_one_clear_line(service, monkeypatch):
    monkeypatch.delenv(f"{service.name.upper()}_TOKEN")
    with pytest.raises(BuildError, match="must be in the environment"):
        service.publish()


def test_what_is_refused_leaves_nothing(service):
    service.faults["POST"] = [422]
    with pytest.raises(BuildError, match=r"was refused \(422\): .*no"):
        service.publish()
    assert service.images == {}
    assert _ledgers() == []


def test_what_passes_is_asked_again(service):
    service.faults = {"POST": [429, 429], "GET": [503, 500, 429]}
    assert service.publish()[0] in service.images


def test_a_failing_creation_is_not_repeated_and_looked_for_later(service):
    """Nobody knows what comes of it: its name stays noted, for the next run or for --remove."""
    service.faults["POST"] = [503]
    with pytest.raises(BuildError, match="503") as error:
        service.publish()
    assert "--remove" in error.value.hint
    assert [method for method, _ in service.calls].count("POST") == 1
    service.late(_name_noted())
    service.remove()
    assert service.images == {}
    assert _ledgers() == []


def test_what_a_lost_answer_made_is_found_and_used(service):
    """As after 504: the image is in the account, and nobody said so."""
    service.loses = True
    number, *_ = service.publish()
    assert set(service.images) == {number}
    service.remove()
    assert service.images == {}


def test_what_a_killed_run_had_asked_for_is_found(service, monkeypatch):
    """Killed between the call and its answer."""
    with monkeypatch.context() as killed:
        killed.setattr(cloud.Ledger, "drop", lambda *_: None)
        killed.setattr(rest.Api, "_refusal", lambda *_: KeyboardInterrupt())
        service.faults["POST"] = [503]
        with pytest.raises(KeyboardInterrupt):
            service.publish()
    service.late(_name_noted())
    assert len(service.images) == 1
    service.publish()
    assert len(service.images) == 1
    service.remove()
    assert service.images == {}


def test_a_server_that_stays_broken_leaves_nothing(service):
    service.faults["GET"] = [500] * 9
    with pytest.raises(BuildError, match="500"):
        service.publish()
    assert service.images == {}


def test_what_never_finishes_leaves_nothing(service, monkeypatch):
    monkeypatch.setattr(cloud, "PATIENCE_SECONDS", 0.05)
    service.words = ["pending"]
    with pytest.raises(BuildError, match=r"did not come about.*pending"):
        service.publish()
    assert service.images == {}
    assert _ledgers() == []


def test_what_can_neither_be_made_nor_removed_is_told(service, capfd):
    service.faults = {"GET": [500] * 9, "DELETE": [500] * 9}
    with pytest.raises(BuildError) as error:
        service.publish()
    assert "--remove" in error.value.hint
    assert "something may be left" in capfd.readouterr().err
    service.faults = {}
    service.remove()
    assert service.images == {}


def test_an_interrupted_one_is_gone_on_with(service, monkeypatch):
    with monkeypatch.context() as interrupted:
        interrupted.setattr(cloud, "wait", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            service.publish()
    service.calls.clear()
    assert service.publish()[0] in service.images
    assert "POST" not in {method for method, _ in service.calls}


def test_digitalocean_says_why(service):
    if service.name != "digitalocean":
        pytest.skip("Linode only lets the image vanish")
    service.words = [{"status": "NEW", "error_message": "Your image has an unsupported format"}]
    with pytest.raises(BuildError, match="unsupported format"):
        service.publish()
    assert service.images == {}


def test_linode_gets_the_file_after_a_failing_upload(service):
    if service.name != "linode":
        pytest.skip("DigitalOcean fetches it")
    service.faults["UPLOAD"] = [500]
    service.publish()
    service.faults["UPLOAD"] = [403]
    service.images.clear()
    with pytest.raises(BuildError, match="can't be uploaded: 403"):
        service.publish()
    assert service.images == {}


def test_the_ledger_is_for_the_user_alone(service):
    service.publish()
    (ledger,) = _ledgers()
    assert ledger.stat().st_mode & 0o777 == 0o600


def test_prepare_only_makes_the_file(service, baked):
    (line,) = publish.only_prepared(service.name, "cloud")
    assert gzip.decompress(Path(line).read_bytes()) == baked
    assert service.calls == []


@pytest.fixture(scope="module")
def s3():
    """moto's server, which has all of it but the import of snapshots: that is added here."""

    def import_snapshot(self):
        s3 = boto3.client("s3", endpoint_url=f"http://{self.parsed_url.netloc}", **_KEYS)
        container = json.loads(json.dumps(self._get_params()["DiskContainer"]))
        where = container["UserBucket"]
        disk = s3.get_object(Bucket=where["S3Bucket"], Key=where["S3Key"])["Body"].read()
        assert container["Format"] == "VMDK"
        assert disk[:4] == b"KDMV"
        # One token, one task.
        task = TASKS.setdefault(self._get_params()["ClientToken"], f"import-snap-{len(TASKS) + 1}")
        DESCRIPTIONS[task] = self._get_params()["Description"]
        return ActionResult({"ImportTaskId": task, "SnapshotTaskDetail": {"Status": "active"}})

    def describe_import_snapshot_tasks(self):
        if not any(name.startswith("ImportTaskId") for name in self._get_params()):
            rows = [{"ImportTaskId": task, "Description": text} for task, text in DESCRIPTIONS.items()]
            return ActionResult({"ImportSnapshotTasks": rows})
        word = WORDS[0] if len(WORDS) == 1 else WORDS.pop(0)
        detail = {"Status": word, "Progress": "42", "StatusMessage": "ClientError: bad disk"}
        if word == "completed":
            volume = self.ec2_backend.create_volume(size="4", zone_name="us-east-1a")
            detail = {"Status": word, "SnapshotId": self.ec2_backend.create_snapshot(volume.id, "x").id}
        return ActionResult(
            {"ImportSnapshotTasks": [{"ImportTaskId": "import-snap-1", "SnapshotTaskDetail": detail}]}
        )

    def cancel_import_task(self):
        CANCELLED.append(self._get_params()["ImportTaskId"])
        return ActionResult({})

    registers = EC2Response.register_image

    def register_image(self):
        # moto forgets all of it but name and description.
        REGISTERED.append(self._get_params())
        return registers(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        for method in (import_snapshot, describe_import_snapshot_tasks, cancel_import_task, register_image):
            patch.setattr(EC2Response, method.__name__, method, raising=False)
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


WORDS: list[str] = []
LOST: list[int] = []
TASKS: dict[str, str] = {}
DESCRIPTIONS: dict[str, str] = {}
CANCELLED: list[str] = []
REGISTERED: list[dict] = []
_KEYS = {"region_name": "us-east-1", "aws_access_key_id": "k", "aws_secret_access_key": "s"}


@pytest.fixture
def account(s3, baked, monkeypatch):
    """An account with AWS: its two clients."""
    WORDS[:], CANCELLED[:], REGISTERED[:], LOST[:] = ["active", "completed"], [], [], []
    TASKS.clear()
    DESCRIPTIONS.clear()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_ENDPOINT_URL": s3,
    }.items():
        monkeypatch.setenv(name, value)
    store, ec2 = (boto3.client(service, endpoint_url=s3, **_KEYS) for service in ("s3", "ec2"))
    store.create_bucket(Bucket="mine")
    yield store, ec2
    requests.post(f"{s3}/moto-api/reset", timeout=10)


def _left(account):
    store, ec2 = account
    return (
        [row["Key"] for row in store.list_objects_v2(Bucket="mine").get("Contents", [])],
        [row["ImageId"] for row in ec2.describe_images(Owners=["self"])["Images"]],
        [row["SnapshotId"] for row in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
         if row.get("Description") == "x"],
    )  # fmt: skip


def test_aws_registers_an_image(account):
    made, _, *how = publish.run_cloud("aws", "cloud", bucket="mine")
    objects, registered, snapshots = _left(account)
    assert (objects, registered, len(snapshots)) == ([], [made], 1)
    (asked,) = REGISTERED
    assert asked["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] == snapshots[0]
    assert asked["Architecture"] == "x86_64"
    assert any(f"--image-id {made}" in line for line in how)
    assert publish.run_cloud("aws", "cloud", bucket="mine")[0] == made
    publish.run_remove("aws", "cloud")
    assert _left(account) == ([], [], [])


def test_aws_refusing_the_disk_leaves_nothing(account):
    WORDS[:] = ["active", "deleted"]
    with pytest.raises(BuildError, match="bad disk"):
        publish.run_cloud("aws", "cloud", bucket="mine")
    assert _left(account) == ([], [], [])
    assert _ledgers() == []


def test_aws_never_finishing_leaves_nothing(account, monkeypatch):
    monkeypatch.setattr(cloud, "PATIENCE_SECONDS", 0.05)
    WORDS[:] = ["active"]
    with pytest.raises(BuildError, match="active 42 %"):
        publish.run_cloud("aws", "cloud", bucket="mine")
    assert _left(account) == ([], [], [])
    assert CANCELLED == ["import-snap-1"]


def _losing(method):
    """The call is done, and its answer is lost on its way: boto3 asks again, by itself."""

    def lose(self):
        result = method(self)
        if LOST:
            LOST.pop()
            raise RuntimeError("lost")
        return result

    return lose


@pytest.mark.parametrize("operation", ["import_snapshot", "register_image"])
def test_aws_losing_an_answer_is_looked_for(account, monkeypatch, operation):
    LOST[:] = [1] * 20
    monkeypatch.setattr(EC2Response, operation, _losing(getattr(EC2Response, operation)))
    made, *_ = publish.run_cloud("aws", "cloud", bucket="mine")
    objects, registered, snapshots = _left(account)
    assert (objects, registered, len(snapshots), len(TASKS)) == ([], [made], 1, 1)
    publish.run_remove("aws", "cloud")
    assert _left(account) == ([], [], [])


def test_a_native_image_goes_with_its_snapshot(account, native_packer):
    _, ec2 = account
    _natively("aws", "cloud")
    volume = ec2.create_volume(Size=1, AvailabilityZone="us-east-1a")["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    disks = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot}}]
    made = ec2.register_image(Name=native_packer[-1][1]["name"], BlockDeviceMappings=disks)["ImageId"]
    published.listing("aws")[0].ledger.note(image=made)
    (image,) = ec2.describe_images(ImageIds=[made])["Images"]
    below = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    publish.run_remove("aws", made)
    assert _left(account)[1] == []
    assert below not in [one["SnapshotId"] for one in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]]


def test_aws_without_bucket(account):
    with pytest.raises(BuildError, match="from a bucket"):
        publish.run_cloud("aws", "cloud")
    with pytest.raises(BuildError, match="NoSuchBucket"):
        publish.run_cloud("aws", "cloud", bucket="none-of-mine")


@pytest.mark.parametrize(
    ("provider", "message"), [("aws", "from a bucket"), ("digitalocean", "none to put it at")]
)
def test_what_has_no_place_to_go_is_said_before_it_is_made(account, monkeypatch, provider, message):
    monkeypatch.setattr(publish, "prepare", lambda *_: pytest.fail("the file was made for nothing"))
    with pytest.raises(BuildError, match=message):
        publish.run_cloud(provider, "cloud", dry=True)


def test_aws_dry_run(account, capfd, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    publish.run_cloud("aws", "cloud", bucket="mine", dry=True)
    said = capfd.readouterr().err
    for call in ("s3 upload_file", "ec2 import_snapshot", "ec2 register_image", "s3 delete_object"):
        assert f"would call: {call}" in said
    assert _left(account) == ([], [], [])


def test_digitalocean_fetches_from_a_space(account, s3, monkeypatch):
    double = _running(_DigitalOcean)
    double.words = ["available"]
    monkeypatch.setattr(digitalocean, "API", double.url)
    monkeypatch.setattr(digitalocean, "SPACES", s3)
    for name, value in {
        "DIGITALOCEAN_TOKEN": TOKEN,
        "SPACES_ACCESS_KEY_ID": "k",
        "SPACES_SECRET_ACCESS_KEY": "s",
    }.items():
        monkeypatch.setenv(name, value)
    publish.run_cloud("digitalocean", "cloud", bucket="mine")
    assert re.match(rf"{s3}/mine/microblog-.*\.img\.gz\?.*(Expires|Signature)", double.images["7"]["url"])
    assert _left(account)[0] == []
    monkeypatch.delenv("SPACES_ACCESS_KEY_ID")
    double.images.clear()
    with pytest.raises(BuildError, match="none to put it at"):
        publish.run_cloud("digitalocean", "cloud", bucket="mine")
    double.shutdown()


def _rebaked(monkeypatch):
    """The image in images/out/ is another by now."""
    (file,) = paths.OUT.glob("*.qcow2")
    with file.open("ab") as out:
        out.write(bytes(65536))
    facts = manifest.load(manifest.path_for(file))
    dataclasses.replace(facts, built="2026-02-03T04:05:06Z", files=manifest.files(file)).write(file)


def test_is_taken_back_after_a_re_bake_and_from_any_region(service, monkeypatch):
    service.publish(region="eu-1")
    _rebaked(monkeypatch)
    service.remove()
    assert service.images == {}
    assert _ledgers() == []


def test_several_are_listed_and_one_is_chosen(service, monkeypatch):
    one, *_ = service.publish()
    _rebaked(monkeypatch)
    two, *_ = service.publish(region="eu-1")
    assert one != two
    with pytest.raises(BuildError, match="2 were published") as error:
        service.remove()
    assert one in error.value.hint
    assert "eu-1" in error.value.hint
    (line,) = service.remove(one)
    assert one in line
    assert set(service.images) == {two}
    with pytest.raises(BuildError, match="none-such was not published"):
        service.remove("none-such")
    with pytest.raises(BuildError, match="nothing was published"):
        service.remove(region="eu-2")
    service.publish()
    assert len(service.remove("all")) == 2
    assert service.images == {}


def test_a_dry_removal_removes_nothing(service, capfd):
    made, *_ = service.publish()
    assert service.remove(dry=True) == [line for line in service.remove(dry=True) if made in line]
    assert set(service.images) == {made}
    assert "would call: DELETE" in capfd.readouterr().err
    assert len(_ledgers()) == 1


def test_two_publishings_of_one_image_have_names_of_their_own(service):
    service.publish()
    service.publish(region="eu-1")
    names = {image.get("label", image.get("name")) for image in service.images.values()}
    assert len(names) == 2
    assert all(len(name) <= 50 for name in names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("linode --native --remove", "--native and --remove mean nothing together"),
        ("linode --native --prepare", "--native and --prepare mean nothing together"),
        ("linode --remove --prepare", "--prepare and --remove mean nothing together"),
        ("digitalocean --native --url https://x.example/i", "--native and --url mean nothing together"),
        ("digitalocean --remove --bucket b", "--remove and --bucket mean nothing together"),
        ("digitalocean --prepare --region r", "--prepare and --region mean nothing together"),
        ("digitalocean --prepare --dry-run", "--prepare and --dry-run mean nothing together"),
        ("digitalocean --bucket b --url https://x.example/i", "--bucket and --url mean nothing together"),
        ("linode --bucket b", "linode takes no --bucket"),
        ("aws --url https://x.example/i", "aws takes no --url"),
        ("linode some.qcow2 --native", "--native bakes in the cloud itself: some.qcow2"),
        ("lightsail --url https://x.example/d --remove", "--remove means nothing for lightsail"),
        ("lightsail pi --url https://x.example/d", "lightsail takes no images: not pi either"),
    ],
)
def test_combinations_that_mean_nothing_are_refused(arguments, message):
    done = CliRunner().invoke(build.main, ["publish", *arguments.split()])
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    first, second = [line.strip() for line in done.stderr.splitlines()]
    assert all(part in first for part in message.split(" and ")), first
    assert second


def _natively(provider, image, dry=False):
    return native.run(provider, image, publish.Options(native=True, dry_run=dry))


@pytest.fixture
def native_packer(definitions, cache, tmp_path, monkeypatch):
    """Packer as if it ran: what it is given, and the snapshot that it names."""
    deb = tmp_path / "microblog.deb"
    deb.write_bytes(b"")
    monkeypatch.setattr(package, "build", lambda _: deb)
    monkeypatch.setattr(packer, "version", lambda _: (1, 6, 6))
    asked = []

    def call(_executable, command, templates, _options, hear, _log):
        given = json.loads((templates / "variables.pkrvars.json").read_text())
        asked.append((command, given))
        if command == "build":
            if asked[0] == "fail":
                raise BuildError("packer build failed", "The log")
            hear(packer.Line("artifact", ["0", "id", "us-east:77"]))

    monkeypatch.setattr(packer, "call", call)
    return asked


def test_a_native_snapshot_is_found_by_remove(service, native_packer):
    made, *_ = _natively(service.name, "cloud")
    assert made == "77"
    name = native_packer[-1][1]["name"]
    service.images["77"] = {"id": 77, "name": name, "label": name, "status": "available"}
    service.remove()
    assert service.images == {}
    assert _ledgers() == []


def test_a_native_bake_that_fails_may_have_left_something(service, native_packer):
    native_packer.append("fail")
    with pytest.raises(BuildError, match="packer build failed") as error:
        _natively(service.name, "cloud")
    assert "--remove" in error.value.hint
    service.late(_name_noted())
    service.remove()
    assert service.images == {}


def test_native_bakes_the_image_that_is_named(service, native_packer, definitions):
    text = (definitions / "cloud.toml").read_text()
    (definitions / "small.toml").write_text(text.replace("packages = [", 'packages = ["tree", '))
    _natively(service.name, "small")
    assert "tree" in native_packer[-1][1]["packages"]
    with pytest.raises(BuildError, match="pi is an SD card"):
        _natively(service.name, "pi")


@pytest.mark.parametrize("provider", ["digitalocean", "linode", "aws"])
def test_the_native_template_is_valid(provider, cache, definitions, tmp_path, monkeypatch, capfd):
    executable = packer.find()
    if provider == "linode" and packer.version(executable) < (1, 7):
        pytest.skip("Debian's Packer 1.6.6 is built without this builder")
    deb = tmp_path / "microblog.deb"
    deb.write_bytes(b"")
    monkeypatch.setattr(package, "build", lambda _: deb)
    monkeypatch.setenv("PKR_VAR_token", TOKEN)
    assert _natively(provider, "cloud", dry=True)[0] == "ID"
    assert "native.sh" in capfd.readouterr().err
    assert _ledgers() == []


def test_a_native_template_that_is_broken_is_refused(cache, definitions, tmp_path, monkeypatch):
    deb = tmp_path / "microblog.deb"
    deb.write_bytes(b"")
    monkeypatch.setattr(package, "build", lambda _: deb)
    monkeypatch.setattr(native, "_SCRIPTS", {"install.sh": "none.sh"})
    with pytest.raises(BuildError, match=r"packer .* failed"):
        native.build("aws", definition.load_image("cloud"), "us-east-1", {}, dry=True)


def test_lightsail_gets_a_script_that_checks_what_it_installs(tmp_path, monkeypatch):
    deb = tmp_path / "microblog_1_all.deb"
    deb.write_bytes(b"a package")
    monkeypatch.setattr(package, "build", lambda _: deb)
    script = lightsail.script("https://x.example/microblog_1_all.deb")
    assert hashlib.sha256(b"a package").hexdigest() in script
    assert subprocess.run(["sh", "-n"], input=script.encode(), check=False).returncode == 0
    # The smallest servers have no room for it else.
    assert 0 < script.index("swapon") < script.index("$apt update")
    # Updates that the new server has begun by itself hold locks that apt-get update does not wait for.
    assert script.index("After=apt-daily.service") < script.index("$apt update")
    for bad in ("", "http://x.example/d", "https://x/'; reboot; '"):
        with pytest.raises(BuildError, match="must be able to fetch"):
            lightsail.script(bad)


@pytest.mark.parametrize(("mib", "swaps"), [(480, True), (960, True), (2048, False)])
def test_lightsails_script_makes_room_to_swap_once(tmp_path, monkeypatch, mib, swaps):
    deb = tmp_path / "microblog_1_all.deb"
    deb.write_bytes(b"a package")
    monkeypatch.setattr(package, "build", lambda _: deb)
    script = lightsail.script("https://x.example/microblog_1_all.deb").partition("\nurl=")[0]
    places = {"/proc/meminfo": "meminfo", "/swap.img": "swap.img", "/etc/fstab": "fstab", "1GiB": "1MiB"}
    for path, name in places.items():
        script = script.replace(path, name)
    (tmp_path / "meminfo").write_text(f"MemTotal:       {mib * 1024} kB\nMemFree: 9 kB\n")
    (tmp_path / "fstab").write_text("LABEL=root / ext4 defaults 0 1\n")
    (tmp_path / "swapon").write_text('#!/bin/sh\necho "$@" >> on\n')
    (tmp_path / "swapon").chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"}
    for _ in range(2):
        subprocess.run(["sh", "-c", script], env=environ, cwd=tmp_path, check=True)
    swap = tmp_path / "swap.img"
    assert swap.exists() == swaps
    assert (tmp_path / "fstab").read_text().count("swap.img none swap sw 0 0\n") == swaps
    if swaps:
        assert (tmp_path / "on").read_text() == "swap.img\n"
        assert swap.stat().st_mode & 0o777 == 0o600
        # mkswap(8): what it writes at the end of the first page.
        assert swap.read_bytes()[4086:4096] == b"SWAPSPACE2"


def test_the_example_for_cloud_init_is_what_it_reads():
    read = yaml.safe_load((paths.ROOT / cloud.USER_DATA).read_text())
    assert set(read) == {"ssh_authorized_keys", "write_files", "runcmd"}
    assert read["write_files"][0]["path"] == "/etc/microblog/microblog.env"
