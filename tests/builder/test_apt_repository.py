"""The apt repository: what it keeps, who signs it, where it is put; machines read it in tests/package."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from builder.core.errors import BuildError
from builder.deb import package, repository
from builder.ship import packages
from microblog.host.updates import automatic

POOL = "pool/main/m/microblog"
LISTS = "dists/stable"


@pytest.fixture
def home(monkeypatch):
    """Where keys are kept: gpg-agent's sockets bear no path of more than 107 characters (unix(7))."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        monkeypatch.setenv("XDG_DATA_HOME", name)
        monkeypatch.setenv("GNUPGHOME", f"{name}/elsewhere")
        Path(name, "elsewhere").mkdir(mode=0o700)
        yield Path(name)


@pytest.fixture
def built(tmp_path, monkeypatch):
    """``built(version)``: a package of that version is what the next build makes."""

    def build(version):
        tree = tmp_path / version / "DEBIAN"
        tree.mkdir(parents=True)
        (tree / "control").write_text(
            f"Package: microblog\nVersion: {version}\nArchitecture: all\n"
            "Maintainer: x <x@localhost>\nDescription: x\n"
        )
        made = tmp_path / f"microblog_{version}_all.deb"
        command = ["dpkg-deb", "--root-owner-group", "--build", tree.parent, made]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        monkeypatch.setattr(package, "build", lambda: made)

    return build


def versions(folder):
    text = (folder / LISTS / "main/binary-arm64/Packages").read_text()
    return sorted(line.split()[1] for line in text.splitlines() if line.startswith("Version:"))


def test_versions_are_kept_to_go_back_to(home, built, tmp_path):
    folder = tmp_path / "repository"
    for version in ("1.9", "1.10", "1.8", "1.11"):
        built(version)
        repository.make(folder, keep=2)
    # By Debian's order, not by time or letters.
    assert versions(folder) == ["1.10", "1.11"]
    assert sorted(path.name for path in (folder / POOL).iterdir()) == [
        "microblog_1.10_all.deb",
        "microblog_1.11_all.deb",
    ]
    assert not (folder / repository.UNSIGNED).exists()
    assert "Signed-By:\n -----BEGIN PGP" in (folder / repository.SOURCES_FILE).read_text()
    # By which a machine, or an image that has it, takes its packages by night.
    release = (folder / LISTS / "Release").read_text()
    assert f"origin={re.findall('(?m)^Origin: (.*)$', release)[0]}" == automatic._ORIGIN


def test_what_machines_are_told_of_stays_until_the_next_is_signed(home, built, tmp_path):
    folder = tmp_path / "repository"
    for version in ("1", "2"):
        built(version)
        repository.make(folder, keep=1)
        built(f"{version}.1")
        unsigned = repository.prepare(folder, keep=1)
        assert versions(folder) == [version]
        assert (folder / POOL / f"microblog_{version}_all.deb").is_file()
        text = (unsigned.parent / "main/binary-amd64/Packages").read_text()
        assert text.count("Version: ") == text.count(f"Version: {version}.1\n") == 1


def gpg(*arguments):
    return subprocess.run(["gpg", "--batch", *arguments], check=True, capture_output=True, text=True).stdout


def test_the_key_may_be_on_another_machine(home, built, tmp_path):
    folder = tmp_path / "repository"
    with pytest.raises(BuildError, match="nothing was prepared"):
        repository.finish(folder)
    built("1")
    unsigned = repository.prepare(folder)
    # What machines read is not touched until it is signed.
    assert not (folder / "dists").exists()
    with pytest.raises(BuildError, match="InRelease is missing"):
        repository.finish(folder)
    for name in ("owner", "stranger"):
        gpg("--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "never")
    signed, key = unsigned.with_name("InRelease"), unsigned.with_name("microblog.asc")
    key.write_text(gpg("--armor", "--export", "owner"))

    def sign(name):
        gpg("--yes", "--local-user", name, "--clearsign", "--output", str(signed), str(unsigned))

    sign("stranger")
    with pytest.raises(BuildError, match="is not signed by the key"):
        repository.finish(folder)
    sign("owner")
    text = unsigned.read_text()
    unsigned.write_text(text + "Changed: since\n")
    with pytest.raises(BuildError, match="signs another Release"):
        repository.finish(folder)
    unsigned.write_text(text)
    repository.finish(folder, "https://apt.example.org")
    assert versions(folder) == ["1"]
    assert "URIs: https://apt.example.org" in (folder / repository.SOURCES_FILE).read_text()
    # The next one is by the same key, without its being given again; and by no other.
    built("2")
    unsigned = repository.prepare(folder)
    sign("stranger")
    with pytest.raises(BuildError, match="is not signed by the key"):
        repository.finish(folder)
    assert versions(folder) == ["1"]
    sign("owner")
    repository.finish(folder)
    assert versions(folder) == ["1", "2"]


@pytest.fixture
def store(monkeypatch):
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="apt")
    yield client
    server.stop()


def objects(store):
    found = store.list_objects_v2(Bucket="apt").get("Contents", ())
    return {entry["Key"]: entry["LastModified"] for entry in found}


def shown(folder):
    return {
        str(path.relative_to(folder))
        for name in repository.PUBLISHED
        for path in [folder / name, *(folder / name).rglob("*")]
        if path.is_file()
    }


def test_it_is_put_into_a_bucket(home, built, tmp_path, store):
    folder = tmp_path / "repository"
    built("1")
    repository.make(folder, keep=1)
    store.put_object(Bucket="apt", Key="site/of/somebody", Body=b"x")
    packages.publish(folder, "s3://apt/debian/")
    there = objects(store)
    assert there.keys() == {"site/of/somebody", *(f"debian/{name}" for name in shown(folder))}
    body = store.get_object(Bucket="apt", Key="debian/dists/stable/InRelease")["Body"].read()
    assert body == (folder / LISTS / "InRelease").read_bytes()
    # The next version: what nobody lists any more goes, what is somebody else's stays.
    built("2")
    repository.make(folder, keep=1)
    packages.publish(folder, "s3://apt/debian")
    assert objects(store).keys() == {"site/of/somebody", *(f"debian/{name}" for name in shown(folder))}
    assert f"debian/{POOL}/microblog_1_all.deb" not in objects(store)
    with pytest.raises(BuildError, match="NoSuchBucket"):
        packages.publish(folder, "s3://nosuch")


@pytest.mark.parametrize("where", ["s3://apt", "s3://apt/debian/", "host:/srv/apt", "me@host::apt",
                                   "rsync://host/apt", "/srv/apt", "apt", None])  # fmt: skip
def test_where_it_can_be_put(where):
    packages.look_at(where)


@pytest.mark.parametrize("where", ["ftp://x", "https://x/apt", "sftp://x/apt", "file:///srv/apt", "s3://",
                                   "s3:///apt", "rsync://", "--delete", ""])  # fmt: skip
def test_where_it_can_not_be_put(where):
    with pytest.raises(BuildError, match="is no place that a repository can be put to") as error:
        packages.look_at(where)
    assert "s3://BUCKET" in error.value.hint and "HOST:/FOLDER" in error.value.hint


@pytest.mark.parametrize("url", ["https://apt.example.org", "http://127.0.0.1:1/a", "file:///srv/apt", None])
def test_where_machines_can_find_it(url):
    repository.look_at(url)


@pytest.mark.parametrize("url", ["ftp://x", "apt.example.org", "/srv/apt", "https://a b", ""])
def test_where_machines_can_not_find_it(url):
    with pytest.raises(BuildError, match="is no address of a repository"):
        repository.look_at(url)


def test_what_signs_is_put_there_last(home, built, tmp_path):
    built("1")
    order = [path.name for path in packages._files(repository.make(tmp_path / "repository"))]
    assert order.index("microblog_1_all.deb") < order.index("Packages") < order.index("Release")
    assert order.index("Release") < order.index("InRelease")


def test_it_is_put_elsewhere_by_rsync(home, built, tmp_path):
    folder, place = tmp_path / "repository", tmp_path / "place"
    place.mkdir()
    (place / "index.html").write_text("somebody's")
    others = [place / name for name in ("pool/main/o/other/other_1_all.deb", "dists/testing/InRelease")]
    for path in others:
        path.parent.mkdir(parents=True)
        path.touch()
    for version in ("1", "2"):
        built(version)
        repository.make(folder, keep=1)
        packages.publish(folder, str(place))
        assert shown(place) - {str(path.relative_to(place)) for path in others} == shown(folder)
    assert all(path.exists() for path in others)
    assert (place / "index.html").read_text() == "somebody's"
    with pytest.raises(BuildError, match="rsync failed"):
        packages.publish(folder, str(tmp_path / "no/such/folder"))
    shutil.rmtree(place)
