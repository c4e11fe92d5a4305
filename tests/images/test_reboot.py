"""The machine that was told to reboot, once it is back."""

from conftest import identity
from visitor import wait_until

from builder.core.progress import step


def test_a_reboot_brings_everything_back(booted, host, identities, rebooting):
    with step("Rebooting the machine", "The machine is back") as now:
        wait_until(
            lambda: booted.try_ssh("cat /proc/sys/kernel/random/boot_id").stdout
            not in ("", rebooting.boot_id),
            "the machine reboots",
        )
        booted.wait_for_site(now)
    # The same machine still: its keys, its sessions, its posts.
    assert identity(booted) == identities
    assert "written before the reboot" in rebooting.visitor.get("/").text
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
