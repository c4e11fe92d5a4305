"""build.py as its users meet it: bad input, missing tools, taken ports, Ctrl-C."""

import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import facts_of

from builder import bootstrap
from builder.bake import method
from builder.core import cache as caching
from builder.core import needs, paths
from builder.core.errors import BuildError
from builder.deb import package
from builder.results import library, manifest

PATIENCE_SECONDS = 300


def _until(condition, what):
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.2)


def test_help_names_every_verb_and_each_has_an_example(build):
    told = build("--help").stdout
    for verb in ("deb", "images", "boot", "check", "flash", "test", "bench"):
        assert f"\n  {verb} " in told
        assert f"Example: ./build.py {verb}" in build(verb, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("images", "clod"), "build.py: there is no image 'clod'\n  Did you mean cloud?\n"),
        (
            ("images", "--base", "debian12"),
            "build.py: there is no base 'debian12'\n  Did you mean debian-12?\n",
        ),
        (("boot", "clod"), "build.py: there is no image 'clod'\n  Did you mean cloud?\n"),
        (("check", "none.qcow2"), "build.py: there is no none.qcow2\n  Bake one with: ./build.py images\n"),
        (
            ("test", "ap"),
            "build.py: there is no suite 'ap'\n"
            "  There are: images, app, browser, builder, package, stranger, fleet, pi\n",
        ),
        (
            ("test", "builder", "--mutate", "3"),
            "build.py: only the suite app is tried so\n  ./build.py test app --mutate 40\n",
        ),
        (
            ("repo", "--to", "ftp://x"),
            "build.py: 'ftp://x' is no place that a repository can be put to\n"
            "  Name s3://BUCKET[/PREFIX], or what rsync takes: HOST:/FOLDER, rsync://HOST/MODULE, a folder\n",
        ),
        (
            ("bench", "cake"),
            "build.py: there is no benchmark 'cake'\n  There are: app, bake, home, memory, pi, site\n",
        ),
    ],
)
def test_bad_input_is_one_clear_line_and_a_way_out(build, arguments, message):
    done = build(*arguments)
    assert (done.returncode, done.stderr, done.stdout) == (1, message, "")


@pytest.mark.parametrize(
    "arguments", [("imags",), ("images", "--fersh"), ("boot",), ("boot", "cloud", "--ssh-port", "0")]
)
def test_wrong_usage_exits_with_2(build, arguments):
    done = build(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_named(build):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = build("boot", "cloud", "--https-port", str(port))
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 can't be used" in done.stderr
    assert "Choose another with --https-port" in done.stderr


def test_two_services_have_two_ports(build):
    done = build("boot", "cloud", "--ssh-port", "5099", "--https-port", "5099")
    assert done.returncode == 1
    assert "--ssh-port and --https-port are both 5099" in done.stderr


def test_a_missing_key_is_named(build, tmp_path):
    done = build("boot", "cloud", "--ssh-key", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "there is no key" in done.stderr
    assert "ssh-keygen" in done.stderr


def test_without_qemu_it_names_the_package(monkeypatch):
    from builder.core import command

    monkeypatch.setattr(needs.shutil, "which", lambda *_, **__: None)
    with pytest.raises(BuildError, match="qemu-system-x86_64 is not installed") as error:
        command.program("qemu-system-x86_64", "qemu-system-x86")
    assert error.value.hint == "apt-get install qemu-system-x86"


def test_what_takes_root_is_refused_before_anything_is_made(monkeypatch):
    monkeypatch.setattr(method.os, "geteuid", lambda: 1000)
    assert method.require("cloud").name == "cloud"
    with pytest.raises(BuildError, match="pi is baked in a chroot, which needs root") as error:
        method.require("pi")
    assert error.value.hint == "Run as root: ./build.py images pi"


@pytest.mark.parametrize(("name", "message"), [("clod", "there is no image 'clod'"), ("pi", "needs root")])
def test_what_can_not_be_baked_is_said_before_anything_is_installed(monkeypatch, name, message):
    monkeypatch.setattr(method.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(needs, "have", lambda _: pytest.fail("something was to be installed"))
    with pytest.raises(BuildError, match=message):
        bootstrap.prepare(["images", name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("images cloud --base debian-12 --base-file LICENSE", "not one that is downloaded"),
        ("repo --key NOPE", "there is no key NOPE"),
    ],
)
def test_what_can_not_be_used_is_said_before_anything_is_made(build, arguments, message):
    done = build(*arguments.split())
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[0]


@pytest.mark.parametrize("prepared", [True, False])
def test_a_careful_python_and_a_full_disk_are_no_tracebacks(build, prepared, tmp_path):
    # Where nothing is installed yet, bootstrap answers.
    places = {} if prepared else {"MICROBLOG_CACHE": str(tmp_path / "empty")}
    done = build("--help", env={**os.environ, **places, "PYTHONSAFEPATH": "1"})
    assert done.returncode == 0
    with Path("/dev/full").open("w") as full:
        done = build("--help", env={**os.environ, **places}, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "build.py: stdout can't be written: No space left on device\n"
    reader, writer = os.pipe()
    os.close(reader)
    done = build("--help", env={**os.environ, **places}, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_what_is_wrong_before_anything_is_printed_is_not_said_of_stdout(build):
    """The cache can be made nowhere in there, though root may write there."""
    done = build("verify", "x", env={**os.environ, "MICROBLOG_CACHE": "/proc"})
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    assert "/proc/venv-build" in done.stderr
    assert "stdout" not in done.stderr


def test_an_image_that_is_not_baked_yet(definitions):
    with pytest.raises(BuildError, match="is not baked yet") as error:
        library.find("cloud")
    assert error.value.hint == "Bake it with: ./build.py images cloud"


def test_a_manifest_is_a_promise(tmp_path):
    file = tmp_path / "image.qcow2"
    file.write_bytes(b"an image")
    facts = facts_of(file)
    assert facts.intact(tmp_path)
    file.write_bytes(b"an imagf")
    assert not facts.intact(tmp_path)
    file.unlink()
    assert not facts.intact(tmp_path)
    assert not facts_of().intact(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told.pop("version"), "the field version is missing"),
        (lambda told: told["base"].pop("sha256"), "the field base.sha256 is missing"),
        (lambda told: told.update(memory_mb="1024"), "memory_mb is '1024', and should be a whole number"),
        (lambda told: told.update(memory_mb=True), "memory_mb is True, and should be a whole number"),
        (lambda told: told.update(files=3), "files is 3, and should be a list"),
        (lambda told: told.update(files=["x"]), r"files\[0\] is no object with fields"),
        (lambda told: told.update(seconds={"pack": "1"}), "seconds.pack is '1', and should be a number"),
        (lambda told: told.update(check={"checked_by": "k"}), "the field check.thorough is missing"),
    ],
)
def test_a_manifest_that_is_none_is_one_clear_line(tmp_path, change, said):
    path = facts_of().write(tmp_path / "image.qcow2")
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    with pytest.raises(BuildError, match=f"image.manifest.json does not tell all that it should: {said}"):
        manifest.load(path)
    assert manifest.read(path) is None


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    passed = manifest.Check("k", True, 90, 200.5, "tcg", "2026-01-02T03:04:05Z", boot_to_https_s=74.0)
    layer = manifest.Made("2" * 64, "2026-01-01T00:00:00Z")
    base = manifest.Base("1" * 64, "2026-01-01T00:00:00Z", "ubuntu-22.04", source={"url": "u"}, layer=layer)
    whole = facts_of(base=base, check=passed, accelerator=None, seconds={"pack": 1})
    path = whole.write(tmp_path / "image.qcow2")
    assert manifest.load(path) == whole
    # A newer version's has more in it.
    path.write_text(json.dumps({**json.loads(path.read_text()), "more": 1}))
    assert manifest.load(path) == whole


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"'])
def test_what_is_no_manifest_is_said(tmp_path, text):
    (tmp_path / "image.manifest.json").write_text(text)
    with pytest.raises(BuildError, match=r"is damaged|is no object") as error:
        manifest.load(tmp_path / "image.manifest.json")
    assert "--fresh" in error.value.hint
    with pytest.raises(BuildError, match=r"there is no none\.manifest\.json"):
        manifest.load(tmp_path / "none.manifest.json")


def test_what_is_no_list_of_packages_is_refused(tmp_path):
    listing = tmp_path / "packages"
    listing.write_text("nginx\t1.22\tamd64\t1000\tnginx\t1.22\n")
    assert manifest.packages(listing)[0].installed_kib == 1000
    listing.write_text("bash: dpkg-query: not found\n")
    with pytest.raises(BuildError, match="has a line that is none"):
        manifest.packages(listing)


@pytest.fixture
def interrupted(cache, tmp_path, checkout):
    """Run build.py in a session of its own until a condition holds, then press Ctrl-C in it."""
    # The environment is not what is tested here: take the one that is there.
    cache.mkdir()
    for environment in Path(sys.prefix).parent.glob("venv-*"):
        (cache / environment.name).symlink_to(environment)
    started = []

    def run(*arguments, when, what):
        with (tmp_path / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, checkout / "build.py", *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True,
                env={**os.environ, "MICROBLOG_CACHE": str(cache)},
            )  # fmt: skip
        started.append(process)
        _until(lambda: when() or process.poll() is not None, what)
        assert process.poll() is None, (tmp_path / "stderr").read_text()
        os.killpg(process.pid, signal.SIGINT)
        code = process.wait(PATIENCE_SECONDS)
        return code, (tmp_path / "stderr").read_text()

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_ctrl_c_while_composing_leaves_nothing_half_done(cache, interrupted):
    bases = cache / "bases"
    code, said = interrupted(
        "images", "cloud",
        when=lambda: list(bases.glob("work-*/mmdebstrap.*/var/lib/dpkg/info")),
        what="mmdebstrap unpacks packages",
    )  # fmt: skip
    assert code == 130
    assert said.endswith("build.py: interrupted; run it again to go on\n")
    assert "Traceback" not in said
    assert [path.name for path in bases.iterdir() if path.is_dir()] == []
    assert str(cache) not in Path("/proc/mounts").read_text()


def test_a_test_run_that_is_interrupted_cleans_up_after_itself(tmp_path):
    """Ctrl-C: pytest tears its machines down before build.py ends."""
    suite = tmp_path / "test_long.py"
    suite.write_text(
        "import pytest, pathlib, time\n"
        "here = pathlib.Path(__file__).parent\n"
        "@pytest.fixture\n"
        "def machine():\n"
        "    (here / 'up').touch()\n"
        "    yield\n"
        "    time.sleep(1)\n"
        "    (here / 'down').touch()\n"
        "def test_long(machine):\n"
        "    time.sleep(600)\n"
    )
    script = (
        "import signal, sys; from builder.core.command import attend\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # as build.py does\n"
        f"attend([sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', {str(suite)!r}])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=paths.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _until(lambda: (tmp_path / "up").exists(), "the test runs")
    process.send_signal(signal.SIGINT)
    process.wait(PATIENCE_SECONDS)
    assert (tmp_path / "down").exists()


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """The package's making, without its tools: what it writes, and how often."""
    made = []

    def build_in(scratch):
        made.append(scratch)
        (scratch / "built.deb").write_bytes(b"a package" * 1000)
        return scratch / "built.deb"

    monkeypatch.setattr(package, "DIST", tmp_path / "dist")
    monkeypatch.setattr(package, "_build_in", build_in)
    return made


@pytest.mark.parametrize(
    "damage", [lambda deb: os.truncate(deb, 100), lambda deb: deb.write_bytes(b"another")]
)
def test_a_package_that_was_cut_short_is_not_up_to_date(packaged, damage):
    deb = package.build()
    assert package.build() == deb
    assert len(packaged) == 1
    damage(deb)
    assert package.build().read_bytes() == b"a package" * 1000
    assert len(packaged) == 2


def test_no_space_for_the_package_or_for_python_is_one_clear_line(packaged, cache, monkeypatch):
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(BuildError, match=r"building the package needs 0\.1 GB in .*dist, 0\.0 GB are free"):
        package.build()
    with pytest.raises(BuildError, match=r"installing Python packages needs 1\.1 GB in"):
        bootstrap._environment(("build", "test"))
    assert not list(cache.glob("venv*/"))


def test_two_builds_at_once_make_it_once(packaged, monkeypatch):
    # Not read from stderr: what is written while that is read would be lost.
    said: list[str] = []
    monkeypatch.setattr(caching, "say", said.append)
    begun, go_on = threading.Event(), threading.Event()
    real = package._build_in

    def slowly(scratch):
        begun.set()
        go_on.wait(60)
        return real(scratch)

    monkeypatch.setattr(package, "_build_in", slowly)
    both = [threading.Thread(target=package.build) for _ in range(2)]
    for one in both:
        one.start()
    begun.wait(60)
    _until(lambda: any("Waiting for another build.py" in line for line in said), "the second waits")
    go_on.set()
    for one in both:
        one.join()
    assert len(packaged) == 1


_WORK = """
import contextlib, os, signal, sys, time
from pathlib import Path
import build
from builder.core import cache
from builder.core.progress import step
here = Path(sys.argv[1])
build._listen()
try:
    with cache.scratch(here), step("Working", "Worked"):
        (here / "up").touch()
        try:
            time.sleep(600)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)  # as the shell does after the kernel
            (here / "tidied").touch()
except KeyboardInterrupt:
    (here / "down").touch()
"""


def test_a_closed_terminal_ends_it_as_ctrl_c_does(tmp_path):
    ours, theirs = pty.openpty()

    def take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        # These tests may be meant to outlast theirs.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", _WORK, tmp_path], cwd=paths.ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, preexec_fn=take_terminal,
    )  # fmt: skip
    os.close(theirs)
    _until(lambda: (tmp_path / "up").exists(), "it works")
    os.close(ours)
    process.wait(PATIENCE_SECONDS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["down", "tidied", "up"]


def test_who_is_meant_to_outlast_the_terminal_does(tmp_path):
    """nohup ./build.py ..."""
    process = subprocess.Popen(
        ["nohup", sys.executable, "-c", _WORK, tmp_path], cwd=paths.ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    _until(lambda: (tmp_path / "up").exists(), "it works")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE_SECONDS)
    assert (tmp_path / "down").exists()
