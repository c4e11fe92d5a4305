"""Publishing: AWS against moto, the others against doubles of their published APIs on loopback."""

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
from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response
from moto.server import ThreadedMotoServer

from builder import lightsail, native, package, packer, paths, publish
from builder.clouds import cloud, digitalocean, linode, rest
from builder.errors import BuildError

TOKEN = "a-token-that-nobody-prints"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(cloud, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(rest, "PAUSE_SECONDS", 0.0)


class Double(http.server.ThreadingHTTPServer):
    """Images of an account. ``faults``: answers given first, by method; ``words``: statuses, in turn."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.calls, self.images, self.faults, self.words, self.uploaded = [], {}, {}, [], b""


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
            return self._answer(200, {"image": image, "upload_to": f"{self.server.url}/upload/{number}"})
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
            self.server.images["7"] = {"id": 7, "status": "NEW", "error_message": "", "url": body["url"]}
            return self._answer(202, {"image": self.server.images["7"]})
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
    service.publish(remove=True)
    assert service.images == {}
    assert _ledgers() == []
    with pytest.raises(BuildError, match="nothing was published"):
        service.publish(remove=True)


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


def test_a_failing_creation_is_not_repeated(service):
    service.faults["POST"] = [503]
    with pytest.raises(BuildError, match="503"):
        service.publish()
    assert [method for method, _ in service.calls] == ["POST"]


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
    service.publish(remove=True)
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
    (line,) = service.publish(only_prepare=True)
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
        return ActionResult({"ImportTaskId": "import-snap-1", "SnapshotTaskDetail": {"Status": "active"}})

    def describe_import_snapshot_tasks(self):
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
CANCELLED: list[str] = []
REGISTERED: list[dict] = []
_KEYS = {"region_name": "us-east-1", "aws_access_key_id": "k", "aws_secret_access_key": "s"}


@pytest.fixture
def account(s3, baked, monkeypatch):
    """An account with AWS: its two clients."""
    WORDS[:], CANCELLED[:], REGISTERED[:] = ["active", "completed"], [], []
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
         if row["Description"] == "x"],
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
    publish.run_cloud("aws", "cloud", bucket="mine", remove=True)
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


def test_aws_without_bucket(account):
    with pytest.raises(BuildError, match="from a bucket"):
        publish.run_cloud("aws", "cloud")
    with pytest.raises(BuildError, match="NoSuchBucket"):
        publish.run_cloud("aws", "cloud", bucket="none-of-mine")


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


@pytest.mark.parametrize("provider", ["digitalocean", "linode", "aws"])
def test_the_native_template_is_valid(provider, cache, definitions, tmp_path, monkeypatch, capfd):
    executable = packer.find()
    if provider == "linode" and packer.version(executable) < (1, 7):
        pytest.skip("Debian's Packer 1.6.6 is built without this builder")
    deb = tmp_path / "microblog.deb"
    deb.write_bytes(b"")
    monkeypatch.setattr(package, "build", lambda _: deb)
    monkeypatch.setenv("PKR_VAR_token", TOKEN)
    assert publish.run_native(provider, dry=True)[0] == "ID"
    assert "native.sh" in capfd.readouterr().err


def test_a_native_template_that_is_broken_is_refused(cache, definitions, tmp_path, monkeypatch):
    deb = tmp_path / "microblog.deb"
    deb.write_bytes(b"")
    monkeypatch.setattr(package, "build", lambda _: deb)
    monkeypatch.setattr(native, "_SCRIPTS", {"install.sh": "none.sh"})
    with pytest.raises(BuildError, match=r"packer .* failed"):
        native.build("aws", "us-east-1", {}, dry=True)


def test_lightsail_gets_a_script_that_checks_what_it_installs(tmp_path, monkeypatch):
    deb = tmp_path / "microblog_1_all.deb"
    deb.write_bytes(b"a package")
    monkeypatch.setattr(package, "build", lambda _: deb)
    script = lightsail.script("https://x.example/microblog_1_all.deb")
    assert hashlib.sha256(b"a package").hexdigest() in script
    assert subprocess.run(["sh", "-n"], input=script.encode(), check=False).returncode == 0
    # Updates that the new server has begun by itself hold locks that apt-get update does not wait for.
    assert script.index("After=apt-daily.service") < script.index("$apt update")
    for bad in ("", "http://x.example/d", "https://x/'; reboot; '"):
        with pytest.raises(BuildError, match="must be able to fetch"):
            lightsail.script(bad)


def test_the_example_for_cloud_init_is_what_it_reads():
    read = yaml.safe_load((paths.ROOT / cloud.USER_DATA).read_text())
    assert set(read) == {"ssh_authorized_keys", "write_files", "runcmd"}
    assert read["write_files"][0]["path"] == "/etc/microblog/microblog.env"
