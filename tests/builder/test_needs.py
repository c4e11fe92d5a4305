"""What a verb needs follows from the code that it runs, and can be had by one command."""

import ast
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from builder.core import needs, paths, usage
from builder.core.errors import BuildError

# By other names: what is made up here is nothing that the tests need.
from builder.core.needs import File as _File
from builder.core.needs import Package as _Package
from builder.core.needs import Program as _Program

_COMMAND = re.compile(r"(?m)^  .*\./build\.py (.+)$")


# Without some of them a package is made nevertheless: another one.
_DEB = {
    "build-essential", "debhelper", "dh-python", "dpkg-dev", "fakeroot", "git", "po-debconf", "python3-all",
    "python3-setuptools",
}  # fmt: skip
_IMAGES = {
    *_DEB, "apt-utils", "arch-test", "mmdebstrap", "ovmf", "packer", "qemu-efi-aarch64", "qemu-system-arm",
    "qemu-system-x86", "qemu-user-static", "uidmap", "wrk", "xz-utils", "zstd",
}  # fmt: skip


def _packages(found):
    return {need.package for need in found}


@pytest.mark.parametrize(
    ("verb", "some", "none"),
    [
        ("deb", _DEB, {"qemu-utils", "mmdebstrap"}),
        ("repo", {*_DEB, "apt-utils", "gnupg", "rsync"}, {"qemu-utils"}),
        ("images", _IMAGES, {"chromium"}),
        ("check", {"ovmf", "qemu-system-arm", "bmap-tools"}, {"chromium"}),
        ("boot", {"qemu-system-x86", "mtools", "openssh-client"}, {"chromium", "ovmf"}),
        (
            "flash",
            {"bmap-tools", "mtools", "e2fsprogs"},
            {"qemu-system-x86", "build-essential", "mmdebstrap"},
        ),
        ("verify", {"gnupg", "minisign"}, {"qemu-system-x86", "build-essential", "mmdebstrap", "dpkg"}),
        ("vagrant", {"qemu-utils"}, {"qemu-system-x86", "build-essential", "mmdebstrap"}),
        ("publish", {"qemu-utils", "build-essential", "packer"}, {"qemu-system-x86", "mmdebstrap"}),
        ("bench", {"gunicorn", "wrk", "mariadb-server", "mmdebstrap"}, {"chromium"}),
        ("fleet", {"openssl", "age", "openssh-client"}, {"mariadb-server", "haproxy"}),
        (
            "fleet try",
            {"mariadb-server", "galera-4", "haproxy", "keepalived", "nginx"},
            {"chromium", "certbot", "faketime"},
        ),
    ],
)
def test_a_verb_needs_what_its_code_runs(verb, some, none):
    found = _packages(needs.of_verb(*verb.split()))
    assert some <= found
    assert not none & found


@pytest.mark.parametrize(
    ("suite", "some"),
    [
        ("app", {"mariadb-server", "mmdebstrap"}),
        ("browser", {"chromium"}),
        ("builder", {"build-essential", "ovmf", "minisign", "vagrant", "gnupg", "qemu-utils", "bmap-tools"}),
        ("package", {"lintian", "piuparts", "apt-utils", "reprotest", "systemd-container", "testssl.sh"}),
        ("stranger", {"mmdebstrap"}),
        ("fleet", {"mariadb-server", "galera-4", "haproxy", "nginx"}),
    ],
)
def test_a_suite_needs_what_its_tests_run(suite, some):
    assert some <= _packages(needs.of_folder(f"tests/{suite}"))


def test_every_verb_is_known_before_anything_is_installed(build):
    assert set(re.findall(r"^  ([a-z]+)  ", build("--help").stdout, re.MULTILINE)) == {*usage.verbs()}
    for verb in usage.verbs():
        text = usage.text(verb)
        assert re.search(rf"\n  Example: .*\./build\.py {verb}", text)
        asked = build(verb, "--help").stdout
        words, wanted = (told.splitlines()[0].split() for told in (text, asked))
        assert [word[0] == "[" for word in words] == [word[0] == "[" for word in wanted]
        options, wanted = (
            {*re.findall(r"(?m)^  (?:-h, )?(--[a-z-]+)", told)} - {"--help"} for told in (text, asked)
        )
        assert options == wanted, verb


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("images --fersh", "there is no option --fersh"),
        ("images -x", "there is no option -x"),
        ("--fresh images", "there is no option --fresh"),
        ("images --base", "--base needs a value"),
        ("boot", "boot needs more: IMAGE"),
        ("publish --dry-run", "publish needs more: PROVIDER [IMAGE]"),
        ("deb now", "deb takes no more than 0 arguments"),
        ("flash pi /dev/sdb /dev/sdc", "flash takes no more than 2 arguments"),
    ],
)
def test_a_mistyped_command_line_is_seen_before_anything_is_installed(build, line, told):
    words = line.split()
    assert usage.wrong(next(word for word in words if word[0] != "-"), words) == told
    assert build(*words).returncode == 2


def test_what_is_typed_right_is_not_taken_for_a_mistake():
    lines = [*_COMMAND.findall((paths.ROOT / "README.md").read_text())]
    lines += [line for verb in usage.verbs() for line in _COMMAND.findall(usage.text(verb))]
    assert len(lines) > 15
    more = (
        "check cloud --accel=tcg --json\n--debug images\nimages -- cloud pi\nboot cloud --memory 512 --keep x"
    )
    for line in [*lines, *more.splitlines()]:
        words = shlex.split(line, comments=True)
        for verb in [word for word in words if word in usage.verbs()][:1]:
            assert usage.wrong(verb, words) == "", line
            usage.refuse_what_says_nothing(verb, words)


def test_options_that_say_nothing_are_options():
    """Of the tables of those: a name that changes here changes there."""
    for table in (usage._NEEDS, usage._ALONE, usage._OF_WORDS):
        for (verb, option), others in table.items():
            text = usage.text(verb)
            named = [others] if isinstance(others, str) else others
            for name in (option, *named):
                assert re.search(rf"(?<![\w-]){name}(?![\w-])", text), (verb, name)


def test_whatever_is_run_is_declared():
    """No module of the builder runs a program by its bare name: it would be needed, and unknown."""
    shells = {"sh", "chroot"}
    for file in (paths.ROOT / "builder").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
                "run", "Popen", "output", "attend", "check_output",
            ):  # fmt: skip
                first = node.args[0] if node.args else None
                head = first.elts[0] if isinstance(first, ast.List) and first.elts else None
                if isinstance(head, ast.Constant) and isinstance(head.value, str):
                    assert head.value in shells or file.name == "needs.py", f"{file.name}: {head.value}"


def test_a_program_has_one_package():
    found = {}
    for verb in usage.verbs():
        for need in needs.of_verb(verb):
            if isinstance(need, _Program):
                assert found.setdefault(need.name, need.package) == need.package


def test_needs_are_read_without_running_what_has_them(tmp_path, monkeypatch):
    monkeypatch.setattr(needs, "_CHECKOUT", tmp_path)
    for name, text in {
        "build.py": "@main.command()\ndef bake():\n    from builder import oven\n",
        "builder/oven.py": "import no_such_module\nfrom builder import flour\nprogram('heat', 'oven')\n",
        "builder/flour.py": "NEEDS = (Package('mill'), File('/grain', 'grain'), Folder('tests/taste'))\n",
        "tests/taste/test_it.py": "import helpers\n",
        "tests/taste/helpers.py": "Program('tongue', 'tongue', optional=True)\nprogram(one, two)\n",
        "tests/taste/made_up.py": "File('/a', package=b)\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert needs.of_verb("bake") == [
        _File("/grain", "grain"), _Package("mill"), _Program("heat", "oven"),
        _Program("tongue", "tongue", optional=True),
    ]  # fmt: skip
    assert needs.of_verb("burn") == []


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine on which apt only says what it was asked, and dpkg knows two packages."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, text in {
        "apt-get": 'echo "$@" >> "$LOG"; test ! -e "$LOG.fail" || { echo "E: so it is" >&2; exit 100; }',
        "dpkg": "echo amd64",
        "apt-cache": 'test "$2" != can-be-had || echo "  Candidate: 1"',
        "dpkg-query": "echo 'installed exim4, default-mta (= 1), mail-transport-agent';"
        "echo 'config-files old, '",
    }.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_ / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.defpath}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setattr(needs.os, "geteuid", lambda: 0)
    needs._installed.cache_clear()
    yield tmp_path
    needs._installed.cache_clear()


def test_what_something_provides_is_installed(machine):
    assert not needs.missing([_Package("exim4"), _Package("default-mta"), _Package("mail-transport-agent")])
    assert needs.missing([_Package("old")]) == [_Package("old")]


def test_nothing_is_asked_of_apt_when_nothing_is_missing(machine):
    needs.have([_Package("exim4"), _Program("sh", "dash"), _File("/etc/passwd", "base-passwd")])
    assert not (machine / "log").exists()


def test_root_fetches_lists_then_installs(machine):
    with pytest.raises(BuildError, match="none is not there, although the package other is installed"):
        needs.have([_Program("none", "other"), _Program("may", "perhaps", optional=True)])
    assert (machine / "log").read_text() == (
        "update\ninstall --yes --no-install-recommends other"
        " ?architecture(amd64)?exact-name(perhaps)?not(?virtual)\n"
    )


def test_what_the_distribution_does_not_have_is_not_asked_for_again_and_again(machine):
    needs.have([_Program("may", "perhaps", optional=True)])
    assert not (machine / "log").exists()
    needs.have([_Program("may", "can-be-had", optional=True)])
    assert (machine / "log").exists()


def test_apts_own_words_are_told(machine):
    (machine / "log.fail").touch()
    with pytest.raises(BuildError, match="apt-get update failed: E: so it is"):
        needs.have([_Package("new")])


def _apt_that(machine, text):
    (machine / "bin/apt-get").write_text(f'#!/bin/sh\ncd "${{LOG%/*}}"\n{text}\n')


@pytest.mark.parametrize(
    "said",
    [
        "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)\n"
        "E: Unable to lock directory /var/lib/apt/lists/",
        "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process",
        "E: Unable to lock the administration directory (/var/lib/dpkg/), is another process",
    ],
)
def test_another_that_installs_is_waited_for(machine, monkeypatch, capsys, said):
    """Another build.py, or a new machine's own upgrades."""
    monkeypatch.setattr(needs, "_LOOK_AGAIN_SECONDS", 0)
    _apt_that(machine, f'echo x >> log; test $(wc -l < log) -gt 3 || {{ echo "{said}" >&2; exit 100; }}')
    assert needs._apt(["apt-get", "update"]) == ""
    assert (machine / "log").read_text() == "x\n" * 4
    assert capsys.readouterr().err.count("Waiting for another program that installs packages") == 1
    monkeypatch.setattr(needs, "_PATIENCE_SECONDS", -1)
    (machine / "log").unlink()
    with pytest.raises(BuildError, match=re.escape(f"apt-get update failed: {said.splitlines()[0]}")):
        needs._apt(["apt-get", "update"])


def test_what_a_power_cut_left_to_dpkg_is_the_way_out(machine):
    _apt_that(
        machine,
        "echo \"E: dpkg was interrupted, you must manually run 'dpkg --configure -a'\" >&2; exit 100",
    )
    with pytest.raises(BuildError, match="dpkg was interrupted") as error:
        needs.have([_Package("new")])
    assert error.value.hint == "Run: dpkg --configure -a"


def test_an_archive_out_of_reach_is_named(machine):
    """apt-get update ends well then: that a package is not to be had is not what is wrong."""
    _apt_that(
        machine,
        'test $1 != update || { echo "W: Failed to fetch http://deb.example/x  It is down" >&2; exit 0; }\n'
        'echo "E: Unable to locate package new" >&2; exit 100',
    )
    with pytest.raises(BuildError, match=r"locate package new .*deb\.example/x  It is down") as error:
        needs.have([_Package("new")])
    assert error.value.hint == "Is the network there, and apt's proxy the right one? To try: apt-get update"


def test_what_could_not_be_had_is_not_said_to_be_installed(machine, capsys):
    new = machine / "new"
    _apt_that(machine, "touch new")
    needs.have([_File(str(new), "a-package"), _Program("may", "perhaps", optional=True)])
    assert "Installed a-package in" in capsys.readouterr().err


_INTERRUPTED = """
import signal, subprocess
from builder.core import needs

class Told(subprocess.Popen):
    def wait(self):
        print("waits", flush=True)
        return super().wait()

subprocess.Popen = Told
signal.signal(signal.SIGINT, signal.default_int_handler)
needs._ended(["apt-get", "install"])
"""


def test_who_interrupts_waits_for_dpkg(machine):
    """It is the whole group of processes that hears Ctrl-C."""
    _apt_that(machine, "trap '' INT; echo up > up; until test -e go; do sleep 0.1; done; echo x > ended")
    os.mkfifo(machine / "up")
    with subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED], cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert (machine / "up").read_text() == "up\n"
        assert process.stdout.readline() == "waits\n"
        os.killpg(process.pid, signal.SIGINT)
        assert "Waiting for apt to end" in process.stderr.readline()
        (machine / "go").touch()
        process.communicate()
    assert (machine / "ended").exists()


@pytest.mark.parametrize("sudo", [True, False])
def test_without_root_the_one_line_is_printed(machine, monkeypatch, sudo):
    monkeypatch.setattr(needs.os, "geteuid", lambda: 1000)
    which = shutil.which
    monkeypatch.setattr(
        needs.shutil,
        "which",
        lambda name, **_: ("/usr/bin/sudo" if sudo else None) if name == "sudo" else which(name),
    )
    with pytest.raises(BuildError, match="packages are missing: no-such-package") as error:
        needs.have(
            [_Package("exim4"), _Package("no-such-package"), _Program("no-such", "may-be", optional=True)]
        )
    before = "Run: sudo apt-get update && sudo" if sudo else "Run as root: apt-get update &&"
    assert error.value.hint == (
        f"{before} apt-get install --yes --no-install-recommends no-such-package "
        "'?architecture(amd64)?exact-name(may-be)?not(?virtual)'"
    )


def test_without_apt_what_is_missing_is_named(machine, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(needs, "_SEARCHED", ())
    with pytest.raises(BuildError, match="missing: gpg"):
        needs.have([_Program("gpg", "gnupg"), _Program("minisign", "minisign", optional=True)])
    needs.have([_Program("minisign", "minisign", optional=True)])


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "OUT", tmp_path / "out")
    monkeypatch.setattr(paths, "DIST", tmp_path / "dist")
    return tmp_path


def test_what_root_makes_in_somebodys_checkout_becomes_theirs(checkout, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    (checkout / "out/logs").mkdir(parents=True)
    (checkout / "out/logs/log").touch()
    (checkout / "dist").symlink_to("/etc")
    outside = checkout.parent / "outside"
    outside.touch()
    (checkout / "out/link").symlink_to(outside)
    (checkout / "out/theirs").touch()
    os.chown(checkout / "out/theirs", 1234, 1234)
    os.chown(checkout, 4321, 4321)
    paths.hand_over()
    owners = {
        name: (checkout / name).lstat().st_uid for name in ("out", "out/logs/log", "out/link", "out/theirs")
    }
    assert owners == {"out": 4321, "out/logs/log": 4321, "out/link": 4321, "out/theirs": 1234}
    assert (outside.stat().st_uid, Path("/etc/passwd").stat().st_uid) == (0, 0)


def test_a_directory_of_somebody_else_is_named(checkout, monkeypatch):
    paths.make_own(checkout / "out")
    (checkout / "out/.cloud.lock").touch()
    monkeypatch.setattr(paths.os, "access", lambda path, _: Path(path).name != ".cloud.lock")
    with pytest.raises(BuildError, match=r"out can't be written to by \S+: it belongs to"):
        paths.make_own(checkout / "out")


def test_a_checkout_that_is_read_only_is_no_matter_of_its_owner(checkout, monkeypatch):
    real = os.statvfs(checkout)
    values = [*real[:8], real.f_flag | os.ST_RDONLY, real.f_namemax]
    monkeypatch.setattr(paths.os, "statvfs", lambda _: os.statvfs_result(values))
    with pytest.raises(BuildError, match="out can't be written to: its file system is read-only") as error:
        paths.make_own(checkout / "out")
    assert error.value.hint == "Copy the checkout to a place that can be written to, and work there"
    assert not (checkout / "out").exists()


def test_what_is_made_up_here_is_nothing_that_the_suite_needs():
    made_up = {"grain", "mill", "new", "no-such-package", "old", "other", "oven", "tongue"}
    needed = [need for need in needs.of_folder("tests/builder") if not need.optional]
    assert not made_up & _packages(needed)


# Ends where something would be installed, and takes away all that is not Python's own.
_ON_A_BARE_MACHINE = """
import importlib.abc, sys
from pathlib import Path

class Bare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names | {"builder"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Bare())
from builder import bootstrap
from builder.core import needs

def have(wanted):
    print("WANTED")
    sys.exit()

needs.have = have
bootstrap._whole = bootstrap._inside_one_with = lambda _: False
bootstrap.prepare(sys.argv[1:])
"""


_LINES = [
    *(f"images {file.stem}" for file in sorted((paths.ROOT / "images").glob("*.toml"))),
    *("images", "images cloud pi", "images --base debian-12-arm64 cloud", "deb", "boot CLOUD", "check CLOUD"),
    *("flash CARD /dev/sdz", "publish aws cloud", "repo --key 1234", "export CLOUD --format raw"),
    *("vagrant CLOUD",),
    *("verify x", "cache", "fleet make x", "fleet try", "test app", "bench app"),
]


def _on_a_bare_machine(line, tmp_path):
    """What build.py comes to there: an image that a line names in capitals is one that is there."""
    there = {"CLOUD": tmp_path / "mine.qcow2", "CARD": tmp_path / "mine.img.zst"}
    for file in there.values():
        file.touch()
    words = [str(there.get(word, word)) for word in line.split()]
    command = [sys.executable, "-c", _ON_A_BARE_MACHINE, *words]
    return subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("line", _LINES)
def test_until_it_is_installed_pythons_own_modules_do(line, tmp_path):
    done = _on_a_bare_machine(line, tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["WANTED"]), done.stderr[-2000:]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("images clod", "there is no image 'clod'"),
        ("images cloud --base debian-21", "there is no base 'debian-21'"),
        ("images --base=debian-12", "pi can't be baked on debian-12"),
        ("images cloud --base-file /nosuch", "--base-file needs --base"),
        ("images cloud --base debian-12 --base-file /nosuch", "debian-12 is not one that is downloaded"),
        ("images cloud --base ubuntu-22.04 --base-file /nosuch", "there is no file /nosuch"),
        ("images cloud --overlay /nosuch", "the directory /nosuch does not exist"),
        ("images cloud --package Vim", "'Vim' is not a package's name"),
        ("images cloud --repository https://apt.example.org", "--repository and --key go together"),
        ("images cloud --repository https://a.example --key /nosuch", "/nosuch is no public key"),
        ("images cloud --snapshot 20261340", "'20261340' is no day"),
        ("boot clod", "there is no image 'clod'"),
        ("check /nosuch/x.qcow2", "there is no /nosuch/x.qcow2"),
        ("flash clod /dev/sdz", "there is no image 'clod'"),
        ("vagrant clod", "there is no image 'clod'"),
        ("export clod --format raw", "there is no image 'clod'"),
        ("bench ap", "there is no benchmark 'ap'"),
        ("fleet mak x", "'mak' is none of make|add|remove|status|try"),
        ("check CARD --board --sign 1234", "--board and --sign mean nothing together"),
        ("check CARD --thorough --board", "--board and --thorough mean nothing together"),
        ("repo --prepare --url https://a.example", "--prepare and --url mean nothing together"),
        ("repo --to ftp://x", "'ftp://x' is no place that a repository can be put to"),
        ("repo --url ftp://x", "'ftp://x' is no address of a repository"),
        ("repo --finish --key=1234", "--finish and --key mean nothing together"),
        ("cache bases --yes", "--yes says nothing without --clear"),
        ("test app --seed 4", "--seed says nothing without --mutate"),
        ("test app --json", "--json says nothing without --mutate"),
        ("test app --mutate 4 --thorough", "--mutate and --thorough mean nothing together"),
        ("fleet make x --kind app", "fleet make takes no --kind"),
        ("fleet remove x y --through z", "fleet remove takes no --through"),
        ("fleet try --out x", "fleet try takes no --out"),
        ("fleet add x y --kind ap", "'ap' is none of database|app|balancer"),
    ],
)
def test_what_can_not_be_is_said_before_anything_is_installed(line, said, tmp_path):
    done = _on_a_bare_machine(line, tmp_path)
    assert "WANTED" not in done.stdout
    assert said in done.stderr


def test_no_verb_is_left_out_of_these():
    assert {line.split()[0] for line in _LINES} == set(usage.verbs())
