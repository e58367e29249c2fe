"""Serves exposition text from files, as an exporter would: GPU series where no GPU is.

python -m helpers.telemetry.exposition --port 9400 helpers/telemetry/recorded/dcgm.prom
"""

import argparse
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ADDRESS = "127.0.0.1"
RECORDED = Path(__file__).parent / "recorded"
DCGM = RECORDED / "dcgm.prom"
NOT_MEASURED = "GPU and node series: documented exposition of the DCGM exporter, not measured"


class Exposition(ThreadingHTTPServer):
    """Answers every GET with the text of its files.

    Args:
        port: Where it listens; 0 chooses a free one.
        files: What it serves, one after the other.
    """

    daemon_threads = True

    def __init__(self, port: int, files: Sequence[Path]) -> None:
        super().__init__((ADDRESS, port), _Handler)
        self.body = "".join(path.read_text() for path in files).encode()

    @property
    def url(self) -> str:
        """Address of the metrics."""
        return f"http://{ADDRESS}:{self.server_port}/metrics"


class _Handler(BaseHTTPRequestHandler):
    server: Exposition

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        """A line for each scrape would tell nothing."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(prog="helpers.telemetry.exposition", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("files", type=Path, nargs="+")
    asked = parser.parse_args(arguments)
    with Exposition(asked.port, asked.files) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
