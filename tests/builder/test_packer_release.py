"""Which Packer is used; HashiCorp's release from a server on loopback, signed with keys made for the test."""

import hashlib
import io
import os
import platform
import re
import select
import socket
import socketserver
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from builder import bootstrap
from builder.bake import packer_release
from builder.bases import signature
from builder.core import needs, paths
from builder.core.errors import BuildError
from builder.core.needs import Program

VERSION = packer_release.VERSION
SUMS = f"packer_{VERSION}_SHA256SUMS"
FOLDER = f"/packer/{VERSION}"


def _program(version=VERSION):
    return f"#!/bin/sh\n[ \"$1\" = version ] && echo 'Packer v{version}'\n".encode()


def _zip(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


GOOD = _zip(**{"LICENSE.txt": b"words", "packer": _program()})


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    monkeypatch.setattr(packer_release, "_chosen", [])


@pytest.fixture
def no_packer(monkeypatch):
    """A machine on which no Packer is installed."""
    monkeypatch.setattr(
        packer_release, "PACKER", Program(name="no-such-packer", package="no-such-package", optional=True)
    )
    # Whatever this machine's distribution has.
    monkeypatch.setattr(needs, "may_be_had", lambda _: False)


@pytest.fixture
def release(server, keys, no_packer, monkeypatch):
    """Publish a release of Packer; returns the archive's path on the server."""
    monkeypatch.setattr(packer_release, "SERVER", server.url)
    monkeypatch.setattr(packer_release, "KEY", keys.made["good"])
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")

    def publish(archive=GOOD, by=("good",), architecture="amd64"):
        name = f"packer_{VERSION}_linux_{architecture}.zip"
        rows = {f"packer_{VERSION}_darwin_amd64.zip": b"else", name: archive}
        sums = "".join(f"{hashlib.sha256(what).hexdigest()}  {row}\n" for row, what in rows.items()).encode()
        server.files |= {
            f"{FOLDER}/{name}": archive,
            f"{FOLDER}/{SUMS}": sums,
            f"{FOLDER}/{SUMS}.sig": keys.sign(sums, *by),
        }
        return f"{FOLDER}/{name}"

    return publish


def _asked(server):
    return [
        path.rpartition("/")[2] for path, how in server.asked if path.startswith(FOLDER) and how != "HEAD"
    ]


def _kept(cache):
    """All that is in the cache, but locks, keys, and what a download goes on with."""
    found = [path.relative_to(cache) for path in cache.rglob("*") if path.is_file()]
    return sorted(
        str(path) for path in found if path.suffix not in (".lock", ".part") and path.parts[0] != "keys"
    )


def test_the_release_is_fetched_checked_and_kept(release, server, cache):
    archive = release()
    found = Path(packer_release.find())
    assert found.read_bytes() == _program()
    assert found.stat().st_mode & 0o7777 == 0o755
    assert packer_release.version(str(found)) == tuple(int(part) for part in VERSION.split("."))
    # What is checked stands before what it covers. (The archive's address is looked up first.)
    assert _asked(server)[1:] == [SUMS, f"{SUMS}.sig", archive.rpartition("/")[2]]
    assert _kept(cache) == [str(found.relative_to(cache))]


@pytest.mark.parametrize(
    ("machine", "architecture"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("armv7l", "arm")]
)
def test_the_machines_own_architecture_is_fetched(release, monkeypatch, machine, architecture):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    release(architecture=architecture)
    assert packer_release.obtain().is_file()


def _settle(*arguments):
    """As build.py begins, with a verb that needs Packer and something else."""
    other = Program("sh", "dash")
    wanted = [packer_release.PACKER, other]
    left = packer_release.settle(wanted, list(arguments or ["images"]))
    assert left in (wanted, [other])
    return packer_release.PACKER in left


@pytest.mark.parametrize("ask", [packer_release.obtain, _settle], ids=["get", "ask"])
def test_an_architecture_without_a_release_is_said(release, server, monkeypatch, ask):
    release()
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(BuildError, match="HashiCorp makes none for riscv64") as error:
        ask()
    assert "--packer FILE" in error.value.hint
    assert server.asked == []


def test_a_cached_one_needs_no_server(release, server):
    release()
    first = packer_release.find()
    server.files.clear()
    server.asked.clear()
    assert packer_release.find() == first
    assert str(packer_release.obtain()) == first
    assert not _settle()
    assert server.asked == []


def test_a_cached_one_that_was_damaged_is_fetched_anew(release, server):
    release()
    found = Path(packer_release.find())
    found.write_bytes(_program()[:20])
    assert Path(packer_release.find()).read_bytes() == _program()


@pytest.mark.parametrize("by", [["other"], ["expired"]])
def test_another_key_is_refused(release, server, cache, by):
    archive = release(by=by)
    with pytest.raises(BuildError, match=r"there is no Packer: .*signed with another key") as error:
        packer_release.find()
    assert "Do not use it" in error.value.hint
    assert archive not in [path for path, asked in server.asked if asked is None]
    assert _kept(cache) == []


def test_tampered_sums_are_refused(release, server, cache):
    release()
    server.files[f"{FOLDER}/{SUMS}"] += b"0" * 64 + b"  more.zip\n"
    with pytest.raises(BuildError, match="not what the publisher signed"):
        packer_release.find()
    assert _kept(cache) == []


def test_a_tampered_archive_is_refused_and_never_run(release, server, cache, tmp_path):
    archive = release()
    server.files[archive] = _zip(packer=f"#!/bin/sh\ntouch '{tmp_path}/run'\necho Packer v{VERSION}\n")
    with pytest.raises(BuildError, match=r"not .* as its publisher says"):
        packer_release.find()
    assert _kept(cache) == []
    assert not (tmp_path / "run").exists()


def test_what_broke_off_is_resumed(release, server, cache):
    archive = release(_zip(**{"LICENSE.txt": os.urandom(500_000), "packer": _program()}))
    server.faults[archive] = [None, *[lambda out, body: out.write(body[: len(body) // 2])] * 4]
    with pytest.raises(BuildError, match=r"there is no Packer: .*can't be downloaded") as error:
        packer_release.find()
    assert "again to resume" in error.value.hint
    assert "tools" not in " ".join(_kept(cache))
    server.asked.clear()
    assert Path(packer_release.find()).read_bytes() == _program()
    ranges = [asked for path, asked in server.asked if path == archive and asked != "bytes=0-0"]
    assert [int(re.match(r"bytes=(\d+)-", asked)[1]) > 200_000 for asked in ranges] == [True]


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (_zip(**{"LICENSE.txt": b"words"}), "holds no file packer"),
        (_zip(**{"../packer": _program()}), "holds no file packer"),
        (_zip(**{"/packer": _program()}), "holds no file packer"),
        (_zip(**{"bin/packer": _program()}), "holds no file packer"),
        (_zip(**{"packer/": b""}), "holds no file packer"),
        (_zip(packer=b""), "holds a Packer of 0 bytes"),
        (_zip(packer=b"\0" * 100_000), "holds a Packer of 100000 bytes"),
        (_zip(packer=b"\x7fELF trash"), "can't be run: Exec format error"),
        (_zip(packer=b"#!/bin/sh\necho Welcome\n"), "is not Packer: it says 'Welcome'"),
        (_zip(packer=_program("1.0.0")), f"holds Packer 1.0.0, not {VERSION}"),
        (b"<html>no zip at all</html>", "is damaged"),
        (GOOD[:-30], "is damaged"),
    ],
    ids=[
        *("none", "above", "absolute", "below", "folder", "empty"),
        *("huge", "trash", "another", "older", "html", "cut"),
    ],
)  # fmt: skip
def test_an_archive_without_packer_is_refused_and_nothing_kept(release, cache, monkeypatch, archive, why):
    monkeypatch.setattr(packer_release, "_MOST", 90_000)
    release(archive)
    with pytest.raises(BuildError, match=re.escape(why)):
        packer_release.find()
    assert _kept(cache) == []
    assert not any(path.name.startswith("work-") for path in (cache / "tools").iterdir())


def test_nothing_else_gets_out_of_the_archive(release, cache, tmp_path):
    slips = {"../../slip": b"1", "/tmp/../slip": b"2", f"{tmp_path}/slip": b"3"}
    release(_zip(packer=_program(), **slips))
    found = packer_release.find()
    assert _kept(cache) == [str(Path(found).relative_to(cache))]
    assert list(tmp_path.rglob("*slip*")) == []


def test_two_at_once_fetch_it_once(release, server):
    archive = release()
    together = threading.Barrier(2)
    found = []

    def fetch():
        together.wait()
        found.append(packer_release.obtain())

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert [asked for path, asked in server.asked if path == archive and asked is None] == [None]


class _Tunnel(socketserver.StreamRequestHandler):
    """An HTTP proxy's CONNECT (RFC 9110, section 9.3.6), which leads to the one server that there is."""

    def handle(self):
        self.server.asked.append(self.rfile.readline().decode().split()[1])
        while self.rfile.readline().strip():
            pass
        with socket.create_connection(self.server.behind) as there:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            other = {there: self.connection, self.connection: there}
            while True:
                for ready in select.select(list(other), [], [])[0]:
                    content = ready.recv(65536)
                    if not content:
                        return
                    other[ready].sendall(content)


@pytest.fixture
def proxy(server, release, monkeypatch):
    """The release is on a server whose name only the proxy knows."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Tunnel) as running:
        running.daemon_threads = True
        running.behind, running.asked = server.server_address, []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{running.server_address[1]}")
        monkeypatch.setenv("no_proxy", "none.example")
        monkeypatch.delenv("NO_PROXY", raising=False)
        yield running
        running.shutdown()


def test_a_proxy_is_used(release, proxy):
    release()
    assert _settle()
    assert len(proxy.asked) == 1
    packer_release.obtain()
    # The archive's address, sums, signature, key, archive.
    assert len(proxy.asked) == 6
    assert set(proxy.asked) == {packer_release.SERVER.removeprefix("https://")}


def test_a_proxy_is_passed_by_where_the_environment_says_so(release, proxy, monkeypatch):
    release()
    monkeypatch.setenv("no_proxy", "localhost")
    assert _settle()
    packer_release.obtain()
    assert proxy.asked == []


def test_a_mirror_is_asked_instead(release, server, monkeypatch):
    release()
    monkeypatch.setattr(packer_release, "SERVER", "https://releases.invalid")
    monkeypatch.setenv("MICROBLOG_MIRRORS", f"https://releases.invalid={server.url}")
    assert _settle()
    assert packer_release.obtain().is_file()


def test_whether_it_can_be_had_costs_no_download(release, server):
    release()
    assert _settle()
    assert server.asked == [(f"{FOLDER}/{SUMS}", "HEAD")]


@pytest.mark.parametrize("url", [None, "https://127.0.0.1:9", "https://none.invalid"])
def test_a_release_that_cannot_be_had_is_one_line_and_a_way_out(release, monkeypatch, url):
    if url:
        monkeypatch.setattr(packer_release, "SERVER", url)
    with pytest.raises(BuildError, match=r"there is no Packer, and https://\S+ can't be reached: ") as error:
        _settle()
    assert "\n" not in error.value.message
    for way in ("--packer FILE", "PATH", "developer.hashicorp.com/packer/install", "MICROBLOG_MIRRORS"):
        assert way in error.value.hint


def test_an_unknown_authority_is_refused(release, monkeypatch):
    release()
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(BuildError, match=r"can't be reached: .*certificate"):
        _settle()


def test_the_distributions_own_is_awaited(release, server, monkeypatch):
    monkeypatch.setattr(needs, "may_be_had", lambda _: True)
    assert _settle()
    assert server.asked == []


def test_what_bakes_nothing_is_asked_for_no_packer(release, monkeypatch):
    monkeypatch.setattr(packer_release, "SERVER", "https://127.0.0.1:9")
    assert not _settle("publish", "linode")
    assert not _settle("check", "cloud")
    assert _settle("bench", "app")
    for arguments in (
        ["bench", "bake"],
        ["bench", "pi"],
        ["--debug", "bench", "bake"],
        ["bench", "--json", "pi"],
    ):
        with pytest.raises(BuildError, match="there is no Packer"):
            _settle(*arguments)
    with pytest.raises(BuildError, match="there is no Packer"):
        _settle("publish", "linode", "--native")


def test_one_that_is_given_is_not_installed_besides(release, fake, server):
    given = str(fake("given", "echo Packer v1.9.5"))
    assert not _settle("images", "--packer", given)
    assert not _settle("images", f"--packer={given}", "cloud")
    assert server.asked == []


def test_the_verbs_that_bake_have_it_among_their_needs():
    for verb in ("images", "publish"):
        assert packer_release.PACKER in needs.of_verb(verb)


@pytest.mark.parametrize(("lists", "offered"), [(False, True), (True, False)])
def test_what_is_not_known_yet_may_be_had(monkeypatch, tmp_path, lists, offered):
    """Not by one who is not root, on a machine whose lists were never fetched."""
    monkeypatch.setattr(needs.os, "geteuid", lambda: 1000)
    if lists:
        (tmp_path / "archive_main_binary-amd64_Packages").touch()
    monkeypatch.setattr(needs, "LISTS", tmp_path)
    assert needs.may_be_had("no-such-package") == offered


def test_root_has_the_lists_fetched_to_know_it(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(needs.os, "geteuid", lambda: 0)
    monkeypatch.setattr(needs, "LISTS", tmp_path)
    monkeypatch.setattr(needs, "_apt", asked.append)
    assert not needs.may_be_had("no-such-package")
    assert asked == [["apt-get", "update"]]


@pytest.fixture
def fake(tmp_path):
    """Make a program; returns its path."""

    def make(name, text):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return make


def test_the_one_given_goes_first_then_path_then_the_cache(release, fake, monkeypatch):
    release()
    fetched = packer_release.find()
    installed = str(fake("installed", "echo Packer v1.6.6"))
    monkeypatch.setattr(packer_release, "PACKER", Program(installed, "packer"))
    given = fake("given", "echo Packer v1.9.5")
    assert packer_release.find() == installed != fetched
    assert packer_release.find(given) == str(given)
    packer_release.choose(given)
    assert packer_release.find() == str(given)


def test_something_else_of_that_name_in_path_is_passed_over(release, fake, monkeypatch, capfd):
    """cracklib has a program packer."""
    release()
    other = str(fake("packer", "echo cracklib"))
    monkeypatch.setattr(packer_release, "PACKER", Program(other, "packer"))
    assert packer_release.find() == str(packer_release.obtain())
    assert f"{other} is not Packer: it says 'cracklib'; looking further" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("none", "there is no file {}"),
        (".", "there is no file {}"),
        ("other", "{} is not Packer: it says 'cracklib'"),
        ("silent", "{} is not Packer: it says ''"),
        ("endless", "{} is not Packer: it says 'y"),
        ("text", "{} can't be run: Permission denied"),
    ],
)
@pytest.mark.parametrize(
    "verb", [("images",), ("publish", "aws", "--native", "--dry-run")], ids=["images", "publish"]
)
def test_what_is_given_and_is_not_packer_is_refused_at_once(
    build, fake, tmp_path, cache, verb, named, message
):
    fake("other", "echo cracklib")
    fake("silent", "exit 0")
    fake("endless", "exec yes")
    (tmp_path / "text").write_text("words")
    given = tmp_path if named == "." else tmp_path / named
    done = build(*verb, "--packer", str(given))
    assert done.returncode == 1
    assert done.stderr.startswith(f"build.py: {message.format(given)}")
    assert len(done.stderr.splitlines()) == 2
    assert not list(cache.glob("venv*"))


def test_a_given_one_may_be_named_from_home(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    given = fake("packer", "echo Packer v1.9.5")
    assert packer_release.find(Path("~/packer")) == str(given)


@pytest.mark.parametrize("arguments", [["images"], ["publish", "aws", "--native"]])
def test_it_is_asked_for_before_anything_is_installed(release, monkeypatch, arguments):
    monkeypatch.setattr(packer_release, "SERVER", "https://127.0.0.1:9")
    monkeypatch.setattr(needs, "of_verb", lambda *_: [packer_release.PACKER])
    monkeypatch.setattr(needs, "have", lambda _: pytest.fail("installed"))
    with pytest.raises(BuildError, match="there is no Packer"):
        bootstrap.prepare(arguments)


def test_the_module_needs_nothing_but_python():
    """It is asked where nothing is installed yet: -S leaves out what is installed, -I the caller's own."""
    script = f"import sys; sys.path.insert(0, {str(paths.ROOT)!r}); from builder.bake import packer_release"
    subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True)


def test_its_key_is_asked_of_its_owner_then_of_the_key_server(release, server, keys, cache, monkeypatch):
    release()
    good = keys.made["good"]
    monkeypatch.setattr(signature, "PUBLISHED", {good: f"{server.url}/owner.asc"})
    server.files["/owner.asc"] = keys.public("good")
    server.files[f"/keys/{good}"] = keys.public("other")
    assert [file.read_bytes() for file in signature.keys_of(good)] == [keys.public("good")]
    (cache / "keys" / f"{good}.asc").unlink()
    del server.files["/owner.asc"]
    server.files[f"/keys/{good}"] = keys.public("good")
    packer_release.obtain()
    assert f"/keys/{good}" in [path for path, _ in server.asked]


def test_the_pinned_key_is_the_one_whose_owners_address_is_known():
    assert packer_release.KEY == "C874011F0AB405110D02105534365D9472D7468F"
    assert signature.PUBLISHED[packer_release.KEY].startswith("https://www.hashicorp.com/")
