"""A double of Elasticsearch, after its documentation: the few calls that the application makes.

https://www.elastic.co/guide/en/elasticsearch/reference/8.19/docs-bulk.html, search-search.html,
indices-create-index.html, indices-delete-index.html
"""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Double:
    """A server on loopback; ``broken`` makes it fail in a certain way."""

    def __init__(self):
        self.indices = {}
        self.versions = {}
        self.asked = []
        self.broken = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://elastic:s%C3%A9cret@127.0.0.1:{self.server.server_port}/posts"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _handler(self):
        double = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                double.asked.append(f"{self.command} {self.path}")
                wanted = f"Basic {base64.b64encode('elastic:sécret'.encode()).decode()}"
                if double.broken == "status":
                    status, answer = 503, {"error": "unavailable", "status": 503}
                elif double.broken == "html":
                    status, answer = 200, None
                elif double.broken == "shape":
                    status, answer = 200, {"hits": []}
                elif self.headers["Authorization"] != wanted:
                    status, answer = 401, {"error": {"type": "security_exception"}, "status": 401}
                else:
                    status, answer = double.answer(self.command, self.path, body)
                text = (json.dumps(answer) if answer is not None else "<html>proxy").encode()
                if double.broken == "redirect":
                    self.send_response(302)
                    self.send_header("Location", f"{double.url.rpartition('/')[0]}/elsewhere")
                    status = None
                if status:
                    self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = do_DELETE = handle_any

            def log_message(self, *args):
                pass

        return Handler

    def answer(self, method, path, body):
        path, _, query = path.partition("?")
        name = path.strip("/").split("/")[0]
        if path == "/_bulk" and method == "POST":
            assert body.endswith("\n")
            return 200, self.bulk([json.loads(line) for line in body.splitlines()])
        if path.endswith("/_search"):
            if name not in self.indices:
                return 404, {"error": {"type": "index_not_found_exception"}, "status": 404}
            return 200, self.search(name, json.loads(body))
        if method == "DELETE":
            if self.indices.pop(name, None) is None and "ignore_unavailable=true" not in query:
                return 404, {"error": {"type": "index_not_found_exception"}, "status": 404}
            return 200, {"acknowledged": True}
        if method == "PUT":
            if name in self.indices:
                return 400, {"error": {"type": "resource_already_exists_exception"}, "status": 400}
            assert json.loads(body)["mappings"]["properties"]["words"]["analyzer"] == "whitespace"
            self.indices[name] = {}
            return 200, {"acknowledged": True, "shards_acknowledged": True, "index": name}
        return 405, {"error": "Incorrect HTTP method", "status": 405}

    def bulk(self, lines):
        items, lines = [], iter(lines)
        for line in lines:
            ((action, where),) = line.items()
            index = self.indices.setdefault(where["_index"], {})
            assert where["version_type"] == "external_gte"
            source = next(lines) if action == "index" else None
            if self.versions.get(where["_id"], 0) > where["version"]:
                status = 409
            elif action == "index":
                status = 200 if where["_id"] in index else 201
                index[where["_id"]] = source
            else:
                status = 200 if index.pop(where["_id"], None) else 404
            if status != 409:
                self.versions[where["_id"]] = where["version"]
            items.append({action: {**where, "status": status}})
        errors = any(result["status"] >= 400 for item in items for result in item.values())
        return {"took": 1, "errors": errors, "items": items}

    def search(self, name, asked):
        match = asked["query"]["bool"]["must"]["match"]["words"]
        assert match["operator"] == "and"
        words = set(match["query"].split())
        bounds = asked["query"]["bool"].get("filter", {"range": {"id": {}}})["range"]["id"]
        found = [
            number
            for number, source in ((int(key), source) for key, source in self.indices[name].items())
            if words <= set(source["words"].split())
            and number > bounds.get("gt", -1)
            and number < bounds.get("lt", 2**63)
        ]
        ((_, order),) = asked["sort"][0].items()
        found = sorted(found, reverse=order == "desc")[: asked["size"]]
        return {"hits": {"hits": [{"_index": name, "_id": str(number)} for number in found]}}
