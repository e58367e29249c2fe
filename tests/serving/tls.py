"""A load balancer's look-alike on loopback: it ends TLS, and hands the bytes to Triton.

`proxy` stands for the network between: it lets clients connect to the load balancer's real name
(`….elb.amazonaws.com`), so that the name in the certificate is verified as it would be on AWS.
"""

import contextlib
import selectors
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

HOST = "k8s-gpue2e-0123456789.us-east-1.elb.amazonaws.com"


@contextlib.contextmanager
def ending_tls(certificate: Path, key: Path, http: int, grpc: int) -> Iterator[int]:
    """Serve TLS; HTTP/2 goes to Triton's gRPC port, the rest to its HTTP port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])

    def handle(raw: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as near:
            port = grpc if near.selected_alpn_protocol() == "h2" else http
            with socket.create_connection(("127.0.0.1", port)) as far:
                _pass(near, far)

    with _listening(handle) as port:
        yield port


@contextlib.contextmanager
def proxy(port: int) -> Iterator[int]:
    """An HTTP proxy that connects every name to one port of this machine."""

    def handle(near: socket.socket) -> None:
        with contextlib.suppress(OSError), near:
            while b"\r\n\r\n" not in near.recv(65536):
                pass
            near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with socket.create_connection(("127.0.0.1", port)) as far:
                _pass(near, far)

    with _listening(handle) as own:
        yield own


@contextlib.contextmanager
def _listening(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = server.accept()
                threading.Thread(target=handle, args=(near,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def _pass(near: socket.socket, far: socket.socket) -> None:
    """Bytes both ways until one side ends."""
    with selectors.DefaultSelector() as ready:
        ready.register(near, selectors.EVENT_READ, far)
        ready.register(far, selectors.EVENT_READ, near)
        while True:
            for key, _ in ready.select():
                source, target = key.fileobj, key.data
                assert isinstance(source, socket.socket)
                data = source.recv(65536)
                while isinstance(source, ssl.SSLSocket) and source.pending():
                    data += source.recv(source.pending())
                if not data:
                    return
                target.sendall(data)
