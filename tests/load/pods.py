"""A cluster of one machine: jobs of a scripted API server become processes here.

Helm installs into the server, this module plays controller and kubelet of the load's namespace, and
`kubectl` is a script that knows `exec`. Of a job's template its command, arguments and environment
count, so what is run is what the chart says; names of hosts, ports and folders are mapped to this
machine's. The processes load only what the image would have.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.load import cluster_pool
from helpers.load.request import Shape
from helpers.load.worker import Order
from helpers.processes import MARK
from helpers.serving.records import Endpoint
from tests.cluster.api_server import Body, Server

from .conftest import scenario

LOOK_S = 0.05
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
    """The pods of the load's namespace."""

    server: Server  # whose jobs they are of
    folder: Path  # for the image's files, the records, and the log of kubectl
    port: int  # of the master on this machine
    mark: str  # that the processes carry
    waiting: str = ""  # why no pod starts, as the kubelet would say; empty where all do
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    _running: set[str] = field(default_factory=set)

    @property
    def kubectl(self) -> Path:
        """The script that stands for kubectl."""
        return self.folder / "kubectl"

    @property
    def asked(self) -> list[str]:
        """What kubectl was called for: its own arguments, and the program's name."""
        return (self.folder / "asked").read_text().splitlines()

    @contextlib.contextmanager
    def playing(self) -> Iterator["Pods"]:
        """Play until the block ends; every process is gone then."""
        cluster_pool.image_context(self.folder / "app")
        (self.folder / "records").mkdir()
        self.kubectl.write_text(KUBECTL.format(python=sys.executable, folder=self.folder))
        self.kubectl.chmod(0o755)
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

    def cut_streams(self) -> None:
        """From now on `kubectl exec` ends early when records are fetched."""
        (self.folder / "cut").touch()

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
        variables |= {MARK: self.mark, "HOME": str(self.folder)}
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
        known = {"python": sys.executable, "5557": str(self.port),
                 "/records": str(self.folder / "records"),
                 "--master-host=load-master": "--master-host=127.0.0.1",
                 "--master-port=5557": f"--master-port={self.port}"}  # fmt: skip
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
