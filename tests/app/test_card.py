"""microblog.txt: what is right in it counts, what is wrong is answered, no secret stays."""

import base64
import configparser
import json
import struct
from pathlib import Path

import pytest

from microblog.config import Config
from microblog.errors import HostError
from microblog.host.card import boot as card
from microblog.host.card import bootfile
from microblog.web import hosts

_KEY = "ssh-ed25519 " + base64.b64encode(
    struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + bytes(range(32))
).decode()  # fmt: skip

_WHOLE = f"""# a comment
Site-Name = Büro & "Söhne"
host name = Küche
admin user = susan
admin email = susan@example.org
admin password = a # in a pass phrase
claim code = gard-enxy
wifi country = de
wifi name = Our Wi-Fi
wifi password = p=ss word\\
ssh key = {_KEY} me@laptop
ssh key = {_KEY} other
"""


def test_the_template_says_nothing_and_is_kept():
    found = bootfile.read(bootfile.TEMPLATE)
    assert (found.groups, found.mistakes) == ({}, [])
    assert found.rewritten().replace("\r\n", "\n") == bootfile.TEMPLATE
    for keys in bootfile.GROUPS.values():
        assert all(f"\n#{key} =" in bootfile.TEMPLATE for key in keys)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_editor_will_do(encoding, end):
    data = _WHOLE.replace("Küche", "kueche.LOCAL").replace("\n", end).encode(encoding)
    found = bootfile.read(bootfile.decode(data))
    assert found.mistakes == []
    assert found.groups["site"] == {"site name": 'Büro & "Söhne"'}
    assert bootfile.host_name(found.groups["host"]["host name"]) == "kueche"
    assert found.groups["admin"]["admin password"] == "a # in a pass phrase"
    assert found.groups["wifi"]["wifi password"] == "p=ss word\\"
    assert len(found.groups["ssh"]) == 2


def test_a_joined_emoji_is_one_sign_of_a_name():
    for name in ("👨\u200d👩\u200d👧\u200d👦 Home", "🏳️\u200d🌈", "🏴\U000e0067\U000e0062\U000e007f"):
        found = bootfile.read(
            f"site name = {name}\nwifi country = DE\nwifi name = x\nwifi password = 12345678\n"
        )
        assert (found.groups["site"], found.mistakes) == ({"site name": name}, [])
    # With nothing that it joins, nobody sees it.
    for name in ("\u200d", "a\u202eb", "a\x07b"):
        assert "cannot be seen" in bootfile.read(f"site name = {name}\n").mistakes[0].text


def test_quotes_around_a_value_are_no_part_of_it():
    text = "admin user = \"susan\"\nadmin email = 'susan@example.org'\nadmin password = \"a 'b' \"\n"
    text += 'wifi country = DE\nwifi name = \' Our Wi-Fi \'\nwifi password = ""12345678""\n'
    found = bootfile.read(text)
    assert found.mistakes == []
    assert found.groups["admin"] == {
        "admin user": "susan", "admin email": "susan@example.org", "admin password": "a 'b' ",
    }  # fmt: skip
    assert found.groups["wifi"]["wifi name"] == " Our Wi-Fi "
    # Who has quotes in it writes two.
    assert found.groups["wifi"]["wifi password"] == '"12345678"'


def test_after_use_no_line_counts_and_no_secret_is_left():
    text = _WHOLE.replace("Küche", "kueche")
    after = bootfile.read(text).rewritten()
    assert "pass phrase" not in after
    assert "p=ss" not in after
    assert bootfile.read(after).groups == {}
    assert bootfile.read(after).mistakes == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("host name = Küche", "letters, digits and hyphens"),
        ("host name = -a", "letters, digits and hyphens"),
        ("host name = localhost", "every machine"),
        ("host name: pi", "no = between"),
        ("host nmae = pi", 'is it "host name"?'),
        ("host name =", "nothing behind the ="),
        ("host name = a\x07", "cannot be seen"),
        ("host name = a\nhost name = b", "in line 1 already"),
        (f"site name = {'x' * 41}", "more than 40"),
        ("admin user = susan", '"admin email" is missing'),
        ("wifi name = x", '"wifi country" is missing'),
        (f"wifi country = DE\nwifi name = {'ü' * 17}\nwifi password = 12345678", "at most 32"),
        ("wifi country = DE\nwifi name = x\nwifi password = 1234567", "8 to 63"),
        ("wifi country = DE\nwifi name = x\nwifi password = passwört", "8 to 63"),
        ("wifi country = Germany\nwifi name = x\nwifi password = 12345678", "two letters"),
        ("claim code = short", "8 letters A to Z"),
        ("claim code = AAAAAAAA", "four of them different"),
        ("ssh key = -----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        ("ssh key = me@laptop", "no public SSH key"),
        (f"ssh key = {_KEY[:40]}", "not whole"),
        ("ssh key = ssh-ed25519", "not whole"),
        (
            "ssh key = ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
            "not whole",
        ),
    ],
)
def test_a_mistake_is_answered_and_the_rest_counts(line, words):
    found = bootfile.read(f"{line}\n")
    assert found.groups == {}
    (mistake,) = found.mistakes
    assert words in mistake.text
    assert found.rewritten() == "".join(f"{part}\r\n" for part in line.split("\n"))
    other = "site name = Fine\n" if "site name" not in line else "host name = fine\n"
    assert len(bootfile.read(f"{line}\n{other}").groups) == 1


@pytest.mark.parametrize("data", ["ü = 1".encode("latin-1"), b"\0\1\2", b"#" * 70000])
def test_what_is_no_text_is_named(data):
    with pytest.raises(ValueError, match="the file is"):
        bootfile.decode(data)


def config_of(**settings):
    return Config.load("/nonexistent", settings)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A card, and a machine whose files may be written."""
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "hosts").write_text("127.0.0.1 localhost\n127.0.1.1 old\n")
    for name, file in {"_ADMIN": "admin", "_WIFI": "wifi", "_KEYS": "keys", "_SSHD": "sshd",
                       "_HOSTNAME": "hostname", "_HOSTS": "hosts", "_NETWORK_MANAGER": "manager",
                       "_CONNECTION": "connection",
                       "_MANAGER_STATE": "state", "_RFKILL": "rfkill",
                       "_COUNTRY": "country"}.items():  # fmt: skip
        monkeypatch.setattr(card, name, etc / file)
    monkeypatch.setattr(card.layout, "ANSWERED", etc / "answers")
    monkeypatch.setattr(card.layout, "user_ids", lambda: (0, 0))
    monkeypatch.setattr(card.files.os, "fchown", lambda *_: None)
    monkeypatch.setattr(card.socket, "sethostname", lambda name: (etc / "told").write_text(name))
    netplan = card.services.subprocess.CompletedProcess([], 0, "")
    monkeypatch.setattr(card.services, "run", lambda *_: netplan)
    boot = tmp_path / "boot"
    boot.mkdir()
    return etc, boot


def _read(boot: Path) -> list[str]:
    said: list[str] = []
    card.read(said.append, boot)
    return said


def test_everything_gets_to_its_place_and_is_read_once(machine):
    etc, boot = machine
    (boot / "microblog.txt").write_text(_WHOLE.replace("Küche", "kueche"))
    assert len(_read(boot)) == 6
    assert (etc / "hostname").read_text() == (etc / "told").read_text() + "\n" == "kueche\n"
    assert (etc / "hosts").read_text() == "127.0.0.1 localhost\n127.0.1.1 kueche\n"
    assert json.loads((etc / "admin").read_text())["admin user"] == "susan"
    wlan0 = json.loads((etc / "wifi").read_text())["network"]["wifis"]["wlan0"]
    assert wlan0["regulatory-domain"] == "DE"
    assert wlan0["access-points"] == {"Our Wi-Fi": {"password": "p=ss word\\"}}
    assert (etc / "keys").read_text().count("ssh-ed25519 ") == 2
    # Both are set, and neither takes the other's place.
    assert "SITE_NAME='Büro" in (etc / "answers").read_text()
    assert "CLAIM_CODE=GARDENXY\n" in (etc / "answers").read_text()
    assert {(etc / name).stat().st_mode & 0o777 for name in ("admin", "wifi")} == {0o600}
    assert b"pass phrase" not in (boot / "microblog.txt").read_bytes()
    assert not (boot / "microblog-errors.txt").exists()
    assert _read(boot) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("su san!", "s@example.org", "eleven quiet herons"), "letters A to Z"),
        (("admin", "s@example.org", "eleven quiet herons"), "is reserved"),
        (("susan", "nowhere", "eleven quiet herons"), "no e-mail address"),
        (("susan", "s@example.org", "short"), "8 to 128"),
        (("susan", "s@example.org", "susan1234"), "easy to guess"),
    ],
)
def test_an_account_that_cannot_be_made_keeps_its_lines_to_be_mended(machine, values, words):
    etc, boot = machine
    file = boot / "microblog.txt"
    name, email, password = values
    file.write_text(
        f"admin user = {name}\nadmin email = {email}\nadmin password = {password}\nhost name = pi\n"
    )
    _read(boot)
    answer = (boot / "microblog-errors.txt").read_text()
    assert words in answer
    assert password not in answer
    assert not (etc / "admin").exists()
    assert bootfile.read(file.read_text()).groups["admin"]["admin password"] == password
    # What is beside it is used.
    assert (etc / "hostname").read_text() == "pi\n"


def test_where_there_is_network_manager_it_gets_the_wifi(machine):
    """Raspberry Pi OS: its Wi-Fi is off until there is a country, and netplan may not be there at all."""
    etc, boot = machine
    (etc / "manager").touch()
    (etc / "rfkill").mkdir()
    switch = etc / "rfkill" / "platform-3f300000.mmcnr:wlan"
    switch.write_text("1\n")
    (etc / "state").write_text("[main]\nNetworkingEnabled=true\nWirelessEnabled=false\n")
    (boot / "microblog.txt").write_text(
        "wifi country = de\nwifi name = Ünser #1;\nwifi password =  a b;\\#c d\n"
    )
    assert len(_read(boot)) == 1
    assert not (boot / "microblog-errors.txt").exists()
    connection = configparser.RawConfigParser(delimiters="=", comment_prefixes=("#",))
    connection.read(etc / "connection")
    ssid = connection["wifi"]["ssid"]
    assert bytes(map(int, ssid.rstrip(";").split(";"))).decode() == "Ünser #1;"
    assert connection["wifi-security"]["psk"] == "a\\sb;\\\\#c\\sd"
    assert (etc / "connection").stat().st_mode & 0o777 == 0o600
    assert "ieee80211_regdom=DE" in (etc / "country").read_text()
    assert switch.read_text() == "0\n"
    assert "WirelessEnabled=true" in (etc / "state").read_text()
    assert not (etc / "wifi").exists()


@pytest.mark.parametrize(
    ("lines", "access", "connection"),
    [
        ("wifi open = yes\n", {}, {}),
        (
            "wifi password = 12345678\nwifi hidden = Yes\n",
            {"password": "12345678", "hidden": True},
            {"hidden": "true"},
        ),
        ("wifi open = yes\nwifi hidden = yes\n", {"hidden": True}, {"hidden": "true"}),
        ("wifi password = 12345678\nwifi open = no\nwifi hidden = no\n", {"password": "12345678"}, {}),
    ],
)  # fmt: skip
def test_open_and_hidden_networks(machine, lines, access, connection):
    etc, boot = machine
    text = f'wifi country = de\nwifi name = " Ours "\n{lines}'
    (boot / "microblog.txt").write_text(text)
    _read(boot)
    assert not (boot / "microblog-errors.txt").exists()
    wlan0 = json.loads((etc / "wifi").read_text())["network"]["wifis"]["wlan0"]
    assert wlan0["access-points"] == {" Ours ": access}
    assert bootfile.read((boot / "microblog.txt").read_text()).groups == {}
    (etc / "manager").touch()
    (boot / "microblog.txt").write_text(text)
    _read(boot)
    found = configparser.RawConfigParser(delimiters="=", comment_prefixes=("#",))
    found.read(etc / "connection")
    assert dict(found["wifi"]) == {
        "mode": "infrastructure", "ssid": "".join(f"{byte};" for byte in b" Ours "), **connection,
    }  # fmt: skip
    assert ("wifi-security" in found) == ("password" in access)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "wifi open = yes"),
        ("wifi open = no\n", "wifi open = yes"),
        ("wifi open = yes\nwifi password = 12345678\n", "no password"),
        ("wifi open = maybe\nwifi password = 12345678\n", "yes or no"),
    ],
)
def test_a_network_without_a_password_is_asked_for_as_such(lines, words):
    found = bootfile.read(f"wifi country = de\nwifi name = x\n{lines}")
    assert found.groups == {}
    assert words in found.mistakes[0].text


@pytest.mark.parametrize("alone", [True, False])
def test_netplan_that_refuses_keeps_nothing_else_from_being_used(machine, monkeypatch, alone):
    """A file of somebody else's may be wrong; its lines, which may hold a password, are not told."""
    etc, boot = machine

    def run(*command):
        wrong = "--root-dir" not in command or not alone
        said = "** WARNING **: too open\n50-theirs.yaml:3:1: Invalid YAML\n    password: secret\n"
        return card.services.subprocess.CompletedProcess([], int(wrong), said)

    monkeypatch.setattr(card.services, "run", run)
    text = _WHOLE.replace("Küche", "kueche")
    (boot / "microblog.txt").write_text(text)
    assert len(_read(boot)) == 6
    assert (etc / "hostname").read_text() == "kueche\n"
    assert (etc / "keys").read_text().count("ssh-ed25519 ") == 2
    answer = (boot / "microblog-errors.txt").read_text()
    assert ("another file in /etc/netplan is wrong" in answer) == alone
    assert "50-theirs.yaml:3:1" in answer
    assert "secret" not in answer
    # Its lines stay for the next start, the others' do not.
    assert set(bootfile.read((boot / "microblog.txt").read_text()).groups) == {"wifi"}
    assert (etc / "wifi").exists() == alone


def test_a_key_opens_whoever_has_an_account(machine):
    """Imager or cloud-init may call the user otherwise than pi."""
    etc, boot = machine
    (boot / "microblog.txt").write_text(f"ssh key = {_KEY}\n")
    _read(boot)
    assert str(etc / "keys") in (etc / "sshd").read_text().split()
    assert (etc / "sshd").read_text().startswith("AuthorizedKeysFile .ssh/authorized_keys ")


def test_the_greeting_and_the_site_go_by_the_name_that_avahi_has(machine, monkeypatch):
    """Where another machine has its name on the network already, avahi takes microblog-2."""
    etc, boot = machine
    monkeypatch.setattr(card.names, "LOCAL", etc / "run/local-name")
    monkeypatch.setattr(card.socket, "gethostname", lambda: "garden")
    monkeypatch.setattr(card.names, "machine_addresses", lambda: [])
    monkeypatch.setattr(card.front, "answers", lambda: True)
    monkeypatch.setattr(card.os, "geteuid", lambda: 0)
    asked, said = [], "Call failed: no such service\n"

    def run(*command):
        asked.append(command)
        return card.services.subprocess.CompletedProcess([], int("failed" in said), said)

    monkeypatch.setattr(card.services, "run", run)
    assert "http://garden.local\n" in card.greeting(boot)
    said = 's "garden.local"\n'
    assert "http://garden.local\n" in card.greeting(boot)
    assert not any("setup" in command for command in asked)
    said = 's "garden-2.local"\n'
    assert "http://garden-2.local\n" in card.greeting(boot)
    assert asked[-1][-2:] == ("setup", "--daily")
    # The other's name is no name of this machine.
    assert "garden-2.local" in card.names.machine_names()
    assert "garden.local" not in card.names.machine_names()
    # A name that is configured counts beside it; anybody else's does not.
    config = config_of(SECRET_KEY="x" * 32, DATABASE_URL="sqlite:////x", HOST_NAMES="garden.local")
    assert [hosts.Hosts(config).accepts(name) for name in ("garden.local", "garden-2.local", "x.local")] == [
        True, True, False,
    ]  # fmt: skip
    said = 's "garden.local"\n'
    assert "http://garden.local\n" in card.greeting(boot)
    said = 's "no name"\n'
    assert "http://garden.local\n" in card.greeting(boot)


@pytest.mark.parametrize(("new", "told"), [(True, "BCDF-GHJK"), (False, "user promote"), (None, "Open it")])
def test_the_greeting_has_the_code_while_the_site_is_new(machine, monkeypatch, new, told):
    """None: whoever is greeted may not read it."""
    _, boot = machine
    monkeypatch.setattr(card.names, "machine_addresses", lambda: ["192.0.2.7"])
    monkeypatch.setattr(card.front, "answers", lambda: True)
    monkeypatch.setattr(card.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(card.Config, "load", lambda _path: None)

    def code(_config):
        if new is None:
            raise HostError("the file may not be read by this user")
        return "BCDF-GHJK" if new else ""

    monkeypatch.setattr(card.claim, "code", code)
    greeting = card.greeting(boot)
    assert "The site is up" in greeting
    assert told in greeting
    assert ("BCDF-GHJK" in greeting) is (new is True)


def test_a_mistake_is_answered_until_it_is_mended(machine):
    etc, boot = machine
    (boot / "microblog.txt").write_text("wifi name = Ours\nwifi password = secret password\nhost name = pi\n")
    _read(boot)
    answer = (boot / "microblog-errors.txt").read_text()
    assert "wifi country" in answer
    assert "secret password" not in answer
    assert (etc / "hostname").read_text() == "pi\n"
    assert not (etc / "wifi").exists()
    file = boot / "microblog.txt"
    file.write_text(file.read_text() + "wifi country = de\n")
    _read(boot)
    assert (etc / "wifi").exists()
    assert not (boot / "microblog-errors.txt").exists()


def test_the_second_txt_that_explorer_hides_is_found(machine):
    _, boot = machine
    (boot / "microblog.txt.txt").write_text("host name = pi\n")
    _read(boot)
    assert "rename it" in (boot / "microblog-errors.txt").read_text()


def test_gunicorn_takes_all_addresses_of_a_card(monkeypatch):
    """As gunicorn's own reader of settings understands them."""
    import importlib

    from gunicorn.config import Config

    from microblog import gunicorn_config

    monkeypatch.setenv("BIND", "127.0.0.1:8000,0.0.0.0:80,[::]:80")
    config = Config()
    config.set("bind", importlib.reload(gunicorn_config).bind)
    assert config.address == [("127.0.0.1", 8000), ("0.0.0.0", 80), ("::", 80)]  # noqa: S104
