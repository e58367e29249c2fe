"""A self-signed certificate that clients verify in full; nobody else can read its key."""

import http.server
import socket
import ssl
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import requests

from helpers.cloud import certificate
from helpers.cloud.certificate import Certificate
from helpers.errors import Problem
from helpers.run import Run
from tests.listening import listening


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate.make(tmp_path_factory.mktemp("certificate"), ("localhost", "127.0.0.1"))


@pytest.fixture(scope="module")
def https(made: Certificate) -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with listening(server):
        yield f"https://localhost:{server.server_port}"


def test_a_strict_client_that_trusts_the_file_verifies_the_server(
    made: Certificate, https: str
) -> None:
    context = ssl.create_default_context(cafile=made.certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    port = int(https.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as wrapped,
    ):
        assert wrapped.version()


def test_a_client_that_trusts_only_another_certificate_refuses(https: str, tmp_path: Path) -> None:
    other = certificate.make(tmp_path, ("localhost",))
    with pytest.raises(requests.exceptions.SSLError):
        requests.head(https, verify=str(other.certificate), timeout=5)


def test_grpc_verifies_it(made: Certificate) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    pair = (made.key.read_bytes(), made.certificate.read_bytes())
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials((pair,)))
    server.start()
    trust = grpc.ssl_channel_credentials(made.certificate.read_bytes())
    with grpc.secure_channel(f"localhost:{port}", trust) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
    server.stop(None).wait()


def test_the_runs_certificate_is_for_its_region_and_kept_while_it_holds(run: Run) -> None:
    made = certificate.ensure(run)
    assert made.names == ("*.us-east-1.elb.amazonaws.com",)
    assert made.expires > datetime.now(UTC) + timedelta(days=29)
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.key.parent.stat().st_mode) == 0o700
    before = made.certificate.read_bytes()
    assert certificate.ensure(run).certificate.read_bytes() == before
    made.certificate.write_text("-----BEGIN")
    with pytest.raises(Problem, match=r"cannot be read.*run 01 again"):
        certificate.ensure(run)


@pytest.mark.parametrize(("region", "days"), [("us-east-1", 0.5), ("eu-west-1", 30)])
def test_one_that_is_about_to_end_or_of_another_region_is_made_anew(
    region: str, days: float, run: Run
) -> None:
    certificate.make(run.folder / certificate.FOLDER, (certificate.wildcard(region),), days)
    made = certificate.ensure(run)
    assert made.names == ("*.us-east-1.elb.amazonaws.com",)
    assert made.expires > datetime.now(UTC) + timedelta(days=29)
