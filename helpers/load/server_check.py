"""Checks against the server: its model before the first request, its counters after the last."""

import math
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from helpers.errors import Problem
from helpers.load.records import ServerSide
from helpers.load.request import BAD_HTTP, BAD_OUTPUT, DISCONNECTED, DTYPES, OK, TIMEOUT, Shape
from helpers.scenario import Scenario
from helpers.serving.records import Endpoint

ANSWER_TIMEOUT_S = 5.0
MEMORY_LIMIT = 2 << 30
LINE_S, LINE_CONNECTIONS, LINE_BYTES = 2.0, 8, 1 << 19
LINE_TIMEOUT_S = 120.0  # 4 MiB, at a third of a megabit per second
SERVE_FIRST = "Serve the models first: run stage 03."


def preflight(endpoint: Endpoint, scenario: Scenario) -> Shape:
    """The tensors of a scenario's requests, as the server wants them.

    Raises:
        Problem: The server does not answer, does not speak the protocol, does not serve the model,
            or wants something that the scenario cannot send.
    """
    if scenario.protocol == "https" and not endpoint.http.startswith("https:"):
        raise Problem(
            f"Scenario '{scenario.name}' wants HTTPS, but the server is at {endpoint.http}.",
            "Set its protocol to http, or serve with TLS.",
        )
    model = scenario.model
    with requests.Session() as session:
        session.trust_env = False  # the load does not go through a proxy either
        session.verify = endpoint.certificate or True
        status = _get(session, endpoint, f"models/{model}/ready").status_code
        if status != 200:
            raise Problem(
                f"The server at {endpoint.http} is not ready to serve '{model}' (HTTP {status}).",
                SERVE_FIRST,
            )
        metadata, config = (
            _get(session, endpoint, f"models/{model}{path}").json() for path in ("", "/config")
        )
    most = config.get("max_batch_size", 0)
    for wrong, what in (
        (config.get("model_transaction_policy", {}).get("decoupled"),
         "is decoupled: a request may have many answers, or none"),
        ("sequence_batching" in config, "wants sequences of requests that belong together"),
        (any(tensor.get("optional") for tensor in config.get("input", [])),
         "has an optional input, so what a request carries is not determined"),
    ):  # fmt: skip
        if wrong:
            raise Problem(f"Model '{model}' {what}.", "Choose another model for the load.")
    if scenario.protocol == "grpc":
        _require_grpc(endpoint, model)
    if scenario.batch > max(most, 1):
        raise Problem(
            f"Scenario '{scenario.name}' sends batches of {scenario.batch}, but the server takes "
            f"at most {max(most, 1)} for '{model}'.",
            "Lower the scenario's batch, or raise serving.max_batch_size.",
        )
    shape = _shape(metadata, scenario, batched=most > 0)
    memory = shape.input_bytes * scenario.inputs
    if memory > MEMORY_LIMIT:
        raise Problem(
            f"The {scenario.inputs} inputs of scenario '{scenario.name}' take "
            f"{memory / 2**30:.1f} GiB of memory.",
            "Lower its inputs or its batch.",
        )
    return shape


def _get(session: requests.Session, endpoint: Endpoint, path: str) -> requests.Response:
    try:
        return session.get(f"{endpoint.http.rstrip('/')}/v2/{path}", timeout=ANSWER_TIMEOUT_S)
    except requests.exceptions.SSLError as error:
        raise Problem(
            f"The certificate of {endpoint.http} could not be verified.",
            "Name the right certificate in the endpoint, or serve with one that is trusted.",
        ) from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Problem(
            f"No server answers at {endpoint.http} ({type(error).__name__}).", SERVE_FIRST
        ) from error


def _require_grpc(endpoint: Endpoint, model: str) -> None:
    from tritonclient import grpc as tritongrpc  # slow to import, and HTTP does not need it
    from tritonclient.utils import InferenceServerException

    client = tritongrpc.InferenceServerClient(
        endpoint.grpc,
        ssl=endpoint.http.startswith("https:"),
        root_certificates=endpoint.certificate or None,
    )
    try:
        ready = client.is_model_ready(model, client_timeout=ANSWER_TIMEOUT_S)
    except InferenceServerException as error:
        raise Problem(
            f"No gRPC server answers at {endpoint.grpc} ({error.status()}).",
            "Check that the address is that of Triton's gRPC port.",
        ) from error
    finally:
        client.close()
    if not ready:
        raise Problem(f"The server at {endpoint.grpc} does not serve '{model}'.", SERVE_FIRST)


def _shape(metadata: dict[str, Any], scenario: Scenario, *, batched: bool) -> Shape:
    inputs, outputs = metadata.get("inputs", []), metadata.get("outputs", [])
    every = (*inputs, *outputs)
    types = [tensor["datatype"] for tensor in every]
    if not len(inputs) == len(outputs) == 1 or types[0] not in DTYPES or types[1] != "FP32":
        raise Problem(
            f"Model '{scenario.model}' does not have one input of {' or '.join(DTYPES)} and one "
            "FP32 output, and the load engine sends nothing else.",
            "Choose another model.",
        )
    dims, out = (tuple(map(int, tensor["shape"]))[1 if batched else 0 :] for tensor in every)
    if any(size < 1 for size in (*dims, *out)):
        raise Problem(
            f"Model '{scenario.model}' leaves the size of its tensors open, so there is nothing "
            "to send.",
            "Export it with fixed dimensions (the batch may stay open).",
        )
    names = inputs[0]["name"], outputs[0]["name"]
    return Shape(scenario.model, scenario.batch, dims, math.prod(out), *names, batched, types[0])


def line_mbit(endpoint: Endpoint) -> float:
    """What this machine's line carries to the server, megabits per second; sends for 2 s or more.

    The requests are for a model that is not there: Triton reads them whole, and computes nothing.

    Raises:
        Problem: The server does not take the requests.
    """
    url, begin = f"{endpoint.http}/v2/models/line-test/infer", monotonic()

    def send(block: bytes) -> int:
        sent = 0
        with suppress(requests.RequestException), requests.Session() as session:
            session.trust_env = False  # the load does not go through a proxy either
            session.verify = endpoint.certificate or True
            while monotonic() < begin + LINE_S:
                session.post(url, data=block, timeout=LINE_TIMEOUT_S)
                sent += len(block)
        return sent

    blocks = [os.urandom(LINE_BYTES) for _ in range(LINE_CONNECTIONS)]  # not to be compressed
    with ThreadPoolExecutor(LINE_CONNECTIONS) as threads:
        sent = sum(threads.map(send, blocks))
    if not sent:
        raise Problem(
            f"The line to {endpoint.http} could not be measured: no request was answered.",
            "Check the connection, and repeat stage 05.",
        )
    return sent * 8 / 1e6 / (monotonic() - begin)


def too_much(fired: Iterable[tuple[Scenario, Shape]], mbit: float) -> dict[str, str]:
    """Scenarios that need more than a line of so many megabits per second; name → sentence."""
    needs = [(each, shape, each.peak_rps * shape.input_bytes * 8 / 1e6) for each, shape in fired]
    return {
        scenario.name: f"Scenario '{scenario.name}' is not fired: {scenario.peak_rps:g} requests/s "
        f"of {shape.input_bytes:,} bytes need {needed:,.0f} Mbit/s, and this machine's line "
        f"carries {mbit:,.0f}: lower its rate, or set its control to cluster"
        for scenario, shape, needed in needs
        if needed > mbit
    }


# What the server may have counted as a success although no good answer reached the client.
UNSEEN = (TIMEOUT, DISCONNECTED, BAD_HTTP, BAD_OUTPUT)
COMPUTE = tuple(f"nv_inference_compute_{part}_duration_us" for part in ("input", "infer", "output"))
SUCCESSES, FAILURES, INFERENCES, EXECUTIONS, QUEUE, _ = COUNTED = tuple(
    f"nv_inference_{name}"
    for name in ("request_success", "request_failure", "count", "exec_count", "queue_duration_us",
                 "request_duration_us")
)  # fmt: skip
COUNTERS = (*COUNTED, *COMPUTE)
Counters = dict[str, float]
"""Triton's counters of one model since it started; durations in microseconds."""


def parse_counters(text: str, model: str) -> Counters | None:
    """Sum the counters of a model over its versions; None where the text has none of it."""
    counters: Counters = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removesuffix("_total")
            if name in COUNTERS and sample.labels.get("model") == model:
                counters[name] = counters.get(name, 0.0) + sample.value
    return dict.fromkeys(COUNTERS, 0.0) | counters if counters else None


def read_counters(url: str, model: str) -> Counters | None:
    """The counters that a metrics page shows now; None where it cannot be read."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # the load does not go through a proxy either
            answer = session.get(url, timeout=ANSWER_TIMEOUT_S)
            answer.raise_for_status()
            return parse_counters(answer.text, model)
    except (requests.RequestException, ValueError):
        return None


def counted(before: Counters, after: Counters) -> ServerSide:
    """What was added between two readings."""
    added = {name: after[name] - before[name] for name in COUNTERS}
    successes, executions = added[SUCCESSES], added[EXECUTIONS]
    compute_us = sum(added[name] for name in COMPUTE)
    return ServerSide(
        requests=round(successes),
        failures=round(added[FAILURES]),
        inferences=round(added[INFERENCES]),
        executions=round(executions),
        queue_ms=added[QUEUE] / successes / 1000 if successes else 0.0,
        compute_ms=compute_us / successes / 1000 if successes else 0.0,
        mean_batch=added[INFERENCES] / executions if executions else 0.0,
    )


def expected_successes(outcomes: Mapping[str, int]) -> tuple[int, int]:
    """The fewest and the most successes that the server should have counted, by the outcomes."""
    good = outcomes.get(OK, 0)
    return good, good + sum(outcomes.get(outcome, 0) for outcome in UNSEEN)


def compare(outcomes: Mapping[str, int], server: ServerSide | None) -> tuple[str, bool]:
    """How the client's counts compare with the server's.

    Triton does not count requests that its queue rejects, so only successes are compared. A
    request whose client gave up may have succeeded all the same.

    Returns:
        One sentence, and whether the counts contradict each other.
    """
    if server is None:
        return "Triton's counters could not be read, so the counts were not compared.", False
    fewest, most = expected_successes(outcomes)
    range_ = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    if fewest <= server.requests <= most:
        return f"Triton counted {server.requests:,} successes; the client {range_}.", False
    return f"Triton counted {server.requests:,} successes, but the client {range_}.", True
