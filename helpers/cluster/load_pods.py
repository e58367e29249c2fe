"""The load's pods: installed for one load, waited for until they run, removed.

Their chart is `k8s/charts/load`. The namespace has nothing else, so whatever is left in it of an
earlier load may be removed.
"""

import subprocess
import tarfile
from pathlib import Path

import yaml

from helpers.cluster import client, contract, releases, waits
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT
from helpers.cluster.helm import Helm
from helpers.cluster.releases import K8S, Lock
from helpers.cluster.waits import Pace, WaitState
from helpers.errors import Problem
from helpers.run import write_atomically

NAME = "load"
CHART = K8S / "charts" / "load"
RECORDS = Path("/records")  # in the master's pod, as the chart mounts it
SELECTOR = f"app.kubernetes.io/instance={NAME}"
FETCH_S, FETCHES = 600.0, 3
TAR_END = bytes(1024)  # two empty blocks


def namespace() -> str:
    """The load's own namespace."""
    return contract.load().namespaces.load


def install(
    cluster: Cluster, folder: Path, image: str, order: str, deadline_s: int, mark: str
) -> None:
    """Install the release; an earlier one must be gone.

    Its values are kept in `folder`; `image` is `repository@sha256:…`, `order` what load to send
    where (JSON), and `deadline_s` when the cluster ends it, whatever happens here.
    """
    chosen = {"image": releases.image_parts(image), "order": order, "deadlineSeconds": deadline_s}
    path = folder / "cluster" / f"{NAME}.yaml"
    write_atomically(path, yaml.safe_dump(chosen))
    for space in Lock.load().namespaces:
        if space.name == namespace():
            client.ensure_namespace(cluster, space.name, space.labels)
    Helm(cluster, mark).apply(NAME, CHART, namespace(), [CONTRACT, path])


def wait(cluster: Cluster, pods: int, pace: Pace) -> None:
    """Wait until every pod runs: nodes found or added, image pulled."""

    def check() -> WaitState:
        bodies = cluster.list("pods", namespace(), labelSelector=SELECTOR)
        phases = [body.get("status", {}).get("phase", "Pending") for body in bodies]
        troubles = [each for body in bodies for each in waits.troubles_of_pod(cluster, body)]
        text = f"{phases.count('Running')} of {pods} run"
        text += f"; {troubles[0].where}: {troubles[0].said}" if troubles else ""
        fatal = waits.permanent_text(troubles)
        if "Failed" in phases:
            fatal = waits.troubles_text(troubles) or "A pod has ended: it is not started again."
        return WaitState(phases.count("Running") == pods, text, fatal)

    def why() -> str:
        troubles = waits.pod_troubles(cluster, namespace(), SELECTOR)
        for job in (f"{NAME}-master", f"{NAME}-worker") if not troubles else ():
            troubles = [*troubles, *waits.event_troubles(cluster, namespace(), job)]
        return waits.troubles_text(troubles)

    waits.until("pods of the load", check, why, pace)


def remove(cluster: Cluster, pace: Pace, mark: str) -> None:
    """Remove the release and wait until its pods are gone; safe if there is none."""
    Helm(cluster, mark).remove(NAME, namespace())

    def check() -> WaitState:
        left = len(cluster.list("pods", namespace(), labelSelector=SELECTOR))
        return WaitState(not left, f"{left} left")

    advice = f"See 'kubectl -n {namespace()} get pods'."
    waits.until("pods of the load gone", check, lambda: advice, pace)


def command(cluster: Cluster, *arguments: str, with_stdin: bool = False) -> list[str]:
    """The command line that runs a program in the master's pod, with our standard input or none."""
    options = ["--stdin"] if with_stdin else []
    return [*cluster.kubectl(), f"--namespace={namespace()}", "exec", *options,
            f"job/{NAME}-master", "--", *arguments]  # fmt: skip


def fetch(cluster: Cluster, folder: Path) -> None:
    """Fetch the records from the master's pod; what is already in the folder stays."""
    archive = folder / f"{NAME}-records.tar"
    tar = command(cluster, "tar", "-C", str(RECORDS), "-cf", "-", ".")
    reason = ""
    try:
        for _ in range(FETCHES):  # a stream through the API server may end early
            with archive.open("wb") as file:
                done = subprocess.run(
                    tar, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE,
                    timeout=FETCH_S, check=False, start_new_session=True,
                )  # fmt: skip
            if not done.returncode and archive.read_bytes().endswith(TAR_END):
                with tarfile.open(archive) as packed:
                    packed.extractall(folder, filter="data")
                return
            reason = done.stderr.decode(errors="replace").strip() or "the stream ended early"
    except subprocess.TimeoutExpired:
        reason = f"not within {FETCH_S:g} s"
    finally:
        archive.unlink(missing_ok=True)
    raise Problem(f"The load's records could not be fetched from its master: {reason}.")
