"""A worker without a server: the engine's player and recorder, with a client that answers at once.

`python -m benchmarks.at_once SCENARIO FOLDER` fires a scenario, whose records stay in the folder,
and prints the peak of its memory: no server answers ten million requests in a benchmark's time.
"""

import asyncio
import sys
from math import nan
from pathlib import Path
from time import monotonic
from typing import cast

from benchmarks import machine
from helpers.load.request import OK, TIMEOUT, Answered, Client, Recorder, Request, parts_folder
from helpers.load.worker import Player
from helpers.scenario import Scenario

FAILURES = ("http-503", TIMEOUT, "disconnected")
EVERY = 500  # every 500th request fails
BYTES = 4_000


class AtOnce:
    """A client that completes each request in the next iteration of the event loop."""

    def __init__(self, answered: Answered) -> None:
        self._answered = answered
        self._open: list[Request] = []
        self._count = 0

    async def open(self, connections: int) -> None:
        """A client without connections."""

    def send(self, request: Request) -> None:
        """Keep it until the next iteration."""
        request.sent = monotonic()
        if not self._open:
            asyncio.get_running_loop().call_soon(self._answer)
        self._open.append(request)

    def drop(self, request: Request) -> None:
        """Nothing to cancel: the caller ignores outcomes that arrive later."""

    async def close(self) -> None:
        """There is nothing to close."""

    def _answer(self) -> None:
        due, self._open = self._open, []
        for request in due:
            self._count += 1
            number, rest = divmod(self._count, EVERY)
            outcome = OK if rest else FAILURES[number % len(FAILURES)]
            request.done = nan if outcome == TIMEOUT else monotonic()
            self._answered(request, outcome, BYTES)


def fire(played: Scenario, folder: Path) -> None:
    """Fire a scenario as a worker does."""
    store = Recorder(parts_folder(folder, played.name))
    player = Player(played, store, lambda kind, **facts: None)
    asyncio.run(player.play(cast(Client, AtOnce(player.answered))))


if __name__ == "__main__":
    fire(Scenario.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
    print(machine.own_peak_mib())
