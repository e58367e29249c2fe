"""Smoke inference: the served model must answer as ONNX Runtime does on the same input.

Over TLS the server is verified against the endpoint's certificate, its name included; there is no
way to ask without.
"""

import ssl
import time
from typing import Any

import numpy as np
import pandas as pd
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from helpers.errors import Problem
from helpers.run import Run
from helpers.serving import store
from helpers.serving.endpoint import Endpoint
from helpers.serving.reports import ModelFacts, Models, Smoke, SmokeAnswer
from model.export import open_session, relative_difference
from model.signature import INPUT, OUTPUT

BATCHES = (1, 3)
SEED = 11
TOLERANCE = 1e-4
TIMEOUT_S = 30.0

Logits = NDArray[np.float32]


def infer(run: Run, endpoint: Endpoint) -> Smoke:
    """Ask every model over HTTP and gRPC, for one image and for several.

    Raises:
        Problem: Triton refuses, or cannot be reached.
    """
    exported = run.load(Models).models
    smoke = Smoke(
        answers=tuple(answer for one in exported for answer in _ask(run, endpoint, one)),
        tolerance=TOLERANCE,
        weights={one.name: one.weights for one in exported},
    )
    run.save(smoke)
    return smoke


def frame(smoke: Smoke) -> pd.DataFrame:
    """One row an answer, as people read it."""
    return pd.DataFrame(
        {
            "model": one.model,
            "protocol": one.protocol,
            "images": one.batch,
            "agrees": "✔" if one.agrees else "✘",
            "largest difference": f"{one.max_difference:.1e}",
            "top 1": ", ".join(map(str, one.top1)),
            "weights": smoke.weights[one.model],
        }
        for one in smoke.answers
    )


def _ask(run: Run, endpoint: Endpoint, model: ModelFacts) -> list[SmokeAnswer]:
    session = open_session(store.file_of(run, model.name))
    generator = np.random.default_rng(SEED)
    answers = []
    for batch in BATCHES:
        shape = (batch, 3, model.image_size, model.image_size)
        images = generator.standard_normal(shape, dtype=np.float32)
        truth: Logits = session.run([OUTPUT], {INPUT: images})[0]
        for protocol, ask in (("http", over_http), ("grpc", over_grpc)):
            begin = time.perf_counter()
            try:
                found = ask(endpoint, model.name, images)
            except (InferenceServerException, OSError) as error:
                raise Problem(
                    f"Triton does not answer for {model.name} over {protocol}: {error}.",
                    "Its log is services/triton.log of the run; in a cluster, that of its pod. "
                    "A certificate that does not fit belongs to another run: run stage 01 again.",
                ) from error
            elapsed = (time.perf_counter() - begin) * 1000
            answers.append(compare(model.name, protocol, truth, found, elapsed))
    return answers


def compare(
    model: str, protocol: str, truth: Logits, found: Logits | None, milliseconds: float
) -> SmokeAnswer:
    """Judge an answer by its content; an empty or misshapen one differs infinitely."""
    whole = found is not None and found.shape == truth.shape and np.isfinite(found).all()
    difference = relative_difference(truth, found) if whole and found is not None else np.inf
    return SmokeAnswer(
        model=model,
        protocol=protocol,
        batch=len(truth),
        max_difference=difference,
        top1=tuple(int(one) for one in found.argmax(1)) if whole and found is not None else (),
        agrees=bool(difference <= TOLERANCE),
        milliseconds=milliseconds,
    )


def over_http(endpoint: Endpoint, model: str, images: Logits) -> Logits | None:
    """One inference over HTTP or HTTPS with binary tensors; the logits (N, 1000)."""
    scheme, _, address = endpoint.http.partition("://")
    with triton_http.InferenceServerClient(
        address,
        connection_timeout=TIMEOUT_S,
        network_timeout=TIMEOUT_S,
        ssl=scheme == "https",
        ssl_context_factory=lambda: ssl.create_default_context(cafile=endpoint.certificate),
    ) as client:
        return _infer(client, triton_http, model, images)


def over_grpc(endpoint: Endpoint, model: str, images: Logits) -> Logits | None:
    """One inference over gRPC, with TLS where there is a certificate; the logits (N, 1000)."""
    with triton_grpc.InferenceServerClient(
        endpoint.grpc,
        ssl=bool(endpoint.certificate),
        root_certificates=endpoint.certificate or None,
    ) as client:
        return _infer(client, triton_grpc, model, images, client_timeout=TIMEOUT_S)


def _infer(
    client: Any, library: Any, model: str, images: Logits, **options: float
) -> Logits | None:
    tensor = library.InferInput(INPUT, list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    answer = client.infer(model, [tensor], **options)
    logits: Logits | None = answer.as_numpy(OUTPUT)
    return logits
