"""Triton over HTTPS and gRPC with TLS: the answer counts, and so does the certificate's name."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent.socket
import numpy as np
import pytest

from helpers.cloud import certificate
from helpers.cloud.certificate import Certificate
from helpers.cluster.records import Balancer
from helpers.errors import Problem
from helpers.run import Run
from helpers.serving import smoke, triton
from helpers.serving.records import Endpoint

from . import tls

REAL_LOOKUP = socket.getaddrinfo


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate as stage 01 makes it for every load balancer of the region."""
    return certificate.make(
        tmp_path_factory.mktemp("tls"), ["*.us-east-1.elb.amazonaws.com"]
    )  # fmt: skip


@pytest.fixture(scope="session")
def port(endpoint: Endpoint, keys: Certificate) -> Iterator[int]:
    """The look-alike load balancer in front of the real Triton."""
    http, grpc = (int(one.rpartition(":")[2]) for one in (endpoint.http, endpoint.grpc))
    with tls.ending_tls(keys.certificate, keys.key, http, grpc) as found:
        yield found


@pytest.fixture
def network(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The load balancer's name leads to this machine."""

    def lookup(host: Any, *rest: Any, **options: Any) -> Any:
        local = str(host).endswith("amazonaws.com") or str(host).endswith("example.org")
        return REAL_LOOKUP("127.0.0.1" if local else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(gevent.socket, "getaddrinfo", lookup)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with tls.proxy(port) as way:
        monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{way}")
        yield


def test_answers_over_https_and_grpc_agree_with_onnx_runtime(
    shared: Run, keys: Certificate, port: int, network: None
) -> None:
    found = triton.behind_load_balancer(tls.HOST, keys.certificate, port)
    assert found.http == f"https://{tls.HOST}:{port}"
    answers = smoke.infer(shared, found)
    assert {one.protocol for one in answers.answers} == {"http", "grpc"}
    assert answers.all_agree, answers.summary


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server_of_another_name_gets_no_request(
    shared: Run, keys: Certificate, port: int, network: None, protocol: str
) -> None:
    stranger = Endpoint(
        http=f"https://triton.example.org:{port}", grpc=f"triton.example.org:{port}",
        metrics="", server="", certificate=str(keys.certificate),
    )  # fmt: skip
    ask = smoke.over_http if protocol == "http" else smoke.over_grpc
    images = np.zeros((1, 3, 64, 64), dtype=np.float32)
    with pytest.raises(Exception, match=r"(?i)verif|mismatch|handshake|unavailable|peer name"):
        ask(stranger, "mobilenetv2", images)


def test_another_certificate_is_refused_with_the_reason(
    tmp_path: Path, keys: Certificate, port: int, network: None
) -> None:
    other = certificate.make(tmp_path, ["*.us-east-1.elb.amazonaws.com"])
    with pytest.raises(Problem, match=r"not have the run's certificate: .*self.signed"):
        triton.behind_load_balancer(tls.HOST, other.certificate, port)
    with pytest.raises(Problem, match="Hostname mismatch"):
        triton.behind_load_balancer("triton.example.org", keys.certificate, port)


def test_without_a_load_balancer_the_local_triton_serves(shared: Run, endpoint: Endpoint) -> None:
    absent = Balancer(host="", healthy={}, secure=False, absent="no cluster")
    assert triton.connect(shared, absent) == endpoint
