"""A container registry of the run, on this machine's loopback: Debian's docker-registry."""

import json

from helpers import processes, programs
from helpers.errors import Unavailable
from helpers.run import Run

NAME = "registry"
PROGRAM = "docker-registry"
START_TIMEOUT_S = 20.0


def serve(run: Run) -> str:
    """Start the run's registry, or find it running; returns its base URL."""
    if service := processes.find(run, NAME):
        return f"http://127.0.0.1:{service.ports['http']}"
    if programs.find(PROGRAM) is None:
        raise Unavailable(
            f"There is no {PROGRAM} on this machine, so no image can be pushed.",
            "On Debian and Ubuntu 'make setup' brings it.",
        )
    port = processes.free_port()
    settings = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(run.folder / "registry")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    processes.start(
        run,
        NAME,
        # JSON is YAML
        [programs.need(PROGRAM), "serve", run.write("registry.yaml", json.dumps(settings))],
        ports={"http": port},
        ready=lambda: processes.ask(f"http://127.0.0.1:{port}/v2/"),
        timeout_s=START_TIMEOUT_S,
        env={"OTEL_TRACES_EXPORTER": "none"},
        program=PROGRAM,
    )
    return f"http://127.0.0.1:{port}"
