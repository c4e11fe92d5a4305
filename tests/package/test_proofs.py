"""What others say: piuparts, autopkgtest, reprotest; lynis, ssh-audit and testssl.sh around harden."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from database_servers import mirror
from nspawn import RELEASES, Machine, add_admin, wait_until
from variants import variant

from builder.core import paths
from builder.core.needs import Program

NEEDS = (
    Program("piuparts", "piuparts"),
    Program("reprotest", "reprotest"),
    Program("testssl", "testssl.sh"),
    Program("dpkg-scanpackages", "dpkg-dev"),
    Program("git", "git"),
)

pytestmark = pytest.mark.thorough


@pytest.fixture
def archive(base: Path, deb: Path, tmp_path: Path) -> Iterator[Path]:
    """A directory with an older version and an index, as apt takes one."""
    folder = tmp_path / "archive"
    folder.mkdir()
    shutil.move(variant(deb, tmp_path, "0.0.1", {}), folder)
    index = subprocess.run(["dpkg-scanpackages", "."], cwd=folder, capture_output=True, text=True, check=True)
    (folder / "Packages").write_text(index.stdout)
    yield folder


def test_piuparts(base: Path, deb: Path, archive: Path, tmp_path: Path) -> None:
    release = RELEASES[base.name.rpartition("-")[0]][0]
    found = mirror(release)
    command = ["piuparts", "--existing-chroot", str(base), "--distribution", release, "--no-eatmydata"]
    command += ["--mirror", f"{found[0].split()[1]} main"] if found else []
    command += ["--tmpdir", str(tmp_path), "--bindmount", str(archive)]
    command += ["--extra-repo", f"deb [trusted=yes] file:{archive} ./"]
    done = subprocess.run([*command, str(deb)], capture_output=True, text=True)
    said = done.stdout + done.stderr
    (tmp_path / "piuparts.log").write_text(said)
    assert done.returncode == 0, said[-6000:]
    assert "PASS: Installation, upgrade and purging tests" in said


def test_autopkgtest(server: Machine) -> None:
    shutil.copytree(paths.ROOT / "debian/tests", server.root / "root/source/debian/tests")
    # autopkgtest asks a source package for its name and its binary packages.
    (server.root / "root/source/debian/control").write_text(
        "Source: microblog\n\nPackage: microblog\nArchitecture: all\nDescription: x\n"
        f"Recommends: {server.run('dpkg-query', '-W', '-f', '${Recommends}', 'microblog')}\n"
    )
    (server.root / "root/source/debian/changelog").write_text(
        "microblog (0) stable; urgency=low\n\n  * x\n\n -- x <x@localhost>  Thu, 01 Jan 2026 00:00:00 +0000\n"
    )
    server.run("apt-get", "install", "--yes", "--no-install-recommends", "autopkgtest", "dpkg-dev")
    said = server.run(
        *("autopkgtest", "--no-built-binaries", "--ignore-restrictions=isolation-machine,breaks-testbed"),
        *("/root/source", "--", "null"),
        check=False,
        timeout=3600,
    )
    assert server.code == 0, said
    assert re.search(r"(?m)^site +PASS", said), said


def test_reprotest(tmp_path: Path) -> None:
    """Two builds, between which reprotest varies what it can without a machine of its own."""
    tree = tmp_path / "tree"
    subprocess.run(["git", "clone", "--quiet", paths.ROOT, tree], check=True)
    build = f"{sys.executable} -c 'from builder.deb import package; package.build(fresh=True)'"
    done = subprocess.run(
        [
            *("reprotest", "--no-diffoscope", "--vary=-kernel,-user_group,-domain_host,-fileordering,-time"),
            *("--build-command", build, str(tree), "dist/*.deb", "--", "null"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "Reproduction successful" in done.stdout + done.stderr


def lynis(machine: Machine) -> int:
    """Its hardening index, of 100."""
    said = machine.run("lynis", "audit", "system", "--quick", "--no-colors", check=False)
    index = re.search(r"Hardening index : (\d+)", said)
    assert index, said[-2000:]
    return int(index[1])


def ssh_audit(machine: Machine) -> tuple[int, int]:
    """How many of sshd's algorithms fail, and how many it warns of."""
    said = machine.run("ssh-audit", "localhost", check=False)
    return said.count("[fail]"), said.count("[warn]")


def tls_findings(machine: Machine, tmp_path: Path) -> set[str]:
    """What this machine's testssl.sh, in the other's network, finds wrong."""
    report = tmp_path / "testssl.json"
    report.unlink(missing_ok=True)
    subprocess.run(
        [
            *("nsenter", f"--target={machine.leader}", "--net", "testssl", "--quiet", "--warnings", "off"),
            *("--severity", "LOW", "--jsonfile", str(report), "--nodns", "none", "https://localhost"),
        ],
        capture_output=True,
        check=False,
    )
    return {
        f"{entry['severity']} {entry['id']}: {entry['finding']}" for entry in json.loads(report.read_text())
    }


def test_what_judges_say_before_and_after_harden(server: Machine, tmp_path: Path) -> None:
    tools = ("lynis", "ssh-audit", "openssh-server", "openssh-client", "sudo")
    server.run("apt-get", "install", "--yes", "--no-install-recommends", *tools)
    add_admin(server)
    index, audit = lynis(server), ssh_audit(server)
    server.run("microblog", "harden", "--no-confirm")
    wait_until("the site answers", server.answers)
    better, better_audit = lynis(server), ssh_audit(server)
    print(f"lynis: {index} before, {better} after; ssh-audit: {audit} before, {better_audit} after")
    assert better > index
    assert better_audit[0] == 0
    found = tls_findings(server, tmp_path)
    print("testssl.sh:", *sorted(found), sep="\n  ")
    serious = {line.split(":")[0] for line in found if line.startswith(("HIGH", "CRITICAL"))}
    # The certificate is the machine's own; and the browser may choose, for all ciphers allowed are good.
    assert serious <= {"CRITICAL cert_chain_of_trust", "HIGH cert_revocation", "HIGH cipher_order"}
