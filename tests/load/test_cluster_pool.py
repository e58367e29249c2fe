"""A load that pods fire: the same records, and nothing left in the cluster."""

import asyncio
import contextlib
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers import load, programs
from helpers.cluster import client, load_pods
from helpers.cluster.client import Cluster
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.load import cluster_pool
from helpers.load.arrivals import schedule
from helpers.load.cluster_pool import ClusterStarter, triton_inside
from helpers.load.engine import Result
from helpers.load.request import Second
from helpers.load.worker import Order
from helpers.paths import ROOT
from helpers.processes import free_port, marked
from helpers.profile import Profile
from helpers.run import Run
from helpers.scenario import Scenario
from helpers.serving import builders
from tests.cluster import api_server, scenes
from tests.load.pods import loaded

from .conftest import scenario
from .known_server import SHAPE, KnownServer, known_server
from .pods import Pods

pytestmark = pytest.mark.skipif(programs.find("helm") is None, reason="no helm: 'make setup'")
MARK = "a load from pods under test"
IMAGE = "r.example/gpu-e2e/triton@sha256:" + "3" * 64
STEADY = {"arrivals": "poisson", "rate": 300, "duration_s": 4}
LONG = {"arrivals": "constant", "rate": 200, "duration_s": 60}


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
        cluster = client.context_cluster("test", server.kubeconfig(folder / "kubeconfig"))
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


def test_progress_and_report_are_those_of_any_load(both: Both) -> None:
    own, pods = both.own.report.measured, both.pods.report.measured
    assert (pods.requests, pods.ok) == (own.requests, own.ok)
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
    assert here.pods.asked[1:] == ["exec job/load-master tar"] * load_pods.FETCHES
    assert here.left == []


def test_what_an_earlier_load_has_left_is_removed_first(here: Place) -> None:
    here.pods.waiting = "ContainerCreating"
    order = json.dumps({"scenario": {"workers": 1}})
    here.folder.mkdir()
    load_pods.install(here.cluster, here.folder, IMAGE, order, 600, MARK)
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


OURS = canonicalize_name("gpu-e2e")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cluster_pool.image_context(tmp_path_factory.mktemp("context") / "image")


def named() -> list[Requirement]:
    """What the Dockerfile installs."""
    text = cluster_pool.DOCKERFILE.read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^RUN pip install (.+)$", text, re.MULTILINE)
    words = shlex.split(line)
    assert "--constraint requirements.txt" in line
    return [Requirement(one) for one in words if not one.startswith("-") and ".txt" not in one]


def closure(wanted: list[Requirement]) -> set[str]:
    """Names of distributions with all that they need."""
    found: set[str] = set()
    waiting = [(one.name, tuple(one.extras)) for one in wanted]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        name, extras = one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        found.add(canonicalize_name(name))
        for text in requires(name) or ():
            need = Requirement(text)
            if not need.marker or any(
                need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                waiting.append((need.name, tuple(need.extras)))
    return found


def test_a_worker_loads_from_the_context_alone(context: Path) -> None:
    files = loaded(context)
    inside = {one for one in files.values() if one and context in Path(one).parents}
    assert {f for name, f in files.items() if name.split(".")[0] == "helpers"} <= inside
    assert not [one for one in files.values() if one and ROOT / "helpers" in Path(one).parents]


def test_what_it_loads_is_what_the_dockerfile_installs(context: Path) -> None:
    owners = packages_distributions()
    tops = {name.split(".")[0] for name in loaded(context)}
    # of a package of several distributions one is enough
    needed = [set(map(canonicalize_name, owners[top])) for top in tops if top in owners]
    installed = closure(named()) | {OURS}
    optional = {"ml-dtypes", "pysocks", "setuptools"}  # taken where they are, missed by nobody
    assert [one for one in needed if not one & installed and not one <= optional] == []


def test_equal_contexts_have_an_equal_tag(context: Path, tmp_path: Path) -> None:
    again = cluster_pool.image_context(tmp_path / "again")
    assert cluster_pool.image_tag(again) == cluster_pool.image_tag(context)
    (again / "helpers" / "errors.py").write_text("")
    assert cluster_pool.image_tag(again) != cluster_pool.image_tag(context)
    assert re.fullmatch(r"load-[0-9a-f]{16}", cluster_pool.image_tag(context))


def test_the_base_is_named_by_digest_and_nobody_is_root() -> None:
    assert "@sha256:" in builders.base_image(cluster_pool.DOCKERFILE)
    assert "\nUSER 1000:1000\n" in cluster_pool.DOCKERFILE.read_text()
