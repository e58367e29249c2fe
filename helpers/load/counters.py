"""Triton's own counters, and whether they agree with the client's."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import requests
from prometheus_client.parser import text_string_to_metric_families

from helpers.load.client import BAD_HTTP, BAD_OUTPUT, DISCONNECTED, OK, TIMEOUT
from helpers.load.report import ServerSide

READ_TIMEOUT_S = 5.0
# What the server may have counted as a success although no good answer reached the client.
UNSEEN = (TIMEOUT, DISCONNECTED, BAD_HTTP, BAD_OUTPUT)


@dataclass(frozen=True)
class Counters:
    """Triton's counters of one model since it started; durations in microseconds."""

    nv_inference_request_success: float = 0.0
    nv_inference_request_failure: float = 0.0
    nv_inference_request_duration_us: float = 0.0
    nv_inference_count: float = 0.0
    nv_inference_exec_count: float = 0.0
    nv_inference_queue_duration_us: float = 0.0
    nv_inference_compute_input_duration_us: float = 0.0
    nv_inference_compute_infer_duration_us: float = 0.0
    nv_inference_compute_output_duration_us: float = 0.0

    @classmethod
    def parse(cls, text: str, model: str) -> Self | None:
        """Sum the counters of a model over its versions; None where the text has none of it."""
        names = {one.name for one in fields(cls)}
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removesuffix("_total")
                if name in names and sample.labels.get("model") == model:
                    found[name] = found.get(name, 0.0) + sample.value
        return cls(**found) if found else None

    def since(self, before: Self) -> ServerSide:
        """What was added since an earlier reading."""
        added = {
            one.name: getattr(self, one.name) - getattr(before, one.name) for one in fields(self)
        }
        asked = added["nv_inference_request_success"]
        executions = added["nv_inference_exec_count"]
        compute_us = sum(value for name, value in added.items() if "_compute_" in name)
        return ServerSide(
            requests=round(asked),
            failures=round(added["nv_inference_request_failure"]),
            inferences=round(added["nv_inference_count"]),
            executions=round(executions),
            queue_ms=added["nv_inference_queue_duration_us"] / asked / 1000 if asked else 0.0,
            compute_ms=compute_us / asked / 1000 if asked else 0.0,
            mean_batch=added["nv_inference_count"] / executions if executions else 0.0,
        )


def read(url: str, model: str) -> Counters | None:
    """The counters that a metrics page shows now; None where it cannot be read."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # the load does not go through a proxy either
            answer = session.get(url, timeout=READ_TIMEOUT_S)
            answer.raise_for_status()
            return Counters.parse(answer.text, model)
    except (requests.RequestException, ValueError):
        return None


def expected(outcomes: Mapping[str, int]) -> tuple[int, int]:
    """The fewest and the most successes that the server should have counted.

    Args:
        outcomes: How many requests had each outcome.
    """
    good = outcomes.get(OK, 0)
    return good, good + sum(outcomes.get(one, 0) for one in UNSEEN)


def compare(outcomes: Mapping[str, int], server: ServerSide | None) -> tuple[str, bool]:
    """How the client's counts compare with the server's.

    Triton does not count requests that its queue rejects, so only successes are compared. A
    request whose client gave up may have succeeded all the same.

    Args:
        outcomes: How many requests had each outcome, by the client.
        server: What the server counted; None where that could not be read.

    Returns:
        One sentence, and whether the counts contradict each other.
    """
    if server is None:
        return "Triton's counters could not be read, so the counts were not compared.", False
    fewest, most = expected(outcomes)
    range_ = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    if fewest <= server.requests <= most:
        return f"Triton counted {server.requests:,} successes; the client {range_}.", False
    sentence = f"Triton counted {server.requests:,} successes, but the client {range_}."
    return sentence, True
