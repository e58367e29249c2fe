"""`k8s/releases.yaml`: what is installed into the cluster, in which version and order.

Releases are installed from the top down, each waited for before the next, and removed from the
bottom up. A rehearsal renders each upstream chart that can be had, and checks its objects.
"""

import base64
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import jinja2
import yaml

from helpers.cloud.account import Account, asking
from helpers.cloud.stack import Stack
from helpers.cluster import client, contract, nodes, waits
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT
from helpers.cluster.helm import Helm, fetch_chart
from helpers.cluster.records import Released, Releases
from helpers.cluster.waits import Pace, WaitState
from helpers.errors import Problem
from helpers.paths import ROOT
from helpers.promises import CHECKED, NOT_RUN, RAN
from helpers.run import Run
from helpers.scenario import Settings

K8S = ROOT / "k8s"
LOCK = K8S / "releases.yaml"
PASSWORD_BYTES = 24
# objects of a release → one sentence of what was checked; raises Problem if something is wrong
ObjectCheck = Callable[["Release", list[dict[str, Any]]], str]


class Wait(Settings):
    """An object that must be there before the next release, and its state."""

    kind: Literal["Node", "Endpoints", "Deployment", "StatefulSet", "DaemonSet",
                  "CustomResourceDefinition", "APIService"]  # fmt: skip
    name: str
    until: str


class Namespace(Settings):
    """A namespace and its labels."""

    name: str
    labels: dict[str, str]


class Secret(Settings):
    """A Secret; the values that say `random` are made once."""

    name: str
    namespace: str
    keys: dict[str, str]


class Release(Settings):
    """One release."""

    name: str  # name of the release, and of its values file
    stage: Literal["02", "03", "04"]  # the stage that installs it
    chart: str  # its name in the repository, or its folder in `k8s/`
    version: str = ""  # version of the chart; empty for our own
    repository: str = ""  # URL (`https://` or `oci://`); empty for our own
    digest: str | None = None  # `sha256:…` of the packaged chart; None if it is not known
    digest_from: Literal["", "computed", "its repository's index", "other projects' locks"] = ""
    contents: str = ""  # `sha256:…` of its files (`helm.chart_contents`) if there is no digest
    unproven: str = ""  # why it is not known
    namespace: str  # its namespace
    reason: str  # what it is for
    waits: tuple[Wait, ...] = ()

    @property
    def own(self) -> bool:
        """Whether the chart is this repository's."""
        return not self.repository

    @property
    def label(self) -> str:
        """Chart and version, for people."""
        return f"{self.chart} {self.version}".strip()


class Lock(Settings):
    """The whole of `k8s/releases.yaml`."""

    namespaces: tuple[Namespace, ...]
    secrets: tuple[Secret, ...] = ()
    releases: tuple[Release, ...]

    def upstream(self, stage: str) -> tuple[Release, ...]:
        """The upstream releases of a stage, in order."""
        return tuple(each for each in self.releases if each.stage == stage and not each.own)

    def named(self, name: str) -> Release:
        """The release of this name."""
        known = {release.name: release for release in self.releases}
        if name in known:
            return known[name]
        what = f"k8s/releases.yaml has no release '{name}'."
        raise Problem(what, f"It has {', '.join(known)}.")

    @classmethod
    def load(cls, path: Path = LOCK) -> Self:
        """Read the lock file, filled from the contract."""
        with contract.reading(path):
            text = fill(path, {"contract": yaml.safe_load(CONTRACT.read_text())})
            return cls.model_validate(yaml.safe_load(text))


def fill(path: Path, facts: Mapping[str, Any]) -> str:
    """A template of `k8s/`, filled."""
    strict = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    try:
        return strict.from_string(path.read_text()).render(facts)
    except jinja2.UndefinedError as error:
        raise Problem(
            f"{path.name} cannot be filled: {error.message}.",
            "Run the stage before (01 gives the stack's outputs, 03 the image).",
        ) from error
    except jinja2.TemplateError as error:
        raise Problem(f"{path.name} is not a valid template: {error}.") from error


def values_facts(run: Run, account: Account, image: str = "") -> dict[str, Any]:
    """What the values files may ask for: contract, the stack's outputs, models, image."""
    stack, gpu = run.load(Stack), contract.load().gpu
    with asking("the VPC's addresses"):
        vpc = account.client("ec2").describe_vpcs(VpcIds=[stack.vpc_id])["Vpcs"][0]
    names = {"name": stack.stack_name, "vpc_cidr": str(vpc["CidrBlock"])}
    return {
        "contract": yaml.safe_load(CONTRACT.read_text()),
        "outputs": stack.model_dump(mode="json") | names,
        "models": [network.name for network in run.profile.model.networks],
        "max_replicas": run.profile.infrastructure.gpu.max_nodes * (gpu.per_node // gpu.per_pod),
        **({"image": image_parts(image)} if image else {}),
    }


def image_parts(reference: str) -> dict[str, str]:
    """Repository and digest of an image."""
    repository, at, digest = reference.partition("@")
    if not at or not digest.startswith("sha256:"):
        what = f"The image '{reference}' is not named by its digest."
        raise Problem(what, "Deploy what stage 03 pushed; a tag can be moved.")
    return {"repository": repository, "digest": digest}


def write_values(run: Run, release: Release, facts: Mapping[str, Any]) -> list[Path]:
    """Write a release's values into the run; the files for Helm, with the contract for ours."""
    source = K8S / "values" / f"{release.name}.yaml"
    text = fill(source, facts)
    with contract.reading(source):
        yaml.safe_load(text)
    path = run.write(f"cluster/values/{release.name}.yaml", text)
    return [CONTRACT, path] if release.own else [path]


def install(run: Run, cluster: Cluster, account: Account, stage: str = "02") -> Releases:
    """Install a stage's releases, each waited for before the next begins, and record them.

    It can be repeated: what is there is upgraded to what the lock file says.
    """
    lock, facts = Lock.load(), values_facts(run, account)
    prepare(cluster, lock)
    nodes.hold(cluster)  # before the autoscaler, which would remove what nothing uses for 5 min
    record, helm = Releases(releases=()), Helm(cluster, run.mark)
    for release in lock.upstream(stage):
        chart, files = fetch_chart(release), write_values(run, release, facts)
        print(f"{release.name}: {release.label}, {chart.compared}", flush=True)
        state = helm.apply(release.name, chart.path, release.namespace, files)
        wait_for_release(cluster, release, waits.pace(run, run.profile.cluster.release_s))
        seen = ", ".join(f"{wait.kind} {wait.until}" for wait in release.waits)
        row = _released(release, chart.digest, RAN, f"revision {state.revision}: {seen}")
        record = run.save(Releases(releases=(*record.releases, row)))
    return record


def rehearse(run: Run, account: Account, check: ObjectCheck, stage: str = "02") -> Releases:
    """Render a stage's releases with the run's values, check their objects, and record them."""
    facts, helm = values_facts(run, account), Helm(mark=run.mark)
    kubernetes = run.profile.infrastructure.kubernetes_version

    def render(release: Release) -> Released:
        files = write_values(run, release, facts)
        try:
            chart = fetch_chart(release)
        except Problem as reason:
            return _released(release, "", NOT_RUN, reason.what)
        try:
            text = helm.template(release.name, chart.path, release.namespace, files, kubernetes)
            objects = [body for body in yaml.safe_load_all(text) if body]
            checked = check(release, objects)
        except Problem as fault:
            return _released(release, chart.digest, "FAILED", str(fault))
        run.write(f"cluster/rendered/{release.name}.yaml", text)
        note = f"{len(objects)} objects rendered ({chart.compared}); {checked}"
        return _released(release, chart.digest, CHECKED, note)

    return run.save(Releases(releases=tuple(map(render, Lock.load().upstream(stage)))))


def _released(release: Release, digest: str, label: Any, note: str) -> Released:
    return Released(name=release.name, chart=release.label, namespace=release.namespace,
                    digest=digest, label=label, note=note)  # fmt: skip


def uninstall(run: Run, cluster: Cluster) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove the releases from the last to the first; their names, and a sentence per failure."""
    helm, removed, failed = Helm(cluster, run.mark), [], []
    for release in reversed(Lock.load().releases):
        try:
            if helm.remove(release.name, release.namespace):
                removed.append(release.name)
                print(f"{release.name}: removed", flush=True)
        except Problem as reason:
            failed.append(str(reason))
    return tuple(removed), tuple(failed)


def prepare(cluster: Cluster, lock: Lock) -> None:
    """Make the lock file's namespaces, and its Secrets unless they are there."""
    from kubernetes.client import V1ObjectMeta, V1Secret

    for space in lock.namespaces:
        client.ensure_namespace(cluster, space.name, space.labels)
    for secret in lock.secrets:  # an existing password is in use, and stays
        if cluster.get("secrets", secret.name, secret.namespace) is None:
            made = {key: secrets.token_urlsafe(PASSWORD_BYTES) if value == "random" else value
                    for key, value in secret.keys.items()}  # fmt: skip
            body = V1Secret(metadata=V1ObjectMeta(name=secret.name), data={
                key: base64.b64encode(text.encode()).decode() for key, text in made.items()
            })  # fmt: skip
            with client.asking(f"The Secret {secret.name}", namespace=secret.namespace):
                cluster.core.create_namespaced_secret(secret.namespace, body)


def wait_for_release(cluster: Cluster, release: Release, pace: Pace) -> None:
    """Wait for everything that the lock file names for a release, in its order."""

    def why(name: str) -> str:
        selector = f"app.kubernetes.io/instance={release.name}"
        troubles = [*waits.pod_troubles(cluster, release.namespace, selector),
                    *waits.event_troubles(cluster, release.namespace, name)]  # fmt: skip
        return waits.troubles_text(troubles) or (
            f"Nothing has reported an error: kubectl -n {release.namespace} get events"
        )

    for wait in release.waits:
        what = f"{release.name}: {wait.kind} {wait.name} {wait.until}"
        check = partial(wait_progress, cluster, wait, release.namespace)
        waits.until(what, check, partial(why, wait.name), pace)


def wait_progress(cluster: Cluster, wait: Wait, namespace: str) -> WaitState:
    """How far one wait of the lock file is."""
    if wait.kind == "Node":
        gpus = [node.gpus for node in nodes.read_nodes(cluster) if node.gpu]
        offering = sum(count >= contract.load().gpu.per_node for count in gpus)
        return WaitState(0 < offering == len(gpus), f"on {offering} of {len(gpus)} GPU nodes")
    if wait.kind == "Endpoints":  # a Service with a ready endpoint: what a webhook needs to answer
        selector = f"kubernetes.io/service-name={wait.name}"
        slices = cluster.list("endpointslices", namespace, labelSelector=selector)
        ready = sum(end.get("conditions", {}).get("ready", False) is True
                    for each in slices for end in each.get("endpoints") or [])  # fmt: skip
        return WaitState(ready > 0, f"{ready} endpoints ready")
    has_namespace = wait.kind not in ("CustomResourceDefinition", "APIService")
    body = cluster.get(f"{wait.kind.lower()}s", wait.name, namespace if has_namespace else "")
    if body is None:
        return WaitState(False, "not there yet")
    status, wanted = body.get("status", {}), body.get("spec", {}).get("replicas", 1)
    match wait.kind:
        case "Deployment":
            seen = status.get("observedGeneration", 0) >= body["metadata"].get("generation", 0)
            pods = status.get("availableReplicas", 0)
            return WaitState(seen and 0 < wanted <= pods, f"{pods} of {wanted} pods available")
        case "StatefulSet":
            pods = status.get("readyReplicas", 0)
            return WaitState(0 < wanted <= pods, f"{pods} of {wanted} pods Ready")
        case "DaemonSet":  # Helm is content with one that runs nowhere
            count = sum(node.gpu for node in nodes.read_nodes(cluster))
            wanted, pods = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
            text = f"{pods} Ready of {wanted} wanted, on {count} GPU nodes"
            return WaitState(0 < count <= wanted <= pods, text)
    kind = "Established" if wait.kind == "CustomResourceDefinition" else "Available"
    known = {each["type"]: each for each in status.get("conditions", [])}
    if kind not in known:
        return WaitState(False, f"{kind} is not known yet")
    done, text = known[kind]["status"] == "True", f"{kind} is {known[kind]['status']}"
    return WaitState(done, text if done else f"{text}: {known[kind].get('message', '')}")


def frame(record: Releases) -> Any:
    """One row a release, as a table."""
    import pandas as pd

    rows = [(each.name, each.chart, each.namespace, each.label, each.note)
            for each in record.releases]  # fmt: skip
    return pd.DataFrame(rows, columns=["release", "chart", "namespace", "seen", "note"])
