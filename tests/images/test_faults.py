"""What the machine does about accidents."""

from visitor import Visitor, wait_until

from builder.progress import step


def _master(host):
    return host.check_output("supervisorctl pid microblog").strip()


def test_a_killed_gunicorn_comes_back(booted, host):
    visitor = Visitor(booted.url)
    visitor.wait_for_site()
    before = _master(host)
    host.check_output(f"kill -9 {before}")
    wait_until(lambda: _master(host) not in ("0", before), "supervisor starts gunicorn again")
    visitor.wait_for_site()


def test_a_reboot_brings_everything_back(booted, host, identities):
    visitor = Visitor(booted.url)
    visitor.register("barbara", "a pass phrase that lasts")
    visitor.write("written before the reboot")
    boot_id = booted.run("cat /proc/sys/kernel/random/boot_id")
    booted.try_ssh("sudo systemctl reboot")
    with step("Rebooting the machine", "The machine is back") as now:
        wait_until(
            lambda: booted.try_ssh("cat /proc/sys/kernel/random/boot_id").stdout not in ("", boot_id),
            "the machine reboots",
        )
        booted.wait_for_site(now)
    # The same machine still: its keys, its sessions, its posts.
    from conftest import IDENTITY

    assert {what: booted.run(command).strip() for what, command in IDENTITY.items()} == identities
    assert "written before the reboot" in visitor.get("/").text
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
