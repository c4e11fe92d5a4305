"""Publishers' images, from a server on loopback that speaks TLS, signed with keys made for the test."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from builder.bases import base, download, signature, upstream
from builder.core import paths
from builder.core.errors import BuildError
from builder.defs import definition
from builder.disk.ext4 import FileSystem

NAME = "system-amd64.img"


def _half(out, body):
    out.write(body[: len(body) // 2])


def _silence(out, body):
    out.write(body[:10])
    out.flush()
    time.sleep(1)  # longer than the client waits


@pytest.fixture
def release(server, keys):
    """Publish a release; returns the definition of its base."""

    def publish(content=b"a disk" * 5000, by=("good",), date="20260101", name=NAME, listing=True):
        folder = f"/releases/release-{date}"
        rows = {"else.img": b"else", name: content}
        sums = "".join(f"{hashlib.sha256(what).hexdigest()} *{row}\n" for row, what in rows.items())
        server.files |= {
            f"{folder}/{name}": content,
            f"{folder}/SHA256SUMS": sums.encode(),
            f"{folder}/SHA256SUMS.gpg": keys.sign(sums.encode(), *by),
        }
        if listing:
            links = server.files.get("/releases/", b"").decode()
            server.files["/releases/"] = f'{links}<a href="release-{date}/">release-{date}/</a>\n'.encode()
        return definition.DownloadedBase(
            name="system", description="", architecture="amd64", user="u",
            url=f"{server.url}/releases/release-{{date}}/{name}",
            sums="SHA256SUMS", signature="SHA256SUMS.gpg", key=keys.made["good"],
        )  # fmt: skip

    return publish


def _kept(cache):
    return [path.name for path in (cache / "downloads").rglob("*") if path.is_file()]


def test_the_newest_is_taken_checked_and_told_of(release, server, keys):
    release(b"old", date="20251231.1")
    release(b"older", date="20251231")
    wanted = release(b"new", date="20260102")
    got = upstream.obtain(wanted)
    assert got.file.read_bytes() == b"new"
    assert got.source == {
        "url": f"{server.url}/releases/release-20260102/{NAME}",
        "sha256": hashlib.sha256(b"new").hexdigest(),
        "signed_by": keys.made["good"],
    }


def test_the_signature_comes_before_the_image(release, server):
    upstream.obtain(release())
    asked = [path.rpartition("/")[2] for path, _ in server.asked if path.startswith("/releases/")]
    assert asked == ["", "SHA256SUMS", "SHA256SUMS.gpg", NAME]


def test_one_good_signature_of_several_is_enough(release):
    assert upstream.obtain(release(by=("other", "good"))).file.exists()


@pytest.mark.parametrize(
    ("by", "why"),
    [
        (["other"], "signed with another key"),
        (["expired"], "signed with another key"),
    ],
)
def test_another_key_is_refused(release, server, cache, by, why):
    with pytest.raises(BuildError, match=why) as error:
        upstream.obtain(release(by=by))
    assert "Do not use it" in error.value.hint
    assert NAME not in "".join(path for path, _ in server.asked)
    assert _kept(cache) == []


def test_an_expired_key_is_refused(release, keys):
    wanted = dataclasses.replace(release(by=["expired"]), key=keys.made["expired"])
    with pytest.raises(BuildError, match="a key that has expired"):
        upstream.obtain(wanted)


def test_a_revoked_key_is_refused(server, keys, tmp_path):
    content, by_revoked = keys.by_revoked
    (tmp_path / "words").write_bytes(content)
    (tmp_path / "words.sig").write_bytes(by_revoked)
    with pytest.raises(BuildError, match="its owner revoked"):
        signature.verify(tmp_path / "words", tmp_path / "words.sig", keys.made["revoked"])


def test_a_key_that_was_prolonged_is_fetched_anew(release, server, keys, definitions):
    wanted = dataclasses.replace(release(by=["renewed"]), key=keys.made["renewed"])
    (definitions / "keys" / f"{wanted.key}.asc").write_bytes(keys.before)
    upstream.obtain(wanted)
    assert [path for path, _ in server.asked].count(f"/keys/{wanted.key}") == 1
    upstream.obtain(wanted)
    assert [path for path, _ in server.asked].count(f"/keys/{wanted.key}") == 1


def test_a_key_that_has_expired_without_a_key_server_keeps_what_came(
    signed_image, server, keys, definitions, cache
):
    """Nothing is wrong with the image: it is there, checked, as soon as the key is."""
    wanted = dataclasses.replace(signed_image(by="renewed"), key=keys.made["renewed"])
    (definitions / "keys" / f"{wanted.key}.asc").write_bytes(keys.before)
    del server.files[f"/keys/{wanted.key}"]
    with pytest.raises(BuildError, match="a key that has expired"):
        upstream.obtain(wanted)
    assert "2026-01-01-system.img" in _kept(cache)


def test_a_key_server_that_is_down_costs_no_download(signed_image, server, keys):
    wanted = signed_image()
    key = server.files.pop(f"/keys/{wanted.key}")
    with pytest.raises(BuildError, match="/keys/"):
        upstream.obtain(wanted)
    assert not [path for path, _ in server.asked if path.endswith(".img")]
    server.files[f"/keys/{wanted.key}"] = key
    upstream.obtain(wanted)


def test_a_key_that_is_lost_between_costs_no_second_download(signed_image, server, keys, monkeypatch, cache):
    """As a key server that fails when the image is there."""
    wanted = signed_image()
    with monkeypatch.context() as without:
        without.setattr(upstream.signature, "verify", _unavailable)
        with pytest.raises(BuildError, match="key server"):
            upstream.obtain(wanted)
    server.faults["/latest"] = ["/images/2026-01-01-system.img"]
    server.asked.clear()
    upstream.obtain(wanted)
    assert [path for path, asked in server.asked if path.endswith(".img") and asked != "bytes=0-0"] == []


def _unavailable(*_):
    raise BuildError("the key server is down", "Later")


def test_a_release_that_is_published_by_half_is_passed_over(release, server, capfd):
    wanted = release(b"whole", date="20260101")
    assert upstream.obtain(wanted).file.read_bytes() == b"whole"
    release(b"half", date="20260102")
    for missing in (NAME, "SHA256SUMS.gpg", "SHA256SUMS"):
        del server.files[f"/releases/release-20260102/{missing}"]
        server.asked.clear()
        assert upstream.obtain(wanted).file.read_bytes() == b"whole"
        assert not [path for path, _ in server.asked if path == f"/releases/release-20260101/{NAME}"]
        assert "published by half" in capfd.readouterr().err
    del server.files["/releases/release-20260101/SHA256SUMS"]


def test_what_was_right_stays_where_the_newer_is_wrong(release, server, cache):
    wanted = release(b"right", date="20260101")
    upstream.obtain(wanted)
    release(b"wrong", date="20260102", by=["other"])
    with pytest.raises(BuildError, match="signed with another key"):
        upstream.obtain(wanted)
    assert NAME in _kept(cache)


def test_a_genuine_older_file_at_hand_is_taken(release, server, tmp_path):
    wanted = release(b"older", date="20260101")
    release(b"newer", date="20260102")
    (tmp_path / NAME).write_bytes(b"older")
    got = upstream.obtain(wanted, tmp_path / NAME)
    assert got.source["url"].endswith(f"release-20260101/{NAME}")
    (tmp_path / NAME).write_bytes(b"none of theirs")
    with pytest.raises(BuildError, match="none that its publisher offers") as error:
        upstream.obtain(wanted, tmp_path / NAME)
    assert "SHA256SUMS and SHA256SUMS.gpg" in error.value.hint


def test_the_key_server_gives_another_key(release, server, keys, cache):
    server.files[f"/keys/{keys.made['good']}"] = server.files[f"/keys/{keys.made['other']}"]
    with pytest.raises(BuildError, match="gave another key"):
        upstream.obtain(release())
    assert list((cache / "keys").iterdir()) == []


def test_a_key_that_is_shipped_is_not_fetched(release, server, keys, definitions):
    wanted = release()
    (definitions / "keys").mkdir(exist_ok=True)
    (definitions / "keys" / f"{keys.made['good']}.asc").write_bytes(keys.public("good"))
    upstream.obtain(wanted)
    assert not any(path.startswith("/keys/") for path, _ in server.asked)


def test_tampered_sums_are_refused_and_nothing_kept(release, server, cache):
    wanted = release()
    server.files["/releases/release-20260101/SHA256SUMS"] += b"0" * 64 + b" *more.img\n"
    with pytest.raises(BuildError, match="not what the publisher signed"):
        upstream.obtain(wanted)
    assert _kept(cache) == []


def test_what_is_no_signature_is_refused(release, server):
    wanted = release()
    server.files["/releases/release-20260101/SHA256SUMS.gpg"] = b"<html>Welcome to our hotel</html>"
    with pytest.raises(BuildError, match="its signature is none"):
        upstream.obtain(wanted)


def test_a_tampered_image_is_refused_and_nothing_kept(release, server, cache):
    wanted = release()
    path = f"/releases/release-20260101/{NAME}"
    server.files[path] = server.files[path][:-1] + b"?"
    with pytest.raises(BuildError, match=r"not .* as its publisher says") as error:
        upstream.obtain(wanted)
    assert "Do not use it" in error.value.hint
    assert _kept(cache) == []


def test_sums_without_the_image_are_refused(release, server):
    wanted = release(name="another.img")
    server.files[f"/releases/release-20260101/{NAME}"] = b"x"
    wanted = dataclasses.replace(wanted, url=wanted.url.replace("another.img", NAME))
    with pytest.raises(BuildError, match=f"no checksum for {NAME}"):
        upstream.obtain(wanted)


def test_latest_is_what_its_server_redirects_to(signed_image, server):
    got = upstream.obtain(signed_image())
    assert got.source["url"] == f"{server.url}/images/2026-01-01-system.img"


def test_an_image_that_is_not_the_signed_one_is_refused(signed_image, cache):
    with pytest.raises(BuildError, match="not what the publisher signed"):
        upstream.obtain(signed_image(signed=b"another"))
    assert _kept(cache) == []


def test_a_redirect_out_of_tls_is_refused(release, server):
    wanted = release()
    server.faults[f"/releases/release-20260101/{NAME}"] = [f"http://127.0.0.1:9/{NAME}"]
    with pytest.raises(BuildError, match="leads to http:"):
        upstream.obtain(wanted)


def test_an_unknown_authority_is_refused(release, monkeypatch):
    wanted = release()
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(BuildError, match=r"can't be downloaded: .*certificate"):
        upstream.obtain(wanted)


@pytest.mark.parametrize("fault", [503, 429, _half, _silence], ids=["503", "429", "half", "silence"])
def test_what_passes_is_tried_again(release, server, monkeypatch, fault, capfd):
    monkeypatch.setattr(download, "READ_SECONDS", 0.3)
    wanted = release()
    server.faults[f"/releases/release-20260101/{NAME}"] = [fault, fault]
    assert upstream.obtain(wanted).file.read_bytes() == b"a disk" * 5000
    assert "attempt 3 of 4" in capfd.readouterr().err


def test_what_came_is_not_fetched_twice(release, server):
    wanted = release(b"x" * 1_000_000)
    server.faults[f"/releases/release-20260101/{NAME}"] = [_half] * 4
    with pytest.raises(BuildError, match="can't be downloaded") as error:
        upstream.obtain(wanted)
    assert "again to resume" in error.value.hint
    server.asked.clear()
    upstream.obtain(wanted)
    (asked,) = [asked for path, asked in server.asked if path.endswith(NAME)]
    assert int(re.match(r"bytes=(\d+)-", asked)[1]) > 500_000


def test_404_is_said_at_once(release, server):
    wanted = release()
    del server.files[f"/releases/release-20260101/{NAME}"]
    with pytest.raises(BuildError, match="it answers 404"):
        upstream.obtain(wanted)
    assert len([path for path, _ in server.asked if path.endswith(NAME)]) == 1


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:9/x", "https://none.invalid/x"], ids=["refused", "no name"]
)
def test_a_server_that_is_not_there_costs_no_time(url, monkeypatch, cache):
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 1000.0)
    with pytest.raises(BuildError, match="can't be downloaded") as error:
        download.small(url)
    assert "object at 0x" not in error.value.message


def test_a_disk_that_fills_up_is_one_clear_line(server, tmp_path):
    """/dev/full takes nothing (full(4))."""
    server.files["/x"] = b"x" * 200_000
    (tmp_path / "x.part").symlink_to("/dev/full")
    with pytest.raises(BuildError, match="the disk is full"):
        download.fetch(f"{server.url}/x", tmp_path / "x")


def test_a_proxy_is_used(release, monkeypatch):
    wanted = release()
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(BuildError, match=r"[Pp]roxy"):
        upstream.obtain(wanted)


def test_a_mirror_is_used_instead(release, server, monkeypatch):
    wanted = dataclasses.replace(release(), url=f"https://upstream.invalid/releases/release-{{date}}/{NAME}")
    monkeypatch.setenv(
        "MICROBLOG_MIRRORS", f"https://none.invalid=x:// https://upstream.invalid={server.url}"
    )
    assert upstream.obtain(wanted).source["url"].startswith(server.url)
    monkeypatch.setenv("MICROBLOG_MIRRORS", "https://upstream.invalid")
    with pytest.raises(BuildError, match="MICROBLOG_MIRRORS has"):
        upstream.obtain(wanted)


@pytest.fixture
def at_hand(release, server, tmp_path):
    """A release's files on a disk, and no server."""
    wanted = release()
    for name in (NAME, "SHA256SUMS", "SHA256SUMS.gpg"):
        (tmp_path / name).write_bytes(server.files.pop(f"/releases/release-20260101/{name}"))
    del server.files["/releases/"]
    return wanted, tmp_path / NAME


def test_a_file_at_hand_needs_no_server(at_hand):
    wanted, file = at_hand
    assert upstream.obtain(wanted, file).source == {
        "file": NAME, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "signed_by": wanted.key
    }  # fmt: skip


def test_a_file_at_hand_is_checked_too(at_hand):
    wanted, file = at_hand
    file.write_bytes(b"another")
    with pytest.raises(BuildError, match="as its publisher says"):
        upstream.obtain(wanted, file)
    assert file.read_bytes() == b"another"


def test_a_file_at_hand_without_signature_and_server_is_refused(at_hand):
    wanted, file = at_hand
    file.with_name("SHA256SUMS.gpg").unlink()
    with pytest.raises(BuildError, match="can't be downloaded"):
        upstream.obtain(wanted, file)


def _disk(work: Path, table: str, boot: bool, size: int = 32) -> bytes:
    """A small disk: a partition table, and on it a system with what a base must have."""
    root, kernels = work / "root", work / "kernels"
    for directory in (
        "boot",
        "var/lib/dpkg",
        "etc/apt/sources.list.d",
        "etc/systemd/system",
        "usr/share/keyrings",
    ):
        (root / directory).mkdir(parents=True)
    kernels.mkdir()
    ((kernels if boot else root / "boot") / "vmlinuz-1").write_bytes(b"a kernel")
    (root / "var/lib/dpkg/status").write_text("")
    (root / "etc/apt/sources.list").write_text(
        "deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] http://a b c\n"
    )
    (root / "etc/apt/sources.list.d/u.sources").write_text(
        "Types: deb\nSigned-By: /usr/x\n more\nSuites: b\n"
    )
    (root / "usr/share/keyrings/ubuntu-archive-keyring.pgp").write_bytes(b"a key")
    raw = work / "disk.raw"
    raw.write_bytes(b"")
    os.truncate(raw, size << 20)
    subprocess.run(["/usr/sbin/sfdisk", "--quiet", raw], input=table, text=True, check=True)
    parts = [(root, 16 << 20)] + ([(kernels, 4 << 20)] if boot else [])
    for tree, offset in parts:
        blocks = "8M" if tree == kernels else "15M"
        subprocess.run(
            ["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={offset}", "-d", tree, raw, blocks],
            check=True,
        )
    return raw.read_bytes()


_GPT_WITH_BOOT = (
    "label: gpt\nsize=8M, start=4M, type=BC13C2FF-59E6-4262-A352-B275FD6F7172\nstart=16M, size=15M, type=L\n"
)
_MBR = "label: dos\nstart=8M, size=8M, type=c\nstart=16M, size=15M, type=83\n"


@pytest.mark.parametrize(
    ("table", "ending", "packer"),
    [
        (_GPT_WITH_BOOT, ".img.zst", ["zstd", "-qc"]),
        (_MBR, ".img.xz", ["xz", "-c"]),
        (_MBR, ".img.gz", ["gzip", "-c"]),
    ],
    ids=["gpt zst", "mbr xz", "mbr gz"],
)
def test_a_publishers_disk_becomes_a_base_with_room(release, tmp_path, table, ending, packer):
    content = _disk(tmp_path, table, "gpt" in table)
    packed = subprocess.run(packer, input=content, capture_output=True, check=True).stdout
    wanted = dataclasses.replace(release(packed, name=f"system{ending}"), disk_size="64M")
    made = base.get(wanted)
    assert made.kernel.read_bytes() == b"a kernel"
    assert "signed-by" not in (made.apt / "sources.list").read_text()
    assert (made.apt / "sources.list.d/u.sources").read_text() == "Types: deb\nSuites: b\n"
    assert (made.apt / "trusted.gpg.d/ubuntu-archive-keyring.gpg").read_bytes() == b"a key"
    assert json.loads((made.directory / "base.json").read_text())["source"]["signed_by"] == wanted.key

    raw = tmp_path / "grown.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", made.disk, raw], check=True)
    assert raw.stat().st_size == 64 << 20
    assert subprocess.run(["/usr/sbin/sfdisk", "--verify", raw], capture_output=True).returncode == 0
    root = FileSystem.root_of(raw)
    assert root.size > 47 << 20
    part = tmp_path / "part.raw"
    with raw.open("rb") as stream:
        stream.seek(root.offset)
        part.write_bytes(stream.read(root.size))
    assert subprocess.run(["/usr/sbin/e2fsck", "-fn", part], capture_output=True).returncode == 0
    blocks = re.search(
        r"Block count: +(\d+)", subprocess.check_output(["/usr/sbin/dumpe2fs", "-h", part], text=True)
    )
    assert int(blocks[1]) * 1024 > 47 << 20 or int(blocks[1]) * 4096 > 47 << 20


def test_what_lies_behind_the_root_is_not_wiped(release, tmp_path):
    content = _disk(tmp_path, f"{_MBR}start=32M, size=1M, type=82\n", boot=False, size=40)
    wanted = dataclasses.replace(release(content), disk_size="64M")
    with pytest.raises(BuildError, match="can't grow: partition 3 is behind it"):
        base.get(wanted)


def test_what_does_not_unpack_is_one_clear_line(release, tmp_path):
    with pytest.raises(BuildError, match=r"system.img.xz is damaged"):
        base.get(release(b"no xz at all", name="system.img.xz"))


def test_a_base_in_the_cache_needs_no_server(release, server, tmp_path):
    wanted = release(_disk(tmp_path, _MBR, boot=False))
    first = base.get(wanted)
    server.files.clear()
    assert base.get(wanted) == first


_DOWNLOADED = ["ubuntu-22.04", "ubuntu-22.04-arm64", "ubuntu-24.04", "raspios"]


@pytest.mark.parametrize("name", _DOWNLOADED)
def test_publishers_definitions_are_signed(name):
    found = definition.load_base(name)
    assert found.url.startswith("https://")
    assert found.key


@pytest.mark.parametrize("name", _DOWNLOADED)
def test_publishers_keys_are_shipped(name, cache):
    """Public alone, and told where they are from."""
    key = definition.load_base(name).key
    (file,) = signature.keys_of(key)
    assert file.is_relative_to(paths.DEFINITIONS)
    assert key in signature._fingerprints(file)
    assert "PRIVATE" not in file.read_text()
    assert f"`{key}`" in file.with_name("README.md").read_text()


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("", "does not say how its image is checked"),
        ('sums = "S"\nsignature = "S.gpg"', "does not say how its image is checked"),
        (f'sha256 = "{"0" * 64}"\nkey = "{"A" * 40}"', "does not say how its image is checked"),
        (f'sums = "S"\nsignature = "T.gpg"\nkey = "{"A" * 40}"', "named after neither"),
        ('sums = "S"\nsignature = "S.gpg"\nkey = "7DB87C81"', "40 hexadecimal digits"),
        ('sha256 = "abc"', "64 hexadecimal digits"),
        (f'sha256 = "{"0" * 64}"\ndisk_size = "5 GB"', "disk_size"),
    ],
)
def test_a_definition_that_cannot_be_checked_is_refused(definitions, lines, why):
    (definitions / "bases" / "bad.toml").write_text(
        'description = "x"\nmethod = "download"\narchitecture = "amd64"\nuser = "u"\nurl = "https://x.example/x"\n'
        + lines
    )
    with pytest.raises(BuildError, match=why):
        definition.load_base("bad")


def test_a_file_at_hand_needs_its_base_named(build):
    done = build("images", "cloud", "--base-file", "x.img")
    assert done.returncode == 1
    assert "--base-file needs --base" in done.stderr
    # Of those alone that somebody offers as a file.
    assert "There are: debian-13-genericcloud, raspios, ubuntu-22.04, ubuntu-22.04-arm64, ubuntu-24.04\n" in (
        done.stderr
    )


def _unsigned(server, content, date, listed=None):
    """As Debian publishes: dates of another form, twice in the address, SHA-512 and no signature."""
    name = f"debian-amd64-{date}.qcow2"
    line = f"{hashlib.sha512(content if listed is None else listed).hexdigest()}  {name}\n"
    server.files |= {f"/trixie/{date}/{name}": content, f"/trixie/{date}/SHA512SUMS": line.encode()}
    links = server.files.get("/trixie/", b"").decode()
    server.files["/trixie/"] = f'{links}<a href="{date}/">{date}/</a>'.encode()
    return definition.DownloadedBase(
        name="plain", description="", architecture="amd64", user="u", sums="SHA512SUMS", signed=False,
        url=f"{server.url}/trixie/{{date}}/debian-amd64-{{date}}.qcow2",
    )  # fmt: skip


def test_a_publisher_who_signs_nothing_is_said_to(server, cache, capfd):
    _unsigned(server, b"old", "20261109-2100")
    _unsigned(server, b"older", "20261108-2300")
    got = upstream.obtain(_unsigned(server, b"new", "20261110-1999"))
    assert got.file.read_bytes() == b"new"
    assert got.source == {
        "url": f"{server.url}/trixie/20261110-1999/debian-amd64-20261110-1999.qcow2",
        "sha256": hashlib.sha256(b"new").hexdigest(),
    }
    assert "its publisher signs nothing" in capfd.readouterr().err


def test_what_is_not_what_its_sha512_says_is_refused(server, cache):
    wanted = _unsigned(server, b"changed", "20261110-1999", listed=b"new")
    with pytest.raises(BuildError, match="has the checksum") as error:
        upstream.obtain(wanted)
    assert "Do not use it" in error.value.hint
    assert _kept(cache) == []
