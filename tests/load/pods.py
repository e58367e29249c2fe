"""A cluster of one machine: jobs of a scripted API server become processes here.

Helm installs into the server, this module plays controller and kubelet of the load's namespace, and
`kubectl` is a script that knows `exec`. Of a job's template its command, arguments and environment
count, so what is run is what the chart says; names of hosts, ports and folders are mapped to this
machine's. The processes load only what the image would have.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from helpers import load
from helpers.cluster import client
from helpers.cluster.waits import Pace
from helpers.load import cluster_pool
from helpers.load.cluster_pool import ClusterStarter
from helpers.load.engine import Result
from helpers.load.request import Shape
from helpers.load.worker import Order
from helpers.load.worker_pool import LOCUSTFILE
from helpers.processes import MARK, free_port, marked
from helpers.scenario import Scenario
from helpers.serving.records import Endpoint
from tests.cluster.api_server import Body, Server

from .conftest import scenario
from .known_server import KnownServer

LOOK_S = 0.05
IMAGE = "r.example/gpu-e2e/triton@sha256:" + "3" * 64
KUBECTL = """#!{python}
import json, os, subprocess, sys
head, asked = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
with open("{folder}/asked", "a") as log:
    print(" ".join([*(word for word in head if "=" not in word), asked[0]]), file=log)
pod = json.load(open("{folder}/master.json"))
if "--namespace=load" not in head or "job/load-master" not in head:
    sys.exit("error: there is no such pod")
if "--stdin" not in head:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
command = [pod["words"].get(word, word).replace("/records", pod["records"]) for word in asked]
if asked[0] == "tar" and os.path.exists("{folder}/cut"):
    whole = subprocess.run(command, stdout=subprocess.PIPE).stdout
    os.write(1, whole[:1536])
    sys.exit(0)
os.chdir(pod["cwd"])
os.execvpe(command[0], command, os.environ | pod["env"])
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
print(json.dumps({name: getattr(module, "__file__", None) for name, module in modules.items()}))
"""


def loaded(context: Path) -> dict[str, str | None]:
    """Every module that Locust's worker and its engine have loaded in the image, and its file."""
    order = Order(
        scenario=scenario({"arrivals": "constant", "rate": 1, "duration_s": 1}),
        endpoint=Endpoint(http="http://h", grpc="h:1", metrics="", server=""),
        shape=Shape("m", 1, (1,), 1, "i", "o"),
        max_connections=1,
    )
    variables = {"GPU_E2E_ORDER": order.model_dump_json(), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", LOADED]
    output = subprocess.check_output(command, cwd=context, env=os.environ | variables)
    files: dict[str, str | None] = json.loads(output)
    return files


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
                control=self.starter, **more,
            )
        )  # fmt: skip

    @property
    def left(self) -> list[str]:
        """What is left of a load in the cluster and on this machine."""
        kinds = ("Job", "Pod", "Service", "NetworkPolicy")
        objects = [item for item in self.server.objects.values() if item["kind"] in kinds]
        return [item["metadata"]["name"] for item in objects] + list(marked(str(self.folder)))

    @property
    def asked(self) -> list[str]:
        """What kubectl was called for: its own arguments, and the program's name."""
        return (self.folder / "asked").read_text().splitlines()

    @contextlib.contextmanager
    def playing(self) -> Iterator["Pods"]:
        """Play until the block ends; every process is gone then."""
        locustfile = cluster_pool.image_context(self.folder / "app") / LOCUSTFILE
        text = locustfile.read_text()
        assert "LOST_S = 10 " in text
        locustfile.write_text(text.replace("LOST_S = 10 ", "LOST_S = 2 "))
        (self.folder / "records").mkdir()
        kubectl = self.folder / "kubectl"
        kubectl.write_text(KUBECTL.format(python=sys.executable, folder=self.folder))
        kubectl.chmod(0o755)
        ended = threading.Event()

        def play() -> None:
            while not ended.wait(LOOK_S):
                self._look()

        thread = threading.Thread(target=play)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()
            self._end()

    def _look(self) -> None:
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
                self._end()

    def _start(self, name: str, job: Body) -> None:
        self._running.add(name)
        template = job["spec"]["template"]
        (container,) = template["spec"]["containers"]
        variables = {item["name"]: self._here(item["value"]) for item in container["env"]}
        variables |= {MARK: str(self.folder), "HOME": str(self.folder)}
        app = self.folder / "app"
        if name.endswith("master"):
            variables["LOCUST_MASTER_BIND_HOST"] = "127.0.0.1"
            pod = {"env": variables, "cwd": str(app), "records": str(self.folder / "records"),
                   "words": {"python": sys.executable}}  # fmt: skip
            (self.folder / "master.json").write_text(json.dumps(pod))
        for number in range(job["spec"].get("completions", 1)):
            if name.endswith("worker") and not self.waiting:
                command = [self._here(word) for word in (*container["command"], *container["args"])]
                self.workers.append(
                    subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL, cwd=app, env=os.environ | variables,
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
            state = {"waiting": {"reason": self.waiting, "message": "no such image"}}
            status = {"phase": "Pending", "containerStatuses": [
                {"name": container["name"], "image": container["image"], "imageID": "",
                 "ready": False, "restartCount": 0, "state": state}]}  # fmt: skip
        meta = {"name": name, "namespace": "load", "labels": template["metadata"]["labels"]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"],
                "status": status}  # fmt: skip

    def _end(self) -> None:
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(10)
        self.workers.clear()
