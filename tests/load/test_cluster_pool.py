"""A load that pods fire: the same records, and nothing left in the cluster."""

import asyncio
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers import load, programs
from helpers.cluster import load_pods
from helpers.errors import Problem
from helpers.load import cluster_pool
from helpers.load.arrivals import schedule
from helpers.load.cluster_pool import triton_inside
from helpers.load.worker import Order
from helpers.paths import ROOT
from helpers.profile import Profile
from helpers.run import Run
from helpers.serving import builders
from tests.cluster import api_server, scenes

from .conftest import scenario
from .known_server import SHAPE, known_server
from .pods import IMAGE, Pods, loaded

pytestmark = pytest.mark.skipif(programs.find("helm") is None, reason="no helm: 'make setup'")
STEADY = {"arrivals": "poisson", "rate": 300, "duration_s": 1}
LONG = {"arrivals": "constant", "rate": 200, "duration_s": 60}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pods]:
    find = programs.find
    with api_server.serving(tmp_path / "tls") as server, known_server() as known:
        server.put(*map(scenes.namespace, ("triton", "kube-system", "monitoring")))
        pods, kubectl = Pods(server, known, tmp_path), tmp_path / "kubectl"
        monkeypatch.setattr(
            programs, "find", lambda name: kubectl if name == "kubectl" else find(name)
        )
        with pods.playing():
            yield pods


@pytest.mark.usefixtures("in_time")
def test_the_profile_chooses_pods_and_their_records_are_those_of_any_load(
    here: Pods,
    profile: Profile,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = profile.model_dump() | {"target": "aws"}
    chosen = scenario({**STEADY, "duration_s": 2}, workers=2, seed=7)
    data["load"] = {"scenarios": [chosen.model_dump()], "control": "cluster"}
    data["kpis"]["scenario"] = chosen.name
    run = Run.create(Profile.model_validate(data), here.folder / "run")
    monkeypatch.setattr(cluster_pool, "cluster_starter", lambda _: here.starter)
    # what an earlier load has left is removed first
    here.waiting = "ContainerCreating"
    order = json.dumps({"scenario": {"workers": 1}})
    load_pods.install(here.starter.cluster, run.folder, IMAGE, order, 600, run.mark)
    here.waiting = ""
    report = asyncio.run(load.fire(run, here.known.endpoint))
    (played,) = report.scenarios
    assert played.engine.endswith("2 Locust workers") and report.calibrations == ()
    assert load.is_exported(run, report) and load.is_announced(run, report)
    table, planned = run.load_table(f"requests-{chosen.name}"), schedule(chosen).times_s
    assert np.allclose(np.sort(table["intended_s"]), planned, atol=1e-6)
    assert (table["outcome"] == "ok").all() and played.measured.ok == len(planned)
    assert capsys.readouterr().out.count("in flight") >= 1
    # only control goes through the cluster's API
    assert here.asked == ["exec --stdin job/load-master python", "exec job/load-master tar"]
    assert here.left == []


def test_a_worker_that_is_lost_ends_the_load_and_the_others_records_are_kept(here: Pods) -> None:
    def kill_one(kind: str, what: Any) -> None:
        if kind == "second" and what.elapsed_s > 1 and here.workers[0].poll() is None:
            here.workers[0].kill()

    with pytest.raises(Problem, match=r"failed \(exit status 1\)") as failure:
        here.fire(scenario(LONG, workers=2), on_event=kill_one)
    assert re.search(r"The worker of shard \d is gone", failure.value.next_step)
    table = pd.read_parquet(here.folder / "run/tables/requests-trial.parquet")
    assert 100 < len(table) < 100 * 60
    assert here.left == []


def test_an_image_that_cannot_be_pulled_is_told_and_removed(here: Pods) -> None:
    here.waiting = "ErrImagePull"
    with pytest.raises(Problem, match=r"0 of 3 run; .*cannot pull the image r\.example"):
        here.fire(scenario(STEADY, workers=2))
    assert here.left == []


def test_records_that_do_not_come_whole_are_no_result(here: Pods) -> None:
    (here.folder / "cut").touch()
    with pytest.raises(Problem, match=r"could not be fetched.*the stream ended early"):
        here.fire(scenario(STEADY, workers=1))
    assert here.asked[1:] == ["exec job/load-master tar"] * load_pods.FETCHES
    assert here.left == []


def test_tls_is_refused_before_anything_is_installed(here: Pods) -> None:
    chosen = scenario(STEADY, workers=2, protocol="https")
    order = Order(scenario=chosen, endpoint=here.known.endpoint, shape=SHAPE, max_connections=8)
    with pytest.raises(Problem, match=r"wants HTTPS, which ends at the load balancer"):
        replace(here.starter, target=None)(order, here.folder, str(here.folder))
    assert not here.server.asked
    assert triton_inside().http == "http://triton.triton.svc:8000"
    assert triton_inside().grpc == "triton.triton.svc:8001"


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


def closure(needs: Iterable[Requirement], names: frozenset[str] = frozenset()) -> frozenset[str]:
    """Names of distributions with all that they need."""
    for need in needs:
        name = canonicalize_name(need.name)
        further = map(Requirement, () if name in names else requires(name) or ())
        wanted = [
            each for each in further
            if not each.marker
            or any(each.marker.evaluate({"extra": extra}) for extra in ("", *need.extras))
        ]  # fmt: skip
        names = closure(wanted, names | {name})
    return names


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
    installed = closure(named()) | {"gpu-e2e"}
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
