"""The commands of a first evening, on a machine that was just started: nothing is installed, or updated."""

import json

import pytest

from builder.core.progress import step

pytestmark = [pytest.mark.cloud, pytest.mark.thorough]

_NAME = "blog.example.org"
# An authority of its own: there is no way from here to a real one.
_DIRECTORY = "https://localhost:14000/dir"
_SETTINGS = {
    "pebble": {
        "listenAddress": "127.0.0.1:14000",
        "managementListenAddress": "127.0.0.1:15000",
        "certificate": "/root/acme/cert.pem",
        "privateKey": "/root/acme/key.pem",
        "httpPort": 80,
        "tlsPort": 443,
    }
}
_AUTHORITY = f"""
apt-get install --quiet --yes --no-install-recommends pebble
mkdir /root/acme && cd /root/acme
cat > config.json <<'END'
{json.dumps(_SETTINGS)}
END
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \\
    -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
cp cert.pem /usr/local/share/ca-certificates/acme.crt
update-ca-certificates
echo 127.0.0.1 {_NAME} >> /etc/hosts
systemd-run --unit=pebble --setenv=PEBBLE_VA_NOSLEEP=1 --setenv=PEBBLE_WFE_NONCEREJECT=0 \\
    pebble -config /root/acme/config.json -strict=false
until curl --silent --output /dev/null {_DIRECTORY}; do sleep 1; done
"""
_SHOWN = f"openssl s_client -connect {_NAME}:443 < /dev/null 2> /dev/null | openssl x509 -noout -issuer"


@pytest.fixture(scope="module")
def fresh(lab):
    """A machine that nobody has told anything; it takes the others' place."""
    lab.power_off()
    with lab.boot("fresh") as running:
        with step("Booting a fresh machine", "It answers") as now:
            running.wait_for_site(now)
            running.wait_for_ssh(now)
        running.wait_for_cloud_init()
        yield running


def test_harden_mail_and_https_work_at_once(fresh):
    # certbot and fail2ban are there; apt knows of no package.
    assert fresh.run("find /var/lib/apt/lists -name '*_Packages*'") == ""

    told = fresh.run("sudo microblog harden --no-confirm")
    assert "NO " not in told, told
    assert fresh.try_ssh("sudo true").returncode == 0, "nobody gets in any more"

    told = fresh.run(f"sudo microblog mail --domain {_NAME}")
    assert "Publish these records" in told
    assert "v=DKIM1" in told
    assert "v=spf1" in told
    assert fresh.run("systemctl is-active postfix opendkim").split() == ["active"] * 2

    fresh.run(f"sudo sh -e <<'SCRIPT'\n{_AUTHORITY}SCRIPT\n")
    told = fresh.run(f"sudo microblog https {_NAME} --server {_DIRECTORY}")
    assert f"https://{_NAME} has its certificate" in told
    fresh.run(f"until {_SHOWN} | grep -q Pebble; do sleep 1; done")
    assert fresh.run("systemctl is-active certbot.timer").strip() == "active"
    facts = json.loads(fresh.run("sudo microblog status --json || true"))
    assert facts["certificate"]["ok"], facts
    assert facts["visitors"]["ok"], facts

    # And the way back of each.
    fresh.run("sudo microblog https --off --now && sudo microblog mail --off")
    fresh.run(f"while {_SHOWN} | grep -q Pebble; do sleep 1; done")
    assert fresh.run("ls /etc/opendkim-microblog.conf 2> /dev/null || true") == ""
    assert fresh.try_ssh("sudo true").returncode == 0
