"""Locust's master and workers as pods, for a load that one machine cannot fire.

    result = await load.run(scenario, endpoint, control=InCluster(cluster, image, pace).start)

Only control goes through the cluster's API: the master is started in its pod by `kubectl exec`, so
that its standard input and output are those of a process here. Requests go from pod to pod.
"""

import math
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from helpers.cloud.account import Account
from helpers.cluster import client, contract, load_release, nodes, triton_release
from helpers.cluster.client import Cluster
from helpers.cluster.waits import Pace
from helpers.errors import Problem
from helpers.load import image, swarm
from helpers.load.crew import Crew
from helpers.load.payload import Shape
from helpers.processes import MARK
from helpers.run import Run
from helpers.scenario import Scenario
from helpers.serving.endpoint import Endpoint

SLACK_S = 600  # between the last request and the removal: records come together and are fetched


def of_run(run: Run) -> "InCluster":
    """The run's cluster as a place to fire from; its image is pushed unless it is there.

    Raises:
        Problem: There is no cluster, or nothing here can build the image.
    """
    account = Account(run.profile.region)
    cluster = client.connect(run, account)
    pace = nodes.pace(run, run.profile.cluster.release_s)
    return InCluster(cluster, image.publish(run, account), pace)


def inside() -> Endpoint:
    """Where pods reach Triton: its Service, without load balancer and TLS."""
    agreed = contract.load()
    host = f"{triton_release.NAME}.{agreed.namespaces.triton}.svc"
    return Endpoint(
        http=f"http://{host}:{agreed.ports.http}", grpc=f"{host}:{agreed.ports.grpc}", metrics="",
        server="tritonserver, from inside the cluster",
    )  # fmt: skip


@dataclass(frozen=True)
class InCluster:
    """A cluster that a load is fired from.

    Attributes:
        cluster: The cluster.
        image: `repository@sha256:…`, as `helpers.load.image` pushed it.
        pace: How its pods are waited for.
        target: Where they reach Triton; its Service where left out.
    """

    cluster: Cluster
    image: str
    pace: Pace
    target: Endpoint | None = None

    def start(
        self,
        scenario: Scenario,
        endpoint: Endpoint,
        shape: Shape,
        folder: Path,
        max_connections: int,
        mark: str,
    ) -> Crew:
        """Install the release for one load and start its master.

        Args:
            scenario: What is fired; it says how many workers there are.
            endpoint: Where this machine reaches Triton; the pods go to `target`.
            shape: What goes in and out.
            folder: Where the records come to.
            max_connections: Most connections at a time, over all workers.
            mark: Of the run.

        Raises:
            Problem: The scenario wants TLS, or the pods do not run in time; nothing is left then.
        """
        target = self.target or inside()
        if scenario.protocol == "https" and not target.http.startswith("https:"):
            raise Problem(
                f"Scenario '{scenario.name}' wants HTTPS, which ends at the load balancer: inside "
                "the cluster Triton has none.",
                "Set its protocol to http, or load.control to embedded.",
            )
        order = swarm.order(scenario, target, shape, max_connections)
        life = scenario.duration_s + scenario.timeout_s + self.pace.timeout_s + SLACK_S
        self._remove(mark)  # what a killed load has left
        try:
            load_release.install(
                self.cluster, folder, self.image, order.model_dump_json(), math.ceil(life), mark
            )
            load_release.wait(self.cluster, scenario.workers + 1, self.pace)
            return self._master(scenario, folder, mark)
        except BaseException:
            self._remove(mark)
            raise

    def _master(self, scenario: Scenario, folder: Path, mark: str) -> Crew:
        arguments = swarm.master(scenario.workers, load_release.RECORDS)
        log = folder / "services" / f"load-{scenario.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as errors:
            process = subprocess.Popen(
                load_release.command(self.cluster, "python", *arguments, listening=True),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=os.environ | {MARK: mark}, start_new_session=True,
            )  # fmt: skip
        fetch = lambda: load_release.fetch(self.cluster, folder)  # noqa: E731
        return Remote(scenario, process, log, fetch, lambda: self._remove(mark))

    def _remove(self, mark: str) -> None:
        load_release.remove(self.cluster, self.pace, mark)


class Remote(swarm.Swarm):
    """A swarm whose master is in a pod.

    Args:
        scenario: What it fires.
        master: The process here that stands for the master.
        log: What the master says on standard error.
        fetch: Brings the records here.
        remove: Removes master and workers.
    """

    def __init__(
        self, scenario: Scenario, master: "subprocess.Popen[str]", log: Path,
        fetch: Callable[[], None], remove: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__(scenario, [master], log)
        self._fetch, self._remove = fetch, remove

    def stop(self) -> None:
        """End the load, bring its records, and remove it, whatever of that fails."""
        try:
            super().stop()
            if self.begun:
                self._fetch()
        finally:
            self._remove()
