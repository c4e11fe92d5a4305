"""Elasticsearch, where there is one, as a guest: nothing waits for it, nothing fails with it.

The few calls of its API that a search needs, by plain HTTP
(https://www.elastic.co/guide/en/elasticsearch/reference/current/rest-apis.html).
"""

import base64
import json
import logging
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from typing import Any

# Seconds that a reader waits at most, and a reindexing.
TIMEOUT = 2.0
BULK_TIMEOUT = 60.0
# After a failure, seconds in which it is not asked at all: a dead server slows nothing down.
REST = 30.0
# Changes that wait to be sent; what does not fit is left to a reindexing.
WAITING = 1_000
INDEX = "microblog-posts"

_MAPPING = {
    "settings": {
        "analysis": {
            "analyzer": {
                "words": {"type": "custom", "tokenizer": "standard", "filter": ["lowercase", "asciifolding"]}
            }
        }
    },
    "mappings": {
        "dynamic": False,
        "properties": {
            "id": {"type": "long"},
            "author_id": {"type": "long"},
            "body": {"type": "text", "analyzer": "words", "index_options": "docs", "norms": False},
        },
    },
}

_log = logging.getLogger(__name__)


class Unavailable(Exception):
    """It does not answer, or not as it should."""


class Elasticsearch:
    """One index of posts.

    :param url: ``http[s]://[USER:PASSWORD@]HOST[:PORT][/INDEX]``.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self.index = parts.path.strip("/") or INDEX
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._headers = {"Content-Type": "application/json"}
        if parts.username is not None:
            account = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(account.encode()).decode()}"
        self._rests_until = 0.0
        self._changes: queue.Queue[list[dict[str, Any]]] = queue.Queue(WAITING)
        self._sender: threading.Thread | None = None
        self._starting = threading.Lock()

    def find(self, words: list[str], bound: int | None, newer: bool, limit: int) -> list[int]:
        """The ids of posts that hold all words, in order.

        :raises Unavailable: at once while it rests after a failure.
        """
        query: dict[str, Any] = {
            "must": {"match": {"body": {"query": " ".join(words), "operator": "and"}}},
        }
        if bound is not None:
            query["filter"] = {"range": {"id": {"gt" if newer else "lt": bound}}}
        answer = self._ask(
            "POST",
            f"/{self.index}/_search",
            {
                "query": {"bool": query},
                "sort": [{"id": "asc" if newer else "desc"}],
                "size": limit,
                "_source": False,
                "track_total_hits": False,
            },
        )
        try:
            return [int(hit["_id"]) for hit in answer["hits"]["hits"]]
        except (KeyError, TypeError, ValueError) as error:
            raise self._failed(f"an answer that is none of its own: {error!r}") from None

    def add(self, post_id: int, author_id: int, body: str) -> None:
        """Index a post, soon."""
        self._send_soon(_document(self.index, post_id, author_id, body))

    def remove(self, post_id: int) -> None:
        """Forget a post, soon."""
        self._send_soon([{"delete": {"_index": self.index, "_id": str(post_id)}}])

    def recreate(self) -> None:
        """Make the index, empty.

        :raises Unavailable: it cannot be made.
        """
        self._rests_until = 0.0
        self._ask("DELETE", f"/{self.index}?ignore_unavailable=true", timeout=BULK_TIMEOUT)
        self._ask("PUT", f"/{self.index}", _MAPPING, timeout=BULK_TIMEOUT)

    def add_all(self, posts: Iterable[tuple[int, int, str]]) -> None:
        """Index posts now: ids, authors' ids and texts.

        :raises Unavailable: some were refused.
        """
        self._bulk([line for post in posts for line in _document(self.index, *post)], BULK_TIMEOUT)

    def settle(self) -> None:
        """Wait until what was to be sent is sent, or given up."""
        self._changes.join()

    def _send_soon(self, lines: list[dict[str, Any]]) -> None:
        # Started by the process that uses it: a thread does not live through a fork.
        with self._starting:
            if self._sender is None or not self._sender.is_alive():
                self._sender = threading.Thread(target=self._send, name="elasticsearch", daemon=True)
                self._sender.start()
        try:
            self._changes.put_nowait(lines)
        except queue.Full:
            _log.warning("Elasticsearch is too slow: a post is not indexed; run `microblog search reindex`")

    def _send(self) -> None:
        while True:
            lines = self._changes.get()
            try:
                self._bulk(lines, TIMEOUT)
            except Unavailable as error:
                _log.warning("a post is not indexed: %s; run `microblog search reindex` later", error)
            except Exception:
                _log.exception("a post is not indexed")
            finally:
                self._changes.task_done()

    def _bulk(self, lines: list[dict[str, Any]], timeout: float) -> None:
        body = "".join(f"{json.dumps(line)}\n" for line in lines)
        answer = self._ask("POST", "/_bulk", body, timeout)
        if answer.get("errors"):
            results = (result for item in answer.get("items", []) for result in item.values())
            # What was to be forgotten and is not there is forgotten.
            refused = [result for result in results if result.get("status", 500) not in (200, 201, 404)]
            if refused:
                raise Unavailable(f"Elasticsearch refused: {str(refused[0].get('error'))[:200]}")

    def _ask(self, method: str, path: str, body: Any = None, timeout: float = TIMEOUT) -> dict[str, Any]:
        if time.monotonic() < self._rests_until:
            raise Unavailable("Elasticsearch did not answer a moment ago")
        data = body if isinstance(body, str) else json.dumps(body) if body is not None else None
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked with the settings
            self._base + path, data.encode() if data is not None else None, self._headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
                answer = json.load(response)
        # ValueError: no JSON; OSError: no connection, too slow, an error status; HTTPException: no HTTP.
        except urllib.error.HTTPError as error:
            error.close()
            raise self._failed(f"status {error.code}") from None
        except (OSError, ValueError, HTTPException) as error:
            raise self._failed(str(error) or type(error).__name__) from None
        if not isinstance(answer, dict):
            raise self._failed("an answer that is none of its own")
        return answer

    def _failed(self, reason: str) -> Unavailable:
        self._rests_until = time.monotonic() + REST
        return Unavailable(f"Elasticsearch does not answer: {reason}")


def _document(index: str, post_id: int, author_id: int, body: str) -> list[dict[str, Any]]:
    return [
        {"index": {"_index": index, "_id": str(post_id)}},
        {"id": post_id, "author_id": author_id, "body": body},
    ]
