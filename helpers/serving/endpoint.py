"""The record of Triton's addresses; load workers import it, so it imports nothing heavy."""

from helpers.run import Record


class Endpoint(Record, stage="03", name="endpoint"):
    """Addresses of a Triton server."""

    http: str  # base URL of the KServe v2 HTTP API, such as `http://127.0.0.1:8000`
    grpc: str  # `host:port` of the gRPC API
    metrics: str  # URL of the Prometheus metrics; empty if they stay inside the cluster
    server: str  # name and version, such as `tritonserver 2.51.0 (CPU)`
    certificate: str = ""  # PEM file that TLS is verified against; empty without TLS
