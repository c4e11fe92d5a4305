"""The machine that the image becomes: its packages, services, users and open doors."""

import re
import subprocess

import pytest


def _cloud(*names):
    return [pytest.param(name, marks=pytest.mark.cloud) for name in names]


@pytest.mark.parametrize(
    "name", ["microblog", "supervisor", "gunicorn", "ufw", "nginx", *_cloud("postfix", "certbot", "fail2ban")]
)
def test_package_is_installed(host, name):
    assert host.package(name).is_installed


@pytest.mark.cloud
def test_database_server_is_installed(host):
    assert host.package("mariadb-server").is_installed or host.package("mysql-server").is_installed


@pytest.mark.parametrize(
    # MariaDB's unit has MySQL's name too.
    "name",
    ["supervisor", "ssh", "ufw", "microblog-setup", "nginx", *_cloud("mysql", "postfix", "fail2ban")],
)
def test_service_is_enabled_and_running(host, name):
    service = host.service(name)
    # On Ubuntu 24.04 systemd listens, and starts sshd for the first who comes.
    assert service.is_enabled or (name == "ssh" and host.service("ssh.socket").is_enabled)
    assert service.is_running


@pytest.mark.cloud
@pytest.mark.parametrize(
    "unit", ["postfix@-", "fail2ban", "unattended-upgrades", "cloud-config", "cloud-final"]
)
def test_what_is_slow_to_start_comes_after_the_site(host, unit):
    """On Debian 12 postfix is an instance of a template, later it is the one service."""
    after = host.check_output("systemctl show --property=After --value %s.service", unit).split()
    assert "site-first.service" in after


def test_nothing_failed_at_boot(host):
    assert host.check_output("systemctl --failed --no-legend --plain") == ""


def test_root_grew_to_its_disk(host):
    host.check_output("cloud-init status --wait || true")
    size = int(host.check_output("findmnt --noheadings --bytes --output SIZE /"))
    assert size > 7 * 10**9


@pytest.mark.cloud
def test_machine_can_swap(host):
    assert host.check_output("swapon --noheadings --show=NAME") == "/swap.img"
    assert host.file("/swap.img").mode == 0o600


def test_gunicorn_listens_where_nobody_else_can(host):
    assert host.socket("unix:///run/microblog/socket/gunicorn.sock").is_listening
    folder = host.file("/run/microblog/socket")
    assert (folder.mode, folder.user, folder.group) == (0o710, "microblog", "www-data")
    assert host.run("ss -Hltnp | grep gunicorn").stdout == ""


def _reachable_ports(host):
    """What a neighbour on the machine's network can connect to: asked from a network namespace beside it."""
    address = "10.99.0.1"
    host.check_output(
        "ip netns add neighbour && ip link add veth0 type veth peer name veth1 netns neighbour && "
        f"ip address add {address}/24 dev veth0 && ip link set veth0 up && "
        "ip -n neighbour address add 10.99.0.2/24 dev veth1 && ip -n neighbour link set veth1 up"
    )
    try:
        # Every port that anything listens on, and some that nothing does.
        listening = host.check_output("ss -Htln | sed -E 's/.*:([0-9]+) .*/\\1/' | sort -un").split()
        ports = sorted({int(port) for port in listening} | {22, 25, 80, 443, 3306, 8000, 9001})
        script = (
            "import socket\n"
            f"for port in {ports}:\n"
            "    with socket.socket() as s:\n"
            "        s.settimeout(3)\n"
            f"        if s.connect_ex(({address!r}, port)) == 0: print(port)\n"
        )
        return host.run(f'ip netns exec neighbour python3 -c "{script}"').stdout.split()
    finally:
        host.run("ip netns delete neighbour; ip link delete veth0")


def test_only_ssh_and_web_are_reachable(host):
    assert _reachable_ports(host) == ["22", "80", "443"]


def test_there_is_nothing_left_to_harden(host, image):
    """By what 'microblog harden' itself looks at. A Pi has no fail2ban: at home, and by keys alone."""
    told = host.run("microblog harden --check").stdout
    lines = [line for line in told.splitlines() if image.facts.target != "pi" or "fail2ban" not in line]
    assert len(lines) >= 3
    assert all(re.match(r"yes\b", line) for line in lines), told


def test_firewall_denies_by_default(host):
    told = host.check_output("ufw status verbose")
    assert "Status: active" in told
    assert "deny (incoming)" in told


def test_sshd_takes_keys_alone(host):
    settings = dict(line.split(" ", 1) for line in host.check_output("sshd -T").splitlines() if " " in line)
    assert settings["permitrootlogin"] == "no"
    assert settings["passwordauthentication"] == "no"
    assert settings["kbdinteractiveauthentication"] == "no"


def test_a_password_is_not_even_asked_for(booted):
    tried = subprocess.run(
        ["ssh", "-F", "/dev/null", "-p", str(booted.ports["ssh"]),
         "-o", "PubkeyAuthentication=no", "-o", "BatchMode=yes",
         "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
         f"{booted.user}@127.0.0.1", "true"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert tried.returncode != 0
    assert "Permission denied (publickey)" in tried.stderr


def test_owner_is_root_by_sudo_without_a_password(booted):
    assert booted.run("sudo -n id -u").strip() == "0"


@pytest.mark.cloud
def test_postfix_takes_mail_from_the_machine_alone(host):
    assert host.check_output("postconf -h inet_interfaces") == "loopback-only"


def test_machine_has_the_name_that_it_was_given(host):
    assert host.check_output("hostname") == "first"


@pytest.mark.cloud
def test_mail_goes_by_the_machines_real_name(host):
    assert host.check_output("postconf -h myhostname").split(".")[0] == "first"


def test_program_runs_as_its_own_user(host):
    processes = host.process.filter(comm="gunicorn")
    assert processes
    assert {process.user for process in processes} == {"microblog"}
    assert host.user("microblog").shell in ("/usr/sbin/nologin", "/bin/false")


def test_secrets_are_for_the_application_alone(host):
    environment = host.file("/etc/microblog/microblog.env")
    assert (environment.mode, environment.user, environment.group) == (0o640, "root", "microblog")


def test_certificates_key_is_roots_alone(host):
    key = host.file("/etc/microblog/tls/key.pem")
    assert (key.mode, key.user) == (0o600, "root")
