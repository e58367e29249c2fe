"""Triton over HTTPS and gRPC with TLS: the answer counts, and so does the certificate's name.

A look-alike of the load balancer ends TLS in front of the real Triton, under a load balancer's name
(`….elb.amazonaws.com`), so that the name in the certificate is verified as it would be on AWS.
"""

import asyncio
import contextlib
import socket
import ssl
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
from tests.load.known_server import listening

HOST = "k8s-gpue2e-0123456789.us-east-1.elb.amazonaws.com"


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on bytes until the end."""
    with contextlib.suppress(OSError), contextlib.closing(writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def join(near: asyncio.StreamReader, back: asyncio.StreamWriter, port: int) -> None:
    """Pass on bytes both ways between a connection and a port of this machine."""
    far, there = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(copy(near, there), copy(far, back))


REAL_LOOKUP = socket.getaddrinfo


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate as stage 01 makes it for every load balancer of the region."""
    return certificate.make(tmp_path_factory.mktemp("tls"), ["*.us-east-1.elb.amazonaws.com"])


@pytest.fixture(scope="session")
def port(endpoint: Endpoint, keys: Certificate) -> Iterator[int]:
    """The look-alike load balancer in front of the real Triton."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.certificate, keys.key)
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def connected(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        is_http2 = back.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        address = endpoint.grpc if is_http2 else endpoint.http
        await join(near, back, int(address.rpartition(":")[2]))

    with listening(connected, context) as (_, own_port):
        yield own_port


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

    async def proxy(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        await near.readuntil(b"\r\n\r\n")
        back.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await join(near, back, port)

    with listening(proxy) as (_, proxy_port):
        monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{proxy_port}")
        yield


def test_answers_over_https_and_grpc_agree_with_onnx_runtime(
    shared: Run, keys: Certificate, port: int, network: None
) -> None:
    secure = triton.behind_load_balancer(HOST, keys.certificate, port)
    assert secure.http == f"https://{HOST}:{port}"
    answers = smoke.infer(shared, secure)
    assert {answer.protocol for answer in answers.answers} == {"http", "grpc"}
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
    images = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(Exception, match=r"(?i)verif|mismatch|handshake|unavailable|peer name"):
        ask(stranger, "mobilenetv2", images)


def test_another_certificate_is_refused_with_the_reason(
    tmp_path: Path, keys: Certificate, port: int, network: None
) -> None:
    other = certificate.make(tmp_path, ["*.us-east-1.elb.amazonaws.com"])
    with pytest.raises(Problem, match=r"not have the run's certificate: .*self.signed"):
        triton.behind_load_balancer(HOST, other.certificate, port)
    with pytest.raises(Problem, match="Hostname mismatch"):
        triton.behind_load_balancer("triton.example.org", keys.certificate, port)


def test_without_a_load_balancer_the_local_triton_serves(shared: Run, endpoint: Endpoint) -> None:
    absent = Balancer(host="", healthy={}, secure=False, absent="no cluster")
    assert triton.connect(shared, absent) == endpoint
