"""Smoke inference: the served model must give the same answers as ONNX Runtime.

Over TLS the server's certificate and host name are always verified.
"""

import ssl
import time
from typing import Any

import numpy as np
import pandas as pd
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from helpers.errors import Problem
from helpers.run import Record, Run
from helpers.scenario import Settings
from helpers.serving.records import Endpoint, ModelFacts, Models
from model.export import open_session, random_images, relative_difference
from model.signature import INPUT, OUTPUT

BATCHES = (1, 3)
SEED = 11
TOLERANCE = 1e-4
TIMEOUT_S = 30.0

Images = NDArray[Any]  # as the model takes them
Logits = NDArray[np.float32]


class SmokeAnswer(Settings):
    """One inference, compared with ONNX Runtime on the same input."""

    model: str
    protocol: str  # `http` or `grpc`
    batch: int  # images in the request
    max_difference: float  # largest absolute difference of the logits, over the largest logit
    top1: tuple[int, ...]  # class that Triton predicted for each image
    agrees: bool  # the difference is within the tolerance
    milliseconds: float  # response time; the first call is slow, so this is not a measurement


class Smoke(Record, stage="03", name="smoke"):
    """All smoke inferences: one answer per model, batch size and protocol."""

    answers: tuple[SmokeAnswer, ...]
    tolerance: float  # largest relative difference that counts as agreement
    weights: dict[str, str]  # by model; predictions of random weights mean nothing

    @property
    def all_agree(self) -> bool:
        """Whether there is at least one answer and all answers agree."""
        return bool(self.answers) and all(answer.agrees for answer in self.answers)

    @property
    def summary(self) -> str:
        """One sentence: how many answers agree, and the largest difference."""
        agreed = sum(answer.agrees for answer in self.answers)
        worst = max(answer.max_difference for answer in self.answers)
        return f"{agreed} of {len(self.answers)} answers agree with ONNX Runtime within {worst:.1e}"


def infer(run: Run, endpoint: Endpoint) -> Smoke:
    """Query every model over HTTP and gRPC, with one image and with several."""
    exported = run.load(Models).models
    smoke = Smoke(
        answers=tuple(answer for model in exported for answer in _infer_model(endpoint, model)),
        tolerance=TOLERANCE,
        weights={model.name: model.weights for model in exported},
    )
    run.save(smoke)
    return smoke


def frame(smoke: Smoke) -> pd.DataFrame:
    """The answers as a table, one row per answer."""
    return pd.DataFrame(
        {
            "model": answer.model,
            "protocol": answer.protocol,
            "images": answer.batch,
            "agrees": "✔" if answer.agrees else "✘",
            "largest difference": f"{answer.max_difference:.1e}",
            "top 1": ", ".join(map(str, answer.top1)),
            "weights": smoke.weights[answer.model],
        }
        for answer in smoke.answers
    )


def _infer_model(endpoint: Endpoint, model: ModelFacts) -> list[SmokeAnswer]:
    session = open_session(model.onnx_file())
    generator = np.random.default_rng(SEED)
    answers = []
    for batch in BATCHES:
        images = random_images(session, batch, generator)
        expected: Logits = session.run([OUTPUT], {INPUT: images})[0]
        for protocol, infer_over in (("http", over_http), ("grpc", over_grpc)):
            begin = time.perf_counter()
            try:
                logits = infer_over(endpoint, model.name, images)
            except (InferenceServerException, OSError) as error:
                raise Problem(
                    f"Triton does not answer for {model.name} over {protocol}: {error}.",
                    "Read its log: services/triton.log in the run's folder, or the pod's log in a "
                    "cluster. If the certificate belongs to another run, run stage 01 again.",
                ) from error
            elapsed_ms = (time.perf_counter() - begin) * 1000
            answers.append(compare(model.name, protocol, expected, logits, elapsed_ms))
    return answers


def compare(
    model: str, protocol: str, expected: Logits, logits: Logits | None, milliseconds: float
) -> SmokeAnswer:
    """Judge an answer by its content; an empty or misshapen one has an infinite difference."""
    difference = float("inf")
    top1: tuple[int, ...] = ()
    if logits is not None and logits.shape == expected.shape:
        difference = relative_difference(expected, logits)
        top1 = tuple(int(index) for index in logits.argmax(1))
    return SmokeAnswer(
        model=model,
        protocol=protocol,
        batch=len(expected),
        max_difference=difference,
        top1=top1,
        agrees=difference <= TOLERANCE,
        milliseconds=milliseconds,
    )


def over_http(endpoint: Endpoint, model: str, images: Images) -> Logits | None:
    """One inference over HTTP or HTTPS with binary tensors; returns the logits (N, 1000)."""
    scheme, _, address = endpoint.http.partition("://")
    with triton_http.InferenceServerClient(
        address,
        connection_timeout=TIMEOUT_S,
        network_timeout=TIMEOUT_S,
        ssl=scheme == "https",
        ssl_context_factory=lambda: ssl.create_default_context(cafile=endpoint.certificate),
    ) as client:
        return _infer(client, triton_http, model, images)


def over_grpc(endpoint: Endpoint, model: str, images: Images) -> Logits | None:
    """One inference over gRPC, with TLS if there is a certificate; returns the logits (N, 1000)."""
    with triton_grpc.InferenceServerClient(
        endpoint.grpc,
        ssl=bool(endpoint.certificate),
        root_certificates=endpoint.certificate or None,
    ) as client:
        return _infer(client, triton_grpc, model, images, client_timeout=TIMEOUT_S)


def _infer(
    client: Any, library: Any, model: str, images: Images, **options: float
) -> Logits | None:
    datatype = np_to_triton_dtype(images.dtype)
    tensor = library.InferInput(INPUT, list(images.shape), datatype)
    tensor.set_data_from_numpy(images)
    answer = client.infer(model, [tensor], **options)
    logits: Logits | None = answer.as_numpy(OUTPUT)
    return logits
