"""The process that fires one scenario: `python -m helpers.load.worker SPECIFICATION`.

The specification is JSON: `{"run": folder, "scenario": name, "endpoint": {...}, "parent": pid}`.
What happens is told on standard output, one JSON object a line with its `kind`: `start`,
`phase-start`, `phase-stop`, `progress` once a second, and `end`. SIGTERM, SIGINT and the end of the
parent stop the firing; the requests that have an outcome are saved all the same.
"""

import asyncio
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from helpers.errors import Problem
from helpers.load import payload, recorder
from helpers.load.client import Answered, Client
from helpers.load.http import HttpClient
from helpers.load.player import Player
from helpers.run import Run, now
from helpers.scenario import Scenario
from helpers.serving.endpoint import Endpoint

try:
    import uvloop as loops
except ImportError:  # there is none for this system: asyncio does the same, but slower
    import asyncio as loops  # type: ignore[no-redef]

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Fire what the first argument specifies."""
    spec = json.loads(sys.argv[1])
    _end_with_parent(spec["parent"])
    folder = Path(spec["run"])
    run = Run.open(folder.name, folder.parent)
    scenario = next(one for one in run.profile.load.scenarios if one.name == spec["scenario"])
    try:
        loops.run(fire(run, scenario, Endpoint(**spec["endpoint"])))
    except Problem as problem:
        sys.exit(str(problem))


async def fire(run: Run, scenario: Scenario, endpoint: Endpoint) -> None:
    """Play a scenario and save its table, also when stopped or failing."""
    parts = recorder.Recorder(recorder.parts_folder(run, scenario.name))
    player = Player(scenario, parts, say)
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, player.stop)
    client = connect(run, scenario, endpoint, player.answered)
    try:
        await player.play(client)
    finally:
        await client.close()
        recorder.assemble(run, scenario)
    engine = f"embedded {scenario.protocol} client, {loops.__name__}"
    say("end", engine=engine, interrupted=player.interrupted, cpu_share=player.cpu_share)


def connect(run: Run, scenario: Scenario, endpoint: Endpoint, answered: Answered) -> Client:
    """The client that a scenario's protocol needs, with its requests ready to be sent."""
    shape = payload.shape_of(run.profile, scenario)
    if scenario.protocol == "http":
        return HttpClient(
            endpoint.http,
            payload.http_messages(shape, scenario.inputs, scenario.seed, endpoint.http),
            output_bytes=shape.output_bytes,
            limit=run.profile.load.max_connections,
            answered=answered,
            certificate=endpoint.certificate,
        )
    from helpers.load.grpc import GrpcClient  # gRPC starts threads; HTTP does without

    return GrpcClient(
        endpoint.grpc,
        payload.grpc_messages(shape, scenario.inputs, scenario.seed),
        output_bytes=shape.output_bytes,
        timeout_s=scenario.timeout_s,
        answered=answered,
        secure=endpoint.http.startswith("https:"),
        certificate=endpoint.certificate,
    )


def say(kind: str, **facts: Any) -> None:
    """Tell the parent what happens."""
    try:
        print(json.dumps({"kind": kind, "at": now(), **facts}), flush=True)
    except BrokenPipeError:  # the parent is gone, and with it the reason to go on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        signal.raise_signal(signal.SIGTERM)


def _end_with_parent(parent: int) -> None:
    """Linux tells this process when its parent ends; elsewhere it notices at its next word."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent ended before the load began")


if __name__ == "__main__":
    main()
