"""What a server says of a model, before the first request is sent."""

import math
from typing import Any

import requests

from helpers.errors import Problem
from helpers.load.payload import Shape
from helpers.scenario import Scenario
from helpers.serving.endpoint import Endpoint

ANSWER_TIMEOUT_S = 5.0
MEMORY_LIMIT = 2 << 30
SERVE_FIRST = "Serve the models first: run stage 03."


def check(endpoint: Endpoint, scenario: Scenario) -> Shape:
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
    with requests.Session() as session:
        session.trust_env = False  # the load does not go through a proxy either
        session.verify = endpoint.certificate or True
        _ready(session, endpoint, scenario.model)
        described = _ask(session, endpoint, f"models/{scenario.model}")
        most = _ask(session, endpoint, f"models/{scenario.model}/config").get("max_batch_size", 0)
    if scenario.protocol == "grpc":
        _require_grpc(endpoint, scenario.model)
    if scenario.batch > max(most, 1):
        raise Problem(
            f"Scenario '{scenario.name}' sends batches of {scenario.batch}, but the server takes "
            f"at most {max(most, 1)} for '{scenario.model}'.",
            "Lower the scenario's batch, or raise serving.max_batch_size.",
        )
    shape = _shape(described, scenario, batched=most > 0)
    memory = shape.input_bytes * scenario.inputs
    if memory > MEMORY_LIMIT:
        raise Problem(
            f"The {scenario.inputs} inputs of scenario '{scenario.name}' take "
            f"{memory / 2**30:.1f} GiB of memory.",
            "Lower its inputs or its batch.",
        )
    return shape


def _ready(session: requests.Session, endpoint: Endpoint, model: str) -> None:
    answer = _get(session, endpoint, f"models/{model}/ready")
    if answer.status_code != 200:
        raise Problem(
            f"The server at {endpoint.http} is not ready to serve '{model}' "
            f"(HTTP {answer.status_code}).",
            SERVE_FIRST,
        )


def _ask(session: requests.Session, endpoint: Endpoint, path: str) -> dict[str, Any]:
    answer = _get(session, endpoint, path)
    try:
        told = answer.json()
    except ValueError:
        told = None
    if answer.status_code != 200 or not isinstance(told, dict):
        raise Problem(
            f"What answers at {endpoint.http} does not speak the KServe v2 protocol "
            f"(HTTP {answer.status_code} for /v2/{path}).",
            "Check that the address is that of Triton's HTTP port.",
        )
    return told


def _get(session: requests.Session, endpoint: Endpoint, path: str) -> requests.Response:
    url = f"{endpoint.http.rstrip('/')}/v2/{path}"
    try:
        return session.get(url, timeout=ANSWER_TIMEOUT_S)
    except requests.exceptions.SSLError as error:
        raise Problem(
            f"The certificate of {endpoint.http} could not be verified.",
            "Name the right certificate in the endpoint, or serve with one that is trusted.",
        ) from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise Problem(
            f"'{endpoint.http}' is no address of a server.", "Write it as http://host:port."
        ) from error
    except (requests.ConnectionError, requests.Timeout) as error:
        if "BadStatusLine" in str(error):
            raise Problem(
                f"What answers at {endpoint.http} does not speak HTTP.",
                "Check that the address is that of Triton's HTTP port, not of its gRPC port.",
            ) from error
        raise Problem(
            f"No server answers at {endpoint.http} ({type(error).__name__}).", SERVE_FIRST
        ) from error


def _require_grpc(endpoint: Endpoint, model: str) -> None:
    from tritonclient import grpc as tritongrpc  # slow to import, and HTTP does without
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


def _shape(described: dict[str, Any], scenario: Scenario, *, batched: bool) -> Shape:
    inputs, outputs = described.get("inputs", []), described.get("outputs", [])
    sizes = [_dims(one, batched=batched) for one in (*inputs, *outputs)]
    one_each = len(inputs) == len(outputs) == 1
    if not one_each or any(one["datatype"] != "FP32" for one in (*inputs, *outputs)):
        raise Problem(
            f"Model '{scenario.model}' does not have one FP32 input and one FP32 output, "
            "and the load engine sends nothing else.",
            "Choose another model.",
        )
    if any(size < 1 for dims in sizes for size in dims):
        raise Problem(
            f"Model '{scenario.model}' leaves the size of its tensors open, so there is nothing "
            "to send.",
            "Export it with fixed dimensions (the batch may stay open).",
        )
    dims, out = sizes
    return Shape(
        model=scenario.model,
        batch=scenario.batch,
        dims=dims,
        outputs=math.prod(out),
        input_name=inputs[0]["name"],
        output_name=outputs[0]["name"],
        batched=batched,
    )


def _dims(tensor: dict[str, Any], *, batched: bool) -> tuple[int, ...]:
    shape = tuple(int(size) for size in tensor["shape"])
    return shape[1:] if batched else shape
