"""Elasticsearch, where there is one, as a guest: nothing waits for it, nothing fails with it.

The few calls of its API that a search needs, by plain HTTP
(https://www.elastic.co/guide/en/elasticsearch/reference/current/rest-apis.html).
"""

import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from typing import Any

# Seconds that a reader waits at most, and a reindexing.
TIMEOUT = 2.0
BULK_TIMEOUT = 60.0
# After a failure, seconds in which it is not asked at all: a dead server slows nothing down.
REST = 30.0
INDEX = "microblog-posts"

# Words come as microblog.models.words makes them: there is nothing left to take apart.
_MAPPING = {
    "mappings": {
        "dynamic": False,
        "properties": {
            "id": {"type": "long"},
            "words": {"type": "text", "analyzer": "whitespace", "index_options": "docs", "norms": False},
        },
    },
}


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

    @property
    def where(self) -> str:
        """The server and the index, without the password."""
        return f"{self._base}/{self.index}"

    def find(self, words: list[str], bound: int | None, newer: bool, limit: int) -> list[int]:
        """The ids of posts that hold all words, in order.

        :raises Unavailable: at once while it rests after a failure.
        """
        query: dict[str, Any] = {
            "must": {"match": {"words": {"query": " ".join(words), "operator": "and"}}},
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

    def recreate(self) -> None:
        """Make the index, empty.

        :raises Unavailable: it cannot be made.
        """
        self._rests_until = 0.0
        self._ask("DELETE", f"/{self.index}?ignore_unavailable=true", timeout=BULK_TIMEOUT)
        self._ask("PUT", f"/{self.index}", _MAPPING, timeout=BULK_TIMEOUT)

    def send(self, posts: list[tuple[int, str | None]], version: int) -> None:
        """Index posts now: ids and words; without words, forget them.

        :param version: of all of them; what it has of a higher one it keeps.
        :raises Unavailable: some were refused.
        """
        lines: list[dict[str, Any]] = []
        for number, words in posts:
            # https://www.elastic.co/guide/en/elasticsearch/reference/8.19/docs-index_.html#index-versioning
            where = {
                "_index": self.index,
                "_id": str(number),
                "version": version,
                "version_type": "external_gte",
            }
            lines += (
                [{"delete": where}] if words is None else [{"index": where}, {"id": number, "words": words}]
            )
        self._bulk(lines, BULK_TIMEOUT)

    def _bulk(self, lines: list[dict[str, Any]], timeout: float) -> None:
        body = "".join(f"{json.dumps(line)}\n" for line in lines)
        answer = self._ask("POST", "/_bulk", body, timeout)
        if answer.get("errors"):
            results = (result for item in answer.get("items", []) for result in item.values())
            # What was to be forgotten and is not there is forgotten; a later version stays.
            refused = [result for result in results if result.get("status", 500) not in (200, 201, 404, 409)]
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
            with _OPENER.open(request, timeout=timeout) as response:
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


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    # It would carry the password elsewhere.
    def redirect_request(self, *_args: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)
