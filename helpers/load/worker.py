"""The process that fires one scenario, or a share of it: `python -m helpers.load.worker WORK`.

What happens is told on standard output, one JSON object a line with its `kind`: `ready` once
connections are open, then, when a line on standard input has said at which instant to begin,
`start`, `phase-start`, `phase-stop`, `progress` once a second, and `end`. SIGTERM, SIGINT and the
end of standard input stop the firing; requests that have an outcome are on disk all the same.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from helpers.errors import Problem
from helpers.load import payload, recorder, time_slice
from helpers.load.arrivals import Shard
from helpers.load.client import Answered, Client
from helpers.load.http import HttpClient
from helpers.load.payload import Shape
from helpers.load.player import Player
from helpers.run import now
from helpers.scenario import Closed, Scenario, Settings
from helpers.serving.endpoint import Endpoint

try:
    import uvloop as loops
except ImportError:  # there is none for this system: asyncio does the same, but slower
    import asyncio as loops  # type: ignore[no-redef]

# The thread that writes records may hold the interpreter for so long while a request is due;
# Python's default is 5 ms.
SWITCH_S = 0.0002


class Order(Settings):
    """What is fired at whom.

    Attributes:
        scenario: What is played.
        endpoint: Whom it is fired at.
        shape: What goes in and out.
        max_connections: Most connections at a time, of one worker.
    """

    scenario: Scenario
    endpoint: Endpoint
    shape: Shape
    max_connections: int


class Work(Order):
    """What one worker has to do.

    Attributes:
        folder: Where `parts/` lies.
        shard: Its share of the scenario.
    """

    folder: Path
    shard: Shard


def main() -> None:
    """Do the work that the first argument describes."""
    sys.setswitchinterval(SWITCH_S)
    work = Work.model_validate_json(sys.argv[1])
    if is_timed(work.scenario):
        time_slice.shorten()
    try:
        loops.run(fire(work))
    except Problem as problem:
        sys.exit(str(problem))


def is_timed(scenario: Scenario) -> bool:
    """Whether it counts when a request leaves and is answered, more than how many there are.

    Not so where several are kept in flight: to interrupt the server then, for each answer that
    comes, costs a fifth of the throughput where both share the cores.
    """
    return not any(isinstance(one, Closed) and one.concurrency > 1 for one in scenario.phases)


async def fire(work: Work) -> None:
    """Play a share of a scenario; what has an outcome is recorded, also when stopped or failing."""
    parts = recorder.parts_folder(work.folder, work.scenario.name)
    player = Player(work.scenario, recorder.Recorder(parts, work.shard.number), say, work.shard)
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, player.stop)
    words = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    client = connect(work, player.answered)
    listening = asyncio.Event()
    watch = loop.create_task(_stop_with_parent(words, listening, player))

    async def start() -> float:
        say("ready")
        said = await words.readline()
        listening.set()
        if not said:
            raise Problem("The parent ended before the load began.")
        return float(said)

    try:
        await player.play(client, start)
    finally:
        watch.cancel()
        await client.close()
    engine = f"embedded {work.scenario.protocol} client, {loops.__name__}"
    say(
        "end", engine=engine, interrupted=player.interrupted, cpu_share=player.cpu_share,
        latency=player.untold,
    )  # fmt: skip


async def _stop_with_parent(
    words: asyncio.StreamReader, begun: asyncio.Event, player: Player
) -> None:
    await begun.wait()
    await words.read()
    player.stop()


def connect(work: Work, answered: Answered) -> Client:
    """The client that a scenario's protocol needs, with its requests ready to be sent."""
    scenario, shape, endpoint = work.scenario, work.shape, work.endpoint
    inputs = payload.tensors(shape, scenario, work.shard.number)
    if scenario.protocol != "grpc":
        return HttpClient(
            endpoint.http,
            payload.http_messages(shape, inputs, endpoint.http),
            output_bytes=shape.output_bytes,
            limit=work.max_connections,
            answered=answered,
            certificate=endpoint.certificate,
        )
    from helpers.load.grpc import GrpcClient  # slow to import, and HTTP does without

    return GrpcClient(
        endpoint.grpc,
        payload.grpc_messages(shape, inputs),
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


if __name__ == "__main__":
    main()
