"""What is, and what must not be, in the image before it ever ran."""

import hashlib
import json
import subprocess

import pytest
from conftest import found

from builder.core import paths
from builder.core.command import program
from builder.core.errors import BuildError
from builder.disk.ext4 import FileSystem
from builder.disk.formats.qcow2 import virtual_size
from builder.results import library


@pytest.fixture(scope="module")
def root(raw):
    return FileSystem.root_of(raw)


def test_manifest_tells_what_is_in_the_image(image):
    facts = image.facts
    assert len(facts.base.sha256) == len(facts.deb.sha256) == 64
    packages = {package.name: package for package in facts.packages}
    assert packages["microblog"].version == facts.version
    assert packages["microblog"].architecture == "all"
    assert {"supervisor", "gunicorn", "ufw"} <= set(packages)
    assert all(facts.seconds[phase] >= 0 for phase in ("boot", "prepare", "install", "clean", "pack"))
    file = facts.image
    assert file.name == image.image.name
    assert file.bytes == image.image.stat().st_size
    assert facts.base.name in image.image.name


def test_checksums_are_right(image):
    subprocess.run(["sha256sum", "--check", "--strict", image.sums.name], cwd=image.sums.parent, check=True)


# What 'microblog https' and 'harden' would have to fetch, whoever else needs it too.
_FOR_COMMANDS = {
    *("certbot", "python3-certbot", "python3-acme", "python3-josepy", "python3-configargparse"),
    *("python3-configobj", "python3-parsedatetime", "python3-rfc3339", "python3-openssl", "python3-distro"),
    *("python3-requests", "python3-cryptography", "python3-tz", "fail2ban", "python3-systemd"),
}


@pytest.mark.cloud
def test_what_the_commands_need_takes_little_room(image, record_testsuite_property):
    sizes = {package.name: package.installed_kib for package in image.facts.packages}
    assert {"certbot", "fail2ban"} <= set(sizes)
    mib = sum(kib for name, kib in sizes.items() if name in _FOR_COMMANDS) / 1024
    record_testsuite_property("certbot_fail2ban_mib", f"{mib:.1f}")
    assert mib < 15


@pytest.mark.cloud
def test_image_is_compressed_with_zstd(image):
    told = json.loads(
        subprocess.run(
            ["qemu-img", "info", "--output=json", image.image], capture_output=True, check=True
        ).stdout
    )
    assert told["format-specific"]["data"]["compression-type"] == "zstd"
    assert "backing-filename" not in told


@pytest.mark.parametrize(
    "directory",
    [
        "/var/lib/apt/lists",
        "/var/cache/apt/archives",
        "/var/lib/cloud",
        "/var/log/journal",
        "/var/lib/microblog",
        "/root/.ssh",
        "/tmp",
        "/var/tmp",
    ],
)
def test_directory_is_empty(root, directory):
    assert [name for name in root.names(directory) if name not in ("lock", "partial", "auxfiles")] == []


@pytest.mark.cloud
def test_the_database_server_has_its_own_tables(root):
    """Where its package could not make them, under another processor's emulation, it said nothing."""
    assert root.names("/var/lib/mysql/mysql")


@pytest.mark.parametrize(
    ("directory", "start"),
    [
        pytest.param("/etc/microblog", "microblog.env", marks=pytest.mark.cloud),
        ("/etc/microblog", "tls"),
        ("/etc/ssh", "ssh_host_"),
        ("/var/lib/mysql", "auto.cnf"),
        ("/var/lib/mysql", "microblog"),
        ("/var/lib/mysql", "ca-key.pem"),
        ("/var/lib/mysql", "server-key.pem"),
        ("/var/lib/mysql", "private_key.pem"),
        ("/etc/ssl/private", "ssl-cert-snakeoil"),
        ("/var/lib/systemd", "random-seed"),
        ("/var/lib/systemd", "credential.secret"),
        ("/etc/systemd/network", "10-cloud-init"),
        ("/usr/sbin", "policy-rc.d"),
        ("/etc/dpkg/dpkg.cfg.d", "bake"),
        ("/etc/systemd/system", "bake.target"),
        ("/etc/systemd/system", "default.target.base"),
        ("/var/lib/snapd/device", "private-keys"),
        ("/etc/sudoers.d", "90-cloud-init"),
        ("/etc/nginx/sites-enabled", "microblog"),
        ("/etc/supervisor/conf.d", "microblog"),
    ],
)
def test_file_is_not_there(root, directory, start):
    assert [name for name in root.names(directory) if name.startswith(start)] == []


def test_has_no_machine_id(root):
    assert "machine-id" in root.names("/etc")
    assert root.read("/etc/machine-id") == b""
    assert "machine-id" not in root.names("/var/lib/dbus")


def test_has_no_logs(root):
    kept = [name for name in root.names("/var/log") if "." in name or name in ("syslog", "wtmp", "lastlog")]
    assert kept == []


def test_no_account_has_a_password(root):
    shadow = root.read("/etc/shadow").decode().splitlines()
    assert {line.split(":")[1] for line in shadow} <= {"*", "!", "!*", "!!", "x"}


def test_the_bake_left_no_key_behind(raw):
    """The key that Packer logged in with is nowhere, not in free space either."""
    assert found(raw, b"ssh-ed25519 ", rb"[A-Za-z0-9+/=]+ build\.py") == []
    assert found(raw, b"-----BEGIN OPENSSH PRIVATE KEY-----\n", rb"[A-Za-z0-9+/=]{60}") == []


def test_file_system_was_left_in_order(root):
    """No journal to replay, nothing to repair: what is in the image is all there is."""
    done = subprocess.run(
        [program("e2fsck", "e2fsprogs"), "-fn", f"{root.image}?offset={root.offset}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_what_its_base_leaves_out_is_not_in_it(image, root):
    """In one that was composed here; a publisher's is as he makes it."""
    rules = [name for name in root.names("/etc/dpkg/dpkg.cfg.d") if name.startswith("leave-out")]
    assert bool(rules) == (image.facts.base.source is None)
    if rules:
        # Of what is not there dpkg makes the directories all the same, and links.
        translated = {
            name: root.names(f"/usr/share/locale/{name}/LC_MESSAGES") for name in ("de", "fr", "es", "ru")
        }
        assert {name for name, files in translated.items() if files} == {"es", "ru"}
        assert "copyright" in root.names("/usr/share/doc/nginx")
        assert not [name for name in root.names("/usr/share/doc/bash") if name.startswith("changelog")]
        assert "bash.1.gz" in root.names("/usr/share/man/man1")


def test_disk_is_as_small_as_the_bases(image):
    assert virtual_size(image.image) <= 5 << 30


def test_a_changed_image_is_noticed(image, tmp_path):
    """What does not fit its manifest is neither booted nor believed."""
    copy = tmp_path / image.image.name
    copy.write_bytes(image.image.read_bytes()[:-1] + b"?")
    (tmp_path / image.manifest.name).write_bytes(image.manifest.read_bytes())
    with pytest.raises(BuildError, match="is not the file that its manifest tells of"):
        library.find(str(copy))
    assert hashlib.sha256(copy.read_bytes()).hexdigest() != image.facts.image.sha256
    assert paths.OUT.is_dir()
