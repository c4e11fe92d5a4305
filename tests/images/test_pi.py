"""The Raspberry Pi's profile: small, quiet to its card, found by name, set up by a text file."""

import re
import socket

import pytest
import requests
from visitor import wait_until

from builder.core.work import Work
from builder.disk import bootfs, fat
from builder.disk.layouts import card
from builder.vm import drive

pytestmark = pytest.mark.pi


@pytest.mark.parametrize("name", ["avahi-daemon", "systemd-timesyncd", "systemd-networkd", "microblog-card"])
def test_pis_service_is_running(host, name):
    assert host.service(name).is_enabled
    assert host.service(name).is_running


@pytest.mark.parametrize("name", ["mariadb-server", "mysql-server", "postfix"])
def test_what_a_pi_does_without_is_not_there(host, name):
    assert not host.package(name).is_installed


def test_site_is_served_by_plain_http(host, booted):
    """nginx stands before gunicorn, which faces nobody, and sends nobody on to an unknown certificate."""
    workers = host.process.filter(comm="gunicorn")
    assert {process.user for process in workers} == {"microblog"}
    assert 2 <= len(workers) <= 3  # the master, and one or two
    answer = requests.get(f"{booted.url}/login", allow_redirects=False, timeout=120)
    assert (answer.status_code, answer.headers["Server"]) == (200, "nginx")


def test_two_hundred_half_sent_requests_keep_nobody_waiting(booted):
    crowd = []
    for number in range(200):
        opened = socket.create_connection(("127.0.0.1", booted.ports["http"]), timeout=120)
        opened.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" if number % 2 else b"")
        crowd.append(opened)
    assert requests.get(f"{booted.url}/login", timeout=120).status_code == 200
    for opened in crowd:
        opened.close()


def test_database_is_sqlite_with_a_write_ahead_log(host):
    assert "sqlite" in host.check_output("grep DATABASE_URL /etc/microblog/microblog.env")
    script = "import sqlite3; print(sqlite3.connect('/var/lib/microblog/microblog.db')"
    assert (
        host.check_output(f"python3 -c \"{script}.execute('PRAGMA journal_mode').fetchone()[0])\"") == "wal"
    )


def test_root_is_checked_before_it_is_written_to(host):
    """By the initramfs (initramfs-tools(7)): the journal does not mend all that a power cut leaves."""
    assert "rootfs" in host.check_output("cat /run/initramfs/fsck.log")


def test_machine_is_announced_by_its_name(host):
    wait_until(
        lambda: host.run("grep -qs first /proc/sys/kernel/hostname && systemctl status avahi-daemon").rc == 0,
        "avahi runs",
    )
    assert "[first.local]" in host.check_output("systemctl status avahi-daemon")


def test_logs_stay_in_memory(host):
    assert (
        host.check_output("journalctl --header | sed -n 's/^File path: //p' | cut -d/ -f2 | sort -u") == "run"
    )


def test_the_webs_logs_stay_in_memory(host):
    assert host.check_output("findmnt --noheadings --output FSTYPE /var/log/nginx") == "tmpfs"


_AVAHI = "busctl call org.freedesktop.Avahi / org.freedesktop.Avahi.Server"
_GREET = "systemctl start microblog-greeting.service; cat /run/issue.d/microblog.issue"
_NAMES = "cat /run/microblog/nginx-names.conf; openssl x509 -noout -text -in /etc/microblog/tls/cert.pem"


def _goes_by(name, booted, host):
    wait_until(lambda: f'"{name}"' in host.check_output(f"{_AVAHI} GetHostNameFqdn"), f"avahi is {name}")
    wait_until(lambda: f"http://{name} " in host.check_output(_GREET), "the greeting says so")
    wait_until(lambda: host.check_output(_NAMES).count(name) >= 2, "nginx and the certificate follow")
    assert requests.get(f"{booted.url}/login", headers={"Host": name}, timeout=120).status_code == 200


def test_the_name_that_avahi_took_is_the_one_that_works(host, booted):
    """As after a conflict: another machine had the name first."""
    host.check_output(f"{_AVAHI} SetHostName s first-2")
    try:
        _goes_by("first-2.local", booted, host)
    finally:
        host.check_output(f"{_AVAHI} SetHostName s first")
    _goes_by("first.local", booted, host)


def test_swap_is_compressed_memory(host):
    assert "/dev/zram0" in host.check_output("swapon --show=NAME --noheadings")


def test_time_goes_on_where_it_was(host):
    assert (
        host.file("/var/lib/systemd/timesync/clock").exists
        or host.file("/var/lib/private/systemd/timesync/clock").exists
    )


def test_hardware_watchdog_is_used_where_there_is_one(host):
    assert host.check_output("systemctl show --property=RuntimeWatchdogUSec --value") == "14s"


def test_card_is_spared(host):
    assert "noatime" in host.check_output("findmnt --noheadings --output OPTIONS /")


def test_kernel_upgrades_reach_the_boot_partition(host, booted, tmp_path):
    """As the next kernel's package would do it; the firmware reads what it wrote, power cut or not."""
    before = host.check_output("stat -c %Y /boot/firmware/config.txt")
    hooks = "run-parts --regex '^z' --arg=$(uname -r) /etc/kernel/postinst.d"
    host.check_output(f"DEB_MAINT_PARAMS=configure {hooks}")
    disk = booted.directory / drive.CARD
    assert host.check_output("stat -c %Y /boot/firmware/config.txt") != before
    told = host.check_output("cat /boot/firmware/cmdline.txt")
    assert (
        fat.read(disk, bootfs.start(disk), "cmdline.txt", Work.at(tmp_path)).decode().rstrip()
        == told.rstrip()
    )
    assert f"root=PARTUUID={card.DISK_ID}-02 " in told
    assert "cma=" not in told


def test_greeting_tells_where_the_site_is(booted, host):
    told = host.check_output("run-parts /etc/update-motd.d")
    assert "http://first.local" in told
    assert re.search(r"http://\d+\.\d+\.\d+\.\d+", told)
    assert "The site is up" in told
    host.check_output("systemctl start microblog-greeting.service")
    # As agetty has it on the screen, which it wants for that.
    shown = host.check_output("script --quiet --command 'agetty --show-issue' /dev/null")
    assert "The site is up" in shown


def test_whole_system_is_small(host, record_testsuite_property):
    used = int(host.check_output("free --mebi | awk '/^Mem:/ {print $3}'"))
    record_testsuite_property("idle_memory_mib", used)
    assert used < 400
