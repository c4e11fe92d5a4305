"""The bake's scripts, in a chroot on a Debian that is made to look like Ubuntu, or Raspberry Pi OS."""

import gzip
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from nspawn import Kept, Machine

from builder.core import paths
from builder.core.needs import Program
from builder.defs import definition

NEEDS = (Program("apt-ftparchive", "apt-utils"),)

_SCRIPTS = paths.PACKER / "provision"
_ENTER = """
mount -t proc proc "$0/proc"
mount -t tmpfs run "$0/run"
mkdir "$0/run/systemd" "$0/run/lock" "$0/run/pool"
cp "$1"/* "$0/run/pool"
cp -R "$2" "$0/run/files"
cat > "$0/run/provision"
# Not in its place: systemctl knows a chroot by process 1 having another root directory.
chroot "$0" /bin/sh -eu /run/provision && exit
exit 1
"""


class System:
    """A root directory that the scripts are run in, as packer/chroot.sh runs them."""

    def __init__(self, root: Path, pool: Path) -> None:
        self.root, self.pool = root, pool
        self.said = ""

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def there(self, name: str) -> bool:
        return os.path.lexists(self.root / name)

    def provision(self, *names: str, then: str = "") -> str:
        """Run scripts of packer/provision/ in one go, and a line of shell behind them."""
        script = "".join((_SCRIPTS / name).read_text() for name in names) + then
        done = subprocess.run(
            ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--propagation=private",
             "sh", "-eu", "-c", _ENTER, self.root, self.pool, paths.PACKER / "files"],
            input=script, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "PACKAGES": "odd",
                 "LC_ALL": "C.UTF-8", "FILES": "/run/files"},
            timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat repository of one package."""
    tree, to = tmp_path_factory.mktemp("odd"), tmp_path_factory.mktemp("pool")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        "Package: odd\nVersion: 1\nArchitecture: all\nMaintainer: M <m@example.org>\nDescription: d\n"
    )
    subprocess.run(["dpkg-deb", "--build", tree, to / "odd_1_all.deb"], check=True, capture_output=True)
    index = subprocess.run(["apt-ftparchive", "packages", "."], cwd=to, check=True, capture_output=True)
    (to / "Packages.gz").write_bytes(gzip.compress(index.stdout))
    return to


@pytest.fixture
def system(baked: Kept, pool: Path, new_machine: Callable[..., Machine]) -> System:
    """A system with the package in it, that never ran."""
    return System(new_machine(baked.layers, boot=False).root, pool)


def test_no_hook_of_the_bases_apt_runs(system: System) -> None:
    """needrestart asks or restarts services, snap and command-not-found look things up: none of them here."""
    for kind in ("DPkg::Post-Invoke", "DPkg::Pre-Invoke", "APT::Update::Post-Invoke-Success"):
        system.write(
            f"etc/apt/apt.conf.d/99{kind[-9:].replace(':', '')}", f'{kind} {{ "echo ran >> /hooked"; }};\n'
        )
    system.write("etc/apt/preferences.d/never", "Package: *\nPin: release *\nPin-Priority: -1\n")
    system.provision("prepare.sh", "install.sh")
    assert not system.there("hooked")
    assert system.there("var/lib/dpkg/info/odd.list")


def test_what_a_bake_put_aside_comes_back_and_what_it_made_goes(system: System) -> None:
    """An identity that a first boot goes by stays; GRUB's note and the default target of before come back."""
    system.write("etc/machine-id", "uninitialized\n")
    system.write("etc/systemd/system/bake.target", "")
    units = system.root / "etc/systemd/system"
    (units / "default.target").symlink_to("bake.target")
    (units / "default.target.base").symlink_to("/usr/lib/systemd/system/multi-user.target")
    for key in ("server-key.pem", "private_key.pem", "ca.pem", "auto.cnf"):
        system.write(f"var/lib/mysql/{key}", "secret")
    system.write("boot/grub/grubenv", "")
    system.write("usr/bin/grub-editenv", '#!/bin/sh\necho "$@" > /told\n', 0o755)
    system.provision("prepare.sh", "clean.sh")
    # A layer's bake: the next one boots for SSH alone too.
    assert system.there("etc/systemd/system/bake.target")
    system.provision("prepare.sh", "release.sh", "clean.sh")
    assert system.read("etc/machine-id") == "uninitialized\n"
    assert (units / "default.target").readlink().name == "multi-user.target"
    assert not system.there("etc/systemd/system/bake.target")
    assert not system.there("etc/systemd/system/default.target.base")
    assert not list((system.root / "var/lib/mysql").glob("*.pem"))
    assert not system.there("var/lib/mysql/auto.cnf")
    assert system.read("told") == "/boot/grub/grubenv unset recordfail\n"


def test_an_identity_that_a_machine_had_goes(system: System) -> None:
    system.write("etc/machine-id", f"{'0123456789abcdef' * 2}\n")
    system.provision("prepare.sh", "clean.sh")
    assert system.read("etc/machine-id") == ""


def test_what_a_command_needs_is_installed_on_a_fresh_image(system: System) -> None:
    """Whose lists of packages the bake has removed, or which are too old to be of use."""
    for path in (system.root / "etc/apt/sources.list.d").glob("*"):
        path.unlink()
    system.write("etc/apt/sources.list", "deb [trusted=yes] file:/run/pool ./\n")
    ensure = "python3 -c 'from microblog.host.machine import apt; apt.ensure(print, \"odd\")'\n"
    said = system.provision("prepare.sh", "clean.sh", then=f"ls -A /var/lib/apt/lists\n{ensure}{ensure}")
    assert said.count("Installing odd ...") == 1
    assert system.there("var/lib/dpkg/info/odd.list")


def test_no_key_of_the_bake_stays(system: System) -> None:
    """Packer's own is root's, on AWS's servers the user's ubuntu."""
    keys = [f"{home}/.ssh/authorized_keys" for home in ("root", "home/ubuntu")]
    for key in keys:
        system.write(key, "ssh-rsa AAAA packer\n")
    system.provision("prepare.sh", "clean.sh")
    assert [key for key in keys if system.there(key)] == []


def test_what_a_bake_writes_has_the_packages_time(system: System) -> None:
    system.provision("prepare.sh", "clean.sh", then="find / -xdev -newer /run/machine-id.base > /newer\n")
    assert set(system.read("newer").split()) <= {"/", "/newer"}


@pytest.mark.parametrize("of_imager", [False, True])
def test_raspberry_pi_os_keeps_what_its_imager_needs(system: System, of_imager: bool) -> None:
    """cloud-init's modules and its key-making are the publisher's there."""
    system.write("etc/cloud/cloud.cfg.d/05_base.cfg", "")
    if of_imager:
        system.write("etc/rpi-issue", "Raspberry Pi reference\n")
    system.provision("tune.sh")
    assert system.there("etc/cloud/cloud.cfg.d/20-microblog.cfg") != of_imager


def test_ubuntus_grub_is_told_its_disk_and_snaps_come_after_the_site(system: System) -> None:
    system.write("etc/cloud/cloud.cfg.d/05_base.cfg", "")
    system.write("usr/lib/systemd/system/snapd.service", "[Service]\nExecStart=/bin/true\n")
    status = system.read("var/lib/dpkg/status")
    system.write(
        "var/lib/dpkg/status",
        f"{status}\nPackage: grub-pc\nStatus: install ok installed\nMaintainer: m\nArchitecture: amd64\n"
        "Version: 2\nDescription: d\n",
    )
    system.provision("tune.sh")
    assert "grub_dpkg: {enabled: true}" in system.read("etc/cloud/cloud.cfg.d/20-microblog.cfg")
    assert "site-first" in system.read("etc/systemd/system/snapd.service.d/microblog.conf")


def test_cloud_init_tells_nothing_to_a_grub_that_is_not_there(system: System) -> None:
    system.write("etc/cloud/cloud.cfg.d/05_base.cfg", "")
    system.provision("tune.sh")
    assert "grub_dpkg: {enabled: false}" in system.read("etc/cloud/cloud.cfg.d/20-microblog.cfg")


def test_a_base_without_cloud_init_gets_nothing_of_it(system: System) -> None:
    system.provision("tune.sh")
    assert not system.there("etc/cloud")
    assert not system.there("etc/systemd/system/user-data-check.service")
    assert system.there("etc/systemd/system/multi-user.target.wants/site-first.service")


def test_raspberry_pi_os_is_provisioned(system: System) -> None:
    """NetworkManager, no cloud-init, ssh off, swap on the card: as its release of bookworm has it."""
    image = definition.load_image("pi")
    for directory in ("boot/firmware", "etc/avahi/services", "etc/ssh/sshd_config.d", "etc/update-motd.d"):
        (system.root / directory).mkdir(parents=True, exist_ok=True)
    system.write("etc/rpi-issue", "Raspberry Pi reference\n")
    system.write("etc/hostname", "raspberrypi\n")
    system.write("etc/rpi/swap.conf", "[Main]\n")
    system.write("etc/dphys-swapfile", "")
    units = "usr/lib/systemd/system"
    wanted = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
    for unit in ("ssh", "dphys-swapfile", "NetworkManager-wait-online"):
        system.write(f"{units}/{unit}.service", wanted)
    target = system.root / "etc/systemd/system/multi-user.target.wants"
    for unit in ("dphys-swapfile", "NetworkManager-wait-online"):
        (target / f"{unit}.service").symlink_to(f"/{units}/{unit}.service")
    scripts = [name for name in image.provision if name not in ("install.sh", "secure.sh")]
    system.provision(*scripts)
    assert system.read("etc/hostname") == "microblog\n"
    assert "127.0.1.1 microblog\n" in system.read("etc/hosts")
    assert "#wifi name" in system.read("boot/firmware/microblog.txt")
    assert str((system.root / "etc/issue.d/microblog.issue").readlink()) == "/run/issue.d/microblog.issue"
    assert (target / "ssh.service").is_symlink()
    for unit in ("dphys-swapfile", "NetworkManager-wait-online"):
        assert not (target / f"{unit}.service").is_symlink()
    assert "Mechanism=zram" in system.read("etc/rpi/swap.conf.d/microblog.conf")
    assert not system.there("etc/systemd/zram-generator.conf")
    assert "NetworkManager.service" in system.read("etc/systemd/system/microblog-card.service")


def test_no_name_of_the_build_machine_is_in_an_image() -> None:
    """What a chroot calls its host name is not this machine's."""
    text = (paths.PACKER / "chroot.sh").read_text()
    assert "--uts" in text
    assert text.index("hostname localhost") < text.index('chroot "$root"')
