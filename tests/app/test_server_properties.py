"""Rules of the server's side for whatever is in a file, a URL or an archive that somebody else wrote."""

import gzip
import io
import re
import tarfile
from urllib.parse import quote, urlencode

import pytest
from dotenv import dotenv_values
from drawn import LINES, TEXTS
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from builder.core.errors import BuildError
from builder.ship import card_settings, flash
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.backups import archive
from microblog.host.card import bootfile
from microblog.host.database.server import Target
from microblog.host.machine import layout
from microblog.host.site import envfile

NAMES = st.sampled_from(["SECRET_KEY", "SITE_NAME", "SITE", "MAIL_PASSWORD", "DATABASE_URL", "A"])
# What else is in a file of settings, as its owner wrote it.
OTHERS = st.sampled_from(
    [
        "# a comment\n",
        "\n",
        "export KEPT='as it is'\n",
        "KEPT_TOO=plain # why\n",
        '  INDENTED = "two\\nlines"\n',
    ]
)


@pytest.fixture(scope="module")
def env_file(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "user_ids", lambda: (0, 0))
        yield tmp_path_factory.mktemp("env") / "microblog.env"


@given(
    others=st.lists(OTHERS),
    first=st.dictionaries(NAMES, TEXTS | LINES, max_size=3),
    then=st.dictionaries(NAMES, TEXTS | LINES, max_size=3),
)
def test_settings_are_read_as_they_were_written(env_file, others, first, then):
    """Twice over, and all else in the file stays."""
    env_file.write_text("".join(others), newline="")
    before = dotenv_values(env_file, interpolate=False)
    given = {}
    for values in (first, then):
        try:
            envfile.change(env_file, values)
        except HostError:
            # Said, and nothing was written.
            assert any(not value.isprintable() for value in values.values())
        else:
            given |= values
    assert dict(dotenv_values(env_file, interpolate=False)) == {**before, **given}
    text = env_file.read_text()
    assert text.count("# a comment\n") == others.count("# a comment\n")
    for name in given:
        assert len(re.findall(rf"^{name}=", text, re.MULTILINE)) == 1
    envfile.see_whole(env_file, text, {**before, **given})


@given(text=TEXTS)
def test_any_settings_are_taken_or_refused_in_two_lines(env_file, text):
    env_file.write_bytes(text.encode())
    try:
        Config.load(env_file, {"SECRET_KEY": "x" * 32})
    except HostError as error:
        assert "\n" not in error.message
        assert error.hint
    try:
        envfile.change(env_file, {"SITE_NAME": "Our place"})
    except HostError:
        assert env_file.read_bytes() == text.encode()
    else:
        assert dotenv_values(env_file, interpolate=False)["SITE_NAME"] == "Our place"


@given(
    site=LINES, admins=TEXTS, hosts=TEXTS, proxies=TEXTS, url=TEXTS, region=TEXTS, port=TEXTS, networks=TEXTS
)
def test_any_value_is_taken_or_refused_in_two_lines(
    site, admins, hosts, proxies, url, region, port, networks
):
    values = {
        "SITE_NAME": site, "ADMINS": admins, "HOST_NAMES": hosts, "TRUSTED_PROXIES": proxies,
        "ELASTICSEARCH_URL": url, "MS_TRANSLATOR_REGION": region, "MAIL_SERVER": "localhost",
        "MAIL_PORT": port, "PROXY_NETWORKS": networks,
    }  # fmt: skip
    for name, value in values.items():
        needed = {"SECRET_KEY": "x" * 32, "DATABASE_URL": "sqlite:////x"}
        try:
            Config.load("/dev/null", {**needed, name: value})
        except HostError as error:
            assert "\n" not in error.message
            assert error.hint


@given(
    url=st.lists(
        st.sampled_from(["mysql+pymysql", "sqlite", ":", "/", "//", "@", "?", "#", "a", "[", "%41", "3306"])
    ).map("".join)
)
def test_any_address_of_a_database_is_taken_or_refused(url):
    try:
        config = Config.load("/dev/null", {"SECRET_KEY": "x" * 32, "DATABASE_URL": url})
    except HostError as error:
        assert "\n" not in error.message
        return
    # What is taken is one to both that read it, and the same one.
    theirs, ours = make_url(config.database_url), Target.parse(config.database_url)
    if ours is not None:
        assert ours.name == theirs.database
        assert ours.host == (theirs.host or "localhost")
        assert ours.port == (theirs.port or 3306)
        assert (ours.user, ours.password) == (theirs.username or "", theirs.password or "")


WORDS = st.text(st.characters(min_codepoint=32, blacklist_categories=["Cs"]), max_size=12)


@given(
    user=WORDS.filter(bool),
    password=WORDS,
    host=st.sampled_from(["localhost", "db.example.org", "10.0.0.5", "::1"]),
    port=st.one_of(st.none(), st.integers(1, 65535)),
    name=st.from_regex(r"\A[A-Za-z0-9_]{1,12}\Z"),
    socket=st.sampled_from(["", "/run/mysqld/mysqld.sock", "/tmp/a socket&?"]),
)
def test_the_address_of_a_database_says_the_same_to_both_its_readers(
    user, password, host, port, name, socket
):
    """SQLAlchemy's, who serves pages, and our own, who backs up and restores."""
    account = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    where = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    text = f"mysql+pymysql://{account}@{where}/{name}" + (
        f"?{urlencode({'unix_socket': socket})}" if socket else ""
    )
    config = Config.load("/dev/null", {"SECRET_KEY": "x" * 32, "DATABASE_URL": text})
    theirs = make_url(text)
    assert (theirs.username, theirs.password or "", theirs.host) == (user, password, host)
    assert (theirs.port, theirs.database, theirs.query.get("unix_socket", "")) == (port, name, socket)
    target = Target.parse(config.database_url)
    assert target is not None
    assert (target.user, target.password) == (user, password)
    assert (target.host, target.port, target.name) == (host, port or 3306, name)
    assert target.socket == socket


KEYS = st.sampled_from([key for keys in bootfile.GROUPS.values() for key in keys])
CARD_LINES = st.one_of(
    st.builds("{} = {}".format, KEYS, LINES),
    st.sampled_from(
        ["wifi country = de", "wifi name = home", "wifi password = a long secret", "site name = Ours"]
    ),
    LINES,
)


@given(lines=st.lists(CARD_LINES, max_size=12), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_file_on_a_card_is_read_to_its_end(lines, end):
    found = bootfile.read(end.join(lines))
    for mistake in found.mistakes:
        assert mistake.line >= 0
        assert "\n" not in mistake.text
    again = bootfile.read(bootfile.decode(found.rewritten().encode()))
    # What was used is used once; what was wrong is still there, and still wrong, on the same line.
    assert not again.groups
    assert again.mistakes == found.mistakes
    for group in found.groups.values():
        for key, value in group.items():
            if key in bootfile.SECRET and lines.count(f"{key} = {value}") == 1:
                assert f"{key} = {value}" not in found.rewritten()
    # Who reads what was wrong sees no password.
    told = bootfile.report(found.mistakes)
    assert "a long secret" not in told


@given(
    data=st.one_of(
        st.binary(max_size=60), TEXTS.map(str.encode), TEXTS.map(lambda text: text.encode("utf-16"))
    )
)
def test_any_bytes_on_a_card_are_a_text_or_none(data):
    try:
        text = bootfile.decode(data)
    except ValueError as error:
        assert not isinstance(error, UnicodeError)
    else:
        bootfile.read(text)


@given(wifi=LINES, password=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=6))
@example("'home'", "a long secret")
@example("garden ", '"quoted!"')
def test_what_flash_writes_is_what_the_card_reads(wifi, password):
    wanted = {"wifi country": ["DE"], "wifi name": [wifi], "wifi password": [password]}
    try:
        card_settings.check(wanted)
    except BuildError:
        return
    found = bootfile.read(flash.with_settings(bootfile.TEMPLATE.replace("\n", "\r\n"), wanted))
    assert not found.mistakes
    values = {key: value for group in found.groups.values() for key, value in group.items()}
    assert values == {key: value for key, (value,) in wanted.items()}


MEMBERS = {"config/microblog.env": b"SECRET_KEY=x\n", "database/users/000000.jsonl": b"{}\n" * 100}


def written():
    file = io.BytesIO()
    writer = archive.Writer(file)
    for name, data in MEMBERS.items():
        writer.add(name, data)
    writer.close({"version": "1"})
    return file.getvalue()


WHOLE = written()
PLAIN = gzip.decompress(WHOLE)


def verified(data):
    """What is said of such a file: whether it is good, and in one line if it is not."""
    try:
        archive.verify(io.BytesIO(data))
    except HostError as error:
        assert "\n" not in error.message
        assert error.hint
        return False
    return True


@given(
    packed=st.booleans(),
    at=st.integers(0, len(PLAIN) - 1),
    what=st.one_of(
        st.binary(min_size=1, max_size=12), st.sampled_from([b"\0" * 8, b"\xff" * 12, b"77777777777", b"-1"])
    ),
)
def test_a_damaged_archive_is_refused_or_whole(packed, at, what):
    """Whatever is written over it, wherever."""
    old = WHOLE if packed else PLAIN
    at %= len(old)
    new = old[:at] + what + old[at + len(what) :]
    if verified(new if packed else gzip.compress(new, 1)):
        read = dict(archive.members(io.BytesIO(new if packed else gzip.compress(new, 1))))
        assert {name: read[name] for name in MEMBERS} == MEMBERS


HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "config/../x",
    "",
    ".",
    "a\nb",
    "é",
    "x" * 300,
    *MEMBERS,
    archive.MANIFEST,
]
KINDS = [
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    b"S",
    b"7",
    b"Z",
]


def padded(data):
    return data + bytes(-len(data) % 512)


@given(
    members=st.lists(
        st.tuples(
            st.sampled_from(HOSTILE), st.sampled_from(KINDS), st.integers(0, 2**33), st.binary(max_size=20)
        ),
        max_size=5,
    ),
    says=st.sampled_from(
        [b"", b"{}", b"[]", b"\xff", b'{"format": 1}', b'{"format": 1, "members": []}', b"[" * 5000]
    ),
)
def test_an_archive_of_somebody_elses_is_refused_or_meant(members, says):
    file = io.BytesIO()
    last = tarfile.TarInfo(archive.MANIFEST)
    last.size = len(says)
    for name, kind, size, data in members:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        # What it says of its length need not be so.
        member.size = len(data) if size % 3 else size
        file.write(member.tobuf(tarfile.GNU_FORMAT) + padded(data))
    file.write(last.tobuf(tarfile.GNU_FORMAT) + padded(says) + bytes(1024))
    assert not verified(gzip.compress(file.getvalue(), 1))
