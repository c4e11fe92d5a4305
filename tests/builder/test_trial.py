"""A machine that is tried out: how it is reached, and the disk that lasts."""

import dataclasses
import http.server
import subprocess
import threading

import pytest

from builder.core import paths
from builder.core.errors import BuildError
from builder.core.progress import Step
from builder.results import library, manifest
from builder.vm import check, drive, machine, trial


@pytest.fixture
def running(tmp_path):
    """A machine under way, as far as can be seen from here: its site answers on loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    process = subprocess.Popen(["sleep", "600"])
    directory = tmp_path / "with a space"
    directory.mkdir()
    ports = {"http": server.server_address[1], "https": 1, "ssh": 22}
    yield machine.Machine(process, "amd64", "u", directory / "key", directory, ports, "http")
    process.kill()
    process.wait()
    server.shutdown()
    server.server_close()


def test_a_proxy_is_not_asked_for_this_machine(running, monkeypatch):
    """It knows no 127.0.0.1 but its own."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert running.wait_for_site(Step("Waiting"), seconds=30) >= 0


def test_what_qemu_said_before_it_stopped_is_told(running):
    (running.directory / "qemu.log").write_text("Could not set up host forwarding rule\n")
    running.process.kill()
    running.process.wait()
    with pytest.raises(BuildError, match=r"the machine stopped .*: Could not set up host forwarding rule"):
        running.wait_for_site(Step("Waiting"), seconds=30)


def test_the_checks_ask_no_proxy_for_it_either(monkeypatch):
    monkeypatch.setenv("no_proxy", "intranet.example")
    assert check.without_proxy() == dict.fromkeys(
        ("no_proxy", "NO_PROXY"), "intranet.example,127.0.0.1,localhost"
    )


def test_ssh_goes_by_nothing_of_the_users(running):
    """Their ~/.ssh/config is for other machines; and a directory may have a space in its name."""
    program, *rest = running.ssh
    assert rest[:2] == ["-F", "/dev/null"]
    told = subprocess.check_output([program, "-G", *rest], text=True).splitlines()
    assert f"userknownhostsfile {running.directory / 'known_hosts'}" in [
        line.replace('"', "") for line in told
    ]


@pytest.mark.parametrize("disk", [drive.OVERLAY, drive.CARD])
def test_a_disk_that_lasts_is_of_use_with_its_own_image_alone(tmp_path, disk):
    """On another, two file systems would be mixed; a card's would be an old one under a new name."""
    keep = tmp_path / "keep"
    trial._note_image(keep, "a" * 64)
    (keep / disk).touch()
    trial._note_image(keep, "a" * 64)
    with pytest.raises(BuildError, match="made with another image") as error:
        trial._note_image(keep, "b" * 64)
    assert "Take another directory" in error.value.hint
    (keep / "image.sha256").unlink()
    with pytest.raises(BuildError, match="made with another image"):
        trial._note_image(keep, "a" * 64)


def test_boot_refuses_a_disk_of_the_image_before_the_re_bake(baked, tmp_path, monkeypatch):
    def booted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(trial, "choose", booted)
    keep = tmp_path / "keep"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trial.run("cloud", keep, None, None, {}, "tcg")
        (keep / drive.OVERLAY).touch()
    (file,) = paths.OUT.glob("*.qcow2")
    with file.open("ab") as out:
        out.write(bytes(65536))
    facts = manifest.load(manifest.path_for(file))
    dataclasses.replace(facts, files=manifest.files(file)).write(file)
    assert library.find("cloud")
    with pytest.raises(BuildError, match="made with another image"):
        trial.run("cloud", keep, None, None, {}, "tcg")
