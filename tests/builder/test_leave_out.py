"""What a composed base is without: by dpkg's own settings, so that no upgrade brings it back."""

import re
import subprocess
from types import SimpleNamespace

import pytest

from builder.bases import compose
from builder.core import paths
from builder.core.work import Work
from builder.defs import definition


def _told(tmp_path, monkeypatch, base):
    """What mmdebstrap is run with."""
    asked = []
    monkeypatch.setattr(compose, "cache", SimpleNamespace(need_space=lambda *_: None))
    monkeypatch.setattr(compose.interpreter, "require", lambda _: None)
    layout = SimpleNamespace(assemble=lambda *_: None)
    monkeypatch.setattr(compose, "_LAYOUTS", SimpleNamespace(load=lambda _: layout))

    class Silent(Work):
        def run(self, command, **_):
            asked.extend(map(str, command))
            (self / "root.tar").touch()

    compose.compose(base, [], tmp_path / "image", Silent(tmp_path, tmp_path / "log"))
    return asked


@pytest.mark.parametrize("name", ["debian-12", "debian-13-pi"])
def test_what_is_left_out_is_left_out_on_the_machine_too(tmp_path, monkeypatch, name):
    base = definition.load_base(name)
    told = _told(tmp_path, monkeypatch, base)
    rules = {word.removeprefix("--dpkgopt=") for word in told if word.startswith("--dpkgopt=")}
    kept = "".join((paths.DEFINITIONS / "bases" / one).read_text() for one in base.leave_out)
    assert rules == {line for line in kept.splitlines() if line and not line.startswith("#")}
    assert all(rule.startswith(("path-exclude=", "path-include=")) for rule in rules)
    for hook in (word for word in told if word.startswith("--customize-hook=cat")):
        (tmp_path / "etc/dpkg/dpkg.cfg.d").mkdir(parents=True, exist_ok=True)
        script = hook.removeprefix("--customize-hook=")
        subprocess.run(["sh", "-eu", "-c", script, "sh", tmp_path], check=True)
    written = sorted((tmp_path / "etc/dpkg/dpkg.cfg.d").iterdir())
    assert [file.name for file in written] == base.leave_out
    assert "".join(file.read_text() for file in written) == kept
    # dpkg reads no file whose name is like an editor's or a package manager's leftovers.
    assert all(re.fullmatch("[A-Za-z0-9_-]+", one) for one in base.leave_out)
    assert {paths.DEFINITIONS / "bases" / one for one in base.leave_out} <= {*compose.scripts(base)}


def _unpacked(tmp_path, rules, files):
    """Which of a package's files dpkg lays down by a base's rules."""
    tree, root = tmp_path / "tree", tmp_path / "root"
    for name in ("DEBIAN/control", *files):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    (tree / "DEBIAN/control").write_text(
        "Package: odd\nVersion: 1\nArchitecture: all\nMaintainer: M <m@example.org>\nDescription: d\n"
    )
    subprocess.run(["dpkg-deb", "--build", tree, tmp_path / "odd.deb"], check=True, capture_output=True)
    (root / "var/lib/dpkg/updates").mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    (root / "var/lib/dpkg/info").mkdir()
    lines = [line for file in rules for line in file.read_text().splitlines() if line and line[0] != "#"]
    subprocess.run(
        ["dpkg", f"--root={root}", "--force-not-root", "--force-script-chrootless", f"--log={tmp_path}/log",
         *(f"--{line}" for line in lines), "--unpack", tmp_path / "odd.deb"],
        check=True, capture_output=True,
    )  # fmt: skip
    return {name for name in files if (root / name).exists()}


def test_dpkg_takes_the_rules_as_they_are_meant(tmp_path):
    module = "usr/lib/modules/6.12/kernel/drivers/net/ethernet"
    kept = {
        "usr/share/locale/locale.alias", "usr/share/locale/es_MX/LC_MESSAGES/a.mo",
        "usr/share/locale/ru/LC_MESSAGES/a.mo", "usr/share/man/man1/a.1.gz", "usr/share/man/ru/man1/a.1.gz",
        "usr/share/doc/a/copyright", "usr/share/doc/microblog/changelog.gz",
        "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "usr/lib/grub/x86_64-efi/ext2.mod",
        "lib/udev/hwdb.d/60-keyboard.hwdb", "usr/bin/aria_ftdump", "usr/bin/replace",
        "usr/share/i18n/locales/de_DE", f"{module}/realtek/r8169.ko.xz", f"{module}/broadcom/genet/g.ko.xz",
        "usr/lib/linux-image-6/broadcom/bcm2711-rpi-4-b.dtb", "usr/lib/modules/6.12/kernel/fs/nfs/nfs.ko.xz",
    }  # fmt: skip
    gone = {
        "usr/share/locale/de/LC_MESSAGES/a.mo", "usr/share/man/de/man1/a.1.gz", "usr/share/doc/a/README",
        "usr/share/doc/a/changelog.Debian.gz", "usr/share/info/a.info.gz",
        "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed", "usr/lib/udev/hwdb.d/20-OUI.hwdb",
        f"{module}/mellanox/mlx5.ko.xz", f"{module}/broadcom/bnx2x/b.ko.xz",
        "usr/lib/linux-image-6/qcom/a.dtb",
    }  # fmt: skip
    folder = paths.DEFINITIONS / "bases"
    assert _unpacked(tmp_path, [folder / "leave-out", folder / "leave-out-pi"], kept | gone) == kept
