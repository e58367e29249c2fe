"""Upstream releases: installed in the lock file's order, waited for, removed in reverse.

In a rehearsal each chart is pulled where its repository can be reached, rendered with the run's
values, and its objects placed on the nodes that the plan describes.
"""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml
from kubernetes.client import V1ObjectMeta, V1Secret
from kubernetes.client.exceptions import ApiException

from helpers.cloud.account import Account
from helpers.cluster import charts, client, nodes, release_waits, values
from helpers.cluster.client import Cluster
from helpers.cluster.helm import Helm
from helpers.cluster.live_reports import Released, Releases
from helpers.cluster.lock import Lock, Release, Secret
from helpers.errors import Problem
from helpers.run import Run

RANDOM = "random"
PASSWORD_BYTES = 24
# name, namespace and objects of a release → one sentence of what was checked; raises Problem
# where something is wrong
Check = Callable[[Run, str, str, list[dict[str, Any]]], str]


def install(run: Run, cluster: Cluster, account: Account, stage: str = "02") -> Releases:
    """Install a stage's releases, each waited for before the next begins, and record them.

    Safe to repeat: what is there is upgraded to what the lock file says.

    Args:
        run: Whose stack stands.
        cluster: Where.
        account: Of the stack.
        stage: Whose releases.

    Raises:
        Problem: A chart is not the locked one, Helm failed, or a wait was in vain.
    """
    lock, known = Lock.load(), values.facts(run, account)
    prepare(cluster, lock)
    done: list[Released] = []
    for release in lock.of_stage(stage):
        done.append(_install(run, cluster, release, known))
        run.save(Releases(releases=tuple(done)))
    return Releases(releases=tuple(done))


def rehearse(run: Run, account: Account, check: Check, stage: str = "02") -> Releases:
    """Render a stage's releases with the run's values and check their objects.

    Args:
        run: Whose stack stands.
        account: Of the stack; the emulator.
        check: Looks at the rendered objects.
        stage: Whose releases.

    Raises:
        Problem: The values cannot be filled. (A chart that cannot be had is NOT CHECKED.)
    """
    known = values.facts(run, account)
    done = tuple(_rehearse(run, release, known, check) for release in Lock.load().of_stage(stage))
    found = Releases(releases=done)
    run.save(found)
    return found


@dataclass(frozen=True)
class Uninstalled:
    """What became of the releases.

    Attributes:
        removed: Names of those that were there and are gone, in order.
        failed: A sentence for each that Helm could not remove.
    """

    removed: tuple[str, ...]
    failed: tuple[str, ...]


def uninstall(run: Run, cluster: Cluster) -> Uninstalled:
    """Remove the releases from the bottom of the lock file up; one that fails holds up no other."""
    helm, removed, failed = Helm.of(cluster, run.mark), [], []
    for one in reversed(Lock.load().releases):
        try:
            if helm.remove(one.name, one.namespace):
                removed.append(one.name)
                print(f"{one.name}: removed", flush=True)
        except Problem as reason:
            failed.append(str(reason))
    return Uninstalled(tuple(removed), tuple(failed))


def prepare(cluster: Cluster, lock: Lock) -> None:
    """Make the lock file's namespaces, and its Secrets where they are not there.

    Raises:
        Problem: The cluster refuses.
    """
    for one in lock.namespaces:
        client.ensure_namespace(cluster, one.name, one.labels)
    for secret in lock.secrets:
        _ensure_secret(cluster, secret)


def frame(found: Releases) -> pd.DataFrame:
    """One row a release, as people read it."""
    return pd.DataFrame(
        {
            "release": one.name,
            "chart": one.chart,
            "namespace": one.namespace,
            "seen": one.label,
            "note": one.note,
        }
        for one in found.releases
    )


def _install(run: Run, cluster: Cluster, release: Release, known: dict[str, Any]) -> Released:
    chart = charts.fetch(release)
    files = values.write(run, release, known)
    print(f"{release.name}: {release.label}, {chart.compared}", flush=True)
    state = Helm.of(cluster, run.mark).apply(release.name, chart.path, release.namespace, files)
    pace = nodes.pace(run, run.profile.cluster.release_s)
    release_waits.wait(cluster, release, pace)
    met = ", ".join(f"{one.kind} {one.until}" for one in release.waits)
    return _released(release, chart.digest, "REAL", f"revision {state.revision}: {met}")


def _rehearse(run: Run, release: Release, known: dict[str, Any], check: Check) -> Released:
    files = values.write(run, release, known)
    try:
        chart = charts.fetch(release)
    except Problem as reason:
        return _released(release, "", "NOT CHECKED", reason.what)
    try:
        text = Helm(mark=run.mark).template(release.name, chart.path, release.namespace, files)
        objects = [one for one in yaml.safe_load_all(text) if one]
        said = check(run, release.name, release.namespace, objects)
    except Problem as fault:
        return _released(release, chart.digest, "FAILED", str(fault))
    run.write(f"cluster/rendered/{release.name}.yaml", text)
    note = f"{len(objects)} objects rendered ({chart.compared}); {said}"
    return _released(release, chart.digest, "STATIC", note)


def _released(release: Release, digest: str, label: Any, note: str) -> Released:
    return Released(
        name=release.name, chart=release.label, namespace=release.namespace, digest=digest,
        label=label, note=note,
    )  # fmt: skip


def _ensure_secret(cluster: Cluster, secret: Secret) -> None:
    """Random values are made once; a second look must not change a password that is in use."""
    made = {
        key: secrets.token_urlsafe(PASSWORD_BYTES) if value == RANDOM else value
        for key, value in secret.keys.items()
    }
    body = V1Secret(
        metadata=V1ObjectMeta(name=secret.name),
        data={key: base64.b64encode(value.encode()).decode() for key, value in made.items()},
    )
    with client.asking(f"The Secret {secret.name}", namespace=secret.namespace):
        try:
            cluster.core.create_namespaced_secret(secret.namespace, body)
        except ApiException as error:
            if error.status != 409:
                raise
