"""Those who use a site: they read and write, note what they are told, and send again what got no answer."""

import functools
import http.client
import re
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path

from checker import OK, REFUSED, UNKNOWN, Write

PASSWORD = "correct horse"
# Who waits for an answer for so long asks again; and how long it is asked in all.
WAITS, _SECONDS = 15, 60
# Somebody arrives so often, in seconds.
_OFTEN = 0.2
# Of an account in an hour, less some (microblog/web/limits.py).
_POSTS = 90


@dataclass
class Answer:
    """:ivar status: 0 where there was no answer."""

    status: int
    text: str = ""
    location: str = ""
    retry_after: str = ""


@functools.cache
def _trusts(authority: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority)
    # Who is asked by an address has a certificate of a name.
    context.check_hostname = False
    return context


def connect(address: str, seconds: float, authority: "Path | None") -> http.client.HTTPConnection:
    """:param authority: the certificate of whose word is taken; without one, it is asked without TLS."""
    if authority is None:
        return http.client.HTTPConnection(address, timeout=seconds)
    return http.client.HTTPSConnection(address, timeout=seconds, context=_trusts(authority))


class Visitor:
    """A browser that reaches each of these addresses with the same cookies.

    :param authority: as :func:`connect` takes it.
    :param patience: seconds after which what is not answered is given up.
    """

    def __init__(
        self, addresses: Sequence[str], authority: "Path | None" = None, patience: float = WAITS
    ) -> None:
        self.addresses, self.authority, self._patience = addresses, authority, patience
        self.cookies: dict[str, str] = {}

    def ask(self, number: int, method: str, path: str, form: "dict[str, str] | None" = None) -> Answer:
        """:param number: which address, counted round and round."""
        address = self.addresses[number % len(self.addresses)]
        connection = connect(address, self._patience, self.authority)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Cookie": cookies, "Referer": f"http{'s' if self.authority else ''}://{address}/"}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(
                method, path, urllib.parse.urlencode(form) if form is not None else None, headers
            )
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException):
            return Answer(0)
        finally:
            connection.close()
        for line in response.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        headed = [response.headers.get(name, "") for name in ("Location", "Retry-After")]
        return Answer(response.status, text, *headed)

    def log_in(self, name: str) -> None:
        page = self.ask(0, "GET", "/login")
        form = {"csrf_token": value_of(page, "csrf_token"), "username": name, "password": PASSWORD}
        answer = self.ask(0, "POST", "/login", form)
        assert (answer.status, answer.location) == (302, "/"), answer


def value_of(page: Answer, name: str) -> str:
    """A field's, in the page's form; empty where it has none."""
    found = re.search(rf'name="{name}"[^>]*value="([^"]*)"', page.text)
    return found[1] if found else ""


@dataclass
class Request:
    """:ivar at: when it was answered, and ``took`` how long that took, in seconds of one clock."""

    at: float
    took: float
    status: int
    method: str = "GET"

    @property
    def began(self) -> float:
        return self.at - self.took

    @property
    def failed(self) -> bool:
        return self.status == 0 or self.status >= 400


@contextmanager
def arrivals(visitor: Visitor) -> Iterator[list[Request]]:
    """Somebody opens the first page five times a second, however long those before wait, until what is done
    meanwhile is over: who is let wait keeps nobody from coming.

    :param visitor: logged in; each is known by the same cookies.
    :return: what they asked; all are answered, or have given up, at the end.
    """
    asked: list[Request] = []
    over = threading.Event()

    def come() -> None:
        began = time.monotonic()
        one = Visitor(visitor.addresses, visitor.authority)
        one.cookies.update(visitor.cookies)
        answer = one.ask(0, "GET", "/")
        now = time.monotonic()
        asked.append(Request(now, now - began, answer.status))

    def all_come() -> None:
        began, came = time.monotonic(), [threading.Thread(target=come)]
        came[0].start()
        while not over.wait(max(0.0, began + len(came) * _OFTEN - time.monotonic())):
            came.append(threading.Thread(target=come))
            came[-1].start()
        for one in came:
            one.join()

    thread = threading.Thread(target=all_come)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join()


@dataclass
class Mix:
    """A mix of writers and readers.

    :ivar names: of each session's account.
    :ivar authority: as :func:`connect` takes it.
    :ivar writes_too: else they read, and nothing else.
    :ivar unheard: of each session's posts, every so many are sent to no avail, for all that it hears.
    :ivar again: how often what was not answered was sent again.
    :ivar patience: of each, in seconds.
    """

    addresses: Sequence[str]
    names: Sequence[str]
    authority: "Path | None" = None
    unheard: int = 0
    writes_too: bool = True
    writes: list[Write] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    again: int = 0
    patience: float = WAITS

    @contextmanager
    def beside(self) -> Iterator[None]:
        """One session of each account, until what is done meanwhile is over."""
        begun, over = threading.Barrier(len(self.names) + 1), threading.Event()
        failures: list[BaseException] = []

        def one(number: int, name: str) -> None:
            try:
                visitor = Visitor(self.addresses, self.authority, self.patience)
                visitor.log_in(name)
                begun.wait(_SECONDS)
                turn = 0
                while not over.is_set():
                    self._turn(visitor, turn, f"{name} {number} {turn}")
                    turn += 1
                    over.wait(0.1)
            except BaseException as error:
                failures.append(error)
                begun.abort()

        threads = [threading.Thread(target=one, args=who) for who in enumerate(self.names)]
        for thread in threads:
            thread.start()
        try:
            begun.wait(_SECONDS)
            yield
        except threading.BrokenBarrierError:
            # What it was, they say themselves.
            if not failures:
                raise
        finally:
            over.set()
            for thread in threads:
                thread.join()
        if failures:
            raise failures[0]

    def _ask(self, visitor: Visitor, turn: int, method: str, form: "dict[str, str] | None" = None) -> Answer:
        began = time.monotonic()
        answer = visitor.ask(turn, method, "/", form)
        now = time.monotonic()
        self.requests.append(Request(now, now - began, answer.status, method))
        return answer

    def _until(self, good: Callable[[Answer], bool], ask: Callable[[], Answer]) -> Answer:
        ends = time.monotonic() + _SECONDS
        while not good(answer := ask()) and time.monotonic() < ends:
            time.sleep(0.3)
            self.again += 1
        return answer

    def _turn(self, visitor: Visitor, turn: int, body: str) -> None:
        page = self._until(lambda page: page.status == 200, lambda: self._ask(visitor, turn, "GET"))
        if not self.writes_too or turn >= _POSTS or page.status != 200:
            return
        form = {"csrf_token": value_of(page, "csrf_token"), "once": value_of(page, "once"), "body": body}
        assert form["csrf_token"], page.text[:2000]
        if self.unheard and turn % self.unheard == 0:
            self._ask(visitor, turn, "POST", form)
        answer = self._until(
            lambda answer: 300 <= answer.status < 500, lambda: self._ask(visitor, turn, "POST", form)
        )
        told = REFUSED if 300 <= answer.status < 500 else UNKNOWN
        seen = None
        if (answer.status, answer.location) == (302, "/"):
            told = OK
            # Where there are several addresses, at another one.
            after = self._until(lambda page: page.status == 200, lambda: self._ask(visitor, turn + 1, "GET"))
            seen = f">{body}<" in after.text if after.status == 200 else None
        self.writes.append(Write(body, told, seen))
