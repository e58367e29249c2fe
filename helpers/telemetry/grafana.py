"""Grafana's HTTP API, as far as a run needs it.

Requests and answers are those of Grafana's published description (public/openapi3.json of
grafana/grafana). The token is in no text this module makes: not in `repr`, not in an error.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import requests

from helpers.errors import Problem, Unavailable

TRIES = 4
RETRIED = (429, 500, 502, 503, 504)
LONGEST_PAUSE_S = 30.0
LONGEST_QUOTE = 200
MOST_ANNOTATIONS = 1000
PNG = b"\x89PNG\r\n\x1a\n"
_REFUSED = {
    401: ("does not accept the token", "Make a new one: delete the secret and run stage 04 again."),
    403: ("denies the token {what}", "Give its service account the role Editor."),
    404: (
        "does not know {what}",
        "Check the address, and that stage 04 has brought the dashboards.",
    ),
}


@dataclass(frozen=True)
class Health:
    """What Grafana says of itself.

    Attributes:
        version: Its version.
        database: `ok` where its database answers.
    """

    version: str
    database: str


@dataclass(frozen=True)
class Annotation:
    """A mark on Grafana's time axes.

    Attributes:
        start: When, UTC.
        text: What people read.
        tags: What it is found by.
        end: When it was over; None makes a line instead of a region.
    """

    start: datetime
    text: str
    tags: tuple[str, ...]
    end: datetime | None = None

    @property
    def body(self) -> dict[str, Any]:
        """As Grafana takes it: times in milliseconds since 1970."""
        body = {"time": _ms(self.start), "text": self.text, "tags": list(self.tags)}
        return body | ({"timeEnd": _ms(self.end)} if self.end else {})

    def is_as(self, found: dict[str, Any]) -> bool:
        """Whether Grafana has it already."""
        mine = self.body
        same = all(found.get(key) == mine[key] for key in ("time", "text"))
        return same and set(found.get("tags") or ()) == set(self.tags)


@dataclass(frozen=True)
class Grafana:
    """A Grafana that can be asked.

    Attributes:
        url: Base URL, without a slash at its end.
        token: A service account's token.
        timeout_s: How long an answer may take, seconds.
        pause_s: Pause before the second try, seconds; it doubles.
    """

    url: str
    token: str = field(repr=False)
    timeout_s: float = 30.0
    pause_s: float = 1.0

    def health(self) -> Health:
        """Whether it is well, and its version.

        Raises:
            Problem: It cannot be reached, or its database does not answer.
        """
        said = self._json("GET", "/api/health", "its health")
        found = Health(str(said.get("version", "")), str(said.get("database", "")))
        if found.database != "ok":
            raise Problem(
                f"Grafana at {self.url} is not well: its database says '{found.database}'.",
                "Look at the pod's log, or restart it.",
            )
        return found

    def annotate(self, annotation: Annotation) -> int:
        """Make an annotation of the organisation, which every dashboard with its tag shows.

        Returns:
            Its number.

        Raises:
            Problem: Grafana refuses, or cannot be reached.
        """
        made = self._json("POST", "/api/annotations", "annotations", annotation.body)
        return int(made["id"])

    def annotations(self, tags: Sequence[str]) -> list[dict[str, Any]]:
        """The annotations that have all these tags, as Grafana gives them.

        Raises:
            Problem: Grafana refuses, or cannot be reached.
        """
        asked = {"tags": list(tags), "matchAny": "false", "type": "annotation",
                 "limit": MOST_ANNOTATIONS}  # fmt: skip
        found: list[dict[str, Any]] = self._json(
            "GET", "/api/annotations", "annotations", asked=asked
        )
        return found

    def delete_annotation(self, number: int) -> None:
        """Delete an annotation; one that is gone already is no error.

        Raises:
            Problem: Grafana refuses, or cannot be reached.
        """
        self._ask("DELETE", f"/api/annotations/{number}", "annotations", fine=(404,))

    def snapshot(self, content: dict[str, Any], name: str, expires_s: int) -> str:
        """Keep a dashboard with the data inside it.

        Args:
            content: The dashboard, its panels with their data (`snapshotData`).
            name: What it is called.
            expires_s: After so long Grafana deletes it, seconds; 0 means never.

        Returns:
            Where it is seen.

        Raises:
            Problem: Grafana refuses, or cannot be reached.
        """
        body = {"dashboard": content, "name": name, "expires": expires_s, "external": False}
        return str(self._json("POST", "/api/snapshots", "snapshots", body)["url"])

    def render(self, uid: str, start: datetime, end: datetime, size: tuple[int, int]) -> bytes:
        """Grafana's own picture of a dashboard, as PNG.

        Args:
            uid: The dashboard.
            start: Begin, UTC.
            end: End, UTC.
            size: Width and height, pixels.

        Raises:
            Unavailable: This Grafana has no image renderer.
            Problem: Grafana refuses, cannot be reached, or what it gives is no picture.
        """
        settings = self._json("GET", "/api/frontend/settings", "its settings")
        if not settings.get("rendererAvailable"):
            raise Unavailable(
                f"Grafana at {self.url} has no image renderer.",
                "The pictures that matplotlib draws from the same dashboards are complete.",
            )
        asked = {"from": _ms(start), "to": _ms(end), "width": size[0], "height": size[1],
                 "tz": "UTC", "theme": "light", "kiosk": "true"}  # fmt: skip
        answer = self._ask("GET", f"/render/d/{quote(uid, safe='')}", f"the dashboard {uid}",
                           asked=asked)  # fmt: skip
        if not answer.content.startswith(PNG):
            raise Problem(f"What Grafana drew of {uid} is no picture.", "Look at its log.")
        return answer.content

    def _json(self, method: str, path: str, what: str, body: Any = None, asked: Any = None) -> Any:
        answer = self._ask(method, path, what, body, asked)
        try:
            return answer.json()
        except ValueError as error:
            raise Problem(
                f"What answers at {self.url} is not Grafana (HTTP {answer.status_code}, no JSON).",
                "Check the address.",
            ) from error

    def _ask(
        self,
        method: str,
        path: str,
        what: str,
        body: Any = None,
        asked: Any = None,
        fine: Sequence[int] = (),
    ) -> requests.Response:
        pause = self.pause_s
        for left in reversed(range(TRIES)):
            try:
                answer = self._once(method, path, body, asked)
            except requests.RequestException as error:
                if not left:
                    raise self._unreached(error) from None  # its text may quote the request
            else:
                if answer.status_code < 300 or answer.status_code in fine:
                    return answer
                if answer.status_code not in RETRIED or not left:
                    raise self._refusal(answer, what)
                pause = max(pause, _asked_pause(answer))
            time.sleep(min(pause, LONGEST_PAUSE_S))
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def _once(self, method: str, path: str, body: Any, asked: Any) -> requests.Response:
        with requests.Session() as session:
            # a proxy is no way to this machine's own loopback; a .netrc would win over the token
            session.trust_env = False
            return session.request(
                method, f"{self.url}{path}", json=body, params=asked, timeout=self.timeout_s,
                headers={"Authorization": f"Bearer {self.token}", "Accept": "application/json"},
                allow_redirects=False,  # the login page is no answer
            )  # fmt: skip

    def _unreached(self, error: requests.RequestException) -> Problem:
        if isinstance(error, requests.Timeout):
            return Problem(
                f"Grafana at {self.url} did not answer within {self.timeout_s:g} s, {TRIES} times.",
                "Look whether its pod is Ready, and repeat the step.",
            )
        return Problem(
            f"Grafana at {self.url} cannot be reached.",
            "Run notebook 04 again (it opens the way to it), or check the address.",
        )

    def _refusal(self, answer: requests.Response, what: str) -> Problem:
        status = answer.status_code
        if status in _REFUSED:
            did, step = _REFUSED[status]
            return Problem(f"Grafana at {self.url} {did.format(what=what)} (HTTP {status}).", step)
        if 300 <= status < 400:
            return Problem(
                f"Grafana at {self.url} sends the request elsewhere (HTTP {status}).",
                "Use its own address and scheme.",
            )
        return Problem(
            f"Grafana at {self.url} refuses {what} (HTTP {status}): {self._said(answer)}.",
            "Repeat the step; if it stays, look at Grafana's log.",
        )

    def _said(self, answer: requests.Response) -> str:
        try:
            said = str(answer.json().get("message", ""))
        except (ValueError, AttributeError):
            said = answer.reason or ""
        said = said.replace(self.token, "<token>") if self.token else said
        return said[:LONGEST_QUOTE].rstrip(".") or "no reason given"


def _asked_pause(answer: requests.Response) -> float:
    """How long the server asks to wait, seconds."""
    asked = answer.headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else 0.0


def _ms(moment: datetime) -> int:
    """Milliseconds since 1970, as Grafana counts time."""
    return round(moment.timestamp() * 1000)
