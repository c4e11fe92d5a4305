"""Translations, from a double of Microsoft Translator made from its documentation:
https://learn.microsoft.com/azure/ai-services/translator/text-translation/reference/v3/translate
"""

import json
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from app_client import Browser, token

from microblog import translator
from microblog.database import db
from microblog.models import User
from microblog.models.post import add_post
from microblog.web import limits

pytestmark = pytest.mark.any_database

KEY = "0123456789abcdef0123456789abcdef"


class Service(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        query = parse_qs(urlsplit(self.path).query)
        server.requests.append((query, body, dict(self.headers)))
        if server.answer is not None:
            status, content, headers = server.answer
        elif query.get("api-version") != ["3.0"]:
            status, content, headers = 400, {"error": {"code": 400021, "message": "no api-version"}}, {}
        elif self.headers["Ocp-Apim-Subscription-Key"] != KEY:
            status, content, headers = 401, {"error": {"code": 401000, "message": "unauthorized"}}, {}
        else:
            (language,) = query["to"]
            status, headers = 200, {}
            content = [
                {
                    "detectedLanguage": {"language": "xx", "score": 1.0},
                    "translations": [{"text": f"[{language}] {item['Text']}", "to": language}],
                }
                for item in body
            ]
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args):
        pass


@pytest.fixture
def service(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.requests, server.answer = [], None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}/translate"
    monkeypatch.setattr(translator, "URL", server.url)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def susan(app, make_app, make_user, service):
    """Susan, on a site that translates."""
    make_user("susan")
    browser = Browser(make_app(translator_key=KEY, translator_region="westeurope"))
    browser.login()
    return browser


@pytest.fixture
def post(app):
    def post(body="Hola <b>mundo</b>", language="es"):
        with app.app_context():
            number = add_post(User.find("susan"), body, language).id
            db.session.commit()
            return f"/post/{number}/translate"

    return post


AS_SCRIPT = {"Accept": "application/json"}


def ask(browser, path, **options):
    return browser.post(path, {"csrf_token": token(browser.get("/explore"))}, **options)


def test_the_link_is_for_other_languages(app, susan, post):
    spanish, english, unknown = post(), post(language="en"), post(language=None)
    page = susan.get("/explore").text
    assert spanish in page
    assert english not in page
    assert unknown not in page
    assert spanish not in susan.get("/explore", headers={"Accept-Language": "es"}).text


def test_without_a_key_there_is_none(app, client, make_user, post):
    make_user("susan")
    client.login()
    path = post()
    assert path not in client.get("/explore").text
    assert client.submit(path, page="/").status_code == 404


def test_in_place_and_as_a_page(susan, post, service):
    path = post()
    assert ask(susan, path, headers=AS_SCRIPT).get_json() == {
        "text": "[en] Hola <b>mundo</b>",
        "problem": None,
    }
    page = ask(susan, path).text
    assert "[en] Hola &lt;b&gt;mundo&lt;/b&gt;" in page
    # The second answer was kept.
    ((query, body, headers),) = service.requests
    assert query == {"api-version": ["3.0"], "to": ["en"]}
    assert body == [{"Text": "Hola <b>mundo</b>"}]
    assert headers["Ocp-Apim-Subscription-Region"] == "westeurope"
    russian = {**AS_SCRIPT, "Accept-Language": "ru"}
    assert ask(susan, path, headers=russian).get_json()["text"].startswith("[ru]")


@pytest.mark.parametrize("whose", ["TRANSLATION", "TRANSLATIONS"])
def test_nobody_has_the_site_pay_without_end(susan, post, service, make_user, monkeypatch, whose):
    monkeypatch.setattr(limits, whose, replace(getattr(limits, whose), most=2))
    paths = [post(body) for body in ("uno", "dos", "tres")]
    codes = [ask(susan, path).status_code for path in (*paths[:2], *paths[:2], paths[2], *paths[:2])]
    # What is kept costs nothing, and is there for everybody all the while.
    assert codes == [200, 200, 200, 200, 429, 200, 200]
    make_user("david")
    david = Browser(susan.client.application)
    david.login("david")
    assert ask(david, paths[2]).status_code == (200 if whose == "TRANSLATION" else 429)
    assert len(service.requests) == (3 if whose == "TRANSLATION" else 2)


@pytest.mark.parametrize(
    "before",
    ["/explore", "/explore?before=NEXT", "/user/susan", "/tag/hola", "https://evil.example/", ""],
)
def test_a_translations_page_leads_back_to_where_its_button_was(susan, post, before):
    path = post("Hola #hola")
    # Whatever numbers have been used so far.
    before = before.replace("NEXT", str(int(path.split("/")[2]) + 1))
    answer = susan.post(path, {"csrf_token": token(susan.get("/explore")), "next": before})
    back = before if before.startswith("/") else "/explore"
    assert f'<a href="{back}">Go back</a>' in answer.text
    if before.startswith("/"):
        # And it says where that is.
        assert re.search(f'name="next" value="{re.escape(before)}[?]?"', susan.get(before).text)


@pytest.mark.parametrize(
    "answer",
    [
        (401, {"error": {"code": 401000, "message": "x"}}, {}),
        (429, {"error": {"code": 429000, "message": "x"}}, {}),
        (503, b"", {}),
        (200, b"no json", {}),
        (200, b"\xff\xfe", {}),
        (200, [], {}),
        (200, {"translations": None}, {}),
        (200, [{"translations": [{"text": None}]}], {}),
        (200, b"[" * 100_000, {}),
        (302, b"", {"Location": "http://127.0.0.1:9/"}),
    ],
)
def test_a_service_that_fails(susan, post, service, answer, caplog):
    service.answer = answer
    path = post()
    response = ask(susan, path, headers=AS_SCRIPT)
    assert response.status_code == 200
    assert response.get_json()["text"] is None
    assert "does not answer" in response.get_json()["problem"]
    assert "does not answer" in ask(susan, path).text
    assert KEY not in caplog.text
    # It is asked again once it works.
    service.answer = None
    assert ask(susan, path, headers=AS_SCRIPT).get_json()["problem"] is None


def test_a_service_that_hangs_or_is_gone(susan, post, service, monkeypatch):
    monkeypatch.setattr(translator, "TIMEOUT", 0.2)
    service.shutdown()
    assert "does not answer" in ask(susan, post(), headers=AS_SCRIPT).get_json()["problem"]
    service.server_close()
    assert "does not answer" in ask(susan, post(), headers=AS_SCRIPT).get_json()["problem"]


def test_only_posts_are_translated(app, susan, service, post):
    path = post()
    for number in (0, 10**9, 2**63, 10**30):
        assert ask(susan, f"/post/{number}/translate").status_code == 404
    assert susan.post(path).headers["Location"] == "/"
    assert service.requests == []


def test_what_is_kept_has_a_bound(service, monkeypatch):
    monkeypatch.setattr(translator, "KEPT", 2)
    client = translator.Translator(KEY)
    for text in ("a", "b", "a", "c", "a", "b"):
        client.translate(text, "en")
    assert [body[0]["Text"] for _, body, _ in service.requests] == ["a", "b", "c", "b"]
