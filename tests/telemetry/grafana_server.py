"""A small fake of Grafana's API (public/openapi3.json of grafana/grafana), with faults on demand.

Unknown fields are refused with 400, as a missing token is with 401.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "_".join(["glsa", "x" * 32, "01234567"])  # of the shape that Grafana's tokens have
FIELDS = {
    "/api/annotations": {"time", "timeEnd", "text", "tags"},
    "/api/snapshots": {"dashboard", "name", "expires", "external"},
    "/api/serviceaccounts": {"name", "role"},
    "/api/serviceaccounts/7/tokens": {"name", "secondsToLive"},
}


class GrafanaServer(ThreadingHTTPServer):
    """Stores annotations and snapshots."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults: list[int] = []  # statuses of the next answers
        self.headers: dict[str, str] = {}  # of those answers
        self.admin, self.role, self.database = "", "Editor", "ok"
        self.annotations: dict[int, dict[str, Any]] = {}
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: GrafanaServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else {}
        self.server.requests.append((self.command, parts.path))
        headers: dict[str, str] = {}
        if self.server.faults:
            status, headers = self.server.faults.pop(0), self.server.headers
            answer: Any = {"message": f"ordered {TOKEN}"}
        elif not (denied := self._denied(parts.path)):
            status, answer = self._answer(parts.path, parse_qs(parts.query), body)
        else:
            status, answer = denied, {"message": "not allowed"}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_DELETE = do_GET

    def log_message(self, *_: object) -> None: ...

    def _denied(self, path: str) -> int:
        given = self.headers.get("Authorization", "")
        if path.startswith("/api/serviceaccounts"):
            return 0 if given == f"Basic {self.server.admin}" else 401
        if given != f"Bearer {TOKEN}":
            return 401
        return 403 if self.command != "GET" and self.server.role == "Viewer" else 0

    def _answer(self, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        server = self.server
        if set(body) - FIELDS.get(path, set()):
            return 400, {"message": "unknown field"}
        match self.command, path.strip("/").split("/"):
            case "GET", ["api", "health"]:
                return 200, {"database": server.database, "version": "11.6.0"}
            case "POST", ["api", "annotations"]:
                number = len(server.requests)
                server.annotations[number] = {"timeEnd": body["time"], **body, "id": number}
                return 200, {"id": number}
            case "GET", ["api", "annotations"]:
                wanted = set(query["tags"])
                return 200, [a for a in server.annotations.values() if wanted <= set(a["tags"])]
            case "DELETE", ["api", "annotations", number]:
                known = server.annotations.pop(int(number), None)
                return (200, {}) if known else (404, {})
            case "POST", ["api", "snapshots"]:
                key = f"key{len(server.snapshots)}"
                server.snapshots[key] = body
                return 200, {"key": key, "url": f"{server.url}/dashboard/snapshot/{key}"}
            case "POST", ["api", "serviceaccounts"]:
                return 201, {"id": 7}
            case "POST", ["api", "serviceaccounts", "7", "tokens"]:
                return 200, {"key": TOKEN}
        return 404, {"message": "Not found"}
