"""A visitor of the application under test."""

import re

from werkzeug.test import TestResponse

SECRET_KEY = "a key for tests, of 32 characters or more"
PASSWORD = "correct horse"

# Werkzeug before 2.1 has none.
TestResponse.text = property(lambda response: response.get_data(as_text=True))


def token(response):
    """The CSRF token in a page."""
    return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', response.text)[1]


class Browser:
    """A client that sends forms as a browser does: with the CSRF token that their page holds."""

    def __init__(self, app, base_url="http://localhost", environ=None):
        self.client = app.test_client()
        self.options = {"base_url": base_url, "environ_base": environ or {}}

    def get(self, path, **options):
        return self.client.get(path, **self.options, **options)

    def post(self, path, data=None, **options):
        """Send without a token."""
        return self.client.post(path, data=data or {}, **self.options, **options)

    def submit(self, path, data=None, page=None):
        """Open ``page`` (the form's own path unless given), and send the form there."""
        return self.post(path, {"csrf_token": token(self.get(page or path)), **(data or {})})

    def register(self, username="susan", **changes):
        data = {
            "username": username,
            "email": f"{username}@example.org",
            "password": PASSWORD,
            "password2": PASSWORD,
        }
        return self.submit("/register", {**data, **changes})

    def login(self, username="susan", password=PASSWORD, path="/login", **more):
        return self.submit(path, {"username": username, "password": password, **more})

    def logout(self):
        return self.submit("/logout", page="/")

    def write(self, body):
        return self.submit("/", {"body": body})

    def logged_in(self):
        return 'action="/logout"' in self.get("/").text
