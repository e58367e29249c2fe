"""The load's release: installed for one load, waited for until its pods run, removed.

Its chart is `k8s/charts/load`. The namespace has nothing else, so whatever is left in it of an
earlier load may be removed.
"""

import subprocess
import tarfile
from pathlib import Path

import yaml

from helpers import programs
from helpers.cluster import client, contract, diagnose, values, waits
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT
from helpers.cluster.helm import Helm
from helpers.cluster.lock import K8S, Lock
from helpers.cluster.waits import Pace, Seen
from helpers.errors import Problem
from helpers.run import write_atomically

NAME = "load"
CHART = K8S / "charts" / "load"
RECORDS = Path("/records")  # in the master's pod, as the chart mounts it
SELECTOR = f"app.kubernetes.io/instance={NAME}"
FETCH_S, FETCHES = 600.0, 3
TAR_END = bytes(1024)  # two empty blocks


def install(
    cluster: Cluster, folder: Path, image: str, order: str, deadline_s: int, mark: str
) -> None:
    """Install the release; an earlier one must be gone.

    Args:
        cluster: Where.
        folder: Where its values are kept.
        image: `repository@sha256:…`, as `helpers.load.cluster_pool` pushed it.
        order: What is fired at whom, as JSON.
        deadline_s: Seconds after which the cluster ends it, whoever has forgotten it.
        mark: Of the run.

    Raises:
        Problem: The cluster or Helm refuses.
    """
    chosen = {
        "image": values.image_parts(image), "order": order, "deadlineSeconds": deadline_s,
    }  # fmt: skip
    path = folder / "cluster" / f"{NAME}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, yaml.safe_dump(chosen))
    for one in Lock.load().namespaces:
        if one.name == namespace():
            client.ensure_namespace(cluster, one.name, one.labels)
    Helm.of(cluster, mark).apply(NAME, CHART, namespace(), [CONTRACT, path])


def wait(cluster: Cluster, pods: int, pace: Pace) -> None:
    """Wait until every pod runs: nodes found or added, image pulled.

    Raises:
        Problem: One does not in time, or cannot; the sentence says why.
    """
    waits.until("pods of the load", lambda: _look(cluster, pods), lambda: _why(cluster), pace)


def remove(cluster: Cluster, pace: Pace, mark: str) -> None:
    """Remove the release and wait until its pods are gone; safe where there is none.

    Raises:
        Problem: Helm failed, or a pod does not go.
    """
    Helm.of(cluster, mark).remove(NAME, namespace())

    def look() -> Seen:
        left = len(_pods(cluster))
        return Seen(not left, f"{left} left")

    place = f"kubectl -n {namespace()} get pods"
    waits.until("pods of the load gone", look, lambda: f"See '{place}'.", pace)


def command(cluster: Cluster, *arguments: str, listening: bool = False) -> list[str]:
    """The command line that runs a program in the master's pod.

    Args:
        cluster: Where.
        *arguments: The program's.
        listening: Whether it gets this process's standard input.

    Raises:
        Unavailable: There is no kubectl here.
    """
    place = [f"--kubeconfig={cluster.kubeconfig}"] if cluster.kubeconfig else []
    return [
        str(programs.need("kubectl")), *place, f"--context={cluster.context}",
        f"--namespace={namespace()}", "exec", *(["--stdin"] if listening else []),
        f"job/{NAME}-master", "--", *arguments,
    ]  # fmt: skip


def fetch(cluster: Cluster, folder: Path) -> None:
    """Bring the records from the master's pod; what is already in the folder stays.

    Raises:
        Problem: They do not come whole.
    """
    archive = folder / f"{NAME}-records.tar"
    asked = command(cluster, "tar", "-C", str(RECORDS), "-cf", "-", ".")
    try:
        said = ""
        for _ in range(FETCHES):  # a stream through the API server may end early
            with archive.open("wb") as file:
                done = subprocess.run(
                    asked, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE,
                    timeout=FETCH_S, check=False, start_new_session=True,
                )  # fmt: skip
            if not done.returncode and _is_whole(archive):
                with tarfile.open(archive) as packed:
                    packed.extractall(folder, filter="data")
                return
            said = done.stderr.decode(errors="replace").strip() or "the stream ended early"
    except subprocess.TimeoutExpired:
        said = f"not within {FETCH_S:g} s"
    finally:
        archive.unlink(missing_ok=True)
    raise Problem(f"The load's records could not be fetched from its master: {said}.")


def namespace() -> str:
    """The load's own namespace."""
    return contract.load().namespaces.load


def _is_whole(archive: Path) -> bool:
    with archive.open("rb") as file:
        file.seek(-min(len(TAR_END), archive.stat().st_size), 2)
        return file.read() == TAR_END


def _look(cluster: Cluster, wanted: int) -> Seen:
    phases = [one.get("status", {}).get("phase", "Pending") for one in _pods(cluster)]
    running = phases.count("Running")
    met = diagnose.of_pods(cluster, namespace(), SELECTOR)
    text = f"{running} of {wanted} run"
    text += f"; {met[0].where}: {met[0].said}" if met else ""
    fatal = diagnose.told(one for one in met if one.hopeless)
    if "Failed" in phases:
        fatal = diagnose.told(met) or "A pod has ended: it is not started again."
    return Seen(running == wanted, text, fatal)


def _why(cluster: Cluster) -> str:
    met = diagnose.of_pods(cluster, namespace(), SELECTOR)
    jobs = (f"{NAME}-master", f"{NAME}-worker")
    met = met or [one for job in jobs for one in diagnose.of_events(cluster, namespace(), job)]
    return diagnose.told(met)


def _pods(cluster: Cluster) -> list[dict[str, dict[str, str]]]:
    with client.asking(f"The pods of {namespace()}", namespace=namespace()):
        answer = cluster.core.list_namespaced_pod(namespace(), label_selector=SELECTOR)
    found: list[dict[str, dict[str, str]]] = cluster.plain(answer)["items"]
    return found
