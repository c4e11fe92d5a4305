"""A stranger's machine: what the README says, on a system on which nothing was ever installed."""

import re
import shutil
import subprocess

import pytest
from conftest import USER

from builder.core import paths
from builder.deb import package
from builder.results import manifest

BOOKWORM, TRIXIE = "bookworm", "trixie"
_DEB = f"dist/microblog_{package.version()}_all.deb"


def _readme_commands() -> list[str]:
    """The commands of the README's first indented block."""
    block = re.search(r"(?m)(^    \S.*\n)+", (paths.ROOT / "README.md").read_text())
    assert block is not None
    return [line.partition("#")[0].strip() for line in block[0].splitlines()]


def test_the_readme_begins_with_the_main_job_and_the_tests():
    assert _readme_commands() == ["./build.py images", "./build.py test"]


def test_asking_installs_nothing(bare):
    system = bare(BOOKWORM)
    before = system.installed
    for arguments, code in (
        (("images", "-h"), 0),
        (("--help",), 0),
        (("bench", "--help"), 0),
        (("imags",), 2),
        (("images", "--fersh"), 2),
        (("boot",), 2),
        (("test", "ap"), 1),
    ):
        done = system.run("./build.py", *arguments)
        assert done.returncode == code, done.stderr
        assert "Installing" not in done.stderr
    assert "--base-file FILE" in system.run("./build.py", "images", "-h").stdout
    assert system.installed == before
    assert not [*(system.root / "root/.cache").rglob("venv*")]


def _succeeds(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_ordinary_user_runs_the_one_line_as_root_and_the_verb_works(bare):
    system = bare(BOOKWORM)
    system.add_user()
    refused = system.run("./build.py", "deb", user=USER)
    assert refused.returncode == 1
    said = refused.stderr.splitlines()
    assert len(said) == 2, refused.stderr
    assert said[0].startswith("build.py: packages are missing: build-essential ")
    label, _, command = said[1].strip().partition(": ")
    assert label == "Run as root"  # there is no sudo
    _succeeds(system.run("sh", "-c", command))
    assert _succeeds(system.run("./build.py", "deb", user=USER)).endswith(f"{_DEB}\n")
    # Root's run in the same checkout does not keep its owner from going on.
    checkout = f"/home/{USER}/microblog"
    _succeeds(system.run("sh", "-c", f"cd {checkout} && ./build.py deb --fresh"))
    assert _succeeds(system.run("./build.py", "deb", "--fresh", user=USER)).endswith(f"{_DEB}\n")
    # In root's own they get one clear line.
    refused = system.run("sh", "-c", f"chown -R root: {checkout}/dist && ./build.py deb --fresh", user="root")
    refused = system.run("./build.py", "deb", "--fresh", user=USER)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"build.py: {checkout}/dist can't be written to by {USER}: it belongs to root\n"
        f"  Run as root: chown -R {USER} {checkout}/dist\n",
    )


# Ended while dpkg is at work, then run again.
_ENDED = """
> /var/log/dpkg.log
./build.py deb & run=$!
until grep -q "status half-installed" /var/log/dpkg.log; do kill -0 $run; sleep 0.1; done
kill -TERM $run
wait $run && exit 1 || test $? = 130
./build.py deb
"""


def test_the_package_on_the_newest_debian(bare):
    """An installation that somebody ended half-way does not stand in its way."""
    system = bare(TRIXIE)
    done = system.run("sh", "-euc", _ENDED)
    assert _succeeds(done).endswith(f"{_DEB}\n")
    assert "build.py: interrupted; run it again to go on\n" in done.stderr


# Without the environment, which is not what is asked for here.
_BLOCKS = """
apt-get update -qq
apt-get install -qq --yes --no-install-recommends e2fsprogs >&2
truncate -s 21M disk
mke2fs -q -t ext4 -E offset=1048576 disk 20M
python3 -c "
from pathlib import Path
from builder.disk.ext4 import FileSystem
size, count, free = FileSystem(Path('disk'), 1 << 20, 20 << 20).blocks()
print(0 < len(free) < count)
"
"""


def test_the_newest_debian_reads_a_card(bare):
    """Its e2fsprogs are not those of the oldest."""
    assert _succeeds(bare(TRIXIE).run("sh", "-euc", _BLOCKS)) == "True\n"


@pytest.fixture
def with_image(bare):
    """A bare system with an image that was baked on this machine, and nothing that has baked it."""

    def place(name: str, suite: str = BOOKWORM):
        if not any(paths.OUT.glob(f"*-{name}-*{manifest.SUFFIX}")):
            subprocess.run([paths.ROOT / "build.py", "images", name, "--no-check"], check=True)
        system = bare(suite)
        shutil.copytree(paths.OUT, system.root / "root/microblog/images/out", symlinks=True)
        return system

    return place


@pytest.mark.thorough
@pytest.mark.parametrize("suite", [BOOKWORM, TRIXIE])
def test_repo(bare, suite):
    system = bare(suite)
    folder = _succeeds(system.run("./build.py", "repo", "--url", "https://apt.example.org")).strip()
    assert folder == "/root/microblog/dist/repository"
    assert (system.root / folder[1:] / "dists/stable/InRelease").exists()


# Boots until the site answers, then presses Ctrl-C: build.py hears it, as no other background job does.
_BOOT = """
./build.py boot cloud > said & booted=$!
until grep -q ^ssh said || grep -q /ssh said; do kill -0 $booted; sleep 1; done
python3 -c "
import ssl, urllib.request
context = ssl._create_unverified_context()
print(urllib.request.urlopen(open('said').readline().strip(), context=context).status)
"
kill -INT $booted
wait $booted
"""


@pytest.mark.thorough
@pytest.mark.parametrize("suite", [BOOKWORM, TRIXIE])
def test_boot_to_the_first_answer(with_image, suite):
    assert _succeeds(with_image("cloud", suite).run("sh", "-euc", _BOOT)) == "200\n"


# Likewise a fleet to look at; nothing of its network is left.
_FLEET = """
./build.py fleet try > said & begun=$!
until grep -q ^https said; do kill -0 $begun; sleep 1; done
python3 -c "
import ssl, urllib.request
context = ssl._create_unverified_context()
print(urllib.request.urlopen(open('said').readline().strip() + 'login', context=context).status)
"
kill -INT $begun
wait $begun
ls /run/netns
"""


@pytest.mark.thorough
@pytest.mark.parametrize("suite", [BOOKWORM, TRIXIE])
def test_a_fleet_to_look_at(bare, suite):
    assert _succeeds(bare(suite).run("sh", "-euc", _FLEET)) == "200\n"


@pytest.mark.thorough
@pytest.mark.parametrize("suite", [BOOKWORM, TRIXIE])
def test_check(with_image, suite):
    assert _succeeds(with_image("cloud", suite).run("./build.py", "check", "cloud")).endswith(".qcow2\n")


@pytest.mark.thorough
@pytest.mark.parametrize("suite", [BOOKWORM, TRIXIE])
def test_verify(with_image, suite):
    lines = _succeeds(with_image("cloud", suite).run("./build.py", "verify", "images/out")).splitlines()
    assert lines, "what is right is said"


@pytest.mark.thorough
@pytest.mark.parametrize("suite", [BOOKWORM, TRIXIE])
def test_vagrant(with_image, suite):
    boxes = _succeeds(with_image("cloud", suite).run("./build.py", "vagrant")).splitlines()
    assert {box.rpartition("-")[2] for box in boxes} >= {"libvirt.box", "virtualbox.box"}


_PROVIDERS = {
    "digitalocean": ("--bucket", "a-bucket"),
    "linode": (),
    "aws": ("--bucket", "a-bucket"),
    "lightsail": ("--url", "https://example.org/microblog.deb"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("suite", [BOOKWORM, TRIXIE])
@pytest.mark.parametrize("provider", _PROVIDERS)
def test_publish_dry_run(with_image, provider, suite):
    system = with_image("cloud", suite)
    assert _succeeds(system.run("./build.py", "publish", provider, "--dry-run", *_PROVIDERS[provider]))


# A loop device is no card: for this one run it is.
_FLASH = """
truncate -s 4G card
device=$(losetup --find --show card)
trap 'losetup --detach $device' EXIT
./build.py flash pi >&2 || test $? = 1  # there is no card
python=$(echo /root/.cache/microblog/venv-build-*/bin/python)
$python -c "
import runpy, sys
sys.path.insert(0, '.')
from builder.ship import block_devices as disks
disks._TYPES = frozenset({'disk', 'loop'})
why_not = disks._why_not
disks._why_not = lambda row, *rest: why_not({**row, 'hotplug': True}, *rest)
disks._caution = lambda _: ''
sys.argv = ['build.py', 'flash', 'pi', '$device', '--yes', '--hostname', 'garden']
runpy.run_path('build.py', run_name='__main__')
"
"""


@pytest.mark.thorough
@pytest.mark.parametrize("suite", [BOOKWORM, TRIXIE])
def test_flash(with_image, suite):
    done = with_image("pi", suite).run("sh", "-euc", _FLASH)
    _succeeds(done)
    assert "every block is as it should be" in done.stderr
    assert "Wrote host name into microblog.txt" in done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["cloud", "pi"])
def test_images_on_the_newest_debian(bare, name):
    """There is no Packer in it: with HashiCorp's out of reach, that is what is said, before anything else."""
    done = bare(TRIXIE).run("./build.py", "images", name)
    if done.returncode:
        assert "packer" in done.stderr.lower()
        assert "Installing" not in done.stderr
