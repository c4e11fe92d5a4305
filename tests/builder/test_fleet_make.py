"""A fleet's folder: what its machines are told, its secrets, and that making it again changes nothing."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from builder.core.errors import BuildError
from builder.core.needs import Program
from builder.fleet import make, plan, userdata

NEEDS = (Program("openssl", "openssl"), Program("age", "age"))
FLEET = """\
site = "garden.example.org"
owner = "ada@example.org"
ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ada"]
shared = "10.0.0.5"

[database]
db1 = "10.0.0.11"
db2 = "10.0.0.12"
db3 = "10.0.0.13"

[app]  # Each has a HAProxy of its own.
app1 = "10.0.0.21"
app2 = "10.0.0.22"

[balancer]
lb1 = "10.0.0.31"
lb2 = "10.0.0.32"

[settings]
SITE_NAME = "Ada's \\\\ garden"
"""
_NAMES = {"db1", "db2", "db3", "app1", "app2", "lb1", "lb2"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """FLEET.toml, beside the folder that was made of it once: not to be changed."""
    path = tmp_path_factory.mktemp("a fleet") / "garden.toml"
    path.write_text(FLEET)
    make.make(path, path.with_suffix(""))
    return path


@pytest.fixture
def garden(made, tmp_path):
    """A copy of it."""
    shutil.copytree(made.parent, tmp_path / "here")
    return tmp_path / "here/garden.toml"


def _contents(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def _files(folder, name):
    """What a machine is told to write, by path."""
    told = yaml.safe_load((folder / f"{name}.yaml").read_text())
    return {file["path"]: file for file in told["write_files"]}


def _secrets(known):
    """All that must be in no output."""
    single = [value for value in known.values() if isinstance(value, str)]
    keys = [known["authority"]["key"], *(one["key"] for one in known["machines"].values())]
    return [*single, *(key.splitlines()[1] for key in keys)]


def test_each_machine_is_told_what_it_is_and_no_secret_of_anothers(made):
    folder = made.with_suffix("")
    known = json.loads((folder / "secrets.json").read_text())
    assert {path.stem for path in folder.glob("*.yaml")} == _NAMES
    keeps = {
        "db": ("database_password", "copy_password"),
        "ap": ("database_password", "secret_key", "claim_code"),
    }
    for name in _NAMES:
        text = (folder / f"{name}.yaml").read_text()
        assert text.startswith("#cloud-config\n")
        assert len(text) < userdata.LARGEST
        told = yaml.safe_load(text)
        assert told["hostname"] == name
        files = _files(folder, name)
        assert f"NAME={name}\n" in files["/etc/fleet/self"]["content"]
        assert files["/etc/fleet/machines"]["content"] == (folder / "machines").read_text()
        assert files["/etc/fleet/tls/key.pem"]["content"] == known["machines"][name]["key"]
        assert all(
            file["permissions"] in ("0600", "0640") for file in files.values() if "KEY" in file["content"]
        )
        of_word = {word for word in known if isinstance(known[word], str) and known[word] in text}
        assert of_word == {*keeps.get(name[:2], ())}
        others = [one["key"] for other, one in known["machines"].items() if other != name]
        assert not any(key.splitlines()[1] in text for key in [*others, known["authority"]["key"]])


def test_the_application_is_told_its_settings(made):
    file = _files(made.with_suffix(""), "app1")["/etc/microblog/microblog.env"]
    assert (file["owner"], file["permissions"]) == ("root:microblog", "0640")
    lines = dict(line.split("=", 1) for line in file["content"].splitlines())
    assert lines["SITE_NAME"] == r"'Ada\'s \\ garden'"
    assert lines["PROXY_NETWORKS"] == "'10.0.0.31/32,10.0.0.32/32'"
    assert re.fullmatch(
        r"'mysql\+pymysql://microblog:\w{40}@127\.0\.0\.1:3306/microblog\?ssl_ca=/etc/fleet/tls/ca\.pem'",
        lines["DATABASE_URL"],
    )
    assert re.fullmatch("'[A-Z]{8}'", lines["CLAIM_CODE"])


def test_cloud_init_is_told_no_more_than_it_knows(made):
    """cloud-init itself is not installed for this: it would be at work at this machine's next boot."""
    for name in _NAMES:
        told = yaml.safe_load((made.with_suffix("") / f"{name}.yaml").read_text())
        assert {*told} == {"hostname", "ssh_authorized_keys", "write_files"}
        for file in told["write_files"]:
            assert {*file} == {"path", "owner", "permissions", "content"}
            assert all(isinstance(value, str) for value in file.values())
            assert re.fullmatch("0[0-7]{3}", file["permissions"])


def test_machines_know_each_other_by_the_fleets_authority_alone(made, tmp_path):
    folder = made.with_suffix("")
    for name, address in (("db1", "127.0.0.1"), ("db3", "10.0.0.13"), ("app2", "10.0.0.22")):
        files = _files(folder, name)
        for what in ("cert", "key"):
            (tmp_path / what).write_text(files[f"/etc/fleet/tls/{what}.pem"]["content"])
        verify = ["openssl", "verify", "-x509_strict", "-verify_ip"]
        for purpose in ("sslserver", "sslclient"):
            subprocess.run(
                [*verify, address, "-purpose", purpose, "-CAfile", folder / "ca.pem", tmp_path / "cert"],
                check=True, capture_output=True,
            )  # fmt: skip
        wrong = [*verify, "10.0.0.99", "-CAfile", folder / "ca.pem", tmp_path / "cert"]
        assert subprocess.run(wrong, check=False, capture_output=True).returncode
        public = [
            subprocess.run(["openssl", *words], check=True, capture_output=True).stdout
            for words in (
                ["x509", "-in", tmp_path / "cert", "-noout", "-pubkey"],
                ["pkey", "-in", tmp_path / "key", "-pubout"],
            )
        ]
        assert public[0] == public[1]


def test_a_machine_whose_clock_is_behind_knows_the_others(made, tmp_path):
    """As one that has just been made, in a fleet that has just been made."""
    folder, now = made.with_suffix(""), int(time.time())
    (tmp_path / "cert").write_text(_files(folder, "app1")["/etc/fleet/tls/cert.pem"]["content"])
    verify = ["openssl", "verify", "-CAfile", folder / "ca.pem", "-attime"]
    for at, good in ((-2 * 3600, True), (19 * 365 * 86400, True), (21 * 365 * 86400, False)):
        done = subprocess.run([*verify, str(now + at), tmp_path / "cert"], check=False, capture_output=True)
        assert (done.returncode == 0) is good


def test_nothing_changes_when_it_is_made_again(garden):
    folder = garden.with_suffix("")
    before = _contents(folder)
    assert make.make(garden, folder) == []
    assert _contents(folder) == before


def test_what_was_deleted_comes_back_the_same(garden):
    folder = garden.with_suffix("")
    before = (folder / "app1.yaml").read_bytes()
    (folder / "app1.yaml").unlink()
    assert make.make(garden, folder) == [folder / "app1.yaml"]
    assert (folder / "app1.yaml").read_bytes() == before


def test_all_of_it_is_its_owners_alone_and_no_secret_is_printed(garden, build):
    folder = garden.parent / "out"
    done = build("fleet", "make", str(garden), "--out", str(folder))
    assert done.returncode == 0, done.stderr
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    assert str(folder / "app1.yaml") in done.stdout.splitlines()
    known = json.loads((folder / "secrets.json").read_text())
    public = (
        done.stdout + done.stderr + (folder / "README.txt").read_text() + (folder / "machines").read_text()
    )
    assert len(_secrets(known)) == 12
    assert not [one for one in _secrets(known) if one in public]


def test_a_machine_more_and_one_less(garden):
    folder = garden.with_suffix("")
    known = json.loads((folder / "secrets.json").read_text())
    changed = make.add(garden, folder, plan.Machine("app", "app3", "10.0.0.23"))
    assert folder / "app3.yaml" in changed
    assert garden.read_text() == FLEET.replace('0.22"\n', '0.22"\napp3 = "10.0.0.23"\n')
    now = json.loads((folder / "secrets.json").read_text())
    assert {**now["machines"], "app3": None} == {**known["machines"], "app3": None}
    assert {**now, "machines": None} == {**known, "machines": None}
    assert "app app3 10.0.0.23\n" in _files(folder, "lb1")["/etc/fleet/machines"]["content"]
    # Those that let a new one in come before it, and those that lead to it after it.
    later = (folder / "README.txt").read_text().partition("A machine more, or less")[2]
    told = re.findall(r"^ +ssh \S+ sudo fleet-machine --told < (\S+)\.yaml$", later, re.M)
    assert told == ["db1", "db2", "db3", "app1", "app2", "app3", "lb1", "lb2"]
    make.remove(garden, folder, "app3")
    assert garden.read_text() == FLEET
    assert not (folder / "app3.yaml").exists()
    assert json.loads((folder / "secrets.json").read_text()) == known


def test_a_fleet_with_one_of_each_grows_as_its_owner_is_told(tmp_path):
    """Two balancers want an address that they share, and one database can't become two."""
    path, folder = tmp_path / "fleet.toml", tmp_path / "made"
    one = re.sub(r"(?m)^(shared|\w+[23]) = .*\n", "", FLEET)
    path.write_text(one)
    make.make(path, folder)
    with pytest.raises(BuildError) as refused:
        make.add(path, folder, plan.Machine("database", "db2", "10.0.0.12"))
    # By "fleet add" there is no way to three.
    assert f"by hand, then: ./build.py fleet make {path}" in refused.value.hint
    with pytest.raises(BuildError) as refused:
        make.add(path, folder, plan.Machine("balancer", "lb2", "10.0.0.32"))
    assert 'shared = "' in refused.value.hint
    assert path.read_text() == one
    path.write_text('shared = "10.0.0.5"\n' + one)
    make.add(path, folder, plan.Machine("balancer", "lb2", "10.0.0.32"))
    later = (folder / "README.txt").read_text().partition("A machine more, or less")[2]
    assert "One database becomes three: write both into FLEET.toml by hand" in later
    assert "lead garden.example.org to that address" in later


def test_the_secrets_can_be_sealed_and_opened_by_ones_ssh_key(garden, tmp_path, build):
    folder = garden.with_suffix("")
    before = (folder / "db1.yaml").read_bytes()
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    garden.write_text(f'seal_to = ["{public}"]\n{FLEET}')
    secrets = _secrets(json.loads((folder / "secrets.json").read_text()))
    done = build("fleet", "make", str(garden), "--identity", str(key))
    assert done.returncode == 0, done.stderr
    assert not (folder / "secrets.json").exists()
    for more in (
        ["add", str(garden), "app9", "--kind", "app", "--address", "10.0.0.29"],
        ["remove", str(garden), "app9"],
    ):
        changed = build("fleet", *more, "--identity", str(key))
        assert changed.returncode == 0, changed.stderr
        done.stdout += changed.stdout + changed.stderr
    assert not [one for one in secrets if one in done.stdout + done.stderr]
    sealed = (folder / "secrets.age").read_bytes()
    assert sealed.startswith(b"age-encryption.org/v1")
    assert (folder / "secrets.age").stat().st_mode & 0o777 == 0o600
    assert make.make(garden, folder, key) == []
    assert (folder / "secrets.age").read_bytes() == sealed
    (folder / "db1.yaml").unlink()
    make.make(garden, folder, key)
    assert (folder / "db1.yaml").read_bytes() == before
    with pytest.raises(BuildError, match="the secrets are not opened or sealed") as error:
        make.make(garden, folder, tmp_path / "no such key")
    assert "--identity" in error.value.hint
    # Whom they are encrypted for has changed: they are encrypted anew, and opened by the other one.
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    garden.write_text(f'seal_to = ["{other.with_suffix(".pub").read_text().strip()}"]\n{FLEET}')
    assert make.make(garden, folder, key) == []
    assert make.make(garden, folder, other) == []
    with pytest.raises(BuildError, match="the secrets are not opened or sealed"):
        make.make(garden, folder, key)
    garden.write_text(FLEET)
    make.make(garden, folder, other)
    assert not (folder / "secrets.age").exists()
    assert (folder / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_site_that_grows_into_a_fleet_keeps_its_key(garden, build, tmp_path):
    """What it has signed and sealed is good on each machine; the key is asked for once, and in no output."""
    folder, settings, key = garden.with_suffix(""), tmp_path / "microblog.env", "k" * 40
    settings.write_text(f"# ours\nSITE_NAME='A'\nSECRET_KEY='{key}'\nMAIL_SERVER=localhost\n")
    done = build("fleet", "make", str(garden), "--env", str(settings))
    assert done.returncode == 0, done.stderr
    assert key not in done.stdout + done.stderr
    assert {Path(line).name for line in done.stdout.splitlines()} == {"app1.yaml", "app2.yaml"}
    assert make.make(garden, folder) == []
    for name in ("app1", "app2"):
        content = _files(folder, name)["/etc/microblog/microblog.env"]["content"]
        assert f"SECRET_KEY='{key}'\n" in content
    before = _contents(folder)
    settings.write_text("SECRET_KEY=short\n")
    with pytest.raises(BuildError, match="has no SECRET_KEY") as error:
        make.make(garden, folder, settings=settings)
    assert error.value.hint
    with pytest.raises(BuildError, match="No such file"):
        make.make(garden, folder, settings=tmp_path / "none")
    assert _contents(folder) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-10],
        lambda _text: "",
        lambda _text: "{}",
        lambda text: text.replace('"authority"', '"authorit"'),
        lambda text: text.replace('"app1"', '"app1": 1, "app0"'),
        lambda text: text.replace('"secret_key"', '"key"'),
    ],
)
def test_damaged_secrets_are_never_made_anew(garden, damage):
    folder = garden.with_suffix("")
    text = damage((folder / "secrets.json").read_text())
    (folder / "secrets.json").write_text(text)
    before = _contents(folder)
    with pytest.raises(BuildError, match="is damaged") as error:
        make.make(garden, folder)
    assert error.value.hint
    assert _contents(folder) == before


def test_lost_secrets_are_never_made_anew(garden):
    """Machines that are made with others would be strangers to those that run."""
    folder = garden.with_suffix("")
    (folder / "secrets.json").rename(garden.parent / "kept")
    before = _contents(folder)
    with pytest.raises(BuildError, match="its secrets are not there") as error:
        make.add(garden, folder, plan.Machine("app", "app3", "10.0.0.23"))
    assert "secrets.json" in error.value.hint
    assert _contents(folder) == before
    assert garden.read_text() == FLEET
    (garden.parent / "kept").rename(folder / "secrets.json")
    assert make.make(garden, folder) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('site = "garden.example.org"', 'site = "a b"', "site can't be 'a b'"),
        ('owner = "ada@example.org"', "", "owner can't be ''"),
        ('owner = "ada@example.org"', 'owner = "a\'$(x)@example.org"', "owner can't be"),
        ("ssh_keys", "ssh_key", "there is no field 'ssh_key'"),
        ("ssh-ed25519", "mine", "ssh_keys is no list of keys"),
        ('db3 = "10.0.0.13"', "", "two databases are worse than one"),
        ('"10.0.0.13"', '"10.0.0.12"', "10.0.0.12 is there twice"),
        ("app2 =", "db1 =", "db1 is there twice"),
        ('"10.0.0.13"', '"10.0.0.256"', "'10.0.0.256' is no IPv4 address"),
        ("app2 =", '"../x" =', "'../x' is no name for a machine"),
        ('shared = "10.0.0.5"', "", "no address that one of them has"),
        ("[app]", "[ap]", "there is no field 'ap'"),
        ("SITE_NAME", "SECRET_KEY", "SECRET_KEY follows from the fleet"),
        ("[app]", "[app", "is not TOML"),
        ("shared =", 'begun = "yes"\nshared =', "begun can't be 'yes'"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(tmp_path, old, new, told):
    assert old in FLEET
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET.replace(old, new))
    with pytest.raises(BuildError, match=re.escape(told)) as error:
        make.make(path, tmp_path / "out")
    assert error.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: plan.with_machine(path, "app", "db1", "10.0.0.99"), "has a machine 'db1' already"),
        (lambda path: plan.with_machine(path, "app", "app9", "10.0.0.11"), "10.0.0.11 is there twice"),
        (lambda path: plan.without_machine(path, "app9"), "the fleet has no machine 'app9'"),
        (lambda path: plan.without_machine(path, "db1"), "two databases are worse than one"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(tmp_path: Path, change, told):
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    with pytest.raises(BuildError, match=told):
        change(path)
    assert path.read_text() == FLEET


_INLINE = FLEET.replace(
    '[app]  # Each has a HAProxy of its own.\napp1 = "10.0.0.21"\napp2 = "10.0.0.22"\n', ""
)
_INLINE = _INLINE.replace("\n[database]", 'app = {app1 = "10.0.0.21", app2 = "10.0.0.22"}\n\n[database]')


@pytest.mark.parametrize(
    "change",
    [
        lambda path: plan.with_machine(path, "app", "app9", "10.0.0.99"),
        lambda path: plan.without_machine(path, "app2"),
    ],
)
def test_machines_that_are_not_a_line_each_are_its_owners_to_change(tmp_path, change):
    path = tmp_path / "fleet.toml"
    path.write_text(_INLINE)
    assert len(plan.load(path).of("app")) == 2
    with pytest.raises(BuildError, match=r"machines of \[app\] are not written a line each") as error:
        change(path)
    assert error.value.hint
    assert path.read_text() == _INLINE


def test_a_machine_with_the_name_of_a_field_goes_alone(tmp_path):
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET.replace("app2", "site"))
    assert plan.without_machine(path, "site") == FLEET.replace('app2 = "10.0.0.22"\n', "")
