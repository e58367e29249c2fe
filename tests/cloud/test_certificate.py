"""A self-signed certificate that clients verify in full; nobody else can read its key."""

import http.server
import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from helpers.cloud import certificate
from helpers.errors import Problem
from helpers.run import Run
from tests.listening import listening


def test_a_strict_client_that_trusts_the_file_verifies_the_server(tmp_path: Path) -> None:
    made = certificate.make(tmp_path, ("localhost",))
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(made.certificate, made.key)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.socket = ours.wrap_socket(server.socket, server_side=True)
    theirs = ssl.create_default_context(cafile=made.certificate)
    theirs.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        listening(server),
        socket.create_connection(("127.0.0.1", server.server_port)) as raw,
        theirs.wrap_socket(raw, server_hostname="localhost") as wrapped,
    ):
        assert wrapped.version()


def test_the_runs_certificate_is_for_its_region_and_kept_while_it_holds(run: Run) -> None:
    made = certificate.ensure(run)
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
    certificate.make(run.folder / certificate.FOLDER, (f"*.{region}.elb.amazonaws.com",), days)
    made = certificate.ensure(run)
    assert made.names == ("*.us-east-1.elb.amazonaws.com",)
    parsed = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    assert parsed.subject.rfc4514_string() == f"CN={made.names[0]}"
    assert made.expires > datetime.now(UTC) + timedelta(days=29)
