"""The HTTP API of a Prometheus server: PromQL answers as tables, and its targets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import requests

from helpers.errors import Problem

LONGEST_QUOTE = 300
DEFAULT_RETENTION = "15d"  # Prometheus's own default


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus server that answers PromQL.

    Every method raises `Problem` if the server cannot be reached, is too slow, or rejects the
    request.
    """

    url: str  # base URL, without a trailing slash
    timeout_s: float = 30.0  # longest time to wait for an answer, seconds

    def query(self, promql: str, at: datetime | None = None) -> pd.DataFrame:
        """The values at one moment.

        Returns:
            One row per value: `time` (UTC), one column per label, `value` (float).
        """
        moment = {} if at is None else {"time": at.timestamp()}
        return _table(self._get("query", query=promql, **moment))

    def query_range(self, promql: str, start: datetime, end: datetime, step: float) -> pd.DataFrame:
        """The values from `start` to `end`, every `step` seconds; Prometheus allows 11,000 steps.

        Returns:
            As `query`; a label that a series does not have is NaN in its rows.
        """
        window = {"start": start.timestamp(), "end": end.timestamp(), "step": step}
        return _table(self._get("query_range", query=promql, **window))

    def targets(self) -> list[dict[str, Any]]:
        """What is scraped now: `labels`, `scrapeUrl`, `health` and `lastError` of each target."""
        targets: list[dict[str, Any]] = self._get("targets", state="active")["activeTargets"]
        return targets

    def version(self) -> str:
        """The server's version."""
        return str(self._get("status/buildinfo")["version"])

    def series_count(self) -> int:
        """How many series it holds in memory."""
        return int(self._get("status/tsdb")["headStats"]["numSeries"])

    def retention(self) -> str:
        """How long it keeps samples, such as `15d`."""
        flag = str(self._get("status/flags")["storage.tsdb.retention.time"])
        return DEFAULT_RETENTION if flag in ("", "0s") else flag

    def _get(self, path: str, **parameters: str | float) -> Any:
        url = f"{self.url}/api/v1/{path}"
        try:
            with requests.Session() as session:
                # a proxy cannot reach this machine's loopback
                session.trust_env = "//127.0.0.1" not in self.url
                response = session.get(url, params=parameters, timeout=self.timeout_s)
        except requests.RequestException as error:
            slow = isinstance(error, requests.Timeout)
            what = f"did not answer within {self.timeout_s:g} s" if slow else "cannot be reached"
            raise Problem(
                f"Prometheus at {self.url} {what}.",
                "Run notebook 04 again (it starts what is not running), or query a shorter window.",
            ) from error
        try:
            body = response.json()
            status = body["status"]
        except (ValueError, TypeError, KeyError) as error:
            raise Problem(
                f"The server at {self.url} is not Prometheus (HTTP {response.status_code}).",
                "Check the address.",
            ) from error
        if status != "success":
            message = f"{body.get('errorType')}: {body.get('error')}"[:LONGEST_QUOTE]
            query = parameters.get("query", path)
            raise Problem(f"Prometheus rejects '{query}': {message}.", "Correct the query.")
        return body["data"]


def _table(data: dict[str, Any]) -> pd.DataFrame:
    match data["resultType"]:
        case "matrix":
            series = [(raw["metric"], raw.get("values", [])) for raw in data["result"]]
        case "vector":
            series = [(raw["metric"], [raw["value"]]) for raw in data["result"] if "value" in raw]
        case other:
            raise Problem(f"The query returns a {other}, not numbers.", "Correct the query.")
    frames = []
    for labels, values in series or [({}, [])]:
        times = [round(moment * 1000) for moment, _ in values]
        columns: dict[str, Any] = {"time": pd.to_datetime(times, unit="ms", utc=True)}
        columns |= {label: labels[label] for label in sorted(labels)}
        columns["value"] = pd.Series([float(value) for _, value in values], dtype=float)
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)
