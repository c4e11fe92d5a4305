"""A checkout's definitions and a cache of their own for each test, so that nothing real is touched."""

import dataclasses
import hashlib
import http.server
import re
import shutil
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from builder.bases import download, signature
from builder.core import paths
from builder.core.needs import Folder, Program
from builder.defs import definition
from builder.results import manifest, sbom

NEEDS = (
    Program("openssl", "openssl"),
    Program("gpg", "gnupg"),
    Program("qemu-img", "qemu-utils"),
    Program("sfdisk", "fdisk"),
    Program("losetup", "mount"),
    Program("xz", "xz-utils"),
    Program("zstd", "zstd"),
    Folder("tests/images"),
)


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """As a user may name folders: what passes them on unquoted fails."""
    directory = tmp_path / "my files"
    directory.mkdir()
    return directory


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    directory = tmp_path / "cache"
    monkeypatch.setenv("MICROBLOG_CACHE", str(directory))
    return directory


@pytest.fixture
def definitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of images/, free to be broken; results go below it too."""
    directory = tmp_path / "images"
    shutil.copytree(paths.DEFINITIONS, directory, ignore=shutil.ignore_patterns("out"))
    monkeypatch.setattr(paths, "DEFINITIONS", directory)
    monkeypatch.setattr(paths, "OUT", directory / "out")
    return directory


def facts_of(*files: Path, **more: Any) -> manifest.Manifest:
    """The manifest of an image with some files."""
    usual = manifest.Manifest(
        target="cloud", description="An image", version="0.1.0", architecture="amd64", user="u",
        memory_mb=1024, scheme="https", built="2026-01-02T03:04:05Z", made_from="k",
        base=manifest.Base("1" * 64, "2026-01-01T00:00:00Z", "debian-12"),
        deb=manifest.ImageFile("microblog_0.1.0_all.deb", 1, "0" * 64), packer="1.6.6", accelerator="tcg",
        seconds={}, bake_s=120.4, packages=[], sbom="none", files=manifest.files(*files),
    )  # fmt: skip
    return dataclasses.replace(usual, **more)


@pytest.fixture
def baked(definitions: Path, cache: Path) -> bytes:
    """A baked image: small, but a real qcow2 file with all that is beside it. Returns the disk's content."""
    paths.OUT.mkdir()
    file = paths.OUT / "microblog-0.1.0-cloud-debian-12-amd64.qcow2"
    raw = definitions / "raw"
    raw.write_bytes(b"\x55" * (1 << 20) + bytes(3 << 20))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, file], check=True)
    facts = facts_of(
        packages=[
            manifest.Installed("adduser", "3.134", "all"),
            manifest.Installed("g++", "4:12.2.0-3~a", "amd64", 1, "gcc-defaults", "1.203"),
        ],
        sbom=file.name.replace(".qcow2", sbom.SUFFIX),
    )
    bill = paths.OUT / facts.sbom
    sbom.write(facts, bill)
    dataclasses.replace(facts, files=manifest.files(file, bill)).write(file)
    manifest.write_sums(paths.OUT)
    return raw.read_bytes()


# Of a step in a log: the time, then what is done.
_PROGRESS = re.compile(r"^\d\d:\d\d:\d\d .*\n", re.MULTILINE)


@pytest.fixture
def build():
    """Run build.py as a user does. Returns exit code, stdout and stderr, less the lines of progress.

    On a new machine a verb installs what it needs before it says anything else.
    """

    def run(*arguments: str, **options) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, paths.ROOT / "build.py", *arguments],
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )
        done.stderr = _PROGRESS.sub("", done.stderr)
        return done

    return run


class Publisher(http.server.ThreadingHTTPServer):
    """Serves what is in ``files``; ``faults`` has a list of what happens first instead, by path."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.faults, self.asked = {}, {}, []

    def handle_error(self, *_):
        """A client that goes away is what some tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        faults = self.server.faults.get(self.path, [])
        fault = faults.pop(0) if faults else None
        if isinstance(fault, int):
            return self._answer(fault, b"")
        if isinstance(fault, str):
            return self._answer(302, b"", Location=fault)
        if self.path not in self.server.files:
            return self._answer(404, b"")
        body = self.server.files[self.path]
        start = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked else 0
        return self._answer(206 if asked else 200, body[start:], cut=fault)

    def do_HEAD(self):
        self.server.asked.append((self.path, "HEAD"))
        self._answer(200 if self.path in self.server.files else 404, b"")

    def _answer(self, code, body, cut=None, **headers):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if cut is None:
            self.wfile.write(body)
        else:
            cut(self.wfile, body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """Fingerprint, by name, of keys in one GnuPG home: good, other, expired, revoked."""
    # gpg-agent's socket has a path of 107 characters at most.
    home = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    made = {}

    def gpg(*arguments, data=None):
        done = subprocess.run(
            ["gpg", "--homedir", home, "--batch", "--pinentry-mode=loopback", "--passphrase=",
             "--no-tty", "--yes", "--status-fd=1", *arguments],
            input=data, capture_output=True, check=True,
        )  # fmt: skip
        return done.stdout

    for name, when in {
        "good": [],
        "other": [],
        "revoked": [],
        "expired": ["--faked-system-time=20200101T000000!"],
        "renewed": ["--faked-system-time=20200101T000000!"],
    }.items():
        life = "2d" if when else "never"
        said = gpg(
            *when, "--quick-generate-key", f"{name} <{name}@example.org>", "ed25519", "sign", life
        ).decode()
        made[name] = re.search(r"KEY_CREATED \S+ (\S+)", said)[1]

    def sign(content, *names, at=None):
        (home / "content").write_bytes(content)
        by = [option for name in names for option in ("--local-user", made[name])]
        faked = ["--faked-system-time=20200101T120000!"] if "expired" in names else []
        gpg(*faked, *by, "--output", home / "signature", "--detach-sign", home / "content")
        return (home / "signature").read_bytes()

    def public(name):
        # Without the status lines that a batch prints.
        gpg("--output", home / "public", "--armor", "--export", made[name])
        return (home / "public").read_bytes()

    before = public("renewed")
    gpg("--quick-set-expire", made["renewed"], "0")
    revocation = (home / "openpgp-revocs.d" / f"{made['revoked']}.rev").read_text()
    good_signature = sign(b"words", "revoked")
    gpg("--import", data=revocation.replace(":-----BEGIN", "-----BEGIN").encode())
    yield type("Keys", (), {"made": made, "sign": staticmethod(sign), "public": staticmethod(public),
                            "by_revoked": (b"words", good_signature), "before": before})  # fmt: skip
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
    subprocess.run(["rm", "-rf", home], check=True)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("authority")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", directory / "key.pem", "-out", directory / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return directory


@pytest.fixture
def server(certificate, keys, cache, monkeypatch):
    running = Publisher()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    running.socket = context.wrap_socket(running.socket, server_side=True)
    running.url = f"https://localhost:{running.server_address[1]}"
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "cert.pem"))
    monkeypatch.setattr(signature, "KEY_SERVER", f"{running.url}/keys/{{}}")
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.01)
    for name, fingerprint in keys.made.items():
        running.files[f"/keys/{fingerprint}"] = keys.public(name)
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def signed_image(server, keys):
    """A publisher that signs the image itself, and redirects to the latest."""

    def publish(content=b"a card" * 1000, signed=None, by="good"):
        name = "2026-01-01-system.img"
        server.files |= {
            f"/images/{name}": content,
            f"/images/{name}.sha256": f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode(),
            f"/images/{name}.sig": keys.sign(content if signed is None else signed, by),
        }
        server.faults["/latest"] = [f"/images/{name}"]
        return definition.DownloadedBase(
            name="card", description="", architecture="arm64", user="u", url=f"{server.url}/latest",
            sums="{file}.sha256", signature="{file}.sig", key=keys.made["good"],
        )  # fmt: skip

    return publish


@pytest.fixture
def checkout(tmp_path):
    """A checkout of its own, so that what is under way in this one has no part in the test."""
    directory = tmp_path / "checkout"
    left_out = shutil.ignore_patterns("out", "__pycache__", "vendor")
    for name in ("builder", "debian", "images", "microblog", "packer"):
        shutil.copytree(paths.ROOT / name, directory / name, ignore=left_out)
    for name in ("build.py", "setup.cfg", "LICENSE"):
        shutil.copy(paths.ROOT / name, directory / name)
    return directory
