"""A load that pods fire: the same records, and nothing left in the cluster.

The cluster is this machine: jobs of a scripted API server become processes here. Helm installs into
the server, this module plays controller and kubelet of the load's namespace, and `kubectl` is a
script that knows `exec`. Of a job's template its command, arguments and environment count, so what
is run is what the chart says; names of hosts, ports and folders are mapped to this machine's. The
processes load only what the image would have.
"""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
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
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.load import cluster_pool
from helpers.load.arrivals import schedule
from helpers.load.cluster_pool import LOCUSTFILE, ClusterStarter, triton_inside
from helpers.load.engine import Result
from helpers.load.worker import Order
from helpers.processes import MARK, free_port, marked
from helpers.profile import Profile
from helpers.run import Run
from helpers.scenario import Scenario
from helpers.serving import builders
from tests.cluster import api_server, scenes
from tests.cluster.api_server import Body, Server

from .conftest import scenario
from .known_server import SHAPE, KnownServer, known_server

LOOK_S = 0.05
IMAGE = "r.example/gpu-e2e/triton@sha256:" + "3" * 64
KUBECTL = """#!{python}
import json, os, subprocess, sys
head, asked = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
with open("{folder}/calls", "a") as log:
    print(" ".join([*(word for word in head if "=" not in word), asked[0]]), file=log)
if "--namespace=load" not in head or "job/load-master" not in head:
    sys.exit("error: there is no such pod")
if "--stdin" not in head:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
here = {{"python": sys.executable, "/records": "{folder}/records"}}
command = [here.get(word, word) for word in asked]
if asked[0] == "tar" and os.path.exists("{folder}/cut"):
    whole = subprocess.run(command, stdout=subprocess.PIPE).stdout
    os.write(1, whole[:1536])
    sys.exit(0)
os.chdir("{folder}/app")
os.execvpe(command[0], command, os.environ | json.load(open("{folder}/master.json")))
"""
LOADED = """
from gevent import monkey
monkey.patch_all()
import importlib.util, json, sys
import locust.main
import helpers.load.grpc_client
spec = importlib.util.spec_from_file_location("locustfile", "helpers/load/locustfile.py")
spec.loader.exec_module(importlib.util.module_from_spec(spec))
modules = {name: module for name, module in sys.modules.items() if module}
print(json.dumps({name: getattr(module, "__file__", "") for name, module in modules.items()}))
"""


@dataclass
class Pods:
    """The pods of the load's namespace, and what they fire at."""

    server: Server  # whose jobs they are of
    known: KnownServer
    folder: Path  # for the image's files, the records, and the log of kubectl; the load's mark
    waiting: str = ""  # why no pod starts, as the kubelet would say; empty where all do
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    _port: int = field(default_factory=free_port)  # of the master on this machine
    _running: set[str] = field(default_factory=set)

    @cached_property
    def starter(self) -> ClusterStarter:
        """Starts loads in these pods."""
        cluster = client.context_cluster("test", self.server.kubeconfig(self.folder / "kubeconfig"))
        return ClusterStarter(cluster, IMAGE, Pace(60, 0.05), self.known.endpoint)

    def fire(self, chosen: Scenario, **more: Any) -> Result:
        """Fire a load; its tables come to `run`."""
        return asyncio.run(
            load.run(
                chosen, self.known.endpoint, folder=self.folder / "run", mark=str(self.folder),
                start=self.starter, **more,
            )
        )  # fmt: skip

    @property
    def left(self) -> list[str]:
        """What is left of a load in the cluster and on this machine."""
        kinds = ("Job", "Pod", "Service", "NetworkPolicy")
        objects = [item for item in self.server.objects.values() if item["kind"] in kinds]
        return [item["metadata"]["name"] for item in objects] + list(marked(str(self.folder)))

    @property
    def calls(self) -> list[str]:
        """What kubectl was called for: its own arguments, and the program's name."""
        return (self.folder / "calls").read_text().splitlines()

    def look(self) -> None:
        """Start what jobs have come, end what is gone."""
        objects = list(self.server.objects.values())
        jobs = {item["metadata"]["name"]: item for item in objects if item["kind"] == "Job"}
        for name in jobs.keys() - self._running:
            self._start(name, deepcopy(jobs[name]))
        for name in self._running - jobs.keys():
            self._running.discard(name)
            for key in list(self.server.objects):
                if key[1] == "pods" and key[3].startswith(name):
                    del self.server.objects[key]
            if name.endswith("worker"):
                self.end()

    def _start(self, name: str, job: Body) -> None:
        self._running.add(name)
        template = job["spec"]["template"]
        (container,) = template["spec"]["containers"]
        variables = {item["name"]: self._here(item["value"]) for item in container["env"]}
        variables |= {MARK: str(self.folder), "HOME": str(self.folder)}
        if name.endswith("master"):
            variables["LOCUST_MASTER_BIND_HOST"] = "127.0.0.1"
            (self.folder / "master.json").write_text(json.dumps(variables))
        for number in range(job["spec"].get("completions", 1)):
            if name.endswith("worker") and not self.waiting:
                command = [self._here(word) for word in (*container["command"], *container["args"])]
                self.workers.append(
                    subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL, cwd=self.folder / "app",
                        env=os.environ | variables,
                    )
                )  # fmt: skip
            self.server.put(self._pod(f"{name}-{number}", template, container))

    def _here(self, text: str) -> str:
        """A word of the cluster as one of this machine."""
        known = {"python": sys.executable, "5557": str(self._port),
                 "/records": str(self.folder / "records"),
                 "--master-host=load-master": "--master-host=127.0.0.1",
                 "--master-port=5557": f"--master-port={self._port}"}  # fmt: skip
        return known.get(text, text)

    def _pod(self, name: str, template: Body, container: Body) -> Body:
        status: dict[str, Any] = {"phase": "Running"}
        if self.waiting:
            state = {"waiting": {"reason": self.waiting, "message": "r.example: not found"}}
            status = {"phase": "Pending", "containerStatuses": [
                {"name": container["name"], "image": container["image"], "imageID": "",
                 "ready": False, "restartCount": 0, "state": state}]}  # fmt: skip
        meta = {"name": name, "namespace": "load", "labels": template["metadata"]["labels"]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"],
                "status": status}  # fmt: skip

    def end(self) -> None:
        """End every worker."""
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(10)
        self.workers.clear()


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
        cluster_pool.image_context(tmp_path / "app")
        (tmp_path / "records").mkdir()
        kubectl.write_text(KUBECTL.format(python=sys.executable, folder=tmp_path))
        kubectl.chmod(0o755)
        over = threading.Event()

        def play() -> None:
            while not over.wait(LOOK_S):
                pods.look()

        thread = threading.Thread(target=play)
        thread.start()
        yield pods
        over.set()
        thread.join()
        pods.end()


@pytest.mark.usefixtures("in_time")
def test_the_profile_chooses_pods_and_their_records_are_those_of_any_load(
    here: Pods, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = profile.model_dump() | {"target": "aws"}
    chosen = scenario({**STEADY, "duration_s": 2}, workers=2, seed=7)
    near = scenario({**STEADY, "rate": 50}, name="smoke", control="embedded")
    loads = [each.model_dump() for each in (chosen, near)]
    data["load"] = {"scenarios": loads, "control": "cluster"}
    data["kpis"]["scenario"] = chosen.name
    run = Run.create(Profile.model_validate(data), here.folder / "run")
    monkeypatch.setattr(cluster_pool, "cluster_starter", lambda _: here.starter)
    # what an earlier load has left is removed first
    here.waiting = "ContainerCreating"
    order = json.dumps({"scenario": {"workers": 1}})
    load_pods.install(here.starter.cluster, run.folder, IMAGE, order, 600, run.mark)
    here.waiting = ""
    report = asyncio.run(load.fire(run, here.known.endpoint))
    played, smoke = report.scenarios
    assert played.engine.endswith("2 Locust workers") and smoke.engine.startswith("embedded")
    # the two are compared, and only the client of this machine is calibrated
    medians = [each.measured.latency["p50"].ms for each in report.scenarios]
    assert f"trial from inside the region ({medians[0]:.1f} ms): " in report.remarks[0]
    assert f"{medians[1] - medians[0]:+.1f} ms over http (smoke)" in report.summary
    assert [each.wire for each in report.calibrations] == ["http"]
    assert load.is_exported(run, report) and load.is_announced(run, report)
    table, planned = run.load_table(f"requests-{chosen.name}"), schedule(chosen).times_s
    assert np.allclose(np.sort(table["intended_s"]), planned, atol=1e-6)
    assert (table["outcome"] == "ok").all() and played.measured.ok == len(planned)
    # only control goes through the cluster's API
    assert here.calls == ["exec --stdin job/load-master python", "exec job/load-master tar"]
    assert here.left == []


@pytest.mark.timing
def test_shards_send_together_what_the_engine_alone_would(here: Pods) -> None:
    result = here.fire(scenario({**STEADY, "duration_s": 2}, workers=2, seed=7))
    delay_ms = 1000 * here.known.delay_s
    assert delay_ms <= result.requests()["latency_ms"].min()
    assert result.report.measured.latency["p50"].ms < delay_ms + 25


def test_a_load_that_stops_early_keeps_the_records_of_every_shard(here: Pods) -> None:
    async def refusing(_: KnownServer, __: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        return True

    here.known.behaviour = refusing
    result = here.fire(scenario(LONG, workers=2, stop={"errors_pct": 50}))
    assert result.report.stopped.startswith("stopped after")
    table = result.requests()
    times = table["intended_s"].to_numpy()
    assert set(table["outcome"]) != {"ok"} and times.max() < 30
    # of constant arrivals one shard has the even ones and the other the odd ones
    assert sorted(np.rint(times[times < 1] * 200).astype(int)) == list(range(200))


def test_a_worker_that_is_lost_ends_the_load_and_the_others_records_are_kept(here: Pods) -> None:
    def kill_one(kind: str, what: Any) -> None:
        if kind == "second" and what.elapsed_s > 1 and here.workers[0].poll() is None:
            here.workers[0].kill()

    locustfile = here.folder / "app" / LOCUSTFILE
    locustfile.write_text(re.sub(r"LOST_S = \d+", "LOST_S = 2", locustfile.read_text()))
    with pytest.raises(Problem, match=r"failed \(exit status 1\)") as failure:
        here.fire(scenario(LONG, workers=2), on_event=kill_one)
    assert re.search(r"The worker of shard \d is gone", failure.value.next_step)
    table = pd.read_parquet(here.folder / "run/tables/requests-trial.parquet")
    assert 100 < len(table) < 100 * 60
    assert here.left == []


def test_an_image_that_cannot_be_pulled_is_told_and_removed(here: Pods) -> None:
    here.waiting = "ErrImagePull"
    with pytest.raises(Problem, match=r"0 of 3 run; .* is not in its registry"):
        here.fire(scenario(STEADY, workers=2))
    assert here.left == []


def test_records_that_do_not_come_whole_are_no_result(here: Pods) -> None:
    (here.folder / "cut").touch()
    with pytest.raises(Problem, match=r"could not be fetched.*the stream ended early"):
        here.fire(scenario(STEADY, workers=1))
    assert here.calls[1:] == ["exec job/load-master tar"] * load_pods.FETCHES
    assert here.left == []


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cluster_pool.image_context(tmp_path_factory.mktemp("context") / "image")


@pytest.fixture(scope="module")
def files(context: Path) -> dict[str, str]:
    """Every module that Locust's worker and its engine have loaded in the image, and its file."""
    chosen, endpoint = scenario(STEADY), KnownServer().endpoint
    order = Order(scenario=chosen, endpoint=endpoint, shape=SHAPE, max_connections=1)
    variables = {"GPU_E2E_ORDER": order.model_dump_json(), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", LOADED]
    output = subprocess.check_output(command, cwd=context, env=os.environ | variables)
    modules: dict[str, str] = json.loads(output)
    return modules


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


def test_a_worker_loads_from_the_context_alone_and_what_the_dockerfile_installs(
    context: Path, files: dict[str, str]
) -> None:
    ours = [Path(file) for name, file in files.items() if file and name.startswith("helpers")]
    assert ours and all(context in file.parents for file in ours)
    text = cluster_pool.DOCKERFILE.read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^RUN pip install --.* --constraint requirements.txt (.+)$", text, re.M)
    installed = closure(map(Requirement, shlex.split(line))) | {"gpu-e2e"}
    owners = packages_distributions()
    tops = {name.split(".")[0] for name in files}
    # of a package of several distributions one is enough
    needed = [set(map(canonicalize_name, owners[top])) for top in tops if top in owners]
    optional = {"ml-dtypes", "pysocks", "setuptools"}  # taken where they are, missed by nobody
    assert [names for names in needed if not names & installed and not names <= optional] == []


def test_equal_contexts_have_an_equal_tag(context: Path, tmp_path: Path) -> None:
    again = cluster_pool.image_context(tmp_path / "again")
    assert cluster_pool.image_tag(again) == cluster_pool.image_tag(context)
    (again / "helpers" / "errors.py").write_text("")
    assert cluster_pool.image_tag(again) != cluster_pool.image_tag(context)
    assert re.fullmatch(r"load-[0-9a-f]{16}", cluster_pool.image_tag(context))


def test_the_base_is_named_by_digest_nobody_is_root_and_triton_is_its_service() -> None:
    assert "@sha256:" in builders.base_image(cluster_pool.DOCKERFILE)
    assert "\nUSER 1000:1000\n" in cluster_pool.DOCKERFILE.read_text()
    assert triton_inside().http == "http://triton.triton.svc:8000"
    assert triton_inside().grpc == "triton.triton.svc:8001"
