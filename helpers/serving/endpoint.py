"""Where a Triton server is reached."""

from helpers.run import Record


class Endpoint(Record, stage="03", name="endpoint"):
    """Addresses of a Triton server.

    Attributes:
        http: Base URL of the KServe v2 HTTP API, such as `http://127.0.0.1:8000`.
        grpc: `host:port` of the gRPC API.
        metrics: URL of the Prometheus exposition.
        server: What answers there, such as `tritonserver 2.51.0 (CPU)`.
        certificate: PEM file that HTTPS is verified against; empty for plain HTTP.
    """

    http: str
    grpc: str
    metrics: str
    server: str
    certificate: str = ""
