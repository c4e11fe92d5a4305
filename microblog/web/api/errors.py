"""What programs are told where something is wrong: JSON, in the form that the address's programs expect."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

# What stands below these is for programs, whether there is such an address or not. The page where somebody
# lets a program in is for people.
_BELOW = (
    *("/api/", "/oauth/", "/nodeinfo/", "/.well-known/nodeinfo", "/.well-known/webfinger"),
    "/.well-known/oauth-authorization-server",
)
_PAGE = "/oauth/authorize"
# For who asks with a name and a password, and for who asks with a token (RFC 7617, RFC 6750).
BASIC = 'Basic realm="Microblog", charset="UTF-8"'
BEARER = 'Bearer realm="Microblog"'


class Refused(HTTPException):
    """A program gets no more than this.

    :param text: a sentence that says why.
    :param name: the error's, to RFC 6749, 5.2.
    """

    def __init__(
        self, code: int, text: str, name: str = "invalid_request", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.name_ = name
        self.headers = dict(headers or {})


def is_program() -> bool:
    """Whether a program asks."""
    path = request.path
    return path.startswith(_BELOW) and path != _PAGE


def answer(code: int, text: object, name: str = "invalid_request", headers: Any = ()) -> Response:
    """An error: of OAuth's as RFC 6749 has it, of Mastodon's API as that, of the others as the tutorial."""
    path = request.path
    if path.startswith("/oauth/"):
        body = {"error": name, "error_description": str(text)}
    elif path.startswith(("/api/v", "/.well-known/", "/nodeinfo/")):
        body = {"error": str(text)}
    else:
        body = {"error": HTTPStatus(code).phrase, "message": str(text)}
    response: Response = jsonify(body)
    response.status_code = code
    for key, value in dict(headers).items():
        # What stands in the standard's answer for pages is about those.
        if key.lower() not in ("content-type", "content-length"):
            response.headers[key] = value
    return response
