"""Grafana: the run's events as annotations and its dashboards as snapshots.

Requests follow Grafana's published API (public/openapi3.json of grafana/grafana). The token does
not appear in any text of this module, neither in `repr` nor in an error.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests

from helpers.errors import Problem
from helpers.promises import Status, Tick, claim, tick
from helpers.run import Run
from helpers.telemetry.annotations import Annotation, run_annotations
from helpers.telemetry.records import PublishedAnnotations, Snapshots

PROMISE = "04.annotations"
NO_GRAFANA = "a rehearsal has no Grafana: its pictures are drawn from the same dashboards"
TAG = "gpu-e2e"
SNAPSHOT_DAYS = 30
TRIES = 4
RETRIED = (429, 500, 502, 503, 504)
LONGEST_PAUSE_S = 30.0
LONGEST_QUOTE = 200
MOST_ANNOTATIONS = 1000
NEXT_STEP = {
    401: "Its token is not valid: delete its secret and run stage 04 again.",
    403: "Give its service account the role Editor.",
    404: "Check the address, and that stage 04 has installed the dashboards.",
}


@dataclass(frozen=True)
class Grafana:
    """A Grafana server.

    Every method raises `Problem` if the server cannot be reached or refuses the request.
    """

    url: str  # base URL, without a trailing slash
    token: str = field(repr=False)  # A service account's token
    timeout_s: float = 30.0  # longest time to wait for an answer, seconds
    pause_s: float = 1.0  # pause before the second try, seconds; it doubles with every try

    def version(self) -> str:
        """The server's version, if its database answers."""
        health = self._json("GET", "/api/health")
        if health.get("database") != "ok":
            raise Problem(
                f"Grafana at {self.url} is not healthy: its database reports "
                f"'{health.get('database')}'.",
                "Read the pod's log, or restart it.",
            )
        return str(health.get("version", ""))

    def annotations(self, tags: Sequence[str]) -> list[dict[str, Any]]:
        """The annotations that have all these tags, as Grafana returns them."""
        query = {"tags": list(tags), "matchAny": "false", "type": "annotation",
                 "limit": MOST_ANNOTATIONS}  # fmt: skip
        stored: list[dict[str, Any]] = self._json("GET", "/api/annotations", query=query)
        return stored

    def annotate(self, body: dict[str, Any]) -> int:
        """Create an annotation that every dashboard with its tag shows; returns its number."""
        return int(self._json("POST", "/api/annotations", body)["id"])

    def delete_annotation(self, number: int) -> None:
        """Delete an annotation; one that does not exist is not an error."""
        self._request("DELETE", f"/api/annotations/{number}", accepted=(404,))

    def create_snapshot(self, dashboard: dict[str, Any], name: str, expires_s: int) -> str:
        """Store a dashboard with its data; returns its address.

        Args:
            dashboard: The dashboard; its panels contain their data (`snapshotData`).
            name: Name of the snapshot.
            expires_s: Grafana deletes it after this time, seconds; 0 means never.
        """
        body = {"dashboard": dashboard, "name": name, "expires": expires_s, "external": False}
        return str(self._json("POST", "/api/snapshots", body)["url"])

    def _json(self, method: str, path: str, body: Any = None, query: Any = None) -> Any:
        response = self._request(method, path, body, query)
        try:
            return response.json()
        except ValueError as error:
            raise Problem(
                f"The server at {self.url} is not Grafana (HTTP {response.status_code}, no JSON).",
                "Check the address.",
            ) from error

    def _request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Any = None,
        accepted: Sequence[int] = (),
    ) -> requests.Response:
        pause = self.pause_s
        for left in reversed(range(TRIES)):
            try:
                with requests.Session() as session:
                    # a proxy cannot reach this machine's loopback; .netrc would replace the token
                    session.trust_env = False
                    response = session.request(
                        method, self.url + path, json=body, params=query, timeout=self.timeout_s,
                        headers={"Authorization": f"Bearer {self.token}"},
                        allow_redirects=False,  # the login page is not an answer
                    )  # fmt: skip
            except requests.RequestException as error:
                if not left:
                    slow = isinstance(error, requests.Timeout)
                    what = f"does not answer within {self.timeout_s:g} s"
                    raise Problem(
                        f"Grafana at {self.url} {what if slow else 'cannot be reached'}.",
                        "Run notebook 04 again, or check that its pod is Ready.",
                    ) from None  # the error could quote the request
            else:
                if response.status_code < 300 or response.status_code in accepted:
                    return response
                if response.status_code not in RETRIED or not left:
                    raise self._refusal(response, f"{method} {path}")
                wanted = response.headers.get("Retry-After", "")
                pause = max(pause, float(wanted) if wanted.isdigit() else 0.0)
            time.sleep(min(pause, LONGEST_PAUSE_S))
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def _refusal(self, response: requests.Response, request: str) -> Problem:
        try:
            message = str(response.json().get("message", ""))
        except (ValueError, AttributeError):
            message = response.reason or ""
        message = message.replace(self.token, "<token>") if self.token else message
        message = message[:LONGEST_QUOTE].rstrip(".") or "no reason given"
        return Problem(
            f"Grafana at {self.url} refuses {request} (HTTP {response.status_code}): {message}.",
            NEXT_STEP.get(response.status_code, "Retry the step; then read Grafana's log."),
        )


# ── the run in Grafana ──────────────────────────────────────────────────────────────────────────


def publish_annotations(run: Run, grafana: Grafana | None) -> Tick:
    """Publish the run's events as annotations, read them back, and record the promise.

    Raises:
        Problem: Grafana refuses, or cannot be reached.
    """
    if grafana is None:
        note = f"{NO_GRAFANA}; {len(run_annotations(run))} events are shown in them"
        return tick(run, PROMISE, Status.NOT_REHEARSED, note=note)
    add_annotations(run, grafana)
    stored = grafana.annotations([TAG, _run_tag(run)])
    published = PublishedAnnotations(grafana=grafana.version(), annotations=len(stored))
    run.save(published)
    if not run.events("load-start"):
        note = "there was no load yet; stage 05 publishes it"
        return tick(run, PROMISE, Status.NOT_REHEARSED, note=note)
    kinds = {tag for annotation in stored for tag in annotation["tags"]}
    holds = len(stored) >= len(run_annotations(run)) and "load-start" in kinds
    note = f"{len(stored)} annotations read back from Grafana {published.grafana}"
    return claim(run, PROMISE, holds=holds, evidence=published.path(), note=note)


def add_annotations(run: Run, grafana: Grafana) -> int:
    """Create the annotations that Grafana does not have yet; returns how many were created.

    It can be called repeatedly: an annotation whose end has become known is created again.

    Raises:
        Problem: Grafana refuses, or cannot be reached.
    """
    stored = grafana.annotations([TAG, _run_tag(run)])
    created = 0
    for annotation in run_annotations(run):
        body = _annotation_body(run, annotation)
        same = [other for other in stored if _is_same(body, other)]
        # Grafana sets the end of a single moment to its start
        ends = {other.get("timeEnd") or other["time"] for other in same}
        if body.get("timeEnd", body["time"]) in ends:
            continue
        for other in same:
            grafana.delete_annotation(int(other["id"]))
        grafana.annotate(body)
        created += 1
    return created


def publish_snapshots(run: Run, snapshots: Snapshots, grafana: Grafana | None) -> Snapshots:
    """Store the run's snapshots in Grafana too, if there is one.

    Raises:
        Problem: Grafana refuses, or cannot be reached.
    """
    if grafana is None:
        return snapshots
    boards = []
    for board in snapshots.boards:
        content = json.loads((run.folder / board.grafana).read_text())
        name = f"{run.run_id} {board.name}"
        url = grafana.create_snapshot(content, name, SNAPSHOT_DAYS * 24 * 3600)
        boards.append(board.model_copy(update={"url": url}))
    published = snapshots.model_copy(update={"boards": tuple(boards)})
    run.save(published)
    return published


def _run_tag(run: Run) -> str:
    return f"run:{run.run_id}"


def _annotation_body(run: Run, annotation: Annotation) -> dict[str, Any]:
    source = [f"source:{annotation.source}"] if annotation.source else []
    tags = [TAG, _run_tag(run), annotation.kind, *source]
    body = {"time": _milliseconds(annotation.at), "text": annotation.text, "tags": tags}
    return body | ({"timeEnd": _milliseconds(annotation.until)} if annotation.until else {})


def _is_same(body: dict[str, Any], stored: dict[str, Any]) -> bool:
    same = all(stored.get(key) == body[key] for key in ("time", "text"))
    return same and set(stored.get("tags") or ()) == set(body["tags"])


def _milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return round(moment.timestamp() * 1000)
