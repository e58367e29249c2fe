"""Grafana: the run's events as annotations and its dashboards as snapshots.

Requests follow Grafana's published API (public/openapi3.json of grafana/grafana). The token does
not appear in any text of this module, neither in `repr` nor in an error. What asks Grafana raises
`Problem` if it cannot be reached or refuses the request.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from helpers.errors import Problem
from helpers.promises import Status, Tick, claim, tick
from helpers.run import Run
from helpers.telemetry.annotations import run_annotations
from helpers.telemetry.records import PublishedAnnotations, Snapshots

PROMISE = "04.annotations"
NO_GRAFANA = "a rehearsal has no Grafana: its pictures are drawn from the same dashboards"
TAG = "gpu-e2e"
SNAPSHOT_S = 30 * 24 * 3600  # then Grafana deletes it
TRIES = 4
RETRIED = (429, 500, 502, 503, 504)
LONGEST_PAUSE_S = 30
LONGEST_QUOTE = 200
MOST_ANNOTATIONS = 1000
NEXT_STEP = {
    401: "Its token is not valid: delete its secret and run stage 04 again.",
    403: "Give its service account the role Editor.",
    404: "Check the address, and that stage 04 has installed the dashboards.",
}


@dataclass(frozen=True)
class Grafana:
    """A Grafana server."""

    url: str  # base URL, without a trailing slash
    token: str = field(repr=False)  # A service account's token
    timeout_s: float = 30.0  # longest time to wait for an answer, seconds
    pause_s: float = 1.0  # pause between two tries, seconds; it doubles with every try

    def version(self) -> str:
        """The server's version, if its database answers."""
        health = self.ask("GET", "/api/health")
        if (state := health.get("database")) != "ok":
            what = f"Grafana at {self.url} is not healthy: its database reports '{state}'."
            raise Problem(what, "Read the pod's log, or restart it.")
        return str(health.get("version", ""))

    def annotations(self, tags: Sequence[str]) -> list[dict[str, Any]]:
        """The annotations that have all these tags, as Grafana returns them."""
        query = {"tags": list(tags), "matchAny": "false", "type": "annotation",
                 "limit": MOST_ANNOTATIONS}  # fmt: skip
        stored: list[dict[str, Any]] = self.ask("GET", "/api/annotations", params=query)
        return stored

    def ask(self, method: str, path: str, *, accepted: int = 0, **content: Any) -> Any:
        """Grafana's answer to a request; the status `accepted` is no error."""
        retry = Retry(
            total=TRIES - 1, status_forcelist=RETRIED, allowed_methods=None, raise_on_status=False,
            backoff_factor=self.pause_s, backoff_max=LONGEST_PAUSE_S,
            retry_after_max=LONGEST_PAUSE_S,
        )  # fmt: skip
        try:
            with requests.Session() as session:
                session.mount(self.url, HTTPAdapter(max_retries=retry))
                # a proxy cannot reach this machine's loopback; .netrc would replace the token
                session.trust_env = False
                response = session.request(
                    method, self.url + path, timeout=self.timeout_s,
                    headers={"Authorization": f"Bearer {self.token}"},
                    allow_redirects=False,  # the login page is not an answer
                    **content,
                )  # fmt: skip
        except requests.RequestException as error:
            slow = isinstance(error, requests.Timeout)
            what = f"does not answer within {self.timeout_s:g} s" if slow else "cannot be reached"
            raise Problem(
                f"Grafana at {self.url} {what}.",
                "Run notebook 04 again, or check that its pod is Ready.",
            ) from None  # the error could quote the request
        status = response.status_code
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if status < 300 or status == accepted:
            if answer is None:
                what = f"The server at {self.url} is not Grafana (HTTP {status}, no JSON)."
                raise Problem(what, "Check the address.")
            return answer
        message = str(answer.get("message", "") if isinstance(answer, dict) else response.reason)
        message = message.replace(self.token, "<token>") if self.token else message
        message = message[:LONGEST_QUOTE].rstrip(".") or "no reason given"
        raise Problem(
            f"Grafana at {self.url} refuses {method} {path} (HTTP {status}): {message}.",
            NEXT_STEP.get(status, "Retry the step; then read Grafana's log."),
        )


def publish_annotations(run: Run, grafana: Grafana | None) -> Tick:
    """Publish the run's events as annotations, read them back, and record the promise."""
    if grafana is None:
        note = f"{NO_GRAFANA}; {len(run_annotations(run))} events are shown in them"
        return tick(run, PROMISE, Status.NOT_RUN, note=note)
    add_annotations(run, grafana)
    stored = grafana.annotations([TAG, f"run:{run.run_id}"])
    published = PublishedAnnotations(grafana=grafana.version(), annotations=len(stored))
    run.save(published)
    if not run.events("load-start"):
        note = "there was no load yet; stage 05 publishes it"
        return tick(run, PROMISE, Status.NOT_RUN, note=note)
    kinds = {tag for annotation in stored for tag in annotation["tags"]}
    holds = len(stored) >= len(run_annotations(run)) and "load-start" in kinds
    note = f"{len(stored)} annotations read back from Grafana {published.grafana}"
    return claim(run, PROMISE, holds=holds, evidence=published.path(), note=note)


def add_annotations(run: Run, grafana: Grafana) -> int:
    """Create the annotations that Grafana does not have yet; returns how many were created.

    It can be called repeatedly: an annotation whose end has become known is created again.
    """
    tags = [TAG, f"run:{run.run_id}"]
    stored, created = grafana.annotations(tags), 0
    for annotation in run_annotations(run):
        times = {"time": annotation.at, "timeEnd": annotation.until}
        source = [f"source:{annotation.source}"] if annotation.source else []
        body: dict[str, Any] = {
            **{key: round(at.timestamp() * 1000) for key, at in times.items() if at},
            "text": annotation.text, "tags": [*tags, annotation.kind, *source],
        }  # fmt: skip
        key = body["time"], body["text"], set(body["tags"])
        same = [other for other in stored if key == (
            other.get("time"), other.get("text"), set(other.get("tags") or ()))]  # fmt: skip
        # Grafana sets the end of a single moment to its start
        ends = {other.get("timeEnd") or other["time"] for other in same}
        if body.get("timeEnd", body["time"]) in ends:
            continue
        for other in same:
            grafana.ask("DELETE", f"/api/annotations/{other['id']}", accepted=404)
        grafana.ask("POST", "/api/annotations", json=body)
        created += 1
    return created


def publish_snapshots(run: Run, snapshots: Snapshots, grafana: Grafana | None) -> Snapshots:
    """Store the run's snapshots in Grafana too, if there is one."""
    if grafana is None:
        return snapshots
    boards = []
    for board in snapshots.boards:
        content = json.loads((run.folder / board.grafana).read_text())
        name = f"{run.run_id} {board.name}"
        body = {"dashboard": content, "name": name, "expires": SNAPSHOT_S, "external": False}
        url = grafana.ask("POST", "/api/snapshots", json=body)["url"]
        boards.append(board.model_copy(update={"url": url}))
    return run.save(snapshots.model_copy(update={"boards": tuple(boards)}))
