"""A card whose owner has edited microblog.txt: a machine of its own."""

import pytest
from visitor import Visitor, wait_until

from builder.core.progress import step

pytestmark = pytest.mark.pi


@pytest.fixture(scope="module")
def edited(booted, second):
    """The second machine, once all that its microblog.txt asks for is done."""
    with step("Booting a card with microblog.txt", "It answers") as now:
        second.wait_for_site(now)
        second.wait_for_ssh(now)
    wait_until(
        lambda: second.try_ssh("test ! -e /etc/microblog/first-admin.json").returncode == 0,
        "the administrator's account is made",
    )
    return second


def test_text_file_sets_the_site_up(edited):
    assert edited.run("hostname").strip() == "garden"
    visitor = Visitor(edited.url)
    assert "Our Garden \U0001f468\u200d\U0001f469\u200d\U0001f467" in visitor.get("/login").text
    assert visitor.log_in("susan", "eleven quiet herons").ok
    assert visitor.get("/admin").status_code == 200


def test_mistake_is_answered_beside_the_text_file(edited):
    answer = edited.run("sudo cat /boot/firmware/microblog-errors.txt")
    assert 'Line 6: "wifi password" is missing' in answer
    assert edited.try_ssh("ls /etc/netplan/60-microblog.yaml").returncode != 0
    assert "microblog-errors.txt" in edited.run("sudo run-parts /etc/update-motd.d")
    # Who is not root is greeted all the same.
    assert "Microblog " in edited.run("/etc/update-motd.d/20-microblog")


def test_key_opens_whoever_has_an_account(edited):
    files = edited.run(
        "sudo sshd -T -C user=anybody,host=x,addr=1.2.3.4 | grep -i ^authorizedkeysfile"
    ).split()
    assert ".ssh/authorized_keys" in files
    assert "susan" in edited.run(f"sudo cat {files[-1]}")


def test_password_is_on_the_card_no_more(edited):
    assert "herons" not in edited.run("sudo cat /boot/firmware/microblog.txt")
    device = edited.run("findmnt --noheadings --output SOURCE /boot/firmware").strip()
    assert edited.try_ssh(f"sudo sync; sudo grep -c 'quiet herons' {device}").stdout.strip() == "0"
