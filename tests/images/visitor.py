"""A visitor of the site, over HTTPS, who sends forms as a browser does."""

import re
import time
from collections.abc import Callable

import requests

PATIENCE_SECONDS = 1800


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, for as long as a slow machine may need."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(1)


class Visitor:
    """One browser: its cookies, and the site's address."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        # The certificate is the machine's own; an environment's bundle of authorities has no say.
        self.session.verify = False
        self.session.trust_env = False

    def get(self, path: str, **options) -> requests.Response:
        return self.session.get(f"{self.url}{path}", timeout=120, **options)

    def submit(self, path: str, data: dict[str, str], page: str | None = None) -> requests.Response:
        """Open a page with a form, fill it in and send it."""
        form = self.get(page or path)
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form.text)
        assert token, f"{page or path} has no form: {form.status_code}"
        return self.session.post(
            f"{self.url}{path}",
            data={"csrf_token": token[1], **data},
            headers={"Referer": f"{self.url}{path}"},
            timeout=120,
        )

    def register(self, name: str, password: str) -> requests.Response:
        return self.submit(
            "/register",
            {"username": name, "email": f"{name}@example.org", "password": password, "password2": password},
        )

    def claim(self, greeting: str) -> None:
        """Make a new site one's own, as the account "owner", with the code in SSH's greeting."""
        code = re.search(r"\b[A-Z]{4}-[A-Z]{4}\b", greeting)
        assert code, f"the greeting has no code: {greeting}"
        assert "This Microblog is new" in self.get("/").text
        self.submit("/first-run", {"code": code[0]})
        password = "a pass phrase of the owner"
        account = {"username": "owner", "email": "owner@example.org"}
        done = self.submit("/first-run/account", {**account, "password": password, "password2": password})
        assert done.url.endswith("/first-run/site"), f"the site is not claimed: {done.status_code} {done.url}"

    def wait_for_site(self) -> None:
        wait_until(self._is_answered, "the site answers")

    def _is_answered(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except requests.ConnectionError:
            # Where no nginx stands before the application, nobody answers while that starts.
            return False

    def log_out(self) -> requests.Response:
        return self.submit("/logout", {}, page="/")

    def log_in(self, name: str, password: str) -> requests.Response:
        return self.submit("/login", {"username": name, "password": password})

    def write(self, text: str) -> requests.Response:
        return self.submit("/", {"body": text})
