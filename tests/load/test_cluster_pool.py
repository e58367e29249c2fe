"""A load from pods is driven, fetched and merged as one from here, and nothing of it stays."""

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers import load, programs
from helpers.cluster import client, load_release
from helpers.cluster.client import Cluster
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.load import Result, cluster_pool
from helpers.load.arrivals import schedule
from helpers.load.cluster_pool import ClusterStarter, triton_inside
from helpers.load.request import Second
from helpers.load.worker import Order
from helpers.processes import free_port, marked
from helpers.profile import Profile
from helpers.run import Run
from helpers.scenario import Scenario
from tests.cluster import api_server, scenes

from .conftest import scenario
from .known_server import SHAPE, KnownServer, known_server
from .pods import Pods

pytestmark = pytest.mark.skipif(programs.find("helm") is None, reason="no helm: 'make setup'")
MARK = "a load from pods under test"
IMAGE = "r.example/gpu-e2e/triton@sha256:" + "3" * 64
STEADY = {"arrivals": "poisson", "rate": 300, "duration_s": 4}
LONG = {"arrivals": "constant", "rate": 200, "duration_s": 60}
FINEST_MS = 3.0  # the noise of two shared cores


@dataclass
class Place:
    """A cluster that loads are fired from, and what it fires at."""

    pods: Pods
    cluster: Cluster
    known: KnownServer
    folder: Path

    def fire(self, chosen: Scenario, *, on_event: Any = None) -> Result:
        return asyncio.run(self.run(chosen, on_event))

    async def run(self, chosen: Scenario, on_event: Any = None) -> Result:
        pace = Pace(60, 0.05, lambda line: None)
        control = ClusterStarter(self.cluster, IMAGE, pace, self.known.endpoint)
        return await load.run(
            chosen,
            self.known.endpoint,
            folder=self.folder,
            on_event=on_event,
            mark=MARK,
            control=control,
        )

    @property
    def left(self) -> list[str]:
        """What is left of a load in the cluster and on this machine."""
        kinds = ("Job", "Pod", "Service", "NetworkPolicy")
        objects = [one for one in self.pods.server.objects.values() if one["kind"] in kinds]
        return [one["metadata"]["name"] for one in objects] + list(marked(MARK))


@contextlib.contextmanager
def place(folder: Path) -> Iterator[Place]:
    with (
        pytest.MonkeyPatch.context() as patch,
        api_server.serving(folder / "tls") as server,
        known_server() as known,
    ):
        server.put(*map(scenes.namespace, ("triton", "kube-system", "monitoring")))
        (folder / "pods").mkdir()
        found, find = Pods(server, folder / "pods", free_port(), MARK), programs.find
        patch.setattr(
            programs, "find", lambda name: found.kubectl if name == "kubectl" else find(name)
        )
        cluster = client.of_context("test", server.kubeconfig(folder / "kubeconfig"))
        with found.playing():
            yield Place(found, cluster, known, folder / "run")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path) as found:
        yield found


@dataclass
class Both:
    own: Result
    pods: Result
    seconds: list[Second]
    asked: list[str]
    left: list[str]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """The same scenario by the engine's own workers, and by pods."""
    chosen, told = scenario(STEADY, workers=2, seed=7), []
    with place(tmp_path_factory.mktemp("cluster")) as found:
        own = asyncio.run(
            load.run(chosen, found.known.endpoint, folder=tmp_path_factory.mktemp("own"), mark=MARK)
        )
        pods = found.fire(chosen, on_event=lambda kind, what: told.append((kind, what)))
        seconds = [what for kind, what in told if kind == "second"]
        yield Both(own, pods, seconds, found.pods.asked, found.left)


def test_the_records_of_all_pods_come_together(both: Both) -> None:
    planned = schedule(scenario(STEADY, workers=2, seed=7)).times_s
    for table in (both.own.requests(), both.pods.requests()):
        assert len(table) == len(planned)
        assert np.allclose(np.sort(table["intended_s"]), planned, atol=1e-6)
    assert (both.pods.requests()["outcome"] == "ok").all()


def test_the_figures_are_the_engines_within_noise(both: Both) -> None:
    own, pods = both.own.report.measured, both.pods.report.measured
    assert (pods.requests, pods.ok) == (own.requests, own.ok)
    for name in ("p50", "p95"):
        assert abs(pods.latency[name].ms - own.latency[name].ms) < FINEST_MS


def test_progress_and_report_are_those_of_any_load(both: Both) -> None:
    assert both.pods.report.engine.endswith("2 Locust workers")
    assert [round(one.elapsed_s) for one in both.seconds][:3] == [1, 2, 3]
    assert both.pods.seconds()["due"].sum() == both.pods.report.measured.requests


def test_only_control_goes_through_the_cluster_s_api(both: Both) -> None:
    assert both.asked == ["exec --stdin job/load-master python", "exec job/load-master tar"]


def test_nothing_is_left_of_it(both: Both) -> None:
    assert both.left == []


def test_an_interrupted_load_is_fetched_and_removed(here: Place) -> None:
    async def interrupted() -> None:
        seen = asyncio.Event()
        told = lambda kind, what: seen.set() if kind == "second" else None  # noqa: E731
        task = asyncio.create_task(here.run(scenario(LONG, workers=2), told))
        await asyncio.wait_for(seen.wait(), 60)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    table = pd.read_parquet(here.folder / "tables/requests-trial.parquet")
    assert 100 < len(table) < 200 * 30
    assert here.left == []


def test_a_worker_that_is_lost_ends_the_load_and_the_others_records_are_kept(here: Place) -> None:
    def told(kind: str, what: Any) -> None:
        if kind == "second" and what.elapsed_s > 2 and here.pods.workers[0].poll() is None:
            here.pods.workers[0].kill()

    with pytest.raises(Problem, match=r"failed \(exit status 1\)") as failure:
        here.fire(scenario(LONG, workers=2), on_event=told)
    assert re.search(r"The worker of shard \d is gone", failure.value.next_step)
    table = pd.read_parquet(here.folder / "tables/requests-trial.parquet")
    assert 100 < len(table) < 100 * 60
    assert here.left == []


def test_an_image_that_cannot_be_pulled_is_told_and_removed(here: Place) -> None:
    here.pods.waiting = "ErrImagePull"
    with pytest.raises(Problem, match=r"0 of 3 run; .*cannot pull the image r\.example"):
        here.fire(scenario(STEADY, workers=2))
    assert here.left == []


def test_records_that_do_not_come_whole_are_no_result(here: Place) -> None:
    here.pods.cut_streams()
    with pytest.raises(Problem, match=r"could not be fetched.*the stream ended early"):
        here.fire(scenario({**STEADY, "duration_s": 1}, workers=1))
    assert here.pods.asked[1:] == ["exec job/load-master tar"] * load_release.FETCHES
    assert here.left == []


def test_what_an_earlier_load_has_left_is_removed_first(here: Place) -> None:
    here.pods.waiting = "ContainerCreating"
    order = json.dumps({"scenario": {"workers": 1}})
    here.folder.mkdir()
    load_release.install(here.cluster, here.folder, IMAGE, order, 600, MARK)
    here.pods.waiting = ""
    found = here.fire(scenario({**STEADY, "duration_s": 1}, workers=1))
    assert found.report.measured.ok == found.report.measured.requests > 100
    assert here.left == []


def test_the_profile_chooses_pods(
    here: Place, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = profile.model_dump() | {"target": "aws"}
    chosen = scenario({**STEADY, "duration_s": 1}, workers=2)
    data["load"] = {"scenarios": [chosen.model_dump()], "control": "cluster"}
    data["kpis"]["scenario"] = chosen.name
    run = Run.create(Profile.model_validate(data), here.folder)
    place = ClusterStarter(here.cluster, IMAGE, Pace(60, 0.05), here.known.endpoint)
    monkeypatch.setattr(cluster_pool, "cluster_starter", lambda _: place)
    report = asyncio.run(load.fire(run, here.known.endpoint))
    (played,) = report.scenarios
    assert played.engine.endswith("2 Locust workers") and report.calibrations == ()
    assert load.is_exported(run, report) and load.is_announced(run, report)
    assert here.left == []


def test_tls_is_refused_before_anything_is_installed(here: Place) -> None:
    chosen = scenario(STEADY, workers=2, protocol="https")
    order = Order(scenario=chosen, endpoint=here.known.endpoint, shape=SHAPE, max_connections=8)
    control = ClusterStarter(here.cluster, IMAGE, Pace(1, 0.05))
    with pytest.raises(Problem, match=r"wants HTTPS, which ends at the load balancer"):
        control(order, here.folder, MARK)
    assert not here.pods.server.asked


def test_pods_reach_tritons_service() -> None:
    assert triton_inside().http == "http://triton.triton.svc:8000"
    assert triton_inside().grpc == "triton.triton.svc:8001"
