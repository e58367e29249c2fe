"""Triton behind its load balancer: reached over HTTPS, verified against the run's certificate."""

from pathlib import Path

import requests

from helpers.cloud import certificate
from helpers.cluster.records import Balancer
from helpers.errors import Problem
from helpers.run import Run
from helpers.serving import triton
from helpers.serving.endpoint import Endpoint

TLS_PORT = 443
TIMEOUT_S = 10.0


def endpoint(run: Run, balancer: Balancer) -> Endpoint:
    """Where the run's Triton is reached: behind the load balancer, or on this machine.

    Args:
        run: Which records it.
        balancer: As `helpers.cluster.triton_release` found it.

    Raises:
        Unavailable: No load balancer, and this machine has no Triton.
        Problem: It does not answer, or its certificate is not the run's.
    """
    if not balancer.host:
        return triton.serve(run)
    found = behind(balancer.host, certificate.ensure(run).certificate)
    run.save(found)
    return found


def behind(host: str, trusted: Path, port: int = TLS_PORT) -> Endpoint:
    """The endpoint of a load balancer, asked once over verified HTTPS.

    HTTP and gRPC share address and port: the load balancer tells them apart by path. Triton's
    metrics stay inside the cluster.

    Args:
        host: Name of the load balancer.
        trusted: PEM that its certificate is verified against.
        port: Of HTTPS.

    Raises:
        Problem: It does not answer, or its certificate is another one.
    """
    url = f"https://{host}" if port == TLS_PORT else f"https://{host}:{port}"
    try:
        answer = requests.get(f"{url}/v2", verify=str(trusted), timeout=TIMEOUT_S)
        answer.raise_for_status()
        version = answer.json()["version"]
    except requests.exceptions.SSLError as error:
        raise Problem(
            f"What answers at {host} does not have the run's certificate: {_why(error)}.",
            "Apply stage 01 again, which imports it, then repeat stage 03.",
        ) from error
    except (requests.RequestException, ValueError, KeyError) as error:
        raise Problem(
            f"Triton does not answer at {host}: {error}.",
            "If your address has changed, apply stage 01 again and repeat stage 03.",
        ) from error
    return Endpoint(
        http=url,
        grpc=f"{host}:{port}",
        metrics="",
        server=f"tritonserver {version} (GPU, behind an ALB)",
        certificate=str(trusted),
    )


def _why(error: BaseException) -> str:
    """The verifier's own words, out of the wrappings."""
    text = str(error)
    return text.partition("verify failed: ")[2].partition(" (_ssl")[0].rstrip(".") or text
