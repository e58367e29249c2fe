"""A Prometheus server's HTTP API: instant and range queries as tables, and its targets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import requests

from helpers.errors import Problem

LONGEST_QUOTE = 300
DEFAULT_RETENTION = "15d"  # of Prometheus itself


@dataclass(frozen=True)
class Target:
    """One address that Prometheus scrapes.

    Attributes:
        job: The job it belongs to.
        url: What is scraped.
        health: `up`, `down`, or `unknown` before the first scrape.
        error: Why the last scrape failed; empty where it did not.
    """

    job: str
    url: str
    health: str
    error: str


@dataclass(frozen=True)
class Server:
    """A Prometheus that answers PromQL.

    Attributes:
        url: Base URL, without a slash at its end.
        timeout_s: How long an answer may take, seconds.
    """

    url: str
    timeout_s: float = 30.0

    def query(self, promql: str, at: datetime | None = None) -> pd.DataFrame:
        """Ask for the values at one moment.

        Args:
            promql: The query.
            at: The moment; None means now. Naive times are UTC.

        Returns:
            One row a value: `time` (UTC), one column for each label, `value` (float).

        Raises:
            Problem: Prometheus cannot be reached, is too slow, or refuses the query.
        """
        moment = {} if at is None else {"time": seconds(at)}
        return _frame(self._ask("query", query=promql, **moment))

    def query_range(self, promql: str, start: datetime, end: datetime, step: float) -> pd.DataFrame:
        """Ask for the values from `start` to `end`, every `step` seconds.

        Returns:
            As `query`; a label that a series does not have is missing (NaN) in its rows.

        Raises:
            Problem: Prometheus cannot be reached, is too slow, or refuses the query (more than
                11,000 steps among others).
        """
        window = {"start": seconds(start), "end": seconds(end), "step": step}
        return _frame(self._ask("query_range", query=promql, **window))

    def targets(self) -> list[Target]:
        """What is scraped now.

        Raises:
            Problem: As `query`.
        """
        return [
            Target(one["labels"]["job"], one["scrapeUrl"], one["health"], one["lastError"])
            for one in self._ask("targets", state="active")["activeTargets"]
        ]

    def version(self) -> str:
        """The server's version.

        Raises:
            Problem: As `query`.
        """
        return str(self._ask("status/buildinfo")["version"])

    def series_count(self) -> int:
        """How many series its memory holds.

        Raises:
            Problem: As `query`.
        """
        return int(self._ask("status/tsdb")["headStats"]["numSeries"])

    def retention(self) -> str:
        """How long it keeps what it scraped, as it was told; `15d` where nobody told it.

        Raises:
            Problem: As `query`.
        """
        told = str(self._ask("status/flags")["storage.tsdb.retention.time"])
        return DEFAULT_RETENTION if told in ("", "0s") else told

    def _ask(self, path: str, **parameters: str | float) -> Any:
        try:
            with requests.Session() as session:
                # a proxy is no way to this machine's own loopback
                session.trust_env = "//127.0.0.1" not in self.url
                answer = session.get(
                    f"{self.url}/api/v1/{path}", params=parameters, timeout=self.timeout_s
                )
        except requests.Timeout as error:
            raise Problem(
                f"Prometheus at {self.url} did not answer within {self.timeout_s:g} s.",
                "Ask for a shorter window or a longer step, or try again when the machine is idle.",
            ) from error
        except requests.RequestException as error:
            raise Problem(
                f"Prometheus at {self.url} cannot be reached.",
                "Run notebook 04 again (it starts what is not running), or check the address.",
            ) from error
        return self._data(answer, str(parameters.get("query", path)))

    def _data(self, answer: requests.Response, asked: str) -> Any:
        try:
            body = answer.json()
            status = body["status"]
        except (ValueError, TypeError, KeyError) as error:
            raise Problem(
                f"What answers at {self.url} is not Prometheus (HTTP {answer.status_code}).",
                "Check the address.",
            ) from error
        if status != "success":
            said = f"{body.get('errorType')}: {body.get('error')}"[:LONGEST_QUOTE]
            raise Problem(f"Prometheus refuses '{asked}': {said}.", "Correct the query.")
        return body["data"]


def seconds(moment: datetime) -> float:
    """Seconds since 1970; naive times are UTC."""
    stamp = pd.Timestamp(moment)
    return float((stamp if stamp.tzinfo else stamp.tz_localize("UTC")).timestamp())


def _frame(data: dict[str, Any]) -> pd.DataFrame:
    match data["resultType"]:
        case "matrix":
            found = [(one["metric"], one.get("values", [])) for one in data["result"]]
        case "vector":
            found = [(one["metric"], [one["value"]]) for one in data["result"] if "value" in one]
        case "scalar":
            found = [({}, [data["result"]])]
        case other:
            raise Problem(f"The query gives a {other}, not numbers.", "Correct the query.")
    frames = [_series(labels, values) for labels, values in found] or [_series({}, [])]
    return pd.concat(frames, ignore_index=True)


def _series(labels: dict[str, str], values: list[tuple[float, str]]) -> pd.DataFrame:
    times = [round(moment * 1000) for moment, _ in values]
    columns: dict[str, Any] = {"time": pd.to_datetime(times, unit="ms", utc=True)}
    columns |= {label: labels[label] for label in sorted(labels)}
    columns["value"] = pd.Series([float(value) for _, value in values], dtype=float)
    return pd.DataFrame(columns)
