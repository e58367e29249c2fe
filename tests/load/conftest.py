"""A server of known behaviour, and runs whose scenarios a test chooses."""

import asyncio
import gc
import math
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers import processes
from helpers.cloud.certificate import make as make_certificate
from helpers.load import http_client, request, statistics
from helpers.load.http_client import HttpClient
from helpers.load.request import Answered, Client, Target
from helpers.load.worker import Player
from helpers.profile import Profile
from helpers.run import Run
from helpers.scenario import Scenario

from .known_server import MODEL, SHAPE, KnownServer, known_server

MakeRun = Callable[..., Run]


@pytest.fixture
def server() -> Iterator[KnownServer]:
    """Answers well, until a test gives it another behaviour."""
    with known_server() as known:
        yield known


@pytest.fixture
def make_run(tmp_path: Path, profile: Profile) -> Iterator[MakeRun]:
    """Makes a run with the given scenarios; whatever it starts is stopped."""
    made: list[Run] = []

    def make(*scenarios: Scenario, max_connections: int = 256) -> Run:
        data: dict[str, Any] = profile.model_dump()
        data["load"] = {
            "scenarios": [chosen.model_dump() for chosen in scenarios],
            "max_connections": max_connections,
        }
        data["kpis"]["scenario"] = scenarios[0].name
        made.append(Run.create(Profile.model_validate(data), tmp_path / "outputs"))
        return made[-1]

    yield make
    for run in made:
        processes.down(run)


def scenario(*phases: dict[str, Any], name: str = "trial", **more: Any) -> Scenario:
    """A scenario; a phase without a name is called `steady`."""
    named = [{"name": "steady", **phase} for phase in phases]
    data = {"name": name, "model": MODEL, "phases": named, "inputs": 4, **more}
    return Scenario.model_validate(data)


def play(run: Run, connect: Callable[[Answered], Client]) -> pd.DataFrame:
    """Play the first scenario in this process and return its table."""
    chosen = run.profile.load.scenarios[0]

    async def work() -> None:
        store = request.Recorder(request.parts_folder(run.folder, chosen.name))
        player = Player(chosen, store, lambda kind, **facts: None)
        client = connect(player.answered)
        try:
            await asyncio.wait_for(player.play(client), chosen.duration_s + chosen.timeout_s + 10)
        finally:
            await client.close()

    asyncio.run(work())
    statistics.assemble(run.folder, chosen)
    return pd.read_parquet(statistics.table_path(run.folder, chosen.name))


def play_http(run: Run, server: KnownServer) -> pd.DataFrame:
    """Play the first scenario over HTTP at a known server."""
    chosen = run.profile.load.scenarios[0]
    messages = http_client.messages(SHAPE, request.tensors(SHAPE, chosen), server.url)
    limit = run.profile.load.max_connections
    target = Target(server.url, messages, SHAPE.output_bytes, chosen.timeout_s, limit)
    return play(run, lambda answered: HttpClient(target, answered))


@pytest.fixture(scope="session", autouse=True)
def collected() -> None:
    """A player collects garbage when it begins; of all that pytest has imported that takes long."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine, nothing is fired twice."""
    for name in ("SEND_ERROR_FLOOR_MS", "SEND_ERROR_LIMIT_MS", "WAKE_UP_MS"):
        monkeypatch.setattr(statistics, name, math.inf)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for localhost, and the context of a server that has it."""
    files = make_certificate(tmp_path_factory.mktemp("tls"), ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return files.certificate, context
