"""A load that pods fire: the same records, and nothing left in the cluster."""

import asyncio
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
IMAGE = "r.example/gpu-e2e/triton@sha256:" + "3" * 64
STEADY = {"arrivals": "poisson", "rate": 300, "duration_s": 1}
LONG = {"arrivals": "constant", "rate": 200, "duration_s": 60}


@dataclass
class Place:
    """A cluster that loads are fired from, and what it fires at."""

    pods: Pods
    cluster: Cluster
    known: KnownServer
    folder: Path

    @property
    def starter(self) -> ClusterStarter:
        return ClusterStarter(self.cluster, IMAGE, Pace(60, 0.05), self.known.endpoint)

    def fire(self, chosen: Scenario, *, on_event: Any = None) -> Result:
        fired = load.run(
            chosen, self.known.endpoint, folder=self.folder, on_event=on_event,
            mark=self.pods.mark, control=self.starter,
        )  # fmt: skip
        return asyncio.run(fired)

    @property
    def left(self) -> list[str]:
        """What is left of a load in the cluster and on this machine."""
        kinds = ("Job", "Pod", "Service", "NetworkPolicy")
        objects = [item for item in self.pods.server.objects.values() if item["kind"] in kinds]
        return [item["metadata"]["name"] for item in objects] + list(marked(self.pods.mark))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    find = programs.find
    with api_server.serving(tmp_path / "tls") as server, known_server() as known:
        server.put(*map(scenes.namespace, ("triton", "kube-system", "monitoring")))
        (tmp_path / "pods").mkdir()
        pods = Pods(server, tmp_path / "pods", free_port(), str(tmp_path))
        monkeypatch.setattr(
            programs, "find", lambda name: pods.kubectl if name == "kubectl" else find(name)
        )
        cluster = client.context_cluster("test", server.kubeconfig(tmp_path / "kubeconfig"))
        with pods.playing():
            yield Place(pods, cluster, known, tmp_path / "run")


@pytest.mark.usefixtures("in_time")
def test_the_profile_chooses_pods_and_their_records_are_those_of_any_load(
    here: Place,
    profile: Profile,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = profile.model_dump() | {"target": "aws"}
    chosen = scenario({**STEADY, "duration_s": 2}, workers=2, seed=7)
    data["load"] = {"scenarios": [chosen.model_dump()], "control": "cluster"}
    data["kpis"]["scenario"] = chosen.name
    run = Run.create(Profile.model_validate(data), here.folder)
    monkeypatch.setattr(cluster_pool, "cluster_starter", lambda _: here.starter)
    # what an earlier load has left is removed first
    here.pods.waiting = "ContainerCreating"
    order = json.dumps({"scenario": {"workers": 1}})
    load_pods.install(here.cluster, run.folder, IMAGE, order, 600, run.mark)
    here.pods.waiting = ""
    report = asyncio.run(load.fire(run, here.known.endpoint))
    (played,) = report.scenarios
    assert played.engine.endswith("2 Locust workers") and report.calibrations == ()
    assert load.is_exported(run, report) and load.is_announced(run, report)
    table, planned = run.load_table(f"requests-{chosen.name}"), schedule(chosen).times_s
    assert np.allclose(np.sort(table["intended_s"]), planned, atol=1e-6)
    assert (table["outcome"] == "ok").all() and played.measured.ok == len(planned)
    assert capsys.readouterr().out.count("in flight") >= 1
    # only control goes through the cluster's API
    assert here.pods.asked == ["exec --stdin job/load-master python", "exec job/load-master tar"]
    assert here.left == []


def test_a_worker_that_is_lost_ends_the_load_and_the_others_records_are_kept(here: Place) -> None:
    def kill_one(kind: str, what: Any) -> None:
        if kind == "second" and what.elapsed_s > 2 and here.pods.workers[0].poll() is None:
            here.pods.workers[0].kill()

    with pytest.raises(Problem, match=r"failed \(exit status 1\)") as failure:
        here.fire(scenario(LONG, workers=2), on_event=kill_one)
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
        here.fire(scenario(STEADY, workers=1))
    assert here.pods.asked[1:] == ["exec job/load-master tar"] * load_pods.FETCHES
    assert here.left == []


def test_tls_is_refused_before_anything_is_installed(here: Place) -> None:
    chosen = scenario(STEADY, workers=2, protocol="https")
    order = Order(scenario=chosen, endpoint=here.known.endpoint, shape=SHAPE, max_connections=8)
    with pytest.raises(Problem, match=r"wants HTTPS, which ends at the load balancer"):
        replace(here.starter, target=None)(order, here.folder, here.pods.mark)
    assert not here.pods.server.asked
    assert triton_inside().http == "http://triton.triton.svc:8000"
    assert triton_inside().grpc == "triton.triton.svc:8001"


OURS = canonicalize_name("gpu-e2e")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cluster_pool.image_context(tmp_path_factory.mktemp("context") / "image")


@pytest.fixture(scope="module")
def files(context: Path) -> dict[str, str | None]:
    return loaded(context)


def named() -> list[Requirement]:
    """What the Dockerfile installs."""
    text = cluster_pool.DOCKERFILE.read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^RUN pip install (.+)$", text, re.MULTILINE)
    words = shlex.split(line)
    assert "--constraint requirements.txt" in line
    return [Requirement(word) for word in words if not word.startswith("-") and ".txt" not in word]


def closure(wanted: list[Requirement]) -> set[str]:
    """Names of distributions with all that they need."""
    waiting = [(need.name, extra) for need in wanted for extra in ("", *need.extras)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for need in map(Requirement, requires(name) or ()):
            if not need.marker or need.marker.evaluate({"extra": extra}):
                waiting += [(need.name, further) for further in ("", *need.extras)]
    return {canonicalize_name(name) for name, _ in seen}


def test_a_worker_loads_from_the_context_alone(context: Path, files: dict[str, str | None]) -> None:
    known = {name: Path(file) for name, file in files.items() if file}
    ours = [file for name, file in known.items() if name.split(".")[0] == "helpers"]
    assert ours and all(context in file.parents for file in ours)
    assert not [file for file in known.values() if ROOT / "helpers" in file.parents]


def test_what_it_loads_is_what_the_dockerfile_installs(files: dict[str, str | None]) -> None:
    owners = packages_distributions()
    tops = {name.split(".")[0] for name in files}
    # of a package of several distributions one is enough
    needed = [set(map(canonicalize_name, owners[top])) for top in tops if top in owners]
    installed = closure(named()) | {OURS}
    optional = {"ml-dtypes", "pysocks", "setuptools"}  # taken where they are, missed by nobody
    assert [names for names in needed if not names & installed and not names <= optional] == []


def test_equal_contexts_have_an_equal_tag(context: Path, tmp_path: Path) -> None:
    again = cluster_pool.image_context(tmp_path / "again")
    assert cluster_pool.image_tag(again) == cluster_pool.image_tag(context)
    (again / "helpers" / "errors.py").write_text("")
    assert cluster_pool.image_tag(again) != cluster_pool.image_tag(context)
    assert re.fullmatch(r"load-[0-9a-f]{16}", cluster_pool.image_tag(context))


def test_the_base_is_named_by_digest_and_nobody_is_root() -> None:
    assert "@sha256:" in builders.base_image(cluster_pool.DOCKERFILE)
    assert "\nUSER 1000:1000\n" in cluster_pool.DOCKERFILE.read_text()
