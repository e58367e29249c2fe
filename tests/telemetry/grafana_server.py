"""A small fake of Grafana's API (public/openapi3.json of grafana/grafana), with faults on demand.

Unknown fields are refused with 400, as a missing token is with 401.
"""

from typing import Any

from flask import Flask, request

TOKEN = "_".join(["glsa", "x" * 32, "01234567"])  # of the shape that Grafana's tokens have
FIELDS = {
    "/api/annotations": {"time", "timeEnd", "text", "tags"},
    "/api/snapshots": {"dashboard", "name", "expires", "external"},
    "/api/serviceaccounts": {"name", "role"},
    "/api/serviceaccounts/7/tokens": {"name", "secondsToLive"},
}


class GrafanaServer(Flask):
    """Stores annotations and snapshots."""

    def __init__(self) -> None:
        super().__init__("grafana")
        self.url = ""
        self.faults: list[int] = []  # statuses of the next answers
        self.admin, self.role, self.database = "", "Editor", "ok"
        self.annotations: dict[int, dict[str, Any]] = {}
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.before_request(self._refuse)
        self.get("/api/health")(lambda: {"database": self.database, "version": "11.6.0"})
        self.post("/api/annotations")(self._annotate)
        self.get("/api/annotations")(self._annotated)
        self.delete("/api/annotations/<int:number>")(self._delete)
        self.post("/api/snapshots")(self._snapshot)
        self.post("/api/serviceaccounts", endpoint="account")(lambda: ({"id": 7}, 201))
        self.post("/api/serviceaccounts/7/tokens", endpoint="token")(lambda: {"key": TOKEN})

    def _refuse(self) -> Any:
        self.requests.append((request.method, request.path))
        if self.faults:
            return {"message": f"ordered {TOKEN}"}, self.faults.pop(0)
        is_admins = request.path.startswith("/api/serviceaccounts")
        login = f"Basic {self.admin}" if is_admins else f"Bearer {TOKEN}"
        if request.headers.get("Authorization", "") != login:
            return {"message": "not allowed"}, 401
        if self.role == "Viewer" and request.method != "GET" and not is_admins:
            return {"message": "not allowed"}, 403
        if set(request.get_json(silent=True) or {}) - FIELDS.get(request.path, set()):
            return {"message": "unknown field"}, 400
        return None

    def _annotate(self) -> Any:
        body, number = request.get_json(), len(self.requests)
        self.annotations[number] = {"timeEnd": body["time"], **body, "id": number}
        return {"id": number}

    def _annotated(self) -> Any:
        wanted = set(request.args.getlist("tags"))
        return [each for each in self.annotations.values() if wanted <= set(each["tags"])]

    def _delete(self, number: int) -> Any:
        return {}, 200 if self.annotations.pop(number, None) else 404

    def _snapshot(self) -> Any:
        key = f"key{len(self.snapshots)}"
        self.snapshots[key] = request.get_json()
        return {"key": key, "url": f"{self.url}/dashboard/snapshot/{key}"}
