"""Languages: which one is spoken, and that everything is said in each."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from app_client import token

import microblog
from microblog import i18n
from microblog.commands import translate
from microblog.database import db
from microblog.models import User, preferences
from microblog.models.post import add_post

pytestmark = pytest.mark.any_database

translations = pytest.importorskip("builder.deb.translations")
pytest.importorskip("babel")

PACKAGE = Path(microblog.__file__).parent
OTHERS = sorted(set(i18n.LANGUAGES) - {i18n.SOURCE})


@pytest.fixture(scope="session", autouse=True)
def compiled():
    translations.compile_all(PACKAGE / "translations")


@pytest.mark.parametrize(
    "header, language",
    [
        (None, "en"),
        ("", "en"),
        ("es", "es"),
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("ru-RU,ru;q=0.9,en-US;q=0.8", "ru"),
        ("fr,de;q=0.9", "en"),
        ("fr,ru;q=0.2", "ru"),
        ("en;q=0.5,es;q=0.6", "es"),
        ("*", "en"),
        ("q=,;;=\x7f,es;q=x" + ",x" * 500, None),
    ],
)
def test_the_browsers_language(client, header, language):
    response = client.get("/login", headers={"Accept-Language": header} if header is not None else {})
    assert response.status_code == 200
    if language:
        assert f'<html lang="{language}">' in response.text
        assert response.headers["Content-Language"] == language
    assert "Accept-Language" in response.headers["Vary"]


def test_what_somebody_has_set_is_known_to_pages_for_everybody_too(app, client, make_user):
    """Where nothing else has asked yet who the visitor is."""
    make_user()
    client.login()
    with app.app_context():
        User.find("susan").locale = "es"
        db.session.commit()
    english = {"headers": {"Accept-Language": "en"}}
    client.get("/confirm/none", **english)
    assert "Este enlace ya no es válido." in client.get("/settings", **english).text
    # An error page asks nobody: it has what the view has found out by then.
    page = client.get("/user/nobody", **english)
    assert page.status_code == 404
    assert 'lang="es"' in page.text
    # And a button whose page is too old.
    client.post("/user/susan/follow", **english)
    assert "Esta página" in client.get("/settings", **english).text


@pytest.mark.parametrize("locale, spoken", [("ru", "ru"), (None, "es"), ("xx", "es")])
def test_what_somebody_has_set_goes_first(app, client, make_user, locale, spoken):
    make_user("susan")
    with app.app_context():
        User.find("susan").locale = locale
        db.session.commit()
    client.login()
    for path in ("/", "/explore", "/user/nobody"):
        response = client.get(path, headers={"Accept-Language": "es"})
        assert response.headers["Content-Language"] == spoken
        assert f'<html lang="{spoken}">' in response.text


def test_speaking_to_somebody_else(app):
    with app.test_request_context(headers={"Accept-Language": "es"}):
        assert i18n.language() == "es"
        with i18n.speaking("ru"):
            assert i18n.language() == "ru"
        with i18n.speaking("xx"):
            assert i18n.language() == "en"
        assert i18n.language() == "es"
    assert i18n.language() == "en"


def test_a_message_of_a_form_is_translated_when_it_is_shown(app):
    message = i18n._l("Log in")
    said = set()
    for code in i18n.LANGUAGES:
        with app.test_request_context(headers={"Accept-Language": code}):
            said.add(str(message))
    assert len(said) == len(i18n.LANGUAGES)


@pytest.mark.parametrize("number, form", [(1, "1 подписчик"), (2, "2 подписчика"), (5, "5 подписчиков")])
def test_plurals(app, number, form):
    with app.app_context(), i18n.speaking("ru"):
        assert i18n._n("%(num)s follower", "%(num)s followers", number) == form


def catalog(language):
    path = PACKAGE / "translations" / language / "LC_MESSAGES" / "messages.po"
    return translate.read(path)


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_is_translated(language):
    source = {message.id for message in translate.extract() if message.id}
    known = {message.id: message for message in catalog(language) if message.id}
    assert source == set(known), "run: microblog translate update"
    assert [key for key, message in known.items() if not translate.done(message)] == []


@pytest.mark.parametrize("language", OTHERS)
def test_placeholders_agree(language):
    """A translation fills in what its source does, so that no page breaks on it."""
    for message in catalog(language):
        if not message.id:
            continue
        sources = message.id if isinstance(message.id, tuple) else (message.id,)
        wanted = set().union(*(placeholders(source) for source in sources))
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        for string in strings:
            assert placeholders(string) == wanted, string


def placeholders(text):
    # Whatever is left has no meaning but a percent sign's own.
    assert "%" not in re.sub(r"%\(\w+\)[sd]|%%", "", text), text
    return set(re.findall(r"%\((\w+)\)[sd]", text))


def test_nothing_is_said_in_english_alone():
    """Templates hold no words outside of _()."""
    for path in (PACKAGE / "templates").rglob("*.html"):
        text = re.sub(r"\{% block width %\}.*?\{% endblock %\}", "", path.read_text())
        text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", " ", text, flags=re.DOTALL)
        for label in re.findall(r'(?:aria-label|placeholder|title|alt)="([^"]*)"', text):
            assert not re.search(r"[A-Za-z]{3}", label), f"{path}: {label}"
        text = re.sub(r"<[^>]*>", " ", text)
        assert not re.search(r"[A-Za-z]{3}", text), f"{path}: {text.split()}"


def run(tree, *arguments):
    return subprocess.run(
        [sys.executable, "-c", "from microblog.cli import main; main()", "translate", *arguments],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )


@pytest.fixture
def checkout(tmp_path):
    """A small application of the same build."""
    package = tmp_path / "microblog"
    (package / "templates").mkdir(parents=True)
    for name in ("__init__.py", "beginning.py", "cli.py", "errors.py", "printable.py", "commands", "host"):
        source = PACKAGE / name
        if source.is_dir():
            (package / name).mkdir()
            for path in source.glob("*.py"):
                (package / name / path.name).write_text(path.read_text())
        else:
            (package / name).write_text(source.read_text())
    (package / "templates" / "x.html").write_text(
        '{{ _("Hello") }} {{ _n("%(num)s cat", "%(num)s cats", 2) }}'
    )
    return tmp_path


def test_translate(checkout):
    po = checkout / "microblog/translations/pt_BR/LC_MESSAGES/messages.po"
    assert run(checkout, "init", "pt_BR").returncode == 0
    assert 'msgid "Hello"' in po.read_text()
    po.write_text(po.read_text().replace('msgid "Hello"\nmsgstr ""', 'msgid "Hello"\nmsgstr "Olá"'))
    (checkout / "microblog/templates/y.html").write_text('{{ _("Bye") }}')
    assert "to translate" in run(checkout, "update").stdout
    assert 'msgid "Bye"' in po.read_text()
    assert 'msgstr "Olá"' in po.read_text()
    before = po.read_text()
    run(checkout, "update")
    assert po.read_text() == before
    assert run(checkout, "compile").returncode == 0
    assert "Olá".encode() in po.with_suffix(".mo").read_bytes()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("init", "xx"), "'xx' is no language"),
        (("init", "../../etc"), "is no language"),
        (("init", "pt"), "is there already"),
        (("compile",), "is no translation"),
        (("update",), "is no translation"),
    ],
)
def test_translate_says_what_is_wrong(checkout, arguments, message):
    folder = checkout / "microblog/translations/pt/LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "messages.po").write_text("what is this?")
    done = run(checkout, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_build_stops_at_a_broken_translation(tmp_path):
    path = tmp_path / "xx" / "LC_MESSAGES" / "messages.po"
    path.parent.mkdir(parents=True)
    path.write_text("what is this?")
    with pytest.raises(translations.BuildError, match="is no translation"):
        translations.compile_all(tmp_path)
    assert not path.with_suffix(".mo").exists()


def test_no_english_on_spanish_pages(client, make_user):
    """The libraries' own words are English."""
    make_user("susan")
    spanish = {"Accept-Language": "es"}

    def send(path, **data):
        page = client.get(path, headers=spanish)
        return client.post(path, {"csrf_token": token(page), **data}, headers=spanish).text

    long = send("/login", username="x" * 300, password="y" * 300)
    assert "Field " not in long
    assert "incorrect" in long
    client.login()
    assert "Elige una opción" in send("/settings", about="", locale="xx")
    for method, path in (("PROPFIND", "/"), ("GET", "/nowhere"), ("POST", "/explore")):
        text = client.client.open(path, method=method, headers=spanish).text
        assert re.search(r"<h1>(.*?)</h1>", text)[1] in ("Aquí no hay nada", "Eso no ha funcionado")


def test_no_browser_cuts_an_emoji(app, client, make_user):
    """By maxlength, browsers count it twice."""
    for name in ("susan", "david"):
        make_user(name)
    pages = [client.get(path).text for path in ("/login", "/register")]
    client.login()
    with app.app_context():
        User.find("susan").is_admin = True
        number = add_post(User.find("susan"), "hello").id
        preferences.change(User.find("david").id, messages_from_all=True)
        db.session.commit()
    paths = [
        *("/", "/search?q=x", "/settings", "/settings/password", "/settings/email", "/admin/registration"),
        *(f"/post/{number}", f"/post/{number}/edit", "/messages/david", "/user/david/report"),
    ]
    pages += [client.get(path).text for path in paths]
    assert all("<textarea" in page or "<input" in page for page in pages)
    assert not [page for page in pages if "maxlength" in page]
