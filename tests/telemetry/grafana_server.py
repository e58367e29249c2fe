"""A Grafana that follows the published description of the API, as far as a run uses it.

Paths, fields, types and answers are those of grafana/grafana, public/openapi3.json: unknown fields
and wrong types are refused with 400, as a missing token is with 401. Faults can be ordered.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.listening import listening

TOKEN = "_".join(["glsa", "x" * 32, "01234567"])  # of the shape that Grafana's tokens have
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
TAGGED = {"dashboardId": int, "dashboardUID": str, "panelId": int, "data": dict}
# components.schemas of the bodies: field → type
SCHEMAS: dict[str, dict[str, type]] = {
    "/api/annotations": {**TAGGED, "time": int, "timeEnd": int, "text": str, "tags": list},
    "/api/snapshots": {
        "dashboard": dict, "name": str, "expires": int, "external": bool, "key": str,
        "deleteKey": str, "apiVersion": str, "kind": str,
    },
    "/api/serviceaccounts": {"name": str, "role": str, "isDisabled": bool},
    "tokens": {"name": str, "role": str, "secondsToLive": int},
}  # fmt: skip
REQUIRED = {"/api/annotations": {"text"}, "/api/snapshots": {"dashboard"}}
QUERY = {"from", "to", "userId", "alertId", "alertUID", "dashboardId", "dashboardUID", "panelId",
         "limit", "tags", "type", "matchAny"}  # fmt: skip


class GrafanaServer(ThreadingHTTPServer):
    """Keeps annotations and snapshots.

    Attributes:
        faults: Statuses that the next requests are answered with, first first.
        headers: Of those answers.
        dashboards: Uids of those that it has.
        renderer: Whether it has an image renderer.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults: list[int] = []
        self.headers: dict[str, str] = {}
        self.renderer = False
        self.delay = threading.Event()
        self.slow_s = 0.0
        self.role = "Editor"
        self.admin = ""
        self.database = "ok"
        self.annotations: dict[int, dict[str, Any]] = {}
        self.dashboards: set[str] = set()
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: GrafanaServer

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, *_: object) -> None: ...

    def _serve(self, method: str) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append((method, parts.path))
        if self.server.slow_s:
            self.server.delay.wait(self.server.slow_s)
        if self.server.faults:
            status = self.server.faults.pop(0)
            return self._say(status, {"message": f"ordered {TOKEN}"}, self.server.headers)
        if fault := self._denied(method, parts.path):
            return self._say(*fault)
        self._say(*self._answer(method, parts.path, parse_qs(parts.query), body))
        return None

    def _denied(self, method: str, path: str) -> tuple[int, Any] | None:
        if path == "/api/health":
            return None
        given = self.headers.get("Authorization", "")
        if path.startswith("/api/serviceaccounts"):
            ok = given == f"Basic {self.server.admin}"
            return None if ok else (401, {"message": "Invalid username or password"})
        if given != f"Bearer {TOKEN}":
            return 401, {"message": "Unauthorized"}
        if method != "GET" and self.server.role == "Viewer":
            return 403, {"message": "You'll need additional permissions"}
        return None

    def _answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        schema = "tokens" if path.endswith("/tokens") else path
        if method == "POST" and (wrong := _wrong(schema, body)):
            return 400, {"message": wrong}
        server = self.server
        match method, path.strip("/").split("/"):
            case "GET", ["api", "health"]:
                return 200, {"commit": "x", "database": server.database, "version": "11.6.0"}
            case "GET", ["api", "frontend", "settings"]:
                return 200, {"rendererAvailable": server.renderer}
            case "GET", ["render", "d", uid]:
                known = uid in server.dashboards
                return (200, PNG) if known else (404, {"message": "Dashboard not found"})
            case "POST", ["api", "annotations"]:
                number = len(server.asked)
                point = {"timeEnd": body["time"]} if "timeEnd" not in body else {}
                server.annotations[number] = {**body, **point, "id": number}
                return 200, {"id": number, "message": "Annotation added"}
            case "GET", ["api", "annotations"]:
                return _listed(server, query)
            case "DELETE", ["api", "annotations", number]:
                gone = server.annotations.pop(int(number), None)
                return (200, {"message": "Annotation deleted"}) if gone else (404, {"message": ""})
            case "POST", ["api", "snapshots"]:
                key = f"key{len(server.snapshots)}"
                server.snapshots[key] = body
                made = {"key": key, "deleteKey": f"d{key}", "id": 1}
                return 200, {**made, "url": f"{server.url}/dashboard/snapshot/{key}"}
            case "POST", ["api", "serviceaccounts"]:
                return 201, {"id": 7, "name": body["name"], "role": body["role"]}
            case "POST", ["api", "serviceaccounts", "7", "tokens"]:
                return 200, {"id": 9, "name": body["name"], "key": TOKEN}
        return 404, {"message": "Not found"}

    def _say(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)


def _wrong(path: str, body: Any) -> str:
    """What is not as the description says; empty where all is."""
    schema = SCHEMAS.get(path)
    if schema is None or not isinstance(body, dict):
        return "" if schema is None else "bad request data"
    for name, value in body.items():
        if name not in schema:
            return f"unknown field {name}"
        if not isinstance(value, schema[name]) or (
            isinstance(value, bool) != (schema[name] is bool)
        ):
            return f"{name} must be {schema[name].__name__}"
    missing = REQUIRED.get(path, set()) - set(body)
    return f"missing {missing.pop()}" if missing else ""


def _listed(server: GrafanaServer, query: dict[str, list[str]]) -> tuple[int, Any]:
    if unknown := set(query) - QUERY:
        return 400, {"message": f"unknown parameter {unknown.pop()}"}
    wanted, limit = set(query.get("tags", [])), int(query.get("limit", ["100"])[0])
    found = [one for one in server.annotations.values() if wanted <= set(one["tags"])]
    return 200, found[:limit]


@contextlib.contextmanager
def serving() -> Iterator[GrafanaServer]:
    """A Grafana on a port of its own."""
    with listening(GrafanaServer()) as server:
        yield server
        server.delay.set()
