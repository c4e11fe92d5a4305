"""A machine whose owner has written user data, the shipped example among it."""

import pytest

from builder.core.progress import step

pytestmark = pytest.mark.cloud


@pytest.fixture(scope="module")
def told(second):
    """The second machine, when cloud-init has done all that it was told."""
    with step("Booting a machine with user data", "It answers") as now:
        second.wait_for_site(now)
        second.wait_for_ssh(now)
    second.wait_for_cloud_init()
    return second


def test_the_examples_commands_work_at_the_first_boot(told):
    """All but the certificate, for the name leads nowhere: certbot is there to ask, and says so."""
    said = told.run("sudo cat /var/log/cloud-init-output.log")
    assert "Asking for a certificate for blog.example.org" in said
    assert "microblog: no certificate: " in said
    assert "apt cannot install" not in said
    assert told.run("sudo stat -c '%a %U' /root/microblog-admin").strip() == "600 root"
    assert "ada" in told.run("sudo cat /root/microblog-admin")


def test_every_stage_does_what_it_is_told(told):
    assert told.run("apt-config dump APT::Told").strip() == 'APT::Told "yes";'
    assert "LANG=POSIX" in told.run("cat /etc/default/locale")
    assert told.run("cat /etc/deferred /etc/at-once") == "later\nat once\n"
    assert told.run("stat -c %U /etc/deferred").strip() == "microblog"


def test_how_to_swap_is_the_user_datas_to_say(told):
    """And the image's own file, for who says nothing, is not made beside it."""
    told.run("until systemctl is-active --quiet make-room; do sleep 1; done")
    assert told.run("sudo swapon --noheadings --show=NAME").split() == ["/told.img"]
    assert told.run("ls /swap.img* 2> /dev/null || true") == ""


@pytest.mark.parametrize(
    ("word", "why"),
    [("zypper", "module zypper_add_repo is not run here"), ("write_file", "cloud-init knows no such word")],
)
def test_what_nothing_here_does_is_told(told, word, why):
    line = f"The user data has '{word}', which does nothing: {why}"
    told.run(
        "until systemctl show -p ActiveState --value user-data-check | grep -qx inactive; do sleep 1; done"
    )
    assert line in told.run("sudo journalctl --unit=user-data-check --output=cat")
    assert line in told.serial_log.read_text(errors="replace").replace("\r", "")


def test_what_is_done_is_not_complained_of(told):
    said = told.run("sudo journalctl --unit=user-data-check --output=cat")
    # Debian has no snap.
    has_snap = told.run("command -v snap || true").strip()
    assert ("The user data has 'snap', which does nothing: snap is not installed" in said) != bool(has_snap)
    assert said.count("which does nothing") == (2 if has_snap else 3)
