"""Locust's master and workers as pods, for a load that one machine cannot fire.

Only control goes through the cluster's API: the master is started in its pod by `kubectl exec`, so
that its standard input and output are those of a process here. Requests go from pod to pod. The
image has this package, and the same Python packages as far as a worker needs them.
"""

import math
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from helpers.cloud.account import Account
from helpers.cluster import client, contract, load_pods, triton_release, waits
from helpers.cluster.client import Cluster
from helpers.cluster.waits import Pace
from helpers.load.worker import Order
from helpers.load.worker_pool import WorkerPool, log_path
from helpers.paths import ROOT
from helpers.processes import MARK
from helpers.run import Run
from helpers.serving import ecr
from helpers.serving.image import content_tag
from helpers.serving.records import Endpoint

SLACK_S = 600  # between the last request and the removal: records come together and are fetched
DOCKERFILE = ROOT / "helpers" / "load" / "Dockerfile"
REQUIREMENTS = "requirements.txt"
LOCUSTFILE = "helpers/load/locustfile.py"  # from the checkout's root, or the image's
JOIN_S = 60  # for Locust's workers to join


def cluster_starter(run: Run) -> "ClusterStarter":
    """Starts workers in the run's cluster; their image is pushed unless it is there.

    Raises:
        Problem: There is no cluster, or nothing here can build the image.
    """
    account = Account(run.profile.region)
    pace = waits.pace(run, run.profile.cluster.release_s)
    return ClusterStarter(client.connect(run, account), push_image(run, account), pace)


def triton_inside() -> Endpoint:
    """Where pods reach Triton: its Service, without load balancer and TLS."""
    agreed = contract.load()
    host = f"{triton_release.NAME}.{agreed.namespaces.triton}.svc"
    http, grpc = f"http://{host}:{agreed.ports.http}", f"{host}:{agreed.ports.grpc}"
    return Endpoint(http=http, grpc=grpc, metrics="", server="tritonserver, inside the cluster")


@dataclass(frozen=True)
class ClusterStarter:
    """Starts the workers of a load as pods: a `worker_pool.Starter`."""

    cluster: Cluster  # the cluster
    image: str  # `repository@sha256:…`, as `publish_image` pushed it
    pace: Pace  # how its pods are waited for
    target: Endpoint | None = None  # where they reach Triton; its Service where left out

    def __call__(self, order: Order, folder: Path, mark: str) -> WorkerPool:
        """Install the release for one load and start its master; the records come to `folder`.

        Raises:
            Problem: The scenario wants TLS, or the pods do not run in time; nothing is left then.
        """
        scenario, target = order.scenario, self.target or triton_inside()
        inside = order.model_copy(update={"endpoint": target}).model_dump_json()
        life = scenario.duration_s + scenario.timeout_s + self.pace.timeout_s + SLACK_S
        log = log_path(order, folder)
        remove = partial(load_pods.remove, self.cluster, self.pace, mark)
        remove()  # remains of a killed load
        try:
            load_pods.install(self.cluster, folder, self.image, inside, math.ceil(life), mark)
            load_pods.wait(self.cluster, scenario.workers + 1, self.pace)
            count = str(scenario.workers)
            master_arguments = [
                "python", "-m", "locust", "-f", LOCUSTFILE, "--headless", "--loglevel", "WARNING",
                "--master", "-u", count, "-r", count, "--expect-workers", count,
                "--expect-workers-max-wait", str(JOIN_S), "--only-summary",
                "--exit-code-on-error", "0",
            ]  # fmt: skip
            with log.open("w") as errors:
                master = subprocess.Popen(
                    load_pods.command(self.cluster, *master_arguments, with_stdin=True),
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                    env=os.environ | {MARK: mark}, start_new_session=True,
                )  # fmt: skip
        except BaseException:
            remove()
            raise

        def on_stop(begun: bool) -> None:
            try:
                if begun:
                    load_pods.fetch(self.cluster, folder)
            finally:
                remove()

        return WorkerPool(scenario, [master], log, master=True, on_stop=on_stop)


def push_image(run: Run, account: Account) -> str:
    """Build the image and push it beside Triton's, unless it is there; `repository@sha256:…`.

    Empty where no scenario of the run is fired from pods.

    Raises:
        Problem: Nothing here can build, or the build, the login or the push failed.
    """
    if all(scenario.control == "embedded" for scenario in run.profile.load.placed):
        return ""
    context = image_context(run.folder / "load-image")
    pushed = ecr.push(run, account, image_tag(context), DOCKERFILE, lambda: context)
    run.note(images=run.manifest().get("images", {}) | {"load": pushed.digest})
    return pushed.reference


def image_context(folder: Path) -> Path:
    """Create the build context: this package and its pins."""
    shutil.rmtree(folder, ignore_errors=True)
    compiled = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=compiled)
    shutil.copyfile(ROOT / REQUIREMENTS, folder / REQUIREMENTS)
    return folder


def image_tag(context: Path) -> str:
    """A tag from the content, so that an equal image is not pushed twice."""
    return content_tag(context, DOCKERFILE.read_text()).replace("models", "load")
