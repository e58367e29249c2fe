"""Infers over HTTP with every model named and checks what comes back. Standard library alone.

Usage: python3 infer.py http://host:port model…; the first wrong answer ends it with 1.
"""

import json
import math
import random
import sys
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.request import OpenerDirector

PATIENCE_S = 60.0
TIMEOUT_S = 15.0
TOLERANCE = 1e-3  # of the largest value: a batch may take other kernels than a single image


def main(base: str, models: list[str]) -> None:
    """Check every model; the sentence of the first failure ends the program."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    wait_ready(opener, base)
    for model in models:
        check(opener, base, model)


def wait_ready(opener: OpenerDirector, base: str) -> None:
    """The release may have been installed a second ago."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            opener.open(base + "/v2/health/ready", timeout=TIMEOUT_S).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{base} did not get ready in {PATIENCE_S:.0f} s: {error}")
            time.sleep(1)


def check(opener: OpenerDirector, base: str, model: str) -> None:
    """Two images, alone and together: finite, not constant, different, and each time the same."""
    described = call(opener, f"{base}/v2/models/{model}")
    if len(described["inputs"]) != 1:
        sys.exit(f"{model} has {len(described['inputs'])} inputs; this test knows models with one")
    signature = described["inputs"][0]
    one, two = image(signature, seed=1), image(signature, seed=2)
    first = infer(opener, base, model, signature, one)
    second = infer(opener, base, model, signature, two)
    both = infer(opener, base, model, signature, one + two, batch=2)
    for values in (first, second):
        if not values or not all(math.isfinite(value) for value in values):
            sys.exit(f"{model} answers with nothing, or with values that are no numbers")
        if max(values) == min(values):
            sys.exit(f"{model} answers with {len(values)} times the same value")
    if first == second:
        sys.exit(f"{model} answers two different images alike: it does not look at its input")
    if not close(first + second, both):
        sys.exit(f"{model} answers a batch of two otherwise than the two images alone")
    print(f"{model}: {len(first)} values an image, from {min(first):.3f} to {max(first):.3f}")


def image(signature: dict[str, Any], seed: int) -> list[float]:
    """Random values for one image: bytes, or normalised floats."""
    chance = random.Random(seed)
    count = math.prod(shape(signature, 1))
    if signature["datatype"] == "UINT8":
        return list(chance.randbytes(count))
    return [chance.uniform(-2, 2) for _ in range(count)]


def shape(signature: dict[str, Any], batch: int) -> list[int]:
    """The input's shape with every free dimension set: the first is the batch."""
    first, *rest = signature["shape"]
    return [batch if first == -1 else first, *(1 if size == -1 else size for size in rest)]


def infer(
    opener: OpenerDirector,
    base: str,
    model: str,
    signature: dict[str, Any],
    values: list[float],
    batch: int = 1,
) -> list[float]:
    """Values of the first output."""
    tensor = {
        "name": signature["name"],
        "datatype": signature["datatype"],
        "shape": shape(signature, batch),
        "data": values,
    }
    answer = call(opener, f"{base}/v2/models/{model}/infer", {"inputs": [tensor]})
    data: list[float] = answer["outputs"][0]["data"]
    return data


def close(left: list[float], right: list[float]) -> bool:
    """Whether two answers are the same but for rounding."""
    if len(left) != len(right):
        return False
    scale = max(1.0, max(abs(value) for value in left))
    return all(abs(a - b) <= TOLERANCE * scale for a, b in zip(left, right, strict=True))


def call(opener: OpenerDirector, url: str, body: dict[str, Any] | None = None) -> Any:
    """An answer as JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{url} answered {error.code}: {error.read()[:300]!r}")
    except OSError as error:
        sys.exit(f"{url} did not answer: {error}")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), sys.argv[2:])
